//! `status.json`: what is pending, for all who look from outside.
//!
//! A run replaces the file by rename after its durable steps, so a reader sees a whole one, takes no lock, and opens nothing
//! else but the newest lines of the run history: a run that could not open the state left its end there. Beside each write
//! goes a copy, where one is asked for (`copy`). A crash leaves the file of the last step before it. The next run writes it
//! again, whatever became of it.
//!
//! `shape` and `run` are what it holds, `writer` makes it from an open state, `ends` notes how runs began and ended; here it is read.
//! What the last verification found is in a file of its own (`verified`), and part of what is read.

pub(crate) mod all_hours;
pub(crate) mod certificate;
pub mod cluster;
mod copy;
pub(crate) mod days;
mod disk;
mod ends;
pub(crate) mod evidence;
pub mod history;
mod merge;
pub(crate) mod outage;
mod run;
mod shape;
pub mod verified;
mod writer;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

pub use self::copy::StatusFile;
pub(crate) use self::copy::read as read_copy;
pub(crate) use self::disk::usage;
pub(crate) use self::ends::{End, note_end, note_failure, note_refusal, note_start};
pub use self::evidence::verdicts;
pub use self::run::*;
use self::shape::SCHEMA;
pub use self::shape::*;
pub(crate) use self::writer::{Writer, sealed_hour};
use super::files::{access, durable};
use super::pages::quarantine::Quarantine;
use super::{Lock, refuse_newer};
use crate::error::{Error, ErrorKind, Result};

/// Reads the status of the state directory `dir` as of `now`.
pub fn read(dir: &Path, now: Timestamp) -> Result<Status> {
    let mut status = read_file(dir, now)?;
    merge::apply(&mut status, dir);
    Ok(status)
}

/// The same, with the runs that only the copy at `copy` knows of: those that could not write into the state directory.
pub(crate) fn read_both(dir: &Path, copy: Option<&Path>, now: Timestamp) -> Result<Status> {
    let mut status = read(dir, now)?;
    if let Some(copy) = copy.and_then(|copy| read_copy(copy, now).ok()) {
        merge::apply_copy(&mut status, copy);
    }
    Ok(status)
}

/// The same, without the runs that could not open the state.
fn read_file(dir: &Path, now: Timestamp) -> Result<Status> {
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
    // Who may not look at the lock believes the file.
    status.running = status.running && Lock::look(dir).unwrap_or(true);
    status.close_hours(now);
    Ok(status)
}

/// Refuses a state directory that a run would refuse for who can reach it.
pub(crate) fn check_access(dir: &Path) -> Result<()> {
    access::check(dir)
}

/// Who owns the state directory `dir`.
pub(crate) fn owner(dir: &Path) -> Option<u32> {
    std::fs::metadata(dir).ok().map(|meta| std::os::unix::fs::MetadataExt::uid(&meta))
}

/// A status of another schema is refused before its fields are looked at.
pub(crate) fn parse(text: &[u8]) -> std::result::Result<Status, String> {
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
pub(crate) fn prepare(dir: &Path, now: Timestamp, copy: Option<&StatusFile>) -> Result<()> {
    let path = path(dir);
    if path.exists() || dir.join("ledger").exists() {
        return Ok(());
    }
    access::make(dir)?;
    // Of runs that start at once, the one that has the lock writes it; the others are told that it is at work.
    let Ok(_lock) = Lock::take(dir) else { return Ok(()) };
    if path.exists() { Ok(()) } else { replace(&path, &Status::empty(now), copy) }
}

fn replace(path: &Path, status: &Status, copy: Option<&StatusFile>) -> Result<()> {
    let text = encode(status)?;
    let replaced = durable::replace_unsynced(path, &text);
    // It may be on another disk: one that has room where the state's has none.
    if let Some(copy) = copy {
        copy.write(&text);
    }
    replaced
}

fn encode(status: &Status) -> Result<Vec<u8>> {
    serde_json::to_vec(status).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the status").caused_by(e))
}

/// Notes what the quarantine holds now. The caller holds the lock. The copy for others says it after the next run.
pub(crate) fn note_quarantine(dir: &Path, now: Timestamp, quarantine: &mut Quarantine) -> Result<()> {
    let reasons = quarantine.reasons()?;
    let (count, bytes) = (quarantine.count(), quarantine.bytes());
    let mut status = read_file(dir, now)?;
    status.running = false;
    (status.quarantine.count, status.quarantine.bytes, status.totals.quarantined) = (count, bytes, count);
    status.quarantine.reasons = reasons;
    replace(&path(dir), &status, None)
}
