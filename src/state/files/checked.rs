//! Small files behind a checksum: one line with the BLAKE3 of all that follows, 64 hex digits. Invariant: changed bytes are
//! damage and never content.
//!
//! What to do about damage is the caller's: a file that can be made again counts as missing (`read`, `read_json`); any other is
//! an error (`verified`).

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::durable;
use crate::error::{Error, ErrorKind, Result};
use crate::output::draft::Survives;

/// Hex digits of the checksum.
pub(crate) const DIGITS: usize = 64;

/// `body` behind its checksum.
pub fn with_checksum(body: &[u8]) -> Vec<u8> {
    let mut text = blake3::hash(body).to_hex().as_bytes().to_vec();
    text.push(b'\n');
    text.extend_from_slice(body);
    text
}

/// The inverse of [`with_checksum`]; an error names `path`.
pub(crate) fn verified<'a>(path: &Path, text: &'a [u8]) -> Result<&'a [u8]> {
    verify(text).ok_or_else(|| mismatch(path))
}

fn verify(text: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = text.split_at_checked(DIGITS)?;
    let body = rest.strip_prefix(b"\n")?;
    (blake3::hash(body).to_hex().as_bytes() == sum).then_some(body)
}

/// The error for a file whose checksum does not match.
pub(crate) fn mismatch(path: &Path) -> Error {
    Error::new(ErrorKind::State, format!("{} is damaged: its checksum does not match", path.display()))
        .hint("restore it from a backup")
}

/// The body of a file that can be made again. `None`: missing or damaged.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    Ok(durable::read(path)?.and_then(|text| verify(&text).map(<[u8]>::to_vec)))
}

/// Replaces the file.
pub(crate) fn write(path: &Path, body: &[u8], survives: Survives) -> Result<()> {
    durable::write(path, &with_checksum(body), survives)
}

/// The value in a JSON file that can be made again. `None`: missing, damaged, or of another form.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    Ok(read(path)?.and_then(|body| serde_json::from_slice(&body).ok()))
}

/// Replaces a JSON file.
pub(crate) fn write_json(path: &Path, value: &impl Serialize, survives: Survives) -> Result<()> {
    let body = serde_json::to_vec(value).map_err(|e| {
        Error::new(ErrorKind::Bug, format!("cannot encode what goes into {}", path.display())).caused_by(e)
    })?;
    write(path, &body, survives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_text_is_damage_and_not_content() {
        let path = Path::new("head");
        let mut text = with_checksum(b"{}");
        assert_eq!(verified(path, &text).unwrap(), b"{}");
        *text.last_mut().unwrap() ^= 1;
        assert_eq!(verified(path, &text).unwrap_err().kind(), ErrorKind::State);
        assert!(verified(path, b"").is_err());
    }

    #[test]
    fn file_that_can_be_made_again_is_missing_when_damaged_or_of_another_form() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("view");
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), None);
        write_json(&path, &[1, 2], Survives::Nothing).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
        assert_eq!(read_json::<String>(&path).unwrap(), None);
        std::fs::write(&path, "garbage").unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }
}
