//! Writes `status.json` as a run goes on.
//!
//! It is not needed to recover: where an earlier one cannot be read, what it would tell is counted from the ledger's files.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::days::{self, Days};
use super::history::Recorder;
use super::{
    Command, HourState, HourStatus, JournalStatus, LastRun, ParkedStatus, PartStatus, QuarantineStatus, RunSoFar,
    Status, StatusFile, Totals, ends,
};
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::closing::ClosingRules;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::state::{SHOWN, State};

/// Hours with work left that are listed, oldest first.
const LISTED: usize = 500;
/// Hours that keep the oldest page, of those that are named.
const PINNING: usize = 48;
/// Pages that wait, of those whose numbers are listed.
pub(super) const WAITING: usize = 256;
/// A status of this age still counts as the present.
const FRESH: Duration = Duration::from_millis(50);

/// Writes `status.json` as a run goes on.
#[derive(Debug)]
pub(crate) struct Writer {
    dir: PathBuf,
    path: PathBuf,
    copy: Option<StatusFile>,
    started: Timestamp,
    command: Command,
    step: u64,
    written: Option<Instant>,
    /// How long that took: it grows with the hours that are pending.
    took: Duration,
    /// What the runs before left.
    before: Option<Status>,
    days: Option<Days>,
    /// Which records the state has.
    range: HashRange,
}

impl Writer {
    /// For a run that has the lock.
    pub(crate) fn start(dir: &Path, recorder: &Recorder, copy: Option<&StatusFile>, now: Timestamp) -> Self {
        let before = ends::before(dir, recorder, now);
        let (started, command) = (recorder.started, recorder.command);
        let path = super::path(dir);
        Self {
            dir: dir.to_owned(),
            path,
            copy: copy.cloned(),
            started,
            command,
            step: 0,
            written: None,
            took: Duration::ZERO,
            before,
            days: None,
            range: HashRange::ALL,
        }
    }

    /// Whether it is time for another: the last is older than 50 ms, and writing takes no more than a hundredth of the run.
    pub(crate) fn is_stale(&self) -> bool {
        self.written.is_none_or(|at| at.elapsed() >= FRESH.max(self.took * 100))
    }

    /// Writes the status.
    pub(crate) fn write(
        &mut self,
        state: &mut State,
        rules: &ClosingRules,
        so_far: &RunSoFar,
        now: Timestamp,
    ) -> Result<()> {
        let began = Instant::now();
        self.step += 1;
        self.range = state.hours.settings().range;
        let days = self.days.get_or_insert_with(|| days_before(self.before.as_mut(), state));
        let mut status = of(state, rules, days, now)?;
        if let Some(before) = &self.before {
            (status.last_success, status.disk) = (before.last_success, before.disk);
            status.last_fetching_run = before.last_fetching_run.clone();
        }
        status.last_verify = super::verified::read(&self.dir)?;
        status.step = self.step;
        status.running = true;
        status.last_run = Some(LastRun::at_work(self.started, self.command, *so_far));
        super::replace(&self.path, &status, self.copy.as_ref())?;
        self.written = Some(Instant::now());
        self.took = began.elapsed();
        Ok(())
    }

    /// Notes an hour that leaves the ledger's head, where the next status would no longer see it.
    pub(crate) fn note_leaving(&mut self, row: &HourRow) {
        if let Some(days) = &mut self.days {
            let row = row.within(self.range);
            days.note(&row, 0, days::late(&row, 0));
        }
    }
}

/// The days of an earlier status that knew of all receipts; else those that the ledger's files have.
fn days_before(before: Option<&mut Status>, state: &State) -> Days {
    let parts = state.hours.uploaded_parts();
    let knew_all = |before: &&mut Status| before.totals.parts == parts && before.days.is_empty() == (parts == 0);
    if let Some(before) = before.filter(knew_all) {
        return Days::carried(std::mem::take(&mut before.days));
    }
    let mut days = Days::default();
    for row in state.hours.newest_archived(days::KEPT) {
        let row = row.within(state.hours.settings().range);
        days.note(&row, 0, days::late(&row, 0));
    }
    days
}

/// The status of an open state directory.
fn of(state: &mut State, rules: &ClosingRules, days: &mut Days, now: Timestamp) -> Result<Status> {
    let mut status = Status::empty(now);
    status.journal = journal(state)?;
    days.clear_pending();
    status.hours = hours(state, rules, days, now)?;
    let listed = status.hours.iter().filter(|hour| hour.state != HourState::Uploaded).count();
    status.hours_left_out = state.hours.count_at_work().saturating_sub(listed as u64);
    status.days = days.to_vec();
    // Counting may set a damaged file aside, so it comes before the count.
    let reasons = state.pages.quarantine.reasons()?;
    let (count, bytes) = (state.pages.quarantine.count(), state.pages.quarantine.bytes());
    status.quarantine = QuarantineStatus { count, reasons, bytes, held_pages: state.pages.held_pages() };
    status.rejected = state.pages.journal().rejected().sum();
    status.parked = ParkedStatus { count: state.hours.parked.count(), hours: state.hours.parked.hours() };
    status.parked.hours.truncate(SHOWN);
    let seen = state.hours.seen();
    status.gaps = seen.gaps();
    status.gap_found = seen.last_found().filter(|_| !status.gaps.is_empty());
    status.gaps_given_up = seen.given_up();
    status.ids = seen.clone();
    status.totals = totals(state, &status);
    Ok(status)
}

fn journal(state: &State) -> Result<JournalStatus> {
    let mut journal = JournalStatus {
        put_off: state.pages.put_off().len() as u64,
        pinned_by: state.hours.that_need_the_oldest_page(PINNING),
        ..JournalStatus::default()
    };
    for id in state.pages.journal().list()? {
        journal.pages += u64::from(id.pages);
        journal.bytes += state.pages.journal().size(id);
        if !state.hours.is_committed(id.number) {
            journal.uncommitted += u64::from(id.pages);
            if journal.waiting.len() < WAITING {
                journal.waiting.push(id.number);
            }
        }
        journal.newest = id.number;
    }
    Ok(journal)
}

fn totals(state: &State, status: &Status) -> Totals {
    let (uploaded, pending) = (state.hours.uploaded_records(), pending(state));
    Totals {
        records: uploaded + pending,
        duplicates: state.hours.duplicates(),
        uploaded,
        pending,
        quarantined: status.quarantine.count,
        parts: state.hours.uploaded_parts(),
    }
}

/// All records without a receipt.
fn pending(state: &State) -> u64 {
    let sealing = state.hours.recent().filter(|row| row.is_sealing());
    let unpruned = sealing.map(|row| row.uploaded_but_unpruned().min(state.hours.pending_records(row.hour)));
    state.hours.all_pending_records().saturating_sub(unpruned.sum())
}

/// The oldest hours with work, and the newest others, in the order of time. What is known of these and of the newest days is noted
/// in `days`. However many hours there are, it looks only at those that are shown.
fn hours(state: &mut State, rules: &ClosingRules, days: &mut Days, now: Timestamp) -> Result<Vec<HourStatus>> {
    let range = state.hours.settings().range;
    let newest: Vec<Hour> = state.hours.pending_hours().rev().take(days::KEPT * 24).collect();
    let pending = state.hours.pending_hours().take(LISTED);
    let mut known: Vec<Hour> = state.hours.recent().map(|row| row.hour).chain(pending).collect();
    known.sort_unstable();
    known.dedup();
    let mut look = |hour| -> Result<HourStatus> {
        let row = state.hours.row(hour)?;
        let row = row.within(range);
        let status = hour_status(state, &row, rules, now);
        days.note(&row, status.pending_records, status.late_records);
        Ok(status)
    };
    for hour in newest {
        look(hour)?;
    }
    let mut hours = known.into_iter().map(look).collect::<Result<Vec<_>>>()?;
    // One may have parts of other lanes only.
    hours.retain(|hour| range.is_all() || hour.state != HourState::Uploaded || !hour.parts.is_empty());
    let idle = hours.iter().filter(|hour| hour.state == HourState::Uploaded).count();
    // The oldest of the idle hours go, and the newest of the others.
    let (mut surplus, mut room) = (idle.saturating_sub(SHOWN), LISTED);
    hours.retain(|hour| match hour.state {
        HourState::Uploaded => !take_one(&mut surplus),
        _ => take_one(&mut room),
    });
    Ok(hours)
}

/// Whether there was one to take.
const fn take_one(left: &mut usize) -> bool {
    let was = *left;
    *left = was.saturating_sub(1);
    was > 0
}

fn hour_status(state: &State, row: &HourRow, rules: &ClosingRules, now: Timestamp) -> HourStatus {
    let unsealed = state.hours.unsealed(row);
    let unreceipted = state.hours.pending_after(row.hour, row.receipted).map_or(0, |p| p.records);
    let due = unsealed.map(|p| rules.due_as_of(now, row.hour, state.hours.has_parts(row), p.first_received));
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

/// An hour without unsealed records, from its ledger row alone.
pub(crate) fn sealed_hour(row: &HourRow) -> HourStatus {
    let unreceipted = row.parts.iter().filter(|part| part.stage == PartStage::Sealing);
    let closed = row.certified.as_ref().map(|certified| certified.closed_at);
    HourStatus {
        hour: row.hour,
        state: if row.is_sealing() { HourState::Sealing } else { HourState::Uploaded },
        pending_records: unreceipted.map(|part| part.identity.rows).sum(),
        closes_at: closed.or(row.last_receipt).unwrap_or(Timestamp::MIN),
        late_records: days::late(row, 0),
        uploaded_at: row.last_receipt,
        parts: row.parts.iter().map(part_status).collect(),
    }
}

fn part_status(part: &PartRow) -> PartStatus {
    PartStatus {
        part: part.part,
        state: part.stage,
        key: part.key.clone(),
        rows: part.identity.rows,
        bytes: part.identity.bytes,
        sha256: part.identity.sha256.clone(),
    }
}
