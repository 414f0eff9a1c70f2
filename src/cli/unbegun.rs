//! Runs that end before they begin: under a configuration that cannot be read or used. They leave a record, too.
//!
//! Writes into the run history and the copy of the status, and changes nothing else. Nothing here fails.

use crate::config::{Overrides, Watched};
use crate::error::{Error, ErrorKind};
use crate::hour::{Clock, SystemClock};
use crate::state::status::{self, Command, StatusFile};

/// Notes what ended a run before it began, and gives it back. Where a configuration was found, the state directory is made for that.
pub(super) fn note(flags: &Overrides, command: Command, error: Error) -> Error {
    let watched = Watched::from_process(flags);
    if let Ok(dir) = watched.state_dir.as_ref()
        && error.kind() != ErrorKind::Busy
    {
        let copy = watched.status_file.map(|path| StatusFile { path, mode: watched.status_mode });
        status::note_refusal(dir, SystemClock.now(), (command, &error), copy.as_ref(), watched.file.is_some());
    }
    error
}
