//! The one place that makes files durable: what returns from here survives a power cut.
//!
//! Invariant: a file under its final name is whole. It is written under a `.tmp` name, fsynced, renamed, and its
//! directory is fsynced. Symbolic links are not followed. A crash in the middle leaves a `.tmp` file, which
//! [`remove_leftovers`] deletes at the next open.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::error::{Error, ErrorKind, Result};

/// How a file that is being written is named until it is whole.
const UNFINISHED: &str = "tmp";

/// A file that is being written and has no final name yet. Dropping it without [`Unfinished::publish`] removes it.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    path: PathBuf,
    /// Its file may hold old bytes behind the new ones.
    is_reused: bool,
    published: bool,
}

impl Unfinished {
    /// Starts a private (0600) file that will be `target` one day.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn create(target: &Path) -> Result<Self> {
        Self::open(target.with_added_extension(UNFINISHED), false)
    }

    /// Starts a private file that will be `target` one day, where the bytes of `old` are on the disk, which nobody needs any more.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn create_in(old: &Path, target: &Path) -> Result<Self> {
        Self::open(set_unfinished(old, target)?, true)
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
        Ok(Self { file, path, is_reused, published: false })
    }

    /// The file under its temporary name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the bytes durable under the name `target`, replacing what was there.
    ///
    /// # Errors
    /// `State`, naming the path; then the old file is still there, or already the new one.
    pub fn publish(self, target: &Path) -> Result<()> {
        self.publish_name(target)?;
        sync_parent(target)
    }

    /// The same, but that the name survives a power cut takes a [`sync_dir`] yet: one for many files.
    ///
    /// # Errors
    /// As [`Unfinished::publish`].
    pub fn publish_name(mut self, target: &Path) -> Result<()> {
        if self.is_reused {
            let cut = |file: &mut File| file.stream_position().and_then(|end| file.set_len(end));
            cut(&mut self.file).map_err(|e| Error::disk("cut", &self.path, e))?;
        }
        self.file.sync_all().map_err(|e| Error::disk("fsync", &self.path, e))?;
        fs::rename(&self.path, target).map_err(|e| Error::disk("rename to", target, e))?;
        self.published = true;
        Ok(())
    }

    /// Gives the file the name `target`, replacing what was there, and leaves it to the kernel when its bytes reach the disk:
    /// for what is checked when it is read, and can be made again.
    ///
    /// # Errors
    /// As [`Unfinished::publish`].
    pub fn publish_soon(mut self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).map_err(|e| Error::disk("rename to", target, e))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published {
            // A leftover is harmless and goes at the next open.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives the file `old` the name of one that is to be `target` and is not whole yet: the next open deletes it.
///
/// # Errors
/// `State`, naming the path.
pub fn set_unfinished(old: &Path, target: &Path) -> Result<PathBuf> {
    let path = target.with_added_extension(UNFINISHED);
    rename_soon(old, &path).map(|()| path)
}

/// Renames a file; that the new name survives a power cut takes a [`sync_dir`] yet.
///
/// # Errors
/// `State`, naming the path.
pub fn rename_soon(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::disk("rename to", to, e))
}

/// Replaces `target` with `bytes`, durably and as a whole.
///
/// # Errors
/// `State`, naming the path.
pub fn replace(target: &Path, bytes: &[u8]) -> Result<()> {
    let mut unfinished = Unfinished::create(target)?;
    unfinished.file().write_all(bytes).map_err(|e| Error::disk("write", target, e))?;
    unfinished.publish(target)
}

/// Replaces `target` with `bytes` as a whole, but leaves it to the kernel when they reach the disk: for what can be
/// made again, such as `status.json`.
///
/// # Errors
/// `State`, naming the path.
pub fn replace_soon(target: &Path, bytes: &[u8]) -> Result<()> {
    let mut unfinished = Unfinished::create(target)?;
    unfinished.file().write_all(bytes).map_err(|e| Error::disk("write", target, e))?;
    unfinished.publish_soon(target)
}

/// Makes the names in `dir` durable.
///
/// # Errors
/// `State`, naming the path.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::disk("fsync", dir, e))
}

fn sync_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the private (0700) directory `dir`, with those above it, durably.
///
/// # Errors
/// `State`, naming the path.
pub fn make_dir(dir: &Path) -> Result<()> {
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
///
/// # Errors
/// `State`, naming the path.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::disk("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes the file or the whole directory `path`. An absent one is no error.
///
/// # Errors
/// `State`, naming the path.
pub fn remove_all(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::disk("remove", path, e)),
        _ => Ok(()),
    }
}

/// Removes files and whole directories.
///
/// # Errors
/// `State`, naming the first path that stays.
pub fn remove_each(paths: &[PathBuf]) -> Result<()> {
    paths.iter().try_for_each(|path| remove_all(path))
}

/// Renames `from` to `to` in the same directory, durably.
///
/// # Errors
/// `State`, naming the path.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::disk("rename", from, e))?;
    sync_parent(to)
}

/// The names in `dir`, sorted; those of unfinished files are left out.
///
/// # Errors
/// `State`, naming the path.
pub fn names(dir: &Path) -> Result<Vec<String>> {
    let read = fs::read_dir(dir).map_err(|e| Error::disk("list", dir, e))?;
    let mut names = Vec::new();
    for entry in read {
        let entry = entry.map_err(|e| Error::disk("list", dir, e))?;
        if let Ok(name) = entry.file_name().into_string()
            && Path::new(&name).extension() != Some(OsStr::new(UNFINISHED))
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Deletes the unfinished files of an interrupted run.
///
/// # Errors
/// `State`, naming the path.
pub fn remove_leftovers(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| Error::disk("list", dir, e))? {
        let path = entry.map_err(|e| Error::disk("list", dir, e))?.path();
        if path.extension() == Some(OsStr::new(UNFINISHED)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// A name like `wanted` that nothing has.
#[must_use]
pub fn free_name(wanted: &Path) -> PathBuf {
    (0..)
        .map(|n: u32| if n == 0 { wanted.to_owned() } else { wanted.with_added_extension(n.to_string()) })
        .find(|path| !path.exists())
        .unwrap_or_else(|| wanted.to_owned())
}

/// Opens the file at `path` for reading. A symbolic link is not followed: nothing in a state directory is one.
///
/// # Errors
/// As [`File::open`]; `FilesystemLoop` for a symbolic link.
pub fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Reads the file at `path`. `None` if there is none.
///
/// # Errors
/// `State`, naming the path.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::disk("read", path, e)),
    }
}

/// `body` behind one line that holds its BLAKE3 checksum: the form of every small text file in the state directory.
#[must_use]
pub fn seal_text(body: &[u8]) -> Vec<u8> {
    let mut text = blake3::hash(body).to_hex().as_bytes().to_vec();
    text.push(b'\n');
    text.extend_from_slice(body);
    text
}

/// That the text at `path` is not what was written.
#[must_use]
pub fn damaged_text(path: &Path) -> Error {
    Error::new(ErrorKind::State, format!("{} is damaged: its checksum does not match", path.display()))
        .hint("restore it from a backup")
}

/// The inverse of [`seal_text`].
///
/// # Errors
/// `State`, naming `path`: the bytes are not those that were written.
pub fn open_text<'a>(path: &Path, text: &'a [u8]) -> Result<&'a [u8]> {
    let damaged = || damaged_text(path);
    let (sum, rest) = text.split_at_checked(64).ok_or_else(damaged)?;
    let body = rest.strip_prefix(b"\n").ok_or_else(damaged)?;
    if blake3::hash(body).to_hex().as_bytes() == sum { Ok(body) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_file_is_no_name_and_goes_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        let unfinished = Unfinished::create(&target).unwrap();
        assert!(names(dir.path()).unwrap().is_empty());
        drop(unfinished);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
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

    #[test]
    fn changed_text_is_damage_and_not_content() {
        let path = Path::new("head");
        let mut text = seal_text(b"{}");
        assert_eq!(open_text(path, &text).unwrap(), b"{}");
        *text.last_mut().unwrap() ^= 1;
        assert_eq!(open_text(path, &text).unwrap_err().kind(), ErrorKind::State);
        assert!(open_text(path, b"").is_err());
    }
}
