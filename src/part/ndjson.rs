//! The format of a part's object: its lines, gzipped, one member with no time in it.
//!
//! Pure. The only place that encodes or decodes a part's bytes; another format is another file like this one. Invariant: the same
//! lines give the same bytes.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread;
use flate2::read::MultiGzDecoder;

use super::gzip::Gzip;
use crate::digest::{Hasher, Sha256};
use crate::hour::part::PartIdentity;
use crate::record::MAX_LINE;

/// What an HTTP store says that the object is.
pub(crate) const CONTENT_TYPE: &str = "application/x-ndjson";
/// Measured on lines of the origin's kind, µs and bytes a record with zlib-rs: level 1 0.60 and 60.0, level 2 0.77 and 48.1,
/// level 4 1.03 and 45.9, level 6 1.47 and 45.6, level 9 2.47 and 44.9. `benches/README.md` has all of them.
pub const LEVEL: u32 = 4;
/// The longest text that is decoded. Parts are cut at a quarter of it, and a line has a quarter at most: what is longer is a
/// bomb, or not ours.
const LONGEST: u64 = 4 * MAX_LINE as u64;

/// Writes the lines of one part as its object, and digests both.
pub(super) struct PartWriter<'g, W> {
    gzip: &'g mut Gzip,
    out: Digesting<W>,
    content: Hasher,
}

impl<'g, W: Write> PartWriter<'g, W> {
    /// Begins a part. `out` gets large pieces.
    pub(super) fn begin(gzip: &'g mut Gzip, out: W) -> Self {
        gzip.begin();
        Self { gzip, out: Digesting { out, sha256: Hasher::default(), bytes: 0 }, content: Hasher::default() }
    }

    /// Adds a piece of the lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.content.update(lines);
        self.gzip.write(lines, &mut |some| self.out.write(some))
    }

    /// Ends the part, of so many lines.
    pub(super) fn finish(mut self, rows: u64) -> io::Result<PartIdentity> {
        self.gzip.finish(&mut |some| self.out.write(some))?;
        let (sha256, content_sha256) = (self.out.sha256.finish().to_string(), self.content.finish().to_string());
        Ok(PartIdentity { rows, bytes: self.out.bytes, sha256, content_sha256 })
    }
}

/// The object with these lines, and what identifies it.
pub(crate) fn encode(lines: &[u8]) -> io::Result<(Vec<u8>, PartIdentity)> {
    let (mut object, mut gzip) = (Vec::new(), Gzip::new(LEVEL));
    let mut writer = PartWriter::begin(&mut gzip, &mut object);
    writer.write(lines)?;
    let rows = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
    let identity = writer.finish(rows)?;
    Ok((object, identity))
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
pub(crate) fn for_each_line(object: &[u8], each: &mut dyn FnMut(&str)) -> io::Result<Sha256> {
    let mut text = BufReader::with_capacity(1 << 16, bufread::GzDecoder::new(object).take(LONGEST + 1));
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
    if !text.into_inner().into_inner().into_inner().is_empty() {
        return Err(io::Error::other("there are bytes after the gzip member"));
    }
    Ok(sha256.finish())
}

fn without_its_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// The digest and the number of an object's lines, in little memory. `None`: it does not decode.
pub(crate) fn content_of(object: impl Read) -> Option<(Sha256, u64)> {
    let mut content = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(object));
    let (mut sha256, mut rows) = (Hasher::default(), 0_u64);
    loop {
        let chunk = content.fill_buf().ok()?;
        if chunk.is_empty() {
            return Some((sha256.finish(), rows));
        }
        sha256.update(chunk);
        let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
        rows += u64::try_from(lines).ok()?;
        let read = chunk.len();
        content.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;

    /// The same at once, in memory.
    fn decode(object: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        let mut gzip = GzDecoder::new(object).take(LONGEST + 1);
        gzip.read_to_string(&mut text)?;
        if text.len() as u64 > LONGEST {
            return Err(io::Error::other("it unpacks to more than any part holds"));
        }
        if !gzip.into_inner().into_inner().is_empty() {
            return Err(io::Error::other("there are bytes after the gzip member"));
        }
        Ok(text)
    }

    #[test]
    fn decoded_is_what_was_encoded_and_both_sides_are_digested() {
        let mut object = Vec::new();
        let mut gzip = Gzip::new(LEVEL);
        let mut encoder = PartWriter::begin(&mut gzip, &mut object);
        encoder.write(b"{\"a\":1}\n").unwrap();
        encoder.write(b"{\"a\":2}\n").unwrap();
        let identity = encoder.finish(2).unwrap();
        let text = decode(&object).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"a\":2}\n");
        assert_eq!((identity.rows, identity.bytes), (2, object.len() as u64));
        assert_eq!(identity.sha256, Sha256::of(&object).to_string());
        assert_eq!(identity.content_sha256, Sha256::of(&text).to_string());
        assert_eq!(content_of(&*object), Some((Sha256::of(&text), 2)));
        let mut lines = Vec::new();
        assert_eq!(for_each_line(&object, &mut |line| lines.push(line.to_owned())).unwrap(), Sha256::of(&text));
        assert_eq!(lines, ["{\"a\":1}", "{\"a\":2}"]);
    }

    #[test]
    fn object_that_unpacks_without_end_is_no_part_and_costs_bounded_memory() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..LONGEST / (1 << 20) {
            gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let largest = gzip.get_ref().len();
        gzip.write_all(b"more").unwrap();
        let bomb = gzip.finish().unwrap();
        assert!(largest < 4 << 20, "{largest}");
        assert!(decode(&bomb).unwrap_err().to_string().contains("more than any part holds"));
        let mut ignored = |_: &str| ();
        let why = |object: &[u8], each: &mut dyn FnMut(&str)| for_each_line(object, each).unwrap_err().to_string();
        assert!(why(&bomb, &mut ignored).contains("more than any part holds"));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a\n\xff\nb\n").unwrap();
        let packed = packed.finish().unwrap();
        assert!(why(&packed, &mut ignored).contains("UTF-8") && decode(&packed).is_err());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a\nb").unwrap();
        let mut packed = packed.finish().unwrap();
        let mut lines = Vec::new();
        for_each_line(&packed, &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["a", "b"]);
        packed.push(0);
        assert!(why(&packed, &mut ignored).contains("bytes after"));
        packed.truncate(packed.len() - 4);
        assert!(for_each_line(&packed, &mut ignored).is_err());
    }
}
