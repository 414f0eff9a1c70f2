//! Reports for people: what `run`, `replay`, `status` and `verify` print on stdout without `--json`.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::status::{HourState, HourStatus, Status};
use super::table::{Align, Table, bytes, count, plural};
use super::verify::{Fault, Verification};
use crate::gaps::Gap;
use crate::pipeline::Summary;

/// Parts listed after a run; a backfill may have made thousands.
const LISTED: usize = 50;
/// Gaps listed in a status; `--json` has all.
const LISTED_GAPS: usize = 8;

/// What a run or a replay did.
#[must_use]
pub fn summary(run: &Summary) -> String {
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
            range(missed.gap)
        );
    }
    if run.gaps > 0 {
        let _ = writeln!(text, "gaps      {}", gaps(run.gaps, run.missing, &run.newest_gaps));
    }
    text
}

/// How much never came, with the newest ranges.
fn gaps(count: u64, missing: u64, newest: &[Gap]) -> String {
    let mut line = format!("{}, {} never seen: ", plural(count, "gap", "gaps"), plural(missing, "id", "ids"));
    let shown: Vec<String> = newest.iter().map(|gap| range(*gap)).collect();
    line.push_str(&shown.join(", "));
    if count > newest.len() as u64 {
        line.push_str(", …");
    }
    line
}

fn range(gap: Gap) -> String {
    if gap.from == gap.to { gap.from.to_string() } else { format!("{}–{}", gap.from, gap.to) }
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

/// The status, as of `now`.
#[must_use]
pub fn status(status: &Status, now: Timestamp) -> String {
    let mut text = last_run(status, now);
    text.push('\n');
    if !status.hours.is_empty() {
        let mut table = Table::new(&[
            ("HOUR", Align::Left),
            ("STATE", Align::Left),
            ("PENDING", Align::Right),
            ("UPLOADED", Align::Right),
            ("PARTS", Align::Right),
            ("CLOSES", Align::Left),
        ]);
        status.hours.iter().for_each(|hour| table.row(hour_row(hour, now)));
        text.push_str(&table.render());
        text.push('\n');
    }
    let totals = &status.totals;
    let _ = writeln!(
        text,
        "records     {}: {} uploaded in {}, {} pending; {} received again",
        count(totals.records),
        count(totals.uploaded),
        plural(totals.parts, "part", "parts"),
        count(totals.pending),
        count(totals.duplicates)
    );
    text.push_str(&journal(status));
    let _ = writeln!(text, "quarantine  {}", plural(status.quarantine.count, "token", "tokens"));
    text.push_str(&status_gaps(status));
    text
}

fn status_gaps(status: &Status) -> String {
    let mut text = if status.gaps.is_empty() {
        "gaps        none\n".to_owned()
    } else {
        let missing = status.gaps.iter().map(Gap::ids).fold(0, u64::saturating_add);
        let newest: Vec<Gap> = status.gaps.iter().rev().take(LISTED_GAPS).copied().collect();
        format!("gaps        {}\n", gaps(status.gaps.len() as u64, missing, &newest))
    };
    if status.gaps_given_up > 0 {
        let given_up = plural(status.gaps_given_up, "id", "ids");
        let _ = writeln!(text, "            {given_up} in older gaps are no longer listed: there were too many");
    }
    text
}

fn last_run(status: &Status, now: Timestamp) -> String {
    let Some(run) = &status.last_run else {
        return "no run yet\n".to_owned();
    };
    let mut text = match (status.running, run.ended, run.exit) {
        (true, _, _) => format!("a run is at work since {}\n", ago(run.started, now)),
        (false, Some(ended), Some(0)) => format!("last run {} ago: all well\n", ago(ended, now)),
        (false, Some(ended), Some(code)) => format!("last run {} ago: exit {code}\n", ago(ended, now)),
        _ => format!("the last run, {} ago, was interrupted: the next one finishes it\n", ago(run.started, now)),
    };
    run.problems.iter().for_each(|problem| {
        let _ = writeln!(text, "  {problem}");
    });
    text
}

fn hour_row(hour: &HourStatus, now: Timestamp) -> Vec<String> {
    let state = match hour.state {
        HourState::Open => "open",
        HourState::Closed => "closed",
        HourState::Sealing => "sealing",
        HourState::Uploaded => "uploaded",
    };
    let uploaded: u64 = hour
        .parts
        .iter()
        .filter(|part| part.state == crate::lifecycle::PartStage::Uploaded)
        .map(|part| part.rows)
        .sum();
    let closes = match hour.state {
        HourState::Open => format!("in {}", ago(now, hour.closes_at)),
        _ => String::new(),
    };
    vec![
        hour.hour.to_string(),
        state.to_owned(),
        count(hour.pending_records),
        count(uploaded),
        hour.parts.len().to_string(),
        closes,
    ]
}

fn journal(status: &Status) -> String {
    let journal = &status.journal;
    let mut line = format!("journal     {}, {}", plural(journal.pages, "page", "pages"), bytes(journal.bytes));
    if journal.uncommitted > 0 {
        let _ = write!(line, "; {} not committed yet", count(journal.uncommitted));
    }
    if let Some(hour) = journal.pinned_by.first() {
        let _ = write!(line, "; the oldest waits for hour {hour}");
    }
    line.push('\n');
    line
}

/// A time span as people say it: `3 min`, `2 h`, `5 d`.
fn ago(from: Timestamp, to: Timestamp) -> String {
    let span: SignedDuration = to.duration_since(from);
    let seconds = span.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// What a verification found.
#[must_use]
pub fn verification(found: &Verification) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        let fault = match finding.fault {
            Fault::Missing => "missing",
            Fault::Changed => "changed",
            Fault::Foreign => "foreign",
        };
        let hour = finding.hour.map_or_else(String::new, |hour| format!("hour {hour}: "));
        let _ = writeln!(text, "{fault}  {}  {hour}{}", finding.key, finding.detail);
    }
    let looked = if found.deep { "downloaded and decoded" } else { "looked at" };
    let _ = writeln!(
        text,
        "{} of {} with {} {looked}: {}",
        plural(found.parts, "part", "parts"),
        plural(found.hours, "hour", "hours"),
        plural(found.rows, "record", "records"),
        if found.findings.is_empty() {
            "all as the ledger says".to_owned()
        } else {
            plural(found.findings.len() as u64, "difference", "differences")
        }
    );
    text
}
