//! `etl status`: what is pending, from `status.json` alone.
//!
//! A run replaces the file by rename after its durable steps, so a reader sees a whole one, takes no lock, and opens
//! nothing else. A crash leaves the file of the last step before it. It is a view: the next run writes it anew, whatever
//! became of it.

pub mod certificate;
pub mod days;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
pub use crate::hour::gaps::Gap;
use crate::hour::lifecycle::{ClosingRules, HourRow, PartStage};
use crate::state::files::durable;
pub use crate::state::pages::journal::Rejected;
use crate::state::pages::quarantine::Quarantine;
use crate::state::{Lock, SHOWN, State, refuse_newer};
use days::{Day, Days};

/// The version of the shape of `etl status --json`, and of `status.json`.
const SCHEMA: u32 = 1;

/// The shape of `etl status --json`. Additions are free; what is here stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this shape.
    pub schema: u32,
    /// When it was true.
    pub as_of: Timestamp,
    /// How often it was written in this run.
    pub step: u64,
    /// Whether a run is at work.
    pub running: bool,
    /// The last run, or the one at work.
    pub last_run: Option<LastRun>,
    /// When a run last did all it should: exit 0, or 65.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Pages that are needed.
    pub journal: JournalStatus,
    /// Hours with work left, and the newest others.
    pub hours: Vec<HourStatus>,
    /// The newest days with records, hour by hour.
    #[serde(default)]
    pub days: Vec<Day>,
    /// Since the state directory was made.
    pub totals: Totals,
    /// Ranges of record ids that were never seen.
    pub gaps: Vec<Gap>,
    /// When the newest of them was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_found: Option<Timestamp>,
    /// Ids in gaps that are no longer listed, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gaps_given_up: u64,
    /// Tokens that are no record.
    pub quarantine: QuarantineStatus,
    /// Bodies that were no pages, until someone acts.
    #[serde(default)]
    pub rejected: Rejected,
    /// Records of hours that cannot be read back.
    #[serde(default)]
    pub parked: ParkedStatus,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it started.
    pub started: Timestamp,
    /// When it ended; `null` while it runs, or where it was killed.
    pub ended: Option<Timestamp>,
    /// Its exit code; `null` as above.
    pub exit: Option<u8>,
    /// What it brought so far.
    #[serde(flatten)]
    pub so_far: RunSoFar,
    /// What went wrong, most pressing first.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// What a run brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSoFar {
    /// Elements of the pages.
    pub fetched: u64,
    /// New records.
    pub new: u64,
    /// Known records.
    pub duplicates: u64,
    /// Newly quarantined tokens.
    pub quarantined: u64,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Pages that are needed.
    pub pages: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Pages that were received and not committed: of another key, or of an interrupted run.
    pub uncommitted: u64,
    /// Those of them at which runs died: read last, and alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub put_off: u64,
    /// What pins the oldest page: the hours that wait for receipts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned_by: Vec<Hour>,
}

/// The state of an hour: that of its least advanced work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HourState {
    /// Unsealed records, and not due.
    Open,
    /// Unsealed records, and due.
    Closed,
    /// Parts without a receipt.
    Sealing,
    /// Nothing left to do.
    Uploaded,
}

/// An hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourStatus {
    /// Which.
    pub hour: Hour,
    /// Its state.
    pub state: HourState,
    /// Records without a receipt.
    pub pending_records: u64,
    /// When it closes or closed; for late records when they are due.
    pub closes_at: Timestamp,
    /// Records that came late: after the hour's first records were sealed.
    #[serde(default)]
    pub late_records: u64,
    /// When its last receipt was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_at: Option<Timestamp>,
    /// Its parts.
    pub parts: Vec<PartStatus>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Its number.
    pub part: u32,
    /// Where it is in its life.
    pub state: PartStage,
    /// The object's key.
    pub key: String,
    /// Records in it.
    pub rows: u64,
    /// Size of the object.
    pub bytes: u64,
    /// SHA-256 of the object.
    pub sha256: String,
}

/// Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Distinct records.
    pub records: u64,
    /// Records received again.
    pub duplicates: u64,
    /// Records with a receipt.
    pub uploaded: u64,
    /// Records without one.
    pub pending: u64,
    /// Tokens in the quarantine.
    pub quarantined: u64,
    /// Parts with a receipt.
    pub parts: u64,
}

/// The quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineStatus {
    /// Tokens in it.
    pub count: u64,
    /// The same by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// Bytes of its files.
    #[serde(default)]
    pub bytes: u64,
    /// Pages in the journal whose odd tokens found no room in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_pages: u64,
}

/// Records of hours that cannot be read back from the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedStatus {
    /// Records.
    pub count: u64,
    /// Their hours, oldest first: as many as [`SHOWN`].
    pub hours: Vec<Hour>,
}

impl ParkedStatus {
    fn of(state: &State) -> Self {
        let mut hours = state.parked.hours();
        hours.truncate(SHOWN);
        Self { count: state.parked.count(), hours }
    }
}

impl Status {
    /// What a state directory says that no run has used yet.
    #[must_use]
    pub fn empty(now: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            as_of: now,
            step: 0,
            running: false,
            last_run: None,
            last_success: None,
            journal: JournalStatus { pages: 0, bytes: 0, uncommitted: 0, put_off: 0, pinned_by: Vec::new() },
            hours: Vec::new(),
            days: Vec::new(),
            totals: Totals::default(),
            gaps: Vec::new(),
            gap_found: None,
            gaps_given_up: 0,
            quarantine: QuarantineStatus::default(),
            rejected: Rejected::default(),
            parked: ParkedStatus::default(),
        }
    }

    /// Ids in the gaps that are listed.
    #[must_use]
    pub fn missing_ids(&self) -> u64 {
        self.gaps.iter().map(Gap::ids).fold(0, u64::saturating_add)
    }
}

impl HourStatus {
    /// Its distinct records.
    #[must_use]
    pub fn records(&self) -> u64 {
        let uploaded = self.parts.iter().filter(|part| part.state == PartStage::Uploaded).map(|part| part.rows);
        uploaded.sum::<u64>().saturating_add(self.pending_records)
    }

    /// The size of its parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Reads the status of the state directory `dir` as of `now`.
///
/// # Errors
/// `State`: it cannot be read, or is damaged.
pub fn read(dir: &Path, now: Timestamp) -> Result<Status> {
    refuse_newer(dir)?;
    let path = path(dir);
    let Some(text) = durable::read(&path)? else {
        if dir.join("ledger").exists() {
            return Err(unreadable(&path, "it is missing"));
        }
        return Ok(Status::empty(now));
    };
    let mut status = parse(&text).map_err(|why| unreadable(&path, &why))?;
    status.running = status.running && Lock::is_held(dir);
    for hour in &mut status.hours {
        // Time goes on while no run does.
        if hour.state == HourState::Open && hour.closes_at <= now {
            hour.state = HourState::Closed;
        }
    }
    Ok(status)
}

/// A status of another shape is not believed.
fn parse(text: &[u8]) -> std::result::Result<Status, String> {
    #[derive(Deserialize)]
    struct Shape {
        schema: u32,
    }
    let shape: Shape = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if shape.schema != SCHEMA {
        return Err(format!("its schema is {}, and this etl knows {SCHEMA}", shape.schema));
    }
    serde_json::from_slice(text).map_err(|e| e.to_string())
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::State, format!("cannot read {}: {why}", path.display()))
        .hint("run `etl replay`: it writes the file anew")
}

fn path(dir: &Path) -> PathBuf {
    dir.join("status.json")
}

/// Makes sure that a new state directory has a status before it has anything else: a missing one is damage.
///
/// # Errors
/// `State`, naming the path.
pub fn prepare(dir: &Path, now: Timestamp) -> Result<()> {
    let path = path(dir);
    if path.exists() || dir.join("ledger").exists() {
        return Ok(());
    }
    durable::make_dir(dir)?;
    // Of runs that start at once, the one that has the lock writes it; the others are told that it is at work.
    let Ok(_lock) = Lock::take(dir) else { return Ok(()) };
    if path.exists() { Ok(()) } else { replace(&path, &Status::empty(now)) }
}

/// A status of this age is still told as the present.
const FRESH: Duration = Duration::from_millis(50);

/// Writes `status.json` as a run goes on.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    started: Timestamp,
    step: u64,
    written: Option<Instant>,
    /// How long that took: it grows with the hours that are pending.
    took: Duration,
    /// What the runs before left.
    before: Option<Status>,
    days: Option<Days>,
}

impl Writer {
    /// For a run that starts now.
    #[must_use]
    pub fn start(dir: &Path, now: Timestamp) -> Self {
        let path = path(dir);
        // A view: one that cannot be read is made anew.
        let text = durable::read(&path).ok().flatten();
        let before = text.and_then(|text| parse(&text).ok());
        Self { path, started: now, step: 0, written: None, took: Duration::ZERO, before, days: None }
    }

    /// Whether it is time for another: the last is older than 50 ms, and writing takes no more than a hundredth of the run.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.written.is_none_or(|at| at.elapsed() >= FRESH.max(self.took * 100))
    }

    /// Writes the status.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn write(&mut self, state: &mut State, rules: &ClosingRules, so_far: &RunSoFar, now: Timestamp) -> Result<()> {
        let began = Instant::now();
        self.step += 1;
        let days = self.days.get_or_insert_with(|| days_before(self.before.as_mut(), state));
        let mut status = of(state, rules, days, now)?;
        status.last_success = self.before.as_ref().and_then(|before| before.last_success);
        status.step = self.step;
        status.running = true;
        status.last_run =
            Some(LastRun { started: self.started, ended: None, exit: None, so_far: *so_far, problems: Vec::new() });
        replace(&self.path, &status)?;
        self.written = Some(Instant::now());
        self.took = began.elapsed();
        Ok(())
    }
}

/// The days that an earlier status has, where it knows of all receipts; else those that the ledger's files have.
fn days_before(before: Option<&mut Status>, state: &State) -> Days {
    let parts = state.ledger.uploaded_parts();
    if let Some(before) = before.filter(|before| before.totals.parts == parts && before.days.is_empty() == (parts == 0))
    {
        return Days::carried(std::mem::take(&mut before.days));
    }
    let mut days = Days::default();
    state.ledger.newest_archived(days::KEPT).iter().for_each(|row| days.note(row, 0, days::late(row, 0)));
    days
}

fn replace(path: &Path, status: &Status) -> Result<()> {
    let text =
        serde_json::to_vec(status).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the status").caused_by(e))?;
    durable::replace_soon(path, &text)
}

/// Notes that a run has started and asks its source; all else is as the last one left it. A view: where that is not possible, the
/// next step says so.
pub fn note_start(dir: &Path, now: Timestamp) {
    let Ok(mut status) = read(dir, now) else { return };
    (status.running, status.step) = (true, 0);
    let so_far = RunSoFar::default();
    status.last_run = Some(LastRun { started: now, ended: None, exit: None, so_far, problems: Vec::new() });
    if let Err(error) = replace(&path(dir), &status) {
        tracing::debug!("cannot note the start of the run: {}", error.chain());
    }
}

/// Notes how a run ended. Gives the error where that was not possible: the run itself is over and stands.
#[must_use]
pub fn note_end(dir: &Path, now: Timestamp, exit: u8, so_far: RunSoFar, problems: &[Error]) -> Option<Error> {
    let note = || {
        let mut status = read(dir, now)?;
        status.running = false;
        if matches!(exit, 0 | 65) {
            status.last_success = Some(now);
        }
        if let Some(run) = &mut status.last_run {
            (run.ended, run.exit, run.so_far) = (Some(now), Some(exit), so_far);
            run.problems = problems.iter().map(Error::chain).collect();
        }
        replace(&path(dir), &status)
    };
    note().err()
}

/// Notes what the quarantine holds now. The caller holds the lock.
///
/// # Errors
/// `State`, naming the path.
pub fn note_quarantine(dir: &Path, now: Timestamp, quarantine: &mut Quarantine) -> Result<()> {
    let reasons = quarantine.reasons()?;
    let (count, bytes) = (quarantine.count(), quarantine.bytes());
    let mut status = read(dir, now)?;
    status.running = false;
    (status.quarantine.count, status.quarantine.bytes, status.totals.quarantined) = (count, bytes, count);
    status.quarantine.reasons = reasons;
    replace(&path(dir), &status)
}

/// The status of an open state directory.
fn of(state: &mut State, rules: &ClosingRules, days: &mut Days, now: Timestamp) -> Result<Status> {
    let mut status = Status::empty(now);
    let segments = state.journal.list()?;
    for id in &segments {
        status.journal.pages += u64::from(id.pages);
        status.journal.bytes += state.journal.size(*id);
        if !state.wal.is_committed(id.number) {
            status.journal.uncommitted += u64::from(id.pages);
        }
    }
    status.journal.pinned_by = state.wal.oldest_needed().map(|(_, hours)| hours).unwrap_or_default();
    days.clear_pending();
    status.hours = hours(state, rules, days, now)?;
    status.days = days.to_vec();
    status.journal.put_off = state.tries.put_off().len() as u64;
    // Counting may set a damaged file aside.
    let reasons = state.quarantine.reasons()?;
    let (count, bytes) = (state.quarantine.count(), state.quarantine.bytes());
    status.quarantine = QuarantineStatus { count, reasons, bytes, held_pages: state.held_pages() };
    status.rejected = state.journal.rejected_sum();
    status.parked = ParkedStatus::of(state);
    let seen = state.wal.seen();
    status.gaps = seen.gaps();
    status.gap_found = seen.last_found().filter(|_| !status.gaps.is_empty());
    status.gaps_given_up = seen.given_up();
    let pending = status.hours.iter().map(|hour| hour.pending_records).sum();
    let uploaded = state.ledger.uploaded_records();
    status.totals = Totals {
        records: uploaded + pending,
        duplicates: state.wal.duplicates(),
        uploaded,
        pending,
        quarantined: state.quarantine.count(),
        parts: state.ledger.uploaded_parts(),
    };
    Ok(status)
}

/// Hours with work, and the newest others, in the order of time; all that is known of any is noted in `days`.
fn hours(state: &mut State, rules: &ClosingRules, days: &mut Days, now: Timestamp) -> Result<Vec<HourStatus>> {
    let mut known: Vec<Hour> = state.ledger.recent().map(|row| row.hour).chain(state.wal.pending_hours()).collect();
    known.sort_unstable();
    known.dedup();
    let mut hours = Vec::with_capacity(known.len());
    for hour in known {
        let row = state.ledger.row(hour)?;
        let status = hour_status(state, &row, rules, now);
        days.note(&row, status.pending_records, status.late_records);
        hours.push(status);
    }
    let idle = hours.iter().filter(|hour| hour.state == HourState::Uploaded).count();
    let mut surplus = idle.saturating_sub(SHOWN);
    hours.retain(|hour| {
        let drop = surplus > 0 && hour.state == HourState::Uploaded;
        surplus -= usize::from(drop);
        !drop
    });
    Ok(hours)
}

fn hour_status(state: &State, row: &HourRow, rules: &ClosingRules, now: Timestamp) -> HourStatus {
    let unsealed = state.wal.unsealed(row.hour, row.frozen);
    let unreceipted = state.wal.unsealed(row.hour, row.receipted).map_or(0, |p| p.records);
    let due = unsealed.map(|p| rules.due_as_of(now, row.hour, !row.parts.is_empty(), p.first_received));
    HourStatus {
        hour: row.hour,
        state: match due {
            Some(due) if due > now => HourState::Open,
            Some(_) => HourState::Closed,
            None if row.is_sealing() => HourState::Sealing,
            None => HourState::Uploaded,
        },
        pending_records: unreceipted.saturating_sub(row.uploaded_but_unpruned()),
        closes_at: due.unwrap_or_else(|| rules.closes_at(row.hour)),
        late_records: days::late(row, unsealed.map_or(0, |pending| pending.records)),
        uploaded_at: row.last_receipt,
        parts: row.parts.iter().map(part_status).collect(),
    }
}

/// An hour of which nothing is unsealed, from its ledger row alone.
#[must_use]
pub fn sealed_hour(row: &HourRow) -> HourStatus {
    let unreceipted = row.parts.iter().filter(|part| part.stage == PartStage::Sealing);
    let closed = row.certified.as_ref().map(|certified| certified.closed_at);
    HourStatus {
        hour: row.hour,
        state: if row.is_sealing() { HourState::Sealing } else { HourState::Uploaded },
        pending_records: unreceipted.map(|part| part.rows).sum(),
        closes_at: closed.or(row.last_receipt).unwrap_or(Timestamp::MIN),
        late_records: days::late(row, 0),
        uploaded_at: row.last_receipt,
        parts: row.parts.iter().map(part_status).collect(),
    }
}

fn part_status(part: &crate::hour::lifecycle::PartRow) -> PartStatus {
    PartStatus {
        part: part.part,
        state: part.stage,
        key: part.key.clone(),
        rows: part.rows,
        bytes: part.bytes,
        sha256: part.sha256.clone(),
    }
}
