//! Damage that the next open of the state directory repairs by itself, and the setting aside of what is damaged.
//!
//! Damage is the cause of an error, so that a run can tell it from a failing disk, and start again. Keeps nothing.

use std::path::{Path, PathBuf};

use super::durable;
use super::step::{Step, durable_step};
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

/// Renames a damaged file or directory to a free name that ends in `ending`, as the durable step `step`. Returns the name.
pub(crate) fn set_aside(step: Step, path: &Path, ending: &str) -> Result<PathBuf> {
    let wanted = path.with_added_extension(ending);
    let mut names =
        std::iter::once(wanted.clone()).chain((1..).map(|n: u32| wanted.with_added_extension(n.to_string())));
    let aside = names.find(|name| !name.exists()).unwrap_or(wanted);
    durable_step(step, || durable::rename(path, &aside)).map(|()| aside)
}

fn of(error: &Error) -> Option<&Damage> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref())
}
