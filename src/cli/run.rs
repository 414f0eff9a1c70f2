//! `etl run` and `etl replay`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::member::Machine;
use super::print::{print, print_json};
use super::progress::RunDisplay;
use super::watchers::{self, Watchers};
use super::{cluster, failed, setup, span, tell};
use crate::config::{self, Config, Overrides, Shown, SourceLocation, parse_positive_duration};
use crate::error::{Error, Result};
use crate::hour::{Clock, SystemClock};
use crate::job::{self, Outcome, Report, RunRequest, Source, Summary};
use crate::source::Template;
use crate::state::status::Command;
use crate::stop::Stop;
use crate::view::text;

/// Between two looks at what is ours in a cluster.
const LOOK: Duration = Duration::from_millis(500);

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  etl run                                    one tick; put this into cron
  etl run --every 3m                         keep running, and repeat
  etl run --max-runtime 10m                  stop cleanly before the next tick is due
  etl run --drain                            seal and upload everything now, open hours too
  etl run --dry-run                          fetch, print what a run would do, write nothing
  etl run --since 2023-03-01 --until 2023-04-01   what an API has of that month, a day at a time
  etl run --json                             the summary as one JSON object
  etl run --metrics-file /var/lib/node_exporter/etl.prom

As a crontab line, which mails only what went wrong (secrets in /etc/etl/.env):
  */3 * * * *  /usr/local/bin/etl --config /etc/etl/etl.toml run --max-runtime 10m > /dev/null";

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
    pub(super) drain: bool,
    /// Fetch and decode in memory, print what a run would do, write nothing
    #[arg(long, conflicts_with = "every")]
    dry_run: bool,
    /// Ask an API for what happened from this time on, until --until: a backfill beside what is new. A day, or a time
    #[arg(long, value_name = "TIME", requires = "until", conflicts_with_all = ["every", "dry_run", "metrics_file", "ping"])]
    pub(super) since: Option<String>,
    /// The end of that time
    #[arg(long, value_name = "TIME", requires = "since")]
    pub(super) until: Option<String>,
    /// How much of it is asked for at once [default: 1d]
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration, requires = "since")]
    pub(super) window: Option<Duration>,
    /// Write the run's metrics to this file, for Prometheus [default: run.metrics_file]
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(super) metrics_file: Option<PathBuf>,
    /// Report to a monitor: POST to URL/start, then to URL/ and the exit code. Others on this machine can see a flag: prefer
    /// ETL_PING_URL
    #[arg(long, value_name = "URL", conflicts_with = "dry_run")]
    pub(super) ping: Option<String>,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub(super) json: bool,
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

/// Fetches, commits, seals, uploads; with `--every` again and again. Each time is a run of its own: the configuration, `.env` and
/// the files of keys are read again.
pub(super) fn run(flags: &Overrides, args: &RunArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let started = Instant::now();
    let stop = Stop::with_deadline(args.max_runtime.and_then(|limit| started.checked_add(limit)));
    crate::stop::install(&stop).map_err(|error| failed::unread(flags, Command::Run, error))?;
    if args.since.is_some() {
        return span::run(flags, args, &stop, say);
    }
    let mut machine = Machine::default();
    let ended = match args.every {
        None => run_once(flags, args, &stop, say, &mut machine),
        Some(every) => repeat(flags, args, every, &stop, say, &mut machine),
    };
    machine.leave();
    ended
}

/// Runs again and again.
fn repeat(
    flags: &Overrides,
    args: &RunArgs,
    every: Duration,
    stop: &Stop,
    say: &dyn Fn(&Error),
    machine: &mut Machine,
) -> Result<u8> {
    let started = Instant::now();
    let mut before = None;
    loop {
        let next = Instant::now().checked_add(every).unwrap_or(started);
        let is_first = before.is_none();
        say_changes(flags, &mut before);
        let code = match run_once(flags, args, stop, say, machine) {
            // A later tick may find corrected what is wrong now.
            Err(error) if !is_first => {
                say(&error);
                error.kind().exit_code()
            }
            ended => ended?,
        };
        if wait(next, machine, stop) {
            return Ok(or_of_signal(code, stop));
        }
    }
}

/// Waits until then, or until another machine's work has become ours. Whether it is time to stop.
fn wait(until: Instant, machine: &Machine, stop: &Stop) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let moment = match machine.has_news() {
            None => left,
            Some(true) => Duration::ZERO,
            Some(false) => left.min(LOOK),
        };
        if stop.sleep(moment) || moment.is_zero() || moment == left {
            return stop.is_requested();
        }
    }
}

/// Says which settings changed since the tick before.
fn say_changes(flags: &Overrides, before: &mut Option<Shown>) {
    let Ok(now) = config::settings(flags) else { return };
    for change in before.iter().flat_map(|before| now.changes_since(before)) {
        tracing::warn!("{change}");
    }
    *before = Some(now);
}

/// A run, with all who are told of it.
fn run_once(flags: &Overrides, args: &RunArgs, stop: &Stop, say: &dyn Fn(&Error), machine: &mut Machine) -> Result<u8> {
    let config = match Config::from_process(flags) {
        Ok(config) => config,
        Err(error) if args.dry_run => return ended_early(error, args.json),
        Err(error) => {
            let error = failed::unread(flags, Command::Run, error);
            watchers::end_without_config(args.ping.as_deref(), &error);
            return ended_early(error, args.json);
        }
    };
    if args.dry_run {
        return dry_run(&config, args, stop).or_else(|error| ended_early(error, args.json));
    }
    let watchers = Watchers::start(&config, args.ping.as_deref(), args.metrics_file.as_ref());
    let request = RunRequest { drain: args.drain, ..RunRequest::default() };
    let ticked = machine.tick(&config, request, true, stop);
    let outcome = match ticked.unwrap_or_else(|| tick(&config, request, stop, |template| template)) {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = failed::unused(&config, Command::Run, error);
            watchers.end(error.kind().exit_code(), Err(&error));
            return ended_early(error, args.json);
        }
    };
    watchers.end(code(&outcome, stop), Ok(&outcome));
    tell::problems(&config, &outcome, true, say);
    show(&outcome, code(&outcome, stop), args.json)?;
    // A signal may have come while others were told.
    Ok(code(&outcome, stop))
}

/// A run that did not get as far as to have an outcome. The error is told by whoever gets it.
fn ended_early(error: Error, json: bool) -> Result<u8> {
    if json {
        let (nothing, exit) = (Summary::default(), error.kind().exit_code());
        print_json(&Report::new(&nothing, std::slice::from_ref(&error), exit, SystemClock.now()))?;
    }
    Err(error)
}

/// One run, which asks an API for what `wanted` makes of the template.
pub(super) fn tick(
    config: &Config,
    request: RunRequest,
    stop: &Stop,
    wanted: impl FnOnce(Template) -> Template,
) -> Result<Outcome> {
    // Fetching may take half of the time: the other half is for sealing and uploading.
    let mut client = setup::client(config, &stop.at_half_time())?;
    let display = RunDisplay::new();
    let progress = |progress| display.show(progress);
    let setup = setup::setup(config, &SystemClock, stop, &progress)?;
    let source = match setup::source(config, client.as_mut())? {
        Source::Http { client, template } => Source::Http { client, template: wanted(template) },
        files => files,
    };
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
pub(super) fn replay(flags: &Overrides, args: &ReplayArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let read = Config::from_process(flags).map_err(|error| failed::unread(flags, Command::Replay, error));
    let finished = read.and_then(|config| match finish(&config, args, &stop) {
        Ok(outcome) => Ok((outcome, config)),
        Err(error) => Err(failed::unused(&config, Command::Replay, error)),
    });
    let (outcome, config) = match finished {
        Ok(finished) => finished,
        Err(error) => return ended_early(error, args.json),
    };
    tell::problems(&config, &outcome, false, say);
    show(&outcome, code(&outcome, &stop), args.json)?;
    Ok(code(&outcome, &stop))
}

fn finish(config: &Config, args: &ReplayArgs, stop: &Stop) -> Result<Outcome> {
    let request = RunRequest {
        quarantine: args.quarantine,
        rejected: args.rejected,
        from_store: args.from_s3,
        ..RunRequest::default()
    };
    refuse_of_a_cluster(config, args)?;
    let mut machine = Machine::default();
    if let Some(ticked) = machine.tick(config, request, false, stop) {
        machine.leave();
        return ticked;
    }
    let display = RunDisplay::new();
    let progress = |progress| display.show(progress);
    let setup = setup::setup(config, &SystemClock, stop, &progress)?;
    // A backfill does not wait for hours to close, and neither does its replay.
    let backfill = matches!(config.source.location(), Ok(SourceLocation::Files(_)));
    let outcome = job::run(&setup, None, RunRequest { backfill, ..request });
    display.end();
    Ok(outcome)
}

/// Lanes do by themselves what these are for.
fn refuse_of_a_cluster(config: &Config, args: &ReplayArgs) -> Result<()> {
    if args.from_s3 {
        let hint =
            "leave it out: lanes read back what the store has when they seal an hour, whatever their states have lost";
        cluster::refuse(config, "--from-s3", hint)?;
    }
    if args.rejected {
        let hint = "leave it out: bodies that are no pages wait in Kafka, and are tried again when the configuration or the version of etl has changed";
        cluster::refuse(config, "--rejected", hint)?;
    }
    Ok(())
}

/// Prints what a run did.
fn show(outcome: &Outcome, exit: u8, json: bool) -> Result<()> {
    let Summary { pages, fetched, new, duplicates, quarantined, uploaded_parts, seconds, .. } = outcome.summary;
    tracing::info!(exit, pages, fetched, new, duplicates, quarantined, uploaded_parts, seconds, "the run ended");
    let now = SystemClock.now();
    match (json, outcome.began) {
        (true, _) => print_json(&Report::new(&outcome.summary, &outcome.problems, exit, now)),
        (false, true) => print(&text::summary(&outcome.summary, now)),
        // A run that did not begin has no summary.
        (false, false) => Ok(()),
    }
}

/// The exit code of the most urgent problem; without one, that of the signal.
pub(super) fn code(outcome: &Outcome, stop: &Stop) -> u8 {
    or_of_signal(outcome.exit_code(), stop)
}

fn or_of_signal(exit: u8, stop: &Stop) -> u8 {
    match exit {
        0 => stop.exit_code().unwrap_or(0),
        worse => worse,
    }
}
