//! Which of a log's values may be the time that dates it, and how it is spelled. Pure.
//!
//! Invariant: a format is named only if every value of the sample is a time of this age in it.

use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::places::{Places, plain_name};
use crate::hour::time::TimeFormat;
use crate::record::Value;

/// A place with times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Time {
    /// Its JSON Pointer.
    pub(crate) at: String,
    /// What `record.time_format` calls its spelling.
    pub(crate) format: &'static str,
    /// Whether it is by name or spelling a time, and not merely a number of that size.
    pub(crate) is_likely: bool,
}

/// Patterns beside RFC 3339 that are unambiguous.
const TEXTS: [&str; 8] = [
    "auto",
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S %z",
    "%Y%m%d%H%M%S",
];
const NUMBERS: [&str; 4] = ["epoch-s", "epoch-ms", "epoch-us", "epoch-ns"];

/// Names of the time of a log, the likeliest first, and beginnings of names of other times.
const NAMES: [&str; 14] = [
    "indate",
    "timestamp",
    "eventtime",
    "time",
    "ts",
    "datetime",
    "occurredat",
    "loggedat",
    "date",
    "createdat",
    "created",
    "at",
    "when",
    "published",
];
const OTHERS: [&str; 8] = ["updat", "modif", "expir", "end", "delet", "birth", "last", "due"];

/// Where times stand, the likeliest first.
pub(super) fn times(places: &Places<'_, '_>) -> Vec<Time> {
    let mut found: Vec<(usize, Time)> = places.common().filter_map(|(at, values)| time(at, values)).collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, time)| time).collect()
}

fn time(at: &str, values: &[&Value<'_>]) -> Option<(usize, Time)> {
    let format = TEXTS.into_iter().chain(NUMBERS).find(|format| all_are(format, values))?;
    let (rank, is_named) = rank(at);
    let is_likely = is_named || !(NUMBERS.contains(&format) || format == "%Y%m%d%H%M%S");
    let rank = rank + if is_likely { 0 } else { 1000 };
    Some((rank, Time { at: at.to_owned(), format, is_likely }))
}

/// How unlikely a name is that of the time of a log, and whether it is that of a time at all.
fn rank(at: &str) -> (usize, bool) {
    let (name, depth) = (plain_name(at), at.matches('/').count());
    let known = NAMES.iter().position(|known| name == *known);
    let is_other = OTHERS.iter().any(|other| name.starts_with(other));
    let is_like =
        ["time", "date", "stamp"].iter().any(|part| name.contains(part)) || at.ends_with("_at") || at.ends_with("At");
    let rank = match known {
        Some(rank) => rank,
        None if is_like => 50,
        None => 100,
    };
    (rank + 5 * depth + if is_other { 200 } else { 0 }, known.is_some() || is_like)
}

/// Whether all values are times of this age in that format.
fn all_are(format: &str, values: &[&Value<'_>]) -> bool {
    let Some(format) = TimeFormat::parse(format) else { return false };
    let age = age();
    let is_time = |at: Option<Timestamp>| at.is_some_and(|at| age.contains(&at.as_second()));
    !values.is_empty()
        && values.iter().all(|value| match value {
            Value::Str(text) => is_time(format.of_text(text, &TimeZone::UTC)),
            // How a number is spelled in full, a size alone is no unit for.
            Value::Int(digits) if format != TimeFormat::Auto => is_time(format.of_number(digits)),
            Value::Float(number) if format != TimeFormat::Auto => is_time(format.of_number(&number.to_string())),
            _ => false,
        })
}

/// Seconds since 1970 from 1990 to 2100: no number of these is a time of this age in two units.
const fn age() -> Range<i64> {
    631_152_000..4_102_444_800
}
