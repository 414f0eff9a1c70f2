//! Runs that end before they begin: under a configuration that cannot be read or used. They leave a record, too.
//!
//! Writes into the run history and the copy of the status, and changes nothing else. Nothing here fails.

use super::setup;
use crate::config::{Config, Overrides, Watched};
use crate::error::{Error, ErrorKind};
use crate::hour::{Clock, SystemClock};
use crate::state::status::{self, Command, StatusFile};

/// Notes that a run ended because its configuration cannot be read.
pub(super) fn unread(flags: &Overrides, command: Command, error: Error) -> Error {
    let watched = Watched::from_process(flags);
    if let Ok(dir) = &watched.state_dir {
        let copy = watched.status_file.map(|path| StatusFile { path, mode: watched.status_mode });
        status::note_refusal(dir, SystemClock.now(), (command, &error), copy.as_ref(), watched.file.is_some());
    }
    error
}

/// Notes that a run ended because its configuration cannot be used.
pub(super) fn unused(config: &Config, command: Command, error: Error) -> Error {
    if error.kind() != ErrorKind::Busy {
        let (dir, copy) = (&config.state.dir, setup::status_file(config));
        status::note_refusal(dir, SystemClock.now(), (command, &error), copy.as_ref(), config.file.is_some());
    }
    error
}
