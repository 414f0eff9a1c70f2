//! `etl status`: its flags and its help.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{hour, positive_duration};
use crate::config::parse_duration;
use crate::hour::Hour;

pub(super) const EXAMPLES: &str = "\
Examples:
  etl status                                 heat map, hours, gaps; works while a run goes on
  etl status --days 31 --all                 as far back as it goes
  etl status --watch 5s                      refreshed until Ctrl-C
  etl status --json                          the same for programs
  etl status --hour 2023-03-10T01            is this hour complete? its certificate, however old it is
  etl status --html status.html              one page for a browser; nothing else is needed to show it

For monitoring, one line and exit 0 fine, 1 warning, 2 critical, 3 could not look:
  etl status --check
  etl status --check --warn-age 30m --crit-age 2h --warn-quarantine 10";

/// `etl status`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long, conflicts_with_all = ["check", "watch", "html"])]
    pub json: bool,
    /// Only this hour, as in 2023-03-10T01
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub hour: Option<Hour>,
    /// Days in the heat map, up to 31 [default: 7; in HTML 31]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=31))]
    pub days: Option<u8>,
    /// List every hour that is known, not only the newest
    #[arg(long)]
    pub all: bool,
    /// Stay on the terminal and refresh, this often, until Ctrl-C
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s", value_parser = positive_duration)]
    #[arg(conflicts_with_all = ["check", "html"])]
    pub watch: Option<Duration>,
    /// Write one self-contained page into this file, replacing it as a whole
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "hour"])]
    pub html: Option<PathBuf>,
    /// Answer for monitoring: exit 0 fine, 1 warning, 2 critical, 3 could not look
    #[arg(long, conflicts_with = "hour")]
    pub check: bool,
    /// What --check finds too much.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// The limits of `--check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits of --check (0s: never)")]
pub struct LimitArgs {
    /// Warn where the last run that succeeded is older
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = parse_duration, requires = "check")]
    pub warn_age: Duration,
    /// Critical where it is older than this
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = parse_duration, requires = "check")]
    pub crit_age: Duration,
    /// Warn where an hour has been due for longer and is not uploaded
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration, requires = "check")]
    pub warn_pending: Duration,
    /// Critical where it has been due for longer than this
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = parse_duration, requires = "check")]
    pub crit_pending: Duration,
    /// Warn where more tokens are in the quarantine
    #[arg(long, value_name = "N", default_value_t = 0, requires = "check")]
    pub warn_quarantine: u64,
    /// Critical where more than this are [default: never]
    #[arg(long, value_name = "N", requires = "check")]
    pub crit_quarantine: Option<u64>,
    /// Warn where more ids are in gaps, for a day after the newest gap was found
    #[arg(long, value_name = "N", default_value_t = 0, requires = "check")]
    pub warn_missing: u64,
    /// Critical where more than this are [default: never]
    #[arg(long, value_name = "N", requires = "check")]
    pub crit_missing: Option<u64>,
}
