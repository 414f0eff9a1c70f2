//! A text as an instant: RFC 3339, or the same with a space, without an offset, with one as Python's `%z` and `date` write
//! it (`+0900`, `+09`), or with a comma before the fraction, as ISO 8601 allows and Python's logging does it.
//!
//! Pure. Only unambiguous spellings are read, so nothing is guessed: other texts go to quarantine.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// The instant that `text` spells; a time without an offset is in `zone`. `None` for anything else.
///
/// Fraction digits beyond nanoseconds are cut off; a leap second (`:60`) is the last nanosecond of its minute.
pub(super) fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let (head, rest) = text.as_bytes().split_first_chunk::<19>()?;
    let (nanos, rest) = fraction(rest)?;
    let local = civil(*head, nanos)?;
    match *rest {
        [] => zone.to_ambiguous_timestamp(local).compatible().ok(),
        [b'Z' | b'z'] => Offset::UTC.to_timestamp(local).ok(),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            offset(sign, two(h1, h2)?, two(m1, m2)?)?.to_timestamp(local).ok()
        }
        [sign @ (b'+' | b'-'), h1, h2] => offset(sign, two(h1, h2)?, 0)?.to_timestamp(local).ok(),
        _ => None,
    }
}

/// `YYYY-MM-DDTHH:MM:SS` and the nanoseconds after it.
fn civil(head: [u8; 19], nanos: i32) -> Option<DateTime> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', n1, n2, b':', s1, s2] = head
    else {
        return None;
    };
    let year = i16::from(two(y1, y2)?) * 100 + i16::from(two(y3, y4)?);
    let (second, nanos) = match two(s1, s2)? {
        60 => (59, 999_999_999),
        second => (second, nanos),
    };
    DateTime::new(year, two(m1, m2)?, two(d1, d2)?, two(h1, h2)?, two(n1, n2)?, second, nanos).ok()
}

/// Splits `.818…` or `,818…` off the front: its nanoseconds, and what follows.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some((b'.' | b',', digits)) = text.split_first() else {
        return Some((0, text));
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let nanos = digits.iter().take(count.min(9)).fold(0, |n, &digit| n * 10 + i32::from(digit - b'0'));
    let scale = u32::try_from(9 - count.min(9)).ok()?;
    Some((nanos * 10_i32.pow(scale), digits.get(count..)?))
}

fn offset(sign: u8, hours: i8, minutes: i8) -> Option<Offset> {
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::from(hours) * 3600 + i32::from(minutes) * 60;
    Offset::from_seconds(if sign == b'-' { -seconds } else { seconds }).ok()
}

/// Two ASCII digits as a number.
fn two(tens: u8, ones: u8) -> Option<i8> {
    if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return None;
    }
    i8::try_from((tens - b'0') * 10 + (ones - b'0')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Option<String> {
        instant(text, &TimeZone::UTC).map(|at| at.to_string())
    }

    #[test]
    fn accepted_spellings_give_their_instant() {
        for (text, expected) in [
            ("2023-03-10T01:48:11.818Z", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10T01:48:11Z", "2023-03-10T01:48:11Z"),
            ("2023-03-10t01:48:11.818z", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10 01:48:11.818Z", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10 01:48:11.818", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10T01:48:11", "2023-03-10T01:48:11Z"),
            ("2023-03-10T01:48:11+09:00", "2023-03-09T16:48:11Z"),
            ("2023-03-10T01:48:11.5-23:59", "2023-03-11T01:47:11.5Z"),
            ("2023-03-10T01:48:11-00:00", "2023-03-10T01:48:11Z"),
            ("2023-03-10T01:48:11+0900", "2023-03-09T16:48:11Z"),
            ("2023-03-10T01:48:11.818-0530", "2023-03-10T07:18:11.818Z"),
            ("2023-03-10 01:48:11+09", "2023-03-09T16:48:11Z"),
            ("2023-03-10t01:48:11,5-03", "2023-03-10T04:48:11.5Z"),
            ("2023-03-10 01:48:11,818", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10T01:48:11,818Z", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10T01:48:11,818+00", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10T01:48:11.1234567891234567890Z", "2023-03-10T01:48:11.123456789Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
            ("2016-12-31T23:59:60.25Z", "2016-12-31T23:59:59.999999999Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(utc(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_time_is_refused() {
        for text in [
            "",
            "2",
            "2023-03-10",
            "2023-03-10T01:48Z",
            "2023-3-10T1:48:11.818Z",
            "20230310T014811818Z",
            "20230310T014811Z",
            "2023-03-10T01:48:11.Z",
            "2023-03-10T01:48:11.818ZZ",
            "2023-03-10T01:48:11.818 Z",
            " 2023-03-10T01:48:11.818Z",
            "2023-03-10T01:48:11.818Z\n",
            "2023-03-10T01:48:11,Z",
            "2023-03-10T01:48:11,818,1Z",
            "2023-03-10T01:48:11.818,1Z",
            "2023-03-10T01:48:11+9",
            "2023-03-10T01:48:11+900",
            "2023-03-10T01:48:11+09:",
            "2023-03-10T01:48:11+09000",
            "2023-03-10T01:48:11+0960",
            "2023-03-10T01:48:11+24",
            "2023-03-10T01:48:11 +0900",
            "2023-03-10T01:48:11Z+09",
            "2023-03-10T01:48:11+24:00",
            "2023-03-10T01:48:11+09:60",
            "2023-03-10T01:48:61Z",
            "2023-03-10T24:00:00Z",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-03-10T01:48:+1Z",
            "+023-03-10T01:48:11Z",
            "12023-03-10T01:48:11Z",
            "2023/03/10T01:48:11Z",
            "2023-03-10_01:48:11Z",
            "2023-03-10T01:48:11.818Z[UTC]",
            "٢٠٢٣2023-03-10T01:48:11.818Z",
            "٢٠٢٣-03-10T01:48:11Z",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
    }

    #[test]
    fn time_without_an_offset_is_one_of_the_zone() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let at = instant("2023-03-10 10:48:11", &seoul).unwrap();
        assert_eq!(at.to_string(), "2023-03-10T01:48:11Z");
        let with_offset = instant("2023-03-10T01:48:11Z", &seoul).unwrap();
        assert_eq!(with_offset, at);
    }
}
