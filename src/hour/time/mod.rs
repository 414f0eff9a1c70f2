//! How a source spells instants: [`TimeFormat`], and what a text or a number is in it.
//!
//! Pure. Invariant: only unambiguous spellings are read, so nothing is guessed; what is not read is no time. The same spelling gives the same
//! instant for ever, because a record's hour follows from it.

mod epoch;
mod text;

use jiff::Timestamp;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;

pub use epoch::Unit;

/// How the time of a record is spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// A text in RFC 3339, or nearly so.
    Text,
    /// The same, or a number that is a time since 1973: its size tells the unit.
    Auto,
    /// A number since 1970, or a text that spells one.
    Epoch(Unit),
    /// A pattern as `strptime` takes it, in which a known instant was written and read back.
    Pattern(String),
}

impl TimeFormat {
    /// The format that the configuration calls `name`. `None`: a pattern that does not give date and time.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match (name, name.strip_prefix("epoch-").and_then(Unit::named)) {
            ("auto", _) => Some(Self::Auto),
            (_, Some(unit)) => Some(Self::Epoch(unit)),
            (pattern, None) => reads_back(pattern).then(|| Self::Pattern(pattern.to_owned())),
        }
    }

    /// What [`TimeFormat::parse`] takes for it.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Text | Self::Auto => "auto",
            Self::Epoch(unit) => unit.name(),
            Self::Pattern(pattern) => pattern,
        }
    }

    /// The instant that a text spells; without an offset it is in `zone`.
    #[must_use]
    pub(crate) fn of_text(&self, text: &str, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Text | Self::Auto => text::instant(text, zone),
            Self::Epoch(unit) => unit.instant(text),
            Self::Pattern(pattern) => by_pattern(pattern, text, zone),
        }
    }

    /// The instant that a number is, from its digits.
    #[must_use]
    pub(crate) fn of_number(&self, digits: &str) -> Option<Timestamp> {
        match self {
            Self::Auto => epoch::by_size(digits),
            Self::Epoch(unit) => unit.instant(digits),
            Self::Text | Self::Pattern(_) => None,
        }
    }
}

fn by_pattern(pattern: &str, text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let read = BrokenDownTime::parse(pattern, text).ok()?;
    if read.timestamp().is_some() || read.offset().is_some() {
        return read.to_timestamp().ok();
    }
    let zone = match read.iana_time_zone() {
        Some(name) => &TimeZone::get(name).ok()?,
        None => zone,
    };
    zone.to_ambiguous_timestamp(read.to_datetime().ok()?).compatible().ok()
}

/// Whether a pattern reads what it writes.
fn reads_back(pattern: &str) -> bool {
    let known = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let written = strtime::format(pattern, &known);
    written.is_ok_and(|written| by_pattern(pattern, &written, &TimeZone::UTC).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Option<String> {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        TimeFormat::parse(format)?.of_text(text, &zone).map(|at| at.to_string())
    }

    #[test]
    fn text_is_read_by_its_pattern() {
        for (pattern, text, expected) in [
            ("%d/%b/%Y:%H:%M:%S %z", "10/Mar/2023:10:48:11 +0900", "2023-03-10T01:48:11Z"),
            ("%Y-%m-%d %H:%M:%S%.f", "2023-03-10 10:48:11.818", "2023-03-10T01:48:11.818Z"),
            ("%Y%m%d%H%M%S", "20230310104811", "2023-03-10T01:48:11Z"),
            ("%s", "1678412891", "2023-03-10T01:48:11Z"),
            ("%Y-%m-%d", "2023-03-10", "2023-03-09T15:00:00Z"),
            ("%Y-%m-%d %H:%M %Q", "2023-03-10 10:48 Asia/Tokyo", "2023-03-10T01:48:00Z"),
        ] {
            assert_eq!(read(pattern, text).as_deref(), Some(expected), "{pattern}");
            assert_eq!(TimeFormat::parse(pattern).unwrap().name(), pattern);
        }
        assert_eq!(read("%Y-%m-%d", "2023-03-10T01:48:11Z"), None);
        assert_eq!(read("%Y-%m-%d", "2023-02-30"), None);
    }

    #[test]
    fn pattern_that_gives_no_time_is_refused() {
        for pattern in ["", "%H:%M:%S", "%Y-%m", "rfc3339", "%", "%Y-%m-%d %Z %!", "epoch-h"] {
            assert_eq!(TimeFormat::parse(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn number_is_a_time_only_where_its_unit_is_known() {
        let auto = |digits| TimeFormat::Auto.of_number(digits).map(|at| at.to_string());
        assert_eq!(auto("1678412891").as_deref(), Some("2023-03-10T01:48:11Z"));
        assert_eq!(auto("20230310"), None, "a date written as a number");
        assert_eq!(TimeFormat::Text.of_number("1678412891"), None);
        assert_eq!(TimeFormat::Auto.of_text("1678412891", &TimeZone::UTC), None);
        assert_eq!(read("epoch-s", "1678412891").as_deref(), Some("2023-03-10T01:48:11Z"));
    }
}
