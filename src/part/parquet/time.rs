//! The usual text of a time, `20YY-MM-DDTHH:MM:SS.mmmZ`, as microseconds and back.
//!
//! Pure. Invariant: [`micros`] gives a number only for a text that [`text`] gives back from it; every other spelling is kept as a text.

use crate::record::row::usual_digits;

/// Microseconds from 1970 to 2000.
const YEAR_2000: i64 = 946_684_800_000_000;
const DAY: i64 = 86_400_000_000;
const DAYS_OF_100_YEARS: i64 = 36_525;
/// Days before each month of a year without a leap day.
const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// The length of the usual text.
pub(super) const LENGTH: usize = 24;

/// The microseconds that the usual text of a time spells.
pub(super) fn micros(text: &str) -> Option<i64> {
    micros_of_digits(&usual_digits(text)?)
}

/// The same from its digits without the century.
pub(super) fn micros_of_digits(digits: &[u8; 15]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [y1, y2, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, u1, u2, u3] = digits.map(|digit| i64::from(digit & 0xf));
    let (year, month, day) = (y1 * 10 + y2, m1 * 10 + m2, d1 * 10 + d2);
    let (hour, minute, second) = (h1 * 10 + h2, n1 * 10 + n2, s1 * 10 + s2);
    // 2000 is a leap year, and so is every fourth after it.
    let is_leap = year % 4 == 0;
    let before = BEFORE.get(usize::try_from(month - 1).ok()?)?;
    let next = usize::try_from(month).ok().and_then(|next| BEFORE.get(next)).unwrap_or(&365);
    let days = next - before + i64::from(is_leap && month == 2);
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leap_days = (year + 3) / 4 + i64::from(is_leap && month > 2);
    let days = year * 365 + leap_days + before + day - 1;
    let millis = ((hour * 60 + minute) * 60 + second) * 1_000 + u1 * 100 + u2 * 10 + u3;
    Some(YEAR_2000 + days * DAY + millis * 1_000)
}

/// The usual text of a time. `None`: it has none.
pub(super) fn text(micros: i64) -> Option<[u8; LENGTH]> {
    let since = micros.checked_sub(YEAR_2000)?;
    let (days, in_day) = (since.div_euclid(DAY), since.rem_euclid(DAY));
    if !(0..DAYS_OF_100_YEARS).contains(&days) || in_day % 1_000 != 0 {
        return None;
    }
    let (year, month, day) = date(days);
    let millis = in_day / 1_000;
    let (seconds, millis) = (millis / 1_000, millis % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let tens = |n: i64| digit(n / 10);
    let ones = |n: i64| digit(n % 10);
    Some([
        b'2',
        b'0',
        tens(year),
        ones(year),
        b'-',
        tens(month),
        ones(month),
        b'-',
        tens(day),
        ones(day),
        b'T',
        tens(hour),
        ones(hour),
        b':',
        tens(minute),
        ones(minute),
        b':',
        tens(second),
        ones(second),
        b'.',
        digit(millis / 100),
        tens(millis % 100),
        ones(millis),
        b'Z',
    ])
}

/// The year of the century, the month and the day that are so many `days` after 2000-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // A cycle of four years begins with its leap year.
    let (cycle, in_cycle) = (days / 1_461, days % 1_461);
    let (year, in_year, is_leap) = match in_cycle {
        0..366 => (0, in_cycle, true),
        _ => (1 + (in_cycle - 366) / 365, (in_cycle - 366) % 365, false),
    };
    let leap = |month: usize| i64::from(is_leap && month > 1);
    let later = |(month, before): (usize, &i64)| before + leap(month) <= in_year;
    let month = BEFORE.iter().enumerate().take_while(|month| later(*month)).count();
    let before = BEFORE.get(month - 1).map_or(0, |before| before + leap(month - 1));
    (cycle * 4 + year, i64::try_from(month).unwrap_or(1), in_year - before + 1)
}

fn digit(n: i64) -> u8 {
    b'0' + u8::try_from(n).unwrap_or(0) % 10
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn usual(at: Timestamp) -> String {
        at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    #[test]
    fn each_day_of_the_century_has_the_number_and_the_text_that_the_calendar_says() {
        let first: Timestamp = "2000-01-01T00:00:00Z".parse().unwrap();
        for day in 0..DAYS_OF_100_YEARS {
            let at =
                first + SignedDuration::from_hours(24 * day) + SignedDuration::from_millis(day * 2_357 % 86_400_000);
            let expected = usual(at);
            assert_eq!(micros(&expected), Some(at.as_microsecond()), "{expected}");
            assert_eq!(text(at.as_microsecond()).as_ref().map(|text| &text[..]), Some(expected.as_bytes()));
        }
        assert_eq!(text(YEAR_2000 - 1_000), None);
        assert_eq!(text(YEAR_2000 + DAYS_OF_100_YEARS * DAY), None);
        assert_eq!(text(YEAR_2000 + 1), None, "a microsecond is no millisecond");
        assert_eq!(text(i64::MIN), None);
        assert_eq!(text(i64::MAX), None);
    }

    #[test]
    fn no_other_spelling_has_a_number() {
        for text in [
            "1999-12-31T23:59:59.999Z",
            "2100-01-01T00:00:00.000Z",
            "2023-02-29T00:00:00.000Z",
            "2024-02-30T00:00:00.000Z",
            "2023-00-10T00:00:00.000Z",
            "2023-13-10T00:00:00.000Z",
            "2023-04-31T00:00:00.000Z",
            "2023-03-00T00:00:00.000Z",
            "2023-03-10T24:00:00.000Z",
            "2023-03-10T23:60:00.000Z",
            "2016-12-31T23:59:60.000Z",
            "2023-03-10T01:48:11Z",
            "2023-03-10 01:48:11.818Z",
            "2023-03-10t01:48:11.818z",
            "2023-03-10T01:48:11.818+",
            "2023-03-10T01:48:1x.818Z",
            "2023-03-10T01:48:11.81é",
            "",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
