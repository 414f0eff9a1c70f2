//! The check of a body while it streams: a complete JSON array by its first and last byte, within the size caps, unpacked.
//!
//! Owns the caps: `limit` holds for the bytes as received and for the bytes as written, which stops a large body as well as a small
//! one that unpacks to a large one. Invariant: nothing is written to the sink after a refusal.

use std::io::{self, Read, Write};

use flate2::write::MultiGzDecoder;

use super::{BYTE_ORDER_MARK, FileSink, PageSink, shape};
use crate::error::Error;

/// Compressed bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
}

/// Why a body is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The sink failed; the body is not to blame.
    Sink(Error),
    /// This form of it is larger than the cap.
    TooLarge(&'static str),
    /// No page this time, and what it is instead.
    NoPage(String),
}

/// Checks a body on its way into a sink.
pub(super) struct BodyCheck<S: PageSink> {
    stream: Stream<S>,
    received: u64,
    limit: u64,
}

enum Stream<S: PageSink> {
    Plain(Checked<S>),
    Gzip(Box<MultiGzDecoder<Checked<S>>>),
}

impl<S: PageSink> BodyCheck<S> {
    pub(super) fn new(coding: Coding, limit: u64, sink: S) -> Self {
        let checked =
            Checked { sink, array: ArrayCheck { limit, bytes: 0, mark: 0, last: None }, refusal: None, closed: false };
        let stream = match coding {
            Coding::Plain => Stream::Plain(checked),
            Coding::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(checked))),
        };
        Self { stream, received: 0, limit }
    }

    /// Takes the next bytes, as received.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.received = self.received.saturating_add(length(bytes));
        let form = if matches!(self.stream, Stream::Plain(_)) { "body" } else { "compressed body" };
        within(self.limit, self.received, form)?;
        let written = match &mut self.stream {
            Stream::Plain(checked) => checked.write_all(bytes),
            Stream::Gzip(gzip) => gzip.write_all(bytes),
        };
        written.map_err(|cause| self.refusal(&cause))
    }

    /// Takes all of `source`. The inner error is one of reading it.
    pub(super) fn read(&mut self, source: &mut impl Read) -> Result<io::Result<()>, Refusal>
    where
        S: FileSink,
    {
        if let Stream::Plain(checked) = &mut self.stream {
            // One byte more shows that it is too large.
            let taken = match checked.sink.take_all(&mut source.take(self.limit.saturating_add(1))) {
                Ok(taken) => taken,
                Err(cause) => return Ok(Err(cause)),
            };
            self.received = self.received.saturating_add(length(taken));
            within(self.limit, self.received, "body")?;
            return checked.array.add(taken).map(Ok);
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            match source.read(&mut chunk) {
                Ok(0) => return Ok(Ok(())),
                Ok(length) => self.write(chunk.get(..length).unwrap_or_default())?,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Ok(Err(cause)),
            }
        }
    }

    /// The number of bytes received so far.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Ends the body. Returns the sink and the number of bytes written to it.
    pub(super) fn finish(mut self) -> Result<(S, u64), Refusal> {
        if let Stream::Gzip(gzip) = &mut self.stream {
            // An empty body is reported as empty, not as a gzip stream that was cut short.
            if self.received > 0
                && let Err(cause) = gzip.try_finish()
            {
                return Err(self.refusal(&cause));
            }
        }
        self.checked().array.finish()?;
        let checked = match self.stream {
            Stream::Plain(checked) => checked,
            Stream::Gzip(gzip) => gzip.finish().map_err(|cause| bad_gzip(&cause))?,
        };
        Ok((checked.sink, checked.array.bytes))
    }

    fn refusal(&mut self, cause: &io::Error) -> Refusal {
        let checked = match &mut self.stream {
            Stream::Plain(checked) => checked,
            Stream::Gzip(gzip) => gzip.get_mut(),
        };
        // The decoder writes out what it still holds when it is dropped.
        checked.closed = true;
        checked.refusal.take().unwrap_or_else(|| bad_gzip(cause))
    }

    fn checked(&self) -> &Checked<S> {
        match &self.stream {
            Stream::Plain(checked) => checked,
            Stream::Gzip(gzip) => gzip.get_ref(),
        }
    }
}

fn bad_gzip(cause: &io::Error) -> Refusal {
    Refusal::NoPage(format!("the gzip stream is cut short or damaged ({cause})"))
}

fn within(limit: u64, bytes: u64, form: &'static str) -> Result<(), Refusal> {
    if bytes > limit { Err(Refusal::TooLarge(form)) } else { Ok(()) }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A sink behind the check.
struct Checked<S> {
    sink: S,
    array: ArrayCheck,
    refusal: Option<Refusal>,
    closed: bool,
}

impl<S: PageSink> Checked<S> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.array.add(bytes)?;
        self.sink.write(bytes).map_err(Refusal::Sink)
    }
}

/// Whether an uncompressed body is a JSON array, as far as it came.
struct ArrayCheck {
    limit: u64,
    bytes: u64,
    /// How many bytes of a byte-order mark came at its start.
    mark: usize,
    /// The last byte that is no white space.
    last: Option<u8>,
}

impl ArrayCheck {
    /// Checks the next bytes.
    fn add(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(length(bytes));
        within(self.limit, self.bytes, "uncompressed body")?;
        let bytes = self.after_the_mark(bytes)?;
        if self.last.is_none()
            && let Some(first) = bytes.iter().find(|byte| !is_space(**byte))
            && *first != b'['
        {
            let there = if *first == b'{' { shape::of(bytes) } else { String::new() };
            return Err(Refusal::NoPage(format!("the body {}{there}", what_begins_with(*first))));
        }
        self.last = bytes.iter().rev().find(|byte| !is_space(**byte)).copied().or(self.last);
        Ok(())
    }

    /// The next bytes without those of a byte-order mark at the start of the body.
    fn after_the_mark<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Refusal> {
        let taken = self.bytes.saturating_sub(length(bytes));
        if u64::try_from(self.mark).is_ok_and(|mark| mark != taken) {
            return Ok(bytes);
        }
        let left = BYTE_ORDER_MARK.get(self.mark..).unwrap_or_default();
        let same = left.iter().zip(bytes).take_while(|(mark, byte)| mark == byte).count();
        self.mark += same;
        let rest = bytes.get(same..).unwrap_or_default();
        let is_broken = !rest.is_empty() && (1..BYTE_ORDER_MARK.len()).contains(&self.mark);
        if is_broken { Err(Refusal::NoPage("the body is no JSON array".to_owned())) } else { Ok(rest) }
    }

    fn finish(&self) -> Result<(), Refusal> {
        match self.last {
            Some(b']') => Ok(()),
            Some(_) => Err(Refusal::NoPage(format!(
                "the body is cut short after {} bytes, without a ] at its end",
                self.bytes
            ))),
            None => Err(Refusal::NoPage("the body is empty".to_owned())),
        }
    }
}

impl<S: PageSink> Write for Checked<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(io::Error::other("refused"));
        }
        self.take(bytes).map(|()| bytes.len()).map_err(|refusal| {
            self.refusal = Some(refusal);
            self.closed = true;
            io::Error::other("refused")
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

const fn what_begins_with(first: u8) -> &'static str {
    match first {
        b'<' => "is HTML or XML, not a JSON array",
        b'{' => "is a JSON object, not an array",
        0x1f => "is gzip that is not said to be",
        _ => "is no JSON array",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::error::{ErrorKind, Result};

    const LIMIT: u64 = 1000;

    pub(in crate::source) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn run(coding: Coding, bytes: &[u8], step: usize) -> Result<(Vec<u8>, u64), Refusal> {
        let mut body = BodyCheck::new(coding, LIMIT, Vec::new());
        bytes.chunks(step).try_for_each(|chunk| body.write(chunk))?;
        body.finish()
    }

    #[test]
    fn arrays_pass_byte_for_byte_in_pieces_of_any_size() {
        for text in ["[]", " \r\n[{\"data\":\"x\"}]\n ", "[1]\t", "\u{feff}[]", "\u{feff}\n[2]"] {
            for step in [1, 2, 7, 4096] {
                let (written, bytes) = run(Coding::Plain, text.as_bytes(), step).unwrap();
                assert_eq!((written.as_slice(), bytes), (text.as_bytes(), length(text.as_bytes())));
                let (written, _) = run(Coding::Gzip, &gzip(text.as_bytes()), step).unwrap();
                assert_eq!(written, text.as_bytes());
            }
        }
    }

    #[test]
    fn several_gzip_members_are_one_body() {
        let both = [gzip(b"[1,"), gzip(b"2]")].concat();
        assert_eq!(run(Coding::Gzip, &both, 5).unwrap().0, b"[1,2]");
    }

    #[test]
    fn what_is_no_complete_array_is_no_page() {
        for (text, what) in [
            ("", "empty"),
            (" \n", "empty"),
            ("<html>", "HTML"),
            (" \n{}", "object"),
            ("\u{feff}", "empty"),
            ("\u{feff}{}", "object"),
            ("\u{feff}\u{feff}[]", "no JSON array"),
            ("\u{fec0}[]", "no JSON array"),
            ("\u{f000}[]", "no JSON array"),
            (" \u{feff}[]", "no JSON array"),
            ("\u{feff}[1", "cut short"),
            ("x[]", "no JSON array"),
            ("[{\"data\":\"x\"},\n", "cut short after 15 bytes"),
            ("[[", "cut short"),
        ] {
            for (coding, bytes) in [(Coding::Plain, text.as_bytes().to_vec()), (Coding::Gzip, gzip(text.as_bytes()))] {
                let refused = run(coding, &bytes, 1);
                assert!(matches!(&refused, Err(Refusal::NoPage(why)) if why.contains(what)), "{text}: {refused:?}");
            }
        }
        assert!(matches!(run(Coding::Gzip, b"", 1), Err(Refusal::NoPage(why)) if why.contains("empty")));
        for (half, step) in [(&b"\xef\xbb[]"[..], 1), (b"\xef[]", 9), (b"\xef\xbb[]", 9), (b"\xef\xef\xbb\xbf[]", 2)] {
            assert!(matches!(run(Coding::Plain, half, step), Err(Refusal::NoPage(_))), "{half:?}");
        }
    }

    #[test]
    fn gzip_cut_or_damaged_anywhere_is_no_page() {
        let whole = gzip(b"[{\"data\":\"abcdefgh\"}]");
        for cut in 1..whole.len() {
            let refused = run(Coding::Gzip, &whole[..cut], 3);
            assert!(matches!(refused, Err(Refusal::NoPage(_))), "{cut}: {refused:?}");
        }
        let mut flipped = whole.clone();
        let crc = whole.len() - 6;
        flipped[crc] ^= 1;
        assert!(matches!(run(Coding::Gzip, &flipped, 3), Err(Refusal::NoPage(_))));
        let tail = [whole.as_slice(), b"tail"].concat();
        assert!(matches!(run(Coding::Gzip, &tail, 3), Err(Refusal::NoPage(_))));
    }

    #[test]
    fn caps_hold_for_both_sizes_and_stop_a_bomb_at_once() {
        let fits = format!("[{}]", " ".repeat(998));
        assert_eq!(run(Coding::Plain, fits.as_bytes(), 64).unwrap().1, LIMIT);
        assert!(matches!(run(Coding::Plain, format!("{fits} ").as_bytes(), 64), Err(Refusal::TooLarge("body"))));

        let bomb = gzip(format!("[{}]", " ".repeat(100_000)).as_bytes());
        assert!(bomb.len() < 500);
        assert!(matches!(run(Coding::Gzip, &bomb, 4096), Err(Refusal::TooLarge("uncompressed body"))));

        let nothings = gzip(b"").repeat(100);
        assert!(matches!(run(Coding::Gzip, &nothings, 64), Err(Refusal::TooLarge("compressed body"))));
    }

    /// Counts into what its test holds, and fails from the second write on.
    struct FullSink<'a>(&'a std::cell::Cell<u32>);

    impl PageSink for FullSink<'_> {
        fn write(&mut self, _: &[u8]) -> Result<()> {
            self.0.set(self.0.get() + 1);
            if self.0.get() == 1 { Ok(()) } else { Err(Error::new(ErrorKind::State, "disk full")) }
        }
    }

    #[test]
    fn sink_that_fails_is_not_written_to_again() {
        let mut noise = String::from("[");
        while noise.len() < 200_000 {
            noise.push(fastrand::alphanumeric());
        }
        for (coding, bytes) in [(Coding::Plain, noise.clone().into_bytes()), (Coding::Gzip, gzip(noise.as_bytes()))] {
            let writes = std::cell::Cell::new(0);
            let mut body = BodyCheck::new(coding, 1_000_000, FullSink(&writes));
            let failed = bytes.chunks(50_000).try_for_each(|chunk| body.write(chunk));
            assert!(matches!(failed, Err(Refusal::Sink(error)) if error.kind() == ErrorKind::State));
            drop(body);
            assert_eq!(writes.get(), 2, "{coding:?}");
        }
    }
}
