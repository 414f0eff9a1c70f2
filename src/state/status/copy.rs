//! A copy of `status.json` for those who may not read the state directory: a monitor under a user of its own.
//!
//! Written beside each status, as a whole, with the mode that is asked for. Failing to write it never breaks a run, and is said
//! once. It may lie on another disk, and so tells of runs that could not write into the state directory. A crash leaves the one
//! of before, and perhaps a hidden draft.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::{Status, parse, unreadable};
use crate::error::{Error, Result};
use crate::output::{self, Form};

/// What is read of a copy at most: far more than a status takes.
const MOST: u64 = 64 << 20;

/// Whether it was said that the copy cannot be written.
static SAID: AtomicBool = AtomicBool::new(false);

/// Where the copy lies, and who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFile {
    /// The file.
    pub path: PathBuf,
    /// Its permissions, whatever the umask.
    pub mode: u32,
}

impl StatusFile {
    /// Replaces the copy.
    pub(super) fn write(&self, text: &[u8]) {
        if let Err(error) = output::replace(&self.path, text, Form::view(self.mode))
            && !SAID.swap(true, Ordering::Relaxed)
        {
            let hint = error.next_step().map_or_else(String::new, |hint| format!(" ({hint})"));
            tracing::warn!("run.status_file is not written: {}{hint}: the run goes on without", error.chain());
        }
    }

    /// The copy as it is; an empty status where there is none, or it cannot be read.
    pub(super) fn before(&self, now: Timestamp) -> Status {
        read(&self.path, now).unwrap_or_else(|_| Status::empty(now))
    }
}

/// Reads a copy as of `now`. Whether the run that it tells of is still at work cannot be told from it.
pub(crate) fn read(path: &Path, now: Timestamp) -> Result<Status> {
    let text = output::read_regular(path, MOST).map_err(|e| Error::disk("read", path, e))?;
    let mut status =
        parse(&text).map_err(|why| unreadable(path, &why).hint("the next run writes it again: `etl run`"))?;
    status.close_hours(now);
    Ok(status)
}
