//! A lane's log → the write-ahead log: batches of records that another process decoded.
//!
//! [`LaneLog`] is the seam where a lane's records come from, as the journal is for a machine alone. Invariant: batches are committed in
//! the order of their numbers, each in one atomic step, so that everything up to the newest committed number is known, and what comes again is
//! left out. Nothing waits for an hour that cannot be read back: what is known of it is compared when it is sealed. A crash
//! leaves whole batches; the rest is read again.

use jiff::Timestamp;

use super::Intake;
use super::dedup::NewRecords;
use crate::error::{Error, Result};
use crate::job::recover::Recover;
use crate::job::{Progress, Run};
use crate::page::decode::Decoded;
use crate::state::NewCommit;

/// Records of a lane, in the order of its log.
#[derive(Debug)]
pub struct LaneBatch {
    /// The number behind its last entry: one more than its offset.
    pub number: u64,
    /// How many entries of the log it covers, up to that number.
    pub entries: u32,
    /// When the first of its records was received.
    pub received: Timestamp,
    /// The records.
    pub records: Decoded,
}

/// The log of a lane. What is read is never removed before [`LaneLog::release`] said so.
pub trait LaneLog {
    /// The first batch behind the number `after`. `None`: there is none for now.
    ///
    /// # Errors
    /// `Unavailable`: the log does not answer. `State`: it ends before `after`, or has lost what follows.
    fn next(&mut self, after: u64) -> Result<Option<LaneBatch>>;

    /// The number below which nothing has to be read any more, by anybody.
    fn passed(&self) -> u64 {
        0
    }

    /// Everything below the number `needed` has its receipts.
    ///
    /// # Errors
    /// `Unavailable`: the log does not answer. It is told again with the next run.
    fn release(&mut self, needed: u64) -> Result<()>;
}

impl Intake {
    /// Commits all that the log has behind the number `behind`, and behind what is committed. Stops early when the run is to stop, or the
    /// disk is short of space; or where the log fails, and gives that failure: it is none of the state.
    pub(crate) fn commit_lane(
        &mut self,
        run: &mut Run<'_>,
        recover: &mut Recover,
        log: &mut dyn LaneLog,
        behind: u64,
        before_the_first: &mut dyn FnMut(&Run<'_>) -> Result<()>,
    ) -> Result<Option<Error>> {
        let mut is_first = true;
        while !run.is_stopped() && !run.is_short_of_space(0)? {
            let batch = match log.next(run.state.hours.newest_segment().max(behind)) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) => return Ok(Some(error)),
            };
            if std::mem::take(&mut is_first) {
                before_the_first(run)?;
            }
            self.commit_batch(run, recover, &batch)?;
        }
        run.note_status(false).map(|()| None)
    }

    fn commit_batch(&mut self, run: &mut Run<'_>, recover: &mut Recover, batch: &LaneBatch) -> Result<()> {
        let pages = std::slice::from_ref(&batch.records);
        if !recover.open_hours_anyway(run, pages)? {
            return Ok(());
        }
        let mut new = NewRecords::default();
        run.buckets.partition(&batch.records, batch.received, &mut new)?;
        let late = new.records.iter().filter(|(hour, _)| run.setup.closing.is_late(**hour, false, batch.received));
        let late: u64 = late.map(|(_, records)| records.entries.len() as u64).sum();
        let tallies = super::commit::totals(run, &new.tallies)?;
        run.state.hours.commit(NewCommit {
            segment: batch.number,
            pages: batch.entries,
            received: batch.received,
            records: &new.records,
            duplicates: new.duplicates,
            // Which ids came is known where pages are decoded.
            seen: run.state.hours.seen().clone(),
            tallies,
        })?;
        run.buckets.shrink(&run.state.hours)?;
        run.summary.new += new.count();
        run.summary.duplicates += new.duplicates;
        run.summary.late += late;
        (run.setup.progress)(Progress::Committed(run.summary.new + run.summary.duplicates));
        run.note_status(false)
    }
}
