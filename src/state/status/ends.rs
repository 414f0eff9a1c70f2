//! How a run began and ended, in `status.json` and in the run history.
//!
//! A run that had the lock writes both; one that ended before leaves a line in the history, and the copy of the status, where
//! there is one. Nothing here fails a run. A run that is killed writes nothing: the next one notes that, and until then `status`
//! sees that it began and does not hold the lock.

use std::path::Path;

use jiff::Timestamp;

use super::history::{Counts, Ended, Recorder, note_killed};
use super::{Command, LastRun, RunSoFar, Status, StatusFile, disk, merge, path, read_file, replace};
use crate::error::{Error, Result};
use crate::state::files::access;

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) exit: u8,
    /// Whether it asked its source.
    pub(crate) asked: bool,
    pub(crate) counts: Counts,
    pub(crate) problems: &'a [Error],
}

impl<'a> End<'a> {
    /// The end of a run that did nothing.
    pub(crate) fn of(error: &'a Error) -> Self {
        let (exit, problems) = (error.kind().exit_code(), std::slice::from_ref(error));
        Self { exit, asked: false, counts: Counts::default(), problems }
    }

    const fn at(self, at: Timestamp) -> Ended<'a> {
        Ended { at, exit: self.exit, asked: self.asked, counts: self.counts, problems: self.problems }
    }
}

/// What the runs before left, for a run that has the lock: one that began and never ended was killed.
pub(super) fn before(dir: &Path, recorder: &Recorder, now: Timestamp) -> Option<Status> {
    let mut status = read_file(dir, now).ok()?;
    merge::apply(&mut status, dir);
    let last = status.last_run.clone();
    if let Some(run) = last.filter(|run| run.ended.is_none() && run.started != recorder.started) {
        note_killed(dir, &run);
        if run.command == Command::Run {
            status.last_fetching_run = Some(run);
        }
    }
    Some(status)
}

/// Notes that a run asks its source; all else is as the last one left it. Where that is not possible, the next step says so.
pub(crate) fn note_start(dir: &Path, recorder: &Recorder, copy: Option<&StatusFile>) {
    let Some(mut status) = before(dir, recorder, recorder.started) else { return };
    (status.running, status.step) = (true, 0);
    status.last_run = Some(LastRun::at_work(recorder.started, recorder.command, RunSoFar::default()));
    if let Err(error) = replace(&path(dir), &status, copy) {
        tracing::debug!("cannot note the start of the run: {}", error.chain());
    }
}

/// Notes how a run ended that had the lock. An error takes nothing from the run: it is over.
pub(crate) fn note_end(
    dir: &Path,
    now: Timestamp,
    recorder: &Recorder,
    end: End<'_>,
    copy: Option<&StatusFile>,
) -> Result<()> {
    let ended = end.at(now);
    recorder.end(&ended);
    let mut status = read_file(dir, now)?;
    match status.last_run.as_mut().filter(|run| run.started == recorder.started) {
        Some(run) => {
            (run.ended, run.exit, run.so_far) = (Some(now), Some(end.exit), end.counts.brought);
            run.problems = end.problems.iter().map(Error::chain).collect();
            run.hint = end.problems.first().and_then(Error::next_step).map(str::to_owned);
            let run = run.clone();
            status.running = false;
            merge::note_last(&mut status, run, end.asked);
        }
        // Its status was never written, or another run began meanwhile.
        None => merge::note(&mut status, &recorder.past(&ended)),
    }
    if end.counts.uploaded_parts > 0 || status.disk.is_none_or(|disk| disk::is_old(&disk, now)) {
        status.disk = disk::usage(dir, now);
    }
    replace(&path(dir), &status, copy)
}

/// Notes how a run ended before it could open the state directory `dir`.
pub(crate) fn note_failure(dir: &Path, now: Timestamp, recorder: &Recorder, end: End<'_>, copy: Option<&StatusFile>) {
    let end = end.at(now);
    recorder.end(&end);
    let Some(copy) = copy else { return };
    // What the state says goes into the copy; where it cannot be read, the copy says it as it did.
    let mut status = super::read_both(dir, Some(&copy.path), now).unwrap_or_else(|_| copy.before(now));
    let is_known = status.last_fetching_run.iter().chain(&status.last_run).any(|run| run.started == recorder.started);
    if !is_known {
        merge::note(&mut status, &recorder.past(&end));
    }
    if let Ok(text) = super::encode(&status) {
        copy.write(&text);
    }
}

/// Notes that a run under a configuration that cannot be used ended at once. `makes`: the state directory may be made for that.
pub(crate) fn note_refusal(dir: &Path, now: Timestamp, run: (Command, &Error), copy: Option<&StatusFile>, makes: bool) {
    let (command, error) = run;
    if makes && !dir.exists() && access::make(dir).is_err() {
        tracing::debug!("cannot make {}", dir.display());
    }
    note_failure(dir, now, &Recorder::new(dir, command, now), End::of(error), copy);
}
