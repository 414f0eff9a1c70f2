//! What `-v` says of the steps of a run: what each did, and how long it took.
//!
//! Counts only, by comparing a run's summary before and after. Keeps nothing.

use std::time::{Duration, Instant};

use super::Summary;
use crate::output::numbers::{bytes, plural};

/// A step that began.
pub(super) struct StepLog {
    began: Instant,
    fetched: u64,
    new: u64,
    duplicates: u64,
    quarantined: u64,
    sealed_parts: u64,
    uploaded_parts: u64,
    uploaded_records: u64,
    uploaded_bytes: u64,
}

impl StepLog {
    /// Begins a step of the run that did this so far.
    pub(super) fn begin(run: &Summary) -> Self {
        let Summary { fetched, new, duplicates, quarantined, sealed_parts, uploaded_parts, .. } = *run;
        let Summary { uploaded_records, uploaded_bytes, .. } = *run;
        let began = Instant::now();
        Self {
            began,
            fetched,
            new,
            duplicates,
            quarantined,
            sealed_parts,
            uploaded_parts,
            uploaded_records,
            uploaded_bytes,
        }
    }

    /// Says what was committed since, if anything was.
    pub(super) fn committed(&self, run: &Summary) {
        let fetched = run.fetched.saturating_sub(self.fetched);
        if fetched > 0 {
            let (new, known) = (run.new.saturating_sub(self.new), run.duplicates.saturating_sub(self.duplicates));
            let quarantined = run.quarantined.saturating_sub(self.quarantined);
            let logs = plural(fetched, "log", "logs");
            tracing::info!("committed {logs}: {new} new, {known} known, {quarantined} quarantined, in {}", self.took());
        }
    }

    /// Says what was sealed and uploaded since, if anything was.
    pub(super) fn sent(&self, run: &Summary) {
        let sealed = run.sealed_parts.saturating_sub(self.sealed_parts);
        let uploaded = run.uploaded_parts.saturating_sub(self.uploaded_parts);
        if sealed > 0 {
            tracing::info!("sealed {}, in {}", plural(sealed, "part", "parts"), self.took());
        }
        if uploaded > 0 {
            let records = plural(run.uploaded_records.saturating_sub(self.uploaded_records), "record", "records");
            let (parts, size) =
                (plural(uploaded, "part", "parts"), run.uploaded_bytes.saturating_sub(self.uploaded_bytes));
            tracing::info!("uploaded {parts}: {records}, {}, in {}", bytes(size), self.took());
        }
    }

    /// Says what was removed of what is in the store.
    pub(super) fn pruned(&self, (removed, left): (u64, u64)) {
        let removed = plural(removed, "page", "pages");
        tracing::info!("pruned {removed} of the journal, {left} left, in {}", self.took());
    }

    fn took(&self) -> String {
        took(self.began.elapsed())
    }
}

/// A time as people read it: `12 ms`, `3.4 s`.
pub(super) fn took(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
