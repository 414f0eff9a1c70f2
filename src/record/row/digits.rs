//! The compact form of a time: its digits without the century.
//!
//! Pure. Invariant: the compact form stands alone only where [`restore`] gives the text back.

use crate::record::Value;

/// Writes the compact form of `value`, or `""`. Returns whether it stands alone.
pub(super) fn write(value: &Value<'_>, out: &mut Vec<u8>) -> bool {
    out.push(b'"');
    let digits = invertible(value);
    match &digits {
        Some(digits) => out.extend_from_slice(digits),
        None => out.extend(all_digits(value)),
    }
    out.push(b'"');
    digits.is_some()
}

/// Whether `compact` is written before the raw value `raw`.
pub(super) fn belongs(compact: &str, raw: &Value<'_>) -> bool {
    invertible(raw).is_none() && compact.bytes().eq(all_digits(raw))
}

/// The inverse: `20YY-MM-DDTHH:MM:SS.mmmZ`.
pub(super) fn restore(compact: &str) -> Option<String> {
    let digits = <&[u8; 15]>::try_from(compact.as_bytes()).ok()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let part = |from: usize, to: usize| compact.get(from..to);
    Some(format!(
        "20{}-{}-{}T{}:{}:{}.{}Z",
        part(0, 2)?,
        part(2, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 15)?
    ))
}

fn invertible(value: &Value<'_>) -> Option<[u8; 15]> {
    if let Value::Str(text) = value { usual_digits(text) } else { None }
}

/// The digits of a text in the form that [`restore`] gives, without the century.
pub(crate) fn usual_digits(text: &str) -> Option<[u8; 15]> {
    let &[
        b'2',
        b'0',
        y1,
        y2,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
        b'.',
        f1,
        f2,
        f3,
        b'Z',
    ] = text.as_bytes()
    else {
        return None;
    };
    let digits = [y1, y2, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, f1, f2, f3];
    digits.iter().all(u8::is_ascii_digit).then_some(digits)
}

/// What the origin makes of any text: its digits without the first two.
fn all_digits(value: &Value<'_>) -> impl Iterator<Item = u8> {
    let text = if let Value::Str(text) = value { text.as_ref() } else { "" };
    text.bytes().filter(u8::is_ascii_digit).skip(2)
}
