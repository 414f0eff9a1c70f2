//! The progress of long work: only on a terminal, on stderr, and cleared at the end.
//!
//! Where the total is known, it shows how long the rest takes at the pace so far. It is one line, however narrow the terminal is.

use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressIterator, ProgressStyle};

use crate::job::Progress;
use crate::process::panics;
use crate::view::table::{bytes, count, plural};

/// A terminal with fewer columns gets the short form of what has but one line.
const NARROW: usize = 60;
/// What stands left of a run's line: the spinner and the time.
const LEFT_OF_IT: usize = 8;

/// The display of a run.
pub(super) struct RunDisplay {
    bar: ProgressBar,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    pages: u64,
    logs: u64,
    /// Hours sealed, of so many, and since when.
    hours: Option<(u64, u64, Instant)>,
    parts: u64,
    bytes: u64,
}

impl RunDisplay {
    /// A display that shows nothing yet.
    pub(super) fn new() -> Self {
        let bar = spinner("{spinner} {elapsed:>4} {wide_msg}");
        Self { bar, shown: Mutex::default() }
    }

    /// Shows the progress.
    pub(super) fn show(&self, progress: Progress) {
        if self.bar.is_hidden() {
            return;
        }
        // Only counts: a panic elsewhere does not spoil them.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.take(progress, Instant::now());
        self.bar.set_message(shown.line(self.bar.elapsed(), Instant::now(), columns().saturating_sub(LEFT_OF_IT)));
    }

    /// Clears it.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Shown {
    fn take(&mut self, progress: Progress, now: Instant) {
        match progress {
            Progress::Fetched(pages) => self.pages = pages,
            Progress::Committed(logs) => self.logs = logs,
            Progress::Sealed(done, all) => {
                let since = self.hours.map_or(now, |(_, _, since)| since);
                self.hours = Some((done, all, since));
            }
            Progress::Uploaded(parts, bytes) => (self.parts, self.bytes) = (parts, bytes),
        }
    }

    /// A line of at most this many columns. Where not all stages fit, the earliest are left out.
    fn line(&self, elapsed: Duration, now: Instant, columns: usize) -> String {
        let mut stages = self.stages(elapsed, now);
        let mut line = stages.join(" · ");
        while stages.len() > 1 && line.chars().count() > columns {
            stages.remove(0);
            line = format!("… {}", stages.join(" · "));
        }
        line
    }

    fn stages(&self, elapsed: Duration, now: Instant) -> Vec<String> {
        let mut stages = vec![plural(self.pages, "page", "pages")];
        if self.logs > 0 {
            let pace = rate(self.logs, elapsed);
            stages.push(format!("{} ({}/s)", plural(self.logs, "log", "logs"), count(pace)));
        }
        if let Some((done, all, since)) = self.hours {
            let left = left(done, all, now.duration_since(since));
            let left = left.map(|left| format!(", {} left", indicatif::HumanDuration(left))).unwrap_or_default();
            stages.push(format!("{} of {} sealed{left}", count(done), plural(all, "hour", "hours")));
        }
        if self.parts > 0 {
            stages.push(format!("{} up, {}", plural(self.parts, "part", "parts"), bytes(self.bytes)));
        }
        stages
    }
}

/// The terminal's width.
fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(columns, _)| usize::from(columns.0))
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
fn rate(count: u64, elapsed: Duration) -> u64 {
    (count as f64 / elapsed.as_secs_f64().max(0.001)) as u64
}

/// The time left, at the speed so far. `None` in the first second, before anything is done, and when all is done.
fn left(done: u64, all: u64, elapsed: Duration) -> Option<Duration> {
    let rest = all.saturating_sub(done);
    if done == 0 || rest == 0 || elapsed < Duration::from_secs(1) {
        return None;
    }
    u32::try_from(rest).ok().zip(u32::try_from(done).ok()).map(|(rest, done)| elapsed.saturating_mul(rest) / done)
}

/// A display of a count.
pub(super) fn bar(unit: &str) -> ProgressBar {
    match columns() {
        NARROW.. => spinner(&format!("{{spinner}} {{msg}} {{human_pos}} {unit} {{per_sec}} {{elapsed}}")),
        _ => spinner(&format!("{{spinner}} {{human_pos}} {unit}")),
    }
}

/// Shows how far the iteration over `hours` is, and how long the rest takes. With `on_stdout`, shows nothing where stdout is the
/// terminal too: the display would mix with what is printed.
pub(super) fn hours<T, I>(hours: I, on_stdout: bool) -> impl Iterator<Item = T>
where
    I: IntoIterator<Item = T>,
    I::IntoIter: ExactSizeIterator,
{
    let hours = hours.into_iter();
    let bar = of_hours(on_stdout);
    bar.set_length(hours.len() as u64);
    hours.progress_with(bar.with_finish(ProgressFinish::AndClear))
}

/// The same, for whoever counts the hours.
pub(super) fn of_hours(on_stdout: bool) -> ProgressBar {
    if on_stdout && std::io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    match columns() {
        NARROW.. => spinner("{spinner} {human_pos} of {human_len} hours {elapsed}, {eta} left"),
        _ => spinner("{spinner} {human_pos} of {human_len}"),
    }
}

fn spinner(template: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    // The display ticks on its own thread, so it is started on a terminal only. If no thread can be had, nothing is shown.
    let tick = || bar.enable_steady_tick(Duration::from_millis(200));
    if bar.is_hidden() || panics::quietly(|| catch_unwind(AssertUnwindSafe(tick))).is_ok() {
        return bar;
    }
    // Its lock is poisoned: even dropping it would panic.
    std::mem::forget(bar);
    ProgressBar::hidden()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_says_what_is_known_and_no_more() {
        let (mut shown, start) = (Shown::default(), Instant::now());
        shown.take(Progress::Fetched(1), start);
        assert_eq!(shown.line(Duration::from_secs(1), start, 80), "1 page");
        shown.take(Progress::Committed(12_000), start);
        shown.take(Progress::Sealed(1, 4), start);
        shown.take(Progress::Sealed(2, 4), start);
        shown.take(Progress::Uploaded(2, 61_234), start);
        let line = |columns| shown.line(Duration::from_secs(4), start + Duration::from_secs(10), columns);
        let whole = "1 page · 12,000 logs (3,000/s) · 2 of 4 hours sealed, 10 seconds left · 2 parts up, 61.2 kB";
        assert_eq!(line(120), whole);
        assert_eq!(line(70), "… 2 of 4 hours sealed, 10 seconds left · 2 parts up, 61.2 kB");
        assert_eq!(line(30), "… 2 parts up, 61.2 kB");
        assert_eq!(line(0), "… 2 parts up, 61.2 kB", "the display cuts the rest");
    }

    #[test]
    fn rest_is_guessed_only_where_there_is_something_to_go_by() {
        let second = Duration::from_secs(1);
        assert_eq!(left(0, 4, second), None);
        assert_eq!(left(4, 4, second), None);
        assert_eq!(left(1, 4, Duration::from_millis(999)), None);
        assert_eq!(left(1, 4, second), Some(3 * second));
    }
}
