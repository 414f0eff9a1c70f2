//! What the value of a flag may be, where several commands take it.

use std::ops::RangeInclusive;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;

/// An hour, with the hint that clap would not show.
pub(super) fn hour(text: &str) -> Result<Hour, String> {
    text.parse::<Hour>().map_err(|error| match error.next_step() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// An hour, or two with `..` between them.
pub(super) fn hours(text: &str) -> Result<RangeInclusive<Hour>, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (hour(first)?, hour(last)?);
    if first > last { Err(format!("{last} is before {first}")) } else { Ok(first..=last) }
}

/// Refuses a range that ends before it begins.
pub(super) fn check_range(since: Option<Hour>, until: Option<Hour>) -> Result<()> {
    match (since, until) {
        (Some(since), Some(until)) if since > until => {
            let what = format!("--since {since} is after --until {until}: no hour is in between");
            Err(Error::new(ErrorKind::Usage, what).hint("swap the two"))
        }
        _ => Ok(()),
    }
}
