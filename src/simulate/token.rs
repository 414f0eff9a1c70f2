//! Fernet tokens that come out the same every time.
//!
//! The `fernet` crate draws its initialisation vector from the system, so the simulator builds its tokens by hand:
//! `0x80 ‖ time (8 bytes, big-endian) ‖ IV (16) ‖ AES-128-CBC ciphertext (PKCS #7) ‖ HMAC-SHA-256 (32)`, in URL-safe base64
//! with padding. A predictable IV protects nothing: these tokens hold synthetic records only.

use std::fmt;

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockEncryptMut, InnerIvInit, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use super::draw::Draws;
use crate::error::{Error, ErrorKind, Result};

const VERSION: u8 = 0x80;
/// Version, time and IV.
const HEAD: usize = 1 + 8 + 16;
const TAG: usize = 32;

/// A Fernet key. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The first of one or more comma-separated keys, as `FERNET_KEY` holds them (newest first).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where the first is not 32 bytes in URL-safe base64. The text is not repeated.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let first = text.split(',').next().unwrap_or_default().trim();
        let bytes = URL_SAFE.decode(first).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| {
            Error::new(ErrorKind::Config, "the key to simulate with is not a Fernet key (32 bytes in URL-safe base64)")
                .hint("set FERNET_KEY to a Fernet key, or unset it to have one derived from the seed")
        })
    }

    /// The key that belongs to `seed`. Anybody can derive it: it protects nothing.
    pub(super) fn from_seed(seed: u64) -> Self {
        Self(Draws::new(seed, "key", &[]).bytes())
    }

    /// The key of the tokens that the holder of [`Key::from_seed`] cannot open.
    pub(super) fn other(seed: u64) -> Self {
        Self(Draws::new(seed, "other key", &[]).bytes())
    }

    /// The key as `FERNET_KEY` takes it.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE.encode(self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Makes tokens under one key.
pub(super) struct TokenMaker {
    cipher: Aes128,
    /// Keyed once; cloned for each token.
    mac: Hmac<Sha256>,
}

impl TokenMaker {
    pub(super) fn new(key: &Key) -> Self {
        let (signing, encryption) = key.0.split_at(16);
        let mut block = aes::Block::default();
        block.copy_from_slice(encryption);
        Self { cipher: Aes128::new(&block), mac: keyed_mac(signing) }
    }

    /// The token of `plain`, stamped with `at`, under `iv`.
    pub(super) fn token(&self, plain: &[u8], at: Timestamp, iv: [u8; 16]) -> String {
        let cipher = cbc::Encryptor::inner_iv_init(self.cipher.clone(), &iv.into());
        let mut bytes = Vec::with_capacity(HEAD + plain.len() + 16 + TAG);
        bytes.push(VERSION);
        bytes.extend_from_slice(&u64::try_from(at.as_second()).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&iv);
        bytes.extend_from_slice(&cipher.encrypt_padded_vec_mut::<Pkcs7>(plain));
        let tag = self.mac.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
        URL_SAFE.encode(bytes)
    }
}

/// HMAC's own key rule for a key of at most one block: pad it with zeros. Spelled so, it cannot fail.
fn keyed_mac(key: &[u8]) -> Hmac<Sha256> {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    <Hmac<Sha256> as KeyInit>::new(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_open_with_the_fernet_crate() {
        let key = Key::from_seed(7);
        let maker = TokenMaker::new(&key);
        let fernet = fernet::Fernet::new(&key.to_text()).unwrap();
        for length in [0, 1, 15, 16, 17, 288, 5000] {
            let plain = vec![b'x'; length];
            let token = maker.token(&plain, "2023-03-10T01:00:00Z".parse().unwrap(), [3; 16]);
            assert_eq!(fernet.decrypt(&token).unwrap(), plain);
        }
    }

    #[test]
    fn the_specification_s_example_comes_out() {
        // https://github.com/fernet/spec/blob/master/generate.json
        let key = Key::parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=").unwrap();
        let iv: Vec<u8> = (0..16).collect();
        let token =
            TokenMaker::new(&key).token(b"hello", "1985-10-26T01:20:00-07:00".parse().unwrap(), iv.try_into().unwrap());
        assert_eq!(
            token,
            "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
        );
    }

    #[test]
    fn key_survives_its_text_and_hides_in_debug() {
        let key = Key::from_seed(1);
        let text = key.to_text();
        assert_eq!(Key::parse(&format!(" {text} ,{}", Key::other(1).to_text())).unwrap(), key);
        assert_ne!(Key::other(1), key);
        assert!(!format!("{key:?}").contains(&text));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for text in ["", "secret", "c2VjcmV0", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4"] {
            let error = Key::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(text.is_empty() || !error.chain().contains(text));
        }
    }
}
