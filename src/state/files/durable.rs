//! Files and names of the state directory, made durable: unless a function says otherwise, what it did survives a power cut.
//!
//! Invariant: a file under its final name is whole (see [`crate::output::draft`]). Symbolic links are not followed. A crash leaves `.tmp`
//! files, which [`remove_leftovers`] deletes at the next open.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind::{AlreadyExists, NotFound};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::error::{Error, Result};
pub(crate) use crate::output::draft::sync_dir;
use crate::output::draft::{Draft, EXTENSION, Replaces, Survives, private_name, sync_parent};

/// Replaces `target` with `bytes`, as a whole.
pub(crate) fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    write(target, bytes, Survives::Everything)
}

/// The same, but not durable: for what can be made again, such as `status.json`.
pub(crate) fn replace_unsynced(target: &Path, bytes: &[u8]) -> Result<()> {
    write(target, bytes, Survives::Nothing)
}

/// Replaces `target` with `bytes`, as a whole.
pub(crate) fn write(target: &Path, bytes: &[u8], survives: Survives) -> Result<()> {
    let mut draft = Draft::private(target)?;
    draft.file().write_all(bytes).map_err(|e| Error::disk("write", target, e))?;
    draft.publish(target, Replaces::AnyFile, survives)
}

/// Renames `from` to `to` in the same directory.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    rename_unsynced(from, to)?;
    sync_parent(to)
}

/// Renames a file. Durable after a [`sync_dir`].
pub(crate) fn rename_unsynced(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::disk("rename to", to, e))
}

/// Takes the file `old` out of use, to be deleted later: it gets the name of a draft of `target`, which the next open deletes.
/// Durable after a [`sync_dir`].
pub(crate) fn retire(old: &Path, target: &Path) -> Result<PathBuf> {
    let path = private_name(target);
    rename_unsynced(old, &path).map(|()| path)
}

/// Makes the private (0700) directory `dir`, and those above it.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync_parent(dir),
        Err(e) if e.kind() == AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(Error::disk("create the directory", dir, e)),
    }
}

/// Removes a file, which may be absent. Durable after a [`sync_dir`].
pub(crate) fn remove(path: &Path) -> Result<()> {
    or_absent(path, fs::remove_file(path))
}

/// Removes a file or a whole directory, which may be absent. Durable after a [`sync_dir`].
pub(crate) fn remove_all(path: &Path) -> Result<()> {
    or_absent(path, if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) })
}

fn or_absent(path: &Path, removed: io::Result<()>) -> Result<()> {
    match removed {
        Err(e) if e.kind() != NotFound => Err(Error::disk("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes files and whole directories, up to the first that cannot be removed.
pub(crate) fn remove_each(paths: &[PathBuf]) -> Result<()> {
    paths.iter().try_for_each(|path| remove_all(path))
}

/// Deletes the drafts of an interrupted run.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<()> {
    let entries = entries(dir)?;
    entries.iter().filter(|name| is_draft(name)).try_for_each(|name| remove(&dir.join(name)))
}

/// The names in `dir`, sorted, without those of drafts.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let finished = entries(dir)?.into_iter().filter(|name| !is_draft(name));
    let mut names: Vec<String> = finished.filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

fn entries(dir: &Path) -> Result<Vec<OsString>> {
    let entries = fs::read_dir(dir).and_then(|read| read.map(|entry| Ok(entry?.file_name())).collect());
    entries.map_err(|e| Error::disk("list", dir, e))
}

fn is_draft(name: &OsStr) -> bool {
    Path::new(name).extension() == Some(OsStr::new(EXTENSION))
}

/// Opens the file at `path` for reading. A symbolic link is an error: nothing in a state directory is one.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Reads the file at `path`. `None`: there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == NotFound => Ok(None),
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
