//! Digests: the SHA-256 that objects and their content are known by, and short names for what is compared with itself only.
//!
//! Invariant: every digest that is written or shown is lower-case hexadecimal, spelled here.

use std::fmt;

use sha2::Digest as _;

/// A SHA-256 digest. Displayed as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest that `text` spells. `None` for what no digest is displayed as.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (mut bytes, mut digits) = ([0; 32], text.as_bytes().chunks_exact(2));
        if text.len() != 64 || text.bytes().any(|byte| !byte.is_ascii_digit() && !(b'a'..=b'f').contains(&byte)) {
            return None;
        }
        for byte in &mut bytes {
            *byte = u8::from_str_radix(std::str::from_utf8(digits.next()?).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// The SHA-256 of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

/// `bytes` in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A name of 16 hexadecimal digits for what `hasher` was given.
pub(crate) fn fingerprint(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_in_pieces_is_that_of_the_whole_in_lower_case_hexadecimal() {
        let mut hasher = Hasher::default();
        hasher.update("ab");
        hasher.update("c");
        let digest = hasher.finish();
        assert_eq!(digest, Sha256::of("abc"));
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(&[0, 0xab, 7]), "00ab07");
        assert_eq!(Sha256::parse(&digest.to_string()), Some(digest));
        for wrong in ["", "ab", &"AB".repeat(32), &"+1".repeat(32), &"0".repeat(65)] {
            assert_eq!(Sha256::parse(wrong), None, "{wrong}");
        }
    }
}
