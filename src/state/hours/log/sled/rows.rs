//! What a generation holds: its rows, and the batches that change them. The keys are in the table of [`super`].
//!
//! Pure; nothing here touches disk. Encoded rows outlive a program: tests pin their bytes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::tally::Tally;
use crate::record::ContentHash;

/// Bytes of one encoded [`Entry`].
pub(super) const ENTRY: usize = 32;
/// Entries in one value.
const ENTRIES: usize = 187;
/// Bytes of a value, where one could be longer: sled puts those beyond 8 KB into files that it never syncs.
const VALUE: usize = 6_000;
/// Pieces that the ids that came take at most: 16 bytes a range, and then some.
const SEEN_PIECES: u8 = 4;
/// What a generation knows besides its commits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Records received again, since the state directory was made.
    pub duplicates: u64,
    /// The newest commit and the newest segment so far, in any generation.
    pub newest_commit: u64,
    /// See `newest_commit`.
    pub newest_segment: u64,
    /// Generations whose pending records were moved into this one: they are dead.
    pub replaces: Vec<u32>,
}

/// One commit: a journal segment, and how many records it introduced to which hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRow {
    /// The journal segment that it came from.
    pub segment: u64,
    /// Pages in the segment.
    pub pages: u32,
    /// When they were received, nanoseconds since 1970.
    pub received: i128,
    /// The pending hours, by key, and how many records were new to each.
    pub hours: Vec<([u8; 4], u64)>,
}

/// The index entry of a record: all that dedup and order need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The content hash.
    #[serde(with = "as_number")]
    pub hash: [u8; 16],
    /// The event time: seconds since 1970, and nanoseconds on top.
    pub seconds: i64,
    /// See `seconds`.
    pub nanos: i32,
    /// Bytes of the record's line, which has no newline yet.
    pub length: u32,
}

/// Sixteen bytes as one number, which bincode writes as these very bytes, at once instead of one by one.
mod as_number {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u128(u128::from_le_bytes(*bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        u128::deserialize(from).map(u128::to_le_bytes)
    }
}

impl Entry {
    /// The entry of a record with the event time `at`.
    #[must_use]
    pub fn new(hash: ContentHash, at: Timestamp, length: u32) -> Self {
        Self { hash: hash.0, seconds: at.as_second(), nanos: at.subsec_nanosecond(), length }
    }

    /// The event time.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp::new(self.seconds, self.nanos).unwrap_or(Timestamp::MIN)
    }
}

/// Where a commit's lines of one hour are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineAt {
    /// The commit.
    pub commit: u64,
    /// Byte offset among the commit's lines of the hour.
    pub offset: u64,
}

/// Changes that become durable together or not at all.
#[derive(Debug, Default)]
pub struct Batch<'l> {
    pub(super) rows: sled::Batch,
    /// Lines by hour and commit, which have no rows yet.
    pub(super) lines: Vec<(Hour, u64, Vec<&'l [u8]>)>,
}

impl<'l> Batch<'l> {
    /// Records what the generation knows besides its commits.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_meta(&mut self, meta: &Meta) -> Result<()> {
        self.rows.insert(b"m", encode(meta)?);
        Ok(())
    }

    /// Records which ids came.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_seen(&mut self, seen: &Seen) -> Result<()> {
        let bytes = encode(seen)?;
        let mut pieces = bytes.chunks(VALUE);
        // What was longer once leaves no piece of it behind.
        for piece in 0..SEEN_PIECES {
            match pieces.next() {
                Some(bytes) => self.rows.insert(&[b's', piece], bytes),
                None => self.rows.remove(&[b's', piece]),
            }
        }
        Ok(())
    }

    /// Records a commit, or replaces its row.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_commit(&mut self, commit: u64, row: &CommitRow) -> Result<()> {
        self.rows.insert(commit_key(commit).as_slice(), encode(row)?);
        Ok(())
    }

    /// Records what was counted of hours so far.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_tallies(&mut self, tallies: &BTreeMap<Hour, Tally>) -> Result<()> {
        for (hour, tally) in tallies {
            self.rows.insert(tally_key(*hour).as_slice(), encode(tally)?);
        }
        Ok(())
    }

    /// Forgets a commit. Its records' bytes stay until the generation goes.
    pub fn remove_commit(&mut self, commit: u64) {
        self.rows.remove(commit_key(commit).as_slice());
    }

    /// Adds a commit's new records of one hour: `entries` in order of arrival, `lines` their lines one behind the other,
    /// in pieces.
    ///
    /// # Errors
    /// `Bug`: an entry cannot be encoded.
    pub fn put_records(&mut self, hour: Hour, commit: u64, entries: &[Entry], lines: &[&'l [u8]]) -> Result<()> {
        for (piece, entries) in (0..).zip(entries.chunks(ENTRIES)) {
            let mut value = Vec::with_capacity(entries.len() * ENTRY);
            for entry in entries {
                bincode::serialize_into(&mut value, entry).map_err(cannot_encode)?;
            }
            self.rows.insert(record_key(b'i', hour, commit, piece).as_slice(), value);
        }
        self.lines.push((hour, commit, lines.to_vec()));
        Ok(())
    }
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    bincode::serialize(value).map_err(cannot_encode)
}

fn cannot_encode(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Bug, "cannot encode a value of the write-ahead log").caused_by(e)
}

fn commit_key(commit: u64) -> [u8; 9] {
    let mut key = [b'c'; 9];
    key[1..].copy_from_slice(&commit.to_be_bytes());
    key
}

fn tally_key(hour: Hour) -> [u8; 5] {
    let mut key = [b'h'; 5];
    key[1..].copy_from_slice(&hour.to_key());
    key
}

pub(super) fn record_key(kind: u8, hour: Hour, commit: u64, piece: u32) -> [u8; 17] {
    let mut key = [kind; 17];
    key[1..5].copy_from_slice(&hour.to_key());
    key[5..13].copy_from_slice(&commit.to_be_bytes());
    key[13..].copy_from_slice(&piece.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_of_an_entry_is_pinned() {
        let at = "2023-03-10T01:48:11.818Z".parse().unwrap();
        let hash = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        let bytes = bincode::serialize(&Entry::new(ContentHash(hash), at, 213)).unwrap();
        let expected = "00112233445566778899aabbccddeeff\
                        5b8c0a6400000000\
                        80b0c130\
                        d5000000";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
        assert_eq!(bytes.len(), ENTRY);
        assert_eq!(bincode::deserialize::<Entry>(&bytes).unwrap().hash, hash);
    }

    #[test]
    fn layout_of_a_commit_row_is_pinned() {
        let row = CommitRow { segment: 1, pages: 2, received: 3, hours: vec![([0, 1, 2, 3], 4)] };
        let bytes = bincode::serialize(&row).unwrap();
        let expected = "0100000000000000\
                        02000000\
                        03000000000000000000000000000000\
                        0100000000000000\
                        00010203\
                        0400000000000000";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn layout_of_a_tally_is_pinned() {
        let tally = Tally { duplicates: 1, quarantined: 2, ids: Some((3, -1)) };
        let bytes = bincode::serialize(&tally).unwrap();
        let expected = "0100000000000000\
                        0200000000000000\
                        010300000000000000ffffffffffffffff";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
        assert_eq!(tally_key("2023-03-10T01".parse().unwrap()), [b'h', 1, 19, 158, 201]);
    }
}
