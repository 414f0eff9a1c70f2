//! One file of the quarantine by its name: `<segment>.<tokens>.<due or ->`. The name tells how many tokens it holds and when the first
//! of them comes due, so that neither takes reading.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::identity;
use super::tokens::TokenWriter;
use crate::error::Result;
use crate::state::files::durable;

/// The file of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) tokens: u64,
    /// Seconds since 1970.
    pub(super) due: Option<i64>,
    /// Its size, which is not in the name.
    pub(super) bytes: u64,
}

impl Batch {
    pub(super) fn of(file: &TokenWriter) -> Self {
        Self { tokens: file.tokens, due: file.due.map(Timestamp::as_second), bytes: file.bytes() }
    }

    /// The segment and the batch that a file's name tells; its size is not known.
    pub(super) fn parse(name: &str) -> Option<(u64, Self)> {
        let mut fields = name.splitn(3, '.');
        let segment = fields.next()?.parse().ok()?;
        let tokens = fields.next()?.parse().ok()?;
        let due = match fields.next()? {
            "-" => None,
            due => Some(due.parse().ok()?),
        };
        Some((segment, Self { tokens, due, bytes: 0 }))
    }

    pub(super) fn has_name_of(&self, other: &Self) -> bool {
        (self.tokens, self.due) == (other.tokens, other.due)
    }

    pub(super) fn path(&self, dir: &Path, segment: u64) -> PathBuf {
        let due = self.due.map_or_else(|| "-".to_owned(), |due| due.to_string());
        dir.join(format!("{segment:016}.{}.{due}", self.tokens))
    }
}

/// Removes a file and its array.
pub(super) fn remove(path: &Path) -> Result<()> {
    durable::remove(path)?;
    durable::remove(&identity::array_path(path))
}
