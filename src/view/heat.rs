//! The heat map of the last days: hour × day, how many records, what is late or pending, and where there are none.
//!
//! A model of what is shown, for the terminal and the HTML page alike. Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::hour::Hour;
use crate::hour::closing::ClosingRules;
use crate::state::status::Status;
use crate::state::status::days::{Day, KEPT};

/// How many shades there are.
const SHADES: u64 = 4;

/// What is shown of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Not over yet, before the first record, or after the last.
    Blank,
    /// The clocks skip this hour.
    Skipped,
    /// Over, and without a record.
    Hole,
    Records {
        count: u64,
        /// Those of them without a receipt.
        pending: u64,
        late: u64,
        /// 1 to [`SHADES`].
        shade: u64,
    },
}

/// A row: a day, its hours, and its records in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeatDay {
    pub(crate) day: Date,
    pub(crate) cells: [Cell; 24],
    pub(crate) total: u64,
}

/// The heat map: a row for each day, oldest first, none left out. Empty where there are not records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heat {
    pub(crate) days: Vec<HeatDay>,
    /// The records of an hour that nearly all hours stay below: the scale of the shades.
    pub(crate) top: u64,
}

impl Heat {
    /// The last `days` days as of `now`. If nothing came for longer than that, the days up to the last record.
    #[must_use]
    pub fn of(status: &Status, rules: &ClosingRules, now: Timestamp, days: usize) -> Self {
        let Some((first, last)) = status.days.first().zip(status.days.last()) else { return Self::default() };
        let days = days.clamp(1, KEPT);
        let today = rules.zone.to_datetime(now).date();
        let is_live = days_between(last.day, today) < i64::try_from(days).unwrap_or(i64::MAX);
        let end = if is_live { today.max(last.day) } else { last.day };
        let shown = Shown {
            rules,
            first: first_hour(first),
            last: if is_live { None } else { last_hour(last) },
            now,
            top: top(&status.days, end, days),
        };
        let mut rows: Vec<HeatDay> = Vec::new();
        let mut day = Some(end);
        while let Some(date) = day.filter(|date| *date >= first.day && rows.len() < days) {
            rows.push(shown.day(date, status.days.iter().find(|day| day.day == date)));
            day = date.yesterday().ok();
        }
        rows.reverse();
        Self { days: rows, top: shown.top }
    }

    /// The shades that are in use, lightest first, each with the most records of its hours. The darkest has no upper end.
    pub(crate) fn shades(&self) -> impl Iterator<Item = (u64, Option<u64>)> {
        let most = |shade: u64| self.top.saturating_mul(shade) / SHADES;
        let lighter = (1..SHADES).filter(move |shade| most(*shade) > most(shade - 1));
        lighter.map(move |shade| (shade, Some(most(shade)))).chain([(SHADES, None)])
    }
}

struct Shown<'a> {
    rules: &'a ClosingRules,
    first: Option<Hour>,
    /// After it nothing is expected. `None`: records are expected up to now.
    last: Option<Hour>,
    now: Timestamp,
    top: u64,
}

impl Shown<'_> {
    fn day(&self, date: Date, known: Option<&Day>) -> HeatDay {
        let mut cells = [Cell::Blank; 24];
        for (hour, cell) in cells.iter_mut().enumerate() {
            *cell = self.cell(date, hour, known);
        }
        HeatDay { day: date, cells, total: known.map_or(0, |day| (0..24).map(|hour| day.records(hour)).sum()) }
    }

    fn cell(&self, date: Date, index: usize, known: Option<&Day>) -> Cell {
        let of = |hours: &[u64; 24]| hours.get(index).copied().unwrap_or(0);
        if let Some(day) = known.filter(|day| day.records(index) > 0) {
            let count = day.records(index);
            return Cell::Records { count, pending: of(&day.pending), late: of(&day.late), shade: self.shade(count) };
        }
        let Some(hour) = i8::try_from(index).ok().and_then(|hour| Hour::new(date, hour).ok()) else {
            return Cell::Blank;
        };
        if is_skipped(date, hour.hour_of_day(), &self.rules.zone) {
            return Cell::Skipped;
        }
        let is_expected = self.first.is_some_and(|first| hour > first) && self.last.is_none_or(|last| hour < last);
        if is_expected && self.rules.closes_at(hour) <= self.now { Cell::Hole } else { Cell::Blank }
    }

    fn shade(&self, count: u64) -> u64 {
        count.saturating_mul(SHADES).div_ceil(self.top.max(1)).clamp(1, SHADES)
    }
}

/// The count that 19 of 20 hours stay below: a few large ones must not make all others pale.
fn top(days: &[Day], end: Date, shown: usize) -> u64 {
    let shown = i64::try_from(shown).unwrap_or(i64::MAX);
    let shown = days.iter().filter(|day| days_between(day.day, end) < shown);
    let mut counts: Vec<u64> =
        shown.flat_map(|day| (0..24).map(|hour| day.records(hour))).filter(|count| *count > 0).collect();
    counts.sort_unstable();
    counts.get((counts.len() * 19 / 20).min(counts.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn days_between(from: Date, to: Date) -> i64 {
    from.until(to).map_or(i64::MAX, |span| i64::from(span.get_days()))
}

/// Whether no moment has this label, because the clocks go forward over it.
fn is_skipped(date: Date, hour: i8, zone: &TimeZone) -> bool {
    [0, 59].into_iter().all(|minute| {
        let offset = zone.to_ambiguous_timestamp(date.at(hour, minute, 0, 0)).offset();
        matches!(offset, AmbiguousOffset::Gap { .. })
    })
}

fn first_hour(day: &Day) -> Option<Hour> {
    hours_with_records(day).next()
}

fn last_hour(day: &Day) -> Option<Hour> {
    hours_with_records(day).last()
}

fn hours_with_records(day: &Day) -> impl Iterator<Item = Hour> {
    let hours = (0_i8..24).zip(0_usize..).filter(|(_, index)| day.records(*index) > 0);
    hours.filter_map(|(hour, _)| Hour::new(day.day, hour).ok())
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::SignedDuration;

    use super::*;

    pub(in crate::view) fn rules(zone: &str) -> ClosingRules {
        ClosingRules {
            zone: TimeZone::get(zone).unwrap(),
            grace: SignedDuration::from_mins(10),
            late_hold: SignedDuration::from_hours(1),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A status with these records in these hours.
    pub(in crate::view) fn status(hours: &[(&str, u64)]) -> Status {
        let mut days = crate::state::status::days::Days::default();
        for (hour, count) in hours {
            days.note(&crate::hour::lifecycle::HourRow::new(hour.parse().unwrap()), *count, 0);
        }
        let mut status = Status::empty(Timestamp::UNIX_EPOCH);
        status.days = days.to_vec();
        status
    }

    fn drawn(status: &Status, zone: &str, now: &str, days: usize) -> Vec<String> {
        let heat = Heat::of(status, &rules(zone), at(now), days);
        let sign = |cell: &Cell| match cell {
            Cell::Blank => '.',
            Cell::Skipped => 's',
            Cell::Hole => 'h',
            Cell::Records { shade, .. } => char::from_digit(u32::try_from(*shade).unwrap(), 10).unwrap(),
        };
        heat.days.iter().map(|day| format!("{} {}", day.day, day.cells.iter().map(sign).collect::<String>())).collect()
    }

    #[test]
    fn hour_without_records_is_a_hole_once_it_has_closed() {
        let status = status(&[("2023-03-10T01", 2000), ("2023-03-10T03", 500), ("2023-03-10T04", 1001)]);
        let rows = drawn(&status, "UTC", "2023-03-10T08:09:59Z", 7);
        assert_eq!(rows, ["2023-03-10 .4h13hh................."]);
        let rows = drawn(&status, "UTC", "2023-03-11T00:10:00Z", 7);
        assert_eq!(rows, ["2023-03-10 .4h13hhhhhhhhhhhhhhhhhhh", "2023-03-11 ........................"]);
    }

    #[test]
    fn days_are_without_a_break_and_end_today_or_with_the_last_record() {
        let status = status(&[("2023-03-07T23", 9), ("2023-03-10T00", 9), ("2023-03-10T02", 9)]);
        let rows = drawn(&status, "UTC", "2023-03-12T00:00:00Z", 5);
        let days: Vec<&str> = rows.iter().map(|row| &row[..10]).collect();
        assert_eq!(days, ["2023-03-08", "2023-03-09", "2023-03-10", "2023-03-11", "2023-03-12"]);
        let rows = drawn(&status, "UTC", "2026-01-01T00:00:00Z", 2);
        assert_eq!(rows, ["2023-03-09 hhhhhhhhhhhhhhhhhhhhhhhh", "2023-03-10 4h4....................."]);
        assert_eq!(drawn(&status, "UTC", "2026-01-01T00:00:00Z", 0).len(), 1);
    }

    #[test]
    fn hour_that_the_clocks_skip_is_no_hole() {
        let status = status(&[("2023-03-26T00", 5), ("2023-03-26T04", 5)]);
        let rows = drawn(&status, "Europe/Berlin", "2023-03-26T10:00:00Z", 1);
        assert_eq!(rows, ["2023-03-26 4hsh4hhhhhh............."], "12:00 in Berlin: the hour of 11 is in its grace");
        let rows = drawn(&status, "Asia/Seoul", "2023-03-26T10:00:00Z", 1);
        assert_eq!(rows[0].matches('s').count(), 0);
    }

    #[test]
    fn one_huge_hour_does_not_make_all_others_pale() {
        let hours: Vec<String> = (0..24).map(|hour| format!("2023-03-10T{hour:02}")).collect();
        let counts: Vec<(&str, u64)> =
            hours.iter().map(|hour| (hour.as_str(), if hour.ends_with("07") { 1_000_000 } else { 2000 })).collect();
        let rows = drawn(&status(&counts), "UTC", "2023-03-11T00:00:00Z", 2);
        assert_eq!(rows[0], "2023-03-10 444444444444444444444444");
    }

    #[test]
    fn shades_are_named_by_the_counts_that_have_them() {
        for top in 1..=50 {
            let hours: Vec<String> = (1..=top).map(|n| format!("2023-03-{:02}T{:02}", 1 + n / 24, n % 24)).collect();
            let counts: Vec<(&str, u64)> = hours.iter().map(String::as_str).zip(1..).collect();
            let heat = Heat::of(&status(&counts), &rules("UTC"), at("2023-03-04T00:00:00Z"), 31);
            for (count, shade) in heat.days.iter().flat_map(|day| &day.cells).filter_map(|cell| match cell {
                Cell::Records { count, shade, .. } => Some((*count, *shade)),
                _ => None,
            }) {
                let named =
                    heat.shades().find(|(_, most)| most.is_none_or(|most| count <= most)).map(|(shade, _)| shade);
                assert_eq!(named, Some(shade), "{count} of {}", heat.top);
            }
        }
    }

    #[test]
    fn without_records_there_is_no_map() {
        assert!(Heat::of(&status(&[]), &rules("UTC"), at("2023-03-10T00:00:00Z"), 7).days.is_empty());
    }
}
