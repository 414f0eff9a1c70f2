//! `run` and `replay`: the order of the stages. The only place that sees all of them.
//!
//! ```text
//! settle: commit what the journal holds → retry the quarantine and what is parked → upload what is left → seal what is due → upload
//! run:    fetch, settle, finish            replay: settle, finish            finish: prune
//! ```
//! The source forgets and the store does not: a run asks the source and journals what comes before it opens anything else. Files do
//! not forget: they are read after the journal is settled.
//! A crash anywhere leaves what the step's row in the crash table says ([`crate::state::files::step::Step`]), and `settle` is what
//! the next run begins with: there is no recovery beside the normal path. A failure that concerns one page, one hour or one end
//! (source, store) is recorded and costs only that; only a failing disk or state ends a run early.

mod context;
mod dry_run;
mod files;
pub mod intake;
pub mod lane;
pub mod output;
mod progress_log;
pub mod receive;
mod recover;
mod setup;
mod summary;

use std::time::{Instant, SystemTime};

pub use dry_run::{DryRun, dry_run};
pub use intake::fetch::Source;
pub(crate) use intake::increment::first_page;
pub use intake::windows::windows_left;
pub use recover::repair::{Place, RepairRequest, Repaired, RepairedPart, repair};
#[cfg(feature = "kafka")]
pub(crate) use recover::token_of_a_record;
pub(crate) use setup::has_expired;
pub use setup::{Progress, RunRequest, Setup};
pub(crate) use summary::Report;
pub use summary::{Outcome, Summary, UploadedPart};

use self::context::Run;
use self::intake::Intake;
use self::intake::fetch::{self, Halt, PageTrail};
use self::intake::{address, increment, notes};
use self::output::Output;
use self::progress_log::StepLog;
use self::recover::Recover;
use crate::error::{Error, ErrorKind, Result};
use crate::source::HttpSource;
use crate::state::files::damage::{self, is_damage};
use crate::state::status::Command;
use crate::state::status::history::Recorder;
use crate::state::{Front, Reserve, State, status};

/// Repairs in one run, before damage counts as a failure.
const REPAIRS: u32 = 3;
/// Gaps that a summary names.
const GAPS_LISTED: usize = 5;

/// Fetches, commits, seals, uploads, prunes; `source` is `None` for a replay.
///
/// Never fails as a whole: what went wrong is in the outcome, beside what was done.
pub fn run(setup: &Setup<'_>, mut source: Option<Source<'_>>, request: RunRequest) -> Outcome {
    let started = Instant::now();
    let mut summary = Summary::default();
    let mut trail = None;
    let command = if source.is_some() { Command::Run } else { Command::Replay };
    let history = Recorder::new(&setup.state_dir, command, setup.clock.now());
    let task = Task { setup, request, history: &history };
    let mut problems = match attempt_and_repair(task, source.as_mut(), &mut trail, &mut summary) {
        Err(full) if full.is_disk_full() => make_room(task, full, &mut summary),
        Err(error) => vec![error],
        Ok(problems) => problems,
    };
    problems.extend(trail.into_iter().flat_map(|trail| trail.problems).map(Error::about_the_source));
    problems.extend(summary.quarantine_problem());
    problems.sort_by_key(Error::kind);
    summary.seconds = started.elapsed().as_secs_f64();
    let outcome = Outcome { began: summary.began, summary, problems };
    note_end(task, &outcome);
    outcome
}

/// A run: what it is given, what it is asked to do, and where it is written down.
#[derive(Clone, Copy)]
struct Task<'a> {
    setup: &'a Setup<'a>,
    request: RunRequest,
    history: &'a Recorder,
}

/// Notes how the run ended. One that found another at work leaves everything as it is.
fn note_end(Task { setup, history, .. }: Task<'_>, outcome: &Outcome) {
    let exit = match outcome.exit_code() {
        0 => setup.stop.exit_code().unwrap_or(0),
        exit if exit == ErrorKind::Busy.exit_code() => return,
        exit => exit,
    };
    let (now, copy, asked) = (setup.clock.now(), setup.status_file.as_ref(), outcome.summary.asked);
    let end = status::End { exit, asked, counts: outcome.summary.counts(), problems: &outcome.problems };
    if !outcome.began {
        return status::note_failure(&setup.state_dir, now, history, end, copy);
    }
    if let Err(error) = status::note_end(&setup.state_dir, now, history, end, copy) {
        tracing::debug!("cannot note the end of the run: {}", error.chain());
    }
}

/// The disk is full: gives the reserve up, and does what frees space. The log's store keeps failing within this process once it
/// has failed, so the state is opened again.
fn make_room(task: Task<'_>, full: Error, summary: &mut Summary) -> Vec<Error> {
    let mut problems = match Reserve::new(&task.setup.state_dir).give_up() {
        Ok(true) => attempt(task, None, &mut None, summary).unwrap_or_else(|error| vec![error]),
        Ok(false) => Vec::new(),
        Err(error) => vec![error],
    };
    problems.push(full.hint("free some space: until then nothing is fetched; what was received is kept"));
    problems
}

/// Damage to what can be made again does not fail the run: the next open repairs it, so the run starts over. What was fetched is
/// in the journal.
fn attempt_and_repair(
    task: Task<'_>,
    mut source: Option<&mut Source<'_>>,
    trail: &mut Option<PageTrail>,
    summary: &mut Summary,
) -> Result<Vec<Error>> {
    for _ in 0..REPAIRS {
        match attempt(task, source.as_deref_mut(), trail, summary) {
            Err(damage) if is_damage(&damage) => tracing::warn!("{}: starting over", damage.chain()),
            done => return done,
        }
        summary.start_over();
    }
    attempt(task, source, trail, summary)
}

fn attempt(
    task: Task<'_>,
    mut source: Option<&mut Source<'_>>,
    trail: &mut Option<PageTrail>,
    summary: &mut Summary,
) -> Result<Vec<Error>> {
    let Task { setup, request, history } = task;
    status::prepare(&setup.state_dir, setup.clock.now(), setup.status_file.as_ref())?;
    let front = open_front(setup, source.as_deref_mut())?;
    let was_live = address::is_live(&setup.state_dir)?;
    if let Some(source) = &source {
        address::note(&setup.state_dir, source)?;
    }
    history.begin();
    fetch_first(task, source.as_deref_mut(), trail, &front, summary)?;
    let state = match request.from_store {
        true => State::open_without_ledger(front, &setup.settings)?,
        false => State::open_behind(front, &setup.settings)?,
    };
    summary.began = true;
    let mut job = Job::new(task, state, source.as_deref(), summary);
    job.is_live = was_live.unwrap_or_else(|| job.has_open_hours());
    let worked = job.report_repairs().and_then(|()| job.work(source, trail.as_mut()));
    // The last word of status.json is true whatever happened.
    let noted = job.run.note_status(true).and_then(|()| job.run.state.watch_uncommitted());
    if let Err(error) = &worked {
        damage::clear(error)?;
    }
    worked.and(noted)?;
    Ok(job.run.problems)
}

/// Opens the front of the state directory. Where another run has the lock, receives what the source has now, beside that run.
fn open_front(setup: &Setup<'_>, source: Option<&mut Source<'_>>) -> Result<Front> {
    let opened = Front::open(&setup.state_dir);
    if opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::Busy)
        && let Some(Source::Http { client, template }) = source
        && template.span().is_none()
    {
        fetch::receive_beside(client, template, setup);
    }
    opened
}

/// Asks the source before anything else is opened, where the front of the state directory allows it.
fn fetch_first(
    Task { setup, history, .. }: Task<'_>,
    source: Option<&mut Source<'_>>,
    trail: &mut Option<PageTrail>,
    front: &Front,
    summary: &mut Summary,
) -> Result<()> {
    let Some(Source::Http { client, template }) = source else { return Ok(()) };
    if trail.is_some() {
        return Ok(());
    }
    let trail = trail.insert(PageTrail::start(template, front, setup.clock.now())?);
    if front.can_receive(&setup.settings) {
        summary.began = true;
        status::note_start(&setup.state_dir, history, setup.status_file.as_ref());
        trail.advance(client, setup, &front.journal, front.waiting_bytes()?, summary)?;
        history.step("fetch", summary.counts(), setup.clock.now());
    }
    Ok(())
}

/// A run at work: what comes in, what goes out, what is brought back, and what these share.
struct Job<'a> {
    run: Run<'a>,
    intake: Intake,
    output: Output,
    recover: Recover,
    /// Whether a live source fills the state: a backfill leaves its open hours open.
    is_live: bool,
}

impl<'a> Job<'a> {
    fn new(task: Task<'a>, state: State, source: Option<&Source<'_>>, summary: &'a mut Summary) -> Self {
        let Task { setup, request, history } = task;
        Self {
            run: Run::new(setup, state, request, summary, history),
            intake: Intake::new(source.is_some_and(Source::is_backfill)),
            output: Output::new(request.drain, &setup.state_dir),
            recover: Recover::new(source.is_none()),
            is_live: false,
        }
    }

    fn report_repairs(&mut self) -> Result<()> {
        for repair in self.run.state.repairs() {
            tracing::warn!("{repair}");
        }
        let losses = self.run.state.take_losses();
        if !losses.is_empty() {
            notes::forget_seen(self.run.state.dir())?;
            increment::forget(self.run.state.dir())?;
        }
        self.run.problems.extend(losses);
        Ok(())
    }

    fn work(&mut self, source: Option<&mut Source<'_>>, trail: Option<&mut PageTrail>) -> Result<()> {
        self.run.note_status(true)?;
        if self.run.request.from_store {
            recover::rebuild_from_store(&mut self.run, &mut self.output)?;
        }
        if self.run.request.backfill && source.is_none() {
            self.do_not_wait();
        }
        self.recover.recut_noted(&mut self.run, &mut self.output)?;
        // Their pages cannot be told from known ones until their parts are in the store.
        if self.run.state.hours.any_misses_records() {
            self.upload_left()?;
        }
        self.intake.watch_ids(&self.run, trail.as_ref().and_then(|trail| trail.source()))?;
        if self.run.request.rejected {
            self.recover.retry_rejected(&mut self.run, &mut self.intake)?;
        }
        match (source, trail) {
            (Some(Source::Http { client, .. }), Some(trail)) => self.settle_trail(client, trail)?,
            (Some(Source::Files { pattern, max_page_bytes }), _) => self.backfill(pattern, *max_page_bytes)?,
            _ => self.settle(true, None)?,
        }
        self.output.upload_refused(&mut self.run, &mut self.recover)?;
        self.finish()?;
        self.commit_put_off()
    }

    /// Commits what the journal holds, tries again what was put off, uploads what is left; seals and uploads what is due.
    fn settle(&mut self, seal: bool, trail: Option<&PageTrail>) -> Result<()> {
        self.commit_journal()?;
        self.intake.hear(&self.run, trail);
        self.intake.note_increment(&self.run, trail)?;
        self.intake.note_window(&self.run, trail)?;
        self.run.note_step("commit");
        self.recover.retry_quarantine(&mut self.run, &mut self.intake)?;
        self.recover.retry_parked(&mut self.run, &mut self.intake)?;
        self.upload_left()?;
        self.run.note_step("upload what was left");
        if self.recover.expects_records() {
            // Hours were thawed: their pages, which waited, bring their records back.
            self.commit_journal()?;
            self.recover.report_lost_records(&mut self.run);
        }
        if seal && !self.run.is_stopped() { self.seal_and_upload() } else { Ok(()) }
    }

    /// Settles what came of a trail; while it pauses, lets it go on.
    fn settle_trail(&mut self, client: &mut HttpSource, trail: &mut PageTrail) -> Result<()> {
        let drain = self.run.request.drain;
        loop {
            self.output.drain = drain && trail.is_over();
            // Its records are not late: its hours are sealed when all of it is there.
            self.output.drain_closed |= trail.is_window() && trail.is_over();
            self.settle(!(drain || trail.is_window()) || trail.is_over(), Some(trail))?;
            if trail.is_over() || self.run.is_stopped() {
                return Ok(());
            }
            trail.settled();
            if !self.intake.is_clean(&self.run) {
                trail.leave_no_notes();
            }
            let received = self.run.summary.pages;
            let waiting = self.run.state.uncommitted_bytes()?;
            if self.run.is_short_of_space(waiting)? {
                self.output.make_space(&mut self.run, &mut self.recover)?;
            }
            let Run { setup, state, summary, .. } = &mut self.run;
            let halt = trail.advance(client, setup, state.pages.journal(), waiting, summary)?;
            self.run.note_step("fetch");
            if halt == Halt::NoSpace && self.run.summary.pages == received {
                self.run.problems.push(fetch::no_space(self.run.setup)?);
                return Ok(());
            }
        }
    }

    /// Commits the pages at which runs died, when everything else is done.
    fn commit_put_off(&mut self) -> Result<()> {
        if self.intake.commit_put_off(&mut self.run, &mut self.recover)? {
            self.recover.retry_quarantine(&mut self.run, &mut self.intake)?;
            self.seal_and_upload()?;
            self.finish()?;
        }
        Ok(())
    }

    fn commit_journal(&mut self) -> Result<()> {
        let step = StepLog::begin(self.run.summary);
        self.intake.commit_journal(&mut self.run, &mut self.output, &mut self.recover)?;
        step.committed(self.run.summary);
        Ok(())
    }

    fn seal_and_upload(&mut self) -> Result<()> {
        let step = StepLog::begin(self.run.summary);
        self.output.seal_and_upload(&mut self.run, &mut self.recover)?;
        step.sent(self.run.summary);
        self.run.note_step("seal and upload");
        Ok(())
    }

    /// Uploads what an earlier run sealed.
    fn upload_left(&mut self) -> Result<()> {
        let step = StepLog::begin(self.run.summary);
        self.output.upload_left(&mut self.run, &mut self.recover)?;
        step.sent(self.run.summary);
        Ok(())
    }

    /// Deletes what is no longer needed, and sums up.
    fn finish(&mut self) -> Result<()> {
        let run = &mut self.run;
        let step = StepLog::begin(run.summary);
        run.state.prune()?;
        step.pruned(run.state.pages_removed_and_left()?);
        if !run.is_stopped() {
            run.state.hours.tidy_log()?;
        }
        if run.summary.uploaded_parts > 0 || run.state.after_a_crash() {
            run.state.forget_hashes(run.setup.clock.now(), run.setup.dedup_window)?;
        }
        if run.summary.uploaded_parts > 0 {
            if let Some(archive) = &run.setup.archive {
                run.problems.extend(archive.prune(SystemTime::now()).err());
            }
            // The hours that leave the ledger's head are noted while they are in it.
            run.note_status(true)?;
            run.archive_rows()?;
        }
        // A lane knows only its own manifests, and the machine's reserve is one.
        if !run.setup.is_lane() {
            self.output.publish_digests(run)?;
            run.state.fill_reserve(run.setup.min_free)?;
        }
        self.sum_up();
        Ok(())
    }

    fn sum_up(&mut self) {
        self.run.summary.polled_too_rarely = self.intake.polled_too_rarely(&self.run);
        let Run { state, summary, .. } = &mut self.run;
        let gaps = state.hours.seen().gaps();
        summary.gaps = gaps.len() as u64;
        summary.missing = state.hours.seen().missing();
        summary.newest_gaps = gaps.into_iter().rev().take(GAPS_LISTED).collect();
        summary.pending_hours = state.hours.count_at_work();
    }
}
