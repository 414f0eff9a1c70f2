//! Reports for people: what `run`, `replay` and `verify` print on stdout without `--json`.

use std::fmt::Write as _;

use super::table::{Align, Table, bytes, count, plural};
use super::words;
use crate::job::Summary;

/// Parts listed after a run; a backfill may have made thousands.
const LISTED: usize = 50;

/// What a run or a replay did.
pub(crate) fn summary(run: &Summary) -> String {
    let mut text = String::new();
    if !run.parts.is_empty() {
        let mut table = Table::new(&[
            ("HOUR", Align::Left),
            ("PART", Align::Right),
            ("RECORDS", Align::Right),
            ("SIZE", Align::Right),
            ("OBJECT", Align::Left),
        ]);
        for part in run.parts.iter().take(LISTED) {
            let cells =
                [part.hour.clone(), part.part.to_string(), count(part.rows), bytes(part.bytes), part.key.clone()];
            table.row(cells.to_vec());
        }
        text.push_str(&table.render());
        let more = run.uploaded_parts.saturating_sub(LISTED.min(run.parts.len()) as u64);
        if more > 0 {
            let _ = writeln!(text, "… and {} more", plural(more, "part", "parts"));
        }
        text.push('\n');
    }
    text.push_str(&received(run));
    text.push_str(&run_gaps(run));
    text.push_str(&sent(run));
    text
}

/// What never came: nothing is said where nothing is missing.
fn run_gaps(run: &Summary) -> String {
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
    let mut line =
        format!("received  {}, {}: ", plural(run.pages, "page", "pages"), plural(run.fetched, "log", "logs"));
    let new = if run.new == 0 { "nothing new".to_owned() } else { format!("{} new", count(run.new)) };
    let _ = write!(line, "{new}, {} known", count(run.duplicates));
    if run.late > 0 {
        let _ = write!(line, ", {} late", count(run.late));
    }
    if run.quarantined > 0 {
        let _ = write!(line, ", {} quarantined", count(run.quarantined));
    }
    if run.recovered > 0 {
        let _ = write!(line, ", {} recovered from the quarantine", count(run.recovered));
    }
    if run.parked > 0 {
        let _ = write!(line, ", {} parked", count(run.parked));
    }
    if run.reread > 0 {
        let _ = write!(line, ", {} read again that were rejected", plural(run.reread, "body", "bodies"));
    }
    line.push('\n');
    line
}

fn sent(run: &Summary) -> String {
    let mut line = String::new();
    if run.imported_parts > 0 {
        let _ =
            writeln!(line, "found     {} that the ledger did not know", plural(run.imported_parts, "part", "parts"));
    }
    line += &if run.uploaded_parts == 0 {
        "uploaded  nothing".to_owned()
    } else {
        format!(
            "uploaded  {} with {}",
            plural(run.uploaded_parts, "part", "parts"),
            plural(run.uploaded_records, "record", "records")
        )
    };
    if run.pending_hours > 0 {
        let _ = write!(line, "; {} still pending", plural(run.pending_hours, "hour", "hours"));
    }
    let _ = writeln!(line, "  ({:.2} s)", run.seconds);
    line
}
