//! The check of a body while it streams: complete by its first and last byte, within the size caps, unpacked.
//!
//! Owns the caps: `limit` holds for the bytes of a JSON text as received and as written, which stops a large body as well as a small
//! one that unpacks to a large one; of lines it holds for each. Invariant: nothing is written to the sink after a refusal.

mod content;
mod json;
pub(super) mod lines;
mod unpack;

use std::io::{self, Read, Write};

use self::content::Content;
pub(super) use self::content::{Beginning, Expected, Kind};
use self::unpack::Stream;
pub(super) use self::unpack::{Coding, reader};
use super::{FileSink, PageSink};
use crate::error::Error;

/// Compressed bytes read at a time.
pub(super) const CHUNK: usize = 64 * 1024;

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
pub(super) struct BodyCheck<'p, S: PageSink> {
    stream: Stream<'p, S>,
    received: u64,
    limit: u64,
}

impl<'p, S: PageSink> BodyCheck<'p, S> {
    /// # Errors
    /// [`Refusal::NoPage`]: what unpacks it cannot be had.
    pub(super) fn new(coding: Coding, expected: Expected<'p>, sink: S) -> Result<Self, Refusal> {
        let (limit, content) = (expected.limit, Content::new(expected));
        let checked = Checked { sink, content, bytes: 0, refusal: None, closed: false };
        let stream = Stream::new(coding, checked).map_err(|cause| no_unpacker(&cause))?;
        Ok(Self { stream, received: 0, limit })
    }

    /// Takes the next bytes, as received.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.received = self.received.saturating_add(length(bytes));
        if !self.stream.is_lines() {
            within(self.limit, self.received, self.stream.form())?;
        }
        self.stream.write(bytes).map_err(|cause| self.stream.refusal(&cause))
    }

    /// Takes all of `source`. The inner error is one of reading it.
    pub(super) fn read(&mut self, source: &mut impl Read) -> Result<io::Result<()>, Refusal>
    where
        S: FileSink,
    {
        if let Stream::Plain(checked) = &mut self.stream
            && checked.content.is_json()
        {
            let limit = self.limit;
            // One byte more shows that it is too large.
            let taken = match checked.sink.take_all(&mut source.take(limit.saturating_add(1))) {
                Ok(taken) => taken,
                Err(cause) => return Ok(Err(cause)),
            };
            self.received = self.received.saturating_add(length(taken));
            checked.bytes = self.received;
            within(limit, self.received, "body")?;
            return checked.content.add_taken(taken).map(Ok);
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

    /// Whether it is lines, as far as it is known.
    pub(super) fn is_lines(&mut self) -> bool {
        self.stream.is_lines()
    }

    /// What packs it, as far as it is known.
    pub(super) const fn coding(&self) -> Coding {
        self.stream.coding()
    }

    /// Ends the body. Returns the sink and the number of bytes that the body has unpacked.
    pub(super) fn finish(mut self) -> Result<(S, u64), Refusal> {
        // An empty body is reported as empty, not as a stream that was cut short.
        if self.received == 0 && self.coding().name().is_some() {
            return Err(Refusal::NoPage("the body is empty".to_owned()));
        }
        self.stream.finish().map_err(|cause| self.stream.refusal(&cause))?;
        let mut checked = self.stream.into_checked().map_err(|cause| no_unpacker(&cause))?;
        checked.content.finish(&mut checked.sink)?;
        Ok((checked.sink, checked.bytes))
    }
}

fn no_unpacker(cause: &io::Error) -> Refusal {
    Refusal::NoPage(format!("the body cannot be unpacked ({cause})"))
}

fn within(limit: u64, bytes: u64, form: &'static str) -> Result<(), Refusal> {
    if bytes > limit { Err(Refusal::TooLarge(form)) } else { Ok(()) }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A sink behind the check.
struct Checked<'p, S> {
    sink: S,
    content: Content<'p>,
    /// Bytes of the body, unpacked.
    bytes: u64,
    refusal: Option<Refusal>,
    closed: bool,
}

impl<S: PageSink> Write for Checked<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Err(io::Error::other("refused"));
        }
        self.bytes = self.bytes.saturating_add(length(bytes));
        self.content.add(bytes, &mut self.sink).map(|()| bytes.len()).map_err(|refusal| {
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

#[cfg(test)]
pub(super) mod tests;
