//! The compact form of 64 hexadecimal digits: both halves as base64url, the second half first.
//!
//! Pure. Invariant: the compact form stands alone only where [`restore`] gives the digits back.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::hex;
use crate::record::Value;

/// 16 bytes in base64url without padding.
const HALF: usize = 22;

/// Two halves.
type Compact = [u8; 2 * HALF];

/// Writes the compact form of `value`, or `""`. Returns whether it stands alone.
pub(super) fn write(value: &Value<'_>, out: &mut Vec<u8>) -> bool {
    let (compact, stands_alone) = compact(value);
    out.push(b'"');
    if let Some(compact) = compact {
        out.extend_from_slice(&compact);
    }
    out.push(b'"');
    stands_alone
}

/// Whether `compact` is written before the raw value `raw`.
pub(super) fn belongs(compact_text: &str, raw: &Value<'_>) -> bool {
    let (expected, stands_alone) = compact(raw);
    !stands_alone && compact_text.as_bytes() == expected.as_ref().map_or(&[][..], |text| text.as_slice())
}

/// The inverse: 64 lower-case hexadecimal digits.
pub(super) fn restore(compact: &str) -> Option<String> {
    let (first, second) = compact.as_bytes().split_at_checked(HALF)?;
    let mut text = String::with_capacity(64);
    for half in [second, first] {
        let mut bytes = [0_u8; 16];
        if half.len() != HALF || BASE64_URL_SAFE_NO_PAD.decode_slice_unchecked(half, &mut bytes) != Ok(16) {
            return None;
        }
        hex::spell(&bytes, &mut text);
    }
    Some(text)
}

/// The compact form, if `value` has one, and whether its inverse gives `value` back.
fn compact(value: &Value<'_>) -> (Option<Compact>, bool) {
    let Value::Str(text) = value else { return (None, false) };
    let Some((bytes, lower_case)) = text.as_bytes().try_into().ok().and_then(decode_hex) else { return (None, false) };
    let mut out = [0; 2 * HALF];
    let (first, second) = out.split_at_mut(HALF);
    let (head, tail) = bytes.split_at(16);
    let encoded =
        BASE64_URL_SAFE_NO_PAD.encode_slice(tail, first).and(BASE64_URL_SAFE_NO_PAD.encode_slice(head, second));
    (encoded.is_ok().then_some(out), lower_case && encoded.is_ok())
}

/// The 32 bytes that `text` spells in hexadecimal, and whether all of it is lower case.
fn decode_hex(text: &[u8; 64]) -> Option<([u8; 32], bool)> {
    let mut bytes = [0_u8; 32];
    let (mut seen, mut upper_case) = (0, false);
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        let [high, low] = pair.map(hex::digit);
        seen |= high | low;
        upper_case |= pair.iter().any(u8::is_ascii_uppercase);
        *byte = (high << 4) | (low & 0xf);
    }
    (seen < 16).then_some((bytes, !upper_case))
}
