//! Paths and `file:` locations as the configuration spells them.
//!
//! Invariant: one place has one spelling; of a folder that a pattern is relative to, every character is meant literally.

use std::path::{Path, PathBuf};

/// `text` if it can be a path. `~` is refused: nothing here expands it.
pub(super) fn check(text: &str) -> Result<&Path, &'static str> {
    if text == "~" || text.starts_with("~/") {
        return Err("\"~\" is not expanded; write the folder out");
    }
    if text.contains('\0') { Err("a path cannot contain a NUL") } else { Ok(Path::new(text)) }
}

/// `path` as seen from `base`, without "." in it.
pub(super) fn absolute(path: &Path, base: &Path) -> PathBuf {
    base.join(path).components().collect()
}

/// `pattern` as seen from `base`; `None` where `base` is not UTF-8.
pub(super) fn absolute_pattern(pattern: &str, base: &Path) -> Option<String> {
    let base = glob::Pattern::escape(base.to_str()?);
    absolute(Path::new(pattern), Path::new(&base)).to_str().map(str::to_owned)
}

/// The path of a `file:` location, given what follows the colon: the path itself, or `//` and a full path, as in a URL
/// without a host.
pub(super) fn after_file(location: &str) -> Result<&Path, &'static str> {
    match location.strip_prefix("//") {
        Some(path) if path.starts_with('/') => check(path),
        Some(_) => Err("\"file://\" needs a full path; write \"file:folder\" or \"file:///full/path\""),
        None if location.is_empty() => Err("\"file:\" names no path"),
        None => check(location),
    }
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
            assert_eq!(absolute(check(given).unwrap(), Path::new("/base")), PathBuf::from(expected));
        }
        assert!(check("~/lake").unwrap_err().contains("not expanded"));
    }
}
