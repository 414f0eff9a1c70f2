//! What the value of a flag may be, where several commands take it.

use std::time::Duration;

use crate::config::parse_duration;
use crate::hour::Hour;

/// An hour, with the hint that clap would not show.
pub(super) fn hour(text: &str) -> Result<Hour, String> {
    text.parse::<Hour>().map_err(|error| match error.next_step() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// A duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("cannot be zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

/// A share from 0 to 100, fractions included.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 100".to_owned()),
    }
}
