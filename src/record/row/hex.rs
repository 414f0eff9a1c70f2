//! The compact form of lower-case hexadecimal digits: their bytes as base64url without padding.
//!
//! Pure. Invariant: the compact form stands alone only where [`restore`] gives the digits back. Digits have a form where there are two or
//! more of them, and as many as make whole bytes.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::record::Value;

/// Bytes that are encoded at once: a multiple of three, so that the pieces of a long value join.
const PIECE: usize = 48;

/// Writes the compact form of `value`, or `""`. Returns whether it stands alone.
pub(super) fn write(value: &Value<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(b'"');
    let stands_alone = digits(value).is_some_and(|digits| encode(digits, out));
    if !stands_alone {
        out.truncate(start + 1);
    }
    out.push(b'"');
    stands_alone
}

/// Whether `compact` is written before the raw value `raw`.
pub(super) fn belongs(compact: &str, raw: &Value<'_>) -> bool {
    compact.is_empty() && digits(raw).is_none_or(|digits| !digits.iter().all(is_lower_case))
}

/// The inverse: the digits.
pub(super) fn restore(compact: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(compact).ok().filter(|bytes| !bytes.is_empty())?;
    let mut text = String::with_capacity(2 * bytes.len());
    spell(&bytes, &mut text);
    Some(text)
}

/// The bytes of a text of a length that may have a compact form.
fn digits<'v>(value: &'v Value<'_>) -> Option<&'v [u8]> {
    let Value::Str(text) = value else { return None };
    Some(text.as_bytes()).filter(|digits| !digits.is_empty() && digits.len().is_multiple_of(2))
}

/// Appends the compact form of `digits`, or some of it. Whether all of them are lower-case digits.
fn encode(digits: &[u8], out: &mut Vec<u8>) -> bool {
    for digits in digits.chunks(2 * PIECE) {
        let (mut bytes, mut seen) = ([0_u8; PIECE], 0);
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(lower_case_digit);
            seen |= high | low;
            *byte = (high << 4) | (low & 0xf);
        }
        let mut encoded = [0_u8; PIECE * 4 / 3];
        let bytes = bytes.get(..digits.len() / 2).unwrap_or_default();
        match BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, &mut encoded) {
            Ok(length) if seen < 16 => out.extend_from_slice(encoded.get(..length).unwrap_or_default()),
            _ => return false,
        }
    }
    true
}

/// Appends the lower-case digits of `bytes`.
pub(super) fn spell(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.extend([byte >> 4, byte & 0xf].map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('0')));
    }
}

/// The value of a hexadecimal digit; at least 16 for anything else.
pub(super) const fn digit(digit: u8) -> u8 {
    match digit {
        b'A'..=b'F' => digit - b'A' + 10,
        other => lower_case_digit(other),
    }
}

const fn lower_case_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0x10,
    }
}

const fn is_lower_case(digit: &u8) -> bool {
    lower_case_digit(*digit) < 16
}
