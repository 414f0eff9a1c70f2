//! The command line: commands, flags, help. No logic.
//!
//! Invariant: no secret has to be a flag's value (`--ping` can be one, and says so), and durations read as they do in the
//! file. The examples of the help texts are parsed by a test.

mod certificate;
pub mod check;
pub mod ddl;
pub mod init;
pub mod manual;
mod print;
mod progress;
pub mod quarantine;
mod restore;
mod run;
mod setup;
mod simulate;
pub mod status;
mod verify;
mod watchers;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

pub use self::check::check;
pub use self::ddl::ddl;
pub use self::init::init;
pub use self::manual::{completions, man};
pub use self::quarantine::quarantine;
pub use self::restore::restore;
pub use self::run::{replay, run};
pub use self::simulate::simulate;
pub use self::status::{LimitArgs, StatusArgs, status};
pub use self::verify::verify;
use crate::config::{Overrides, parse_duration};
use crate::hour::Hour;

const ABOUT: &str = "Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron";

const LONG_ABOUT: &str = "\
Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron.

etl fetches pages of Fernet-encrypted logs, keeps each distinct record once, and puts every finished hour into S3 (or a \
folder) as small gzipped NDJSON files that AWS Athena can query. Whatever crashes, and however often it is started, \
no record is lost and none is written twice: after any failure, just run it again.

It reads etl.toml, the environment and .env, and works with the environment alone: API_URL, FERNET_KEY, \
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_S3_BUCKETNAME, ETL_STATE_DIR.";

const EXAMPLES: &str = "\
Examples:
  etl run                                    one tick, as cron does it
  etl --config /etc/etl/etl.toml run         with a configuration file
  etl status                                 what is pending, what is wrong
  etl verify                                 is everything that was uploaded still there?
  etl restore --hour 2023-03-10T01           the original logs of an hour";

const LONG_EXAMPLES: &str = "\
Examples:
  etl run                                    one tick, as cron does it
  etl --config /etc/etl/etl.toml run         with a configuration file
  etl status                                 what is pending, what is wrong
  etl verify                                 is everything that was uploaded still there?
  etl restore --hour 2023-03-10T01           the original logs of an hour

Exit codes (of several, the first that applies in this order):
    1  a bug in etl: please report it
    2  the command line was wrong
   11  another run holds the lock: nothing to do
   74  local disk or state: free space or repair
   78  configuration: fix the key that the message names
   77  a key or credential was refused
   76  the store holds something else than it should: look at it
   75  source or store unavailable: nothing lost, run again
   65  done, but records were newly quarantined: look at them
    0  done, or nothing to do
  130  stopped by Ctrl-C after a clean step (143: by SIGTERM)";

const RUN_EXAMPLES: &str = "\
Examples:
  etl run                                    one tick; put this into cron
  etl run --every 3m                         stay, and repeat
  etl run --max-runtime 10m                  stop cleanly before the next tick is due
  etl run --drain                            seal and upload everything now, also open hours
  etl run --dry-run                          fetch and say what would be done; write nothing
  etl run --json                             the summary as one JSON object
  etl run --metrics-file /var/lib/node_exporter/etl.prom

As a crontab line:
  */3 * * * * etl --config /etc/etl/etl.toml run";

const REPLAY_EXAMPLES: &str = "\
Examples:
  etl replay                                 finish what was interrupted; fetch nothing
  etl replay --quarantine                    try quarantined tokens again, say after adding a key
  etl replay --rejected                      read the bodies again that were no pages
  etl replay --json                          what was found and done as one JSON object";

const VERIFY_EXAMPLES: &str = "\
Examples:
  etl verify                                 every part is there, with its size, identity and rows
  etl verify --deep                          also download, decode and count
  etl verify --archive                       also compare the store with the originals kept here
  etl verify --json                          the findings as one JSON object";

const RESTORE_EXAMPLES: &str = "\
Examples:
  etl restore                                everything, as NDJSON on stdout
  etl restore --hour 2023-03-10T01           one hour
  etl restore --since 2023-03-10T00 --until 2023-03-10T23
  etl restore --out originals                a file for each hour instead
  etl restore --from s3://my-logs/prefix/    from another place than the configured one
  etl restore --from lake                    from a folder";

const SIMULATE_EXAMPLES: &str = "\
Examples:
  etl simulate                               serve on a free port of 127.0.0.1, which it prints
  etl simulate --port 8080 --seed 7          the same records in every start
  etl simulate --late 5 --duplicates 10 --garbage 1 --errors 20
  etl simulate --holes 1 --delayed 2 --restart-at 3000
  etl simulate --live --interval 1.8s        records of the present, 2 000 an hour
  etl simulate --stall 2 --stall-for 40s --cut 2
  etl simulate --out pages --pages 20 --truth truth.ndjson";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "etl", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = EXAMPLES, after_long_help = LONG_EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Configuration file [default: $ETL_CONFIG, else ./etl.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// State directory, instead of the configured one
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Form of the log on stderr [default: text on a terminal, else json]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Log more: -v each step, -vv each request
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

impl Cli {
    /// What the flags say about the configuration.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides { config: self.global.config.clone(), state_dir: self.global.state_dir.clone() }
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fetch, commit, seal closed hours, upload, prune: one tick
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Finish what was interrupted, without fetching
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Show pending hours and parts, journal, quarantine, gaps and the last run
    #[command(after_help = status::EXAMPLES)]
    Status(StatusArgs),
    /// Compare the ledger with the store
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Give the original logs back, as NDJSON
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
    /// Print a table and a view for Athena, DuckDB or Glue
    #[command(after_help = ddl::EXAMPLES)]
    Ddl(ddl::DdlArgs),
    /// See whether all is well for a run: key, clock, state, store
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Look at tokens that are no records (yet), write them out, or drop them
    #[command(after_help = quarantine::EXAMPLES)]
    Quarantine(quarantine::QuarantineArgs),
    /// Serve synthetic encrypted logs on 127.0.0.1, for demos and tests
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(SimulateArgs),
    /// Write a commented etl.toml, and print how to have it run by cron or systemd
    #[command(after_help = init::EXAMPLES)]
    Init(init::InitArgs),
    /// Print a shell's completions
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(manual::CompletionsArgs),
    /// Print the manual page
    #[command(after_help = manual::MAN_EXAMPLES)]
    Man(manual::ManArgs),
}

/// `etl run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// Stay, and run again this often, as in 5m
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub every: Option<Duration>,
    /// Finish the durable step at hand and stop after this long, as in 10m
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub max_runtime: Option<Duration>,
    /// Seal and upload everything now, also hours that are still open
    #[arg(long)]
    pub drain: bool,
    /// Fetch and decode in memory, say what would be done, write nothing
    #[arg(long, conflicts_with = "every")]
    pub dry_run: bool,
    /// Write the run's figures into this file, for Prometheus [default: run.metrics_file]
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub metrics_file: Option<PathBuf>,
    /// Tell a monitor: POST to URL/start, then URL/ and the exit code. Others on this machine can see a flag: rather set
    /// ETL_PING_URL
    #[arg(long, value_name = "URL", conflicts_with = "dry_run")]
    pub ping: Option<String>,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `etl replay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReplayArgs {
    /// Try all quarantined tokens again
    #[arg(long)]
    pub quarantine: bool,
    /// Read the bodies again that were set aside as no pages
    #[arg(long)]
    pub rejected: bool,
    /// Rebuild the ledger and the hashes from the parts in the store first
    #[arg(long)]
    pub from_s3: bool,
    /// Print what was found and done as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `etl verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VerifyArgs {
    /// Download every part, decode and count it
    #[arg(long)]
    pub deep: bool,
    /// Also compare the originals in archive.dir with what the store restores to; works without a ledger too
    #[arg(long)]
    pub archive: bool,
    /// Print the findings as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `etl restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RestoreArgs {
    /// Where to read: s3://bucket/prefix/ or a folder [default: the configured destination]
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// Only this hour, as in 2023-03-10T01
    #[arg(long, value_name = "HOUR", value_parser = hour, conflicts_with_all = ["since", "until"])]
    pub hour: Option<Hour>,
    /// From this hour on
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub since: Option<Hour>,
    /// Up to this hour, it included
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    pub until: Option<Hour>,
    /// Write a file for each hour into this folder, instead of everything to stdout
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `etl simulate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SimulateArgs {
    /// Port on 127.0.0.1; 0 = a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// The same seed gives the same records and the same trouble
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Records in a page: the newest so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub window: u32,
    /// New records from one request to the next
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub advance: u32,
    /// Time of the first record
    #[arg(long, value_name = "TIME", default_value = "2023-03-10T00:00:00Z")]
    pub start: Timestamp,
    /// Time from one record to the next
    #[arg(long, value_name = "DURATION", default_value = "1.8s", value_parser = positive_duration)]
    pub interval: Duration,
    /// Make no more records than this [default: no end]
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// Records that come late, by up to hours
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub late: f64,
    /// Records that never come, in runs of ten: gaps
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub holes: f64,
    /// Records that come 500 records after their turn: gaps that are filled
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub delayed: f64,
    /// Start record_id again at 1 after so many records
    #[arg(long, value_name = "N")]
    pub restart_at: Option<u64>,
    /// Records that come twice in a page
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub duplicates: f64,
    /// Entries whose data is no token
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub garbage: f64,
    /// Tokens made with another key
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub wrong_key: f64,
    /// Plaintexts in JSON instead of Python's repr
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub json_plain: f64,
    /// Records of unusual shapes: missing or unusual fields, tuples, huge integers, other alphabets.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub odd: f64,
    /// Requests answered 502 or 504 with an HTML body
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub errors: f64,
    /// Bodies cut short
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub cut: f64,
    /// Requests that stall before they are answered
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub stall: f64,
    /// How long they stall
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub stall_for: Duration,
    /// Let the records' time follow the clock, instead of --start
    #[arg(long, conflicts_with = "start")]
    pub live: bool,
    /// Write every distinct record that was served into this file, as NDJSON
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Write pages as files into this folder instead of serving them
    #[arg(long, value_name = "DIR", requires = "pages", conflicts_with = "port")]
    pub out: Option<PathBuf>,
    /// How many pages to write
    #[arg(long, value_name = "N", requires = "out")]
    pub pages: Option<u32>,
}

/// An hour, with the hint that clap would not show.
fn hour(text: &str) -> Result<Hour, String> {
    text.parse::<Hour>().map_err(|error| match error.next_step() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    })
}

/// A duration that is not zero.
fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("cannot be zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

/// A share from 0 to 100, fractions included.
fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind as Clap;

    use super::*;
    use crate::error::ErrorKind;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    fn refusal(line: &str) -> String {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    /// The command lines of an "Examples:" block.
    fn examples(help: &str) -> Vec<&str> {
        help.lines()
            .filter_map(|line| line.find("etl ").and_then(|at| line.get(at..)))
            .map(|line| ["   ", " > ", " | "].iter().fold(line, |rest, end| rest.split(end).next().unwrap_or(rest)))
            .collect()
    }

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_they_parse() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = examples(&help);
            assert!(examples.len() > 1, "{}", command.get_name());
            for line in examples {
                let parsed = parse(line);
                assert!(parsed.is_ok(), "{line}: {}", parsed.err().unwrap());
                assert!(line.contains(command.get_name()), "{line}");
            }
        }
        for line in examples(EXAMPLES) {
            assert!(parse(line).is_ok(), "{line}");
        }
        assert!(LONG_EXAMPLES.starts_with(EXAMPLES));
    }

    #[test]
    fn long_help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        let listed: Vec<u8> = help
            .lines()
            .skip_while(|line| !line.starts_with("Exit codes"))
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect();
        let kinds = [
            ErrorKind::Bug,
            ErrorKind::Usage,
            ErrorKind::Busy,
            ErrorKind::State,
            ErrorKind::Config,
            ErrorKind::Credentials,
            ErrorKind::Mismatch,
            ErrorKind::Unavailable,
            ErrorKind::Quarantined,
        ];
        let expected: Vec<u8> = kinds.iter().map(|kind| kind.exit_code()).chain([0, 130]).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in ["etl --config a --state-dir b -vv run", "etl run -v --config a -v --state-dir b"] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.overrides(), Overrides { config: Some("a".into()), state_dir: Some("b".into()) });
            assert_eq!(cli.global.verbose, 2);
        }
        assert_eq!(parse("etl status --log-format json").unwrap().global.log_format, Some(LogFormat::Json));
    }

    #[test]
    fn duration_reads_as_in_the_file() {
        let Command::Run(run) = parse("etl run --every 1h30m --max-runtime 500ms").unwrap().command else {
            panic!("not a run")
        };
        assert_eq!(run.every, Some(Duration::from_secs(5400)));
        assert_eq!(run.max_runtime, Some(Duration::from_millis(500)));
        assert!(refusal("etl run --every 5").contains(r#"a duration needs a unit: "5s", "5m" or "5h""#));
        assert!(refusal("etl run --every 0s").contains("cannot be zero"));
    }

    #[test]
    fn simulation_has_its_defaults() {
        let Command::Simulate(args) = parse("etl simulate").unwrap().command else { panic!("not a simulation") };
        assert_eq!((args.port, args.window, args.advance), (0, 100, 60));
        assert_eq!(args.start, "2023-03-10T00:00:00Z".parse().unwrap());
        assert_eq!((args.interval, args.stall_for), (Duration::from_millis(1800), Duration::from_secs(10)));
        assert!(refusal("etl simulate --late 101").contains("not a number from 0 to 100"));
        assert!(refusal("etl simulate --late NaN").contains("not a number from 0 to 100"));
        assert!(refusal("etl simulate --out pages").contains("--pages"));
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for line in [
            "etl fetch",
            "etl run --json=yes",
            "etl run --every 5m --dry-run",
            "etl run -q -v",
            "etl status --json --check",
            "etl status --days 0",
            "etl status --days 32",
            "etl status --warn-age 2h",
            "etl status --check --hour 2023-03-10T01",
            "etl status --watch 0s",
            "etl restore --hour 2023-03-10T01 --since 2023-03-10T00",
            "etl simulate --window 0",
        ] {
            refusal(line);
        }
        assert!(refusal("etl status --hour 2023-3-10").contains("write it as in 2023-03-10T01"));
        assert_eq!(parse("etl").unwrap_err().kind(), Clap::DisplayHelpOnMissingArgumentOrSubcommand);
    }
}
