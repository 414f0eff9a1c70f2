//! Fernet keys, from the three places that may hold them: a variable, a file of keys, the configuration of a demo.
//!
//! Invariant: an error names the place and the position of a bad key, never the key.

use std::path::Path;

use super::environment::Variable;
use super::fernet_key::{bare, fernet_key_bytes};
use super::private;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// The keys of a variable: comma separated.
pub(super) fn of_variable(variable: &Variable, name: &str) -> Result<Vec<Secret>> {
    check(&variable.origin.to_string(), name, split(variable.value.expose(), ','))
}

/// The keys of a file: one a line.
pub(super) fn of_file(path: &Path) -> Result<Vec<Secret>> {
    let place = path.display().to_string();
    check(&place, &place, split(&read_private(path)?, '\n'))
}

/// The keys that stand in the configuration file; errors call them `place`.
pub(super) fn of_list(keys: &[Secret], place: &str) -> Result<Vec<Secret>> {
    let keys = (1..).zip(keys.iter().map(|key| Secret::new(bare(key.expose())))).collect();
    check(place, "source.keys", keys)
}

/// The entries of a list, numbered from 1, without empty ones and comments. Quotes around a key are removed: `docker --env-file`
/// keeps those of the file, and Python prints bytes with quotes.
fn split(text: &str, separator: char) -> Vec<(usize, Secret)> {
    let entries = (1..).zip(text.split(separator).map(bare));
    entries
        .filter(|(_, key)| !key.is_empty() && !key.starts_with('#'))
        .map(|(at, key)| (at, Secret::new(key)))
        .collect()
}

/// Every one of `keys` has to be a Fernet key, and there has to be one.
fn check(place: &str, to_correct: &str, keys: Vec<(usize, Secret)>) -> Result<Vec<Secret>> {
    let wrong = keys.iter().find(|(_, key)| fernet_key_bytes(key).is_none());
    let what = match wrong {
        Some((at, _)) => format!("{place}: entry {at} is not a Fernet key"),
        None if keys.is_empty() => format!("no decryption key in {place}"),
        None => return Ok(keys.into_iter().map(|(_, key)| key).collect()),
    };
    let hint = format!("correct {to_correct}: a Fernet key is 32 bytes as urlsafe base64, 44 characters");
    Err(Error::new(ErrorKind::Config, what).hint(hint))
}

/// The text of a file that only its owner may read.
pub(super) fn read_private(path: &Path) -> Result<String> {
    let unreadable = |cause| {
        Error::new(ErrorKind::Config, format!("cannot read the key file {}", path.display()))
            .caused_by(cause)
            .hint("put it there, readable by the user that runs etl alone (chmod 600)")
    };
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if let Some(open) = private::is_open(path, &meta) {
        let text = format!("the key file {} can be read by others (mode {:04o})", path.display(), open.mode);
        return Err(Error::new(ErrorKind::Config, text).hint(open.way_out));
    }
    std::fs::read_to_string(path).map_err(|cause| {
        let other_text = cause.kind() == std::io::ErrorKind::InvalidData;
        let error = unreadable(cause);
        if other_text { error.hint("save it as UTF-8 text: one key a line") } else { error }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

    fn variable(value: &str) -> Result<Vec<Secret>> {
        let origin = super::super::environment::Origin::Environment("FERNET_KEY".into());
        of_variable(&Variable { value: Secret::new(value), origin }, "FERNET_KEY")
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
        let keys = variable(&format!("{other} , {KEY},")).unwrap();
        assert_eq!(keys, [Secret::new(other), Secret::new(KEY)]);
    }

    #[test]
    fn malformed_key_is_named_by_place_and_position_only() {
        for bad in ["s3cret", &KEY[1..], &format!("{KEY}AAAA"), &KEY.replace('w', "!")] {
            let error = variable(&format!("{KEY},{bad}")).unwrap_err();
            assert_eq!(error.chain(), "FERNET_KEY in the environment: entry 2 is not a Fernet key");
            assert!(!format!("{error:?}").contains(bad));
        }
    }

    #[test]
    fn key_file_has_a_key_a_line() {
        let (_folder, path) = key_file(&format!("# newest\n{KEY}\n\n"), 0o600);
        assert_eq!(of_file(&path).unwrap(), [Secret::new(KEY)]);
        let (_folder, path) = key_file(&format!("{KEY}\nnot a key\n"), 0o400);
        assert!(of_file(&path).unwrap_err().chain().contains("entry 2 is not"));
        let (_folder, path) = key_file("\n", 0o600);
        assert!(of_file(&path).unwrap_err().chain().contains("no decryption key in"));
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
            assert_eq!(variable(&text).unwrap(), expected, "{text}");
            let (_folder, path) = key_file(&text.replace(',', "\r\n"), 0o600);
            assert_eq!(of_file(&path).unwrap(), expected, "{text}");
        }
        let inline = of_list(&[Secret::new(format!("b'{KEY}'"))], "etl.toml, line 2");
        assert_eq!(inline.unwrap(), [Secret::new(KEY)]);
        for bad in ["'", "\"\"", "b''", "b", &format!("b{KEY}"), &format!("x'{KEY}'")] {
            assert!(variable(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn key_file_in_utf_16_gets_a_hint() {
        let (_folder, path) = key_file("", 0o600);
        let text: Vec<u8> = [0xfeff].into_iter().chain(KEY.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, text).unwrap();
        let error = of_file(&path).unwrap_err();
        assert!(error.next_step().is_some_and(|hint| hint.contains("UTF-8")), "{error:?}");
    }

    #[test]
    fn key_file_that_others_may_read_is_refused() {
        for mode in [0o640, 0o604, 0o644] {
            let (_folder, path) = key_file(KEY, mode);
            let error = of_file(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(error.next_step(), Some(&*format!("chmod 600 {}", path.display())));
        }
    }

    #[test]
    fn missing_key_file_is_named() {
        let error = of_file(Path::new("/nonexistent/keys")).unwrap_err();
        assert!(error.chain().starts_with("cannot read the key file /nonexistent/keys"));
    }
}
