//! Instants as numbers since 1970: of a named unit, or of the one that their size tells.
//!
//! Pure. A number is read from its decimal digits, so 1678412891.818 is exactly that; digits beyond nanoseconds are cut off.

use jiff::Timestamp;

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// The first number of a unit that is told by its size, in seconds: 1973. A smaller one may be anything, such as a date in digits.
const FIRST: i128 = 100_000_000;
/// A unit's numbers end where the next one's begin.
const UNITS: [Unit; 4] = [Unit::Seconds, Unit::Milliseconds, Unit::Microseconds, Unit::Nanoseconds];
/// Nanoseconds have nine digits after the second.
const DIGITS: i32 = 9;

impl Unit {
    /// The unit that is called `epoch-` and `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        UNITS.into_iter().find(|unit| unit.name().strip_prefix("epoch-") == Some(name))
    }

    /// Its name in the configuration.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "epoch-s",
            Self::Milliseconds => "epoch-ms",
            Self::Microseconds => "epoch-us",
            Self::Nanoseconds => "epoch-ns",
        }
    }

    /// How many decimal places it is behind the second.
    const fn places(self) -> i32 {
        match self {
            Self::Seconds => 0,
            Self::Milliseconds => 3,
            Self::Microseconds => 6,
            Self::Nanoseconds => 9,
        }
    }

    /// The instant that is so many of this unit after 1970.
    pub(super) fn instant(self, number: &str) -> Option<Timestamp> {
        Timestamp::from_nanosecond(scaled(number, DIGITS - self.places())?).ok()
    }
}

/// The instant that a number is, in the unit that its size tells.
pub(super) fn by_size(number: &str) -> Option<Timestamp> {
    let whole = scaled(number, 0)?;
    let is_of = |unit: &Unit| whole < 1000 * FIRST * 10_i128.pow(unit.places().unsigned_abs());
    let unit = if whole < FIRST { return None } else { UNITS.into_iter().find(is_of).unwrap_or(Unit::Nanoseconds) };
    unit.instant(number)
}

/// `number` × 10^`places`, without what is behind the point.
fn scaled(number: &str, places: i32) -> Option<i128> {
    let (negative, digits) = number.strip_prefix('-').map_or((false, number), |digits| (true, digits));
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = !whole.is_empty() && [whole, fraction].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if !is_number {
        return None;
    }
    // Where the point is, counted from the first digit, after the shift.
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(places)?;
    let digits = whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat(b'0'));
    let mut sum = 0_i128;
    for digit in digits.take(usize::try_from(point).unwrap_or(0)) {
        sum = sum.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        // No time is larger, and a point far to the right would take for ever.
        if sum > 1_000_000_000_000_000_000_000 {
            return None;
        }
        if sum == 0 && point > 1000 {
            return None;
        }
    }
    Some(if negative { -sum } else { sum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(at: Option<Timestamp>) -> Option<String> {
        at.map(|at| at.to_string())
    }

    #[test]
    fn size_tells_the_unit() {
        for (number, expected) in [
            ("100000000", "1973-03-03T09:46:40Z"),
            ("99999999999", "5138-11-16T09:46:39Z"),
            ("100000000000", "1973-03-03T09:46:40Z"),
            ("99999999999999", "5138-11-16T09:46:39.999Z"),
            ("100000000000000", "1973-03-03T09:46:40Z"),
            ("99999999999999999", "5138-11-16T09:46:39.999999Z"),
            ("100000000000000000", "1973-03-03T09:46:40Z"),
            ("1678412891818273645", "2023-03-10T01:48:11.818273645Z"),
            ("1678412891.818", "2023-03-10T01:48:11.818Z"),
            ("1.678412891818e+18", "2023-03-10T01:48:11.818Z"),
        ] {
            assert_eq!(shown(by_size(number)).as_deref(), Some(expected), "{number}");
        }
        for number in
            ["0", "-1678412891", "99999999", "20230310", "1e300", "1e2000000000", "", "x", "999999999999999999999"]
        {
            assert_eq!(by_size(number), None, "{number}");
        }
    }

    #[test]
    fn number_of_a_unit_is_exact_to_the_nanosecond() {
        for (unit, number, expected) in [
            (Unit::Seconds, "0", "1970-01-01T00:00:00Z"),
            (Unit::Seconds, "-1.5", "1969-12-31T23:59:58.5Z"),
            (Unit::Seconds, "1678412891.8182736459", "2023-03-10T01:48:11.818273645Z"),
            (Unit::Milliseconds, "1678412891818", "2023-03-10T01:48:11.818Z"),
            (Unit::Milliseconds, "1678412891818.25", "2023-03-10T01:48:11.81825Z"),
            (Unit::Microseconds, "1678412891818273", "2023-03-10T01:48:11.818273Z"),
            (Unit::Nanoseconds, "1678412891818273645", "2023-03-10T01:48:11.818273645Z"),
        ] {
            assert_eq!(shown(unit.instant(number)).as_deref(), Some(expected), "{number}");
        }
        for number in ["", ".5", "-", "1.5.2", "+1", " 1", "1e", "0x10", "1_000", "9e99", "0e2147483647", "٣"] {
            assert_eq!(Unit::Seconds.instant(number), None, "{number}");
        }
    }
}
