//! The spool: the bytes of parts until their receipts.
//!
//! Owns `spool/<hour>.part-<part>.gz`. Invariant: a file under its name is whole and durable, and its name is before an intent
//! names it. A crash leaves files that no intent names, and `.tmp` files: the next open deletes both.
//!
//! While more is to be spooled, a file that has served is written again instead of deleted and made anew: to a file system
//! its blocks and its inode cost more than the bytes in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::durable::{self, Unfinished};
use crate::error::Result;
use crate::hour::Hour;

/// A larger file is not kept to be written again.
const WORTH_KEEPING: u64 = 1 << 20;

/// The directory of spooled bytes.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    /// Hours whose parts are being spooled: what is here of them has no intent yet.
    pub filling: BTreeSet<Hour>,
    /// Files that have served, under names that the next open deletes.
    spare: Mutex<Vec<PathBuf>>,
    /// How many were spare so far: the next one's name.
    spared: u64,
}

impl Spool {
    /// Opens the spool below the state directory.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path) -> Result<Self> {
        let dir = state.join("spool");
        durable::make_dir(&dir)?;
        durable::remove_leftovers(&dir)?;
        Ok(Self { dir, filling: BTreeSet::new(), spare: Mutex::default(), spared: 0 })
    }

    /// Where the bytes of a part are until its receipt.
    #[must_use]
    pub fn path(&self, hour: Hour, part: u32) -> PathBuf {
        self.dir.join(format!("{hour}.part-{part:05}.gz"))
    }

    /// Starts the file that will be at `path`.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn begin(&self, path: &Path) -> Result<Unfinished> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that cannot be written again, because someone cleared it away, costs nothing.
        let again = spare.and_then(|spare| Unfinished::create_in(&spare, path).ok());
        again.map_or_else(|| Unfinished::create(path), Ok)
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
            let needed = match parse(&name) {
                Some((hour, part)) => self.filling.contains(&hour) || is_intended(hour, part)?,
                None => false,
            };
            if !needed {
                strays.push(self.dir.join(name));
            }
        }
        Ok(strays)
    }

    /// Clears files away that have served.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn clear(&mut self, served: &[PathBuf]) -> Result<()> {
        let spare = self.spare.get_mut().unwrap_or_else(PoisonError::into_inner);
        let more_to_come = !self.filling.is_empty();
        if !more_to_come {
            spare.drain(..).try_for_each(|path| durable::remove(&path))?;
        }
        for path in served {
            if more_to_come && std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= WORTH_KEEPING) {
                self.spared += 1;
                let aside = self.dir.join(format!("spare-{}", self.spared));
                spare.push(durable::set_unfinished(path, &aside)?);
            } else {
                durable::remove(path)?;
            }
        }
        Ok(())
    }
}

fn parse(name: &str) -> Option<(Hour, u32)> {
    let (hour, part) = name.strip_suffix(".gz")?.split_once(".part-")?;
    Some((hour.parse().ok()?, part.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn hour(n: u32) -> Hour {
        format!("2023-03-10T{n:02}").parse().unwrap()
    }

    fn put(spool: &Spool, n: u32, bytes: &[u8]) -> PathBuf {
        let path = spool.path(hour(n), 0);
        let mut file = spool.begin(&path).unwrap();
        file.file().write_all(bytes).unwrap();
        file.publish_name(&path).unwrap();
        path
    }

    #[test]
    fn file_that_is_written_again_holds_only_the_new_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        spool.filling.insert(hour(2));
        for (new, expected) in [(&b"short"[..], &b"short"[..]), (b"longer than that", b"longer than that"), (b"", b"")]
        {
            let first = put(&spool, 1, b"some bytes");
            spool.clear(std::slice::from_ref(&first)).unwrap();
            assert!(!first.exists() && spool.strays(|_, _| Ok(false)).unwrap().is_empty());
            let second = put(&spool, 2, new);
            assert_eq!(fs::read(&second).unwrap(), expected);
            spool.clear(&[second]).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path().join("spool")).unwrap().count(), 1, "one file served all the time");
    }

    #[test]
    fn nothing_is_kept_when_no_more_is_to_come_or_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let left = || fs::read_dir(dir.path().join("spool")).unwrap().count();
        let mut spool = Spool::open(dir.path()).unwrap();
        spool.filling.insert(hour(2));
        spool.clear(&[put(&spool, 1, b"1")]).unwrap();
        let last = put(&spool, 2, b"2");
        spool.clear(&[put(&spool, 3, b"3")]).unwrap();
        spool.filling.clear();
        spool.clear(&[last]).unwrap();
        assert_eq!(left(), 0);
        spool.filling.insert(hour(2));
        spool.clear(&[put(&spool, 1, b"1")]).unwrap();
        assert_eq!(left(), 1);
        drop(spool);
        Spool::open(dir.path()).unwrap();
        assert_eq!(left(), 0);
    }

    #[test]
    fn spare_file_that_is_gone_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        spool.filling.insert(hour(2));
        spool.clear(&[put(&spool, 1, b"1")]).unwrap();
        durable::remove_leftovers(&dir.path().join("spool")).unwrap();
        assert_eq!(fs::read(put(&spool, 2, b"2")).unwrap(), b"2");
    }

    #[test]
    fn large_file_and_stranger_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        spool.filling.insert(hour(2));
        let large = put(&spool, 1, &vec![0; usize::try_from(WORTH_KEEPING).unwrap() + 1]);
        spool.clear(&[large]).unwrap();
        let stranger = dir.path().join("spool/notes.txt");
        fs::write(&stranger, "x").unwrap();
        assert_eq!(spool.strays(|_, _| Ok(true)).unwrap(), [stranger]);
        assert_eq!(fs::read_dir(dir.path().join("spool")).unwrap().count(), 1);
    }
}
