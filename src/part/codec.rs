//! The choice between the formats of parts: lines to an object and back.
//!
//! Pure. The only place that knows which formats there are; each has a file of its own. Invariant: whatever the format, what comes back are
//! the compact lines that went in, and the content's digest is theirs.

use std::io::{self, Read, Write};

use super::ndjson;
use super::packer::{Levels, Packers};
use crate::digest::Sha256;
use crate::hour::format::Format;
use crate::hour::part::PartIdentity;

/// Makes the objects of parts of one format. What it needs for that, it uses again.
pub struct Codec {
    packers: Packers,
}

impl Codec {
    /// Parts of this format.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { packers: Packers::new(format.compression, ndjson::LEVELS) }
    }

    /// The same, compressed as hard as these levels say: for measuring.
    #[must_use]
    pub const fn at_levels(format: Format, gzip: u32, zstd: i32) -> Self {
        Self { packers: Packers::new(format.compression, Levels { gzip, zstd }) }
    }

    /// Begins a part.
    pub(super) fn begin<W: Write>(&self, out: W) -> io::Result<PartWriter<'_, W>> {
        Ok(PartWriter(ndjson::PartWriter::begin(&self.packers, out)?))
    }

    /// The object with these lines, and what identifies it.
    pub fn encode(&self, lines: &[u8]) -> io::Result<(Vec<u8>, PartIdentity)> {
        let mut object = Vec::new();
        let mut writer = self.begin(&mut object)?;
        writer.write(lines)?;
        let rows = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        let identity = writer.finish(rows)?;
        Ok((object, identity))
    }
}

/// Writes the lines of one part as its object.
pub(super) struct PartWriter<'c, W>(ndjson::PartWriter<'c, W>);

impl<W: Write> PartWriter<'_, W> {
    /// Adds a piece of the lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write(lines)
    }

    /// Ends the part, of so many lines.
    pub(super) fn finish(self, rows: u64) -> io::Result<PartIdentity> {
        self.0.finish(rows)
    }
}

/// Hands the lines of an object to `each`, one at a time, whether or not all of it turns out to be sound. Gives the digest of all. An error
/// says why it is not a part.
pub(crate) fn for_each_line(format: Format, object: &[u8], each: &mut dyn FnMut(&str)) -> io::Result<Sha256> {
    ndjson::for_each_line(format.compression, object, each)
}

/// The digest and the number of an object's lines, in little memory. `None`: it does not decode.
pub(crate) fn content_of(format: Format, object: impl Read) -> Option<(Sha256, u64)> {
    ndjson::content_of(format.compression, object)
}

/// Whether these bytes may be a part's: they begin as one of any format does.
pub(crate) fn begins_a_part(bytes: &[u8]) -> bool {
    const MAGIC: [&[u8]; 3] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"PAR1"];
    MAGIC.iter().any(|magic| bytes.starts_with(magic))
}
