//! The lock of a state directory: one run at a time, and it dies with its process.
//!
//! A kernel lock (an open-file-description lock on `lock`), so a crash leaves nothing to clean up, and `etl status` can see
//! whether it is held without taking it. A holder that comes to its end leaves a mark in the file: only where that is missing
//! has the next one to look for what a crash left in directories that are large.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::durable;
use crate::error::{Error, ErrorKind, Result};

/// What a holder that came to its end leaves in the file.
const ENDED: &[u8; 6] = b"ended\n";

/// The held lock.
#[derive(Debug)]
pub struct Lock {
    file: File,
    after_a_crash: bool,
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
            Ok(_) => Self::hold(file).map_err(|e| Error::disk("write", &path, e)),
            Err(Errno::EAGAIN | Errno::EACCES) => {
                Err(Error::new(ErrorKind::Busy, format!("another etl is at work on {}", dir.display()))
                    .hint("nothing to do: it will finish; `etl status` shows how far it is"))
            }
            Err(e) => Err(Error::disk("lock", &path, e.into())),
        }
    }

    /// Takes the lock of the inbox below `dir`, without waiting. `None`: another process has it.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn take_inbox(dir: &Path) -> Result<Option<Self>> {
        let inbox = dir.join("inbox");
        durable::make_dir(&inbox)?;
        match Self::take(&inbox) {
            Ok(lock) => Ok(Some(lock)),
            Err(busy) if busy.kind() == ErrorKind::Busy => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hold(file: File) -> std::io::Result<Self> {
        let mut mark = [0; ENDED.len()];
        let after_a_crash = file.read_exact_at(&mut mark, 0).is_err() || mark != *ENDED;
        file.set_len(0)?;
        Ok(Self { file, after_a_crash })
    }

    /// Whether the last holder did not come to its end, as far as one can tell.
    #[must_use]
    pub const fn after_a_crash(&self) -> bool {
        self.after_a_crash
    }

    /// Whether some process holds the lock of `dir`. Takes nothing; where it cannot look, the answer is no.
    #[must_use]
    pub fn is_held(dir: &Path) -> bool {
        let Ok(file) = durable::open(&dir.join("lock")) else {
            return false;
        };
        let mut found = whole_file();
        let looked = fcntl(&file, FcntlArg::F_OFD_GETLK(&mut found));
        looked.is_ok() && i32::from(found.l_type) != libc::F_UNLCK
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Where this fails, the next holder looks for leftovers: that is all.
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
        assert!(Lock::take(dir.path()).unwrap().after_a_crash(), "nobody knows");
        let lock = Lock::take(dir.path()).unwrap();
        assert!(!lock.after_a_crash());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = lock;
            std::panic::resume_unwind(Box::new(()));
        }))
        .unwrap_err();
        assert!(Lock::take(dir.path()).unwrap().after_a_crash());
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
