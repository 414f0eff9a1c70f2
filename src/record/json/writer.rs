//! JSON as Python writes it: byte for byte `json.dumps(x, separators=(",", ":"))`.
//!
//! Pure. With the keys of every dict sorted by their bytes, the same text is the canonical form of a record. The writers append.

use std::borrow::Cow;
use std::io::Write as _;

use super::super::scan::{json_run, word};
use super::super::value::Value;

/// Writes `value` as Python's `json.dumps(value, separators=(",", ":"))` does.
pub fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    Writer { out, order: None }.value(value);
}

/// Writes the dict of `fields`, as [`write()`] does.
pub fn write_fields(fields: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
    Writer { out, order: None }.dict(fields);
}

/// The length of what [`write_fields`] writes; anything above `most` where it is more. Writes nothing.
#[must_use]
pub fn length(fields: &[(Cow<'_, str>, Value<'_>)], most: usize) -> usize {
    let mut sum: usize = 2;
    for (key, value) in fields {
        if sum > most {
            break;
        }
        sum = sum.saturating_add(text_length(key, most) + length_of(value, most) + 2);
    }
    sum
}

fn length_of(value: &Value<'_>, most: usize) -> usize {
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Int(digits) => digits.len(),
        // The longest float.
        Value::Float(_) => 24,
        Value::Str(text) => text_length(text, most),
        Value::Dict(fields) => length(fields, most),
        Value::List(items) => {
            let longer = |sum: usize, item| {
                if sum > most { Err(sum) } else { Ok(sum.saturating_add(length_of(item, most) + 1)) }
            };
            items.iter().try_fold(2, longer).unwrap_or_else(|sum| sum)
        }
    }
}

fn text_length(text: &str, most: usize) -> usize {
    let (bytes, mut at, mut sum) = (text.as_bytes(), json_run(text.as_bytes(), 0), 2);
    sum += at;
    while let Some(special) = text.get(at..).and_then(|rest| rest.chars().next()).filter(|_| sum <= most) {
        let short = matches!(special, '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}');
        let plain = at + special.len_utf8();
        at = json_run(bytes, plain);
        sum += at - plain + if short { 2 } else { 6 * special.len_utf16() };
    }
    sum
}

/// Writes the dict of `fields` with the keys of each dict sorted by their bytes. `order` is working memory.
pub(in crate::record) fn write_sorted(
    fields: &[(Cow<'_, str>, Value<'_>)],
    out: &mut Vec<u8>,
    order: &mut Vec<Position>,
) {
    Writer { out, order: Some(order) }.dict(fields);
}

/// The same for any value.
pub(in crate::record) fn write_value_sorted(value: &Value<'_>, out: &mut Vec<u8>) {
    Writer { out, order: Some(&mut Vec::new()) }.value(value);
}

/// Writes `text` in double quotes, everything outside space to `~` escaped.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut at = json_run(bytes, 0);
    out.extend_from_slice(bytes.get(..at).unwrap_or_default());
    while let Some(special) = text.get(at..).and_then(|rest| rest.chars().next()) {
        write_escape(special, out);
        let plain = at + special.len_utf8();
        at = json_run(bytes, plain);
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
    }
    out.push(b'"');
}

fn write_escape(special: char, out: &mut Vec<u8>) {
    let short = match special {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        other => {
            for unit in other.encode_utf16(&mut [0; 2]) {
                let [high, low] = unit.to_be_bytes();
                out.extend_from_slice(&[b'\\', b'u', hex(high >> 4), hex(high), hex(low >> 4), hex(low)]);
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

const fn hex(nibble: u8) -> u8 {
    match nibble & 0xf {
        digit @ 0..=9 => b'0' + digit,
        letter => b'a' + letter - 10,
    }
}

/// Writes `number` as Python's `repr` does: the shortest digits that give it back, with an exponent outside 1e-4 … 1e16. Of two equally
/// close ones the one with an even last digit, as `serde_json` does and the standard library does not.
fn write_float(number: f64, out: &mut Vec<u8>) {
    let mut buffer = [0_u8; 32];
    let mut rest = buffer.as_mut_slice();
    // 24 bytes are the longest there is, so this cannot fail.
    let written = serde_json::to_writer(&mut rest, &number.abs()).map_or(0, |()| 32 - rest.len());
    let text = std::str::from_utf8(buffer.get(..written).unwrap_or_default()).unwrap_or_default();
    if number.is_sign_negative() {
        out.push(b'-');
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.parse().unwrap_or(0_i32);
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    // How many digits stand before the point when the number is written without an exponent.
    let zeros = if significant.is_empty() { 0 } else { digits.len() - significant.len() };
    let point = exponent + small(whole.len()) - small(zeros);
    write_digits(significant.trim_end_matches('0').as_bytes(), point, out);
}

fn small(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// Writes 0.`digits` × 10^`point`.
fn write_digits(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    let exponent = point - 1;
    if (0..16).contains(&exponent) {
        let mut digits = digits.iter().copied();
        out.extend((0..point).map(|_| digits.next().unwrap_or(b'0')));
        out.extend([b'.', digits.next().unwrap_or(b'0')]);
        out.extend(digits);
    } else if (-4..0).contains(&exponent) {
        out.extend_from_slice(b"0.");
        out.extend((point..0).map(|_| b'0'));
        out.extend_from_slice(digits);
    } else {
        let (first, others) = digits.split_at_checked(1).unwrap_or_default();
        out.extend_from_slice(first);
        if !others.is_empty() {
            out.push(b'.');
            out.extend_from_slice(others);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        // Writing to memory cannot fail.
        let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    }
}

/// The first eight bytes of a field's key, big-endian as they decide most comparisons, and where it stands in its dict.
pub(in crate::record) type Position = (u64, usize);

struct Writer<'w> {
    out: &'w mut Vec<u8>,
    /// Where dicts are written sorted: a stack of positions, of each dict that is being written.
    order: Option<&'w mut Vec<Position>>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(true) => self.out.extend_from_slice(b"true"),
            Value::Bool(false) => self.out.extend_from_slice(b"false"),
            Value::Int(digits) => self.out.extend_from_slice(digits.as_bytes()),
            Value::Float(number) => write_float(*number, self.out),
            Value::Str(text) => write_text(text, self.out),
            Value::List(items) => self.list(items),
            Value::Dict(fields) => self.dict(fields),
        }
    }

    fn list(&mut self, items: &[Value<'_>]) {
        self.out.push(b'[');
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.value(item);
        }
        self.out.push(b']');
    }

    fn dict(&mut self, fields: &[(Cow<'_, str>, Value<'_>)]) {
        let base = self.push_order(fields);
        self.out.push(b'{');
        for n in 0..fields.len() {
            let position =
                self.order.as_ref().and_then(|order| order.get(base + n)).map_or(n, |(_, position)| *position);
            if let Some((key, value)) = fields.get(position) {
                if n > 0 {
                    self.out.push(b',');
                }
                write_text(key, self.out);
                self.out.push(b':');
                self.value(value);
            }
        }
        self.out.push(b'}');
        if let Some(order) = &mut self.order {
            order.truncate(base);
        }
    }

    /// Puts the positions of `fields` in key order onto the stack: where they start there.
    fn push_order(&mut self, fields: &[(Cow<'_, str>, Value<'_>)]) -> usize {
        let Some(order) = &mut self.order else { return 0 };
        let base = order.len();
        order.extend(fields.iter().enumerate().map(|(n, (key, _))| (word(key.as_bytes()).swap_bytes(), n)));
        if let Some(positions) = order.get_mut(base..) {
            let key = |n: usize| fields.get(n).map(|(key, _)| key.as_bytes());
            positions.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(&key(b.1))));
        }
        base
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e22, "1e+22"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (0.000_123_4, "0.0001234"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1_234_567_890_123_456.0, "1234567890123456.0"),
            (12_345_678_901_234_567.0, "1.2345678901234568e+16"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (-1.234_567_890_123_456_8e-300, "-1.2345678901234568e-300"),
            (123.456, "123.456"),
            // Exactly between two shortest spellings.
            (2_965_440_120_579_149.0 / 4.0, "741360030144787.2"),
            (5e-5, "5e-05"),
        ] {
            assert_eq!(written(&Value::Float(number)), expected);
        }
    }

    #[test]
    fn text_is_written_as_python_does() {
        let text = Value::Str("a\"b\\c/ \n\r\t\u{8}\u{c}\0\u{1f}\u{7f}~é한😀\u{ffff}".into());
        let expected = r#""a\"b\\c/ \n\r\t\b\f\u0000\u001f\u007f~\u00e9\ud55c\ud83d\ude00\uffff""#;
        assert_eq!(written(&text), expected);
        assert_eq!(super::super::parse(expected), Ok(text));
    }
}
