//! Waiting for sled's writer, so that it ends even where a write fails.
//!
//! Owns nothing. Invariant: whatever happens to the disk, what waits here ends once the system has answered the writer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::process::threads;

/// Whether sled has started its threads, which it does when it first writes: until then the last thread that can be had is for them.
static WRITER_IS_THERE: AtomicBool = AtomicBool::new(false);

/// Does something that waits for the store's writer. Where one of its writes fails, sled now and then forgets to wake those
/// who wait for it; another flush meets the failure, and wakes them.
pub(super) fn watched<T>(db: Option<&sled::Db>, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        if let Some(db) = db.filter(|_| WRITER_IS_THERE.load(Ordering::Relaxed) || threads::has_threads(2)) {
            // Where no thread can be had, nobody watches: nearly always nobody needs to.
            let _ = std::thread::Builder::new().spawn_scoped(scope, move || watch(db, &waiting));
        }
        let outcome = work();
        WRITER_IS_THERE.store(true, Ordering::Relaxed);
        drop(done);
        outcome
    })
}

/// Flushes again, each time on a thread of its own, as it may have to wait, too, until `done` closes.
fn watch(db: &sled::Db, done: &mpsc::Receiver<()>) {
    let mut patience = Duration::from_secs(1);
    while done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
        let db = db.clone();
        let again = move || drop(crate::process::panics::quietly(|| catch_unwind(AssertUnwindSafe(|| db.flush()))));
        let _ = std::thread::Builder::new().spawn(again);
        patience *= 2;
    }
}
