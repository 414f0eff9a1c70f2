//! The commands: configuration → what a stage needs → what people see. No logic of its own beyond that.
//!
//! Each returns an exit code, or the error that decides it. stdout carries the result only.

mod certificate;
mod check;
mod ddl;
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
pub use ddl::ddl;
pub use init::init;
pub use manual::{completions, man};
pub use quarantine::quarantine;
pub use restore::restore;
pub use run::{replay, run};
pub use simulate::simulate;
pub use status::status;
pub use verify::verify;

use serde::Serialize;

use crate::config::{Config, Destination};
use crate::error::{Error, ErrorKind, Result};
use crate::output;
use crate::plain_text::{clean_json, clean_lines, clean_styled};

/// The place that is named, else the configured destination.
fn place_named(config: &Config, named: Option<&str>) -> Result<Destination> {
    let Some(text) = named else {
        return config.load.destination().cloned();
    };
    let cwd = std::env::current_dir()
        .map_err(|e| Error::new(ErrorKind::State, "cannot tell the current directory").caused_by(e))?;
    Destination::from_argument(text, &cwd)
}

/// Prints a result for people. A closed stdout (`etl status | head`) is not an error.
fn print(text: &str) -> Result<()> {
    print_bytes(clean_lines(text).as_bytes())
}

/// Prints exactly these bytes: what programs read, and what this program itself tells a terminal.
fn print_bytes(bytes: &[u8]) -> Result<()> {
    output::print(bytes)
}

/// A styled text as stdout wants it: with its styles on a terminal, or where `CLICOLOR_FORCE` says so; `NO_COLOR` is heeded.
/// Nothing else in it acts on a terminal.
fn styled(text: &str) -> String {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => clean_lines(&anstream::adapter::strip_str(text).to_string()).into_owned(),
        _ => clean_styled(text),
    }
}

/// Prints one JSON object on a line of its own.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the result").caused_by(e))?;
    print_bytes((clean_json(&text) + "\n").as_bytes())
}
