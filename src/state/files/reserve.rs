//! The reserve: disk space that is given up when the disk is full.
//!
//! A file of 32 MiB without meaning. When the disk is full, deleting it makes room to seal, upload and prune, which frees more. A crash
//! leaves it or not; a later run makes it again when there is space.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::durable;
use super::free_space::free_bytes;
use crate::error::{Error, Result};
use crate::output::draft::{Draft, Replaces, Survives};

/// Bytes held back for a full disk.
const RESERVE: u64 = 32 << 20;

/// Bytes that stay free beside the reserve, even if the user asks for none: a run writes a little at its end.
const SLACK: u64 = 16 << 20;

/// The reserve of a state directory.
#[derive(Debug)]
pub struct Reserve {
    dir: PathBuf,
}

impl Reserve {
    /// The reserve below the state directory.
    pub(crate) fn new(state: &Path) -> Self {
        Self { dir: state.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// Bytes free for this user on the state directory's file system, without the reserve.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        free_bytes(&self.dir)
    }

    /// Makes the reserve if it is missing and `min_free` bytes stay free beside it.
    pub(crate) fn fill(&self, min_free: u64) -> Result<()> {
        let path = self.path();
        let whole = fs::metadata(&path).is_ok_and(|m| m.len() == RESERVE);
        if whole || self.free_bytes()? < RESERVE.saturating_add(min_free.max(SLACK)) {
            return Ok(());
        }
        let mut draft = Draft::private(&path)?;
        allocate(draft.file()).map_err(|e| Error::disk("write", &path, e))?;
        draft.publish(&path, Replaces::AnyFile, Survives::Everything)
    }

    /// Deletes the reserve. Returns whether there was one.
    pub(crate) fn give_up(&self) -> Result<bool> {
        let path = self.path();
        let there = path.exists();
        durable::remove(&path)?;
        Ok(there)
    }
}

/// Allocates real blocks: a sparse file would reserve nothing.
fn allocate(file: &mut File) -> std::io::Result<()> {
    let length = i64::try_from(RESERVE).unwrap_or(i64::MAX);
    if nix::fcntl::posix_fallocate(&*file, 0, length).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; 1 << 20];
    (0..RESERVE >> 20).try_for_each(|_| file.write_all(&zeros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_made_once_and_can_be_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path());
        reserve.fill(u64::MAX).unwrap();
        assert!(!reserve.give_up().unwrap(), "no reserve where there is no room for it");
        reserve.fill(0).unwrap();
        reserve.fill(0).unwrap();
        assert_eq!(fs::metadata(reserve.path()).unwrap().len(), RESERVE);
        assert!(reserve.give_up().unwrap());
    }
}
