//! `etl simulate`.

use std::path::PathBuf;

use clap::Args;

use super::print::print;
use crate::config::simulator_key;
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
#[derive(Debug, Clone, Args)]
pub(super) struct SimulateArgs {
    #[command(flatten)]
    options: Options,
    /// Write pages as files into this folder instead of serving them
    #[arg(long, value_name = "DIR", requires = "pages", conflicts_with = "port")]
    out: Option<PathBuf>,
    /// How many pages to write
    #[arg(long, value_name = "N", requires = "out")]
    pages: Option<u32>,
}

/// Serves synthetic logs until a signal comes, or writes pages into a folder.
pub(super) fn simulate(args: &SimulateArgs) -> Result<u8> {
    let key = simulator_key()?.map(|key| Key::parse(key.expose())).transpose()?;
    let options = Options { key, ..args.options.clone() };
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
