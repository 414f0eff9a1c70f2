//! `etl status`.

use jiff::{SignedDuration, Timestamp};

use crate::cli::StatusArgs;
use crate::config::Config;
use crate::error::Result;
use crate::hour::{Clock, SystemClock};
use crate::report::status::{self, HourState, Status};
use crate::report::text;

/// How long a gap is worth a warning: one that nothing will ever fill must not warn for ever.
const GAP_IS_NEWS: SignedDuration = SignedDuration::from_hours(24);

/// Prints the status. With `--check` the exit code is that of a monitoring plugin.
///
/// # Errors
/// `State`: it cannot be read.
pub fn status(config: &Config, args: &StatusArgs) -> Result<u8> {
    let now = SystemClock.now();
    let status = match status::read(&config.state.dir, now) {
        Ok(status) => status,
        Err(error) if args.check => {
            super::print(&format!("UNKNOWN: {}\n", error.chain()))?;
            return Ok(3);
        }
        Err(error) => return Err(error),
    };
    if let Some(hour) = args.hour
        && !args.check
    {
        return super::certificate::hour(config, status, hour, args.json);
    }
    if args.check {
        return check(&status, now);
    }
    if args.json {
        super::print_json(&status)?
    } else {
        super::print(&text::status(&status, now))?
    }
    Ok(0)
}

/// The monitoring convention: one line, and 0 for well, 1 for a warning, 2 for critical.
fn check(status: &Status, now: Timestamp) -> Result<u8> {
    let exit = status.last_run.as_ref().and_then(|run| run.exit);
    let overdue = status.hours.iter().filter(|h| matches!(h.state, HourState::Closed | HourState::Sealing)).count();
    let (code, word) = match exit {
        Some(1 | 74 | 76 | 77 | 78) => (2, "CRITICAL"),
        Some(75 | 65) => (1, "WARNING"),
        _ if overdue > 0 && !status.running => (1, "WARNING"),
        _ if status.gap_found.is_some_and(|at| now.duration_since(at) < GAP_IS_NEWS) => (1, "WARNING"),
        _ => (0, "OK"),
    };
    let exit = exit.map_or_else(|| "none".to_owned(), |code| code.to_string());
    let (totals, gaps) = (&status.totals, status.gaps.len());
    super::print(&format!(
        "{word}: last exit {exit}, {overdue} hours overdue, {} records pending, {} quarantined, {gaps} gaps | pending={} overdue={overdue} quarantined={} gaps={gaps}\n",
        totals.pending, totals.quarantined, totals.pending, totals.quarantined
    ))?;
    Ok(code)
}
