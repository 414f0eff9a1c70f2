//! Signatures in minisign's format: made with a secret key on this machine, checked with a public one anywhere.
//!
//! The only place that names the crate. Invariant: what comes from the store is checked for its form before the crate reads it, and no
//! message holds a key or a password.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign::{SecretKey, SecretKeyBox, SignatureBox};

use crate::config::SigningKey;
use crate::error::{Error, ErrorKind, Result};

/// What a signature's first line says.
const COMMENT: &str = "signature of a digest by etl";

/// Bytes of a signature with its algorithm and the key's id.
const SIGNATURE_BYTES: usize = 74;
/// Bytes of the signature of that and the trusted comment.
const GLOBAL_BYTES: usize = 64;

/// Signs. Holds a secret, so it is never shown.
pub(crate) struct Signer {
    secret: SecretKey,
    public: PublicKey,
}

/// Checks signatures.
#[derive(Clone)]
pub(crate) struct PublicKey(minisign::PublicKey);

/// What is wrong with a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// It is of another key: its id.
    OtherKey(String),
    /// It is no signature of these bytes.
    Wrong,
}

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// `Config`: the file cannot be read, others can read it, or it is no secret key. `Credentials`: the password is wrong.
    pub(crate) fn read(key: &SigningKey) -> Result<Self> {
        let text = key.text()?;
        let file = key.file.display();
        let is_key =
            text.lines().nth(1).and_then(|line| STANDARD.decode(line.trim()).ok()).is_some_and(|b| b.len() == 158);
        if !is_key {
            return Err(Error::new(ErrorKind::Config, format!("{file} is not a secret key of minisign"))
                .hint("make one with `minisign -G -W -s FILE`, and name that file with load.sign_key"));
        }
        let locked = SecretKeyBox::from(text.as_str().to_owned());
        let opened = match &key.password {
            None => locked.into_unencrypted_secret_key().map_err(|_| {
                Error::new(ErrorKind::Config, format!("the secret key in {file} needs a password, or is damaged"))
                    .hint("name the variable that holds it, load.sign_password = \"env:NAME\", or use a key made with `minisign -G -W`")
            }),
            Some(password) => locked.into_secret_key(Some(password.expose().to_owned())).map_err(|_| {
                Error::new(ErrorKind::Credentials, format!("the password does not open the secret key in {file}"))
                    .hint("set the variable that load.sign_password names; for a key without a password leave it out")
            }),
        };
        let secret = opened?;
        let public = minisign::PublicKey::from_secret_key(&secret).map_err(|_| {
            Error::new(ErrorKind::Config, format!("the secret key in {file} is damaged"))
                .hint("put it back from a backup, or name another with load.sign_key")
        })?;
        Ok(Self { secret, public: PublicKey(public) })
    }

    /// The signature of `bytes`, with a comment that it covers too.
    pub(crate) fn sign(&self, bytes: &[u8], comment: &str) -> Result<Vec<u8>> {
        let signed =
            minisign::sign(Some(&self.public.0), &self.secret, Cursor::new(bytes), Some(comment), Some(COMMENT));
        let signed = signed.map_err(|e| Error::new(ErrorKind::Bug, "cannot sign a digest").caused_by(e.to_string()))?;
        Ok(signed.to_bytes())
    }

    /// What checks its signatures.
    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl PublicKey {
    /// The key in the text of a public key's file, or in its second line alone.
    ///
    /// # Errors
    /// `Usage`: it is none.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
        let key = line.and_then(|line| minisign::PublicKey::from_base64(line).ok());
        key.map(Self).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "not a public key of minisign")
                .hint("give the file that `minisign -G` wrote beside the secret key, or its second line")
        })
    }

    /// Its id, as minisign shows it.
    pub(crate) fn id(&self) -> String {
        id(self.0.keynum())
    }

    /// Its one line of base64.
    pub(crate) fn text(&self) -> String {
        self.0.to_base64()
    }

    /// Whether `signature` is one of `bytes` by this key.
    pub(crate) fn check(&self, bytes: &[u8], signature: &[u8]) -> Result<(), Unsigned> {
        let signature = parse_signature(signature).ok_or(Unsigned::Wrong)?;
        if signature.keynum() != self.0.keynum() {
            return Err(Unsigned::OtherKey(id(signature.keynum())));
        }
        minisign::verify(&self.0, &signature, Cursor::new(bytes), true, false, false).map_err(|_| Unsigned::Wrong)
    }
}

/// The signature in `text`, if it has the form of one.
fn parse_signature(text: &[u8]) -> Option<SignatureBox> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let mut bytes = |line: usize| STANDARD.decode(lines.nth(line)?.trim()).ok();
    let has_form = bytes(1)?.len() == SIGNATURE_BYTES && bytes(1)?.len() == GLOBAL_BYTES;
    has_form.then(|| SignatureBox::from_string(text).ok())?
}

/// The id of a key: eight bytes, the last first.
fn id(keynum: &[u8]) -> String {
    keynum.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::secret::Secret;

    fn key_file(text: &str) -> (tempfile::TempDir, SigningKey) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sign.key");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        (dir, SigningKey { file, password: None })
    }

    fn signer() -> Signer {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let (_dir, key) = key_file(&pair.sk.to_box(None).unwrap().to_string());
        Signer::read(&key).unwrap()
    }

    #[test]
    fn signature_is_of_these_bytes_and_of_this_key() {
        let (signer, other) = (signer(), signer());
        let signature = signer.sign(b"bytes", "a comment").unwrap();
        let public = PublicKey::parse(&signer.public().text()).unwrap();
        assert_eq!(public.check(b"bytes", &signature), Ok(()));
        assert_eq!(public.check(b"other", &signature), Err(Unsigned::Wrong));
        assert_eq!(other.public().check(b"bytes", &signature), Err(Unsigned::OtherKey(public.id())));
        let text = String::from_utf8(signature).unwrap();
        assert_eq!(public.check(b"bytes", text.replace("a comment", "another").as_bytes()), Err(Unsigned::Wrong));
    }

    #[test]
    fn what_is_no_signature_is_refused_without_a_panic() {
        let signer = signer();
        let text = String::from_utf8(signer.sign(b"bytes", "c").unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut odd: Vec<String> = (0..lines.len()).map(|most| lines[..most].join("\n")).collect();
        for line in 0..lines.len() {
            for short in ["", "AAAA", "trusted comment: ", "é"] {
                let mut lines = lines.clone();
                lines[line] = short;
                odd.push(lines.join("\n"));
            }
        }
        for odd in odd.iter().filter(|odd| !odd.contains("\n\n") || odd.starts_with('\n')) {
            assert_eq!(signer.public().check(b"bytes", odd.as_bytes()), Err(Unsigned::Wrong), "{odd}");
        }
        assert_eq!(signer.public().check(b"bytes", b"\xff\n\xff\n"), Err(Unsigned::Wrong));
    }

    #[test]
    fn key_that_cannot_be_used_says_why_and_never_what_it_is() {
        let refused = |text: &str, password: Option<&str>| {
            let (_dir, key) = key_file(text);
            let key = SigningKey { password: password.map(Secret::new), ..key };
            let error = Signer::read(&key).err().unwrap();
            assert!(!format!("{error:?}").contains("hunter2") && error.next_step().is_some(), "{error:?}");
            error.kind()
        };
        assert_eq!(refused("", None), ErrorKind::Config);
        assert_eq!(refused("untrusted comment: x\nhunter2\n", None), ErrorKind::Config);
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let plain = pair.sk.to_box(None).unwrap().to_string();
        assert_eq!(refused(&plain, Some("hunter2")), ErrorKind::Credentials);
        assert!(PublicKey::parse("untrusted comment: x").is_err());
    }
}
