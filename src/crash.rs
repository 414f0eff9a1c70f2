//! Crash points: where the crash tests abort the process. Shipped builds hold none of it.
//!
//! With the feature `failpoints`, `ETL_CRASH=before:7` aborts right before the seventh durable step of the process,
//! `after:7` right after it, and `ETL_STEPS=FILE` appends each step's name to a file.

use crate::lifecycle::Step;

#[cfg(not(feature = "failpoints"))]
mod points {
    use super::Step;

    /// Right before a durable step.
    pub const fn before(_: Step) {}

    /// Right after a durable step.
    pub const fn after(_: Step) {}
}

#[cfg(feature = "failpoints")]
mod points {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Step;

    static REACHED: AtomicU64 = AtomicU64::new(0);
    static CRASH: LazyLock<Option<(bool, u64)>> = LazyLock::new(|| {
        let text = std::env::var("ETL_CRASH").ok()?;
        let (when, n) = text.split_once(':')?;
        Some((when == "before", n.parse().ok()?))
    });

    /// Right before a durable step.
    pub fn before(step: Step) {
        let n = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
        if let Ok(path) = std::env::var("ETL_STEPS")
            && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path)
        {
            let _ = writeln!(file, "{n} {step:?}");
        }
        if *CRASH == Some((true, n)) {
            std::process::abort();
        }
    }

    /// Right after a durable step.
    pub fn after(_: Step) {
        if *CRASH == Some((false, REACHED.load(Ordering::SeqCst))) {
            std::process::abort();
        }
    }
}

pub use points::{after, before};
