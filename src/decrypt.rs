//! Decryption: a ring of Fernet keys, newest first.
//!
//! Invariant: what no key could ever open (malformed) and what the ring's keys do not open (another key's) are told
//! apart, because only the second is a reason to look for a key. Tokens do not expire here, and a clock that is behind the
//! origin's does not matter: the log's own time is in its plaintext.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use fernet::Fernet;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// Version, time stamp, IV, one block, HMAC.
const SHORTEST: usize = 1 + 8 + 16 + 16 + 32;
/// All of it but the blocks.
const AROUND_BLOCKS: usize = 1 + 8 + 16 + 32;
const VERSION: u8 = 0x80;
/// A "now" that no token is ahead of, not even by the library's allowance for skewed clocks.
const NO_CLOCK: u64 = u64::MAX / 2;

/// Why a token was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// No key could ever open it.
    #[error("it is no Fernet token")]
    Malformed,
    /// No key of the ring opens it.
    #[error("no key of the ring opens it")]
    WrongKey,
}

/// Fernet keys in the order in which they are tried.
pub struct KeyRing {
    keys: Vec<Fernet>,
    fingerprint: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.len())
    }
}

impl KeyRing {
    /// A ring of these keys, newest first.
    ///
    /// # Errors
    /// `Config`: one is no Fernet key; it is named by its place.
    pub fn new(keys: &[Secret]) -> Result<Self> {
        let ring = keys.iter().enumerate().map(|(n, key)| {
            Fernet::new(key.expose()).ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("key {} of the ring is no Fernet key", n + 1))
                    .hint("a Fernet key is 32 bytes in base64url: 44 characters")
            })
        });
        Ok(Self { keys: ring.collect::<Result<_>>()?, fingerprint: fingerprint(keys) })
    }

    /// Opens a token.
    ///
    /// # Errors
    /// [`DecryptError`].
    pub fn decrypt(&self, token: &str) -> Result<Vec<u8>, DecryptError> {
        let opened = self.keys.iter().find_map(|key| key.decrypt_at_time(token, None, NO_CLOCK).ok());
        opened.ok_or_else(|| if is_well_formed(token) { DecryptError::WrongKey } else { DecryptError::Malformed })
    }

    /// Names the ring without telling anything about its keys; their order makes no difference.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

fn fingerprint(keys: &[Secret]) -> String {
    let mut sorted: Vec<&str> = keys.iter().map(Secret::expose).collect();
    sorted.sort_unstable();
    sorted.dedup();
    // Derived, so that it says nothing about a key to those who hold other hashes of it.
    let digest = blake3::derive_key("etl 2023 key ring fingerprint", sorted.join("\n").as_bytes());
    blake3::Hash::from_bytes(digest).to_hex().chars().take(16).collect()
}

fn is_well_formed(token: &str) -> bool {
    let Ok(bytes) = URL_SAFE.decode(token) else {
        return false;
    };
    bytes.first() == Some(&VERSION) && bytes.len() >= SHORTEST && (bytes.len() - AROUND_BLOCKS).is_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(keys: &[&str]) -> KeyRing {
        KeyRing::new(&keys.iter().map(|key| Secret::new(*key)).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn token_opens_with_any_key_of_the_ring() {
        let (old, new) = (Fernet::generate_key(), Fernet::generate_key());
        let token = Fernet::new(&old).unwrap().encrypt(b"log");
        assert_eq!(ring(&[&new, &old]).decrypt(&token).unwrap(), b"log");
        assert_eq!(ring(&[&new]).decrypt(&token), Err(DecryptError::WrongKey));
    }

    #[test]
    fn stamp_in_the_future_or_the_past_makes_no_difference() {
        let key = Fernet::generate_key();
        for at in [0, 4_000_000_000, u64::MAX / 4] {
            let token = Fernet::new(&key).unwrap().encrypt_at_time(b"log", at);
            assert_eq!(ring(&[&key]).decrypt(&token).unwrap(), b"log", "{at}");
        }
    }

    #[test]
    fn what_no_key_could_open_is_malformed() {
        let key = Fernet::generate_key();
        let token = Fernet::new(&key).unwrap().encrypt(b"log");
        for text in ["", "gAAAA", "not a token", &token[..token.len() - 4], &token.replacen('g', "A", 1)] {
            assert_eq!(ring(&[&key]).decrypt(text), Err(DecryptError::Malformed), "{text}");
        }
    }

    #[test]
    fn fingerprint_is_that_of_the_set_and_debug_shows_no_key() {
        let (a, b) = (Fernet::generate_key(), Fernet::generate_key());
        assert_eq!(ring(&[&a, &b]).fingerprint(), ring(&[&b, &a, &a]).fingerprint());
        assert_ne!(ring(&[&a]).fingerprint(), ring(&[&a, &b]).fingerprint());
        assert!(!format!("{:?}", ring(&[&a])).contains(&a));
    }
}
