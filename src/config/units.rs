//! Durations and sizes as people write them: `10m`, `1h30m`, `64MiB`.
//!
//! Durations are jiff's friendly format with days of 24 hours, so there is one grammar for time in the program. Sizes
//! are read here: six suffixes are less than a dependency, and fractions and `64M` (which of the two?) are refused.
//! The command line and the file read both through this one place.

use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

/// A text that is no duration or size; says how to write it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// Longer than anybody waits, and short enough that no sum of times overflows.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Reads a duration: `500ms`, `1.8s`, `30s`, `10m`, `1h30m`, `30d`.
///
/// # Errors
/// [`UnitError`] for anything else; of a bare number it says which unit is missing.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(UnitError(format!("a duration needs a unit: \"{text}s\", \"{text}m\" or \"{text}h\"")));
    }
    let wrong =
        || UnitError(format!("not a duration: {text:?}; write it as in \"30s\", \"10m\", \"1h30m\" or \"30d\""));
    let span = SpanParser::new().parse_span(text).map_err(|_| wrong())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    let duration =
        Duration::try_from(duration).map_err(|_| UnitError(format!("a duration cannot be negative: {text:?}")))?;
    if duration > LONGEST {
        return Err(UnitError(format!("longer than 100 years: {text:?}")));
    }
    Ok(duration)
}

/// Reads a duration that is not zero.
pub fn parse_positive_duration(text: &str) -> Result<Duration, UnitError> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err(UnitError("cannot be zero".to_owned())) } else { Ok(duration) }
}

/// The suffixes of a size and their factors.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

/// Reads a size in bytes: `64MiB`, `1GiB`, `512KiB`, `10MB`, `4096`.
///
/// # Errors
/// [`UnitError`] for anything else, and where it does not fit 63 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    let wrong =
        || UnitError(format!("not a size: {text:?}; write it as in \"64MiB\", \"512KiB\", \"10MB\" or \"4096\""));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let size = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or_else(wrong)?;
    if i64::try_from(size).is_err() {
        return Err(wrong());
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1.8s", 1_800),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
            (" 5m ", 300_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn bare_number_is_told_which_unit_it_lacks() {
        let message = parse_duration("30").unwrap_err().to_string();
        assert_eq!(message, r#"a duration needs a unit: "30s", "30m" or "30h""#);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "ten", "-5m", "5m ago", "1mo", "1y", "m", "5 parsecs", "40000d", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("512KiB", 512 << 10),
            ("10MB", 10_000_000),
            ("10 mb", 10_000_000),
            ("4096", 4096),
            ("4096B", 4096),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "MiB", "64M", "1.5GiB", "-1", "64 apples", "9223372036854775808", "99999999999GiB", "6é"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
