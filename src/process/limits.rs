//! The limits that the system sets to this process: open files, threads, the size of a file, quota, inodes.
//!
//! Keeps nothing but the way out of each. Invariant: meeting one is an error of this machine (exit 74) that names it, and never a
//! signal's silent end, a panic, or damage.

use std::error::Error as Cause;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use crate::error::{Error, ErrorKind, Result};

/// How long a thread that has ended may still be counted.
const PATIENCE_MS: u32 = 500;

/// From now on a file that may not grow any more is a failed write, and not the end of the process.
pub fn survive_large_files() {
    // Where the handler is refused, the signal ends the process, as it would any other.
    let _ = signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// The way out of the limit that `cause` tells of, if it tells of one.
#[must_use]
pub fn way_out(cause: &(dyn Cause + 'static)) -> Option<String> {
    std::iter::successors(Some(cause), |cause| (*cause).source()).find_map(|cause| of_system(reported(cause)?))
}

/// What the system reported, be it through sled.
pub(crate) fn reported<'c>(cause: &'c (dyn Cause + 'static)) -> Option<&'c io::Error> {
    match cause.downcast_ref::<sled::Error>() {
        Some(sled::Error::Io(io)) => Some(io),
        _ => cause.downcast_ref(),
    }
}

fn of_system(error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Some(raise("the size of a file", "-f", "LimitFSIZE=", Resource::RLIMIT_FSIZE)),
        io::ErrorKind::QuotaExceeded => {
            Some("the disk quota of this user is used up: free some space of it, or have it raised".to_owned())
        }
        _ => match code(error)? {
            libc::EMFILE => Some(raise("open files", "-n", "LimitNOFILE=", Resource::RLIMIT_NOFILE)),
            libc::ENFILE => Some("the whole system has too many files open: raise fs.file-max".to_owned()),
            _ => None,
        },
    }
}

/// The system's number of an error. Who hands one on in another's clothes often keeps it in the text only.
fn code(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let text = error.to_string();
        let (_, rest) = text.split_once("os error ").or_else(|| text.split_once("code: "))?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end)?.parse().ok()
    })
}

fn raise(of: &str, flag: &str, unit: &str, resource: Resource) -> String {
    let limit = getrlimit(resource).map(|(soft, _)| format!(", {soft} here")).unwrap_or_default();
    format!("raise the limit on {of}: `ulimit {flag}`{limit}; {unit} in a systemd unit")
}

/// No thread can be had, and what is to be done cannot do without.
#[must_use]
pub fn no_thread(what: &str, cause: io::Error) -> Error {
    let limit = getrlimit(Resource::RLIMIT_NPROC).map(|(soft, _)| format!(", {soft} here")).unwrap_or_default();
    Error::new(ErrorKind::State, format!("cannot start a thread {what}: the limit on threads is reached"))
        .hint(format!(
            "raise it: pids.max of a container or control group, TasksMax= in a systemd unit, `ulimit -u`{limit}"
        ))
        .caused_by(cause)
}

/// Makes sure that a thread can be had right now.
///
/// # Errors
/// [`no_thread`].
pub fn need_thread(what: &str) -> Result<()> {
    had_threads(1).map_err(|cause| no_thread(what, cause))
}

/// Whether so many threads can be had right now.
#[must_use]
pub fn has_threads(count: usize) -> bool {
    had_threads(count).is_ok()
}

fn had_threads(count: usize) -> io::Result<()> {
    let (before, (done, waiting)) = (threads(), channel::<()>());
    let waiting = Arc::new(Mutex::new(waiting));
    let start = |_| {
        let waiting = Arc::clone(&waiting);
        // They are all there at once: each waits until the last was started.
        Builder::new().spawn(move || drop(waiting.lock().map(|waiting| waiting.recv())))
    };
    let mut refused = Ok(());
    let started: Vec<_> = (0..count).map(start).map_while(|one| one.map_err(|e| refused = Err(e)).ok()).collect();
    drop(done);
    started.into_iter().for_each(|thread| drop(thread.join()));
    // The system counts a thread for a moment after it has ended, and whoever comes next needs its place.
    for _ in 0..PATIENCE_MS {
        if threads() <= before {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    refused
}

/// The threads of this process. Where that cannot be told there are as many as ever.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Whether the disk of `path` has room, but nothing to give a new file a place in.
#[must_use]
pub fn is_without_inodes(path: &Path) -> bool {
    let stat = path.ancestors().find_map(|path| statvfs(path).ok());
    stat.is_some_and(|stat| stat.files() > 0 && stat.files_available() == 0 && stat.blocks_available() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_known_however_they_are_dressed() {
        let sled = |io: &io::Error| sled::Error::Io(io::Error::new(io.kind(), format!("{io:?}")));
        for (number, expected) in [
            (libc::EMFILE, Some("open files")),
            (libc::ENFILE, Some("fs.file-max")),
            (libc::EFBIG, Some("the size of a file")),
            (libc::EDQUOT, Some("quota")),
            (libc::ENOSPC, None),
            (libc::EIO, None),
        ] {
            let io = || io::Error::from_raw_os_error(number);
            let dressed: [Box<dyn Cause>; 4] = [
                Box::new(io()),
                Box::new(sled::Error::Io(io())),
                Box::new(sled(&io())),
                Box::new(io::Error::new(io().kind(), format!("at path x: {}", io()))),
            ];
            for cause in &dressed {
                let found = way_out(&**cause);
                assert_eq!(found.is_some(), expected.is_some(), "{cause:?}: {found:?}");
                assert!(expected.is_none_or(|text| found.unwrap().contains(text)), "{cause:?}");
            }
        }
    }

    #[test]
    fn limit_outranks_what_else_could_be_advised_and_is_this_machine_s() {
        let full = || io::Error::from_raw_os_error(libc::EMFILE);
        let error = Error::new(ErrorKind::Config, "cannot make a client").caused_by(full()).hint("check the key");
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.next_step().unwrap().starts_with("raise the limit on open files: `ulimit -n`, "));
    }
}
