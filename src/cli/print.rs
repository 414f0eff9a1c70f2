//! What a command prints on stdout: text for people, bytes for programs, JSON. Nothing else goes to stdout.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::output;
use crate::output::plain_text::{clean_json, clean_lines, clean_styled};

/// Prints a result for people. A closed stdout (`etl status | head`) is not an error.
pub(super) fn print(text: &str) -> Result<()> {
    print_bytes(clean_lines(text).as_bytes())
}

/// Prints exactly these bytes: for programs, and for this program's own control of a terminal.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<()> {
    output::print(bytes)
}

/// A styled text for stdout: with its styles on a terminal or with `CLICOLOR_FORCE`, and never with `NO_COLOR`. Nothing else in
/// it acts on a terminal.
pub(super) fn styled(text: &str) -> String {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => clean_lines(&anstream::adapter::strip_str(text).to_string()).into_owned(),
        _ => clean_styled(text),
    }
}

/// Prints one JSON object on a line of its own.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the result").caused_by(e))?;
    print_bytes((clean_json(&text) + "\n").as_bytes())
}
