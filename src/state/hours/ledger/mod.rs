//! The ledger: which parts there are, and what became of them. Kept for ever.
//!
//! ```text
//! ledger/head          settings, totals, the rows of hours with work to do and of the newest others
//! ledger/2023-03-10    the rows of the other hours of that day, gzipped
//! ```
//! Each is JSON behind a line with its BLAKE3 checksum, less than 300 bytes for an old part, and is replaced as a whole, so
//! that an update of the head is one atomic step, however many hours it is about, and a start reads one small file however
//! old the ledger is. A row that moves to its day's file is there before it leaves the head; where a crash left it in both,
//! the head's counts. A missing head beside other state is damage, never an empty ledger.

mod days;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
pub use settings::Settings;
pub(crate) use settings::way_out;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::range::HashRange;
use crate::record::row::Codecs;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::files::{checked, damage, durable};

/// The format of the state directory: of all that is stored in it, and raised with each change of any of it. A newer one is refused,
/// an older one is stamped with this one when it is opened.
///
/// 1: etl 0.1.0. 2: floors and an inbox beside the journal, `format`, `parked/`, quarantine files with their arrays, notes of trails,
/// validators and pages that wait. 3: a commit of the log has its records in one block, and its row in small pieces. 4: a part may be
/// expired.
pub const FORMAT: u32 = 4;
/// How many hours without work stay in the head: those that `etl status` shows.
pub const SHOWN: usize = 48;
/// The ledger's head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: u32,
    settings: Settings,
    /// Whether the store honours create-only PUTs, once that is known.
    create_only: Option<bool>,
    /// Ids of the dictionaries that the store is known to have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    stored_dictionaries: BTreeSet<String>,
    /// Whether the store is known to say under which settings its parts are made.
    #[serde(default, skip_serializing_if = "is_false")]
    settings_stored: bool,
    /// Dictionaries that parts were written with before the configuration gained entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_dictionaries: Vec<Codecs>,
    /// Hash arrays last written before this were forgotten.
    #[serde(default)]
    forgotten_before: Option<Timestamp>,
    /// Records and parts with a receipt, of all hours ever.
    uploaded: u64,
    parts: u64,
    /// The newest commit and the newest segment that the ledger knows of: their numbers are not used again, even
    /// where everything else is lost.
    last_commit: u64,
    last_segment: u64,
    /// Which ids came, as of the last step: what the write-ahead log is filled again from, with the journal.
    #[serde(default)]
    seen: Seen,
    hours: BTreeMap<Hour, HourRow>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The ledger, open.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    head: Head,
    days: BTreeMap<Date, BTreeMap<Hour, HourRow>>,
}

impl Ledger {
    /// Opens the ledger below the state directory. `None`: there is none.
    ///
    /// # Errors
    /// `State`, naming the path: unreadable, damaged, or of a newer format.
    pub fn open(state: &Path) -> Result<Option<Self>> {
        let dir = state.join("ledger");
        let path = dir.join("head");
        let Some(text) = durable::read(&path)? else {
            return Ok(None);
        };
        let head: Head = serde_json::from_slice(body(&path, &text)?).map_err(|e| unreadable(&path, e))?;
        if head.format > FORMAT {
            return Err(newer_format(&path, head.format.into()));
        }
        Ok(Some(Self { dir, head, days: BTreeMap::new() }))
    }

    /// Starts the ledger of a new state directory.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn create(state: &Path, settings: Settings) -> Result<Self> {
        let dir = state.join("ledger");
        durable::make_dir(&dir)?;
        let head = Head {
            format: FORMAT,
            settings,
            create_only: None,
            stored_dictionaries: BTreeSet::new(),
            settings_stored: false,
            former_dictionaries: Vec::new(),
            forgotten_before: None,
            uploaded: 0,
            parts: 0,
            last_commit: 0,
            last_segment: 0,
            seen: Seen::default(),
            hours: BTreeMap::new(),
        };
        let ledger = Self { dir, head, days: BTreeMap::new() };
        ledger.write(Step::SettingsRecorded, &ledger.head)?;
        Ok(ledger)
    }

    /// Makes a state of an older format one of this format, in one step: before anything is stored that etls of before cannot read.
    /// What they stored is read as it is.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn stamp(&mut self) -> Result<()> {
        if self.head.format == FORMAT {
            return Ok(());
        }
        self.replace(Step::SettingsRecorded, Head { format: FORMAT, ..self.head.clone() })
    }

    /// Sets the damaged files of the ledger below the state directory aside, and names them in `repairs`.
    ///
    /// # Errors
    /// `State`, naming the path: it cannot be read or renamed.
    pub fn set_aside_damage(state: &Path, repairs: &mut Vec<String>) -> Result<()> {
        let dir = state.join("ledger");
        durable::make_dir(&dir)?;
        for name in durable::names(&dir)? {
            let path = dir.join(&name);
            let Some(text) = durable::read(&path)? else { continue };
            let is_ours = name == "head" || name.parse::<Date>().is_ok();
            if is_ours && checked::verified(&path, &text).is_err() {
                let aside = damage::set_aside(Step::FileSetAside, &path, "damaged")?;
                repairs.push(format!("{} is damaged: set aside as {}", path.display(), aside.display()));
            }
        }
        Ok(())
    }

    /// Deletes what an interrupted update left.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn remove_leftovers(&self) -> Result<()> {
        durable::remove_leftovers(&self.dir)
    }

    /// The recorded settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.head.settings
    }

    /// Records other settings. The caller has checked that the state may go on under them.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn record_settings(&mut self, settings: Settings) -> Result<()> {
        let keeps_store = settings.destination == self.head.settings.destination;
        let mut head = self.head.clone();
        if !keeps_store {
            head.create_only = None;
            head.stored_dictionaries.clear();
            head.settings_stored = false;
        }
        // Parts that wait for their upload may have been written with them.
        let former = &head.settings.codecs;
        if *former != settings.codecs && !head.former_dictionaries.contains(former) {
            head.former_dictionaries.push(former.clone());
        }
        self.replace(Step::SettingsRecorded, Head { settings, ..head })
    }

    /// Dictionaries that parts may have been written with before the configuration gained entries.
    #[must_use]
    pub fn former_dictionaries(&self) -> &[Codecs] {
        &self.head.former_dictionaries
    }

    /// Whether the store is known to have the dictionaries with the id `id`.
    #[must_use]
    pub fn has_stored_dictionaries(&self, id: &str) -> bool {
        self.head.stored_dictionaries.contains(id)
    }

    /// Notes that the store has the dictionaries with the id `id`: durable with the next step. A crash before that asks the
    /// store again.
    pub fn note_stored_dictionaries(&mut self, id: &str) {
        self.head.stored_dictionaries.insert(id.to_owned());
    }

    /// Forgets which dictionaries the store has: it is asked again.
    pub fn forget_stored_dictionaries(&mut self) {
        self.head.stored_dictionaries.clear();
    }

    /// Whether the store is known to say under which settings its parts are made.
    #[must_use]
    pub const fn has_stored_settings(&self) -> bool {
        self.head.settings_stored
    }

    /// Notes that it does: durable with the next step. A crash before that asks the store again.
    pub const fn note_stored_settings(&mut self) {
        self.head.settings_stored = true;
    }

    /// Whether the store honours create-only PUTs; `None` while that is not known.
    #[must_use]
    pub const fn create_only(&self) -> Option<bool> {
        self.head.create_only
    }

    /// Records whether the store honours create-only PUTs.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn record_create_only(&mut self, honoured: bool) -> Result<()> {
        self.replace(Step::CreateOnlyProbed, Head { create_only: Some(honoured), ..self.head.clone() })
    }

    /// Up to which time of the last receipt hash arrays were forgotten.
    #[must_use]
    pub const fn forgotten_before(&self) -> Option<Timestamp> {
        self.head.forgotten_before
    }

    /// Records that the hash arrays last written before `before` are forgotten.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn record_forgotten(&mut self, before: Timestamp) -> Result<()> {
        self.replace(Step::HashesForgotten, Head { forgotten_before: Some(before), ..self.head.clone() })
    }

    /// Records with a receipt, of all hours ever.
    #[must_use]
    pub const fn uploaded_records(&self) -> u64 {
        self.head.uploaded
    }

    /// Parts with a receipt, of all hours ever.
    #[must_use]
    pub const fn uploaded_parts(&self) -> u64 {
        self.head.parts
    }

    /// The newest commit and the newest segment that the ledger knows of.
    #[must_use]
    pub const fn newest(&self) -> (u64, u64) {
        (self.head.last_commit, self.head.last_segment)
    }

    /// Which ids came, as of the last step.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.head.seen
    }

    /// Carries the ids that came along: durable with the next step.
    pub fn carry(&mut self, seen: &Seen) {
        if seen.version() > self.head.seen.version() {
            self.head.seen = seen.clone();
        }
    }

    /// Whether no part was ever sealed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.parts == 0 && self.head.hours.is_empty()
    }

    /// The rows in the head: hours with work to do, and the newest others.
    pub fn recent(&self) -> impl Iterator<Item = &HourRow> {
        self.head.hours.values()
    }

    /// The row of `hour`; one without parts where the ledger has none.
    ///
    /// # Errors
    /// `State`: the file of its day is damaged.
    pub fn row(&mut self, hour: Hour) -> Result<HourRow> {
        if let Some(row) = self.head.hours.get(&hour) {
            return Ok(row.clone());
        }
        let row = self.day(hour.date())?.get(&hour).cloned();
        Ok(row.unwrap_or_else(|| HourRow::new(hour)))
    }

    /// Lets things happen to hours: all of them, in one atomic and durable step. `segment`: the newest journal segment.
    ///
    /// # Errors
    /// `Bug` for what cannot happen, `State` naming the path; then nothing happened, or (after a failed write) perhaps all.
    pub fn apply(&mut self, step: Step, segment: u64, events: Vec<(Hour, Event)>) -> Result<()> {
        let mut head = self.head.clone();
        head.last_segment = head.last_segment.max(segment);
        for (hour, event) in events {
            let row = match head.hours.remove(&hour) {
                Some(row) => row,
                None => self.row(hour)?,
            };
            let range = head.settings.range;
            let (rows, parts) = receipts(&row, range);
            let row = row.apply(event)?;
            let (rows_now, parts_now) = receipts(&row, range);
            head.uploaded = (head.uploaded + rows_now).saturating_sub(rows);
            head.parts = (head.parts + parts_now).saturating_sub(parts);
            head.last_commit = head.last_commit.max(row.frozen);
            head.hours.insert(hour, row);
        }
        self.replace(step, head)
    }

    /// Counts records and parts again, from all rows: where rows were lost and taken over again.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn recount(&mut self) -> Result<()> {
        let (mut uploaded, mut parts) = (0, 0);
        self.for_each(&mut |row| {
            let (rows_here, parts_here) = receipts(row, self.head.settings.range);
            (uploaded, parts) = (uploaded + rows_here, parts + parts_here);
            Ok(())
        })?;
        if (uploaded, parts) == (self.head.uploaded, self.head.parts) {
            return Ok(());
        }
        self.replace(Step::HourImported, Head { uploaded, parts, ..self.head.clone() })
    }

    fn replace(&mut self, step: Step, head: Head) -> Result<()> {
        self.write(step, &head)?;
        self.head = head;
        Ok(())
    }

    fn write(&self, step: Step, head: &Head) -> Result<()> {
        let text = checked::with_checksum(&json(head)?);
        durable_step(step, || durable::replace(&self.dir.join("head"), &text))
    }
}

/// Records and parts of an hour that got their receipts: those of other lanes are counted there.
fn receipts(row: &HourRow, range: HashRange) -> (u64, u64) {
    row.receipts()
        .filter(|part| part.range.overlaps(range))
        .fold((0, 0), |(rows, parts), part| (rows + part.identity.rows, parts + 1))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the ledger").caused_by(e))
}

fn body<'a>(path: &Path, text: &'a [u8]) -> Result<&'a [u8]> {
    checked::verified(path, text)
        .map_err(|damage| damage.hint("restore it from a backup, or rebuild it from the store: `etl replay --from-s3`"))
}

fn unreadable(path: &Path, e: serde_json::Error) -> Error {
    Error::new(ErrorKind::State, format!("cannot read {}", path.display()))
        .caused_by(e)
        .hint("restore it from a backup, or rebuild it from the store: `etl replay --from-s3`")
}

/// Refuses a state of a newer format.
pub(crate) fn newer_format(path: &Path, found: u64) -> Error {
    Error::new(ErrorKind::State, format!("{} has format {found}, newer than this etl", path.display()))
        .hint("use the newer etl that wrote it")
}

#[cfg(test)]
mod tests;
