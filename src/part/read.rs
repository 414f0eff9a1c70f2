//! A part read back: object bytes → restored records → their hashes. The inverse of sealing.
//!
//! Pure. A part is believed only as a whole: one line that is no compact record of the hour makes it no part of ours.

use std::io::Read;

use flate2::read::GzDecoder;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::digest::Sha256;
use crate::hour::Hour;
use crate::record::row::Compactor;
use crate::record::{self, ContentHash, Fields, MAX_LINE, Record, Scratch};

/// No part unpacks to more than these bytes of lines: they are cut at a quarter of it, and a line has a quarter at most. What
/// does is a bomb, or nobody's.
const LARGEST: u64 = 4 * MAX_LINE as u64;

/// What a part holds.
#[derive(Debug)]
pub struct ReadPart {
    /// The content hashes of its records, in its order.
    pub hashes: Vec<ContentHash>,
    /// Size of the object.
    pub bytes: u64,
    /// SHA-256 of the object, hex.
    pub sha256: String,
    /// SHA-256 of the lines, hex.
    pub content_sha256: String,
    /// The first event time in it.
    pub first: Timestamp,
    /// The last event time in it.
    pub last: Timestamp,
    /// Whether its records are in the total order of a part: by event time, then by hash, none twice.
    pub is_in_order: bool,
}

impl ReadPart {
    /// Records in it.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.hashes.len() as u64
    }
}

/// Why an object is no part.
#[derive(Debug, thiserror::Error)]
pub enum NotAPart {
    /// It does not decompress, or what is inside is no text.
    #[error("it is no gzip of text: {0}")]
    NotGzip(#[from] std::io::Error),
    /// A line is no compact record.
    #[error("line {line}: {reason}")]
    NotARow {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A record belongs elsewhere.
    #[error("line {line} belongs to hour {found}")]
    OtherHour {
        /// Counted from 1.
        line: usize,
        /// Where it belongs.
        found: Hour,
    },
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
}

/// The lines of a part's object, decompressed.
///
/// # Errors
/// [`NotAPart::NotGzip`].
pub fn lines(object: &[u8]) -> Result<String, NotAPart> {
    let mut text = String::new();
    let mut gzip = GzDecoder::new(object).take(LARGEST + 1);
    gzip.read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(NotAPart::NotGzip(std::io::Error::other("it unpacks to more than any part holds")));
    }
    if !gzip.into_inner().into_inner().is_empty() {
        return Err(NotAPart::NotGzip(std::io::Error::other("bytes behind the gzip member")));
    }
    Ok(text)
}

/// Reads a part of `hour`.
///
/// # Errors
/// [`NotAPart`], with the line.
pub fn read(object: &[u8], compactor: &Compactor, zone: &TimeZone, hour: Hour) -> Result<ReadPart, NotAPart> {
    read_each(object, compactor, zone, hour, &mut |_| ())
}

/// Reads a part of `hour`, and gives the fields of each record to `each`: to be believed only once all of them were read.
///
/// # Errors
/// [`NotAPart`], with the line.
pub fn read_each(
    object: &[u8],
    compactor: &Compactor,
    zone: &TimeZone,
    hour: Hour,
    each: &mut dyn FnMut(&Fields<'_>),
) -> Result<ReadPart, NotAPart> {
    let text = lines(object)?;
    let (mut hashes, mut scratch) = (Vec::new(), Scratch::default());
    let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
    let (mut before, mut is_in_order) = (None, true);
    for (index, row) in text.lines().enumerate() {
        let line = index + 1;
        let not_a_row = |reason: record::Reason| NotAPart::NotARow { line, reason: reason.to_string() };
        let fields = compactor.restore(row).map_err(not_a_row)?;
        let record = Record::dated(fields, zone).map_err(not_a_row)?;
        if record.hour != hour {
            return Err(NotAPart::OtherHour { line, found: record.hour });
        }
        (first, last) = (first.min(record.at), last.max(record.at));
        let hash = record::content_hash(&record.fields, &mut scratch);
        let at = Some((record.at, hash));
        is_in_order &= before < at;
        before = at;
        hashes.push(hash);
        each(&record.fields);
    }
    if hashes.is_empty() {
        return Err(NotAPart::Empty);
    }
    Ok(ReadPart {
        hashes,
        bytes: object.len() as u64,
        sha256: Sha256::of(object).to_string(),
        content_sha256: Sha256::of(&text).to_string(),
        first,
        last,
        is_in_order,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn object_that_unpacks_without_end_is_no_part_and_costs_bounded_memory() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..LARGEST / (1 << 20) {
            gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        let largest = gzip.get_ref().len();
        gzip.write_all(b"more").unwrap();
        let bomb = gzip.finish().unwrap();
        assert!(largest < 4 << 20, "{largest}");
        let refused = lines(&bomb).unwrap_err().to_string();
        assert!(refused.contains("gzip"), "{refused}");
    }
}
