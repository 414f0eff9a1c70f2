//! Folders of the lake: listed, flushed, and cleared of what dead runs left.
//!
//! A listing reads only. Removing a stray is best effort: one that stays costs space, nothing else.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::Path;
use std::time::Duration;

use super::{TMP, TMP_PREFIX};
use crate::error::{Error, Result};
use crate::output::draft::sync_dir;

/// A younger stray may belong to another process or machine.
pub(super) const STRAY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Every file below `dir` whose key starts with `prefix`, in the byte order of the keys. In memory are the names of one folder
/// a level. Links are listed, not followed.
pub(super) fn walk(dir: &Path, below: &str, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
    let unreadable = |error| Error::disk("list", dir, error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == Io::NotFound => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let is_dir = entry.file_type().map_err(unreadable)?.is_dir();
        let key = format!("{below}{}{}", entry.file_name().to_string_lossy(), if is_dir { "/" } else { "" });
        let wanted = key.starts_with(prefix) || (is_dir && prefix.starts_with(&key));
        if wanted && !key.starts_with(TMP) {
            names.push((key, entry.file_name()));
        }
    }
    names.sort_unstable();
    for (key, name) in names {
        let path = dir.join(name);
        if key.ends_with('/') {
            walk(&path, &key, prefix, each)?;
        } else {
            let size = fs::symlink_metadata(&path).map_err(|error| Error::disk("look at", &path, error))?.len();
            each(&key, size)?;
        }
    }
    Ok(())
}

/// Flushes the folder that holds one just made, or met.
pub(super) fn sync_parent(parent: &Path, child_existed: bool) -> Result<()> {
    match sync_dir(parent) {
        // Others made this folder and put the lake in it; we may not read it.
        Err(error) if child_existed && is_forbidden(&error) => Ok(()),
        done => done,
    }
}

fn is_forbidden(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == Io::PermissionDenied)
}

/// Removes what dead runs left in `dir`.
pub(super) fn remove_strays(dir: &Path, just_written: &Path) {
    let modified = |path: &Path| fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let Ok(now) = modified(just_written) else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(TMP_PREFIX);
        let old = modified(&entry.path()).is_ok_and(|then| now.duration_since(then).is_ok_and(|age| age > STRAY_AFTER));
        if ours && old {
            // Another run may have removed it already.
            let _ = fs::remove_file(entry.path());
        }
    }
}
