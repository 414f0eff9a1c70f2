//! Why a text is not a record: what quarantine stores and what the operator reads.
//!
//! Invariant: a reason contains no part of the record. It is a fixed phrase and a byte offset, small enough to be the error of every
//! step of a parser; [`super::explain()`] adds the word that it is about.

use std::fmt;

/// The kinds of reasons; their codes are stored in quarantine and so never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReasonKind {
    NotUtf8,
    NotARecord,
    Unrepresentable,
    TooDeep,
    TooLarge,
    NoInDate,
    BadInDate,
    NoTime,
    BadTime,
    BadRow,
}

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    kind: ReasonKind,
    what: &'static str,
    at: Option<usize>,
}

impl Reason {
    pub(crate) const fn new(kind: ReasonKind, what: &'static str) -> Self {
        Self { kind, what, at: None }
    }

    /// More values than a record may have.
    pub(crate) const fn too_many_values() -> Self {
        Self::new(ReasonKind::TooLarge, "more values than a record may have")
    }

    /// Adds the place: bytes from the start of the text.
    pub(crate) const fn at(mut self, offset: usize) -> Self {
        self.at = Some(offset);
        self
    }

    /// The stable machine code: `not-utf8`, `not-a-record` (neither a Python literal nor JSON, or no dict),
    /// `unrepresentable` (a value or key that a row cannot hold), `too-deep`, `too-large`, `no-indate`, `bad-indate`, where
    /// the time stands elsewhere `no-time`, `bad-time`, or `bad-row` (a compacted row that this program did not write).
    #[must_use]
    pub(crate) const fn kind(&self) -> &'static str {
        match self.kind {
            ReasonKind::NotUtf8 => "not-utf8",
            ReasonKind::NotARecord => "not-a-record",
            ReasonKind::Unrepresentable => "unrepresentable",
            ReasonKind::TooDeep => "too-deep",
            ReasonKind::TooLarge => "too-large",
            ReasonKind::NoInDate => "no-indate",
            ReasonKind::BadInDate => "bad-indate",
            ReasonKind::NoTime => "no-time",
            ReasonKind::BadTime => "bad-time",
            ReasonKind::BadRow => "bad-row",
        }
    }

    /// The kind itself.
    pub(super) const fn code(&self) -> ReasonKind {
        self.kind
    }

    /// The place in the text, in bytes.
    pub(super) const fn offset(&self) -> Option<usize> {
        self.at
    }

    /// The machine code and the fixed phrase.
    pub(super) fn phrase(&self) -> String {
        format!("{}: {}", self.kind(), self.what)
    }

    /// Of the reasons why a text is neither a Python literal nor JSON, the more useful one: a value that cannot be kept rather than a
    /// mistake in the grammar, else that of the parser that got further.
    pub(super) fn more_telling(python: Self, json: Self) -> Self {
        let rank = |reason: &Self| (reason.kind != ReasonKind::NotARecord, reason.at);
        if rank(&json) > rank(&python) { json } else { python }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind(), self.what)?;
        match self.at {
            Some(offset) => write!(f, " at byte {offset}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Reason {}
