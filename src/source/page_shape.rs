//! What the pages of a source look like: where their elements are, where the log is within one, and whether it is encrypted.
//!
//! Owns the mark of a page of lines. Such a page begins with the byte RS, which no JSON text begins with, so whoever reads it later knows
//! what it is by itself, whatever the configuration says by then; it is the sequence of JSON texts of RFC 7464, told apart by their line
//! ends. Invariant: the shape decides where records are found, never what a record is. Pure.

use crate::pointer::Pointer;

/// The byte that a page of lines begins with.
pub(crate) const LINES: u8 = 0x1e;

/// The content types of lines of JSON.
const LINES_TYPES: [&str; 8] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/json-lines",
    "application/json-seq",
];
/// The names of their files end like this, before what packs them.
const LINES_NAMES: [&str; 2] = [".ndjson", ".jsonl"];

/// The shape of a source's pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageShape {
    /// Where the array of elements is within the page.
    pub items: Pointer,
    /// Where the token is within an element; where nothing is encrypted, the record or its text.
    pub token: Pointer,
    /// Whether a token is encrypted.
    pub is_encrypted: bool,
}

/// The origin's: an array of objects, each with a token under `data`.
impl Default for PageShape {
    fn default() -> Self {
        Self { items: Pointer::default(), token: Pointer::parse("/data").unwrap_or_default(), is_encrypted: true }
    }
}

impl PageShape {
    /// Whether pages may be lines of JSON: there is nothing around their elements. Then two objects in a row can be nothing else.
    pub(crate) fn may_have_lines(&self) -> bool {
        self.items.is_whole()
    }
}

/// Whether a content type says that the body is lines of JSON.
pub(crate) fn type_says_lines(content_type: &str) -> bool {
    let name = content_type.split(';').next().unwrap_or_default().trim();
    LINES_TYPES.iter().any(|lines| name.eq_ignore_ascii_case(lines))
}

/// Whether a file's name says so.
pub(crate) fn name_says_lines(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let inner = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    LINES_NAMES.iter().any(|end| inner.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_type_and_name() {
        for kind in ["application/x-ndjson", "Application/JSONL; charset=utf-8", "application/json-seq"] {
            assert!(type_says_lines(kind), "{kind}");
        }
        for kind in ["", "application/json", "text/plain", "application/x-ndjson2"] {
            assert!(!type_says_lines(kind), "{kind}");
        }
        for name in ["a.ndjson", "A.JSONL.GZ", "dump.2023.jsonl.zst"] {
            assert!(name_says_lines(name), "{name}");
        }
        for name in ["a.json", "ndjson", "a.ndjson.bz2", "a.json.gz"] {
            assert!(!name_says_lines(name), "{name}");
        }
    }
}
