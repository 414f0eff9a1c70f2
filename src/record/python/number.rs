//! Python numbers: integers of any size in four notations, and finite floats.

use std::borrow::Cow;

use super::super::reason::{Reason, ReasonKind};
use super::super::value::Value;
use super::{Parser, is_identifier};

/// The most bits of an integer in hexadecimal, octal or binary notation: what 4300 decimal digits hold, Python's own
/// limit for printing an integer. Conversion takes time with the square of it.
const MOST_BITS: usize = 14_284;

impl<'a> Parser<'a> {
    /// An optional sign and a number.
    pub(super) fn number(&mut self) -> Result<Value<'a>, Reason> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        if matches!(self.peek(), Some(b'-' | b'+')) {
            self.at += 1;
            self.skip_space();
        }
        let value = match (self.peek(), self.peek_at(1)) {
            (Some(b'0'), Some(b'x' | b'X')) => self.in_radix(negative, 4)?,
            (Some(b'0'), Some(b'o' | b'O')) => self.in_radix(negative, 3)?,
            (Some(b'0'), Some(b'b' | b'B')) => self.in_radix(negative, 1)?,
            _ => self.decimal(start, negative)?,
        };
        match self.peek() {
            Some(byte) if is_identifier(byte) => Err(self.syntax("no number ends like this")),
            _ => Ok(value),
        }
    }

    fn decimal(&mut self, start: usize, negative: bool) -> Result<Value<'a>, Reason> {
        let digits_start = self.at;
        self.digits(u8::is_ascii_digit);
        let whole = self.since(digits_start);
        let is_float = self.fraction_and_exponent();
        let number = self.since(digits_start);
        if !number.starts_with(|c: char| c.is_ascii_digit()) && !number.get(1..).is_some_and(starts_with_digit) {
            return Err(self.syntax("a sign or a dot without a number"));
        }
        if is_float { self.float(number, negative, start) } else { self.integer(whole, negative, start) }
    }

    /// Steps over `.5`, `e5`, `.5e-5`: whether there was any.
    fn fraction_and_exponent(&mut self) -> bool {
        let start = self.at;
        if self.take(b'.') {
            self.digits(u8::is_ascii_digit);
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek_at(1), Some(b'+' | b'-')));
            if self.peek_at(1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                self.at += 1 + sign;
                self.digits(u8::is_ascii_digit);
            }
        }
        self.at > start
    }

    /// Steps over digits, with single underscores between them.
    fn digits(&mut self, is_digit: fn(&u8) -> bool) {
        let is_digit_at = |parser: &Self, ahead| parser.peek_at(ahead).as_ref().is_some_and(is_digit);
        while is_digit_at(self, 0) {
            self.at += 1;
            if self.peek() == Some(b'_') && is_digit_at(self, 1) {
                self.at += 1;
            }
        }
    }

    fn float(&self, number: &str, negative: bool, start: usize) -> Result<Value<'a>, Reason> {
        let size = without_underscores(number).parse::<f64>().map_err(|_| self.syntax("no number"))?;
        if size.is_finite() {
            Ok(Value::Float(if negative { -size } else { size }))
        } else {
            Err(Reason::new(ReasonKind::Unrepresentable, "a float beyond the largest").at(start))
        }
    }

    fn integer(&self, digits: &'a str, negative: bool, start: usize) -> Result<Value<'a>, Reason> {
        let digits = without_underscores(digits);
        if digits.bytes().all(|digit| digit == b'0') {
            return Ok(Value::Int(Cow::Borrowed("0")));
        }
        if digits.starts_with('0') {
            return Err(self.syntax("an integer with leading zeros"));
        }
        Ok(Value::Int(match digits {
            digits if !negative => digits,
            // The sign stands right before the digits: take both as they are.
            Cow::Borrowed(digits) if self.at == start + 1 + digits.len() => Cow::Borrowed(self.since(start)),
            digits => Cow::Owned(format!("-{digits}")),
        }))
    }

    /// `0x1f` and its like: `bits` is how many one digit stands for.
    fn in_radix(&mut self, negative: bool, bits: usize) -> Result<Value<'a>, Reason> {
        self.at += 2;
        self.take(b'_');
        let start = self.at;
        self.digits(match bits {
            4 => u8::is_ascii_hexdigit,
            3 => |digit| matches!(digit, b'0'..=b'7'),
            _ => |digit| matches!(digit, b'0' | b'1'),
        });
        if self.at == start {
            return Err(self.syntax("a number without digits"));
        }
        let digits = without_underscores(self.since(start));
        let digits = digits.trim_start_matches('0');
        if digits.len() * bits > MOST_BITS {
            return Err(Reason::new(ReasonKind::Unrepresentable, "an integer of more than 4300 digits").at(start));
        }
        let sign = if negative && !digits.is_empty() { "-" } else { "" };
        Ok(Value::Int(Cow::Owned(format!("{sign}{}", to_decimal(digits, bits)))))
    }
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn without_underscores(text: &str) -> Cow<'_, str> {
    if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) }
}

/// The decimal digits of a number whose digits stand for `bits` bits each.
fn to_decimal(digits: &str, bits: usize) -> String {
    const BASE: u64 = 1_000_000_000;
    // Little-endian groups of nine decimal digits; each step shifts in up to 32 bits.
    let mut groups: Vec<u64> = vec![0];
    for chunk in digits.as_bytes().chunks(32 / bits) {
        let mut carry = chunk.iter().fold(0, |n, &digit| (n << bits) | u64::from(hex_digit(digit)));
        for group in &mut groups {
            let shifted = (*group << (bits * chunk.len())) + carry;
            *group = shifted % BASE;
            carry = shifted / BASE;
        }
        while carry > 0 {
            groups.push(carry % BASE);
            carry /= BASE;
        }
    }
    let mut text = groups.pop().unwrap_or(0).to_string();
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    text
}

const fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.saturating_sub(b'A') + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    fn accepts(text: &str, expected: &str) {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn integers_keep_every_digit() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("+0", "0"),
            ("00", "0"),
            ("0_0", "0"),
            ("7", "7"),
            ("+7", "7"),
            ("- 7", "-7"),
            ("-1_000", "-1000"),
            ("18446744073709551616", "18446744073709551616"),
            ("-9223372036854775809", "-9223372036854775809"),
        ] {
            accepts(text, expected);
        }
        let long = "9".repeat(100_000);
        accepts(&long, &long);
        accepts(&format!("-{long}"), &format!("-{long}"));
    }

    #[test]
    fn other_notations_become_decimal() {
        for (text, expected) in [
            ("0x1F", "31"),
            ("-0X_ff", "-255"),
            ("0x0", "0"),
            ("-0b0", "0"),
            ("0o777", "511"),
            ("0b1010_1010", "170"),
            ("0xffffffffffffffffffffffffffffffff", "340282366920938463463374607431768211455"),
            ("0o7777777777777777777777777777777", "9903520314283042199192993791"),
            ("0x3b9aca00", "1000000000"),
            ("0xde0b6b3a7640000", "1000000000000000000"),
        ] {
            accepts(text, expected);
        }
        accepts(&format!("0x{}1", "0".repeat(1_000_000)), "1");
    }

    #[test]
    fn floats_are_read_as_python_does() {
        for (text, expected) in [
            (".5", "0.5"),
            ("5.", "5.0"),
            ("-.5", "-0.5"),
            ("1e5", "100000.0"),
            ("1E+22", "1e+22"),
            ("1.e-5", "1e-05"),
            ("01.5", "1.5"),
            ("09e1", "90.0"),
            ("1_0.2_5e1_0", "102500000000.0"),
            ("-0.0", "-0.0"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
            ("1e-999", "0.0"),
        ] {
            accepts(text, expected);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "+", "-", ".", "-.", "..", "._5", "1__0", "1_", "_1", "01", "0_1", "1.2.3", "1._5", "1e", "1e+", "1e_5",
            "1_e5", "e5", ".e5", "1j", "1.5J", "0x", "0x_", "0x__1", "0xg", "0o8", "0b2", "0x1.5", "--1", "+-1",
            "- -1", "-'a'", "-True", "-(1)", "~1", "1L", "1 .", "١",
        ] {
            assert_eq!(read(text), Err("not-a-record"), "{text}");
        }
    }

    #[test]
    fn numbers_beyond_a_row_are_unrepresentable() {
        for text in ["1e999", "-1e309", &format!("0x1{}", "0".repeat(4000)), &format!("0b{}", "1".repeat(20_000))] {
            assert_eq!(read(text), Err("unrepresentable"), "{text}");
        }
    }
}
