//! `etl run` and `etl replay`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::print::{print, print_json};
use super::progress::RunDisplay;
use super::setup;
use super::watchers::Watchers;
use crate::config::{Config, SourceLocation, parse_positive_duration};
use crate::error::{Error, Result};
use crate::hour::{Clock, SystemClock};
use crate::job::{self, Outcome, RunRequest, Summary};
use crate::stop::Stop;
use crate::view::text;

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  etl run                                    one tick; put this into cron
  etl run --every 3m                         keep running, and repeat
  etl run --max-runtime 10m                  stop cleanly before the next tick is due
  etl run --drain                            seal and upload everything now, open hours too
  etl run --dry-run                          fetch, print what a run would do, write nothing
  etl run --json                             the summary as one JSON object
  etl run --metrics-file /var/lib/node_exporter/etl.prom

As a crontab line:
  */3 * * * * etl --config /etc/etl/etl.toml run";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  etl replay                                 finish what was interrupted; fetch nothing
  etl replay --quarantine                    try quarantined tokens again, for example with a new key
  etl replay --rejected                      parse the bodies again that were not pages
  etl replay --json                          what was found and done as one JSON object";

/// `etl run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct RunArgs {
    /// Keep running, and repeat at this interval, as in 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    pub(super) every: Option<Duration>,
    /// Stop cleanly after this long, as in 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    pub(super) max_runtime: Option<Duration>,
    /// Seal and upload everything now, including hours that are still open
    #[arg(long)]
    drain: bool,
    /// Fetch and decode in memory, print what a run would do, write nothing
    #[arg(long, conflicts_with = "every")]
    dry_run: bool,
    /// Write the run's metrics to this file, for Prometheus [default: run.metrics_file]
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(super) metrics_file: Option<PathBuf>,
    /// Report to a monitor: POST to URL/start, then to URL/ and the exit code. Others on this machine can see a flag: prefer
    /// ETL_PING_URL
    #[arg(long, value_name = "URL", conflicts_with = "dry_run")]
    pub(super) ping: Option<String>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// `etl replay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct ReplayArgs {
    /// Try all quarantined tokens again
    #[arg(long)]
    quarantine: bool,
    /// Parse the bodies again that were set aside because they were not pages
    #[arg(long)]
    rejected: bool,
    /// First rebuild the ledger and the hashes from the parts in the store
    #[arg(long)]
    from_s3: bool,
    /// Print what was found and done as one JSON object
    #[arg(long)]
    json: bool,
}

/// Fetches, commits, seals, uploads; with `--every` again and again.
pub(super) fn run(config: &Config, args: &RunArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let started = Instant::now();
    let stop = Stop::with_deadline(args.max_runtime.and_then(|limit| started.checked_add(limit)));
    crate::stop::install(&stop)?;
    let request = RunRequest { drain: args.drain, ..RunRequest::default() };
    loop {
        let next = args.every.and_then(|every| Instant::now().checked_add(every));
        if args.dry_run {
            return dry_run(config, args, &stop);
        }
        let watchers = Watchers::start(config, args.ping.as_deref(), args.metrics_file.as_ref());
        let outcome = match tick(config, request, &stop) {
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
fn tick(config: &Config, request: RunRequest, stop: &Stop) -> Result<Outcome> {
    // Fetching may take half of the time: the other half is for sealing and uploading.
    let mut client = setup::client(config, &stop.at_half_time())?;
    let display = RunDisplay::new();
    let progress = |progress| display.show(progress);
    let setup = setup::setup(config, &SystemClock, stop, &progress)?;
    let source = setup::source(config, client.as_mut())?;
    let outcome = job::run(&setup, Some(source), request);
    display.end();
    Ok(outcome)
}

/// Prints what a run would do.
fn dry_run(config: &Config, args: &RunArgs, stop: &Stop) -> Result<u8> {
    let mut client = setup::client(config, stop)?;
    let setup = setup::setup(config, &SystemClock, stop, &|_| ())?;
    let found = job::dry_run(&setup, &mut setup::source(config, client.as_mut())?)?;
    if args.json {
        print_json(&found)?
    } else {
        print(&(found.summary(SystemClock.now()) + "\n"))?
    }
    Ok(0)
}

/// Finishes what was interrupted.
pub(super) fn replay(config: &Config, args: &ReplayArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let display = RunDisplay::new();
    let progress = |progress| display.show(progress);
    let setup = setup::setup(config, &SystemClock, &stop, &progress)?;
    // A backfill does not wait for hours to close, and neither does its replay.
    let backfill = matches!(config.source.location(), Ok(SourceLocation::Files(_)));
    let outcome = job::run(
        &setup,
        None,
        RunRequest {
            drain: false,
            backfill,
            quarantine: args.quarantine,
            rejected: args.rejected,
            from_store: args.from_s3,
        },
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
    // A run that did not begin has no summary.
    if !outcome.began {
        return Ok(());
    }
    if json { print_json(&outcome.summary) } else { print(&text::summary(&outcome.summary)) }
}

/// The exit code of the most urgent problem; without one, that of the signal.
fn code(outcome: &Outcome, stop: &Stop) -> u8 {
    match outcome.exit_code() {
        0 => stop.exit_code().unwrap_or(0),
        worse => worse,
    }
}
