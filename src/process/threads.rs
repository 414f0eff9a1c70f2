//! Whether the system gives this process another thread: checked before code runs that panics or hangs without one.
//!
//! Keeps nothing: every thread that a check starts has ended when the check returns.

use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use crate::error::{Error, ErrorKind, Result};

/// How long the system may still count a thread that has ended.
const PATIENCE_MS: u32 = 500;

/// The error where the system gives no thread for `what`.
#[must_use]
pub fn no_thread(what: &str, cause: io::Error) -> Error {
    let limit = getrlimit(Resource::RLIMIT_NPROC).map(|(soft, _)| format!(", {soft} here")).unwrap_or_default();
    Error::new(ErrorKind::State, format!("cannot start a thread {what}: the limit on threads is reached"))
        .hint(format!(
            "raise it: pids.max of a container or control group, TasksMax= in a systemd unit, `ulimit -u`{limit}"
        ))
        .caused_by(cause)
}

/// Fails where the system gives no thread right now.
///
/// # Errors
/// [`no_thread`].
pub fn need_thread(what: &str) -> Result<()> {
    had_threads(1).map_err(|cause| no_thread(what, cause))
}

/// Whether the system gives `count` threads right now.
#[must_use]
pub fn has_threads(count: usize) -> bool {
    had_threads(count).is_ok()
}

fn had_threads(count: usize) -> io::Result<()> {
    let (before, (done, waiting)) = (threads(), channel::<()>());
    let waiting = Arc::new(Mutex::new(waiting));
    let start = |_| {
        let waiting = Arc::clone(&waiting);
        // All exist at the same time: each waits until the last one has started.
        Builder::new().spawn(move || drop(waiting.lock().map(|waiting| waiting.recv())))
    };
    let mut refused = Ok(());
    let started: Vec<_> = (0..count).map(start).map_while(|one| one.map_err(|e| refused = Err(e)).ok()).collect();
    drop(done);
    started.into_iter().for_each(|thread| drop(thread.join()));
    // The system still counts a thread for a moment after it has ended, and the caller needs its place.
    for _ in 0..PATIENCE_MS {
        if threads() <= before {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    refused
}

/// The threads of this process; 0 where `/proc` does not tell.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
