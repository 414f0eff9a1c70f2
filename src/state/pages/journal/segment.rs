//! A segment: its number, its file's name, and what is in the file.
//!
//! ```text
//! <number, 16 digits>-<pages>.page
//!   0  8  magic "etlpage2"
//!   8  8  offset of the directory, little endian
//!  16  4  CRC-32 of everything behind the head, little endian
//!  20     the bodies, one behind the other
//!   …     the directory: bincode of `Directory`
//! ```
//! The checksum finds what a disk does to a file; each token in it is signed besides. Segments of the earlier form "etlpage1", with
//! 32 bytes of BLAKE3 as their checksum, are read as well. Writes nothing: see [`super::writer`].

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::state::files::durable;

pub(super) const MAGIC: &[u8; 8] = b"etlpage2";
const MAGIC_BEFORE: &[u8; 8] = b"etlpage1";
/// Bytes before the bodies.
pub(super) const HEAD: usize = 20;

/// What is behind the bodies of a segment. Times are nanoseconds since 1970.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) received: i128,
    pub(super) lengths: Vec<u64>,
}

/// A segment by its number; the count of pages is in the file's name, so that counting needs no reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// Rises by one with each segment and is never used again.
    pub number: u64,
    /// Pages in it.
    pub pages: u32,
}

impl SegmentId {
    pub(super) fn file_name(self) -> String {
        format!("{:016}-{}.page", self.number, self.pages)
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, pages) = name.strip_suffix(".page")?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, pages: pages.parse().ok()? })
    }

    /// When the segment of this id in `dir` was received, without reading its pages; where that cannot be read, when it was written.
    pub(super) fn received(self, dir: &Path) -> Option<Timestamp> {
        let file = durable::open(&dir.join(self.file_name())).ok()?;
        let at = |offset| {
            let mut bytes = [0; 16];
            file.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
        };
        let noted = at(0).and_then(|head| {
            let offset = u64::from_le_bytes(head.last_chunk::<8>().copied()?);
            Timestamp::from_nanosecond(i128::from_le_bytes(at(offset)?)).ok()
        });
        noted.or_else(|| Timestamp::try_from(file.metadata().ok()?.modified().ok()?).ok())
    }

    /// The segments in a directory, oldest first.
    pub(super) fn list(dir: &Path) -> Result<Vec<Self>> {
        Ok(durable::names(dir)?.iter().filter_map(|name| Self::parse(name)).collect())
    }
}

/// A segment in memory.
#[derive(Debug)]
pub struct Segment {
    /// Which one.
    pub id: SegmentId,
    /// When its pages were received: every later decision counts from this time.
    pub received: Timestamp,
    pub(super) bytes: Vec<u8>,
    pub(super) pages: Vec<Range<usize>>,
}

impl Segment {
    /// The segment in the `bytes` of its file; `None` where they are damaged.
    pub fn parse(id: SegmentId, bytes: Vec<u8>) -> Option<Self> {
        let (mut start, at) = bodies(&bytes)?;
        let directory: Directory = bincode::deserialize(bytes.get(at..)?).ok()?;
        let mut pages = Vec::with_capacity(directory.lengths.len());
        for length in directory.lengths {
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            pages.push(start..end);
            start = end;
        }
        let received = Timestamp::from_nanosecond(directory.received).ok()?;
        (start == at).then_some(Self { id, received, bytes, pages })
    }

    /// Reads the file at `path` and checks it. An error names the path: missing, unreadable or damaged.
    pub(super) fn read(path: &Path, id: SegmentId) -> Result<Self> {
        let missing = || Error::disk("read", path, std::io::ErrorKind::NotFound.into());
        let bytes = durable::read(path)?.ok_or_else(missing)?;
        Self::parse(id, bytes).ok_or_else(|| {
            Error::new(ErrorKind::State, format!("the journal's page {} is damaged", path.display()))
                .hint("its logs may still be at the source: move the file away to go on without it")
        })
    }

    /// The bodies of its pages, in the order of arrival.
    pub fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.pages.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    /// Its memory, for the next segment.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.bytes
    }
}

/// Where the bodies start and end; `None` where the checksum does not match.
fn bodies(bytes: &[u8]) -> Option<(usize, usize)> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let behind = match magic {
        MAGIC => rest.split_first_chunk().filter(|(sum, behind)| crc32fast::hash(behind).to_le_bytes() == **sum)?.1,
        MAGIC_BEFORE => rest.split_first_chunk().filter(|(sum, behind)| blake3::hash(behind).as_bytes() == *sum)?.1,
        _ => return None,
    };
    Some((bytes.len() - behind.len(), usize::try_from(u64::from_le_bytes(*offset)).ok()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The segment `bytes` in the earlier form.
    pub(in super::super) fn in_earlier_form(bytes: &[u8]) -> Vec<u8> {
        let behind = &bytes[HEAD..];
        let at = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) + 28;
        [&MAGIC_BEFORE[..], &at.to_le_bytes(), blake3::hash(behind).as_bytes(), behind].concat()
    }
}
