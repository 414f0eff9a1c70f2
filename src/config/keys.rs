//! Where the Fernet keys come from: an environment variable, a file, or the configuration of a demo.
//!
//! Invariant: which place it is, is settled when the configuration is loaded; the keys are read and checked only when
//! asked for, so that commands without need of them work without them. An error names the place and the position of a
//! bad key, never the key.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::environment::Variable;
use super::lookup::{Found, Lookup};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// The place of the keys.
#[derive(Debug, Clone)]
pub(super) enum KeySource {
    /// A variable of the environment: one or more keys, comma separated.
    Variable {
        /// Its name.
        name: String,
        /// What it held.
        found: Option<Variable>,
    },
    /// A file with one key a line.
    File(PathBuf),
    /// The configuration file itself.
    Inline {
        /// The keys as given.
        keys: Vec<Secret>,
        /// What errors call the place.
        place: String,
    },
}

impl KeySource {
    /// Finds the place of the keys. At most one of `keys_env`, `keys_file` and `keys` may be given.
    ///
    /// # Errors
    /// `Config` for more than one place, and for what cannot be a place.
    pub fn load(lookup: &Lookup<'_>) -> Result<Self> {
        let given: Vec<Found> =
            ["keys_env", "keys_file", "keys"].iter().filter_map(|key| lookup.in_file("source", key)).collect();
        if let [_, second, ..] = given.as_slice() {
            return Err(second
                .error("there is another place of the keys already")
                .hint("keep one of source.keys_env, source.keys_file and source.keys"));
        }
        if let Some(inline) = lookup.in_file("source", "keys") {
            let keys = inline.texts()?.into_iter().map(Secret::new).collect();
            return Ok(Self::Inline { keys, place: format!("{}: source.keys", inline.origin) });
        }
        if let Some(file) = lookup.in_file("source", "keys_file") {
            return file.path()?.map(Self::File).ok_or_else(|| file.error("names no file"));
        }
        let setting = lookup.get("source", "keys_env")?;
        let name = variable_name(&setting, setting.text()?)?;
        Ok(Self::Variable { found: lookup.environment.get(name)?, name: name.to_owned() })
    }

    /// The keys, newest first, each checked to be one; at least one.
    ///
    /// # Errors
    /// `Config`: none there, a malformed one, a file that is missing or that others may read.
    pub fn keys(&self) -> Result<Vec<Secret>> {
        let (place, hint, keys) = match self {
            Self::Variable { name, found: None } => {
                return Err(Error::new(ErrorKind::Config, format!("no decryption key: {name} is not set"))
                    .hint(format!("set {name} in the environment or in .env, or name a file with source.keys_file")));
            }
            Self::Variable { name, found: Some(variable) } => {
                (variable.origin.to_string(), format!("correct {name}"), split(variable.value.expose(), ','))
            }
            Self::File(path) => {
                let place = path.display().to_string();
                (place.clone(), format!("correct {place}"), split(&read_private(path)?, '\n'))
            }
            Self::Inline { keys, place } => {
                let keys = (1..).zip(keys.iter().map(|key| Secret::new(bare(key.expose())))).collect();
                (place.clone(), "correct source.keys".to_owned(), keys)
            }
        };
        check(&place, keys)
            .map_err(|error| error.hint(format!("{hint}: a Fernet key is 32 bytes as urlsafe base64, 44 characters")))
    }
}

/// The entries of a list, numbered from 1, without the empty ones and without comments. Quotes that a shell or an editor
/// would have taken away (`docker --env-file` does not), and those of Python's bytes, are none of a key's.
fn split(text: &str, separator: char) -> Vec<(usize, Secret)> {
    let entries = (1..).zip(text.split(separator).map(bare));
    entries
        .filter(|(_, key)| !key.is_empty() && !key.starts_with('#'))
        .map(|(at, key)| (at, Secret::new(key)))
        .collect()
}

/// Every one of `keys` has to be a Fernet key.
fn check(place: &str, keys: Vec<(usize, Secret)>) -> Result<Vec<Secret>> {
    if keys.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("no decryption key in {place}")));
    }
    if let Some((at, _)) = keys.iter().find(|(_, key)| fernet_key_bytes(key).is_none()) {
        return Err(Error::new(ErrorKind::Config, format!("{place}: entry {at} is not a Fernet key")));
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

/// The 32 bytes of a Fernet key in either base64 alphabet, padded or not, as Python takes them.
pub(crate) fn fernet_key_bytes(key: &Secret) -> Option<[u8; 32]> {
    let text = key.expose().trim_end_matches('=').replace('+', "-").replace('/', "_");
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// A key or a token without what is none of it: white space, a byte-order mark, and the quotes of `'…'`, `"…"`, `b'…'` or
/// `b"…"`. Base64 has neither, so that there is nothing to guess.
pub(crate) fn bare(text: &str) -> &str {
    let quote = |c: char| matches!(c, '\'' | '"');
    let around = |c: char| c.is_whitespace() || c == '\u{feff}' || quote(c);
    let inner = text.trim_matches(around);
    match inner.strip_prefix(['b', 'B']) {
        Some(behind) if behind.starts_with(quote) => behind.trim_start_matches(around),
        _ => inner,
    }
}

/// `name` if it can be a variable's name. Not repeated in the error: people put the key itself there.
pub(super) fn variable_name<'a>(setting: &Found, name: &'a str) -> Result<&'a str> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
    if is_name && fernet_key_bytes(&Secret::new(name)).is_none() {
        return Ok(name);
    }
    Err(setting
        .error("not the name of an environment variable")
        .hint("put the secret into a variable and its name here"))
}

/// The text of a file that only its owner may read.
fn read_private(path: &Path) -> Result<String> {
    let unreadable =
        |cause| Error::new(ErrorKind::Config, format!("cannot read the key file {}", path.display())).caused_by(cause);
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o044 != 0 {
        let text = format!("the key file {} can be read by others (mode {:04o})", path.display(), mode & 0o7777);
        return Err(Error::new(ErrorKind::Config, text).hint(format!("chmod 600 {}", path.display())));
    }
    std::fs::read_to_string(path).map_err(|cause| {
        let other_text = cause.kind() == std::io::ErrorKind::InvalidData;
        let error = unreadable(cause);
        if other_text { error.hint("save it as UTF-8 text: one key a line") } else { error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

    fn variable(value: &str) -> KeySource {
        let origin = super::super::lookup::Origin::Environment("FERNET_KEY".into());
        let found = Some(Variable { value: Secret::new(value), origin });
        KeySource::Variable { name: "FERNET_KEY".into(), found }
    }

    fn key_file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn keys_come_in_their_order() {
        let other = KEY.replace("cw_", "dw_");
        let keys = variable(&format!("{other} , {KEY},")).keys().unwrap();
        assert_eq!(keys, [Secret::new(other), Secret::new(KEY)]);
    }

    #[test]
    fn missing_key_names_the_variable() {
        let missing = KeySource::Variable { name: "MY_KEYS".into(), found: None };
        let error = missing.keys().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.chain(), "no decryption key: MY_KEYS is not set");
    }

    #[test]
    fn malformed_key_is_named_by_place_and_position_only() {
        for bad in ["s3cret", &KEY[1..], &format!("{KEY}AAAA"), &KEY.replace('w', "!")] {
            let error = variable(&format!("{KEY},{bad}")).keys().unwrap_err();
            assert_eq!(error.chain(), "FERNET_KEY in the environment: entry 2 is not a Fernet key");
            assert!(!format!("{error:?}").contains(bad));
        }
    }

    #[test]
    fn key_of_the_standard_alphabet_or_without_padding_is_one() {
        let standard = KEY.replace('-', "+").replace('_', "/");
        let bytes = fernet_key_bytes(&Secret::new(KEY)).unwrap();
        assert_eq!(fernet_key_bytes(&Secret::new(standard)), Some(bytes));
        assert_eq!(fernet_key_bytes(&Secret::new(KEY.trim_end_matches('='))), Some(bytes));
    }

    #[test]
    fn key_file_has_a_key_a_line() {
        let (_folder, path) = key_file(&format!("# newest\n{KEY}\n\n"), 0o600);
        assert_eq!(KeySource::File(path).keys().unwrap(), [Secret::new(KEY)]);
        let (_folder, path) = key_file(&format!("{KEY}\nnot a key\n"), 0o400);
        assert!(KeySource::File(path).keys().unwrap_err().chain().contains("entry 2 is not"));
        let (_folder, path) = key_file("\n", 0o600);
        assert!(KeySource::File(path).keys().unwrap_err().chain().contains("no decryption key in"));
    }

    #[test]
    fn what_stands_around_a_key_is_none_of_it() {
        let other = KEY.replace("cw_", "dw_");
        let expected = [Secret::new(other.as_str()), Secret::new(KEY)];
        for text in [
            format!("\u{feff}{other},{KEY}"),
            format!("\"{other},{KEY}\""),
            format!("'{other}', '{KEY}'\r\n"),
            format!("b'{other}',b\"{KEY}\"\n"),
            format!("\u{feff} \"b'{other}'\" ,\t'{KEY}'"),
        ] {
            assert_eq!(variable(&text).keys().unwrap(), expected, "{text}");
            let (_folder, path) = key_file(&text.replace(',', "\r\n"), 0o600);
            assert_eq!(KeySource::File(path).keys().unwrap(), expected, "{text}");
        }
        let inline =
            KeySource::Inline { keys: vec![Secret::new(format!("b'{KEY}'"))], place: "etl.toml, line 2".into() };
        assert_eq!(inline.keys().unwrap(), [Secret::new(KEY)]);
        for bad in ["'", "\"\"", "b''", "b", &format!("b{KEY}"), &format!("x'{KEY}'")] {
            assert!(variable(bad).keys().is_err(), "{bad}");
        }
    }

    #[test]
    fn key_file_in_utf_16_gets_a_hint() {
        let (_folder, path) = key_file("", 0o600);
        let text: Vec<u8> = [0xfeff].into_iter().chain(KEY.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, text).unwrap();
        let error = KeySource::File(path).keys().unwrap_err();
        assert!(error.next_step().is_some_and(|hint| hint.contains("UTF-8")), "{error:?}");
    }

    #[test]
    fn key_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o644] {
            let (_folder, path) = key_file(KEY, mode);
            let error = KeySource::File(path.clone()).keys().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(error.next_step(), Some(&*format!("chmod 600 {}", path.display())));
        }
    }

    #[test]
    fn missing_key_file_is_named() {
        let error = KeySource::File("/nonexistent/keys".into()).keys().unwrap_err();
        assert!(error.chain().starts_with("cannot read the key file /nonexistent/keys"));
    }
}
