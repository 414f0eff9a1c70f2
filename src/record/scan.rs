//! Byte scans, eight bytes at a time: where a run of plain text ends.
//!
//! Strings are most of a record, so both directions (reading literals, writing JSON) go through here. Pure.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Marks the bytes of `word` that equal `byte`. The lowest mark is exact; higher ones may be false.
const fn equal_to(word: u64, byte: u8) -> u64 {
    let differing = word ^ (LOW * byte as u64);
    differing.wrapping_sub(LOW) & !differing & HIGH
}

/// Marks the control characters of `word`. The lowest mark is exact; higher ones may be false.
const fn control(word: u64) -> u64 {
    word.wrapping_sub(LOW * 0x20) & !word & HIGH
}

/// The first byte at or after `from` that ends a run inside a string literal: `quote`, a backslash or a control
/// character; the length of `bytes` where there is none.
#[inline]
pub(super) fn literal_run(bytes: &[u8], from: usize, quote: u8) -> usize {
    first(
        bytes,
        from,
        |word| equal_to(word, quote) | equal_to(word, b'\\') | control(word),
        |byte| byte == quote || byte == b'\\' || byte < 0x20,
    )
}

/// The first byte at or after `from` that ASCII JSON text must escape; the length of `bytes` where there is none.
#[inline]
pub(super) fn json_run(bytes: &[u8], from: usize) -> usize {
    first(
        bytes,
        from,
        |word| equal_to(word, b'"') | equal_to(word, b'\\') | control(word) | equal_to(word, 0x7f) | (word & HIGH),
        |byte| !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\',
    )
}

#[inline]
fn first(bytes: &[u8], from: usize, marks: impl Fn(u64) -> u64, ends: impl Fn(u8) -> bool) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let found = marks(u64::from_le_bytes(*chunk));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let tail = bytes.get(at..).unwrap_or_default();
    tail.iter().position(|&byte| ends(byte)).map_or(bytes.len(), |n| at + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_ends_a_run_at_every_position_or_nowhere() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut text = [b'a'; 20];
                text[at] = byte;
                let ends_literal = byte < 0x20 || byte == b'\'' || byte == b'\\';
                assert_eq!(literal_run(&text, 0, b'\''), if ends_literal { at } else { 20 }, "{byte} at {at}");
                let ends_json = !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\';
                assert_eq!(json_run(&text, 0), if ends_json { at } else { 20 }, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn scan_starts_where_it_is_told() {
        assert_eq!(literal_run(b"''''''''''ab'", 10, b'\''), 12);
        assert_eq!(literal_run(b"ab", 2, b'\''), 2);
    }
}
