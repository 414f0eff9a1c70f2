//! Crash points: where the crash tests abort the process. Shipped builds contain none of it.
//!
//! With the feature `failpoints`, `ETL_CRASH=before:7` aborts right before the seventh durable step of the process, `after:7` right
//! after it, and `after:PartPut` after the first step of that name; `ETL_FAIL` makes that step fail; `ETL_CRASH_AT=MOMENT` aborts at a moment
//! between steps; `ETL_POISON=TEXT` aborts when a page with that text is read; `ETL_STEPS=FILE` appends each step's name to a file. Thresholds that real data reach only after gigabytes can be lowered by an environment
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

    /// A moment at which something is on its way that no step of ours makes durable.
    #[cfg(feature = "kafka")]
    pub(crate) const fn at(_: &str) {}

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
    static CRASH: LazyLock<Option<Wanted>> = LazyLock::new(|| Wanted::read("ETL_CRASH"));
    static FAIL: LazyLock<Option<Wanted>> = LazyLock::new(|| Wanted::read("ETL_FAIL"));

    /// The step that an environment variable names.
    struct Wanted {
        is_before: bool,
        which: Which,
    }

    enum Which {
        Number(u64),
        Name(String),
    }

    /// A durable step that has begun.
    pub(crate) struct Point {
        n: u64,
        name: String,
    }

    impl Wanted {
        fn read(name: &str) -> Option<Self> {
            let text = std::env::var(name).ok()?;
            let (when, which) = text.split_once(':')?;
            let which = which.parse().map_or_else(|_| Which::Name(which.to_owned()), Which::Number);
            Some(Self { is_before: when == "before", which })
        }

        fn is(&self, is_before: bool, point: &Point) -> bool {
            let is_it = match &self.which {
                Which::Number(n) => *n == point.n,
                Which::Name(name) => *name == point.name,
            };
            is_it && self.is_before == is_before
        }
    }

    fn is_wanted(wanted: &Option<Wanted>, is_before: bool, point: &Point) -> bool {
        wanted.as_ref().is_some_and(|wanted| wanted.is(is_before, point))
    }

    /// The error of a step that is to fail, before it is done or after (`done`).
    pub(crate) fn failure(point: &Point, done: bool) -> Option<Error> {
        let broken = || Error::disk("write", "a planted place".as_ref(), std::io::Error::from_raw_os_error(5));
        is_wanted(&FAIL, !done, point).then(broken)
    }

    /// Right before a durable step. Returns which: several threads may be in a step.
    pub(crate) fn before(step: &dyn std::fmt::Debug) -> Point {
        let point = Point { n: REACHED.fetch_add(1, Ordering::SeqCst) + 1, name: format!("{step:?}") };
        if let Ok(path) = std::env::var("ETL_STEPS")
            && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path)
        {
            let _ = file.write_all(format!("{} {}\n", point.n, point.name).as_bytes());
        }
        if is_wanted(&CRASH, true, &point) {
            std::process::abort();
        }
        point
    }

    /// Right after a durable step.
    #[expect(clippy::needless_pass_by_value, reason = "a step ends once")]
    pub(crate) fn after(point: Point) {
        if is_wanted(&CRASH, false, &point) {
            std::process::abort();
        }
    }

    /// Aborts at the moment that `ETL_CRASH_AT` names, once what was sent has had time to arrive.
    #[cfg(feature = "kafka")]
    pub(crate) fn at(moment: &str) {
        if std::env::var("ETL_CRASH_AT").is_ok_and(|wanted| wanted == moment) {
            std::thread::sleep(std::time::Duration::from_millis(700));
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

#[cfg(feature = "kafka")]
pub(crate) use points::at;
pub(crate) use points::{after, before, failure, reading, threshold};
