//! The life of an hour: the one transition table.
//!
//! Pure. [`HourRow::apply`] is both the live path and the recovery path. An event that its table does not list is an error: a late record,
//! an import and a second freeze are rows of the table, not special cases elsewhere.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::part::{PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::hour::tally::Certified;

/// The hash array with the hashes of an hour's parts. Only the array that the ledger names counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashesRef {
    /// Part of the file's name; rises with each new array of the hour.
    pub version: u64,
    /// Hashes in it.
    pub count: u64,
}

/// The ledger's row of one hour: its parts and what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourRow {
    /// Which hour.
    pub hour: Hour,
    /// Commits up to this one are frozen into parts.
    pub frozen: u64,
    /// Commits up to this one are in parts that all have receipts.
    pub receipted: u64,
    /// The hashes of the records in its parts. `None`: forgotten; then the hour is imported before it takes records.
    pub hashes: Option<HashesRef>,
    /// The version that the next hash array gets.
    pub next_hashes: u64,
    /// When the last receipt was written: the dedup window counts from here.
    pub(crate) last_receipt: Option<Timestamp>,
    /// What is certified of it. `None`: it was only imported, or frozen by an etl without certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<Certified>,
    /// Its parts, in the order of their numbers.
    pub parts: Vec<PartRow>,
}

/// What happens to an hour.
#[derive(Debug, Clone)]
pub enum Event {
    /// All its unsealed records were frozen into `parts`; `hashes` holds them too.
    Frozen {
        /// The newest commit among them.
        through: u64,
        /// The array with the hashes of all parts, these included.
        hashes: HashesRef,
        /// The parts, numbered on.
        parts: Vec<PartRow>,
        /// What is certified of the hour, these included.
        certified: Certified,
    },
    /// A part is in the store.
    Receipted {
        /// Which part.
        part: u32,
        /// SHA-256 and size of the object in the store.
        sha256: String,
        /// See `sha256`.
        bytes: u64,
        /// The store's entity tag.
        etag: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Other parts have the numbers of parts that wait for their receipts, and no record of theirs can be in this row's parts: these
    /// move on to the numbers behind them. Durable before the first PUT under a new number.
    Renumbered {
        /// The parts that are there: numbered on, from the number of the first part that waits.
        others: Vec<PartRow>,
        /// The new keys of the parts that wait, in their order.
        keys: Vec<String>,
    },
    /// Parts that other lanes put into the store became known, none of which can hold a record of this row's parts.
    Met {
        /// Numbered on.
        others: Vec<PartRow>,
        /// An array without a hash, where the row had no parts yet.
        hashes: Option<HashesRef>,
    },
    /// Parts were read back from the store and taken over; frozen parts without a receipt are thawed.
    Imported {
        /// All parts of the hour that the store holds, or held and is known to have lost: the ones with receipts, then foreign ones that
        /// are parts of ours.
        parts: Vec<PartRow>,
        /// The array with their hashes.
        hashes: HashesRef,
        /// When.
        at: Timestamp,
    },
    /// A part with a receipt whose object was gone, or was other bytes with the same records, is in the store: with these bytes.
    Repaired {
        /// Which part.
        part: u32,
        /// SHA-256 and size of the object in the store.
        sha256: String,
        /// See `sha256`.
        bytes: u64,
        /// The store's entity tag.
        etag: Option<String>,
    },
    /// Objects of parts with receipts are gone for good. The hour's hashes are forgotten: what these parts held is no longer known.
    Expired {
        /// Which parts.
        parts: Vec<u32>,
        /// When.
        at: Timestamp,
    },
    /// The parts without a receipt can never get one: their records are unsealed again.
    Thawed,
    /// All unsealed records up to a commit turned out to be in parts already (after an import).
    Absorbed {
        /// The newest commit among them.
        through: u64,
    },
    /// The dedup window has passed.
    Forgotten,
}

impl HourRow {
    /// The row of an hour without parts.
    #[must_use]
    pub const fn new(hour: Hour) -> Self {
        let (hashes, last_receipt, certified) = (None, None, None);
        Self { hour, frozen: 0, receipted: 0, hashes, next_hashes: 1, last_receipt, certified, parts: Vec::new() }
    }

    /// Whether a part still waits for its receipt.
    #[must_use]
    pub fn is_sealing(&self) -> bool {
        self.parts.iter().any(|p| p.stage == PartStage::Sealing)
    }

    /// Whether there are parts, but their hashes are forgotten.
    #[must_use]
    pub const fn is_forgotten(&self) -> bool {
        !self.parts.is_empty() && self.hashes.is_none()
    }

    /// The row with the parts only that may hold records of `range`: what the state of a lane has of the hour.
    #[must_use]
    pub(crate) fn within(&self, range: HashRange) -> Cow<'_, Self> {
        if self.parts.iter().all(|part| part.range.overlaps(range)) {
            return Cow::Borrowed(self);
        }
        let parts = self.parts.iter().filter(|part| part.range.overlaps(range)).cloned().collect();
        Cow::Owned(Self { parts, ..self.clone() })
    }

    /// The parts that got a receipt, those included that are gone for good.
    pub(crate) fn receipts(&self) -> impl Iterator<Item = &PartRow> {
        self.parts.iter().filter(|p| p.stage != PartStage::Sealing)
    }

    /// The parts with a receipt that are in the store.
    pub fn uploaded(&self) -> impl Iterator<Item = &PartRow> {
        self.parts.iter().filter(|p| p.stage == PartStage::Uploaded)
    }

    /// The parts whose objects are gone for good.
    pub(crate) fn expired(&self) -> impl Iterator<Item = &PartRow> {
        self.parts.iter().filter(|p| p.stage == PartStage::Expired)
    }

    /// Records in parts with a receipt that still count as pending, because another part of the same freeze has none.
    #[must_use]
    pub(crate) fn uploaded_but_unpruned(&self) -> u64 {
        self.uploaded().filter(|p| p.through > self.receipted).map(|p| p.identity.rows).sum()
    }

    /// The transition table.
    ///
    /// | row       | `Frozen` | `Receipted` | `Repaired` | `Imported` | `Thawed` | `Absorbed` | `Expired` | `Forgotten` | `Renumbered` | `Met` |
    /// |-----------|----------|-------------|------------|------------|----------|------------|-----------|-------------|---------|----------|
    /// | no parts  | sealing  | –           | –          | uploaded   | –        | –          | –         | –           | –       | uploaded |
    /// | sealing   | –        | sealing; with the last one uploaded | sealing | uploaded | no parts, forgotten | – | – | – | sealing | – |
    /// | uploaded  | sealing (late records) | – | uploaded | uploaded | – | uploaded  | forgotten | forgotten   | –       | uploaded |
    /// | forgotten | –        | –           | forgotten  | uploaded   | –        | –          | forgotten | –           | –       | –        |
    ///
    /// A row counts as uploaded, too, when some of its parts, or all of them, are expired. Only a part with a receipt is repaired, or
    /// expires.
    ///
    /// # Errors
    /// `Bug` for what the table does not list.
    pub fn apply(mut self, event: Event) -> Result<Self> {
        match event {
            Event::Frozen { through, hashes, parts, certified } if !self.is_sealing() && !self.is_forgotten() => {
                self.freeze(through, hashes, parts, certified)?;
            }
            Event::Receipted { part, sha256, bytes, etag, at } => self.receipt(part, sha256, bytes, etag, at)?,
            Event::Repaired { part, sha256, bytes, etag } => self.repair(part, sha256, bytes, etag)?,
            Event::Expired { parts, at } if !self.is_sealing() => self.expire(parts, at)?,
            Event::Renumbered { others, keys } if self.is_sealing() => self.renumber(others, keys)?,
            Event::Met { others, hashes } if !self.is_sealing() && !self.is_forgotten() => self.meet(others, hashes)?,
            Event::Imported { parts, hashes, at } => self.import(parts, hashes, at),
            Event::Thawed if self.is_sealing() => self.thaw(),
            Event::Absorbed { through } if !self.is_sealing() && self.hashes.is_some() && through > self.frozen => {
                (self.frozen, self.receipted) = (through, through);
            }
            Event::Forgotten if !self.is_sealing() && self.hashes.is_some() => self.hashes = None,
            event => return Err(self.impossible(&event)),
        }
        Ok(self)
    }

    fn freeze(&mut self, through: u64, hashes: HashesRef, parts: Vec<PartRow>, certified: Certified) -> Result<()> {
        let numbered_on = parts.iter().zip(self.parts.len()..).all(|(p, n)| u32::try_from(n) == Ok(p.part));
        if !numbered_on || through <= self.frozen || parts.is_empty() {
            return Err(self.impossible(&Event::Frozen { through, hashes, parts, certified }));
        }
        self.frozen = through;
        // The closing time stays, even with late records or another grace.
        let closed_at = self.certified.as_ref().map_or(certified.closed_at, |first| first.closed_at);
        self.certified = Some(Certified { closed_at, ..certified });
        self.take_hashes(hashes);
        self.parts.extend(parts);
        Ok(())
    }

    fn receipt(&mut self, part: u32, sha256: String, bytes: u64, etag: Option<String>, at: Timestamp) -> Result<()> {
        let row = self.parts.iter_mut().find(|p| p.part == part && p.stage == PartStage::Sealing);
        let Some(row) = row else {
            return Err(self.impossible(&Event::Receipted { part, sha256, bytes, etag, at }));
        };
        row.stage = PartStage::Uploaded;
        row.spooled_as = None;
        (row.identity.sha256, row.identity.bytes) = (sha256, bytes);
        (row.etag, row.uploaded_at) = (etag, Some(at));
        self.last_receipt = Some(at);
        if !self.is_sealing() {
            self.receipted = self.frozen;
        }
        Ok(())
    }

    fn repair(&mut self, part: u32, sha256: String, bytes: u64, etag: Option<String>) -> Result<()> {
        let row = self.parts.iter_mut().find(|p| p.part == part && p.stage == PartStage::Uploaded);
        let Some(row) = row else {
            return Err(self.impossible(&Event::Repaired { part, sha256, bytes, etag }));
        };
        (row.identity.sha256, row.identity.bytes, row.etag) = (sha256, bytes, etag);
        Ok(())
    }

    fn expire(&mut self, parts: Vec<u32>, at: Timestamp) -> Result<()> {
        let is_there = |part: &u32| self.uploaded().any(|row| row.part == *part);
        if parts.is_empty() || !parts.iter().all(is_there) {
            return Err(self.impossible(&Event::Expired { parts, at }));
        }
        for row in self.parts.iter_mut().filter(|row| parts.contains(&row.part)) {
            (row.stage, row.expired_at) = (PartStage::Expired, Some(at));
        }
        self.hashes = None;
        Ok(())
    }

    fn renumber(&mut self, others: Vec<PartRow>, keys: Vec<String>) -> Result<()> {
        let first = self.parts.iter().position(|part| part.stage == PartStage::Sealing).unwrap_or(self.parts.len());
        let waiting = self.parts.get(first..).unwrap_or_default();
        let is_tail = waiting.iter().all(|part| part.stage == PartStage::Sealing) && waiting.len() == keys.len();
        if !is_tail || !are_others(&others, first) {
            return Err(self.impossible(&Event::Renumbered { others, keys }));
        }
        let mut waiting = self.parts.split_off(first);
        self.parts.extend(others);
        for ((part, key), number) in waiting.iter_mut().zip(keys).zip(self.parts.len()..) {
            part.spooled_as = Some(part.spool_number());
            (part.part, part.key) = (u32::try_from(number).unwrap_or(u32::MAX), key);
        }
        self.parts.extend(waiting);
        Ok(())
    }

    fn meet(&mut self, others: Vec<PartRow>, hashes: Option<HashesRef>) -> Result<()> {
        if !are_others(&others, self.parts.len()) || hashes.is_some() != self.hashes.is_none() {
            return Err(self.impossible(&Event::Met { others, hashes }));
        }
        if let Some(hashes) = hashes {
            self.take_hashes(hashes);
        }
        self.parts.extend(others);
        Ok(())
    }

    fn import(&mut self, parts: Vec<PartRow>, hashes: HashesRef, at: Timestamp) {
        self.frozen = self.receipted;
        self.parts = parts;
        self.last_receipt = Some(at);
        self.take_hashes(hashes);
    }

    fn thaw(&mut self) {
        self.parts.retain(|part| part.stage != PartStage::Sealing);
        self.frozen = self.receipted;
        self.hashes = None;
    }

    const fn take_hashes(&mut self, hashes: HashesRef) {
        self.hashes = Some(hashes);
        self.next_hashes = hashes.version + 1;
    }

    fn impossible(&self, event: &Event) -> Error {
        Error::new(ErrorKind::Bug, format!("hour {}: {event:?} cannot happen to {self:?}", self.hour))
    }
}

/// Whether parts are some of other lanes, numbered on from `first`.
fn are_others(parts: &[PartRow], first: usize) -> bool {
    let is_numbered = parts.iter().zip(first..).all(|(part, number)| u32::try_from(number) == Ok(part.part));
    is_numbered && !parts.is_empty() && parts.iter().all(|part| part.stage != PartStage::Sealing)
}

#[cfg(test)]
mod tests;
