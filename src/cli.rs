//! The command line: what can be asked for, and the help. No logic.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::config::{Overrides, parse_duration};
use crate::hour::Hour;

const EXIT_CODES: &str = "\
Exit codes; of several the first that applies, in this order:
   1  a bug
   2  wrong usage
  11  another run is at work on the state directory
  74  the local disk or the state directory
  78  the configuration
  77  a key or credential was refused
  76  an object is not what the ledger says, or a foreign one is in the way
  75  source or S3 unavailable: nothing is lost, run again
  65  done, but tokens were newly quarantined
   0  done, or nothing to do
 130, 143  stopped by Ctrl-C or SIGTERM, after a clean step

Examples:
  etl run --config fixtures/demo.toml      the whole job on the pages in fixtures/
  etl status                               what is pending
  etl simulate                             an API to try it with";

/// Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron.
#[derive(Debug, Parser)]
#[command(name = "etl", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration file [default: $ETL_CONFIG, else ./etl.toml where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The state directory [default: state.dir]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// How the log on stderr looks [default: text on a terminal, else json]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Say more on stderr; twice: much more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What the command line says about the configuration.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides { config: self.config.clone(), state_dir: self.state_dir.clone() }
    }
}

/// How the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch, keep what is new, seal closed hours, upload: what cron starts
    Run(RunArgs),
    /// Finish what a crash interrupted, without fetching
    Replay(ReplayArgs),
    /// Show what is pending; works while a run goes on
    Status(StatusArgs),
    /// Compare the store with the ledger
    Verify(VerifyArgs),
    /// Write the original logs back from the store
    Restore(RestoreArgs),
    /// Serve synthetic encrypted logs on loopback, with as much trouble as asked for
    Simulate(SimulateArgs),
}

/// `etl run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  */3 * * * *  cd /srv/etl && etl run --max-runtime 10m     in a crontab
  etl run --every 5m                                        stays, and repeats
  etl run --drain                                           seals everything now
  etl run --dry-run                                         says what it would do")]
pub struct RunArgs {
    /// Stay, and run again so long after each start
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub every: Option<Duration>,
    /// Stop after the step at hand once so much time has passed
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub max_runtime: Option<Duration>,
    /// Seal everything now, closed or not
    #[arg(long)]
    pub drain: bool,
    /// Fetch and decode in memory, say what would be done, write nothing
    #[arg(long, conflicts_with_all = ["every", "drain"])]
    pub dry_run: bool,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `etl replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etl replay                  commits the journal's pages, uploads pending parts
  etl replay --quarantine     tries all quarantined tokens again, too")]
pub struct ReplayArgs {
    /// Try all quarantined tokens again
    #[arg(long)]
    pub quarantine: bool,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `etl status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etl status                          a table
  etl status --json                   for machines
  etl status --hour 2023-03-10T01     one hour
  etl status --check                  for monitoring: exit 0 well, 1 warning, 2 critical, 3 could not look")]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// One line and an exit code for monitoring
    #[arg(long, conflicts_with_all = ["json", "hour"])]
    pub check: bool,
    /// Only this hour, as in 2023-03-10T01
    #[arg(long, value_name = "HOUR")]
    pub hour: Option<Hour>,
}

/// `etl verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etl verify            looks at each part: there, size, identity; names strangers below data/
  etl verify --deep     downloads, decodes and counts as well")]
pub struct VerifyArgs {
    /// Download and decode each part
    #[arg(long)]
    pub deep: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `etl restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  etl restore                                               all logs, as NDJSON
  etl restore --hour 2023-03-10T01                          those of one hour
  etl restore --since 2023-03-10T00 --until 2023-03-10T23 --out originals
  etl restore --from s3://my-logs/prefix/                   another place than the configured one")]
pub struct RestoreArgs {
    /// Read from there: s3://bucket/prefix/ or a directory [default: load.to]
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// Only this hour
    #[arg(long, value_name = "HOUR", conflicts_with_all = ["since", "until"])]
    pub hour: Option<Hour>,
    /// From this hour on
    #[arg(long, value_name = "HOUR")]
    pub since: Option<Hour>,
    /// Up to this hour, included
    #[arg(long, value_name = "HOUR")]
    pub until: Option<Hour>,
    /// Write one file an hour to this directory, instead of to stdout
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `etl simulate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Serves a window of the newest records, each in a new token at each request, on 127.0.0.1. The key is that of
$FERNET_KEY, else one made from the seed, and printed. Shares are in percent.

Examples:
  etl simulate --port 8080
  etl simulate --late 5 --duplicates 10 --garbage 1 --errors 20 --cut 10 --truth truth.ndjson
  etl simulate --out pages --pages 100")]
pub struct SimulateArgs {
    /// The port; 0 for any free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// What everything is derived from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Records in a response
    #[arg(long, default_value_t = 100)]
    pub window: u64,
    /// New records after each response
    #[arg(long, default_value_t = 60)]
    pub advance: u64,
    /// The time of the first record
    #[arg(long, value_name = "TIME", default_value = "2023-03-10T00:00:00Z")]
    pub start: Timestamp,
    /// The time from one record to the next
    #[arg(long, value_name = "TIME", default_value = "1800ms", value_parser = parse_duration)]
    pub interval: Duration,
    /// Stop producing after so many records
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Records that come late
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub late: f64,
    /// Records that come twice in a response
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub duplicates: f64,
    /// Extra elements that are no record
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub garbage: f64,
    /// Extra records under another key
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub wrong_key: f64,
    /// Records in JSON instead of as a Python dict
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub json_plain: f64,
    /// Good records of unusual shapes
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub odd: f64,
    /// Responses with 502 or 504 and HTML
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub errors: f64,
    /// Responses that end too early
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub cut: f64,
    /// Responses that stall
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub stall: f64,
    /// How long a stall lasts
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub stall_for: Duration,
    /// Follow the wall clock
    #[arg(long)]
    pub live: bool,
    /// Write each distinct record that was served to this file
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Write pages to this directory instead of serving
    #[arg(long, value_name = "DIR", requires = "pages")]
    pub out: Option<PathBuf>,
    /// How many pages to write
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub pages: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
