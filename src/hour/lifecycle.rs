//! The life of an hour: the one transition table, and when an hour is due.
//!
//! Pure. [`HourRow::apply`] is both the live path and the recovery path. An event that its table does not list is an error: a late record,
//! an import and a second freeze are rows of the table, not special cases elsewhere.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::part::{PartRow, PartStage};
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
    /// Parts were read back from the store and taken over; frozen parts without a receipt are thawed.
    Imported {
        /// All parts of the hour that the store holds: the ones with receipts, then foreign ones that are parts of ours.
        parts: Vec<PartRow>,
        /// The array with their hashes.
        hashes: HashesRef,
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

    /// Records in parts with a receipt.
    #[must_use]
    pub(crate) fn uploaded_rows(&self) -> u64 {
        self.uploaded().map(|p| p.identity.rows).sum()
    }

    /// The parts with a receipt.
    pub fn uploaded(&self) -> impl Iterator<Item = &PartRow> {
        self.parts.iter().filter(|p| p.stage == PartStage::Uploaded)
    }

    /// Records in parts with a receipt that still count as pending, because another part of the same freeze has none.
    #[must_use]
    pub(crate) fn uploaded_but_unpruned(&self) -> u64 {
        self.uploaded().filter(|p| p.through > self.receipted).map(|p| p.identity.rows).sum()
    }

    /// The transition table.
    ///
    /// | row       | `Frozen` | `Receipted` | `Imported` | `Thawed` | `Absorbed` | `Forgotten` |
    /// |-----------|----------|-------------|------------|----------|------------|-------------|
    /// | no parts  | sealing  | –           | uploaded   | –        | –          | –           |
    /// | sealing   | –        | sealing; with the last one uploaded | uploaded | no parts, forgotten | – | – |
    /// | uploaded  | sealing (late records) | – | uploaded | – | uploaded | forgotten   |
    /// | forgotten | –        | –           | uploaded   | –        | –          | –           |
    ///
    /// # Errors
    /// `Bug` for what the table does not list.
    pub fn apply(mut self, event: Event) -> Result<Self> {
        match event {
            Event::Frozen { through, hashes, parts, certified } if !self.is_sealing() && !self.is_forgotten() => {
                self.freeze(through, hashes, parts, certified)?;
            }
            Event::Receipted { part, sha256, bytes, etag, at } => self.receipt(part, sha256, bytes, etag, at)?,
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
        (row.identity.sha256, row.identity.bytes) = (sha256, bytes);
        (row.etag, row.uploaded_at) = (etag, Some(at));
        self.last_receipt = Some(at);
        if !self.is_sealing() {
            self.receipted = self.frozen;
        }
        Ok(())
    }

    fn import(&mut self, parts: Vec<PartRow>, hashes: HashesRef, at: Timestamp) {
        self.frozen = self.receipted;
        self.parts = parts;
        self.last_receipt = Some(at);
        self.take_hashes(hashes);
    }

    fn thaw(&mut self) {
        self.parts.retain(|part| part.stage == PartStage::Uploaded);
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

/// When hours close.
#[derive(Debug, Clone)]
pub struct ClosingRules {
    /// The time zone of the hours.
    pub zone: TimeZone,
    /// How long after its end an hour still waits for its records.
    pub grace: SignedDuration,
    /// How long late records are collected.
    pub late_hold: SignedDuration,
}

impl ClosingRules {
    /// When `hour` closes for records that are not late.
    #[must_use]
    pub(crate) fn closes_at(&self, hour: Hour) -> Timestamp {
        later(hour.ends_at(&self.zone), self.grace)
    }

    /// Whether records of `hour`, the first of which was received at `received`, are late: the hour has a part already
    /// (`has_parts`), or it had closed before.
    #[must_use]
    pub(crate) fn is_late(&self, hour: Hour, has_parts: bool, received: Timestamp) -> bool {
        has_parts || received >= self.closes_at(hour)
    }

    /// When the unsealed records of `hour` are due. `received`: when the first of them was received.
    #[must_use]
    pub(crate) fn due_at(&self, hour: Hour, has_parts: bool, received: Timestamp) -> Timestamp {
        let closes = self.closes_at(hour);
        if self.is_late(hour, has_parts, received) { later(received, self.late_hold).max(closes) } else { closes }
    }

    /// [`ClosingRules::due_at`] as of `now`. A `received` in the future comes from a clock that was wrong, and is ignored.
    #[must_use]
    pub(crate) fn due_as_of(&self, now: Timestamp, hour: Hour, has_parts: bool, received: Timestamp) -> Timestamp {
        if received > now { self.closes_at(hour) } else { self.due_at(hour, has_parts, received) }
    }
}

/// `at` plus `by`, at most the end of time.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hour::part::PartIdentity;

    const H: &str = "2023-03-10T01";

    fn at(text: &str) -> Timestamp {
        format!("2023-03-10T{text}Z").parse().unwrap()
    }

    fn part(part: u32, through: u64, rows: u64) -> PartRow {
        PartRow {
            part,
            stage: PartStage::Sealing,
            key: format!("data/part-{part:05}"),
            identity: PartIdentity { rows, bytes: 1, sha256: "s".into(), content_sha256: "c".into() },
            dict: String::new(),
            through,
            first: at("01:00:00"),
            last: at("01:59:59"),
            frozen_at: at("02:10:00"),
            uploaded_at: None,
            etag: None,
        }
    }

    fn frozen(through: u64, parts: Vec<PartRow>) -> Event {
        let certified = Certified::new(at("02:10:00"), crate::hour::tally::Tally::default(), &[]);
        Event::Frozen { through, hashes: HashesRef { version: through, count: 1 }, parts, certified }
    }

    fn receipted(part: u32) -> Event {
        Event::Receipted { part, sha256: "s".into(), bytes: 1, etag: None, at: at("02:11:00") }
    }

    fn row() -> HourRow {
        HourRow::new(H.parse().unwrap())
    }

    fn rules() -> ClosingRules {
        ClosingRules {
            zone: TimeZone::UTC,
            grace: SignedDuration::from_mins(10),
            late_hold: SignedDuration::from_hours(1),
        }
    }

    #[test]
    fn hour_is_receipted_only_with_its_last_part() {
        let row = row().apply(frozen(7, vec![part(0, 7, 10), part(1, 7, 5)])).unwrap();
        let row = row.apply(receipted(0)).unwrap();
        assert_eq!((row.receipted, row.uploaded_but_unpruned()), (0, 10));
        let row = row.apply(receipted(1)).unwrap();
        assert_eq!((row.receipted, row.uploaded_but_unpruned(), row.is_sealing()), (7, 0, false));
    }

    #[test]
    fn late_records_freeze_as_the_next_part() {
        let row = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap().apply(receipted(0)).unwrap();
        let row = row.apply(frozen(9, vec![part(1, 9, 1)])).unwrap();
        assert!(row.is_sealing());
        assert_eq!(row.parts.len(), 2);
    }

    #[test]
    fn what_the_table_does_not_list_is_refused() {
        let sealing = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap();
        assert!(sealing.clone().apply(frozen(8, vec![part(1, 8, 1)])).is_err(), "second freeze before the receipt");
        assert!(sealing.clone().apply(receipted(1)).is_err(), "receipt of an unknown part");
        assert!(sealing.clone().apply(Event::Forgotten).is_err(), "hashes of a sealing hour forgotten");
        let uploaded = sealing.apply(receipted(0)).unwrap();
        assert!(uploaded.clone().apply(receipted(0)).is_err(), "second receipt");
        assert!(uploaded.clone().apply(frozen(9, vec![part(5, 9, 1)])).is_err(), "part number with a hole");
        assert!(uploaded.clone().apply(frozen(7, vec![part(1, 7, 1)])).is_err(), "the same commits again");
        let forgotten = uploaded.apply(Event::Forgotten).unwrap();
        assert!(forgotten.apply(frozen(9, vec![part(1, 9, 1)])).is_err(), "freeze without the hour's hashes");
    }

    #[test]
    fn import_thaws_what_has_no_receipt() {
        let row = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap();
        let theirs = PartRow { stage: PartStage::Uploaded, through: 0, ..part(0, 0, 3) };
        let hashes = HashesRef { version: 8, count: 3 };
        let row = row.apply(Event::Imported { parts: vec![theirs], hashes, at: at("03:00:00") }).unwrap();
        assert_eq!((row.frozen, row.receipted, row.is_sealing(), row.next_hashes), (0, 0, false, 9));
        assert!(row.apply(frozen(9, vec![part(1, 9, 8)])).is_ok());
    }

    #[test]
    fn thawed_hour_keeps_its_receipts_and_needs_its_hashes_from_the_store() {
        let row = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap().apply(receipted(0)).unwrap();
        assert!(row.clone().apply(Event::Thawed).is_err(), "nothing to thaw");
        let row = row.apply(frozen(9, vec![part(1, 9, 4), part(2, 9, 4)])).unwrap().apply(receipted(1)).unwrap();
        let row = row.apply(Event::Thawed).unwrap();
        assert_eq!((row.frozen, row.parts.len(), row.is_sealing(), row.is_forgotten()), (7, 2, false, true));
    }

    #[test]
    fn hour_closes_after_its_end_and_grace() {
        assert_eq!(rules().due_at(H.parse().unwrap(), false, at("01:30:00")), at("02:10:00"));
    }

    #[test]
    fn late_records_wait_for_their_fellows() {
        let hour = H.parse().unwrap();
        assert_eq!(rules().due_at(hour, true, at("05:00:00")), at("06:00:00"), "the hour has a part");
        assert_eq!(rules().due_at(hour, false, at("02:10:00")), at("03:10:00"), "closed before its first record");
        assert_eq!(
            rules().due_at(hour, true, at("01:01:00")),
            at("02:10:00"),
            "drained while open: not before it closes"
        );
    }
}
