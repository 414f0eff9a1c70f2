//! Write, then rename: the one place where a file that was written gets the name under which it is looked for.
//!
//! A file is written as a draft under another name, and renamed when it is whole. Whoever writes one says who may read it and
//! how the draft is named ([`Draft::private`], [`Draft::hidden`]), what it may replace ([`Replaces`]) and what survives a power
//! cut ([`Survives`]). Invariant: a file under its final name is whole. A crash leaves the draft under its other name.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::ErrorKind::AlreadyExists;
use std::io::Seek;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use tempfile::{NamedTempFile, TempPath};

use crate::error::{Error, ErrorKind, Result};

/// The last extension of private drafts.
pub(crate) const EXTENSION: &str = "tmp";

/// What kind of file a draft may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaces {
    /// Any: the folder is ours alone.
    AnyFile,
    /// A regular file; not a link, a pipe or a device.
    RegularFile,
}

/// What survives a power cut once a draft has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    /// The bytes and the name.
    Everything,
    /// The bytes, and the name after a [`sync_dir`]: one for many files.
    Bytes,
    /// Nothing for certain: for what is checked when it is read, and can be made again.
    Nothing,
}

/// A file that is being written. Dropping it without [`Draft::publish`] removes it.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    /// It may hold old bytes behind the new ones.
    is_reused: bool,
}

impl Draft {
    /// Starts a file for its owner alone (0600), to be named `target`. A draft that a crash left there is overwritten; a symbolic
    /// link is not followed.
    pub(crate) fn private(target: &Path) -> Result<Self> {
        Self::open(private_name(target), false)
    }

    /// The same, where the bytes of `old` are on the disk, which nobody needs any more: the blocks need not be allocated again.
    pub(crate) fn reusing(old: &Path, target: &Path) -> Result<Self> {
        let path = private_name(target);
        fs::rename(old, &path).map_err(|e| Error::disk("rename to", &path, e))?;
        Self::open(path, true)
    }

    fn open(path: PathBuf, is_reused: bool) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(!is_reused)
            .truncate(!is_reused)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|e| Error::disk("create", &path, e))?;
        let name = TempPath::try_from_path(&path).map_err(|e| Error::disk("create", &path, e))?;
        Ok(Self { file: NamedTempFile::from_parts(file, name), is_reused })
    }

    /// Starts a new file in a folder where others may write too: nobody can guess its name. `mode`: less the umask.
    pub(crate) fn hidden(folder: &Path, prefix: &str, mode: u32) -> Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(folder)
            .map_err(|e| Error::disk("write into", folder, e))?;
        Ok(Self { file, is_reused: false })
    }

    /// The file under its draft name.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// The open file.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives the file the name `target`, and replaces the file that has it.
    ///
    /// # Errors
    /// `State`, naming the path; then there is the old file, or already the new one.
    pub(crate) fn publish(mut self, target: &Path, replaces: Replaces, survives: Survives) -> Result<()> {
        self.finish(target, survives)?;
        if replaces == Replaces::RegularFile {
            refuse_special(target)?;
        }
        // Through the C library, unlike `persist`: there the tests see each call, and make it fail.
        fs::rename(self.path(), target).map_err(|e| Error::disk("write", target, e))?;
        self.file.disable_cleanup(true);
        sync_name(target, survives)
    }

    /// Gives the file the name `target`. `false`: a file has that name, and stays.
    pub(crate) fn publish_new(mut self, target: &Path, survives: Survives) -> Result<bool> {
        self.finish(target, survives)?;
        match self.file.persist_noclobber(target) {
            Err(e) if e.error.kind() == AlreadyExists => Ok(false),
            named => named.map_err(|e| Error::disk("write", target, e.error)).and_then(|_| {
                sync_name(target, survives)?;
                Ok(true)
            }),
        }
    }

    /// Makes the bytes durable, as far as they are to be, before the file has its name.
    fn finish(&mut self, target: &Path, survives: Survives) -> Result<()> {
        let (file, is_reused) = (self.file.as_file_mut(), self.is_reused);
        let cut = if is_reused { file.stream_position().and_then(|end| file.set_len(end)) } else { Ok(()) };
        let synced = cut.and_then(|()| if survives == Survives::Nothing { Ok(()) } else { file.sync_all() });
        synced.map_err(|e| Error::disk("write", target, e))
    }
}

/// What the private draft of `target` is named.
pub(crate) fn private_name(target: &Path) -> PathBuf {
    target.with_added_extension(EXTENSION)
}

fn sync_name(target: &Path, survives: Survives) -> Result<()> {
    if survives == Survives::Everything { sync_parent(target) } else { Ok(()) }
}

fn refuse_special(target: &Path) -> Result<()> {
    match fs::symlink_metadata(target) {
        Ok(meta) if !meta.is_file() => {
            Err(Error::new(ErrorKind::State, format!("{} is no longer a regular file", target.display()))
                .hint("move it away, or name another file"))
        }
        _ => Ok(()),
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| Error::disk("flush", dir, e))
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn draft_is_removed_when_dropped_and_renamed_when_published() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        drop(Draft::private(&target).unwrap());
        drop(Draft::hidden(dir.path(), ".d-", 0o644).unwrap());
        assert!(names(dir.path()).is_empty());
        for survives in [Survives::Everything, Survives::Bytes, Survives::Nothing] {
            Draft::private(&target).unwrap().publish(&target, Replaces::AnyFile, survives).unwrap();
        }
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn file_is_replaced_only_where_its_kind_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let (regular, link) = (dir.path().join("regular"), dir.path().join("link"));
        fs::write(&regular, "old").unwrap();
        symlink("regular", &link).unwrap();
        let draft = || {
            let mut draft = Draft::hidden(dir.path(), ".d-", 0o644).unwrap();
            draft.file().write_all(b"new").unwrap();
            draft
        };
        assert!(!draft().publish_new(&regular, Survives::Bytes).unwrap());
        assert!(!draft().publish_new(&link, Survives::Bytes).unwrap());
        assert!(draft().publish(&link, Replaces::RegularFile, Survives::Bytes).is_err());
        assert_eq!(fs::read(&regular).unwrap(), b"old");
        draft().publish(&regular, Replaces::RegularFile, Survives::Bytes).unwrap();
        draft().publish(&link, Replaces::AnyFile, Survives::Bytes).unwrap();
        assert!(fs::read(&regular).unwrap() == b"new" && !link.is_symlink());
        assert_eq!(names(dir.path()), ["link", "regular"]);
    }

    #[test]
    fn reused_file_holds_no_old_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (old, target) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "much longer than before").unwrap();
        let mut draft = Draft::reusing(&old, &target).unwrap();
        draft.file().write_all(b"short").unwrap();
        draft.publish(&target, Replaces::AnyFile, Survives::Bytes).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"short");
    }
}
