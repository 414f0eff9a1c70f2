//! The choice between the formats of parts: lines to an object and back.
//!
//! Pure. The only place that knows which formats there are; each has a file of its own. Invariant: whatever the format, what comes back are
//! the compact lines that went in, and the content's digest is theirs.

use std::io::{self, Read, Write};

use super::packer::{Levels, Packers};
pub use super::parquet::Columns;
use super::parquet::{MOST_ENTRIES, ParquetWriter};
use super::{LONGEST, ndjson};
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::format::{Compression, Encoding, Format};
use crate::hour::part::PartIdentity;
use crate::record::row::{Compactor, Dictionaries};

/// Makes the objects of parts of one format. What it needs for that, it uses again.
pub struct Codec<'c>(Kind<'c>);

enum Kind<'c> {
    Lines(Packers),
    /// With these columns, of rows that this compactor restores.
    Columns(&'c Columns, &'c Compactor, Compression),
}

impl<'c> Codec<'c> {
    /// Parts of this format. Columns need to know which there are, and what restores the rows.
    #[must_use]
    pub const fn new(format: Format, columns: &'c Columns, compactor: &'c Compactor) -> Self {
        match format.encoding {
            Encoding::Ndjson => Self::lines(format.compression),
            Encoding::Parquet => Self(Kind::Columns(columns, compactor, format.compression)),
        }
    }

    /// Parts of lines.
    #[must_use]
    pub const fn lines(compression: Compression) -> Self {
        Self(Kind::Lines(Packers::new(compression, ndjson::LEVELS)))
    }

    /// The same, compressed as hard as these levels say: for measuring.
    #[must_use]
    pub const fn lines_at(compression: Compression, gzip: u32, zstd: i32) -> Self {
        Self(Kind::Lines(Packers::new(compression, Levels { gzip, zstd })))
    }

    /// Begins a part.
    pub(super) fn begin<W: Write + Send>(&self, out: W) -> io::Result<PartWriter<'_, W>> {
        Ok(match self.0 {
            Kind::Lines(ref packers) => PartWriter::Lines(Box::new(ndjson::PartWriter::begin(packers, out)?)),
            Kind::Columns(columns, compactor, compression) => {
                PartWriter::Columns(Box::new(ParquetWriter::begin(columns, compactor, compression, out)?))
            }
        })
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

/// Checks that parts of this format can be written under these dictionaries: those of columns hold them in their footers.
///
/// # Errors
/// `Config`: there are more entries than a footer holds.
pub(crate) fn check_dictionaries(format: Format, dictionaries: &Dictionaries) -> Result<()> {
    if format.encoding == Encoding::Ndjson || dictionaries.len() <= MOST_ENTRIES {
        return Ok(());
    }
    let what =
        format!("[compact] has {} entries, and a part of Parquet holds at most {MOST_ENTRIES}", dictionaries.len());
    Err(Error::new(ErrorKind::Config, what)
        .hint("leave rare values out of it: they are stored as they are, and Parquet packs them well"))
}

/// Writes the lines of one part as its object.
pub(super) enum PartWriter<'c, W: Write + Send> {
    Lines(Box<ndjson::PartWriter<'c, W>>),
    Columns(Box<ParquetWriter<'c, W>>),
}

impl<W: Write + Send> PartWriter<'_, W> {
    /// Adds a piece of the lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Lines(writer) => writer.write(lines),
            Self::Columns(writer) => writer.write(lines),
        }
    }

    /// Ends the part, of so many lines.
    pub(super) fn finish(self, rows: u64) -> io::Result<PartIdentity> {
        match self {
            Self::Lines(writer) => writer.finish(rows),
            Self::Columns(writer) => writer.finish(rows),
        }
    }
}

/// Hands the lines of an object to `each`, one at a time, whether or not all of it turns out to be sound. Gives the digest of all. An error
/// says why it is not a part.
pub(crate) fn for_each_line(format: Format, object: &[u8], each: &mut dyn FnMut(&str)) -> io::Result<Sha256> {
    match format.encoding {
        Encoding::Ndjson => ndjson::for_each_line(format.compression, object, each),
        Encoding::Parquet => super::parquet::for_each_line(object, each),
    }
}

/// The digest and the number of an object's lines, in little memory beside an object of columns. `None`: it does not decode.
pub(crate) fn content_of(format: Format, object: impl Read) -> Option<(Sha256, u64)> {
    match format.encoding {
        Encoding::Ndjson => ndjson::content_of(format.compression, object),
        Encoding::Parquet => {
            let mut whole = Vec::new();
            object.take(LONGEST).read_to_end(&mut whole).ok()?;
            super::parquet::content_of(&whole).ok()
        }
    }
}

/// Whether these bytes may be a part's: they begin as one of any format does.
pub(crate) fn begins_a_part(bytes: &[u8]) -> bool {
    const MAGIC: [&[u8]; 3] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"PAR1"];
    MAGIC.iter().any(|magic| bytes.starts_with(magic))
}
