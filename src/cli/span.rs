//! `etl run --since … --until …`: a bounded backfill of an API, window by window.
//!
//! Keeps nothing itself: which windows are done is in the state directory, so the same command goes on where it ended.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::print::{print, print_json};
use super::run::{RunArgs, code, tick};
use super::{failed, setup, tell};
use crate::config::{Config, Overrides};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Outcome, RunRequest, windows_left};
use crate::source::Template;
use crate::state::status::Command;
use crate::stop::Stop;
use crate::view::table::{count, plural};

/// How much a run asks for at once.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// How long to wait for another run to end before the next look.
const BUSY: Duration = Duration::from_secs(1);
/// So many looks are enough.
const LOOKS: u32 = 600;

/// What became of a span.
#[derive(Debug, Serialize)]
struct Done {
    /// The version of this shape.
    schema: u32,
    since: Timestamp,
    until: Timestamp,
    /// Windows that this command asked for.
    asked: usize,
    /// Windows that are left.
    left: usize,
    pages: u64,
    fetched: u64,
    new: u64,
    duplicates: u64,
    quarantined: u64,
    exit: u8,
}

/// Asks the source for a span of time, all that is not there yet.
pub(super) fn run(flags: &Overrides, args: &RunArgs, stop: &Stop, say: &dyn Fn(&Error)) -> Result<u8> {
    let config = Config::from_process(flags).map_err(|error| failed::unread(flags, Command::Run, error))?;
    if config.cluster.is_some() {
        let what = "a machine of a cluster asks for what is new only: --since is for a machine alone";
        let hint = "take the span with a machine alone into the same load.to, from a configuration without [cluster]: its parts fit there";
        return Err(Error::new(ErrorKind::Usage, what).hint(hint));
    }
    let span = bounds(args, &config.hours.timezone)?;
    let (template, length) = (setup::template(&config)?, args.window.unwrap_or(WINDOW));
    let left = windows_left(&config.state.dir, &template, span, length)?;
    let mut done = Done::nothing(span);
    for (since, until) in left {
        // Where windows meet, the source may take its bounds for either side.
        let from = if since == span.0 { since } else { template.before(since).max(span.0) };
        tracing::info!("asking for what happened from {from} until {until}");
        let outcome = when_free(stop, || window(&config, args, stop, Wanted { from, since, until }))?;
        tell::problems(&config, &outcome, false, say);
        done.add(&outcome, code(&outcome, stop));
        if stop.is_requested() || !matches!(code(&outcome, stop), 0 | 65) {
            break;
        }
    }
    done.left = windows_left(&config.state.dir, &template, span, length)?.len();
    match args.json {
        true => print_json(&done)?,
        false => print(&done.summary())?,
    }
    Ok(done.exit)
}

/// A window, and from when on it is asked for.
#[derive(Clone, Copy)]
struct Wanted {
    from: Timestamp,
    since: Timestamp,
    until: Timestamp,
}

fn window(config: &Config, args: &RunArgs, stop: &Stop, wanted: Wanted) -> Result<Outcome> {
    let request = RunRequest { drain: args.drain, ..RunRequest::default() };
    let within = |template: Template| template.within((wanted.since, wanted.until), wanted.from);
    tick(config, request, stop, within).map_err(|error| failed::unused(config, Command::Run, error))
}

/// The outcome of a run, once no other run is at work.
fn when_free(stop: &Stop, run: impl Fn() -> Result<Outcome>) -> Result<Outcome> {
    for _ in 0..LOOKS {
        let outcome = run()?;
        if outcome.exit_code() != ErrorKind::Busy.exit_code() || stop.sleep(BUSY) {
            return Ok(outcome);
        }
    }
    run()
}

/// From when until when.
fn bounds(args: &RunArgs, zone: &TimeZone) -> Result<(Timestamp, Timestamp)> {
    let at = |text: &Option<String>| instant(text.as_deref().unwrap_or_default(), zone);
    let (since, until) = (at(&args.since)?, at(&args.until)?);
    if since >= until {
        return Err(
            Error::new(ErrorKind::Usage, format!("--since {since} is not before --until {until}")).hint("swap them")
        );
    }
    Ok((since, until))
}

/// A time, or a day or a time without an offset in the zone of the hours.
fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp> {
    let local = || Some(text.parse::<DateTime>().ok()?.to_zoned(zone.clone()).ok()?.timestamp());
    text.parse().ok().or_else(local).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{text:?} is no time"))
            .hint("write 2023-03-10, 2023-03-10T01:00 or 2023-03-10T01:00:00Z")
    })
}

impl Done {
    const fn nothing((since, until): (Timestamp, Timestamp)) -> Self {
        let (pages, fetched, new, duplicates, quarantined) = (0, 0, 0, 0, 0);
        Self { schema: 1, since, until, asked: 0, left: 0, pages, fetched, new, duplicates, quarantined, exit: 0 }
    }

    fn add(&mut self, outcome: &Outcome, exit: u8) {
        let summary = &outcome.summary;
        self.asked += 1;
        self.pages += summary.pages;
        self.fetched += summary.fetched;
        self.new += summary.new;
        self.duplicates += summary.duplicates;
        self.quarantined += summary.quarantined;
        // What goes on after a 65 ends with something worse, or with it.
        self.exit = if exit == 0 { self.exit } else { exit };
    }

    fn summary(&self) -> String {
        let span = self.until.duration_since(self.since);
        let whole = SignedDuration::from_secs(span.as_secs());
        let left = match self.left {
            0 => "all of it is here".to_owned(),
            left => format!("{} left: run the same again", plural(left as u64, "window is", "windows are")),
        };
        format!(
            "{:.0} to {:.0} ({whole:#}): {} asked for, {} new records, {} known ones; {left}\n",
            self.since,
            self.until,
            plural(self.asked as u64, "window", "windows"),
            count(self.new),
            count(self.duplicates),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_an_offset_is_one_of_the_hours_zone() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let at = |text: &str| instant(text, &seoul).unwrap().to_string();
        assert_eq!(at("2023-03-10"), "2023-03-09T15:00:00Z");
        assert_eq!(at("2023-03-10T01:30"), "2023-03-09T16:30:00Z");
        assert_eq!(at("2023-03-10T01:30:00Z"), "2023-03-10T01:30:00Z");
        assert!(instant("yesterday", &seoul).is_err() && instant("", &seoul).is_err());
    }
}
