//! Paths and `file:` locations as the configuration spells them.
//!
//! Invariant: one place has one spelling; of a folder that a pattern is relative to, every character is meant literally.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// The path `text` as seen from `base`, without "." in it. `~` is refused: nothing here expands it.
pub(super) fn absolute(text: &str, base: &Path) -> Result<PathBuf> {
    if text == "~" || text.starts_with("~/") {
        return Err(wrong("\"~\" is not expanded; write the folder out"));
    }
    if text.contains('\0') {
        return Err(wrong("a path cannot contain a NUL"));
    }
    Ok(base.join(text).components().collect())
}

/// The same for a setting that may be empty.
pub(super) fn optional(text: &str, base: &Path) -> Result<Option<PathBuf>> {
    let text = text.trim();
    if text.is_empty() { Ok(None) } else { absolute(text, base).map(Some) }
}

/// The glob pattern `text` as seen from `base`.
pub(super) fn absolute_pattern(text: &str, base: &Path) -> Result<String> {
    let base = base.to_str().ok_or_else(|| wrong("the folder it is relative to is not UTF-8"))?;
    let path = absolute(text, Path::new(&glob::Pattern::escape(base)))?;
    let pattern = path.to_string_lossy().into_owned();
    glob::Pattern::new(&pattern).map_err(|cause| wrong(format!("not a glob pattern: {cause}")))?;
    Ok(pattern)
}

/// The path of a `file:` location, given what follows the colon: the path itself, or `//` and a full path, as in a URL
/// without a host.
pub(super) fn after_file(location: &str) -> Result<&str> {
    match location.strip_prefix("//") {
        Some(path) if path.starts_with('/') => Ok(path),
        Some(_) => Err(wrong("\"file://\" needs a full path; write \"file:folder\" or \"file:///full/path\"")),
        None if location.is_empty() => Err(wrong("\"file:\" names no path")),
        None => Ok(location),
    }
}

/// Why a value is refused; the caller says where it stands.
pub(super) fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_relative_to_its_base_and_has_one_spelling() {
        for (given, expected) in [
            ("lake", "/base/lake"),
            ("./lake/", "/base/lake"),
            ("/abs/./lake", "/abs/lake"),
            ("a/../b", "/base/a/../b"),
        ] {
            assert_eq!(absolute(given, Path::new("/base")).unwrap(), PathBuf::from(expected));
        }
        assert!(absolute("~/lake", Path::new("/base")).unwrap_err().chain().contains("not expanded"));
    }
}
