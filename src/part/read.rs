//! A part read back: object bytes → restored records → their hashes. The inverse of sealing.
//!
//! Pure. A part is believed only as a whole: an object with one line that is not a compact record of the hour is not a part of ours. It is
//! unpacked line by line: beside the object, memory is 16 bytes a record.

use jiff::Timestamp;

use super::codec;
use crate::digest::Sha256;
use crate::hour::Hour;
use crate::hour::format::{Compression, Encoding, Format};
use crate::hour::part::PartIdentity;
use crate::record::row::Compactor;
use crate::record::{self, ContentHash, Dating, Fields, Scratch};

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
    /// It does not decode.
    #[error("it is no {}: {why}", what(*.format))]
    NotDecoded {
        /// As what it was read.
        format: Format,
        /// What is wrong with it.
        why: std::io::Error,
    },
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

const fn what(format: Format) -> &'static str {
    match (format.encoding, format.compression) {
        (Encoding::Ndjson, Compression::Gzip) => "gzip of text",
        (Encoding::Ndjson, Compression::Zstd) => "zstd of text",
        (Encoding::Parquet, _) => "Parquet of ours",
    }
}

/// Reads `object`, which is of this format, as a part of `hour`.
///
/// # Errors
/// [`NotAPart`], with the line.
pub fn read_part(
    format: Format,
    object: &[u8],
    compactor: &Compactor,
    dating: &Dating,
    hour: Hour,
) -> Result<ReadPart, NotAPart> {
    read_part_and_fields(format, object, compactor, dating, hour, &mut |_| ())
}

/// The same, and hands the fields of each record to `each`: they may be believed only when all of them were read.
pub(crate) fn read_part_and_fields(
    format: Format,
    object: &[u8],
    compactor: &Compactor,
    dating: &Dating,
    hour: Hour,
    each: &mut dyn FnMut(&Fields<'_>),
) -> Result<ReadPart, NotAPart> {
    let mut reader =
        Reader { compactor, dating, hour, read: ReadPart::empty(object), scratch: Scratch::default(), before: None };
    let (mut line, mut refused) = (0, None);
    // What does not decode is told apart from what holds no rows.
    let content = codec::for_each_line(format, object, &mut |row| {
        line += 1;
        if refused.is_none() {
            refused = reader.row(line, row, each).err();
        }
    });
    let content = content.map_err(|why| NotAPart::NotDecoded { format, why })?;
    let mut read = reader.read;
    match refused {
        Some(refused) => return Err(refused),
        None if read.hashes.is_empty() => return Err(NotAPart::Empty),
        None => {}
    }
    read.identity.rows = read.hashes.len() as u64;
    read.identity.content_sha256 = content.to_string();
    Ok(read)
}

/// Hands the fields of each record of a part that was read before to `each`.
pub(crate) fn fields_of(
    format: Format,
    object: &[u8],
    compactor: &Compactor,
    each: &mut dyn FnMut(&Fields<'_>),
) -> Result<(), NotAPart> {
    let (mut line, mut refused) = (0, None);
    let read = codec::for_each_line(format, object, &mut |row| {
        line += 1;
        match compactor.restore(row) {
            Ok(fields) if refused.is_none() => each(&fields),
            Ok(_) => {}
            Err(reason) => refused = Some(not_a_row(line, &reason)),
        }
    });
    read.map_err(|why| NotAPart::NotDecoded { format, why })?;
    refused.map_or(Ok(()), Err)
}

fn not_a_row(line: usize, reason: &record::Reason) -> NotAPart {
    NotAPart::NotARow { line, reason: reason.to_string() }
}

impl ReadPart {
    fn empty(object: &[u8]) -> Self {
        let (bytes, sha256) = (object.len() as u64, Sha256::of(object).to_string());
        Self {
            hashes: Vec::new(),
            identity: PartIdentity { rows: 0, bytes, sha256, content_sha256: String::new() },
            first: Timestamp::MAX,
            last: Timestamp::MIN,
            is_in_order: true,
        }
    }
}

/// Reads row after row.
struct Reader<'a> {
    compactor: &'a Compactor,
    dating: &'a Dating,
    hour: Hour,
    read: ReadPart,
    scratch: Scratch,
    before: Option<(Timestamp, ContentHash)>,
}

impl Reader<'_> {
    fn row(&mut self, line: usize, row: &str, each: &mut dyn FnMut(&Fields<'_>)) -> Result<(), NotAPart> {
        let fields = self.compactor.restore(row).map_err(|reason| not_a_row(line, &reason))?;
        let record = self.dating.date(fields).map_err(|reason| not_a_row(line, &reason))?;
        if record.hour != self.hour {
            return Err(NotAPart::OtherHour { line, found: record.hour });
        }
        let read = &mut self.read;
        (read.first, read.last) = (read.first.min(record.at), read.last.max(record.at));
        let hash = record::content_hash(&record.fields, &mut self.scratch);
        let at = Some((record.at, hash));
        read.is_in_order &= self.before < at;
        self.before = at;
        read.hashes.push(hash);
        each(&record.fields);
        Ok(())
    }
}
