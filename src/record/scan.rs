//! Byte scans, eight bytes at a time: where a run of plain text ends.
//!
//! Pure. Strings are most of a record, so both reading literals and writing JSON scan here. Measured: 32 bytes at a time are no faster.

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
    first(bytes, from, |word| equal_to(word, quote) | equal_to(word, b'\\') | control(word))
}

/// The first byte at or after `from` that ASCII JSON text must escape; the length of `bytes` where there is none.
#[inline]
pub(super) fn json_run(bytes: &[u8], from: usize) -> usize {
    first(bytes, from, |word| {
        equal_to(word, b'"') | equal_to(word, b'\\') | control(word) | equal_to(word, 0x7f) | (word & HIGH)
    })
}

#[inline]
fn first(bytes: &[u8], from: usize, marks: impl Fn(u64) -> u64) -> usize {
    let mut at = from;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        // After the end there are only zeros: a mark there is above those of the bytes before it.
        let found = marks(word(rest));
        if found != 0 {
            return (at + found.trailing_zeros() as usize / 8).min(bytes.len());
        }
        at += 8;
        if at >= bytes.len() {
            return bytes.len();
        }
    }
}

/// The first eight of `bytes` as a little-endian word; zeros where there are fewer.
#[inline]
pub(super) fn word(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(head), Some(tail)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let behind = 8 * (bytes.len() - 4);
        return u64::from(u32::from_le_bytes(*head)) | (u64::from(u32::from_le_bytes(*tail)) << behind);
    }
    match *bytes {
        [a, b, c] => u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]),
        [a, b] => u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, 0]),
        [a] => u64::from(a),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_ends_a_run_at_every_position_or_nowhere() {
        for byte in 0..=u8::MAX {
            let ends_literal = byte < 0x20 || byte == b'\'' || byte == b'\\';
            let ends_json = !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\';
            for (at, length) in (0..20).flat_map(|at| (at + 1..=20).map(move |length| (at, length))) {
                let mut text = vec![b'a'; length];
                text[at] = byte;
                let expected = |ends| if ends { at } else { length };
                assert_eq!(literal_run(&text, 0, b'\''), expected(ends_literal), "{byte} at {at} of {length}");
                assert_eq!(json_run(&text, 0), expected(ends_json), "{byte} at {at} of {length}");
            }
        }
    }

    #[test]
    fn word_of_any_length_is_its_bytes_and_zeros() {
        let text = *b"abcdefghij";
        for length in 0..text.len() {
            let mut expected = [0; 8];
            expected[..length.min(8)].copy_from_slice(&text[..length.min(8)]);
            assert_eq!(word(&text[..length]), u64::from_le_bytes(expected), "{length}");
        }
    }

    #[test]
    fn scan_starts_where_it_is_told() {
        assert_eq!(literal_run(b"''''''''''ab'", 10, b'\''), 12);
        assert_eq!(literal_run(b"ab", 2, b'\''), 2);
    }
}
