//! The commands: configuration → what a stage needs → what people see. No logic of its own beyond that.
//!
//! Each returns an exit code, or the error that decides it. stdout carries the result only.

mod check;
mod init;
mod manual;
mod progress;
mod quarantine;
mod restore;
mod run;
mod setup;
mod simulate;
mod status;
mod verify;
mod watchers;

pub use check::check;
pub use init::init;
pub use manual::{completions, man};
pub use quarantine::quarantine;
pub use restore::restore;
pub use run::{replay, run};
pub use simulate::simulate;
pub use status::status;
pub use verify::verify;

use std::io::Write;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// Prints a result. A reader that has gone away (`etl status | head`) is no failure.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::State, "cannot write to stdout").caused_by(e))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON object on a line of its own.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the result").caused_by(e))?;
    print(&(text + "\n"))
}
