//! Where elements end: at commas, by brackets and strings alone, or at line ends.
//!
//! Linear, without recursion, whatever stands in between. Pure.

/// Where the first element of `bytes` ends, and whether its brackets and strings close. Which bracket closes which does not matter
/// here, and one that closes nothing belongs to its element: both make it odd.
pub(super) fn end_of_element(bytes: &[u8]) -> (usize, bool) {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => match end_of_string(bytes, at + 1) {
                Some(end) => at = end,
                None => return (bytes.len(), false),
            },
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return (at, true),
            _ => {}
        }
        at += 1;
    }
    (bytes.len(), depth == 0)
}

/// Where the quote is that ends the string whose text begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// `bytes` without JSON's white space around them.
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// Whether `text` is one object or array: nothing follows the bracket that closes the first.
pub(super) fn is_one_value(text: &[u8]) -> bool {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => match end_of_string(text, at + 1) {
                Some(end) => at = end,
                None => return false,
            },
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at == text.len();
        }
    }
    false
}
