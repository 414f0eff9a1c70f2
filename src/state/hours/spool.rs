//! The spool: the bytes of parts until their receipts.
//!
//! Owns `spool/<hour>.part-<part>.gz`, or what the format of parts puts for `gz`. Invariant: a file under its name is whole and durable, and its name is before an intent
//! names it. A crash leaves files that no intent names, and `.tmp` files: the next open deletes both.
//!
//! While more is to be spooled, a file that has served is written again instead of deleted and made again: to a file system
//! its blocks and its inode cost more than the bytes in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::Result;
use crate::hour::Hour;
use crate::hour::format::Format;
use crate::output::draft::Draft;
use crate::state::files::durable;

/// A larger file is not kept to be written again.
const WORTH_KEEPING: u64 = 1 << 20;

/// The directory of spooled bytes.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    format: Format,
    /// Hours whose parts are being spooled: what is here of them has no intent yet.
    pub filling: BTreeSet<Hour>,
    /// Files that have served, under names that the next open deletes.
    spare: Mutex<Vec<PathBuf>>,
    /// How many were put aside so far: their names, which no part's file has while it is written.
    spared: u64,
}

impl Spool {
    /// Opens the spool below the state directory, for parts of this format.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path, format: Format) -> Result<Self> {
        let dir = state.join("spool");
        durable::make_dir(&dir)?;
        durable::remove_leftovers(&dir)?;
        Ok(Self { dir, format, filling: BTreeSet::new(), spare: Mutex::default(), spared: 0 })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the bytes of a part are until its receipt.
    #[must_use]
    pub fn path(&self, hour: Hour, part: u32) -> PathBuf {
        self.dir.join(format!("{hour}.part-{part:05}.{}", self.format.extension()))
    }

    /// Where the bytes of another small object are while it is uploaded. No intent names it: the next clearing deletes it.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts the file that will be at `path`.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn begin(&self, path: &Path) -> Result<Draft> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that cannot be written again, because someone cleared it away, costs nothing.
        let again = spare.and_then(|spare| Draft::reusing(&spare, path).ok());
        again.map_or_else(|| Draft::private(path), Ok)
    }

    /// Makes the names of what was spooled durable.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn make_names_durable(&self) -> Result<()> {
        durable::sync_dir(&self.dir)
    }

    /// The files that are neither of an hour that is being spooled nor of a part that `is_intended`.
    ///
    /// # Errors
    /// `State`, naming the path. And whatever `is_intended` returns.
    pub fn strays(&self, mut is_intended: impl FnMut(Hour, u32) -> Result<bool>) -> Result<Vec<PathBuf>> {
        let mut strays = Vec::new();
        for name in durable::names(&self.dir)? {
            let needed = match self.parse(&name) {
                Some((hour, part)) => self.filling.contains(&hour) || is_intended(hour, part)?,
                None => false,
            };
            if !needed {
                strays.push(self.dir.join(name));
            }
        }
        Ok(strays)
    }

    /// Takes files out that have served; gives those that are left to delete. While more is to be spooled, these have names that
    /// the next open deletes, and small ones are kept to be written again.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn clear(&mut self, served: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        let spare = self.spare.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.filling.is_empty() {
            return Ok(spare.drain(..).chain(served).collect());
        }
        let mut left = Vec::new();
        for path in served {
            self.spared += 1;
            let aside = durable::retire(&path, &self.dir.join(format!("spare-{}", self.spared)))?;
            let is_small = fs::symlink_metadata(&aside).is_ok_and(|meta| meta.is_file() && meta.len() <= WORTH_KEEPING);
            if is_small { spare.push(aside) } else { left.push(aside) }
        }
        Ok(left)
    }

    fn parse(&self, name: &str) -> Option<(Hour, u32)> {
        let whole = name.strip_suffix(self.format.extension())?.strip_suffix('.')?;
        let (hour, part) = whole.split_once(".part-")?;
        Some((hour.parse().ok()?, part.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::output::draft::{Replaces, Survives};

    fn hour(n: u32) -> Hour {
        format!("2023-03-10T{n:02}").parse().unwrap()
    }

    fn clear(spool: &mut Spool, served: PathBuf) {
        let left = spool.clear(vec![served]).unwrap();
        durable::remove_each(&left).unwrap();
    }

    fn put(spool: &Spool, n: u32, bytes: &[u8]) -> PathBuf {
        let path = spool.path(hour(n), 0);
        let mut file = spool.begin(&path).unwrap();
        file.file().write_all(bytes).unwrap();
        file.publish(&path, Replaces::AnyFile, Survives::Bytes).unwrap();
        path
    }

    #[test]
    fn file_that_is_written_again_holds_only_the_new_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), Format::default()).unwrap();
        spool.filling.insert(hour(2));
        for (new, expected) in [(&b"short"[..], &b"short"[..]), (b"longer than that", b"longer than that"), (b"", b"")]
        {
            let first = put(&spool, 1, b"some bytes");
            clear(&mut spool, first.clone());
            assert!(!first.exists() && spool.strays(|_, _| Ok(false)).unwrap().is_empty());
            let second = put(&spool, 2, new);
            assert_eq!(fs::read(&second).unwrap(), expected);
            clear(&mut spool, second);
        }
        assert_eq!(fs::read_dir(dir.path().join("spool")).unwrap().count(), 1, "one file served all the time");
    }

    #[test]
    fn nothing_is_kept_when_no_more_is_to_come_or_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let left = || fs::read_dir(dir.path().join("spool")).unwrap().count();
        let mut spool = Spool::open(dir.path(), Format::default()).unwrap();
        spool.filling.insert(hour(2));
        for n in [1, 2, 3] {
            let served = put(&spool, n, b"served");
            if n == 3 {
                spool.filling.clear();
            }
            clear(&mut spool, served);
        }
        assert_eq!(left(), 0);
        spool.filling.insert(hour(2));
        let served = put(&spool, 1, b"1");
        clear(&mut spool, served);
        assert_eq!(left(), 1);
        drop(spool);
        Spool::open(dir.path(), Format::default()).unwrap();
        assert_eq!(left(), 0);
    }

    #[test]
    fn spare_file_that_is_gone_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), Format::default()).unwrap();
        spool.filling.insert(hour(2));
        let served = put(&spool, 1, b"1");
        clear(&mut spool, served);
        durable::remove_leftovers(&dir.path().join("spool")).unwrap();
        assert_eq!(fs::read(put(&spool, 2, b"2")).unwrap(), b"2");
    }

    #[test]
    fn large_file_and_stranger_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path(), Format::default()).unwrap();
        spool.filling.insert(hour(2));
        let large = put(&spool, 1, &vec![0; usize::try_from(WORTH_KEEPING).unwrap() + 1]);
        clear(&mut spool, large);
        let stranger = dir.path().join("spool/notes.txt");
        fs::write(&stranger, "x").unwrap();
        assert_eq!(spool.strays(|_, _| Ok(true)).unwrap(), [stranger]);
        assert_eq!(fs::read_dir(dir.path().join("spool")).unwrap().count(), 1);
    }
}
