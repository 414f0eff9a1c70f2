//! `etl simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::print::print;
use super::values::{percent, positive_duration};
use crate::config::{parse_duration, simulator_key};
use crate::error::Result;
use crate::simulate::{self, Key, Options};
use crate::stop::Stop;
use crate::view::table::plural;

pub(super) const EXAMPLES: &str = "\
Examples:
  etl simulate                               serve on a free port of 127.0.0.1, which it prints
  etl simulate --port 8080 --seed 7          the same records in every start
  etl simulate --late 5 --duplicates 10 --garbage 1 --errors 20
  etl simulate --holes 1 --delayed 2 --restart-at 3000
  etl simulate --live --interval 1.8s        records of the present, 2 000 an hour
  etl simulate --stall 2 --stall-for 40s --cut 2
  etl simulate --out pages --pages 20 --truth truth.ndjson";

/// `etl simulate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(super) struct SimulateArgs {
    /// Port on 127.0.0.1; 0 = a free one
    #[arg(long, default_value_t = 0)]
    pub(super) port: u16,
    /// The same seed gives the same records and the same trouble
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Records in a page: the newest so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) window: u32,
    /// New records from one request to the next
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(super) advance: u32,
    /// Time of the first record
    #[arg(long, value_name = "TIME", default_value = "2023-03-10T00:00:00Z")]
    pub(super) start: Timestamp,
    /// Time from one record to the next
    #[arg(long, value_name = "DURATION", default_value = "1.8s", value_parser = positive_duration)]
    pub(super) interval: Duration,
    /// Make no more records than this [default: no end]
    #[arg(long, value_name = "N")]
    pub(super) records: Option<u64>,
    /// Records that come late, by up to hours
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) late: f64,
    /// Records that never come, in runs of ten: gaps
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) holes: f64,
    /// Records that come 500 records after their turn: gaps that are filled
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) delayed: f64,
    /// Start record_id again at 1 after so many records
    #[arg(long, value_name = "N")]
    pub(super) restart_at: Option<u64>,
    /// Records that come twice in a page
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) duplicates: f64,
    /// Entries whose data is no token
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) garbage: f64,
    /// Tokens made with another key
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) wrong_key: f64,
    /// Plaintexts in JSON instead of Python's repr
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) json_plain: f64,
    /// Records of unusual shapes: missing or unusual fields, tuples, huge integers, other alphabets.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) odd: f64,
    /// Requests answered 502 or 504 with an HTML body
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) errors: f64,
    /// Bodies cut short
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) cut: f64,
    /// Requests that stall before they are answered
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) stall: f64,
    /// How long they stall
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(super) stall_for: Duration,
    /// Let the records' time follow the clock, instead of --start
    #[arg(long, conflicts_with = "start")]
    pub(super) live: bool,
    /// Write every distinct record that was served into this file, as NDJSON
    #[arg(long, value_name = "FILE")]
    pub(super) truth: Option<PathBuf>,
    /// Write pages as files into this folder instead of serving them
    #[arg(long, value_name = "DIR", requires = "pages", conflicts_with = "port")]
    pub(super) out: Option<PathBuf>,
    /// How many pages to write
    #[arg(long, value_name = "N", requires = "out")]
    pub(super) pages: Option<u32>,
}

/// Serves synthetic logs until it is told to stop, or writes pages to a directory.
pub(super) fn simulate(args: &SimulateArgs) -> Result<u8> {
    let key = simulator_key()?.map(|key| Key::parse(key.expose())).transpose()?;
    let options = options(args, key);
    if let Some(dir) = &args.out {
        if let Some(line) = options.key_line() {
            print(&(line + "\n"))?;
        }
        let written = simulate::write_pages(&options, dir, u64::from(args.pages.unwrap_or(1)))?;
        let (pages, records) = (plural(written.pages, "page", "pages"), plural(written.records, "record", "records"));
        print(&format!("{pages} with {records} in {}\n", dir.display()))?;
        return Ok(0);
    }
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let mut failed = Ok(());
    simulate::serve(&options, &|| stop.is_requested(), &mut |line| failed = print(&format!("{line}\n")))?;
    failed.map(|()| stop.exit_code().unwrap_or(0))
}

fn options(args: &SimulateArgs, key: Option<Key>) -> Options {
    Options {
        port: args.port,
        seed: args.seed,
        window: u64::from(args.window),
        advance: u64::from(args.advance),
        start: args.start,
        interval: args.interval,
        records: args.records,
        late: args.late,
        holes: args.holes,
        delayed: args.delayed,
        restart_at: args.restart_at,
        duplicates: args.duplicates,
        garbage: args.garbage,
        wrong_key: args.wrong_key,
        json_plain: args.json_plain,
        odd: args.odd,
        errors: args.errors,
        cut: args.cut,
        stall: args.stall,
        stall_for: args.stall_for,
        live: args.live,
        truth: args.truth.clone(),
        key,
    }
}
