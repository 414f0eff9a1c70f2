//! A lane: a run over a state of its own whose journal is elsewhere.
//!
//! ```text
//! read the log to its end ► commit ► upload what is left ► seal what is due ► upload ► prune ► say what is no longer needed
//! ```
//! The state is a cache: everything in it that has no receipt is in the log of the lane, above what was released, and everything else in the store.
//! So a state that is damaged, or that may have lost records, is set aside, and an empty one reads from what was released on; what is
//! in the store already is found there when an hour is sealed. Invariant: nothing is released that has no receipt. A crash leaves what the crash
//! table says.

use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::intake::lane::LaneLog;
pub use super::recover::neighbours::Neighbours;
use super::{Job, RunRequest, Setup, Summary, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::output::draft::Survives;
use crate::state::files::{checked, durable};
use crate::state::status::history::Recorder;
use crate::state::status::{self, Command};
use crate::state::{Front, State};

/// Which hours are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seals {
    /// Those that are due: closed, and with late records that have waited.
    Due,
    /// Those that are over, without waiting for more late records.
    Over,
    /// All, closed or not.
    All,
}

/// What a lane's run is asked to do.
#[derive(Debug, Clone)]
pub struct LaneRequest {
    /// What is sealed.
    pub seals: Seals,
    /// Everything that the source had sent before this time is in the log.
    pub caught_up: Timestamp,
    /// What the lanes tell each other that this process works one after the other.
    pub neighbours: Rc<Neighbours>,
}

/// What came of it.
#[derive(Debug)]
pub struct LaneOutcome {
    /// What it did.
    pub summary: Summary,
    /// What went wrong.
    pub problems: Vec<Error>,
    /// How far the lane is. `None`: its state could not be used.
    pub place: Option<LanePlace>,
}

/// How far a lane is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanePlace {
    /// Everything below this number of the log has receipts.
    pub needed: u64,
    /// The number behind everything that is committed.
    pub newest: u64,
    /// Every hour that closed until then has receipts for all that was received before it closed.
    pub closed_through: Timestamp,
}

/// What a lane's state notes of itself, so that a loss of its write-ahead log shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    newest: u64,
    pending: u64,
    at_work: bool,
}

/// Does all that there is to do for a lane.
///
/// Never fails as a whole: what went wrong is in the outcome, beside what was done.
pub fn run_lane(setup: &Setup<'_>, log: &mut dyn LaneLog, request: LaneRequest) -> LaneOutcome {
    let mut summary = Summary::default();
    let history = Recorder::new(&setup.state_dir, Command::Run, setup.clock.now());
    let run_request = RunRequest { drain: request.seals == Seals::All, ..RunRequest::default() };
    let task = Task { setup, request: run_request, history: &history };
    let mut done = attempt(task, log, &request, &mut summary);
    if let Err(error) = &done
        && error.kind() == ErrorKind::State
        && !error.is_disk_full()
    {
        tracing::warn!("{}: the lane's state is set aside, and its records are read again", error.chain());
        summary.start_over();
        done = set_aside(&setup.state_dir).and_then(|()| attempt(task, log, &request, &mut summary));
    }
    let (problems, place) = match done {
        Ok((problems, place)) => (problems, Some(place)),
        Err(error) => (vec![error], None),
    };
    let outcome = super::Outcome { began: summary.began, summary, problems };
    super::note_end(task, &outcome);
    LaneOutcome { summary: outcome.summary, problems: outcome.problems, place }
}

fn attempt(
    task: Task<'_>,
    log: &mut dyn LaneLog,
    request: &LaneRequest,
    summary: &mut Summary,
) -> Result<(Vec<Error>, LanePlace)> {
    let Task { setup, history, .. } = task;
    status::prepare(&setup.state_dir, setup.clock.now(), None)?;
    let front = Front::open(&setup.state_dir)?;
    history.begin();
    let state = State::open_behind(front, &setup.settings)?;
    let note = check(&state)?;
    summary.began = true;
    let mut job = Job::new(task, state, None, summary);
    job.output.caught_up = Some(request.caught_up);
    job.recover.neighbours = Rc::clone(&request.neighbours);
    job.output.drain_closed |= request.seals == Seals::Over;
    let worked = job.work_lane(log, &note);
    let noted = job.run.note_status(true);
    let place = worked?;
    noted?;
    Ok((job.run.problems, LanePlace { closed_through: place.closed_through.min(request.caught_up), ..place }))
}

impl Job<'_> {
    fn work_lane(&mut self, log: &mut dyn LaneLog, note: &Note) -> Result<LanePlace> {
        self.run.note_status(true)?;
        let mut begin = |run: &super::Run<'_>| write(run.state.dir(), &Note { at_work: true, ..note.clone() });
        let read = self.intake.commit_lane(&mut self.run, &mut self.recover, log, note.newest, &mut begin);
        // What is committed goes on, whether more can be read or not. But no hour closes of which more may have come.
        if let Some(error) = read? {
            self.output.caught_up = Some(Timestamp::MIN);
            self.run.problems.push(error);
        }
        if self.run.is_stopped() || self.run.is_short_of_space(0)? {
            self.output.caught_up = Some(Timestamp::MIN);
        }
        let has_work = self.run.state.hours.sealing().next().is_some();
        if has_work || !self.output.due_hours(&mut self.run, &mut self.recover)?.is_empty() {
            begin(&self.run)?;
        }
        self.upload_left()?;
        if !self.run.is_stopped() {
            self.seal_and_upload()?;
        }
        self.output.upload_refused(&mut self.run, &mut self.recover)?;
        self.finish()?;
        let place = self.place(note.newest.max(log.passed()));
        let (newest, pending) = (place.newest, self.run.state.hours.all_pending_records());
        write(self.run.state.dir(), &Note { newest, pending, at_work: false })?;
        // Records that wait for an hour that cannot be read back are in no log of ours.
        if self.run.state.hours.parked.count() == 0 {
            self.run.problems.extend(log.release(place.needed).err());
        }
        Ok(place)
    }

    fn place(&self, read_to: u64) -> LanePlace {
        let (hours, closing) = (&self.run.state.hours, &self.run.setup.closing);
        let newest = hours.newest_segment().max(read_to);
        let waiting = hours.pending_hours().filter(|hour| {
            let received = hours.pending(*hour).map(|pending| pending.first_received);
            received.is_none_or(|received| received < closing.closes_at(*hour))
        });
        let first_open = waiting.chain(hours.sealing()).map(|hour| closing.closes_at(hour)).min();
        let closed_through = first_open.unwrap_or(Timestamp::MAX).min(self.output.caught_up.unwrap_or(Timestamp::MAX));
        LanePlace { needed: hours.oldest_needed_entry().unwrap_or(newest), newest, closed_through }
    }
}

/// Checks that the state has all that it had: what is missing of its write-ahead log is nowhere else here.
fn check(state: &State) -> Result<Note> {
    let (hours, (_, last)) = (&state.hours, state.hours.newest_at_last_step());
    let noted: Option<Note> = checked::read_json(&path(state.dir()))?;
    let is_lost = match &noted {
        None => hours.newest_segment() > 0,
        Some(note) if note.at_work => hours.has_no_log() && (note.pending > 0 || last > note.newest),
        Some(note) => hours.all_pending_records() < note.pending,
    };
    let note = noted.unwrap_or_default();
    if is_lost || !state.repairs().is_empty() {
        let what = format!("the write-ahead log of {} is damaged or lost", state.dir().display());
        return Err(Error::new(ErrorKind::State, what).hint("its records are read again from the lane"));
    }
    Ok(note)
}

fn write(dir: &Path, note: &Note) -> Result<()> {
    let path = path(dir);
    if checked::read_json::<Note>(&path).ok().flatten().as_ref() == Some(note) {
        return Ok(());
    }
    checked::write_json(&path, note, Survives::Everything)
}

fn path(dir: &Path) -> std::path::PathBuf {
    dir.join("lane.json")
}

/// Moves a lane's state out of the way. One of before goes.
fn set_aside(dir: &Path) -> Result<()> {
    let aside = dir.with_added_extension("damaged");
    durable::remove_all(&aside)?;
    durable::rename(dir, &aside)
}
