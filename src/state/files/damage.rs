//! Damage that the next open of the state directory repairs by itself.
//!
//! The cause of an error, so that a run can tell it from a disk in trouble, and begin anew.

use std::path::PathBuf;

use super::durable;
use crate::error::{Error, Result};

/// The cause of an error about something that can be made again.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Damage {
    what: String,
    /// What has to go before the next open.
    condemned: Option<PathBuf>,
}

impl Damage {
    /// Damage that the next open finds by itself.
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), condemned: None }
    }

    /// Damage to a file that is worth nothing any more: without it, the next open makes it again.
    pub fn to_file(path: PathBuf, what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string(), condemned: Some(path) }
    }
}

/// Whether an error is about something that the next open repairs.
#[must_use]
pub fn is_damage(error: &Error) -> bool {
    of(error).is_some()
}

/// Removes what has to go before the next open. The caller holds the lock.
///
/// # Errors
/// `State`, naming the path.
pub fn clear(error: &Error) -> Result<()> {
    of(error).and_then(|damage| damage.condemned.as_deref()).map_or(Ok(()), durable::remove)
}

fn of(error: &Error) -> Option<&Damage> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref())
}
