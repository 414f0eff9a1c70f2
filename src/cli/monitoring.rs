//! `etl status --check`: one line and an exit code from 0 to 3, whatever is wrong.
//!
//! Of the configuration it reads `state.dir` and `run.status_file`, however wrong the rest is; of what it finds there it believes what
//! is newer. Beyond that it looks for what every run would fail at, as far as that can be seen without running. Changes nothing.

use std::path::Path;

use jiff::Timestamp;
use nix::unistd::Uid;

use super::cluster;
use super::print::print;
use crate::config::{Config, Overrides, Watched};
use crate::error::{Error, Result};
use crate::hour::{Clock, SystemClock};
use crate::state::status::{self, Status};
use crate::view::monitor::{self, Answer, Finding, Level, Thresholds};

/// Prints the line, and gives the exit code.
pub(super) fn check(flags: &Overrides, limits: &Thresholds) -> u8 {
    let now = SystemClock.now();
    let answer = answer_of(flags, limits, now);
    match print(&answer.line()) {
        Ok(()) => answer.level as u8,
        // Nobody was told.
        Err(_) => Level::Unknown as u8,
    }
}

/// How the pipeline of `flags` stands.
pub(super) fn answer_of(flags: &Overrides, limits: &Thresholds, now: Timestamp) -> Answer {
    // Where the configuration cannot be read, what it says of a cluster cannot either: then what lies here is looked at.
    if let Ok(config) = Config::from_process(flags)
        && config.cluster.is_some()
    {
        return match cluster::merged(&config, now) {
            Ok(status) => monitor::check(&status.unwrap_or_else(|| Status::empty(now)), limits, now, Vec::new()),
            Err(error) => Answer::of(Level::Unknown, &advised(&error)),
        };
    }
    answer(&Watched::from_process(flags), limits, now)
}

fn answer(watched: &Watched, limits: &Thresholds, now: Timestamp) -> Answer {
    let mut found = Vec::new();
    let copy = watched.status_file.as_deref();
    let read = match &watched.state_dir {
        Ok(dir) => in_directory(dir, copy, now, &mut found),
        Err(error) => match copy.map(|path| status::read_copy(path, now)) {
            // What is not known to be wrong is told, and that not all is known.
            Some(Ok(copy)) => {
                found.push((Level::Unknown, advised(error)));
                Ok(copy)
            }
            _ => Err(advised(error)),
        },
    };
    match read {
        Ok(status) => {
            found.extend(watched.broken.as_ref().and_then(|broken| unread(&status, broken)));
            monitor::check(&status, limits, now, found)
        }
        Err(why) => Answer::of(Level::Unknown, &why),
    }
}

/// Why no run can read its configuration, unless the last one said so.
fn unread(status: &Status, broken: &Error) -> Option<Finding> {
    let why = broken.chain();
    let is_told = status.judged().any(|run| run.problem() == Some(&why));
    (!is_told).then(|| (Level::Critical, format!("no run can read its configuration: {why}")))
}

/// The status of the state directory `dir`, or its copy: where the directory cannot be read, and where the copy is newer.
fn in_directory(dir: &Path, copy: Option<&Path>, now: Timestamp, found: &mut Vec<Finding>) -> Result<Status, String> {
    let read_copy = || copy.map(|path| status::read_copy(path, now));
    if matches!(dir.try_exists(), Ok(false)) {
        return Ok(missing(dir, read_copy(), now, found));
    }
    found.extend(refusal(dir));
    let error = match status::read_both(dir, copy, now) {
        Ok(mut status) => {
            status.disk = status::usage(dir, now).or(status.disk);
            return Ok(status);
        }
        Err(error) => error,
    };
    match read_copy() {
        Some(Ok(copy)) => {
            if !is_denied(&error) {
                found.push((Level::Critical, advised(&error)));
            }
            Ok(copy)
        }
        Some(Err(no_copy)) => Err(format!("{}; {}", error.chain(), advised(&no_copy))),
        None if is_denied(&error) => {
            Err(format!("{}: with run.status_file set, a run writes a copy that this user may read", error.chain()))
        }
        None => Err(advised(&error)),
    }
}

/// Adds what to say if the state directory is missing: that it is gone, if the copy of the status knows of runs.
fn missing(dir: &Path, copy: Option<Result<Status>>, now: Timestamp, found: &mut Vec<Finding>) -> Status {
    match copy {
        Some(Ok(copy)) if copy.last_run.is_some() => {
            found.push((Level::Critical, format!(
                "the state directory {} is missing: put it back, or read the store back with `etl replay --from-s3`",
                dir.display()
            )));
            copy
        }
        _ => Status::empty(now),
    }
}

/// Why a run would be refused, where this user is the one who runs it.
fn refusal(dir: &Path) -> Option<Finding> {
    let me = Uid::effective();
    let is_mine = me.is_root() || status::owner(dir).is_some_and(|owner| owner == me.as_raw());
    let error = is_mine.then(|| status::check_access(dir)).and_then(Result::err)?;
    Some((Level::Critical, format!("no run can use the state directory: {}", advised(&error))))
}

/// Whether this user may not read it.
fn is_denied(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error on one line, with what to do about it.
fn advised(error: &Error) -> String {
    match error.next_step() {
        Some(hint) => format!("{}: {hint}", error.chain()),
        None => error.chain(),
    }
}
