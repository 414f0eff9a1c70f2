//! Pages from files: every file that a glob names, plain or `.gz`.
//!
//! Owns which files are pages of a `file:` source. Invariant: files are only read. One that cannot be read, or is not a page, affects no
//! other: its error is of kind `Unavailable`, so that it is never mistaken for a failure of the caller's sink, which is returned as is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use glob::MatchOptions;

use super::body::{BodyCheck, Coding, Refusal};
use super::{Fetched, FileSink, PageHead};
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

/// Reads the file at `path` into `sink`, uncompressed if its name ends in `.gz`. Always a [`Fetched::Page`].
///
/// # Errors
/// [`ErrorKind::Unavailable`]: it cannot be read, is no complete array, or is larger than `max_page_bytes` before or after it
/// is uncompressed. An error of the sink is returned as it is.
pub fn read<S: FileSink>(path: &Path, max_page_bytes: u64, sink: S) -> Result<Fetched<S>> {
    let gzip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let coding = if gzip { Coding::Gzip } else { Coding::Plain };
    let mut body = BodyCheck::new(coding, max_page_bytes, sink);
    let refused = |refusal| no_page(path, max_page_bytes, refusal);
    let mut file = File::open(path).map_err(|cause| unreadable(path, cause))?;
    body.read(&mut file).map_err(refused)?.map_err(|cause| unreadable(path, cause))?;
    let (sink, bytes) = body.finish().map_err(refused)?;
    let head = PageHead { bytes, ..PageHead::default() };
    Ok(Fetched::Page { sink, head })
}

fn unreadable(path: &Path, cause: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot read {}", path.display()))
        .hint("make it readable for this user, or take it out of source.url's pattern")
        .caused_by(cause)
}

fn no_page(path: &Path, max_page_bytes: u64, refusal: Refusal) -> Error {
    let path = path.display();
    let (message, hint) = match refusal {
        Refusal::Sink(error) => return error,
        Refusal::TooLarge(what) => (
            format!("the {what} in {path} is larger than source.max_page_bytes ({max_page_bytes} bytes)"),
            "raise source.max_page_bytes, or split the file",
        ),
        Refusal::NoPage(what) => (
            format!("{path} is not a page: {what}"),
            "replace it by a complete one, or take it out of source.url's pattern",
        ),
    };
    Error::new(ErrorKind::Unavailable, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::body::tests::gzip;

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

    #[test]
    fn plain_and_gzipped_files_are_the_same_page() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("[{}]\n", vec!["{\"data\":\"gAAA\"}"; 20_000].join(","));
        let (plain, packed) = (dir.path().join("a.json"), dir.path().join("a.json.GZ"));
        std::fs::write(&plain, &text).unwrap();
        std::fs::write(&packed, gzip(text.as_bytes())).unwrap();
        for path in [plain, packed] {
            let Fetched::Page { sink, head } = read(&path, 1 << 20, Vec::new()).unwrap() else { panic!("no page") };
            assert_eq!(sink, text.as_bytes());
            assert_eq!(head.bytes, text.len() as u64);
        }
    }

    #[test]
    fn what_is_no_page_is_named_and_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let bomb = gzip(format!("[{}]", " ".repeat(1 << 20)).as_bytes());
        let files: [(&str, &[u8], &str); 5] = [
            ("html.json", b"<html>", "HTML"),
            ("cut.json", b"[{\"data\":\"x", "cut short"),
            ("empty.json", b"", "empty"),
            ("bomb.json.gz", &bomb, "source.max_page_bytes"),
            ("plain.json.gz", b"[]", "gzip"),
        ];
        for (name, bytes, what) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let refused = read(&path, 1 << 16, Vec::new()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable);
            assert!(refused.to_string().contains(name) && refused.to_string().contains(what), "{refused}");
        }
        let gone = read(&dir.path().join("gone.json"), 1 << 16, Vec::new()).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::Unavailable);
        assert!(gone.to_string().contains("gone.json") && gone.next_step().is_some());
    }
}
