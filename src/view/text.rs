//! The summary of a run for people: what `etl run` and `etl replay` print on stdout without `--json`. Pure.
//!
//! Its lines begin with the time, so that a file of them can be read and searched.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::table::{Align, Table, bytes, count, plural};
use super::words;
use crate::job::Summary;

/// Parts listed after a run; a backfill may have made thousands.
const LISTED: usize = 50;

/// What a run or a replay did that ended at `now`.
pub(crate) fn summary(run: &Summary, now: Timestamp) -> String {
    let timed = |text: String| text.lines().map(|line| format!("{now:.0} {line}\n")).collect::<String>();
    timed(received(run) + &gaps(run)) + &parts(run) + &timed(sent(run))
}

fn parts(run: &Summary) -> String {
    if run.parts.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("HOUR", Align::Left),
        ("PART", Align::Right),
        ("RECORDS", Align::Right),
        ("SIZE", Align::Right),
        ("OBJECT", Align::Left),
    ]);
    for part in run.parts.iter().take(LISTED) {
        let (number, rows, size) = (part.part.to_string(), count(part.rows), bytes(part.bytes));
        table.row(vec![part.hour.clone(), number, rows, size, part.key.clone()]);
    }
    let more = run.uploaded_parts.saturating_sub(LISTED.min(run.parts.len()) as u64);
    let more = if more > 0 { format!("… and {} more\n", plural(more, "part", "parts")) } else { String::new() };
    format!("\n{}{more}\n", table.render())
}

/// What never came. Empty where nothing is missing.
fn gaps(run: &Summary) -> String {
    let mut text = String::new();
    if let Some(missed) = &run.polled_too_rarely {
        let _ = writeln!(
            text,
            "polled too rarely: {} may be lost between {} and {} (ids {}): run more often",
            plural(missed.lost, "log", "logs"),
            missed.after,
            missed.before,
            missed.gap
        );
    }
    if run.gaps > 0 {
        let _ = writeln!(text, "gaps      {}", words::gaps(run.gaps, run.missing, &run.newest_gaps));
    }
    text
}

fn received(run: &Summary) -> String {
    let (pages, logs) = (plural(run.pages, "page", "pages"), plural(run.fetched, "log", "logs"));
    let new = if run.new == 0 { "nothing new".to_owned() } else { format!("{} new", count(run.new)) };
    let mut line = format!("received  {pages}, {logs}: {new}, {} known", count(run.duplicates));
    for (n, what) in [
        (run.late, "late"),
        (run.quarantined, "quarantined"),
        (run.recovered, "recovered from the quarantine"),
        (run.parked, "parked"),
    ] {
        if n > 0 {
            let _ = write!(line, ", {} {what}", count(n));
        }
    }
    if run.reread > 0 {
        let _ = write!(line, ", {} read again that were rejected", plural(run.reread, "body", "bodies"));
    }
    line.push('\n');
    line
}

fn sent(run: &Summary) -> String {
    let mut text = String::new();
    if run.imported_parts > 0 {
        let parts = plural(run.imported_parts, "part", "parts");
        let _ = writeln!(text, "found     {parts} that the ledger did not know");
    }
    let (parts, records) = (run.uploaded_parts, plural(run.uploaded_records, "record", "records"));
    let _ = match parts {
        0 => write!(text, "uploaded  nothing"),
        _ => write!(text, "uploaded  {} with {records}", plural(parts, "part", "parts")),
    };
    if run.pending_hours > 0 {
        let _ = write!(text, "; {} still pending", plural(run.pending_hours, "hour", "hours"));
    }
    let _ = writeln!(text, "  ({:.2} s)", run.seconds);
    text
}
