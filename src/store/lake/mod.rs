//! The `file:` destination: a directory (the *lake*) that keeps what an object store keeps.
//!
//! Owns `<lake>/<key>` and `<lake>/.etl-tmp/`. Invariant: a file appears under its key whole and durable or not at all, and is never
//! replaced. It is written in `.etl-tmp/`, fsynced, then named without replacing (`renameat2` with `RENAME_NOREPLACE`, or a hard link
//! where the file system cannot do that), and its directories are fsynced.
//!
//! | crash after | in the lake | the next run |
//! |---|---|---|
//! | writing | a stray file in `.etl-tmp/` | writes it again; strays older than a day are removed |
//! | naming | the object, perhaps not yet durable | meets it, and fsyncs the directories before it says `Exists` |
//!
//! A day, because another process or machine may be writing there. The age is the difference to a file that was written just now, so
//! that both times are of the file system's own clock.
//!
//! A file has no user metadata. A look computes digests and rows from the content; `hour` and `dict` stay empty.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind as Io, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use self::folders::{remove_strays, sync_parent, walk};
use self::look::look_inside;
use super::{LARGEST, ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use crate::error::{Error, ErrorKind, Result};
use crate::output::draft::{Draft, Survives, sync_dir};

mod folders;
mod look;
#[cfg(test)]
mod tests;

const TMP: &str = ".etl-tmp";
const TMP_PREFIX: &str = "part-";

/// A directory as an object store. Nothing is created or read before the first call.
#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
    place: String,
    /// Directories whose own entry in their parent is durable.
    durable: Mutex<HashSet<PathBuf>>,
    swept: Once,
}

impl FileStore {
    /// The lake at `root`, which is created when the first object is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let place = root.display().to_string();
        Self { root, place, durable: Mutex::default(), swept: Once::new() }
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        let relative = Path::new(key);
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
        // Compared again as text: `a//b`, `a/./b` and `a/` are other keys, but would be the same file.
        let same = relative.components().collect::<PathBuf>().as_os_str() == key;
        if key.is_empty() || !plain || !same || relative.starts_with(TMP) {
            return Err(Error::new(ErrorKind::Bug, format!("{key:?} cannot be a file below {}", self.place)));
        }
        Ok(self.root.join(relative))
    }

    /// Makes sure that `dir` exists, and that its name and its parents' survive a power cut.
    fn ensure_dir(&self, dir: &Path) -> Result<()> {
        if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(dir) {
            return Ok(());
        }
        let existed = dir.is_dir();
        let parent = dir.parent().map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
        if let Some(parent) = parent {
            // Above the lake, only what is missing concerns us.
            if dir.starts_with(&self.root) && dir != self.root || !existed {
                self.ensure_dir(parent)?;
            }
            match fs::create_dir(dir) {
                Err(error) if error.kind() != Io::AlreadyExists => return Err(Error::disk("create", dir, error)),
                _ => sync_parent(parent, existed)?,
            }
        }
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
        Ok(())
    }

    /// A copy of `body` in `.etl-tmp/`. It is removed when dropped.
    fn copy(&self, body: &Path) -> Result<Draft> {
        let dir = self.root.join(TMP);
        self.ensure_dir(&dir)?;
        let mut source = File::open(body).map_err(|error| Error::disk("read", body, error))?;
        // Without the umask's bits: others may read the lake.
        let mut copy = Draft::hidden(&dir, TMP_PREFIX, 0o666)?;
        std::io::copy(&mut source, copy.file()).map_err(|error| Error::disk("write", copy.path(), error))?;
        self.swept.call_once(|| remove_strays(&dir, copy.path()));
        Ok(copy)
    }
}

impl ObjectStore for FileStore {
    fn place(&self) -> &str {
        &self.place
    }

    fn put_new(&self, key: &str, body: &Path, _: &PartMeta) -> Result<PutAnswer> {
        let path = self.path(key)?;
        let dir = path.parent().unwrap_or(&self.root);
        self.ensure_dir(dir)?;
        // Only spares the copy: what counts is whether naming it succeeds.
        let exists = fs::symlink_metadata(&path).is_ok() || !self.copy(body)?.publish_new(&path, Survives::Bytes)?;
        // Also where it exists: a crash may have come after it was named and before this.
        sync_dir(dir)?;
        Ok(if exists { PutAnswer::Exists } else { PutAnswer::Created { etag: None } })
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let path = self.path(key)?;
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => look_inside(&path).map(Some),
            Ok(found) => Ok(Some(ObjectInfo { size: found.len(), etag: None, meta: None })),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(Error::disk("look at", &path, error)),
        }
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let path = self.path(key)?;
        let mismatch = |what: &str| Error::new(ErrorKind::Mismatch, format!("{} {what}", path.display()));
        let failed = |error: std::io::Error| match error.kind() {
            Io::NotFound => mismatch("is not there"),
            _ => Error::disk("read", &path, error),
        };
        let mut file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > LARGEST {
            return Err(mismatch("is larger than any part"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let (folder, _) = prefix.rsplit_once('/').unwrap_or_default();
        let dir = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        walk(&dir, &below, prefix, each)
    }

    fn create_only_is_certain(&self) -> bool {
        true
    }

    fn keeps_metadata(&self) -> bool {
        false
    }
}
