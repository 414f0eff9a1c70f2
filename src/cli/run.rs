//! `etl run` and `etl replay`.

use std::time::Instant;

use super::progress::RunDisplay;
pub use super::progress::bar;
use super::setup;
use super::watchers::Watchers;
use crate::cli::{ReplayArgs, RunArgs};
use crate::config::{Config, SourceLocation};
use crate::error::{Error, Result};
use crate::hour::{Clock, SystemClock};
use crate::job::{self, Outcome, Summary, Wish};
use crate::stop::Stop;
use crate::view::text;

/// Fetches, commits, seals, uploads; with `--every` again and again.
///
/// # Errors
/// The configuration cannot be used.
pub fn run(config: &Config, args: &RunArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let started = Instant::now();
    let stop = Stop::with_deadline(args.max_runtime.and_then(|limit| started.checked_add(limit)));
    crate::stop::install(&stop)?;
    let wish = Wish { drain: args.drain, ..Wish::default() };
    loop {
        let next = args.every.and_then(|every| Instant::now().checked_add(every));
        if args.dry_run {
            return dry_run(config, args, &stop);
        }
        let watchers = Watchers::start(config, args);
        let outcome = match tick(config, wish, &stop) {
            Ok(outcome) => outcome,
            Err(error) => {
                watchers.end(error.kind().exit_code(), None);
                return Err(error);
            }
        };
        watchers.end(code(&outcome, &stop), Some(&outcome));
        tell(&outcome, args.json, say)?;
        let Some(next) = next else { return Ok(code(&outcome, &stop)) };
        if stop.sleep(next.saturating_duration_since(Instant::now())) {
            return Ok(code(&outcome, &stop));
        }
    }
}

/// One run.
fn tick(config: &Config, wish: Wish, stop: &Stop) -> Result<Outcome> {
    // The source may take half of the time: the other half is for what is here already.
    let mut client = setup::client(config, &stop.at_half_time())?;
    let display = RunDisplay::new();
    let progress = |progress| display.show(progress);
    let setup = setup::setup(config, &SystemClock, stop, &progress)?;
    let source = setup::source(config, client.as_mut())?;
    let outcome = job::run(&setup, Some(source), wish);
    display.end();
    Ok(outcome)
}

/// What one would do.
fn dry_run(config: &Config, args: &RunArgs, stop: &Stop) -> Result<u8> {
    let mut client = setup::client(config, stop)?;
    let setup = setup::setup(config, &SystemClock, stop, &|_| ())?;
    let found = job::dry_run(&setup, &mut setup::source(config, client.as_mut())?)?;
    if args.json {
        crate::cli::print::print_json(&found)?
    } else {
        crate::cli::print::print(&(found.summary(SystemClock.now()) + "\n"))?
    }
    Ok(0)
}

/// Finishes what was interrupted.
///
/// # Errors
/// The configuration cannot be used.
pub fn replay(config: &Config, args: &ReplayArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let display = RunDisplay::new();
    let progress = |progress| display.show(progress);
    let setup = setup::setup(config, &SystemClock, &stop, &progress)?;
    // A backfill does not wait, and neither does its replay.
    let drain = matches!(config.source.location(), Ok(SourceLocation::Files(_)));
    let outcome = job::run(
        &setup,
        None,
        Wish { drain, quarantine: args.quarantine, rejected: args.rejected, from_store: args.from_s3 },
    );
    display.end();
    tell(&outcome, args.json, say)?;
    Ok(code(&outcome, &stop))
}

fn tell(outcome: &Outcome, json: bool, say: &dyn Fn(&Error)) -> Result<()> {
    outcome.problems.iter().for_each(say);
    let Summary { pages, fetched, new, duplicates, quarantined, uploaded_parts, seconds, .. } = outcome.summary;
    let exit = outcome.exit_code();
    tracing::info!(exit, pages, fetched, new, duplicates, quarantined, uploaded_parts, seconds, "the run ended");
    // A run that never got to work has nothing to sum up.
    if !outcome.began {
        return Ok(());
    }
    if json {
        crate::cli::print::print_json(&outcome.summary)
    } else {
        crate::cli::print::print(&text::summary(&outcome.summary))
    }
}

/// That of the most pressing problem; that of the signal where nothing was worse.
fn code(outcome: &Outcome, stop: &Stop) -> u8 {
    match outcome.exit_code() {
        0 => stop.exit_code().unwrap_or(0),
        worse => worse,
    }
}
