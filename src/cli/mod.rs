//! The command line: the global flags, the commands, and what each of them calls.
//!
//! A command is one file: its flags, its help with examples, what it does. Invariants: no secret has to be a flag's value
//! (`--ping` can be one, and says so); a duration reads as it does in the configuration file; a test parses the examples of
//! every help text.

mod check;
mod check_auth;
mod check_record;
mod cluster;
mod config;
mod ddl;
mod export;
mod failed;
mod from;
mod help;
mod hours;
mod init;
mod log;
mod manual;
mod member;
mod monitoring;
mod print;
mod progress;
mod quarantine;
mod repair;
mod restore;
mod run;
mod setup;
mod several;
mod simulate;
mod span;
mod status;
mod tell;
mod test;
mod units;
mod values;
mod verify;
mod watchers;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, Overrides};
use crate::error::{Error, ErrorKind, Result};

/// The version, with the commit and the target that this was built from and for.
const VERSION: &str = env!("ETL_VERSION");

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
  etl restore --hour 2023-03-10T01           the original logs of an hour
  etl help operations                        a page of the manual: `etl help` lists them";

const EXIT_CODES: &str = "\
Exit codes (of several, the first that applies in this order):
    1  a bug in etl: please report it
    2  the command line was wrong
   11  another run holds the lock: nothing to do
   74  local disk or state: free space or repair
   78  configuration: fix the key that the message names
   77  a key or credential was refused
   76  the store does not hold what the ledger says: look at it
   75  source or store unavailable: nothing is lost, run again
   65  done, but records were newly quarantined: look at them
   66  an hour that was asked about is not complete: it says why
    0  done, or nothing to do
  130  stopped by Ctrl-C after a clean step (143: by SIGTERM)";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "etl", version = VERSION, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"), arg_required_else_help = true)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct GlobalArgs {
    /// Configuration file [default: $ETL_CONFIG, else ./etl.toml if there is one]; `etl status` takes several
    #[arg(long, global = true, value_name = "FILE", action = ArgAction::Append)]
    config: Vec<PathBuf>,
    /// State directory [default: state.dir]
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Format of the log on stderr [default: text on a terminal and under cron, else json]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Log more: -v each step, -vv each request
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch, commit, seal closed hours, upload, prune: one tick
    #[command(after_help = run::RUN_EXAMPLES)]
    Run(run::RunArgs),
    /// Finish what was interrupted, without fetching
    #[command(after_help = run::REPLAY_EXAMPLES)]
    Replay(run::ReplayArgs),
    /// Show pending hours and parts, journal, quarantine, gaps and the last run
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Say of hours whether all of them came and is stored, and why
    #[command(after_help = hours::EXAMPLES)]
    Hours(hours::HoursArgs),
    /// Compare the ledger with the store
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Put missing parts back, accept a loss, or cut a part again that the store never takes
    #[command(after_help = repair::EXAMPLES)]
    Repair(repair::RepairArgs),
    /// Restore the original logs as NDJSON
    #[command(after_help = restore::EXAMPLES)]
    Restore(restore::RestoreArgs),
    /// Make the parts of a lake again in another format, under another prefix
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    /// Print the table and view for Athena, DuckDB or Glue
    #[command(after_help = ddl::EXAMPLES)]
    Ddl(ddl::DdlArgs),
    /// Check what a run needs: source, key, clock, state, store
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Make and check the topics of several machines that share their work
    #[command(after_help = cluster::EXAMPLES)]
    Cluster(cluster::ClusterArgs),
    /// Show what saved pages would become, or whether it is what is expected
    #[command(after_help = test::EXAMPLES)]
    Test(test::TestArgs),
    /// Show each setting and where it comes from, or find everything that is wrong with them
    #[command(after_help = config::EXAMPLES)]
    Config(config::ConfigArgs),
    /// List, show, export or drop tokens that are not records (yet)
    #[command(after_help = quarantine::EXAMPLES)]
    Quarantine(quarantine::QuarantineArgs),
    /// Serve synthetic encrypted logs on 127.0.0.1, for demos and tests
    #[command(after_help = simulate::EXAMPLES)]
    Simulate(simulate::SimulateArgs),
    /// Write a commented etl.toml, and print how to run etl from cron or systemd
    #[command(after_help = init::EXAMPLES)]
    Init(init::InitArgs),
    /// Print the completions for a shell
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(manual::CompletionsArgs),
    /// Print the manual page
    #[command(after_help = manual::MAN_EXAMPLES)]
    Man(manual::ManArgs),
    /// Show help for a command, or a page of the manual
    #[command(after_help = help::EXAMPLES)]
    Help(help::HelpArgs),
}

impl Cli {
    /// Runs the command, and gives its exit code. `say` tells of an error that does not end it.
    ///
    /// # Errors
    /// What ended the command.
    pub fn run(&self, say: &dyn Fn(&Error)) -> Result<u8> {
        self.check_configs()?;
        let config = || Config::from_process(&self.overrides());
        match &self.command {
            Command::Run(args) => run::run(&self.overrides(), args, say),
            Command::Replay(args) => run::replay(&self.overrides(), args, say),
            Command::Status(args) => status::status(&self.all_overrides(), args),
            Command::Hours(args) => hours::hours(&config()?, args),
            Command::Verify(args) => verify::verify(&config()?, args),
            Command::Repair(args) => repair::repair(&config()?, args, say),
            Command::Restore(args) => restore::restore(&config()?, args, say),
            Command::Export(args) => export::export(&config()?, args, say),
            Command::Ddl(args) => ddl::ddl(&config()?, args),
            Command::Check(args) => check::check(config(), args),
            Command::Cluster(args) => cluster::cluster(&config()?, args),
            Command::Test(args) => test::test(&config()?, args, say),
            Command::Config(args) => config::config(&self.overrides(), args),
            Command::Quarantine(args) => quarantine::quarantine(&config()?, args),
            Command::Simulate(args) => simulate::simulate(args),
            Command::Init(args) => init::init(args, config),
            Command::Completions(args) => manual::completions(args),
            Command::Man(args) => manual::man(args),
            Command::Help(args) => help::help(args),
        }
    }

    /// Starts the log, and gives the way in which an error is told.
    pub fn start_log(&self) -> impl Fn(&Error) + use<> {
        log::start(&self.global)
    }

    fn overrides(&self) -> Overrides {
        Overrides { config: self.global.config.first().cloned(), state_dir: self.global.state_dir.clone() }
    }

    /// One for each configuration, at least one.
    fn all_overrides(&self) -> Vec<Overrides> {
        let one = |config: &PathBuf| Overrides { config: Some(config.clone()), ..self.overrides() };
        if self.global.config.len() < 2 { vec![self.overrides()] } else { self.global.config.iter().map(one).collect() }
    }

    /// Several configurations are several pipelines: each has a state, and a run, of its own.
    fn check_configs(&self) -> Result<()> {
        // Of flags on both sides of a command, those before it are dropped by the parser.
        let is_one = |arg: &std::ffi::OsString| arg == "--config" || arg.as_encoded_bytes().starts_with(b"--config=");
        if std::env::args_os().filter(is_one).count() > self.global.config.len() {
            return Err(Error::new(
                ErrorKind::Usage,
                "--config stands before and after the command: one would be ignored",
            )
            .hint("write all of them after the command"));
        }
        if self.global.config.len() < 2 {
            return Ok(());
        }
        let refused = |what: &str, hint: &str| Err(Error::new(ErrorKind::Usage, what).hint(hint));
        match (&self.command, &self.global.state_dir) {
            (Command::Status(_), None) => Ok(()),
            (Command::Status(_), Some(_)) => {
                refused("--state-dir is one state, and --config names several pipelines", "set state.dir in each file")
            }
            _ => {
                refused("--config names several files, which only `etl status` takes", "run the command once for each")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;
    use clap::error::ErrorKind as Clap;

    use super::*;

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
            .skip_while(|line| !line.starts_with("Examples:"))
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.find("etl ").and_then(|at| line.get(at..)))
            .map(|line| {
                ["   ", " > ", " >> ", " | "].iter().fold(line, |rest, end| rest.split(end).next().unwrap_or(rest))
            })
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
    }

    #[test]
    fn long_help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        let listed: Vec<u8> = help
            .lines()
            .skip_while(|line| !line.starts_with("Exit codes"))
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect();
        let expected: Vec<u8> = ErrorKind::ALL.iter().map(|kind| kind.exit_code()).chain([0, 130]).collect();
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
    fn several_configurations_are_for_the_status_alone_and_none_is_lost() {
        for line in ["etl --config a --config b status", "etl status --config a --config b"] {
            let all = parse(line).unwrap().all_overrides();
            let files: Vec<_> = all.iter().filter_map(|one| one.config.as_deref()?.to_str()).collect();
            assert_eq!(files, ["a", "b"], "{line}");
        }
        let refused = |line: &str| parse(line).unwrap().check_configs().unwrap_err();
        for line in ["etl --config a --config b run", "etl status --config a --config b --state-dir s"] {
            assert_eq!(refused(line).kind(), ErrorKind::Usage, "{line}");
        }
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
    fn wrong_command_lines_are_refused() {
        for line in [
            "etl fetch",
            "etl run --json=yes",
            "etl run --every 5m --dry-run",
            "etl run -q -v",
            "etl status --json --check",
            "etl status --days 0",
            "etl status --days 32",
            "etl status --crit-age 2h",
            "etl status --check --hour 2023-03-10T01",
            "etl status --watch 0s",
            "etl restore --hour 2023-03-10T01 --since 2023-03-10T00",
            "etl hours 2023-03-10T01 --since 2023-03-10T00",
            "etl hours --not whole",
            "etl simulate --window 0",
            "etl simulate --window 4294967296",
        ] {
            refusal(line);
        }
        assert!(refusal("etl simulate --late 101").contains("not a number from 0 to 100"));
        assert!(refusal("etl simulate --late NaN").contains("not a number from 0 to 100"));
        assert!(refusal("etl simulate --out pages").contains("--pages"));
        assert!(refusal("etl status --hour 2023-3-10").contains("write it as in 2023-03-10T01"));
        assert_eq!(parse("etl").unwrap_err().kind(), Clap::DisplayHelpOnMissingArgumentOrSubcommand);
    }
}
