//! What the value of a flag may be, where several commands take it.

use crate::hour::Hour;

/// An hour, with the hint that clap would not show.
pub(super) fn hour(text: &str) -> Result<Hour, String> {
    text.parse::<Hour>().map_err(|error| match error.next_step() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}
