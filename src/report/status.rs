//! `etl status`: what is pending, from `status.json` alone.
//!
//! A run replaces the file by rename after its durable steps, so a reader sees a whole one, takes no lock, and opens
//! nothing else. A crash leaves the file of the last step before it. It is a view: the next run writes it anew, whatever
//! became of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
pub use crate::gaps::Gap;
use crate::hour::Hour;
use crate::lifecycle::{ClosingRules, HourRow, PartStage};
use crate::state::{Lock, SHOWN, State, durable};

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
    /// Pages that are needed.
    pub journal: JournalStatus,
    /// Hours with work left, and the newest others.
    pub hours: Vec<HourStatus>,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineStatus {
    /// Tokens in it.
    pub count: u64,
}

impl Status {
    /// What a state directory says that no run has used yet.
    #[must_use]
    pub fn empty(now: Timestamp) -> Self {
        Self {
            schema: 1,
            as_of: now,
            step: 0,
            running: false,
            last_run: None,
            journal: JournalStatus { pages: 0, bytes: 0, uncommitted: 0, pinned_by: Vec::new() },
            hours: Vec::new(),
            totals: Totals::default(),
            gaps: Vec::new(),
            gap_found: None,
            gaps_given_up: 0,
            quarantine: QuarantineStatus::default(),
        }
    }
}

/// Reads the status of the state directory `dir` as of `now`.
///
/// # Errors
/// `State`: it cannot be read, or is damaged.
pub fn read(dir: &Path, now: Timestamp) -> Result<Status> {
    let path = path(dir);
    let Some(text) = durable::read(&path)? else {
        if dir.join("ledger").exists() {
            return Err(unreadable(&path, "it is missing"));
        }
        return Ok(Status::empty(now));
    };
    let mut status: Status = serde_json::from_slice(&text).map_err(|e| unreadable(&path, &e.to_string()))?;
    status.running = status.running && Lock::is_held(dir);
    for hour in &mut status.hours {
        // Time goes on while no run does.
        if hour.state == HourState::Open && hour.closes_at <= now {
            hour.state = HourState::Closed;
        }
    }
    Ok(status)
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

/// Writes `status.json` as a run goes on.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    started: Timestamp,
    step: u64,
    written: Option<Instant>,
}

impl Writer {
    /// For a run that starts now.
    #[must_use]
    pub fn start(dir: &Path, now: Timestamp) -> Self {
        Self { path: path(dir), started: now, step: 0, written: None }
    }

    /// Whether the last status is older than `age`.
    #[must_use]
    pub fn is_stale(&self, age: Duration) -> bool {
        self.written.is_none_or(|at| at.elapsed() >= age)
    }

    /// Writes the status.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn write(&mut self, state: &mut State, rules: &ClosingRules, so_far: &RunSoFar, now: Timestamp) -> Result<()> {
        self.step += 1;
        let mut status = of(state, rules, now)?;
        status.step = self.step;
        status.running = true;
        status.last_run =
            Some(LastRun { started: self.started, ended: None, exit: None, so_far: *so_far, problems: Vec::new() });
        replace(&self.path, &status)?;
        self.written = Some(Instant::now());
        Ok(())
    }
}

fn replace(path: &Path, status: &Status) -> Result<()> {
    let text =
        serde_json::to_vec(status).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the status").caused_by(e))?;
    durable::replace_soon(path, &text)
}

/// Notes how a run ended. Gives the error where that was not possible: the run itself is over and stands.
#[must_use]
pub fn note_end(dir: &Path, now: Timestamp, exit: u8, so_far: RunSoFar, problems: &[Error]) -> Option<Error> {
    let note = || {
        let mut status = read(dir, now)?;
        status.running = false;
        if let Some(run) = &mut status.last_run {
            (run.ended, run.exit, run.so_far) = (Some(now), Some(exit), so_far);
            run.problems = problems.iter().map(Error::chain).collect();
        }
        replace(&path(dir), &status)
    };
    note().err()
}

/// The status of an open state directory.
fn of(state: &mut State, rules: &ClosingRules, now: Timestamp) -> Result<Status> {
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
    status.hours = hours(state, rules, now)?;
    status.quarantine.count = state.quarantine.count();
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

/// Hours with work, and the newest others, in the order of time.
fn hours(state: &mut State, rules: &ClosingRules, now: Timestamp) -> Result<Vec<HourStatus>> {
    let mut known: Vec<Hour> = state.ledger.recent().map(|row| row.hour).chain(state.wal.pending_hours()).collect();
    known.sort_unstable();
    known.dedup();
    let mut hours = Vec::with_capacity(known.len());
    for hour in known {
        let row = state.ledger.row(hour)?;
        hours.push(hour_status(state, &row, rules, now));
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
        parts: row.parts.iter().map(part_status).collect(),
    }
}

fn part_status(part: &crate::lifecycle::PartRow) -> PartStatus {
    PartStatus {
        part: part.part,
        state: part.stage,
        key: part.key.clone(),
        rows: part.rows,
        bytes: part.bytes,
        sha256: part.sha256.clone(),
    }
}
