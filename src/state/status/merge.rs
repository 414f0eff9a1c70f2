//! What the run history knows and `status.json` does not: runs that ended before they could open the state.
//!
//! They have no lock, so they append to the history's index and leave `status.json` to those that have. Where they cannot even do that,
//! the copy of the status tells of them. Writes nothing.

use std::path::Path;

use jiff::Timestamp;

use super::history::{self, PastRun};
use super::{Command, LastRun, Status, is_success};

/// Brings the runs that ended after those of the status into it.
pub(super) fn apply(status: &mut Status, dir: &Path) {
    let ended = status.last_run.as_ref().filter(|run| run.ended.is_some());
    let newest = ended.or(status.last_fetching_run.as_ref()).or(status.last_run.as_ref()).cloned();
    for run in history::since(dir, newest.as_ref()) {
        note(status, &run);
    }
}

/// Brings the runs into the status that only its copy knows of: it lies where a run could still write.
pub(super) fn apply_copy(status: &mut Status, copy: Status) {
    if heard(&copy) > heard(status) {
        (status.last_run, status.last_fetching_run) = (copy.last_run, copy.last_fetching_run);
        status.last_success = copy.last_success.max(status.last_success);
    }
}

/// When a run was last heard of.
fn heard(status: &Status) -> Option<Timestamp> {
    status.last_run.iter().chain(&status.last_fetching_run).map(LastRun::heard).max()
}

/// Notes the end of a run in a status that does not know of it.
pub(super) fn note(status: &mut Status, run: &PastRun) {
    note_last(status, run.as_last(), run.asked);
}

/// The same, for a run that is no longer at work.
pub(super) fn note_last(status: &mut Status, run: LastRun, asked: bool) {
    if asked && run.exit.is_some_and(is_success) {
        status.last_success = run.ended;
    }
    if run.command == Command::Run {
        status.last_fetching_run = Some(run.clone());
    }
    // What is at work is shown rather than what ended meanwhile.
    let is_at_work = |shown: &LastRun| shown.ended.is_none() && shown.started != run.started;
    if !(status.running && status.last_run.as_ref().is_some_and(is_at_work)) {
        status.last_run = Some(run);
    }
}
