//! The key ring: a token's plaintext, or why there is none.
//!
//! Owns the use of the `fernet` crate. Invariant: a token opens if any key of the ring made it, whatever time it carries. Fernet's own
//! clock check is off (hence the crate's feature `fernet_danger_timestamps`): a server's clock may be ahead, and the time that counts
//! here is the record's. Tokens are read as leniently as Python's own Fernet reads them (see `plain_spelling`): the HMAC vouches for the
//! content, not for how it is written. Pure; nothing here touches disk.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use fernet::Fernet;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::fernet_key::{bare, fernet_key_bytes};
use crate::digest::fingerprint;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Why a token did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecryptError {
    /// No Fernet token, or one whose padding is broken: no key can open it.
    #[error("not a Fernet token")]
    Malformed,
    /// Well-formed, but made with another key.
    #[error("no key of the ring opens it")]
    WrongKey,
}

/// The decryption keys, newest first.
pub struct KeyRing {
    keys: Vec<Key>,
    /// The key that opened the last token: usually all tokens of a page have one key.
    last: AtomicUsize,
}

struct Key {
    bytes: [u8; 32],
    fernet: Fernet,
}

/// "Now" for the fernet crate, so late that no token is from the future (its check adds 60).
const END_OF_TIME: u64 = u64::MAX - 60;
/// Version, time and initialisation vector.
const HEAD: usize = 1 + 8 + 16;
/// The cipher's block.
const BLOCK: usize = 16;
/// The HMAC at the end.
const TAIL: usize = 32;

impl KeyRing {
    /// A ring of `keys`, newest first.
    ///
    /// # Errors
    /// `Config` where there is none, or one is no Fernet key; names its position, never the key.
    pub fn new(keys: &[Secret]) -> Result<Self> {
        if keys.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no decryption key")
                .hint("set FERNET_KEY in the environment or in .env, or name a file with source.keys_file"));
        }
        let key = |(at, key): (usize, &Secret)| {
            Key::new(key).ok_or_else(|| Error::new(ErrorKind::Config, format!("key {at} is not a Fernet key")))
        };
        let keys = (1..).zip(keys).map(key).collect::<Result<_>>()?;
        Ok(Self { keys, last: AtomicUsize::new(0) })
    }

    /// The ring of a source that encrypts nothing: a token is its own plaintext.
    #[must_use]
    pub const fn of_plain() -> Self {
        Self { keys: Vec::new(), last: AtomicUsize::new(0) }
    }

    /// The plaintext of `token`.
    ///
    /// # Errors
    /// [`DecryptError`]: whether another key could help.
    pub fn decrypt(&self, token: &str) -> std::result::Result<Vec<u8>, DecryptError> {
        if self.keys.is_empty() {
            return Ok(token.as_bytes().to_vec());
        }
        let token = token.trim_ascii();
        if let Some(plain) = self.open(token) {
            return Ok(plain);
        }
        let spelling = plain_spelling(token);
        match spelling {
            Cow::Owned(ref other) => self.open(other).ok_or_else(|| self.reason(other)),
            Cow::Borrowed(same) => Err(self.reason(same)),
        }
    }

    /// The plaintext of a token in its usual spelling.
    fn open(&self, token: &str) -> Option<Vec<u8>> {
        let last = self.last.load(Ordering::Relaxed);
        if let Some(plain) = self.keys.get(last).and_then(|key| key.open(token)) {
            return Some(plain);
        }
        self.keys.iter().enumerate().filter(|(at, _)| *at != last).find_map(|(at, key)| {
            let plain = key.open(token)?;
            self.last.store(at, Ordering::Relaxed);
            Some(plain)
        })
    }

    /// Why `token` did not open. If a key signed it, its padding is broken.
    fn reason(&self, token: &str) -> DecryptError {
        match well_formed(token) {
            Some(bytes) if !self.keys.iter().any(|key| key.has_signed(&bytes)) => DecryptError::WrongKey,
            _ => DecryptError::Malformed,
        }
    }

    /// A name for the set of keys, 16 hex digits, that reveals nothing of them. Order, spelling and repetitions do not matter: it
    /// changes exactly when other tokens can be opened.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut keys: Vec<_> = self.keys.iter().map(|key| key.bytes).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut hasher = blake3::Hasher::new_derive_key("etl 2023-03 fingerprint of the key ring");
        for key in keys {
            hasher.update(&key);
        }
        fingerprint(&hasher)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.len())
    }
}

impl Key {
    fn new(key: &Secret) -> Option<Self> {
        let bytes = fernet_key_bytes(key)?;
        Some(Self { bytes, fernet: Fernet::new(&URL_SAFE.encode(bytes))? })
    }

    fn open(&self, token: &str) -> Option<Vec<u8>> {
        self.fernet.decrypt_at_time(token, None, END_OF_TIME).ok()
    }

    /// Whether this key signed a token's bytes. The first half of a Fernet key signs.
    fn has_signed(&self, token: &[u8]) -> bool {
        let (signing, _) = self.bytes.split_at(BLOCK);
        let Some((message, signature)) = token.split_last_chunk::<TAIL>() else { return false };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(signing) else { return false };
        mac.update(message);
        mac.verify_slice(signature).is_ok()
    }
}

/// `token` in its usual spelling: urlsafe base64 with nothing in between. Others use the standard alphabet, line breaks or other
/// characters that base64 does not have (Python's decoder skips them), the `repr` of Python's bytes, or one more pair of quotes.
fn plain_spelling(token: &str) -> Cow<'_, str> {
    let inner = bare(token);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
    if inner.len() == token.len() && token.bytes().all(is_plain) {
        return Cow::Borrowed(token);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '+' => plain.push('-'),
            '/' => plain.push('_'),
            // White space that the `repr` spelled out: its letter is not one of the token's.
            '\\' => drop(characters.next_if(|letter| matches!(letter, 'n' | 'r' | 't'))),
            other if other.is_ascii() && is_plain(other as u8) => plain.push(other),
            _ => {}
        }
    }
    Cow::Owned(plain)
}

/// The bytes of `token` if it has the form of a Fernet token: urlsafe base64, version 0x80, whole blocks, at least one.
fn well_formed(token: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
    let cipher = bytes.len().checked_sub(HEAD + TAIL)?;
    (bytes.first() == Some(&0x80) && cipher >= BLOCK && cipher.is_multiple_of(BLOCK)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"{'record_id': 1, 'inDate': '2023-03-10T01:48:11.818Z'}";

    fn ring(keys: &[&str]) -> KeyRing {
        KeyRing::new(&keys.iter().map(|key| Secret::new(*key)).collect::<Vec<_>>()).unwrap()
    }

    fn token_of(key: &str) -> String {
        Fernet::new(key).unwrap().encrypt(PLAIN)
    }

    /// `token` with its bytes changed and, where there is a key, signed again.
    fn forged(token: &str, key: Option<&str>, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = well_formed(token).unwrap();
        let signature = bytes.split_off(bytes.len() - TAIL);
        change(&mut bytes);
        let signature = key.map_or(signature, |key| {
            let signing = fernet_key_bytes(&Secret::new(key)).unwrap();
            let mut mac = Hmac::<Sha256>::new_from_slice(&signing[..16]).unwrap();
            mac.update(&bytes);
            mac.finalize().into_bytes().to_vec()
        });
        bytes.extend(signature);
        URL_SAFE.encode(bytes)
    }

    #[test]
    fn token_of_any_key_of_the_ring_opens() {
        let (new, old) = (Fernet::generate_key(), Fernet::generate_key());
        let ring = ring(&[&new, &old]);
        for key in [&old, &new, &new, &old] {
            assert_eq!(ring.decrypt(&token_of(key)).unwrap(), PLAIN);
        }
        assert_eq!(ring.decrypt(&format!(" {}\n", token_of(&old))).unwrap(), PLAIN);
        let empty = Fernet::new(&new).unwrap().encrypt(b"");
        assert_eq!(ring.decrypt(&empty).unwrap(), b"");
    }

    /// Other spellings of `token`, with what they are.
    fn spellings(token: &str) -> Vec<(&'static str, String)> {
        let wrapped = |end: &str| {
            let lines: Vec<_> = token.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
            lines.join(end)
        };
        let standard = token.replace('-', "+").replace('_', "/");
        vec![
            ("lines", wrapped("\n") + "\n"),
            ("lines of DOS", wrapped("\r\n")),
            ("spaces", wrapped(" ")),
            ("standard", standard.clone()),
            (
                "standard in lines",
                standard.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join("\n"),
            ),
            ("standard without padding", standard.trim_end_matches('=').to_owned()),
            ("bytes", format!("b'{token}'")),
            ("bytes, double", format!("b\"{token}\"")),
            ("bytes with line ends", format!("b'{}\\n'", wrapped("\\n"))),
            ("quotes", format!("\"{token}\"")),
            ("quotes of Python", format!(" '{token}' ")),
            ("bytes in quotes", format!("\"b'{token}'\"")),
            ("escaped slashes", format!("b'{}'", standard.replace('/', "\\/"))),
            ("a mark", format!("\u{feff}{token}")),
            ("more padding", format!("{token}==")),
            ("a tab", token.replacen('A', "A\t", 1)),
            ("what is not base64", token.replacen('A', "A.é", 1)),
        ]
    }

    #[test]
    fn token_opens_however_it_is_spelled() {
        let (new, old) = (Fernet::generate_key(), Fernet::generate_key());
        let ring = ring(&[&new, &old]);
        // Tokens of all lengths: of 0 to 2 padding characters.
        for length in 0..50 {
            let plain = vec![b'x'; length];
            for (what, spelled) in spellings(&Fernet::new(&old).unwrap().encrypt(&plain)) {
                assert_eq!(ring.decrypt(&spelled).as_ref(), Ok(&plain), "{what}: {spelled}");
            }
        }
    }

    #[test]
    fn token_of_another_key_is_that_however_it_is_spelled() {
        let ring = ring(&[&Fernet::generate_key()]);
        for (what, spelled) in spellings(&token_of(&Fernet::generate_key())) {
            assert_eq!(ring.decrypt(&spelled), Err(DecryptError::WrongKey), "{what}: {spelled}");
        }
        for bad in ["b''", "'", "b'", "\"\"", "\\", "'b'b'", "b'gAAAAA'", "\u{feff}"] {
            assert_eq!(ring.decrypt(bad), Err(DecryptError::Malformed), "{bad}");
        }
    }

    #[test]
    fn usual_spelling_is_not_copied() {
        assert!(matches!(plain_spelling("gAAA-_=="), Cow::Borrowed("gAAA-_==")));
        assert_eq!(plain_spelling("b'gA+/\\n=='"), "gA-_==");
    }

    #[test]
    fn token_of_another_key_is_no_malformed_one() {
        let ring = ring(&[&Fernet::generate_key(), &Fernet::generate_key()]);
        assert_eq!(ring.decrypt(&token_of(&Fernet::generate_key())), Err(DecryptError::WrongKey));
        let key = Fernet::generate_key();
        let flipped = forged(&token_of(&key), None, |bytes| bytes[30] ^= 1);
        assert_eq!(self::ring(&[&key]).decrypt(&flipped), Err(DecryptError::WrongKey));
    }

    #[test]
    fn what_no_key_could_open_is_malformed() {
        let key = Fernet::generate_key();
        let ring = ring(&[&key]);
        let good = token_of(&key);
        let cut = &good[..good.len() - 4];
        let wrong_version = forged(&good, Some(&key), |bytes| bytes[0] = 0x81);
        let no_block = forged(&good, Some(&key), |bytes| bytes.truncate(HEAD));
        let half_block = forged(&good, Some(&key), |bytes| bytes.truncate(HEAD + 24));
        let bad_padding = forged(&good, Some(&key), |bytes| bytes.truncate(HEAD + BLOCK));
        for bad in ["", "=", "no token", "gAAAAA", "é", cut, &wrong_version, &no_block, &half_block, &bad_padding] {
            assert_eq!(ring.decrypt(bad), Err(DecryptError::Malformed), "{bad}");
        }
    }

    #[test]
    fn token_opens_whatever_time_it_carries() {
        let key = Fernet::generate_key();
        for seconds in [0_u64, 4_102_444_800, u64::MAX] {
            let token =
                forged(&token_of(&key), Some(&key), |bytes| bytes[1..9].copy_from_slice(&seconds.to_be_bytes()));
            assert_eq!(ring(&[&key]).decrypt(&token).unwrap(), PLAIN, "{seconds}");
        }
    }

    #[test]
    fn fingerprint_changes_with_the_set_of_keys_only() {
        let (a, b) = (Fernet::generate_key(), Fernet::generate_key());
        let of = |keys: &[&str]| ring(keys).fingerprint();
        assert_eq!(of(&[&a, &b]), of(&[&b, &a, &a]));
        assert_eq!(of(&[&a]), of(&[a.trim_end_matches('=')]));
        assert_ne!(of(&[&a]), of(&[&b]));
        assert_ne!(of(&[&a]), of(&[&a, &b]));
        let fixed = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
        assert_eq!(of(&[fixed]), "9464620f9539de93", "it is stored: it must not change");
    }

    #[test]
    fn ring_needs_keys_and_never_shows_them() {
        assert_eq!(KeyRing::new(&[]).unwrap_err().kind(), ErrorKind::Config);
        let key = Fernet::generate_key();
        let error = KeyRing::new(&[Secret::new(key.as_str()), Secret::new("s3cret")]).unwrap_err();
        assert_eq!(error.chain(), "key 2 is not a Fernet key");
        assert_eq!(format!("{:?}", ring(&[&key])), "KeyRing(1 keys)");
    }
}
