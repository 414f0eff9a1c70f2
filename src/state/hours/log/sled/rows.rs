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
pub const ENTRY: usize = 32;
/// Bytes of a value, where one could be longer: sled puts those beyond 8 KB into files that it never syncs.
const VALUE: usize = 6_000;
/// The key of the number of a generation's form, and the present number. Without it, it is of the form before, in which each hour of a
/// commit had rows of its own.
pub(super) const FORM_KEY: &[u8] = b"v";
/// See [`FORM_KEY`].
pub(super) const FORM: u8 = 2;
/// Pieces that the ids that came take at most: 16 bytes a range, and then some.
const SEEN_PIECES: u8 = 10;
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

/// One commit: a journal segment, the records that it introduced to which hours, and where these are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRow {
    /// The journal segment that it came from.
    pub segment: u64,
    /// Pages in the segment.
    pub pages: u32,
    /// When they were received, nanoseconds since 1970.
    pub received: i128,
    /// Where its records are.
    pub block: Block,
    /// What it introduced, by hour; nothing once none of it is pending.
    pub shares: Vec<Share>,
}

impl CommitRow {
    /// Its records.
    pub(crate) fn records(&self) -> u64 {
        self.shares.iter().map(|share| u64::from(share.records)).sum()
    }

    /// Bytes of its block: the entries of all records, then their lines.
    pub(crate) fn bytes(&self) -> u64 {
        self.shares.iter().map(|share| u64::from(share.records) * ENTRY as u64 + u64::from(share.bytes)).sum()
    }
}

/// Where the records of a commit are in the generation's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its offset.
    pub offset: u64,
    /// CRC-32 of each of its chunks.
    pub sums: Vec<u32>,
}

/// The records that a commit introduced to an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The hour.
    #[serde(with = "as_key")]
    pub hour: Hour,
    /// Whether they have no receipt.
    pub is_pending: bool,
    /// How many.
    pub records: u32,
    /// Bytes of their lines.
    pub bytes: u32,
}

/// An hour as its key.
mod as_key {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::hour::Hour;

    pub(super) fn serialize<S: Serializer>(hour: &Hour, to: S) -> Result<S::Ok, S::Error> {
        hour.to_key().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Hour, D::Error> {
        let key = <[u8; 4]>::deserialize(from)?;
        Hour::from_key(key).ok_or_else(|| D::Error::custom("no hour has this key"))
    }
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

/// Where the line of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineAt {
    /// The commit that introduced it.
    pub commit: u64,
    /// Byte offset in the commit's block.
    pub offset: u64,
}

/// Records on their way into a block.
#[derive(Debug, Default)]
pub(super) struct NewBlock<'l> {
    pub(super) commit: u64,
    pub(super) row: CommitRow,
    /// The entries, encoded, by hour.
    pub(super) entries: Vec<u8>,
    /// The lines, in the order of the entries, in pieces.
    pub(super) lines: Vec<&'l [u8]>,
}

/// Changes that become durable together or not at all.
#[derive(Debug, Default)]
pub struct Batch<'l> {
    pub(super) rows: sled::Batch,
    /// Commits with new records, which have no rows yet.
    pub(super) blocks: Vec<NewBlock<'l>>,
}

impl<'l> Batch<'l> {
    /// Records what the generation knows besides its commits.
    pub(crate) fn put_meta(&mut self, meta: &Meta) -> Result<()> {
        self.rows.insert(b"m", encode(meta)?);
        Ok(())
    }

    /// Records which ids came.
    pub(crate) fn put_seen(&mut self, seen: &Seen) -> Result<()> {
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

    /// Notes of which form the generation is.
    pub(crate) fn put_form(&mut self) {
        self.rows.insert(FORM_KEY, &[FORM]);
    }

    /// Replaces the row of a commit, which had so many pieces. Gives how many it has now.
    pub(crate) fn put_commit(&mut self, commit: u64, row: &CommitRow, pieces: u32) -> Result<u32> {
        let bytes = encode(row)?;
        let mut now = 0;
        for piece in bytes.chunks(VALUE) {
            self.rows.insert(commit_key(commit, now).as_slice(), piece);
            now += 1;
        }
        self.remove_commit(commit, now..pieces);
        Ok(now)
    }

    /// Records what was counted of hours so far, in one set however many they are: later sets, of higher numbers, count.
    pub(crate) fn put_tallies(&mut self, set: u64, tallies: &BTreeMap<Hour, Tally>) -> Result<()> {
        if tallies.is_empty() {
            return Ok(());
        }
        let rows: Vec<([u8; 4], &Tally)> = tallies.iter().map(|(hour, tally)| (hour.to_key(), tally)).collect();
        for (piece, bytes) in (0..).zip(encode(&rows)?.chunks(VALUE)) {
            self.rows.insert(numbered_key(b't', set, piece).as_slice(), bytes);
        }
        Ok(())
    }

    /// Forgets pieces of a commit's row. Its records' bytes stay until the generation goes.
    pub(crate) fn remove_commit(&mut self, commit: u64, pieces: std::ops::Range<u32>) {
        pieces.for_each(|piece| self.rows.remove(commit_key(commit, piece).as_slice()));
    }

    /// Begins a commit with new records; `row` says which segment it came from.
    pub(crate) fn begin_commit(&mut self, commit: u64, row: CommitRow) {
        self.blocks.push(NewBlock { commit, row, ..NewBlock::default() });
    }

    /// Adds the records of the next hour to the commit that was begun: `entries` in order of arrival, `lines` their lines one behind
    /// the other, in pieces.
    pub(crate) fn put_records(&mut self, hour: Hour, entries: &[Entry], lines: &[&'l [u8]]) -> Result<()> {
        let Some(block) = self.blocks.last_mut() else { return Err(cannot_encode("no commit was begun")) };
        block.entries.reserve(entries.len() * ENTRY);
        for entry in entries {
            bincode::serialize_into(&mut block.entries, entry).map_err(cannot_encode)?;
        }
        let bytes: usize = lines.iter().map(|lines| lines.len()).sum();
        let (Ok(records), Ok(bytes)) = (u32::try_from(entries.len()), u32::try_from(bytes)) else {
            return Err(cannot_encode("more than 4 GiB of one hour"));
        };
        block.row.shares.push(Share { hour, is_pending: true, records, bytes });
        block.lines.extend_from_slice(lines);
        Ok(())
    }
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    bincode::serialize(value).map_err(cannot_encode)
}

fn cannot_encode(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Bug, "cannot encode a value of the write-ahead log").caused_by(e)
}

fn commit_key(commit: u64, piece: u32) -> [u8; 13] {
    numbered_key(b'c', commit, piece)
}

fn numbered_key(kind: u8, number: u64, piece: u32) -> [u8; 13] {
    let mut key = [kind; 13];
    key[1..9].copy_from_slice(&number.to_be_bytes());
    key[9..].copy_from_slice(&piece.to_be_bytes());
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
        assert_eq!(crate::digest::hex(&bytes), expected);
        assert_eq!(bytes.len(), ENTRY);
        assert_eq!(bincode::deserialize::<Entry>(&bytes).unwrap().hash, hash);
    }

    #[test]
    fn layout_of_a_commit_row_is_pinned() {
        let hour = Hour::from_key([1, 19, 158, 201]).unwrap();
        let shares = vec![Share { hour, is_pending: true, records: 4, bytes: 7 }];
        let block = Block { offset: 5, sums: vec![6] };
        let row = CommitRow { segment: 1, pages: 2, received: 3, block, shares };
        let bytes = bincode::serialize(&row).unwrap();
        let expected = "0100000000000000\
                        02000000\
                        03000000000000000000000000000000\
                        0500000000000000\
                        010000000000000006000000\
                        0100000000000000\
                        01139ec9010400000007000000";
        assert_eq!(crate::digest::hex(&bytes), expected);
        assert_eq!(bincode::deserialize::<CommitRow>(&bytes).unwrap(), row);
    }

    #[test]
    fn layout_of_a_tally_is_pinned() {
        let tally = Tally { duplicates: 1, quarantined: 2, ids: Some((3, -1)) };
        let bytes = bincode::serialize(&tally).unwrap();
        let expected = "0100000000000000\
                        0200000000000000\
                        010300000000000000ffffffffffffffff";
        assert_eq!(crate::digest::hex(&bytes), expected);
    }
}
