//! A part read back: object bytes → restored records → their hashes. The inverse of sealing.
//!
//! Pure. A part is believed only as a whole: an object with one line that is not a compact record of the hour is not a part of ours.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::ndjson;
use crate::digest::Sha256;
use crate::hour::Hour;
use crate::hour::part::PartIdentity;
use crate::record::row::Compactor;
use crate::record::{self, ContentHash, Fields, Record, Scratch};

/// What a part holds.
#[derive(Debug)]
pub struct ReadPart {
    /// The content hashes of its records, in its order.
    pub hashes: Vec<ContentHash>,
    /// Which part it is.
    pub identity: PartIdentity,
    /// The first event time in it.
    pub first: Timestamp,
    /// The last event time in it.
    pub last: Timestamp,
    /// Whether its records are in the total order of a part: by event time, then by hash, none twice.
    pub(crate) is_in_order: bool,
}

/// Why an object is not a part.
#[derive(Debug, thiserror::Error)]
pub enum NotAPart {
    /// It does not decompress, or what is inside is not text.
    #[error("it is no gzip of text: {0}")]
    NotGzip(#[from] std::io::Error),
    /// A line is not a compact record.
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

/// Reads `object` as a part of `hour`.
///
/// # Errors
/// [`NotAPart`], with the line.
pub fn read_part(object: &[u8], compactor: &Compactor, zone: &TimeZone, hour: Hour) -> Result<ReadPart, NotAPart> {
    read_part_and_fields(object, compactor, zone, hour, &mut |_| ())
}

/// The same, and hands the fields of each record to `each`: they may be believed only when all of them were read.
pub(crate) fn read_part_and_fields(
    object: &[u8],
    compactor: &Compactor,
    zone: &TimeZone,
    hour: Hour,
    each: &mut dyn FnMut(&Fields<'_>),
) -> Result<ReadPart, NotAPart> {
    let text = ndjson::decode(object)?;
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
    let identity = PartIdentity {
        rows: hashes.len() as u64,
        bytes: object.len() as u64,
        sha256: Sha256::of(object).to_string(),
        content_sha256: Sha256::of(&text).to_string(),
    };
    Ok(ReadPart { hashes, identity, first, last, is_in_order })
}
