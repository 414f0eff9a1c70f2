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
    /// When it did all it should, where `status` is not that of the whole pipeline: in a cluster.
    pub(crate) success: Option<Timestamp>,
    /// The pipeline's own name, a label of all its figures: one collector takes the files of several.
    pub(crate) pipeline: Option<&'a str>,
}

const LAST_SUCCESS: &str = "etl_last_success_timestamp_seconds";

/// The text of the file. Where the status cannot be read, the time of the last success is carried over from `before`, the file that
/// it replaces.
pub(crate) fn text(run: &Ended<'_>, before: &str) -> String {
    let known = run.status.map(|status| status.last_success.map(Timestamp::as_second));
    let last_success = known.unwrap_or_else(|| run.success.map(Timestamp::as_second).or_else(|| last_success(before)));
    let mut text = build();
    let mut add = |name: &str, kind: &str, help: &str, value: String| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let mut gauge = |name: &str, help: &str, value: String| add(name, "gauge", help, value);
    gauge("etl_last_run_exit_code", "Exit code of the last run.", run.exit.to_string());
    gauge("etl_last_run_start_timestamp_seconds", "When the last run started.", run.started.as_second().to_string());
    gauge("etl_last_run_end_timestamp_seconds", "When the last run ended.", run.ended.as_second().to_string());
    gauge("etl_last_run_duration_seconds", "How long the last run took.", format!("{:.3}", run.summary.seconds));
    if let Some(at) = last_success {
        gauge(LAST_SUCCESS, "When a run last asked its source and ended with exit code 0 or 65.", at.to_string());
    }
    for (name, help, value) in of_run(run.summary) {
        gauge(name, help, value.to_string());
    }
    for (name, help, value) in run.status.map(|status| left(status, run.ended)).into_iter().flatten() {
        gauge(name, help, value.to_string());
    }
    for (name, help, value) in run.status.map(totals).into_iter().flatten() {
        add(name, "counter", help, value.to_string());
    }
    text.push_str(&run.status.map(reasons).unwrap_or_default());
    run.pipeline.map_or(text.clone(), |name| labelled(&text, name))
}

/// The same with the label `pipeline` in each line that has a figure.
fn labelled(text: &str, name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control() && !['"', '\\'].contains(c)).collect();
    let mut labelled = String::new();
    for line in text.lines() {
        let _ = match line.split_once(['{', ' ']) {
            Some((metric, rest)) if !line.starts_with('#') && line.contains('{') => {
                writeln!(labelled, "{metric}{{pipeline=\"{name}\",{rest}")
            }
            Some((metric, rest)) if !line.starts_with('#') => {
                writeln!(labelled, "{metric}{{pipeline=\"{name}\"}} {rest}")
            }
            _ => writeln!(labelled, "{line}"),
        };
    }
    labelled
}

/// The quarantined tokens by reason.
fn reasons(status: &Status) -> String {
    let name = "etl_quarantined_tokens_by_reason";
    let mut text = String::new();
    for (reason, count) in &status.quarantine.reasons {
        if text.is_empty() {
            let _ = writeln!(text, "# HELP {name} Tokens in the quarantine by reason.\n# TYPE {name} gauge");
        }
        let label: String = reason.chars().filter(|c| c.is_ascii_graphic() && !['"', '\\'].contains(c)).collect();
        let _ = writeln!(text, "{name}{{reason=\"{label}\"}} {count}");
    }
    text
}

fn build() -> String {
    let (name, version) = ("etl_build_info", env!("CARGO_PKG_VERSION"));
    format!("# HELP {name} The etl that wrote this.\n# TYPE {name} gauge\n{name}{{version=\"{version}\"}} 1\n")
}

fn last_success(before: &str) -> Option<i64> {
    before.lines().find_map(|line| line.strip_prefix(LAST_SUCCESS)?.rsplit(' ').next()?.trim().parse().ok())
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

fn left(status: &Status, now: Timestamp) -> impl Iterator<Item = Metric> {
    let overdue = status.overdue(now);
    let pending_hours = status.hours.iter().filter(|hour| hour.pending_records > 0).count();
    [
        ("etl_pending_records", "Records without a receipt.", status.totals.pending),
        ("etl_pending_hours", "Hours with such records.", pending_hours as u64),
        ("etl_quarantined_tokens", "Tokens in the quarantine.", status.quarantine.count),
        ("etl_gaps", "Ranges of ids that never came.", status.gaps.len() as u64),
        ("etl_missing_ids", "Ids in them.", status.missing_ids()),
        ("etl_journal_pages", "Pages that are kept because they are needed.", status.journal.pages),
        ("etl_journal_bytes", "Bytes of their files.", status.journal.bytes),
        ("etl_uncommitted_pages", "Those of them that were not committed.", status.journal.uncommitted),
        ("etl_overdue_hours", "Hours that are due and not uploaded.", overdue.hours),
        ("etl_oldest_pending_age_seconds", "How long the first of them has been due.", overdue.oldest),
        ("etl_rejected_bodies", "Bodies that are no pages and wait for someone.", status.rejected.count),
        ("etl_parked_records", "Records of hours that cannot be read back.", status.parked.count),
    ]
    .into_iter()
    .chain(status.last_verify.iter().flat_map(|last| {
        let at = u64::try_from(last.at.as_second()).unwrap_or(0);
        [
            ("etl_last_verify_timestamp_seconds", "When `etl verify` was last done.", at),
            ("etl_last_verify_findings", "What it found and nobody mended since.", last.left),
        ]
    }))
    .chain(status.disk.map(|disk| ("etl_state_bytes", "Bytes that the state directory takes on its disk.", disk.bytes)))
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
    fn last_success_is_that_of_the_status_and_outlives_one_that_cannot_be_read() {
        let summary = Summary::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let never = Status::empty(at(1));
        let status = Status { last_success: Some(at(100)), ..never.clone() };
        let run = |exit, status| Ended {
            exit,
            started: at(1),
            ended: at(50),
            summary: &summary,
            status,
            success: None,
            pipeline: None,
        };
        assert!(!text(&run(75, Some(&never)), "").contains(LAST_SUCCESS), "there was none");
        let known = text(&run(65, Some(&status)), "");
        for text in [&known, &text(&run(74, None), &known)] {
            assert!(text.contains("\netl_last_success_timestamp_seconds 100\n"), "{text}");
            assert!(text.contains("\netl_last_run_end_timestamp_seconds 50\n"), "{text}");
        }
        assert!(known.contains("# TYPE etl_last_run_exit_code gauge\netl_last_run_exit_code 65\n"), "{known}");
        assert!(!text(&run(0, None), "").contains(LAST_SUCCESS), "a run that may have asked no source is none");
    }

    #[test]
    fn reasons_are_labels_and_the_version_is_one() {
        let summary = Summary::default();
        let mut status = Status::empty(Timestamp::UNIX_EPOCH);
        status.quarantine.reasons = [("not-a-record".to_owned(), 2), ("a\"b\\c\n".to_owned(), 1)].into();
        let (started, ended) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let run =
            Ended { exit: 0, started, ended, summary: &summary, status: Some(&status), success: None, pipeline: None };
        let named = text(&Ended { pipeline: Some("a \"b"), ..run }, "");
        for line in named.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.contains("{pipeline=\"a b\"} ") || line.contains("{pipeline=\"a b\","), "{line}");
        }
        assert!(named.contains("_by_reason{pipeline=\"a b\",reason=\"abc\"} 1\n"), "{named}");
        let succeeded = Status { last_success: Some(started), ..status.clone() };
        let before = text(&Ended { pipeline: Some("a b"), status: Some(&succeeded), ..run }, "");
        assert_eq!(last_success(&before), Some(0), "{before}");
        let text = text(&run, "");
        assert!(text.contains("\netl_quarantined_tokens_by_reason{reason=\"not-a-record\"} 2\n"), "{text}");
        assert!(text.contains("{reason=\"abc\"} 1\n"), "{text}");
        assert!(text.contains(&format!("etl_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))), "{text}");
    }
}
