//! What a run did: the numbers of `etl run --json`, and what went wrong.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::hour::gaps::{Gap, PolledTooRarely};
use crate::output::numbers::{bytes, plural};
use crate::page::decode::{FUTURE, WRONG_KEY};
use crate::record::advice;
use crate::state::pages::quarantine::Added;
use crate::state::status::RunSoFar;
use crate::state::status::history::Counts;

/// A part that got its receipt in this run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UploadedPart {
    /// The event-time hour.
    pub hour: String,
    /// Its number within the hour.
    pub part: u32,
    /// The object's key.
    pub key: String,
    /// Records in it.
    pub rows: u64,
    /// Size of the object.
    pub bytes: u64,
}

/// The result of a run. Additions are free; what is here stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The version of this shape.
    pub schema: u32,
    /// Pages received.
    pub pages: u64,
    /// Elements of the pages that were committed.
    pub fetched: u64,
    /// Records that were new.
    pub new: u64,
    /// Records that were known.
    pub duplicates: u64,
    /// Tokens that were newly quarantined.
    pub quarantined: u64,
    /// The same by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub quarantined_reasons: BTreeMap<String, u64>,
    /// New records that came late.
    pub late: u64,
    /// Records that were newly parked: their hour cannot be read back.
    pub parked: u64,
    /// Quarantined tokens that became records.
    pub recovered: u64,
    /// Rejected bodies that turned out to be pages when they were read again.
    pub reread: u64,
    /// Parts that the store had and the ledger had not.
    pub imported_parts: u64,
    /// Parts that were frozen.
    pub sealed_parts: u64,
    /// Parts that got their receipt.
    pub uploaded_parts: u64,
    /// Records in them.
    pub uploaded_records: u64,
    /// Hours with work left.
    pub pending_hours: u64,
    /// Ranges of ids that have not come so far.
    pub gaps: u64,
    /// Ids in them.
    pub missing: u64,
    /// What may be lost because this poll does not overlap with the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polled_too_rarely: Option<PolledTooRarely>,
    /// The newest of the gaps, newest first.
    #[serde(skip)]
    pub newest_gaps: Vec<Gap>,
    /// How long it took.
    pub seconds: f64,
    /// The parts that got their receipt: the first few hundred.
    pub parts: Vec<UploadedPart>,
    /// Bytes of all parts that got their receipt, listed or not.
    #[serde(skip)]
    pub uploaded_bytes: u64,
    /// Whether the run got as far as to work.
    #[serde(skip)]
    pub(super) began: bool,
    /// Whether it asked its source, and got an answer.
    #[serde(skip)]
    pub(super) asked: bool,
}

/// More parts than these are counted and not listed.
const LISTED: usize = 500;

impl Default for Summary {
    fn default() -> Self {
        Self {
            schema: 1,
            pages: 0,
            fetched: 0,
            new: 0,
            duplicates: 0,
            quarantined: 0,
            quarantined_reasons: BTreeMap::new(),
            late: 0,
            parked: 0,
            recovered: 0,
            reread: 0,
            imported_parts: 0,
            sealed_parts: 0,
            uploaded_parts: 0,
            uploaded_records: 0,
            pending_hours: 0,
            gaps: 0,
            missing: 0,
            polled_too_rarely: None,
            newest_gaps: Vec::new(),
            seconds: 0.0,
            parts: Vec::new(),
            uploaded_bytes: 0,
            began: false,
            asked: false,
        }
    }
}

impl Summary {
    /// Counts a receipt.
    pub fn uploaded(&mut self, part: UploadedPart) {
        tracing::info!(
            "{} is in the store: {}, {}",
            part.key,
            plural(part.rows, "record", "records"),
            bytes(part.bytes)
        );
        self.uploaded_parts += 1;
        self.uploaded_records += part.rows;
        self.uploaded_bytes += part.bytes;
        if self.parts.len() < LISTED {
            self.parts.push(part);
        }
    }

    /// Adds what another step did.
    #[cfg(feature = "kafka")]
    pub(crate) fn add(&mut self, other: &Self) {
        self.pages += other.pages;
        self.fetched += other.fetched;
        self.new += other.new;
        self.duplicates += other.duplicates;
        self.quarantined += other.quarantined;
        for (reason, count) in &other.quarantined_reasons {
            *self.quarantined_reasons.entry(reason.clone()).or_default() += count;
        }
        self.late += other.late;
        self.parked += other.parked;
        self.recovered += other.recovered;
        self.reread += other.reread;
        self.imported_parts += other.imported_parts;
        self.sealed_parts += other.sealed_parts;
        self.uploaded_parts += other.uploaded_parts;
        self.uploaded_records += other.uploaded_records;
        self.uploaded_bytes += other.uploaded_bytes;
        self.pending_hours = self.pending_hours.max(other.pending_hours);
        self.parts.extend(other.parts.iter().take(LISTED.saturating_sub(self.parts.len())).cloned());
        self.asked |= other.asked;
    }

    /// What the status shows of it.
    pub(crate) const fn so_far(&self) -> RunSoFar {
        let Self { fetched, new, duplicates, quarantined, .. } = *self;
        RunSoFar { fetched, new, duplicates, quarantined }
    }

    /// What the run history says of it.
    pub(super) const fn counts(&self) -> Counts {
        let Self { pages, sealed_parts, uploaded_parts, uploaded_records, .. } = *self;
        Counts { pages, brought: self.so_far(), sealed_parts, uploaded_parts, uploaded_records }
    }

    /// Reports the tokens that were quarantined, if any were.
    pub(crate) fn quarantine_problem(&self) -> Option<Error> {
        let count = self.quarantined;
        let (noun, verb) = if count == 1 { ("token", "was") } else { ("tokens", "were") };
        let reasons: Vec<String> =
            self.quarantined_reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let what = format!("{count} {noun} {verb} quarantined: {}", reasons.join(", "));
        let is_all_future = self.quarantined_reasons.keys().all(|reason| reason == FUTURE);
        let most = self.quarantined_reasons.iter().max_by_key(|(_, count)| **count);
        let (reason, advice) = most.map_or(("", ""), |(reason, _)| (reason.as_str(), advice(reason)));
        let hint = match is_all_future {
            true => {
                "they are tried again when their time has come; if they are of the present, set this machine's clock"
                    .to_owned()
            }
            false if reason == WRONG_KEY => format!("{reason}: {advice}; all others were kept as usual"),
            false => format!(
                "{reason}: {advice}; all others were kept as usual; `etl quarantine drop --reason {reason} --yes` lets them go"
            ),
        };
        (count > 0).then(|| Error::new(ErrorKind::Quarantined, what).hint(hint))
    }

    /// Counts newly quarantined tokens.
    pub(super) fn quarantined(&mut self, added: &Added) {
        self.quarantined += added.count();
        for (reason, count) in &added.reasons {
            *self.quarantined_reasons.entry(reason.clone()).or_default() += count;
        }
    }

    /// For a run that starts over: what comes in is counted again, what went out stays counted.
    pub(super) const fn start_over(&mut self) {
        (self.pages, self.fetched, self.new, self.duplicates, self.late) = (0, 0, 0, 0, 0);
    }
}

/// The result of a run: its summary, and what went wrong, most pressing first.
#[derive(Debug)]
pub struct Outcome {
    /// What it did.
    pub summary: Summary,
    /// Whether it got as far as to work: it had the lock, and a state directory that it could use.
    pub began: bool,
    /// What went wrong. Empty: nothing.
    pub problems: Vec<Error>,
}

/// The result of a run for programs: its numbers, how it ended, and what went wrong.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// When it ended.
    ended: Timestamp,
    /// The exit code.
    exit: u8,
    /// What went wrong, most pressing first.
    problems: Vec<Problem<'a>>,
}

#[derive(Debug, Serialize)]
struct Problem<'a> {
    kind: String,
    exit: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// The report of a run that ended with this exit code.
    pub(crate) fn new(summary: &'a Summary, problems: &'a [Error], exit: u8, ended: Timestamp) -> Self {
        Self { summary, ended, exit, problems: problems.iter().map(Problem::of).collect() }
    }
}

impl<'a> Problem<'a> {
    fn of(error: &'a Error) -> Self {
        let kind = error.kind();
        Self { kind: kind.to_string(), exit: kind.exit_code(), message: error.chain(), hint: error.next_step() }
    }
}

impl Outcome {
    /// The exit code: that of the most pressing problem.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.problems.first().map_or(0, |problem| problem.kind().exit_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_parts_count_though_only_some_are_listed() {
        let mut summary = Summary::default();
        for part in 0..700 {
            let hour = "2023-03-10T01".to_owned();
            summary.uploaded(UploadedPart { hour, part, key: String::new(), rows: 2, bytes: 3 });
        }
        assert_eq!((summary.parts.len(), summary.uploaded_parts), (LISTED, 700));
        assert_eq!((summary.uploaded_records, summary.uploaded_bytes), (1400, 2100));
    }
}
