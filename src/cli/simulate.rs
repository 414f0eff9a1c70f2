//! `etl simulate`.

use crate::cli::SimulateArgs;
use crate::error::Result;
use crate::simulate::{self, Key, Options};
use crate::stop::Stop;
use crate::view::table::plural;

/// Serves synthetic logs until it is told to stop, or writes pages to a directory.
///
/// # Errors
/// `Usage` for an option out of its range, `State` for the disk or the port.
pub fn simulate(args: &SimulateArgs, key: Option<&str>) -> Result<u8> {
    let options = options(args, key.map(Key::parse).transpose()?);
    if let Some(dir) = &args.out {
        if let Some(line) = options.key_line() {
            crate::cli::print::print(&(line + "\n"))?;
        }
        let written = simulate::write_pages(&options, dir, u64::from(args.pages.unwrap_or(1)))?;
        let (pages, records) = (plural(written.pages, "page", "pages"), plural(written.records, "record", "records"));
        crate::cli::print::print(&format!("{pages} with {records} in {}\n", dir.display()))?;
        return Ok(0);
    }
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let mut failed = Ok(());
    simulate::serve(&options, &|| stop.is_requested(), &mut |line| {
        failed = crate::cli::print::print(&format!("{line}\n"))
    })?;
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
