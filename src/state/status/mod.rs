//! `status.json`: what is pending, for all who look from outside.
//!
//! A run replaces the file by rename after its durable steps, so a reader sees a whole one, takes no lock, and opens nothing
//! else. A crash leaves the file of the last step before it. The next run writes it again, whatever became of it.
//!
//! `shape` is what it holds, `writer` makes it from an open state; here it is read, and the end of a run is noted. What the last
//! verification found is in a file of its own (`verified`), and part of what is read.

pub(crate) mod certificate;
pub(crate) mod days;
pub(crate) mod evidence;
pub(crate) mod outage;
mod shape;
pub mod verified;
mod writer;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

pub use self::evidence::verdicts;
use self::shape::SCHEMA;
pub use self::shape::*;
pub(crate) use self::writer::{Writer, note_start, sealed_hour};
use super::files::{access, durable};
use super::pages::quarantine::Quarantine;
use super::{Lock, refuse_newer};
use crate::error::{Error, ErrorKind, Result};

/// Reads the status of the state directory `dir` as of `now`.
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
    status.last_verify = verified::read(dir)?;
    status.running = status.running && Lock::is_held(dir);
    status.close_hours(now);
    Ok(status)
}

/// A status of another schema is refused before its fields are looked at.
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
        .hint("run `etl replay`: it writes the file again")
}

fn path(dir: &Path) -> PathBuf {
    dir.join("status.json")
}

/// Makes sure that a new state directory has a status before it has anything else: a missing one is damage.
pub(crate) fn prepare(dir: &Path, now: Timestamp) -> Result<()> {
    let path = path(dir);
    if path.exists() || dir.join("ledger").exists() {
        return Ok(());
    }
    access::make(dir)?;
    // Of runs that start at once, the one that has the lock writes it; the others are told that it is at work.
    let Ok(_lock) = Lock::take(dir) else { return Ok(()) };
    if path.exists() { Ok(()) } else { replace(&path, &Status::empty(now)) }
}

fn replace(path: &Path, status: &Status) -> Result<()> {
    let text =
        serde_json::to_vec(status).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the status").caused_by(e))?;
    durable::replace_unsynced(path, &text)
}

/// Notes how a run ended. An error takes nothing from the run: it is over.
pub(crate) fn note_end(dir: &Path, now: Timestamp, exit: u8, so_far: RunSoFar, problems: &[Error]) -> Result<()> {
    let mut status = read(dir, now)?;
    status.running = false;
    if is_success(exit) {
        status.last_success = Some(now);
    }
    if let Some(run) = &mut status.last_run {
        (run.ended, run.exit, run.so_far) = (Some(now), Some(exit), so_far);
        run.problems = problems.iter().map(Error::chain).collect();
    }
    replace(&path(dir), &status)
}

/// Notes what the quarantine holds now. The caller holds the lock.
pub(crate) fn note_quarantine(dir: &Path, now: Timestamp, quarantine: &mut Quarantine) -> Result<()> {
    let reasons = quarantine.reasons()?;
    let (count, bytes) = (quarantine.count(), quarantine.bytes());
    let mut status = read(dir, now)?;
    status.running = false;
    (status.quarantine.count, status.quarantine.bytes, status.totals.quarantined) = (count, bytes, count);
    status.quarantine.reasons = reasons;
    replace(&path(dir), &status)
}
