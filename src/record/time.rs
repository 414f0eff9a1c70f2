//! Event times: RFC 3339, or the same with a space, or without an offset.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// The instant that `text` spells; without an offset it is local to `zone`. `None`: it is no time.
pub fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let (separator, rest) = rest.split_at_checked(1)?;
    let (clock, rest) = rest.split_at_checked(8)?;
    if !matches!(separator, "T" | "t" | " ") {
        return None;
    }
    let (nanos, offset) = fraction(rest)?;
    let local = DateTime::from_parts(self::date(date)?, time(clock, nanos)?);
    match offset {
        "" => zone.to_ambiguous_timestamp(local).compatible().ok(),
        "Z" | "z" => Offset::UTC.to_timestamp(local).ok(),
        _ => self::offset(offset)?.to_timestamp(local).ok(),
    }
}

/// Two or four digits, nothing else.
fn digits(text: &str) -> Option<i16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn pair(text: &str, at: usize) -> Option<i8> {
    i8::try_from(digits(text.get(at..at + 2)?)?).ok()
}

fn date(text: &str) -> Option<Date> {
    let bytes = text.as_bytes();
    if bytes.get(4) != Some(&b'-') || bytes.get(7) != Some(&b'-') {
        return None;
    }
    Date::new(digits(text.get(..4)?)?, pair(text, 5)?, pair(text, 8)?).ok()
}

fn time(text: &str, nanos: i32) -> Option<Time> {
    let bytes = text.as_bytes();
    if bytes.get(2) != Some(&b':') || bytes.get(5) != Some(&b':') {
        return None;
    }
    let (hour, minute, second) = (pair(text, 0)?, pair(text, 3)?, pair(text, 6)?);
    // A leap second has no instant of its own: it counts as the last moment of its minute.
    let (second, nanos) = if second == 60 { (59, 999_999_999) } else { (second, nanos) };
    Time::new(hour, minute, second, nanos).ok()
}

/// The fraction's nanoseconds, and what follows it. Digits beyond nanoseconds order nothing.
fn fraction(rest: &str) -> Option<(i32, &str)> {
    let Some(behind) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let length = behind.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, offset) = behind.split_at_checked(length)?;
    let nanos: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    (length > 0).then(|| Some((nanos.parse().ok()?, offset)))?
}

fn offset(text: &str) -> Option<Offset> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if text.len() != 6 || text.as_bytes().get(3) != Some(&b':') {
        return None;
    }
    let (hours, minutes) = (i32::from(pair(text, 1)?), i32::from(pair(text, 4)?));
    if hours > 23 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Option<String> {
        parse(text, &TimeZone::UTC).map(|at| at.to_string())
    }

    #[test]
    fn times_in_all_their_spellings() {
        for (text, at) in [
            ("2023-03-10T01:48:11.818Z", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10t01:48:11z", "2023-03-10T01:48:11Z"),
            ("2023-03-10 01:48:11.818", "2023-03-10T01:48:11.818Z"),
            ("2023-03-10T01:48:11.8181234567891Z", "2023-03-10T01:48:11.818123456Z"),
            ("2023-03-10T01:48:11+09:00", "2023-03-09T16:48:11Z"),
            ("2023-03-10T01:48:11-00:30", "2023-03-10T02:18:11Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-30T23:59:59Z", "9999-12-30T23:59:59Z"),
        ] {
            assert_eq!(utc(text).as_deref(), Some(at), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "", "2", "2023-03-10", "20230310T014811818Z", "2023-3-10T1:48:11.818Z", "2023-02-30T01:48:11Z",
            "2023-03-10T24:00:00Z", "2023-03-10T01:60:00Z", "2023-03-10T01:48:61Z", "2023-03-10T01:48:11.Z",
            "2023-03-10T01:48:11+0900", "2023-03-10T01:48:11+09", "2023-03-10T01:48:11 Z", "2023-03-10T01:48Z",
            "2023-03-10T01:48:11.818Zx", "٢٠٢٣2023-03-10T01:48:11.818Z", "+023-03-10T01:48:11Z", "2023-03-10T01:48:11+24:00",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
    }

    #[test]
    fn time_without_an_offset_is_local() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let at = parse("2023-03-10 09:00:00", &seoul).unwrap();
        assert_eq!(at.to_string(), "2023-03-10T00:00:00Z");
    }
}
