//! Stopping a run: SIGINT, SIGTERM, and the deadline of `--max-runtime`.
//!
//! Owns the one flag that says "finish the durable step at hand, then stop". Invariant: a signal only ever sets that
//! flag; nothing is killed in the middle of a step by it, not even by a second Ctrl-C. (SIGKILL may come at any moment:
//! that is what the durable steps are for.) Nothing here touches disk.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result};
use crate::process::threads;

/// What to do where the system has no room for the handlers.
const NO_SIGNALS: &str = "look at the limits of this user and machine (`ulimit -a`), then run again";

/// The flag that signals set in this process.
static INSTALLED: OnceLock<Stop> = OnceLock::new();

/// What asked the run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM; also SIGHUP, the end of the terminal.
    Terminate,
}

impl Signal {
    /// The exit code of a run that this signal stopped after a clean step: 130 or 143.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// How long the run still waits, after a stop, for work that is better finished than dropped.
#[derive(Debug, Clone, Copy)]
pub struct Grace {
    /// After SIGINT or SIGTERM.
    pub after_a_signal: Duration,
    /// After the deadline of `--max-runtime`.
    pub after_the_deadline: Duration,
}

/// A handle on the stop flag; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
    deadline: Option<Instant>,
}

#[derive(Debug, Default)]
struct Shared {
    signal: Mutex<Option<Signal>>,
    /// Wakes blocking sleepers.
    woken: Condvar,
    /// Wakes asynchronous waiters.
    notify: Notify,
}

impl Stop {
    /// A flag that only [`Stop::request`] sets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that is also set from `deadline` on.
    #[must_use]
    pub fn with_deadline(deadline: Option<Instant>) -> Self {
        Self { deadline, ..Self::default() }
    }

    /// The same flag for work that may take half of the time that is left: the other half is for what comes after it.
    #[must_use]
    pub fn at_half_time(&self) -> Self {
        let half = self.time_left().and_then(|left| Instant::now().checked_add(left / 2));
        Self { deadline: half, ..self.clone() }
    }

    /// Asks for a stop. [`Stop::signal`] returns the first signal.
    pub fn request(&self, signal: Signal) {
        self.lock().get_or_insert(signal);
        self.shared.woken.notify_all();
        self.shared.notify.notify_waiters();
    }

    /// Whether a signal came or the deadline has passed.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.signal().is_some() || self.time_left() == Some(Duration::ZERO)
    }

    /// The first signal that came; `None` also where only the deadline has passed.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        *self.lock()
    }

    /// 130 or 143 after a signal; `None` otherwise: a run that ends at its deadline has not failed.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        self.signal().map(Signal::exit_code)
    }

    /// The time until the deadline, zero once it has passed; `None` where there is none.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Blocks for `duration`, or until a stop. Returns whether it is time to stop.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> bool {
        let started = Instant::now();
        let mut signal = self.lock();
        loop {
            let left = duration.saturating_sub(started.elapsed());
            let left = self.time_left().map_or(left, |until_deadline| left.min(until_deadline));
            if signal.is_some() || left.is_zero() {
                drop(signal);
                return self.is_requested();
            }
            signal = self.shared.woken.wait_timeout(signal, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns when it is time to stop. Needs a tokio runtime with its timer on.
    pub async fn stopped(&self) {
        // Created before the check, so that a request between the two is not missed.
        let woken = self.shared.notify.notified();
        if self.is_requested() {
            return;
        }
        match self.deadline {
            // Both ends mean stop.
            Some(at) => drop(tokio::time::timeout_at(at.into(), woken).await),
            None => woken.await,
        }
    }

    /// Runs `work` to its end. Returns `None`, and drops the work, at a stop.
    pub async fn or_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        first(work, self.stopped()).await
    }

    /// Runs `work` to its end. Returns `None`, and drops the work, where it is not done within `grace` after a stop.
    pub async fn or_stopped_soon<T>(&self, grace: Grace, work: impl Future<Output = T>) -> Option<T> {
        let given_up = async {
            self.stopped().await;
            let signalled = self.signal().is_some();
            tokio::time::sleep(if signalled { grace.after_a_signal } else { grace.after_the_deadline }).await;
        };
        first(work, given_up).await
    }

    fn lock(&self) -> MutexGuard<'_, Option<Signal>> {
        // The value is one word that is set at once: a panic elsewhere cannot have left it half written.
        self.shared.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of `work`; `None` where `end` completes first.
async fn first<T>(work: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// The flag that signals set, for code that was not passed one. `None`: no handler is installed, and a signal ends the process.
#[must_use]
pub fn installed() -> Option<Stop> {
    INSTALLED.get().cloned()
}

/// Makes SIGINT, SIGTERM and SIGHUP set `stop`, for the rest of the process. A SIGHUP that the process was started
/// to ignore (`nohup`) stays ignored.
///
/// # Errors
/// [`ErrorKind::Bug`] at a second call; [`ErrorKind::State`] where the system refuses the handlers.
pub fn install(stop: &Stop) -> Result<()> {
    let (arrived, hangup_ignored) = (Arrived::default(), is_ignored(SIGHUP));
    let (flags, flag, stop) = (arrived.clone(), stop.clone(), stop.clone());
    ctrlc::set_handler(move || {
        if let Some(signal) = flags.take(hangup_ignored) {
            stop.request(signal);
        }
    })
    .map_err(|cause| match cause {
        ctrlc::Error::MultipleHandlers => {
            Error::new(ErrorKind::Bug, "cannot install the signal handlers").caused_by(cause)
        }
        // It starts a thread that waits for signals.
        ctrlc::Error::System(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => {
            threads::no_thread("for the signals", cause)
        }
        ctrlc::Error::System(cause) => {
            Error::new(ErrorKind::State, "cannot install the signal handlers").caused_by(cause).hint(NO_SIGNALS)
        }
        cause => Error::new(ErrorKind::State, "cannot install the signal handlers").caused_by(cause).hint(NO_SIGNALS),
    })?;
    let _ = INSTALLED.set(flag);
    arrived.register()
}

/// Which signals came: `ctrlc` does not tell. These flags are registered after its handler, and chain to it.
#[derive(Debug, Clone, Default)]
struct Arrived {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    hangup: Arc<AtomicBool>,
}

impl Arrived {
    fn register(&self) -> Result<()> {
        [(SIGINT, &self.interrupt), (SIGTERM, &self.terminate), (SIGHUP, &self.hangup)]
            .into_iter()
            .try_for_each(|(number, flag)| signal_hook::flag::register(number, Arc::clone(flag)).map(drop))
            .map_err(|cause| {
                Error::new(ErrorKind::State, "cannot install the signal handlers").caused_by(cause).hint(NO_SIGNALS)
            })
    }

    /// The signal that woke the handler's thread; `None` for one that this process ignores.
    fn take(&self, hangup_ignored: bool) -> Option<Signal> {
        // The handler wakes its thread first and sets the flag a moment later.
        for _ in 0..100 {
            if self.terminate.load(Ordering::SeqCst) {
                return Some(Signal::Terminate);
            }
            if self.interrupt.load(Ordering::SeqCst) {
                return Some(Signal::Interrupt);
            }
            if self.hangup.swap(false, Ordering::SeqCst) {
                return (!hangup_ignored).then_some(Signal::Terminate);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // It came between the two registrations.
        Some(Signal::Interrupt)
    }
}

/// Whether this process ignores signal `number`, as far as the system tells.
fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (number - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon(stop: &Stop, signal: Signal) -> std::thread::JoinHandle<()> {
        let stop = stop.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            stop.request(signal);
        })
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn nothing_stops_until_asked() {
        let stop = Stop::new();
        assert!(!stop.is_requested());
        assert!(!stop.sleep(Duration::from_millis(5)));
        assert_eq!((stop.exit_code(), stop.time_left()), (None, None));
    }

    #[test]
    fn first_signal_decides_the_exit_code() {
        for (first, second, code) in
            [(Signal::Interrupt, Signal::Terminate, 130), (Signal::Terminate, Signal::Interrupt, 143)]
        {
            let stop = Stop::new();
            stop.request(first);
            stop.request(second);
            assert!(stop.clone().is_requested());
            assert_eq!(stop.exit_code(), Some(code));
        }
    }

    #[test]
    fn request_ends_a_blocking_sleep_early() {
        let (stop, started) = (Stop::new(), Instant::now());
        let asking = soon(&stop, Signal::Interrupt);
        assert!(stop.sleep(Duration::from_secs(20)));
        assert!(started.elapsed() < Duration::from_secs(5));
        asking.join().unwrap();
    }

    #[test]
    fn request_ends_asynchronous_work_and_finished_work_is_handed_back() {
        let (stop, started) = (Stop::new(), Instant::now());
        assert_eq!(runtime().block_on(stop.or_stopped(async { 7 })), Some(7));
        let asking = soon(&stop, Signal::Interrupt);
        assert_eq!(runtime().block_on(stop.or_stopped(std::future::pending::<()>())), None);
        assert!(started.elapsed() < Duration::from_secs(5));
        asking.join().unwrap();
    }

    #[test]
    fn work_with_a_grace_may_end_in_it_and_not_after() {
        let (short, long) = (Duration::from_millis(20), Duration::from_secs(20));
        let signalled = Stop::new();
        signalled.request(Signal::Terminate);
        for (stop, after_a_signal, after_the_deadline) in
            [(Stop::with_deadline(Some(Instant::now())), short, long), (signalled, long, short)]
        {
            let work = |wait| async move {
                tokio::time::sleep(wait).await;
                7
            };
            let patient = Grace { after_a_signal, after_the_deadline };
            assert_eq!(runtime().block_on(stop.or_stopped_soon(patient, work(short * 2))), Some(7));
            let impatient = Grace { after_a_signal: after_the_deadline, after_the_deadline: after_a_signal };
            assert_eq!(runtime().block_on(stop.or_stopped_soon(impatient, work(long))), None);
        }
    }

    #[test]
    fn deadline_stops_sleeps_and_waits_without_an_exit_code() {
        let stop = Stop::with_deadline(Some(Instant::now() + Duration::from_millis(40)));
        assert!(!stop.is_requested());
        runtime().block_on(stop.stopped());
        assert!(stop.is_requested() && stop.sleep(Duration::from_secs(20)));
        assert_eq!((stop.exit_code(), stop.time_left()), (None, Some(Duration::ZERO)));
    }

    #[test]
    fn a_hang_up_ends_the_run_unless_it_was_to_be_ignored() {
        let arrived = Arrived::default();
        for (ignored, expected) in [(false, Some(Signal::Terminate)), (true, None)] {
            arrived.hangup.store(true, Ordering::SeqCst);
            assert_eq!(arrived.take(ignored), expected);
        }
    }

    #[test]
    fn a_real_sigterm_sets_the_flag_and_a_second_one_does_no_harm() {
        let stop = Stop::new();
        install(&stop).unwrap();
        assert_eq!(install(&stop).unwrap_err().kind(), ErrorKind::Bug);
        for _ in 0..2 {
            signal_hook::low_level::raise(SIGTERM).unwrap();
            assert!(stop.sleep(Duration::from_secs(20)));
            assert_eq!(stop.exit_code(), Some(143));
        }
    }
}
