//! Thawing: parts that cannot be made again have their records unsealed, so that these become other parts.
//!
//! The log has the records, or the pages that wait in the journal bring them back; what neither has is reported once. One
//! atomic step of the ledger: a crash leaves the hour as it was, or thawed and due.

use std::collections::BTreeSet;

use super::Recover;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::job::Run;

impl Recover {
    /// Unseals the records of the parts of `row` that have no receipt; `what` says why. `false`: neither log nor journal holds
    /// them, which is reported, and the parts stay.
    pub(crate) fn thaw(&mut self, run: &mut Run<'_>, row: &HourRow, what: &str) -> Result<bool> {
        let gone = run.state.hours.gone_from_log(row);
        if gone > 0 && !run.state.journal_may_hold_frozen()? && !run.request.from_store {
            let what = format!("{what}, and neither the write-ahead log nor the journal holds its records");
            let hint = "restore the file from a backup, or give the records up with `etl replay --from-s3`";
            let error = Error::new(ErrorKind::State, what).hint(hint);
            // What a lane has lost comes again from its log, into another state.
            if run.setup.is_lane() {
                return Err(error);
            }
            run.problems.push(error);
            return Ok(false);
        }
        tracing::warn!("{what}: its records are sealed again");
        let at_hand: u64 =
            row.uploaded().filter(|part| part.through > row.receipted).map(|part| part.identity.rows).sum();
        let expected = run.state.hours.pending_records(row.hour) + gone.saturating_sub(at_hand);
        self.expected.insert(row.hour, expected);
        run.state.hours.thaw(row.hour)?;
        run.buckets.forget(row.hour);
        self.thawed.insert(row.hour);
        Ok(true)
    }

    /// Notes an hour that became due at once: the store had a part of it, and the records of ours may be others.
    pub(crate) fn note_thawed(&mut self, hour: Hour) {
        self.thawed.insert(hour);
    }

    pub(crate) fn any_thawed(&self) -> bool {
        !self.thawed.is_empty()
    }

    /// The thawed hours since the last time.
    pub(crate) fn take_thawed(&mut self) -> BTreeSet<Hour> {
        std::mem::take(&mut self.thawed)
    }

    /// Whether the journal has to bring records of thawed hours back.
    pub(crate) fn expects_records(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Reports the thawed hours of which not all records came back.
    pub(crate) fn report_lost_records(&mut self, run: &mut Run<'_>) {
        for (hour, expected) in std::mem::take(&mut self.expected) {
            let lost = expected.saturating_sub(run.state.hours.pending_records(hour));
            if lost > 0 {
                let what = format!("hour {hour}: {lost} records of its damaged parts are lost");
                let hint = "restore the state directory from a backup if there is one; this is said once";
                run.problems.push(Error::new(ErrorKind::State, what).hint(hint));
            }
        }
    }
}
