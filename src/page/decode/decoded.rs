//! A decoded page: its records, their lines, and its odd tokens as far as they are few.
//!
//! Pure. Invariant: the memory for odd tokens is bounded, whatever the page holds.

use std::collections::BTreeSet;

use super::distinct::DistinctCount;
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::range::HashRange;
use crate::record::Scratch;
use crate::state::Entry;
use crate::state::pages::quarantine::OddToken;

/// The reason of a record that is dated too far ahead of its receipt.
pub(crate) const FUTURE: &str = "future";
/// The reason of a token that no key of the ring opens.
pub(crate) const WRONG_KEY: &str = "wrong-key";
/// A page with more odd tokens, or more bytes of them, keeps none.
pub(super) const MAX_ODD: usize = 4096;
const MAX_ODD_BYTES: usize = 1 << 20;

/// A record, ready to be committed: its hour, its index entry; its line is among [`Decoded::lines`].
#[derive(Debug, Clone, Copy)]
pub struct DecodedRecord {
    /// The event-time hour.
    pub hour: Hour,
    /// Hash, event time and length of the line.
    pub(crate) entry: Entry,
    /// The source's rising number, where it has one that fits.
    pub(crate) id: Option<i64>,
}

impl DecodedRecord {
    /// The hash of its content, by which it is compared and which decides its lane.
    #[must_use]
    pub const fn content_hash(&self) -> [u8; 16] {
        self.entry.hash
    }
}

/// A decoded page.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The records in the order of the page, duplicates included.
    pub records: Vec<DecodedRecord>,
    /// Their compact lines one after the other, without newlines.
    pub lines: Vec<u8>,
    /// The odd tokens, while they are few; else none.
    pub(crate) odd: Vec<OddToken>,
    /// Elements that are not records.
    pub odd_seen: u64,
    /// Where the odd tokens are too many to keep: how many different ones there are.
    distinct_dropped: Option<DistinctCount>,
    /// Bytes of the odd tokens.
    odd_bytes: usize,
    /// Elements of the page.
    pub elements: u64,
    /// Tokens that a key opened.
    pub(super) opened: u64,
    /// Well-formed tokens that no key opened.
    pub(super) refused: u64,
    /// The hash's working memory, kept from record to record.
    pub(super) scratch: Scratch,
}

impl Decoded {
    /// A page of these records, which were decoded before, with their lines.
    #[cfg(feature = "kafka")]
    pub(crate) fn of_records(records: Vec<DecodedRecord>, lines: Vec<u8>) -> Self {
        let elements = records.len() as u64;
        Self { records, lines, elements, ..Self::default() }
    }

    /// Whether the key is wrong: there are tokens, and no key opens any of them.
    #[must_use]
    pub(crate) const fn key_is_wrong(&self) -> bool {
        self.opened == 0 && self.refused > 0
    }

    /// Whether there are logs, and all of them are dated too far ahead.
    #[must_use]
    pub(crate) fn is_all_future(&self) -> bool {
        let all = self.elements > 0 && self.odd_seen == self.elements;
        all && !self.odd.is_empty() && self.odd.iter().all(|odd| odd.reason == FUTURE)
    }

    /// The records with their rows, in the order of the page.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&DecodedRecord, &[u8])> {
        let mut rest = self.lines.as_slice();
        self.records.iter().map(move |record| {
            let length = usize::try_from(record.entry.length).unwrap_or(usize::MAX);
            let (row, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            (record, row)
        })
    }

    /// Adds those records of `page` whose hashes lie in `range`, with their lines.
    pub fn extend_within(&mut self, page: &Self, range: HashRange) {
        for (record, row) in page.rows().filter(|(record, _)| range.contains(record.entry.hash)) {
            self.records.push(*record);
            self.lines.extend_from_slice(row);
        }
    }

    /// Leaves out the records of some hours.
    pub(crate) fn leave_out(&mut self, hours: &BTreeSet<Hour>) {
        let lines = std::mem::take(&mut self.lines);
        let mut rest = lines.as_slice();
        self.records.retain(|record| {
            let length = usize::try_from(record.entry.length).unwrap_or(usize::MAX);
            let (line, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = behind;
            let stays = !hours.contains(&record.hour);
            if stays {
                self.lines.extend_from_slice(line);
            }
            stays
        });
    }

    /// Forgets records, lines and odd tokens.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.lines.clear();
        self.odd.clear();
    }

    /// About how many different odd tokens there are.
    #[must_use]
    pub(crate) fn distinct_odd(&self) -> u64 {
        self.distinct_dropped.as_ref().map_or(self.odd.len() as u64, DistinctCount::estimate)
    }

    /// Whether the odd tokens were too many to keep: [`Decoder::odd_again`](super::Decoder::odd_again) finds them.
    #[must_use]
    pub(crate) const fn dropped_odd(&self) -> bool {
        self.distinct_dropped.is_some()
    }

    pub(super) fn put_odd(&mut self, odd: OddToken) {
        self.odd_seen += 1;
        self.odd_bytes = self.odd_bytes.saturating_add(odd.token.len());
        self.odd.push(odd);
    }

    /// Drops the odd tokens where they are too many to keep, and counts the different ones.
    pub(super) fn drop_odd_if_many(&mut self) -> Result<()> {
        if self.distinct_dropped.is_none() && self.odd.len() <= MAX_ODD && self.odd_bytes <= MAX_ODD_BYTES {
            return Ok(());
        }
        let distinct = self.distinct_dropped.get_or_insert_default();
        self.odd.drain(..).for_each(|odd| distinct.note(odd.identity()));
        Ok(())
    }
}
