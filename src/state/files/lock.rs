//! The lock of a state directory: one run at a time. It ends with its process.
//!
//! It is a kernel lock (an open-file-description lock on the file `lock`), so a crash leaves nothing to clean up, and `etl status`
//! sees whether it is held without taking it. A holder that ends normally leaves a mark in the file. Only where the mark is missing
//! does the next holder search large directories for what a crash left.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::durable;
use crate::error::{Error, ErrorKind, Result};

/// The mark of a holder that ended normally.
const ENDED: &[u8; 6] = b"ended\n";

/// The held lock.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    after_a_crash: bool,
    /// Something is undone that the next holder has to do, as after a crash: this one has put it off, or the one before crashed and
    /// this one has not made up for it.
    owes: bool,
    /// The missing mark survives a power cut.
    is_durable: bool,
}

impl Lock {
    /// Takes the lock of the state directory `dir`, without waiting.
    ///
    /// # Errors
    /// `Busy`: another process holds it. `State`, naming the path.
    pub fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path);
        let file = file.map_err(|e| Error::disk("open", &path, e))?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => Self::hold(file, path.clone()).map_err(|e| Error::disk("write", &path, e)),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                Err(Error::new(ErrorKind::Busy, format!("another etl is at work on {}", dir.display()))
                    .hint("nothing to do: it will finish; `etl status` shows how far it is"))
            }
            Err(e) => Err(Error::disk("lock", &path, e.into())),
        }
    }

    /// Takes the lock of the inbox below `dir`, without waiting. `None`: another process has it.
    pub(crate) fn take_inbox(dir: &Path) -> Result<Option<Self>> {
        let inbox = dir.join("inbox");
        durable::make_dir(&inbox)?;
        match Self::take(&inbox) {
            Ok(lock) => Ok(Some(lock)),
            Err(busy) if busy.kind() == ErrorKind::Busy => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hold(file: File, path: PathBuf) -> std::io::Result<Self> {
        let mut mark = [0; ENDED.len()];
        let after_a_crash = file.read_exact_at(&mut mark, 0).is_err() || mark != *ENDED;
        file.set_len(0)?;
        Ok(Self { file, path, after_a_crash, owes: after_a_crash, is_durable: false })
    }

    /// Whether the last holder crashed, as far as one can tell.
    pub(crate) const fn after_a_crash(&self) -> bool {
        self.after_a_crash
    }

    /// Notes that something is put off: unless [`Lock::settle`] is called, the next holder has to do it as after a crash. It learns
    /// that even after a power cut: the missing mark is durable on return.
    pub(crate) fn owe(&mut self) -> Result<()> {
        if !self.is_durable {
            self.file.sync_all().map_err(|e| Error::disk("fsync", &self.path, e))?;
        }
        (self.owes, self.is_durable) = (true, true);
        Ok(())
    }

    /// Notes that what was put off, or left by a crash, is done.
    pub(crate) const fn settle(&mut self) {
        self.owes = false;
    }

    /// Whether the last holder of the lock of `dir` did not come to its end, and no process holds it now. For those who only look.
    #[must_use]
    pub(crate) fn was_left(dir: &Path) -> bool {
        let Ok(file) = durable::open(&dir.join("lock")) else { return false };
        let lacks_the_mark = || {
            let mut mark = [0; ENDED.len()];
            file.read_exact_at(&mut mark, 0).is_err() || mark != *ENDED
        };
        // A holder that ends between the two looks was not left, nor was the one before a holder that begins between them.
        (0..3).all(|_| lacks_the_mark() && !Self::is_held(dir))
    }

    /// Whether some process holds the lock of `dir`. Does not take it. Where the file cannot be opened, the answer is no.
    #[must_use]
    pub fn is_held(dir: &Path) -> bool {
        Self::look(dir).unwrap_or(false)
    }

    /// The same; `None` where this user may not look.
    pub(crate) fn look(dir: &Path) -> Option<bool> {
        let file = match durable::open(&dir.join("lock")) {
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return None,
            Err(_) => return Some(false),
            Ok(file) => file,
        };
        let mut found = whole_file();
        let looked = fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found));
        Some(looked.is_ok() && i32::from(found.l_type) != libc::F_UNLCK)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.owes && !std::thread::panicking() {
            // If this fails, the next holder searches for leftovers, nothing more.
            let _ = self.file.write_all_at(ENDED, 0);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "libc's constants for these fields are small")]
const fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_that_did_not_end_is_noticed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let settled = |expected: bool, why: &str| {
            let mut lock = Lock::take(dir.path()).unwrap();
            assert_eq!(lock.after_a_crash(), expected, "{why}");
            lock.settle();
        };
        settled(true, "nobody knows");
        let lock = Lock::take(dir.path()).unwrap();
        assert!(!lock.after_a_crash());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = lock;
            std::panic::resume_unwind(Box::new(()));
        }))
        .unwrap_err();
        drop(Lock::take(dir.path()).unwrap());
        settled(true, "a holder that does not make up for the crash leaves it to the next");
        let mut lock = Lock::take(dir.path()).unwrap();
        lock.owe().unwrap();
        drop(lock);
        settled(true, "the holder before left something undone");
        let mut lock = Lock::take(dir.path()).unwrap();
        lock.owe().unwrap();
        lock.settle();
        drop(lock);
        settled(false, "it is done");
    }

    #[test]
    fn second_run_is_told_at_once_and_the_lock_is_seen_while_held() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Lock::is_held(dir.path()));
        let lock = Lock::take(dir.path()).unwrap();
        assert!(Lock::is_held(dir.path()));
        assert_eq!(Lock::take(dir.path()).unwrap_err().kind(), ErrorKind::Busy);
        drop(lock);
        assert!(!Lock::is_held(dir.path()));
        assert!(Lock::take(dir.path()).is_ok());
    }
}
