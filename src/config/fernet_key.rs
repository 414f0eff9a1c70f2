//! A Fernet key as text: the forms in which people and tools write one. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::Secret;

/// The 32 bytes of a Fernet key in either base64 alphabet, padded or not, as Python takes them.
pub(crate) fn fernet_key_bytes(key: &Secret) -> Option<[u8; 32]> {
    let text = key.expose().trim_end_matches('=').replace('+', "-").replace('/', "_");
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// A key or a token without white space, byte-order mark, and the quotes of `'…'`, `"…"`, `b'…'` or `b"…"` around it. Base64 has
/// none of these, so nothing is guessed.
pub(crate) fn bare(text: &str) -> &str {
    let quote = |c: char| matches!(c, '\'' | '"');
    let around = |c: char| c.is_whitespace() || c == '\u{feff}' || quote(c);
    let inner = text.trim_matches(around);
    match inner.strip_prefix(['b', 'B']) {
        Some(behind) if behind.starts_with(quote) => behind.trim_start_matches(around),
        _ => inner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

    #[test]
    fn key_of_the_standard_alphabet_or_without_padding_is_one() {
        let standard = KEY.replace('-', "+").replace('_', "/");
        let bytes = fernet_key_bytes(&Secret::new(KEY)).unwrap();
        assert_eq!(fernet_key_bytes(&Secret::new(standard)), Some(bytes));
        assert_eq!(fernet_key_bytes(&Secret::new(KEY.trim_end_matches('='))), Some(bytes));
    }
}
