//! The metrics file of a run, in Prometheus' text format, for node_exporter's textfile collector. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::job::Summary;
use crate::state::status::Status;

/// A run that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<'a> {
    pub(crate) exit: u8,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    pub(crate) summary: &'a Summary,
    /// What it left, where that can be read.
    pub(crate) status: Option<&'a Status>,
}

const LAST_SUCCESS: &str = "etl_last_success_timestamp_seconds";

/// The text of the file. The time of the last success is carried over from `before`, the file that it replaces.
pub(crate) fn text(run: &Ended<'_>, before: &str) -> String {
    let last_success = if is_clean(run.exit) { Some(run.ended.as_second()) } else { last_success(before) };
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: String| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let mut gauge = |name: &str, help: &str, value: String| add(name, "gauge", help, value);
    gauge("etl_last_run_exit_code", "Exit code of the last run.", run.exit.to_string());
    gauge("etl_last_run_start_timestamp_seconds", "When the last run started.", run.started.as_second().to_string());
    gauge("etl_last_run_end_timestamp_seconds", "When the last run ended.", run.ended.as_second().to_string());
    gauge("etl_last_run_duration_seconds", "How long the last run took.", format!("{:.3}", run.summary.seconds));
    if let Some(at) = last_success {
        gauge(LAST_SUCCESS, "When a run last ended with exit code 0.", at.to_string());
    }
    for (name, help, value) in of_run(run.summary) {
        gauge(name, help, value.to_string());
    }
    for (name, help, value) in run.status.map(left).into_iter().flatten() {
        gauge(name, help, value.to_string());
    }
    for (name, help, value) in run.status.map(totals).into_iter().flatten() {
        add(name, "counter", help, value.to_string());
    }
    text
}

/// Whether the file calls a run a success. This is stricter than [`crate::state::status::is_success`]: the metric has always
/// been that of exit code 0, and its help says so.
const fn is_clean(exit: u8) -> bool {
    exit == 0
}

fn last_success(before: &str) -> Option<i64> {
    before.lines().find_map(|line| line.strip_prefix(LAST_SUCCESS)?.trim().parse().ok())
}

type Metric = (&'static str, &'static str, u64);

const fn of_run(run: &Summary) -> [Metric; 8] {
    [
        ("etl_last_run_pages", "Pages that the last run received.", run.pages),
        ("etl_last_run_fetched_logs", "Logs on them.", run.fetched),
        ("etl_last_run_new_records", "Records that were new.", run.new),
        ("etl_last_run_duplicate_records", "Records that were known.", run.duplicates),
        ("etl_last_run_late_records", "New records that came late.", run.late),
        ("etl_last_run_quarantined_tokens", "Tokens that were newly quarantined.", run.quarantined),
        ("etl_last_run_uploaded_parts", "Parts that the last run uploaded.", run.uploaded_parts),
        ("etl_last_run_uploaded_records", "Records in them.", run.uploaded_records),
    ]
}

fn left(status: &Status) -> [Metric; 7] {
    let pending_hours = status.hours.iter().filter(|hour| hour.pending_records > 0).count();
    [
        ("etl_pending_records", "Records without a receipt.", status.totals.pending),
        ("etl_pending_hours", "Hours with such records.", pending_hours as u64),
        ("etl_quarantined_tokens", "Tokens in the quarantine.", status.quarantine.count),
        ("etl_gaps", "Ranges of ids that never came.", status.gaps.len() as u64),
        ("etl_missing_ids", "Ids in them.", status.missing_ids()),
        ("etl_journal_pages", "Pages that are kept because they are needed.", status.journal.pages),
        ("etl_journal_bytes", "Bytes of their files.", status.journal.bytes),
    ]
}

const fn totals(status: &Status) -> [Metric; 4] {
    let totals = &status.totals;
    [
        ("etl_records_total", "Distinct records since the state directory was made.", totals.records),
        ("etl_duplicates_total", "Records that were received again since then.", totals.duplicates),
        ("etl_uploaded_records_total", "Records with a receipt since then.", totals.uploaded),
        ("etl_uploaded_parts_total", "Parts with a receipt since then.", totals.parts),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_success_outlives_a_failure() {
        let summary = Summary::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let run = |exit, ended| Ended { exit, started: at(1), ended: at(ended), summary: &summary, status: None };
        let failed = text(&run(75, 50), "");
        assert!(!failed.contains(LAST_SUCCESS), "there was none");
        let succeeded = text(&run(0, 100), &failed);
        for exit in [65, 75] {
            let text = text(&run(exit, 200), &succeeded);
            assert!(text.contains("\netl_last_success_timestamp_seconds 100\n"), "{text}");
            assert!(text.contains("\netl_last_run_end_timestamp_seconds 200\n"), "{text}");
            let exit = format!("# TYPE etl_last_run_exit_code gauge\netl_last_run_exit_code {exit}\n");
            assert!(text.contains(&exit), "{text}");
        }
    }
}
