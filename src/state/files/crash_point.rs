//! Crash points: where the crash tests abort the process. Shipped builds contain none of it.
//!
//! With the feature `failpoints`, `ETL_CRASH=before:7` aborts right before the seventh durable step of the process, `after:7` right
//! after it; `ETL_FAIL` makes that step fail; `ETL_POISON=TEXT` aborts when a page with that text is read; `ETL_STEPS=FILE`
//! appends each step's name to a file. Thresholds that real data reach only after gigabytes can be lowered by an environment
//! variable.

#[cfg(not(feature = "failpoints"))]
mod points {
    /// A durable step that has begun.
    pub struct Point;

    /// Right before a durable step.
    pub(crate) const fn before(_: &dyn std::fmt::Debug) -> Point {
        Point
    }

    /// Right after a durable step.
    pub(crate) const fn after(_: Point) {}

    /// The error of a step that is to fail, before it is done or after (`done`).
    pub(crate) const fn failure(_: &Point, _: bool) -> Option<crate::error::Error> {
        None
    }

    /// Before a page is read.
    pub(crate) const fn reading(_: &[u8]) {}

    /// A threshold that only tests lower.
    pub(crate) const fn threshold(_: &str, usual: u64) -> u64 {
        usual
    }
}

#[cfg(feature = "failpoints")]
mod points {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::error::Error;

    static REACHED: AtomicU64 = AtomicU64::new(0);
    static CRASH: LazyLock<Option<(bool, u64)>> = LazyLock::new(|| wanted("ETL_CRASH"));

    static FAIL: LazyLock<Option<(bool, u64)>> = LazyLock::new(|| wanted("ETL_FAIL"));

    /// The step that an environment variable names, and whether it means before it.
    fn wanted(name: &str) -> Option<(bool, u64)> {
        let text = std::env::var(name).ok()?;
        let (when, n) = text.split_once(':')?;
        Some((when == "before", n.parse().ok()?))
    }

    /// The error of a step that is to fail, before it is done or after (`done`).
    pub(crate) fn failure(n: &u64, done: bool) -> Option<Error> {
        let broken = || Error::disk("write", "a planted place".as_ref(), std::io::Error::from_raw_os_error(5));
        (*FAIL == Some((!done, *n))).then(broken)
    }

    /// Right before a durable step. Returns its number: several threads may be in a step.
    pub(crate) fn before(step: &dyn std::fmt::Debug) -> u64 {
        let n = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
        if let Ok(path) = std::env::var("ETL_STEPS")
            && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path)
        {
            let _ = file.write_all(format!("{n} {step:?}\n").as_bytes());
        }
        if *CRASH == Some((true, n)) {
            std::process::abort();
        }
        n
    }

    /// Right after durable step `n`.
    pub(crate) fn after(n: u64) {
        if *CRASH == Some((false, n)) {
            std::process::abort();
        }
    }

    /// Aborts if the page that is about to be read contains the text of `ETL_POISON`.
    pub(crate) fn reading(body: &[u8]) {
        let poison = std::env::var("ETL_POISON").unwrap_or_default();
        if !poison.is_empty() && memchr::memmem::find(body, poison.as_bytes()).is_some() {
            std::process::abort();
        }
    }

    /// The threshold in the environment variable `name`, else the usual one.
    pub(crate) fn threshold(name: &str, usual: u64) -> u64 {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
    }
}

pub(crate) use points::{after, before, failure, reading, threshold};
