//! The life of an hour: every durable step, the one transition table, and when an hour is due.
//!
//! Pure but for [`durable_step`], through which every durable step of the crate goes. [`HourRow::apply`] is both the
//! live path and the recovery path: an event that its table does not list is an error, so a late record, an import or a
//! second freeze are rows of the table and not special cases elsewhere. The crash table of the crate's documentation is
//! [`Step::after_a_crash`].

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::certificate::Certified;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;

/// Every step after which something is durable, or done outside, that was not before; in the order of a record's life.
///
/// No steps, because a crash around them leaves nothing that the next run would have to understand: `status.json` (a view) and
/// `seen.json` (a tag that saves a download), both made again; the reserve and empty directories, which mean nothing; the
/// archive's copies; a part's manifest, which is created again with its part until there is a receipt; the mark on a
/// condemned generation, which only repeats what the next open finds; and the deleting of what nothing names any more
/// (`*.tmp`, `*.new`, replaced hash arrays, the oldest of rejected/): what comes back is deleted again. The store's answer
/// to the probe counts only once [`Step::CreateOnlyProbed`] has recorded it; until then it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The recorded settings of a new state directory.
    SettingsRecorded,
    /// A generation of the write-ahead log was opened for new commits.
    GenerationStarted,
    /// A generation that cannot be trusted was set aside.
    GenerationSetAside,
    /// A damaged file of the ledger or the quarantine was set aside.
    FileSetAside,
    /// A segment of pages has its name in the journal.
    PageJournaled,
    /// A body that is no page was set aside.
    PageRejected,
    /// It is known which files must be there at the next start.
    RollCalled,
    /// Tokens that are no records are in the quarantine.
    TokensQuarantined,
    /// A segment's new records are in the write-ahead log.
    SegmentCommitted,
    /// Quarantined tokens that became records have left the quarantine.
    QuarantineReleased,
    /// The quarantine knows which key ring tried its tokens last.
    RingRecorded,
    /// The bytes of a part are in the spool.
    PartSpooled,
    /// The hash array of an hour's parts has its name.
    HashesWritten,
    /// The ledger holds the intents: which parts there will be, with which bytes.
    HoursFrozen,
    /// The store answered a PUT.
    PartPut,
    /// The ledger holds the receipts.
    PartsReceipted,
    /// The ledger knows whether the store honours a create-only PUT.
    CreateOnlyProbed,
    /// An hour's parts were read back from the store, and its ledger row and hash array replaced.
    HourImported,
    /// The write-ahead log no longer counts the uploaded records.
    RecordsPruned,
    /// Journal segments without pending records are gone.
    PagesRemoved,
    /// Spooled bytes of uploaded parts are gone.
    SpoolCleared,
    /// Ledger rows of old hours are in the file of their day.
    DayArchived,
    /// The ledger's head no longer holds the rows that are in their days' files.
    LedgerArchived,
    /// Hash arrays older than the dedup window are forgotten.
    HashesForgotten,
    /// A generation of which no record is pending is gone.
    GenerationRemoved,
}

/// What a crash right after a step leaves: one row of the crash table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterACrash {
    /// What is on the disk.
    pub on_disk: &'static str,
    /// What is in the store.
    pub in_store: &'static str,
    /// What the next run does.
    pub next_run: &'static str,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 25] = [
        Self::SettingsRecorded,
        Self::GenerationStarted,
        Self::GenerationSetAside,
        Self::FileSetAside,
        Self::PageJournaled,
        Self::PageRejected,
        Self::RollCalled,
        Self::TokensQuarantined,
        Self::SegmentCommitted,
        Self::QuarantineReleased,
        Self::RingRecorded,
        Self::PartSpooled,
        Self::HashesWritten,
        Self::HoursFrozen,
        Self::PartPut,
        Self::PartsReceipted,
        Self::CreateOnlyProbed,
        Self::HourImported,
        Self::RecordsPruned,
        Self::PagesRemoved,
        Self::SpoolCleared,
        Self::DayArchived,
        Self::LedgerArchived,
        Self::HashesForgotten,
        Self::GenerationRemoved,
    ];

    /// The crash table: what a crash right after this step leaves, and what the next run does about it.
    #[must_use]
    pub const fn after_a_crash(self) -> AfterACrash {
        let (on_disk, in_store, next_run) = match self {
            Self::SettingsRecorded => ("an empty ledger with the settings", "–", "goes on with them"),
            Self::GenerationStarted => {
                ("a new generation; an older one that it replaces may still be there", "–", "removes the replaced one")
            }
            Self::GenerationSetAside => {
                ("a directory *.corrupt, and every page of its records", "–", "fills a new generation from the journal")
            }
            Self::FileSetAside => {
                ("a file *.damaged, and that it is missed", "–", "reads it back from the store, or names what is gone")
            }
            Self::PageJournaled => ("a page that nobody looked at", "–", "decrypts and commits it"),
            Self::PageRejected => ("the body in rejected/", "–", "nothing to do"),
            Self::RollCalled => {
                ("the names of pages or quarantined tokens that wait", "–", "misses them if they are gone")
            }
            Self::TokensQuarantined => (
                "the page, and its odd tokens in the quarantine",
                "–",
                "commits the page; the same tokens are quarantined once",
            ),
            Self::SegmentCommitted => (
                "records in the write-ahead log, the page still in the journal",
                "–",
                "sees that the page is committed",
            ),
            Self::QuarantineReleased => {
                ("the recovered tokens' page in the journal", "–", "sees that the page is committed")
            }
            Self::RingRecorded => ("the quarantine, and which keys tried it", "–", "tries again only other keys"),
            Self::PartSpooled => ("bytes that no ledger row names", "–", "deletes the stray bytes, seals again"),
            Self::HashesWritten => {
                ("a hash array that no ledger row names", "–", "seals or imports again, and writes the array anew")
            }
            Self::HoursFrozen => ("intents, and the parts' bytes", "–", "PUTs the same bytes"),
            Self::PartPut => {
                ("intents, and the parts' bytes", "the part", "PUTs again; 412, HEAD, same content: it was us")
            }
            Self::PartsReceipted => ("receipts; records and pages still there", "the part", "prunes"),
            Self::CreateOnlyProbed => ("receipts, and the store's answer", "the part", "prunes"),
            Self::HourImported => (
                "the imported part as a receipt; our parts of the hour thawed",
                "the foreign part",
                "drops what it holds, seals the rest as the next part",
            ),
            Self::RecordsPruned => {
                ("hashes and ledger rows; the page still in the journal", "the part", "removes the page")
            }
            Self::PagesRemoved => ("hashes and ledger rows; bytes in the spool", "the part", "clears the spool"),
            Self::SpoolCleared => ("hashes and ledger rows", "the part", "nothing to do"),
            Self::DayArchived => {
                ("rows in their day's file, and in the head too", "the part", "the head's row counts; archives again")
            }
            Self::LedgerArchived => ("rows in their days' files only", "the part", "nothing to do"),
            Self::HashesForgotten => ("the ledger row; the array's file perhaps", "the part", "deletes the stray file"),
            Self::GenerationRemoved => ("a directory *.dead perhaps", "the part", "deletes it"),
        };
        AfterACrash { on_disk, in_store, next_run }
    }
}

/// Does the durable step `step`. With the feature `failpoints` the process can be aborted right before and right after.
///
/// # Errors
/// Those of `action`.
pub fn durable_step<T>(step: Step, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let point = crate::crash::before(step);
    let done = action()?;
    crate::crash::after(point);
    Ok(done)
}

/// Where a part is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartStage {
    /// Intent durable, bytes in the spool, no receipt.
    Sealing,
    /// Receipt durable.
    Uploaded,
}

/// A part's ledger row. Kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// Its number within the hour, from 0.
    pub part: u32,
    /// Where it is in its life.
    pub stage: PartStage,
    /// The object's key.
    pub key: String,
    /// Records in it.
    pub rows: u64,
    /// The object's size.
    pub bytes: u64,
    /// SHA-256 of the object, hex. After the receipt that of the object in the store.
    pub sha256: String,
    /// SHA-256 of the uncompressed content, hex: with `rows` the part's identity.
    pub content_sha256: String,
    /// Which dictionaries it was compacted with.
    pub dict: String,
    /// The newest commit that it may hold records of; 0 for an imported part.
    pub through: u64,
    /// The first and the last event time in it.
    pub first: Timestamp,
    /// See `first`.
    pub last: Timestamp,
    /// When it was frozen, or imported.
    pub frozen_at: Timestamp,
    /// When its receipt was written.
    pub uploaded_at: Option<Timestamp>,
    /// The store's entity tag; no identity.
    pub etag: Option<String>,
}

/// Which hash array holds the hashes of an hour's parts. Only the array that the ledger names counts.
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
    pub last_receipt: Option<Timestamp>,
    /// What is certified of it. `None`: it was only imported, or frozen by an etl that knew no certificates.
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
    /// Parts were read back from the store: what was frozen and has no receipt is thawed, the parts are taken over.
    Imported {
        /// All parts of the hour that the store holds: the ones with receipts, then foreign ones that are parts of ours.
        parts: Vec<PartRow>,
        /// The array with their hashes.
        hashes: HashesRef,
        /// When.
        at: Timestamp,
    },
    /// The parts without a receipt can never get one as they are: their records are unsealed again.
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
    pub fn uploaded_rows(&self) -> u64 {
        self.uploaded().map(|p| p.rows).sum()
    }

    /// The parts with a receipt.
    pub fn uploaded(&self) -> impl Iterator<Item = &PartRow> {
        self.parts.iter().filter(|p| p.stage == PartStage::Uploaded)
    }

    /// Records in parts with a receipt whose commits still count as pending, because another part of the same freeze
    /// has none.
    #[must_use]
    pub fn uploaded_but_unpruned(&self) -> u64 {
        self.uploaded().filter(|p| p.through > self.receipted).map(|p| p.rows).sum()
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
        // When the hour closed does not change with late records, nor with another grace.
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
        (row.sha256, row.bytes, row.etag, row.uploaded_at) = (sha256, bytes, etag, Some(at));
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
    /// When `hour` closes for records that come in time.
    #[must_use]
    pub fn closes_at(&self, hour: Hour) -> Timestamp {
        later(hour.ends_at(&self.zone), self.grace)
    }

    /// Whether records of `hour`, the first of which was received at `received`, are late: the hour has a part already
    /// (`has_parts`), or it had closed before.
    #[must_use]
    pub fn is_late(&self, hour: Hour, has_parts: bool, received: Timestamp) -> bool {
        has_parts || received >= self.closes_at(hour)
    }

    /// When the unsealed records of `hour` are to be sealed. `received`: when the first of them was.
    #[must_use]
    pub fn due_at(&self, hour: Hour, has_parts: bool, received: Timestamp) -> Timestamp {
        let closes = self.closes_at(hour);
        if self.is_late(hour, has_parts, received) { later(received, self.late_hold).max(closes) } else { closes }
    }

    /// [`ClosingRules::due_at`] as of `now`. A receipt that is still to come was written under a clock that was wrong:
    /// nothing waits for it.
    #[must_use]
    pub fn due_as_of(&self, now: Timestamp, hour: Hour, has_parts: bool, received: Timestamp) -> Timestamp {
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

    const H: &str = "2023-03-10T01";

    fn at(text: &str) -> Timestamp {
        format!("2023-03-10T{text}Z").parse().unwrap()
    }

    fn part(part: u32, through: u64, rows: u64) -> PartRow {
        PartRow {
            part,
            stage: PartStage::Sealing,
            key: format!("data/part-{part:05}"),
            rows,
            bytes: 1,
            sha256: "s".into(),
            content_sha256: "c".into(),
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
        let certified = Certified::new(at("02:10:00"), crate::certificate::Tally::default(), &[]);
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

    #[test]
    fn each_step_has_a_row_in_the_crash_table() {
        for step in Step::ALL {
            assert!(!step.after_a_crash().next_run.is_empty(), "{step:?}");
        }
    }
}
