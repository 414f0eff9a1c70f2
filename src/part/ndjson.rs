//! Parts of lines: compact rows, one a line, all of them compressed as one: a gzip member without a time, or a zstd frame.
//!
//! Pure. Invariant: the same lines give the same bytes.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread;
use flate2::read::MultiGzDecoder;

use super::packer::{Levels, Packer, Packers};
use super::zstd;
use crate::digest::{Hasher, Sha256};
use crate::hour::format::Compression;
use crate::hour::part::PartIdentity;
use crate::record::MAX_LINE;

/// How hard parts of lines are compressed. Measured on lines of the origin's kind, µs and bytes a record. gzip (zlib-rs): level 1 0.60 and 60.0,
/// level 2 0.77 and 48.1, level 4 1.03 and 45.9, level 6 1.47 and 45.6, level 9 2.47 and 44.9. zstd, in hours of 50 000, when gzip 4 took
/// 1.11: level 1 0.38 and 39.5, level 3 0.69 and 29.2, level 6 1.79 and 26.1. `benches/README.md` has all of them.
pub const LEVELS: Levels = Levels { gzip: 4, zstd: 3 };
/// The longest text that is decoded. Parts are cut at a quarter of it, and a line has a quarter at most: what is longer is a
/// bomb, or not ours.
const LONGEST: u64 = 4 * MAX_LINE as u64;

/// Writes the lines of one part as its object, and digests both.
pub(super) struct PartWriter<'p, W> {
    packers: &'p Packers,
    packer: Packer,
    out: Digesting<W>,
    content: Hasher,
}

impl<'p, W: Write> PartWriter<'p, W> {
    /// Begins a part. `out` gets large pieces.
    pub(super) fn begin(packers: &'p Packers, out: W) -> io::Result<Self> {
        let mut packer = packers.take()?;
        packer.begin()?;
        Ok(Self {
            packers,
            packer,
            out: Digesting { out, sha256: Hasher::default(), bytes: 0 },
            content: Hasher::default(),
        })
    }

    /// Adds a piece of the lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.content.update(lines);
        self.packer.write(lines, &mut |some| self.out.write(some))
    }

    /// Ends the part, of so many lines.
    pub(super) fn finish(mut self, rows: u64) -> io::Result<PartIdentity> {
        self.packer.finish(&mut |some| self.out.write(some))?;
        self.packers.give_back(self.packer);
        let (sha256, content_sha256) = (self.out.sha256.finish().to_string(), self.content.finish().to_string());
        Ok(PartIdentity { rows, bytes: self.out.bytes, sha256, content_sha256 })
    }
}

/// An output whose bytes are digested and counted.
struct Digesting<W> {
    out: W,
    sha256: Hasher,
    bytes: u64,
}

impl<W: Write> Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Hands the lines of an object to `each`, one at a time, whether or not all of it turns out to be sound. Gives the digest of all. An error
/// says why it is not a part.
pub(super) fn for_each_line(compression: Compression, object: &[u8], each: &mut dyn FnMut(&str)) -> io::Result<Sha256> {
    let (sha256, behind) = match compression {
        Compression::Gzip => {
            let mut text = bufread::GzDecoder::new(object);
            (lines_of(&mut text, each)?, text.into_inner())
        }
        Compression::Zstd => {
            let mut text = zstd::reader(object)?;
            (lines_of(&mut text, each)?, text.finish())
        }
    };
    match behind {
        [] => Ok(sha256),
        _ => Err(io::Error::other("there are bytes after its end")),
    }
}

fn lines_of(text: impl Read, each: &mut dyn FnMut(&str)) -> io::Result<Sha256> {
    let mut text = BufReader::with_capacity(1 << 16, text.take(LONGEST + 1));
    let (mut sha256, mut line, mut is_text, mut length) = (Hasher::default(), Vec::new(), true, 0);
    while text.read_until(b'\n', &mut line)? > 0 {
        sha256.update(&line);
        length += line.len() as u64;
        match std::str::from_utf8(&line) {
            Ok(line) if is_text => each(without_its_end(line)),
            Ok(_) => {}
            Err(_) => is_text = false,
        }
        line.clear();
    }
    if !is_text {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8"));
    }
    if length > LONGEST {
        return Err(io::Error::other("it unpacks to more than any part holds"));
    }
    Ok(sha256.finish())
}

fn without_its_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// The digest and the number of an object's lines, in little memory. `None`: it does not decode.
pub(super) fn content_of(compression: Compression, object: impl Read) -> Option<(Sha256, u64)> {
    match compression {
        Compression::Gzip => count(MultiGzDecoder::new(object)),
        Compression::Zstd => {
            let mut frame = zstd::reader(BufReader::with_capacity(1 << 16, object)).ok()?;
            let content = count(&mut frame)?;
            frame.finish().fill_buf().ok()?.is_empty().then_some(content)
        }
    }
}

fn count(text: impl Read) -> Option<(Sha256, u64)> {
    let mut content = BufReader::with_capacity(1 << 16, text.take(LONGEST + 1));
    let (mut sha256, mut rows, mut length) = (Hasher::default(), 0_u64, 0_u64);
    loop {
        let chunk = content.fill_buf().ok()?;
        if chunk.is_empty() {
            return (length <= LONGEST).then(|| (sha256.finish(), rows));
        }
        sha256.update(chunk);
        rows += u64::try_from(chunk.iter().filter(|byte| **byte == b'\n').count()).ok()?;
        let read = chunk.len();
        length += u64::try_from(read).ok()?;
        content.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(compression: Compression, pieces: &[&[u8]]) -> (Vec<u8>, PartIdentity) {
        let (mut object, packers) = (Vec::new(), Packers::new(compression, LEVELS));
        let mut writer = PartWriter::begin(&packers, &mut object).unwrap();
        pieces.iter().for_each(|piece| writer.write(piece).unwrap());
        let rows = pieces.concat().iter().filter(|byte| **byte == b'\n').count() as u64;
        let identity = writer.finish(rows).unwrap();
        (object, identity)
    }

    fn lines(compression: Compression, object: &[u8]) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for_each_line(compression, object, &mut |line| lines.push(line.to_owned()))?;
        Ok(lines)
    }

    fn why(compression: Compression, object: &[u8]) -> String {
        for_each_line(compression, object, &mut |_| ()).unwrap_err().to_string()
    }

    #[test]
    fn decoded_is_what_was_encoded_and_both_sides_are_digested() {
        let mut contents = Vec::new();
        for compression in Compression::ALL {
            let (object, identity) = encode(compression, &[b"{\"a\":1}\n", b"{\"a\":2}\n"]);
            let text = "{\"a\":1}\n{\"a\":2}\n";
            assert_eq!((identity.rows, identity.bytes), (2, object.len() as u64));
            assert_eq!(identity.sha256, Sha256::of(&object).to_string());
            assert_eq!(identity.content_sha256, Sha256::of(text).to_string());
            assert_eq!(content_of(compression, &*object), Some((Sha256::of(text), 2)));
            assert_eq!(lines(compression, &object).unwrap(), ["{\"a\":1}", "{\"a\":2}"]);
            contents.push(identity.content_sha256);
        }
        assert!(contents.windows(2).all(|two| two[0] == two[1]), "the format is no part of the identity");
    }

    #[test]
    fn object_of_another_compression_or_of_none_is_no_part() {
        let (gzip, _) = encode(Compression::Gzip, &[b"a\n"]);
        let (zstd, _) = encode(Compression::Zstd, &[b"a\n"]);
        for (compression, object) in [
            (Compression::Gzip, &*zstd),
            (Compression::Zstd, &*gzip),
            (Compression::Zstd, b""),
            (Compression::Gzip, b""),
        ] {
            assert!(for_each_line(compression, object, &mut |_| ()).is_err(), "{compression:?}");
        }
        assert_eq!(content_of(Compression::Zstd, &*gzip), None);
        assert_eq!(content_of(Compression::Zstd, &b""[..]), None);
        assert_eq!(content_of(Compression::Gzip, &*zstd), None);
    }

    #[test]
    fn object_that_is_cut_changed_or_goes_on_is_no_part() {
        let text: String = (0..2_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        for compression in Compression::ALL {
            let (object, _) = encode(compression, &[text.as_bytes()]);
            for length in [1, 4, 9, object.len() / 2, object.len() - 4, object.len() - 1] {
                assert!(lines(compression, &object[..length]).is_err(), "{compression:?} cut at {length}");
                assert_eq!(content_of(compression, &object[..length]), None, "{compression:?} cut at {length}");
            }
            let mut more = object.clone();
            more.push(0);
            assert!(why(compression, &more).contains("bytes after"), "{compression:?}");
            let mut changed = object.clone();
            // In the checksum of the content.
            let last = changed.len() - if compression == Compression::Gzip { 8 } else { 1 };
            changed[last] ^= 1;
            assert!(lines(compression, &changed).is_err() && content_of(compression, &*changed).is_none());
        }
        let (frame, _) = encode(Compression::Zstd, &[b"a\n"]);
        let twice = [frame.clone(), frame].concat();
        assert!(why(Compression::Zstd, &twice).contains("bytes after"));
        assert_eq!(content_of(Compression::Zstd, &*twice), None);
    }

    #[test]
    fn text_is_needed_and_the_last_line_need_not_end() {
        for compression in Compression::ALL {
            let (object, _) = encode(compression, &[b"a\n\xff\nb\n"]);
            assert!(why(compression, &object).contains("UTF-8"));
            let (object, _) = encode(compression, &[b"a\nb"]);
            assert_eq!(lines(compression, &object).unwrap(), ["a", "b"]);
        }
    }

    #[test]
    fn object_that_unpacks_without_end_is_no_part_and_costs_bounded_memory() {
        for compression in Compression::ALL {
            let (mut object, packers) = (Vec::new(), Packers::new(compression, Levels { gzip: 1, zstd: 1 }));
            let mut writer = PartWriter::begin(&packers, &mut object).unwrap();
            let spaces = vec![b' '; 1 << 20];
            (0..LONGEST >> 20).for_each(|_| writer.write(&spaces).unwrap());
            writer.write(b"more").unwrap();
            writer.finish(0).unwrap();
            assert!(object.len() < 4 << 20, "{}", object.len());
            assert!(why(compression, &object).contains("more than any part holds"));
            assert_eq!(content_of(compression, &*object), None);
        }
    }

    #[test]
    fn frame_that_wants_a_wider_window_than_every_decoder_has_is_no_part() {
        use ::zstd::stream::write::Encoder;

        let mut encoder = Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&b"{}\n".repeat(100_000)).unwrap();
        let object = encoder.finish().unwrap();
        assert!(lines(Compression::Zstd, &object).is_err());
        assert_eq!(content_of(Compression::Zstd, &*object), None);
    }
}
