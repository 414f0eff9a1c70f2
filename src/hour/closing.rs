//! When an hour closes, and when its records are due. Pure.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::hour::Hour;

/// When hours close.
#[derive(Debug, Clone)]
pub struct ClosingRules {
    /// The time zone of the hours.
    pub zone: TimeZone,
    /// How long after its end an hour still waits for its records.
    pub grace: SignedDuration,
    /// How long late records are collected.
    pub late_hold: SignedDuration,
}

impl ClosingRules {
    /// When `hour` closes for records that are not late.
    #[must_use]
    pub(crate) fn closes_at(&self, hour: Hour) -> Timestamp {
        later(hour.ends_at(&self.zone), self.grace)
    }

    /// Whether records of `hour`, the first of which was received at `received`, are late: the hour has a part already
    /// (`has_parts`), or it had closed before.
    #[must_use]
    pub(crate) fn is_late(&self, hour: Hour, has_parts: bool, received: Timestamp) -> bool {
        has_parts || received >= self.closes_at(hour)
    }

    /// When the unsealed records of `hour` are due. `received`: when the first of them was received.
    #[must_use]
    pub(crate) fn due_at(&self, hour: Hour, has_parts: bool, received: Timestamp) -> Timestamp {
        let closes = self.closes_at(hour);
        if self.is_late(hour, has_parts, received) { later(received, self.late_hold).max(closes) } else { closes }
    }

    /// [`ClosingRules::due_at`] as of `now`. A `received` in the future comes from a clock that was wrong, and is ignored.
    #[must_use]
    pub(crate) fn due_as_of(&self, now: Timestamp, hour: Hour, has_parts: bool, received: Timestamp) -> Timestamp {
        if received > now { self.closes_at(hour) } else { self.due_at(hour, has_parts, received) }
    }
}

/// `at` plus `by`, at most the end of time.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: &str = "2023-03-10T01";

    fn at(text: &str) -> Timestamp {
        format!("2023-03-10T{text}Z").parse().unwrap()
    }

    fn rules() -> ClosingRules {
        ClosingRules {
            zone: TimeZone::UTC,
            grace: SignedDuration::from_mins(10),
            late_hold: SignedDuration::from_hours(1),
        }
    }

    #[test]
    fn hour_closes_after_its_end_and_grace() {
        assert_eq!(rules().due_at(H.parse().unwrap(), false, at("01:30:00")), at("02:10:00"));
    }

    #[test]
    fn late_records_wait_for_their_fellows() {
        let hour = H.parse().unwrap();
        assert_eq!(rules().due_at(hour, true, at("05:00:00")), at("06:00:00"), "the hour has a part");
        assert_eq!(rules().due_at(hour, false, at("02:10:00")), at("03:10:00"), "closed before its first record");
        assert_eq!(
            rules().due_at(hour, true, at("01:01:00")),
            at("02:10:00"),
            "drained while open: not before it closes"
        );
    }
}
