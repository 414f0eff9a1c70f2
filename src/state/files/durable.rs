//! The one place that makes files durable: what returns from here survives a power cut.
//!
//! Invariant: a file under its final name is whole. It is written under a `.tmp` name, fsynced, renamed, and its
//! directory is fsynced. Symbolic links are not followed. A crash in the middle leaves a `.tmp` file, which
//! [`remove_leftovers`] deletes at the next open.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::error::{Error, Result};
pub(crate) use crate::output::draft::sync_dir;
use crate::output::draft::{Draft, EXTENSION, Replaces, Survives, private_name, sync_parent};

/// Removes the file `old` later: it has the name of a draft of `target` now, and the next open deletes it.
pub(crate) fn set_unfinished(old: &Path, target: &Path) -> Result<PathBuf> {
    let path = private_name(target);
    rename_soon(old, &path).map(|()| path)
}

/// Renames a file; the new name survives a power cut after a [`sync_dir`].
pub(crate) fn rename_soon(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::disk("rename to", to, e))
}

/// Replaces `target` with `bytes`, as a whole. Durable on return.
pub(crate) fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    write(target, bytes, Survives::Everything)
}

/// Replaces `target` with `bytes`, as a whole, and leaves it to the kernel when they reach the disk: for what can be made
/// again, such as `status.json`.
pub(crate) fn replace_soon(target: &Path, bytes: &[u8]) -> Result<()> {
    write(target, bytes, Survives::Nothing)
}

pub(crate) fn write(target: &Path, bytes: &[u8], survives: Survives) -> Result<()> {
    let mut draft = Draft::private(target)?;
    draft.file().write_all(bytes).map_err(|e| Error::disk("write", target, e))?;
    draft.publish(target, Replaces::AnyFile, survives)
}

/// Makes the private (0700) directory `dir`, with those above it, durably.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync_parent(dir),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(Error::disk("create the directory", dir, e)),
    }
}

/// Removes the file `path`; that it is gone is durable only after a [`sync_dir`]. An absent file is no error.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::disk("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes the file or the whole directory `path`. An absent one is no error.
pub(crate) fn remove_all(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::disk("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes files and whole directories.
pub(crate) fn remove_each(paths: &[PathBuf]) -> Result<()> {
    paths.iter().try_for_each(|path| remove_all(path))
}

/// Renames `from` to `to` in the same directory, durably.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::disk("rename", from, e))?;
    sync_parent(to)
}

/// The names in `dir`, sorted; those of unfinished files are left out.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let read = fs::read_dir(dir).map_err(|e| Error::disk("list", dir, e))?;
    let mut names = Vec::new();
    for entry in read {
        let entry = entry.map_err(|e| Error::disk("list", dir, e))?;
        if let Ok(name) = entry.file_name().into_string()
            && Path::new(&name).extension() != Some(OsStr::new(EXTENSION))
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Deletes the unfinished files of an interrupted run.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| Error::disk("list", dir, e))? {
        let path = entry.map_err(|e| Error::disk("list", dir, e))?.path();
        if path.extension() == Some(OsStr::new(EXTENSION)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// A name like `wanted` that nothing has.
pub(crate) fn free_name(wanted: &Path) -> PathBuf {
    (0..)
        .map(|n: u32| if n == 0 { wanted.to_owned() } else { wanted.with_added_extension(n.to_string()) })
        .find(|path| !path.exists())
        .unwrap_or_else(|| wanted.to_owned())
}

/// Opens the file at `path` for reading. A symbolic link is not followed: nothing in a state directory is one.
///
/// # Errors
/// As [`File::open`]; `FilesystemLoop` for a symbolic link.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Reads the file at `path`. `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::disk("read", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn draft_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let _draft = Draft::private(&dir.path().join("a")).unwrap();
        assert!(names(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn symbolic_link_is_neither_read_nor_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, inside) = (dir.path().join("outside"), dir.path().join("inside"));
        fs::write(&outside, "theirs").unwrap();
        for link in [&inside, &dir.path().join("inside.tmp")] {
            std::os::unix::fs::symlink(&outside, link).unwrap();
        }
        assert_eq!(read(&inside).unwrap_err().kind(), ErrorKind::State);
        assert_eq!(replace(&inside, b"ours").unwrap_err().kind(), ErrorKind::State);
        assert_eq!(fs::read(&outside).unwrap(), b"theirs");
    }

    #[test]
    fn leftover_of_a_crash_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.tmp"), "half").unwrap();
        replace(&dir.path().join("y"), b"whole").unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert_eq!(names(dir.path()).unwrap(), ["y"]);
    }
}
