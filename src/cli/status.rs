//! `etl status`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::print::{print_bytes, print_json, styled};
use super::values::hour;
use super::{cluster, hours, monitoring, setup, several};
use crate::config::{self, Config, Overrides, parse_duration, parse_positive_duration};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, Hour, SystemClock};
use crate::output::plain_text::clean;
use crate::output::{self, Form};
use crate::state::status::days::KEPT;
use crate::state::status::history::{self, PastRun};
use crate::state::status::{self, Status};
use crate::stop::Stop;
use crate::view::heat::Heat;
use crate::view::html;
use crate::view::monitor::{Limits, Thresholds};
use crate::view::screen::{self, Screen};

pub(super) const EXAMPLES: &str = "\
Examples:
  etl status                                 heat map, hours, gaps; also while a run is at work
  etl status --days 31 --all                 as far back as it goes
  etl status --watch 5s                      refreshed until Ctrl-C
  etl status --json                          the same for programs
  etl status --hour 2023-03-10T01            is this hour complete? the same as `etl hours`
  etl status --runs                          the runs of the past: when, exit, counts, problem
  etl status --html status.html              one self-contained page for a browser
  etl status --config a.toml --config b.toml   several pipelines in one table; also --json, --html, --check

For monitoring, one line and exit 0 fine, 1 warning, 2 critical, 3 unknown:
  etl status --check
  etl status --check --warn-age 30m --crit-age 2h --warn-quarantine 10";

/// `etl status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct StatusArgs {
    /// Print one JSON object
    #[arg(long, conflicts_with_all = ["check", "watch", "html"])]
    pub(super) json: bool,
    /// Only this hour, as in 2023-03-10T01
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub(super) hour: Option<Hour>,
    /// Days in the heat map, up to 31 [default: 7; in HTML 31]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=31))]
    days: Option<u8>,
    /// List all known hours, not only the newest
    #[arg(long)]
    all: bool,
    /// Refresh on the terminal at this interval, until Ctrl-C
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s", value_parser = parse_positive_duration)]
    #[arg(conflicts_with_all = ["check", "html"])]
    pub(super) watch: Option<Duration>,
    /// List the newest runs, up to 500 [default: 20; with --json all]
    #[arg(long, value_name = "N", num_args = 0..=1, value_parser = clap::value_parser!(u16).range(1..=500))]
    #[arg(conflicts_with_all = ["check", "hour", "watch", "html"])]
    pub(super) runs: Option<Option<u16>>,
    /// Write one self-contained HTML page to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "hour"])]
    pub(super) html: Option<PathBuf>,
    /// Print one line for monitoring: exit 0 fine, 1 warning, 2 critical, 3 unknown
    #[arg(long, conflicts_with = "hour")]
    pub(super) check: bool,
    /// What --check finds too much.
    #[command(flatten)]
    pub(super) limits: LimitArgs,
}

/// The limits of `--check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits of --check (0s: never)")]
pub(super) struct LimitArgs {
    /// Warn if the last successful run is older than this; without --check: from then on it is not "all well"
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = parse_duration)]
    warn_age: Duration,
    /// Critical if it is older than this
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = parse_duration, requires = "check")]
    crit_age: Duration,
    /// Warn if an hour has been due for longer than this and is not uploaded
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration, requires = "check")]
    warn_pending: Duration,
    /// Critical if it has been due for longer than this
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = parse_duration, requires = "check")]
    crit_pending: Duration,
    /// Warn if more tokens than this are in the quarantine
    #[arg(long, value_name = "N", default_value_t = 0, requires = "check")]
    warn_quarantine: u64,
    /// Critical if there are more than this [default: never]
    #[arg(long, value_name = "N", requires = "check")]
    crit_quarantine: Option<u64>,
    /// Warn if more ids than this are missing, for a day after the newest gap was found
    #[arg(long, value_name = "N", default_value_t = 0, requires = "check")]
    warn_missing: u64,
    /// Critical if there are more than this [default: never]
    #[arg(long, value_name = "N", requires = "check")]
    crit_missing: Option<u64>,
}

/// Days in the heat map of a terminal.
const DAYS: usize = 7;
/// Runs that are listed.
const RUNS: usize = 20;
/// Width where the screen's is not known.
const COLUMNS: usize = 80;
/// The other screen of the terminal, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Prints the status. With `--check` the exit code is that of a monitoring plugin.
pub(super) fn status(all: &[Overrides], args: &StatusArgs) -> Result<u8> {
    let [flags] = all else { return several::status(all, args) };
    if args.check {
        return Ok(monitoring::check(flags, &thresholds(&args.limits)));
    }
    let config = &Config::from_process(flags)?;
    if let Some(most) = args.runs {
        return runs(config, most, args.json);
    }
    if let Some(interval) = args.watch {
        return watch(interval, |now| match read(config, args, now) {
            Ok(status) => text(config, args, &status, now, screen(args)),
            Err(error) => format!("{}\n", clean(&error.chain())),
        });
    }
    let now = SystemClock.now();
    if let Some(hour) = args.hour {
        return hours::in_status(config, hour, args.json, now);
    }
    let status = read(config, args, now)?;
    if let Some(file) = &args.html {
        write_page(config, args, &status, file, now)?;
    }
    if args.json {
        print_json(&status)?;
    } else if args.html.is_none() {
        print_bytes(styled(&text(config, args, &status, now, screen(args))).as_bytes())?;
    }
    Ok(0)
}

/// The shape of `etl status --runs --json`: the newest first.
#[derive(Serialize)]
struct Runs<'a> {
    schema: u32,
    runs: &'a [PastRun],
}

/// Lists the runs of the past.
fn runs(config: &Config, most: Option<u16>, json: bool) -> Result<u8> {
    // A state directory of a newer format is refused here, too.
    status::read(&config.state.dir, SystemClock.now())?;
    let mut runs = history::read(&history_dir(config));
    if json {
        runs.truncate(most.map_or(history::KEPT, usize::from));
        print_json(&Runs { schema: 1, runs: &runs })?;
    } else {
        print_bytes(styled(&screen::runs(&runs, most.map_or(RUNS, usize::from))).as_bytes())?;
    }
    Ok(0)
}

pub(super) fn read(config: &Config, args: &StatusArgs, now: Timestamp) -> Result<Status> {
    if let Some(mut status) = cluster::merged(config, now)? {
        only(&mut status, args.hour)?;
        return Ok(status);
    }
    let mut status = status::read_both(&config.state.dir, config.run.status_file.as_deref(), now)?;
    status.disk = status::usage(&config.state.dir, now).or(status.disk);
    if args.all {
        status::all_hours::add(&config.state.dir, &mut status)?;
    }
    only(&mut status, args.hour)?;
    Ok(status)
}

/// Leaves one hour, where one was asked for.
fn only(status: &mut Status, hour: Option<Hour>) -> Result<()> {
    let Some(hour) = hour else { return Ok(()) };
    status.hours.retain(|h| h.hour == hour);
    if status.hours.is_empty() {
        return Err(Error::new(ErrorKind::Usage, format!("hour {hour} is neither pending nor among the newest"))
            .hint("`etl verify` checks all hours"));
    }
    Ok(())
}

/// Where the runs of this machine are noted: in a cluster those that ask the source.
fn history_dir(config: &Config) -> PathBuf {
    if config.cluster.is_some() { config.state.dir.join("fetch") } else { config.state.dir.clone() }
}

fn text(config: &Config, args: &StatusArgs, status: &Status, now: Timestamp, screen: Screen) -> String {
    let heat = match args.hour {
        Some(_) => Heat::default(),
        None => heat(config, args, status, now, DAYS),
    };
    screen::status(status, &heat, now, screen)
}

pub(super) fn heat(config: &Config, args: &StatusArgs, status: &Status, now: Timestamp, days: usize) -> Heat {
    Heat::of(status, &setup::closing(config), now, args.days.map_or(days, usize::from))
}

fn screen(args: &StatusArgs) -> Screen {
    let size = terminal_size::terminal_size();
    let columns = size.map_or(COLUMNS, |(columns, _)| usize::from(columns.0));
    let (unicode, all) = (config::locale_is_utf8(), args.all || args.hour.is_some());
    Screen { unicode, columns, all, fresh: fresh(args) }
}

fn write_page(config: &Config, args: &StatusArgs, status: &Status, file: &Path, now: Timestamp) -> Result<()> {
    let heat = heat(config, args, status, now, KEPT);
    let (name, runs) = (config.name(), history::read(&history_dir(config)));
    let shown = html::Shown { name: &name, fresh: fresh(args), runs: &runs };
    output::replace(file, html::page(status, &heat, &shown, now).as_bytes(), Form::PUBLIC)
}

/// Shows what `show` gives again and again, on the terminal's other screen, until a signal comes.
pub(super) fn watch(interval: Duration, show: impl Fn(Timestamp) -> String) -> Result<u8> {
    if !std::io::stdout().is_terminal() {
        return Err(
            Error::new(ErrorKind::Usage, "--watch needs a terminal").hint("for a file use --html, for programs --json")
        );
    }
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let other = OtherScreen::enter()?;
    loop {
        let now = SystemClock.now();
        // A run may be replacing what is read: what cannot be read is said, and tried again.
        let shown = show(now);
        print_bytes(frame(&styled(&shown), now, interval).as_bytes())?;
        if stop.sleep(interval) {
            break;
        }
    }
    drop(other);
    Ok(stop.exit_code().unwrap_or(0))
}

/// What is shown, cut to the screen, over what was there before.
fn frame(shown: &str, now: Timestamp, interval: Duration) -> String {
    let rows = terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| usize::from(rows.0));
    let head = format!("{} UTC, every {interval:?}; Ctrl-C ends\n\n", now.strftime("%Y-%m-%d %H:%M:%S"));
    let mut lines: Vec<&str> = head.lines().chain(shown.lines()).collect();
    if lines.len() > rows {
        lines.truncate(rows.saturating_sub(1));
        lines.push("…");
    }
    format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n"))
}

/// The terminal's other screen. Leaves it whatever happens.
struct OtherScreen;

impl OtherScreen {
    fn enter() -> Result<Self> {
        print_bytes(ENTER.as_bytes())?;
        Ok(Self)
    }
}

impl Drop for OtherScreen {
    fn drop(&mut self) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

/// The age up to which a success counts.
pub(super) fn fresh(args: &StatusArgs) -> Option<u64> {
    seconds(args.limits.warn_age)
}

/// A limit; `0s` is none.
fn seconds(limit: Duration) -> Option<u64> {
    (!limit.is_zero()).then_some(limit.as_secs())
}

pub(super) fn thresholds(args: &LimitArgs) -> Thresholds {
    let ages = |warn, crit| Limits { warn: seconds(warn), crit: seconds(crit) };
    Thresholds {
        age: ages(args.warn_age, args.crit_age),
        pending: ages(args.warn_pending, args.crit_pending),
        quarantine: Limits { warn: Some(args.warn_quarantine), crit: args.crit_quarantine },
        missing: Limits { warn: Some(args.warn_missing), crit: args.crit_missing },
        uncommitted: Limits { warn: Some(0), crit: None },
    }
}
