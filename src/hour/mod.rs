//! The event-time hour: its label, its order, and when it closes. And the clock.
//!
//! An [`Hour`] is a *local label* ("2023-03-10T01" in the configured time zone), not an instant: where the clocks go
//! back, both passes of a repeated hour have one label and so are one hour. Pure; nothing here touches disk.

pub mod closing;
pub mod format;
pub(crate) mod gaps;
pub mod heard;
pub mod key;
pub mod lifecycle;
pub mod part;
pub mod range;
pub mod spans;
pub mod tally;
pub mod time;
pub mod verdict;

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Where the time comes from. One seam, so that tests can turn the clock.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// An event-time hour, by its local label. Ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour {
    date: Date,
    hour: i8,
}

impl Hour {
    /// The hour of `date` with the label `hour` (0–23).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where there is no such hour.
    pub fn new(date: Date, hour: i8) -> Result<Self> {
        if (0..24).contains(&hour) && (0..=9999).contains(&date.year()) {
            Ok(Self { date, hour })
        } else {
            Err(Error::new(ErrorKind::Usage, format!("no such hour: {date} {hour}")))
        }
    }

    /// The hour that `at` falls into in `zone`. `None` outside the years 0000–9999, which no record's text can spell.
    #[must_use]
    pub(crate) fn of(at: Timestamp, zone: &TimeZone) -> Option<Self> {
        let local = zone.to_datetime(at);
        Self::new(local.date(), local.hour()).ok()
    }

    /// The calendar day of the label.
    #[must_use]
    pub(crate) const fn date(self) -> Date {
        self.date
    }

    /// The hour of the day, 0–23.
    #[must_use]
    pub(crate) const fn hour_of_day(self) -> i8 {
        self.hour
    }

    /// The instant at which the label begins: before the first pass where the clocks go back.
    #[must_use]
    pub(crate) fn starts_at(self, zone: &TimeZone) -> Timestamp {
        zone.to_ambiguous_timestamp(self.date.at(self.hour, 0, 0, 0)).compatible().unwrap_or(Timestamp::MIN)
    }

    /// The next label. `None` at the end of the calendar.
    #[must_use]
    pub(crate) fn next(self) -> Option<Self> {
        self.further(1)
    }

    /// The label before. `None` at the beginning of the calendar.
    #[must_use]
    pub(crate) fn before(self) -> Option<Self> {
        self.further(-1)
    }

    fn further(self, hours: i64) -> Option<Self> {
        let other = self.date.at(self.hour, 0, 0, 0).checked_add(SignedDuration::from_hours(hours)).ok()?;
        Self::new(other.date(), other.hour()).ok()
    }

    /// The instant at which the label ends for good: after the second pass where the clocks go back.
    #[must_use]
    pub(crate) fn ends_at(self, zone: &TimeZone) -> Timestamp {
        self.date
            .at(self.hour, 0, 0, 0)
            .checked_add(SignedDuration::from_hours(1))
            .ok()
            .and_then(|end| zone.to_ambiguous_timestamp(end).compatible().ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// A fixed-width key whose byte order is the order of time.
    #[must_use]
    pub(crate) fn to_key(self) -> [u8; 4] {
        let day = i32::from(self.date.year()) * 372
            + (i32::from(self.date.month()) - 1) * 31
            + (i32::from(self.date.day()) - 1);
        // Years 0000–9999 only (see `new`), so this is never negative.
        let n = u32::try_from(day * 24 + i32::from(self.hour)).unwrap_or(0);
        n.to_be_bytes()
    }

    /// The inverse of [`Hour::to_key`]. `None` for bytes that no hour has.
    #[must_use]
    pub(crate) fn from_key(key: [u8; 4]) -> Option<Self> {
        let n = u32::from_be_bytes(key);
        let (day, hour) = (n / 24, n % 24);
        let year = i16::try_from(day / 372).ok()?;
        let month = i8::try_from(day % 372 / 31 + 1).ok()?;
        let day_of_month = i8::try_from(day % 31 + 1).ok()?;
        let date = Date::new(year, month, day_of_month).ok()?;
        Self::new(date, i8::try_from(hour).ok()?).ok()
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, hour) = (self.date, self.hour);
        write!(f, "{:04}-{:02}-{:02}T{hour:02}", date.year(), date.month(), date.day())
    }
}

impl FromStr for Hour {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::new(ErrorKind::Usage, format!("not an hour: {text:?}")).hint("write it as in 2023-03-10T01");
        let (day, hour) = text.split_once('T').ok_or_else(wrong)?;
        if day.len() != 10 || hour.len() != 2 || !hour.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let date = day.parse::<Date>().map_err(|_| wrong())?;
        Self::new(date, hour.parse().map_err(|_| wrong())?).map_err(|_| wrong())
    }
}

impl Serialize for Hour {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hour {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(text: &str) -> Hour {
        text.parse().unwrap()
    }

    #[test]
    fn label_survives_key_and_text() {
        for text in ["0000-01-01T00", "1969-12-31T23", "2023-03-10T01", "2024-02-29T12", "9999-12-31T23"] {
            let h = hour(text);
            assert_eq!(h.to_string(), text);
            assert_eq!(Hour::from_key(h.to_key()), Some(h));
        }
    }

    #[test]
    fn keys_sort_as_time_does() {
        let texts =
            ["0001-01-01T00", "2023-02-28T23", "2023-03-01T00", "2023-03-01T01", "2023-12-31T23", "2024-01-01T00"];
        assert!(texts.windows(2).all(|w| hour(w[0]).to_key() < hour(w[1]).to_key()));
    }

    #[test]
    fn what_is_no_hour_is_refused() {
        for text in
            ["", "2023-03-10", "2023-03-10T24", "2023-3-10T01", "2023-02-30T01", "2023-03-10T1", "2023-03-10T+1"]
        {
            assert!(text.parse::<Hour>().is_err(), "{text}");
        }
        assert_eq!(Hour::from_key([0xff; 4]), None);
    }

    #[test]
    fn repeated_hour_is_one_and_ends_after_its_second_pass() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let first: Timestamp = "2023-10-29T00:30:00Z".parse().unwrap();
        let second: Timestamp = "2023-10-29T01:30:00Z".parse().unwrap();
        assert_eq!(Hour::of(first, &zone), Hour::of(second, &zone));
        let ends = Hour::of(first, &zone).unwrap().ends_at(&zone);
        assert_eq!(ends, "2023-10-29T02:00:00Z".parse().unwrap());
    }

    #[test]
    fn hour_before_a_gap_ends_at_the_gap() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(hour("2023-03-26T01").ends_at(&zone), "2023-03-26T01:00:00Z".parse().unwrap());
    }
}
