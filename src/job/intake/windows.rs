//! A bounded backfill of an API: its span of time in windows, one run each.
//!
//! Owns `windows.json` in the state directory: which spans came whole, and are committed. Invariant: a window is noted only when all that the
//! source gave for it is committed, with nothing set aside; a note that is lost, damaged or of other requests only means that windows are
//! asked for again. The live cursor (`increment`, `trail.json`) is neither read nor written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Intake;
use super::fetch::PageTrail;
use crate::error::{Error, ErrorKind, Result};
use crate::job::context::Run;
use crate::output::draft::Survives;
use crate::source::Template;
use crate::state::files::checked;

/// More windows than these are a mistake.
const MOST: usize = 1_000_000;

/// From a time on, until before another.
pub(crate) type Window = (Timestamp, Timestamp);

/// What is noted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Noted {
    /// The fingerprint of what is asked for, without its span.
    source: String,
    /// Oldest first; no two of them touch.
    done: Vec<Window>,
}

impl Noted {
    fn of(dir: &Path, template: &Template) -> Result<Self> {
        let (source, noted) = (template.fingerprint_without_span(), checked::read_json::<Self>(&path(dir))?);
        Ok(noted.filter(|noted| noted.source == source).unwrap_or(Self { source, done: Vec::new() }))
    }

    fn has(&self, (since, until): Window) -> bool {
        self.done.iter().any(|done| done.0 <= since && done.1 >= until)
    }

    /// Adds a window, which becomes one with those that it touches.
    fn add(&mut self, (mut since, mut until): Window) {
        self.done.retain(|done| {
            let touches = done.0 <= until && done.1 >= since;
            if touches {
                (since, until) = (since.min(done.0), until.max(done.1));
            }
            !touches
        });
        self.done.push((since, until));
        self.done.sort_unstable();
    }
}

/// The windows of `span` that are not done yet, oldest first, each `length` long but the last.
///
/// # Errors
/// [`ErrorKind::Usage`]: too many of them. [`ErrorKind::Config`]: the source cannot be asked for a span.
pub fn windows_left(dir: &Path, template: &Template, span: Window, length: Duration) -> Result<Vec<Window>> {
    if !template.takes_a_span() {
        return Err(Error::new(ErrorKind::Config, "source.url and source.body have no {since} and {until}: the source cannot be asked for a span of time")
            .hint("write into source.url or source.body where the API takes them, as in \"https://host/logs?from={since}&to={until}\""));
    }
    let (noted, length) = (Noted::of(dir, template)?, SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX));
    let (mut left, mut since) = (Vec::new(), span.0);
    while since < span.1 {
        if left.len() >= MOST {
            return Err(
                Error::new(ErrorKind::Usage, format!("more than {MOST} windows")).hint("give a longer --window")
            );
        }
        let until = since.saturating_add(length).unwrap_or(Timestamp::MAX).min(span.1);
        left.extend(Some((since, until)).filter(|window| !noted.has(*window)));
        since = until;
    }
    Ok(left)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("windows.json")
}

impl Intake {
    /// Notes that a window came whole, once all of it is committed.
    pub(in crate::job) fn note_window(&self, run: &Run<'_>, trail: Option<&PageTrail>) -> Result<()> {
        let Some((template, window)) = trail.and_then(PageTrail::whole_window) else { return Ok(()) };
        if !self.is_settled(run)? {
            return Ok(());
        }
        let mut noted = Noted::of(run.state.dir(), template)?;
        noted.add(window);
        checked::write_json(&path(run.state.dir()), &noted, Survives::Everything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    #[test]
    fn windows_that_touch_become_one_and_what_is_done_is_not_asked_for_again() {
        let mut noted = Noted::default();
        for (since, until) in [(4, 6), (0, 2), (2, 3), (3, 4), (10, 12)] {
            noted.add((at(since), at(until)));
        }
        assert_eq!(noted.done, [(at(0), at(6)), (at(10), at(12))]);
        assert!(noted.has((at(1), at(6))) && !noted.has((at(5), at(7))) && !noted.has((at(6), at(10))));
    }
}
