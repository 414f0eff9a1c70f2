//! Pages from files: every file that a glob names, plain, `.gz` or `.zst`.
//!
//! Owns which files are pages of a `file:` source; [`pages`] reads them. Invariant: files are only read. One that cannot be read, or is
//! not a page, affects no other: its error is of kind `Unavailable`, so that it is never mistaken for a failure of the caller's sink, which
//! is returned as is.

mod pages;

use std::io;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

pub(crate) use self::pages::PageFile;
use crate::error::{Error, ErrorKind, Result};

/// What a glob found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The files, sorted by name. There may be none.
    pub(crate) files: Vec<PathBuf>,
    /// Folders that cannot be read, of kind [`ErrorKind::Unavailable`]: there may be more files.
    pub(crate) unreadable: Vec<Error>,
}

/// The files that match `pattern` (without `file:`). As in a shell, `*` matches neither `/` nor a leading dot, so temporary files of a
/// copy under way are left alone. Folders, pipes and devices are skipped.
///
/// # Errors
/// [`ErrorKind::Config`] for a malformed pattern.
pub(crate) fn list(pattern: &str) -> Result<Listing> {
    let options =
        MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let matches = glob::glob_with(pattern, options).map_err(|cause| {
        Error::new(ErrorKind::Config, format!("source.url is no pattern of files: file:{pattern}"))
            .hint("write it as in file:pages/*.json")
            .caused_by(cause)
    })?;
    let mut listing = Listing::default();
    for found in matches {
        match found {
            // A dangling link is kept: reading it reports it.
            Ok(path) if path.metadata().map_or(true, |about| about.is_file()) => listing.files.push(path),
            Ok(_) => {}
            Err(cause) => {
                let folder = cause.path().to_path_buf();
                listing.unreadable.push(unreadable(&folder, cause.into()));
            }
        }
    }
    listing.files.sort();
    Ok(listing)
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot read {}", path.display()))
        .hint("make it readable for this user, or take it out of source.url's pattern")
        .caused_by(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(dir: &tempfile::TempDir, tail: &str) -> String {
        dir.path().join(tail).to_str().unwrap().to_owned()
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn a_glob_lists_its_files_by_name_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", "c.json.gz", ".a.json.Xy12", "notes.txt"] {
            std::fs::write(dir.path().join(name), "[]").unwrap();
        }
        std::fs::create_dir(dir.path().join("d.json")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("e.json")).unwrap();
        let listing = list(&pattern(&dir, "*.json*")).unwrap();
        assert_eq!(names(&listing), ["a.json", "b.json", "c.json.gz", "e.json"]);
        assert!(listing.unreadable.is_empty());
    }

    #[test]
    fn empty_glob_is_no_pages_and_a_bad_one_is_a_config_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(list(&pattern(&dir, "*.json")).unwrap().files.is_empty());
        assert_eq!(list("pages/***").unwrap_err().kind(), ErrorKind::Config);
    }
}
