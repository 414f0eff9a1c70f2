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

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::lifecycle::{Event, HourRow};
use crate::output::draft::Survives;
use crate::record::row::Dictionaries;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::files::{checked, damage, durable};

/// The format of the state directory: of all that is stored in it, and raised with each change of any of it. A newer one is refused,
/// an older one is stamped with this one when it is opened.
///
/// 1: etl 0.1.0. 2: floors and an inbox beside the journal, `format`, `parked/`, quarantine files with their arrays, notes of trails,
/// validators and pages that wait. 3: a commit of the log has its records in one block, and its row in small pieces.
pub const FORMAT: u32 = 3;
/// How many hours without work stay in the head: those that `etl status` shows.
pub const SHOWN: usize = 48;
/// How many more may gather there before they move, so that not each run moves one.
const SLACK: usize = 24;
/// With more rows the head is a burden to each step that writes it.
const CROWD: usize = 512;
/// Days' files kept in memory: more than a page of old records has of them.
const CACHED_DAYS: usize = 128;

/// What parts depend on. Recorded, because a part must be the same whoever seals it, and whenever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The time zone of the hours.
    pub timezone: String,
    /// The template of the keys.
    pub layout: String,
    /// Where the parts go.
    pub destination: String,
    /// The dictionary of `url`.
    pub url: BTreeMap<String, i64>,
    /// The dictionary of `method`.
    pub method: BTreeMap<String, i64>,
}

impl Settings {
    /// Checks that a state recorded under these settings can go on under `new`: dictionaries may gain entries, the rest
    /// stays.
    ///
    /// # Errors
    /// `Config`, naming the setting.
    pub fn allow(&self, new: &Self) -> Result<()> {
        let fixed = [
            ("hours.timezone", &self.timezone, &new.timezone),
            ("load.layout", &self.layout, &new.layout),
            ("load.to", &self.destination, &new.destination),
        ];
        for (key, old, new) in fixed {
            if old != new {
                return Err(changed(key, &format!("{old:?}, now {new:?}")));
            }
        }
        for (key, old, new) in [("compact.url", &self.url, &new.url), ("compact.method", &self.method, &new.method)] {
            if let Some((entry, _)) = old.iter().find(|(entry, code)| new.get(*entry) != Some(code)) {
                return Err(changed(key, &format!("an entry {entry:?} that is now missing or different")));
            }
        }
        Ok(())
    }
}

fn changed(key: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{key} has changed: the state directory was made with {what}"))
        .hint("change it back, or use another state.dir for the new setting")
}

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
    /// Dictionaries that parts were written with before the configuration gained entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former_dictionaries: Vec<Dictionaries>,
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
        }
        // Parts that wait for their upload may have been written with them.
        let former = Dictionaries::new(head.settings.url.clone(), head.settings.method.clone())?;
        let new = Dictionaries::new(settings.url.clone(), settings.method.clone())?;
        if former != new && !head.former_dictionaries.contains(&former) {
            head.former_dictionaries.push(former);
        }
        self.replace(Step::SettingsRecorded, Head { settings, ..head })
    }

    /// Dictionaries that parts may have been written with before the configuration gained entries.
    #[must_use]
    pub fn former_dictionaries(&self) -> &[Dictionaries] {
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
            let (rows, parts) = (row.uploaded_rows(), row.uploaded().count());
            let row = row.apply(event)?;
            head.uploaded = (head.uploaded + row.uploaded_rows()).saturating_sub(rows);
            head.parts = (head.parts + row.uploaded().count() as u64).saturating_sub(parts as u64);
            head.last_commit = head.last_commit.max(row.frozen);
            head.hours.insert(hour, row);
        }
        self.replace(step, head)
    }

    /// Whether more rows have gathered in the head than each step should write.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.head.hours.len() > CROWD
    }

    /// Moves rows without work, beyond the newest ones, to the files of their days, and shows them to `leaving` before. `busy`: hours
    /// that must stay.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn archive(&mut self, busy: impl Fn(Hour) -> bool, leaving: &mut dyn FnMut(&HourRow)) -> Result<()> {
        let idle = |row: &&HourRow| !row.is_sealing() && !busy(row.hour);
        let idle: Vec<Hour> = self.head.hours.values().filter(idle).map(|row| row.hour).collect();
        let surplus = idle.len().saturating_sub(SHOWN);
        if surplus <= SLACK {
            return Ok(());
        }
        let mut head = self.head.clone();
        let mut moved: BTreeMap<Date, Vec<HourRow>> = BTreeMap::new();
        for hour in idle.into_iter().take(surplus) {
            if let Some(row) = head.hours.remove(&hour) {
                leaving(&row);
                moved.entry(hour.date()).or_default().push(row);
            }
        }
        for (date, rows) in moved {
            self.archive_day(date, rows)?;
        }
        durable::sync_dir(&self.dir)?;
        self.replace(Step::LedgerArchived, head)
    }

    fn archive_day(&mut self, date: Date, rows: Vec<HourRow>) -> Result<()> {
        let path = self.day_path(date);
        // Nobody asks for its rows again soon, and kept between the buffers of this they would split the heap.
        let mut day = match self.days.remove(&date) {
            Some(day) => day,
            None => self.read_day(date)?,
        };
        day.extend(rows.into_iter().map(|row| (row.hour, row)));
        let rows: Vec<&HourRow> = day.values().collect();
        let text = checked::with_checksum(&gzipped(&json(&rows)?)?);
        // Their names are made durable together, before the head forgets the rows.
        durable_step(Step::DayArchived, || durable::write(&path, &text, Survives::Bytes))
    }

    /// Every row, by hour. For `verify` and the like: reads all days.
    ///
    /// # Errors
    /// `State`: a file is damaged. And whatever `each` returns.
    pub fn for_each(&self, each: &mut dyn FnMut(&HourRow) -> Result<()>) -> Result<()> {
        let mut head = self.head.hours.values().peekable();
        for name in durable::names(&self.dir)? {
            let Ok(date) = name.parse::<Date>() else { continue };
            for row in self.read_day(date)?.values() {
                while let Some(newer) = head.next_if(|newer| newer.hour < row.hour) {
                    each(newer)?;
                }
                if let Some(newer) = head.next_if(|newer| newer.hour == row.hour) {
                    each(newer)?;
                } else {
                    each(row)?;
                }
            }
        }
        head.try_for_each(each)
    }

    /// The rows in the files of the newest days, of as many as there are up to `days`. A damaged file is left out: this is
    /// for views.
    #[must_use]
    pub fn newest_archived(&self, days: usize) -> Vec<HourRow> {
        let names = durable::names(&self.dir).unwrap_or_default();
        let dates = names.iter().filter_map(|name| name.parse::<Date>().ok()).rev().take(days);
        dates.filter_map(|date| self.read_day(date).ok()).flat_map(BTreeMap::into_values).collect()
    }

    /// Counts records and parts again, from all rows: where rows were lost and taken over again.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn recount(&mut self) -> Result<()> {
        let (mut uploaded, mut parts) = (0, 0);
        self.for_each(&mut |row| {
            uploaded += row.uploaded_rows();
            parts += row.uploaded().count() as u64;
            Ok(())
        })?;
        if (uploaded, parts) == (self.head.uploaded, self.head.parts) {
            return Ok(());
        }
        self.replace(Step::HourImported, Head { uploaded, parts, ..self.head.clone() })
    }

    fn day_path(&self, date: Date) -> PathBuf {
        self.dir.join(format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
    }

    fn day(&mut self, date: Date) -> Result<&BTreeMap<Hour, HourRow>> {
        if !self.days.contains_key(&date) {
            while self.days.len() >= CACHED_DAYS {
                // Hours are gone through in their order: the day furthest from this one is needed last.
                let (first, last) = (self.days.keys().next(), self.days.keys().next_back());
                let is_before = first
                    .zip(last)
                    .is_some_and(|(first, last)| date.duration_since(*first) > last.duration_since(date));
                drop(if is_before { self.days.pop_first() } else { self.days.pop_last() });
            }
            let day = self.read_day(date)?;
            self.days.insert(date, day);
        }
        Ok(self.days.entry(date).or_default())
    }

    fn read_day(&self, date: Date) -> Result<BTreeMap<Hour, HourRow>> {
        let path = self.day_path(date);
        let Some(text) = durable::read(&path)? else {
            return Ok(BTreeMap::new());
        };
        let mut json = Vec::new();
        let read = GzDecoder::new(body(&path, &text)?).read_to_end(&mut json);
        read.map_err(|e| unreadable(&path, serde_json::Error::io(e)))?;
        let rows: Vec<HourRow> = serde_json::from_slice(&json).map_err(|e| unreadable(&path, e))?;
        Ok(rows.into_iter().map(|row| (row.hour, row)).collect())
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

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the ledger").caused_by(e))
}

fn gzipped(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let finished = gzip.write_all(bytes).and_then(|()| gzip.finish());
    finished.map_err(|e| Error::new(ErrorKind::Bug, "cannot compress the ledger").caused_by(e))
}

fn body<'a>(path: &Path, text: &'a [u8]) -> Result<&'a [u8]> {
    checked::verified(path, text)
        .map_err(|damage| damage.hint("restore it from a backup, or rebuild it from the store: `etl replay --from-s3`"))
}

fn unreadable(path: &Path, e: serde_json::Error) -> Error {
    Error::new(ErrorKind::State, format!("cannot read {}", path.display())).caused_by(e)
}

/// Refuses a state of a newer format.
pub(crate) fn newer_format(path: &Path, found: u64) -> Error {
    Error::new(ErrorKind::State, format!("{} has format {found}, newer than this etl", path.display()))
        .hint("use the newer etl that wrote it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hour::lifecycle::HashesRef;
    use crate::hour::part::{PartIdentity, PartRow, PartStage};
    use crate::hour::tally::{Certified, Tally};

    fn settings() -> Settings {
        Settings {
            timezone: "UTC".into(),
            layout: "l".into(),
            destination: "file:lake".into(),
            url: BTreeMap::from([("/a".into(), 1)]),
            method: BTreeMap::new(),
        }
    }

    fn hour(n: usize) -> Hour {
        format!("2023-03-{:02}T{:02}", 1 + n / 24, n % 24).parse().unwrap()
    }

    fn freeze_and_receipt(ledger: &mut Ledger, hour: Hour, through: u64) {
        let at = "2023-04-01T00:00:00Z".parse().unwrap();
        let n = ledger.row(hour).unwrap().parts.len();
        let part = PartRow {
            part: u32::try_from(n).unwrap(),
            stage: PartStage::Sealing,
            key: "k".into(),
            identity: PartIdentity { rows: 5, bytes: 1, sha256: String::new(), content_sha256: String::new() },
            dict: String::new(),
            through,
            first: at,
            last: at,
            frozen_at: at,
            uploaded_at: None,
            etag: None,
        };
        let number = part.part;
        let certified = Certified::new(at, Tally::default(), &[]);
        let hashes = HashesRef { version: through, count: 5 };
        let frozen = Event::Frozen { through, hashes, parts: vec![part], certified };
        ledger.apply(Step::HoursFrozen, 3, vec![(hour, frozen)]).unwrap();
        let receipt = Event::Receipted { part: number, sha256: String::new(), bytes: 1, etag: None, at };
        ledger.apply(Step::PartsReceipted, 4, vec![(hour, receipt)]).unwrap();
    }

    #[test]
    fn old_hours_move_to_their_days_and_are_found_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(dir.path(), settings()).unwrap();
        for n in 0..100 {
            freeze_and_receipt(&mut ledger, hour(n), 1);
        }
        ledger.archive(|h| h == hour(0), &mut |_| ()).unwrap();
        let mut ledger = Ledger::open(dir.path()).unwrap().unwrap();
        assert_eq!(ledger.recent().count(), SHOWN + 1, "the newest, and the busy one");
        assert_eq!(ledger.row(hour(3)).unwrap().parts.len(), 1);
        assert_eq!((ledger.uploaded_records(), ledger.uploaded_parts()), (500, 100));
        freeze_and_receipt(&mut ledger, hour(3), 2);
        let mut seen = Vec::new();
        ledger
            .for_each(&mut |row| {
                seen.push((row.hour, row.parts.len()));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen.len(), 100);
        assert!(seen.is_sorted());
        assert_eq!(seen[3], (hour(3), 2), "the head's row counts");
    }

    #[test]
    fn row_of_an_older_etl_is_read_and_the_certificate_s_text_is_pinned() {
        let old = r#"{"hour":"2023-03-10T01","frozen":7,"receipted":7,"hashes":null,"next_hashes":2,"last_receipt":null,"parts":[]}"#;
        let row: HourRow = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), old, "what is not there is not written either");
        let tally = Tally { duplicates: 3, quarantined: 1, ids: Some((5, 9)) };
        let closed_at = "2023-03-10T02:10:00Z".parse().unwrap();
        let certified = Certified::new(closed_at, tally, &[crate::hour::gaps::Gap { from: 7, to: 8 }]);
        let text = serde_json::to_string(&HourRow { certified: Some(certified), ..row }).unwrap();
        let certificate = r#""last_receipt":null,"certified":{"closed_at":"2023-03-10T02:10:00Z","duplicates":3,"quarantined":1,"ids":[5,9],"missing":2,"holes":[{"from":7,"to":8}]},"#;
        assert_eq!(text, old.replace(r#""last_receipt":null,"#, certificate));
        assert!(serde_json::from_str::<HourRow>(&text).unwrap().certified.is_some());
    }

    #[test]
    fn damage_is_refused_and_absence_is_not_damage() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Ledger::open(dir.path()).unwrap().is_none());
        Ledger::create(dir.path(), settings()).unwrap();
        let path = dir.path().join("ledger/head");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Ledger::open(dir.path()).unwrap_err().kind(), ErrorKind::State);
    }

    #[test]
    fn dictionaries_may_gain_entries_and_nothing_else_may_change() {
        let old = settings();
        let mut more = settings();
        more.url.insert("/b".into(), 2);
        assert!(old.allow(&more).is_ok());
        assert!(more.allow(&old).is_err(), "lost an entry");
        for change in [
            Settings { timezone: "Asia/Seoul".into(), ..settings() },
            Settings { destination: "s3://b/".into(), ..settings() },
            Settings { url: BTreeMap::from([("/a".into(), 2)]), ..settings() },
        ] {
            assert_eq!(old.allow(&change).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
