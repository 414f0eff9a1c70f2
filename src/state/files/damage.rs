//! Damage that the next open of the state directory repairs by itself.
//!
//! It is the cause of an error, so that a run can tell it from a failing disk, and start again. Keeps nothing.

use std::path::PathBuf;

use super::durable;
use crate::error::{Error, Result};

/// The cause of an error about a file that can be made again.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Damage {
    what: String,
    /// A file to remove before the next open.
    worthless: Option<PathBuf>,
}

impl Damage {
    /// Damage that the next open finds by itself.
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), worthless: None }
    }

    /// Damage to a file that the next open makes again once it is removed.
    pub(crate) fn to_file(path: PathBuf, what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), worthless: Some(path) }
    }
}

/// Whether the next open repairs what the error is about.
pub(crate) fn is_damage(error: &Error) -> bool {
    of(error).is_some()
}

/// Removes the file that is in the way of the next open. The caller holds the lock.
pub(crate) fn clear(error: &Error) -> Result<()> {
    of(error).and_then(|damage| damage.worthless.as_deref()).map_or(Ok(()), durable::remove)
}

fn of(error: &Error) -> Option<&Damage> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref())
}
