//! A message of a lane: the records that a router found in pages and that are this lane's, as the decoder made them.
//!
//! Pure. Invariant: [`read`] gives the records and lines of `Outgoing` exactly, or an error that names the message; it never guesses.
//!
//! ```text
//!  0  1  version: 1
//!  1  4  CRC-32 of everything behind it, little endian
//!  5     bincode of `Head`: when the oldest of the pages was received, and the records
//!  …     the lines of the records, one behind the other
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::page::decode::{Decoded, DecodedRecord};
use crate::state::Entry;

const VERSION: u8 = 1;
/// Bytes before the head.
const FRONT: usize = 5;
/// A message has no more bytes, unless a single line has.
pub(crate) const MOST: usize = 512 << 10;
/// A longer line finds no room in a message: brokers take 1 MB by default.
pub(crate) const LONGEST_LINE: usize = 900 << 10;
/// The head of no records.
const EMPTY_HEAD: usize = 24;
/// A record in the head, at most.
const RECORD: usize = 4 + 32 + 9;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// Nanoseconds since 1970.
    received: i128,
    records: Vec<Row>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Row {
    /// See [`Hour::to_key`].
    hour: u32,
    entry: Entry,
    id: Option<i64>,
}

/// The records of one lane that are to be sent.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    received: Option<Timestamp>,
    rows: Vec<Row>,
    lines: Vec<u8>,
}

impl Outgoing {
    /// Whether a record with a line of so many bytes still fits.
    pub(crate) fn has_room_for(&self, line: usize) -> bool {
        self.rows.is_empty() || self.bytes() + RECORD + line <= MOST
    }

    /// When the oldest of its pages was received.
    pub(crate) const fn received(&self) -> Option<Timestamp> {
        self.received
    }

    /// Adds a record of a page that was received at `received`.
    pub(crate) fn push(&mut self, received: Timestamp, record: &DecodedRecord, line: &[u8]) {
        self.received = Some(self.received.map_or(received, |before| before.min(received)));
        let hour = u32::from_be_bytes(record.hour.to_key());
        self.rows.push(Row { hour, entry: record.entry, id: record.id });
        self.lines.extend_from_slice(line);
    }

    /// How many records it has.
    #[cfg(test)]
    pub(crate) const fn records(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of the message, at most.
    fn bytes(&self) -> usize {
        FRONT + EMPTY_HEAD + self.rows.len() * RECORD + self.lines.len()
    }

    /// Its key, the first content hash, and its bytes; it is empty afterwards. `None`: it has no records.
    ///
    /// # Errors
    /// `Bug`.
    pub(crate) fn finish(&mut self) -> Result<Option<([u8; 16], Vec<u8>)>> {
        let (Some(received), Some(first)) = (self.received.take(), self.rows.first()) else { return Ok(None) };
        Ok(Some((first.entry.hash, self.encode(received)?)))
    }

    /// The bytes of a message without records.
    pub(crate) fn nothing(now: Timestamp) -> Result<Vec<u8>> {
        Self::default().encode(now)
    }

    fn encode(&mut self, received: Timestamp) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.bytes());
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 4]);
        let head = Head { received: received.as_nanosecond(), records: std::mem::take(&mut self.rows) };
        bincode::serialize_into(&mut bytes, &head)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a message of a lane").caused_by(e))?;
        bytes.append(&mut self.lines);
        self.rows = head.records;
        self.rows.clear();
        let sum = crc32fast::hash(bytes.get(FRONT..).unwrap_or_default());
        bytes.iter_mut().skip(1).zip(sum.to_le_bytes()).for_each(|(byte, of_sum)| *byte = of_sum);
        Ok(bytes)
    }
}

/// A message that was read.
#[derive(Debug)]
pub struct Incoming {
    /// When the oldest of its pages was received.
    pub received: Timestamp,
    /// Records and lines, as if they were one page.
    pub decoded: Decoded,
}

/// Reads the message at `offset` of a partition of `topic`.
///
/// # Errors
/// `State`: it is damaged, or of another version; names where it is.
pub fn read(bytes: &[u8], topic: &str, partition: i32, offset: i64) -> Result<Incoming> {
    if let Some(version) = bytes.first().filter(|version| **version > VERSION) {
        let what = format!("{topic}, partition {partition}, offset {offset}: a message of version {version}");
        return Err(Error::new(ErrorKind::State, format!("{what}, and this etl reads {VERSION}"))
            .hint("a newer etl wrote it: run that version on this machine, too"));
    }
    parse(bytes).ok_or_else(|| {
        Error::new(ErrorKind::State, format!("{topic}, partition {partition}, offset {offset}: the message is damaged"))
            .hint("look at the brokers' disks and logs; its records are in the topic of pages as long as no part has them")
    })
}

fn parse(bytes: &[u8]) -> Option<Incoming> {
    let (front, behind) = bytes.split_first_chunk::<FRONT>()?;
    let (version, sum) = front.split_first()?;
    if *version != VERSION || crc32fast::hash(behind).to_le_bytes() != *sum {
        return None;
    }
    let mut rest = behind;
    let head: Head = bincode::deserialize_from(&mut rest).ok()?;
    let mut records = Vec::with_capacity(head.records.len());
    let mut length: usize = 0;
    for row in head.records {
        let hour = Hour::from_key(row.hour.to_be_bytes())?;
        length = length.checked_add(usize::try_from(row.entry.length).ok()?)?;
        records.push(DecodedRecord { hour, entry: row.entry, id: row.id });
    }
    if length != rest.len() {
        return None;
    }
    let received = Timestamp::from_nanosecond(head.received).ok()?;
    Some(Incoming { received, decoded: Decoded::of_records(records, rest.to_vec()) })
}

#[cfg(test)]
mod tests;
