//! Hours: their records without a receipt (`log`), their parts (`ledger`, `spool`), the hashes of what they hold,
//! and records that wait until their hour can be read back (`parked`).
//!
//! Owns [`Hours`], the half of the state that a commit fills and that sealing empties. Invariant: an hour's hashes are in an
//! array, and its parts in the spool, before the ledger names them; and a record is in the log until the ledger has its receipt. A
//! crash leaves arrays and spooled files that nothing names, which go later.

pub(crate) mod digests;
pub(crate) mod hash_dir;
pub(crate) mod heard;
pub(crate) mod ledger;
pub(crate) mod log;
pub mod parked;
mod parts;
pub(crate) mod spool;

use std::collections::BTreeSet;
use std::path::PathBuf;

use self::digests::Digests;
use self::hash_dir::HashDir;
use self::ledger::Ledger;
use self::log::{EachEntry, LineReader, NewCommit, Pending, Wal};
use self::parked::Parked;
use self::spool::Spool;
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::lifecycle::HourRow;
use crate::hour::tally::Tally;
use crate::stop::Stop;

/// The half of the state that is about hours.
#[derive(Debug)]
pub struct Hours {
    /// Parts, and what became of them.
    ledger: Ledger,
    /// The content hashes of the parts' records.
    hashes: HashDir,
    /// Records without a receipt.
    log: Wal,
    /// Bytes of parts until their receipts.
    spool: Spool,
    /// Records of hours that cannot be read back.
    pub parked: Parked,
    /// Manifests that no digest names yet.
    pub(crate) digests: Digests,
    /// Hours with parts in the making of which the log no longer holds all records: the pages that bring them back wait
    /// until their parts have receipts.
    missing_records: BTreeSet<Hour>,
}

impl Hours {
    pub(super) fn new(
        ledger: Ledger,
        hashes: HashDir,
        log: Wal,
        spool: Spool,
        parked: Parked,
        digests: Digests,
    ) -> Self {
        let mut hours = Self { ledger, hashes, log, spool, parked, digests, missing_records: BTreeSet::new() };
        let missing = |row: &&HourRow| row.is_sealing() && hours.gone_from_log(row) > 0;
        hours.missing_records = hours.ledger.recent().filter(missing).map(|row| row.hour).collect();
        hours
    }
}

/// What is known of hours: their rows, and what is pending.
impl Hours {
    /// What the ledger has of an hour.
    ///
    /// # Errors
    /// `State`: its day's file is damaged.
    pub fn row(&mut self, hour: Hour) -> Result<HourRow> {
        self.ledger.row(hour)
    }

    /// Whether records that come now for the hour of `row` are late because it has parts. A lane's parts may have been sealed while the
    /// hour was open, or are other lanes'.
    pub(crate) fn has_parts(&self, row: &HourRow) -> bool {
        !row.parts.is_empty() && self.settings().lane.is_empty()
    }

    /// Hands every row of the ledger to `each`, oldest first.
    pub(crate) fn for_each_row(&self, each: &mut dyn FnMut(&HourRow) -> Result<()>) -> Result<()> {
        self.ledger.for_each(each)
    }

    /// The rows in the ledger's head.
    pub(crate) fn recent(&self) -> impl Iterator<Item = &HourRow> {
        self.ledger.recent()
    }

    /// The newest rows in the files of days.
    pub(crate) fn newest_archived(&self, days: usize) -> Vec<HourRow> {
        self.ledger.newest_archived(days)
    }

    /// The hours with parts that wait for their receipts, oldest first.
    pub(crate) fn sealing(&self) -> impl Iterator<Item = Hour> {
        self.ledger.recent().filter(|row| row.is_sealing()).map(|row| row.hour)
    }

    /// The hours with pending records, oldest first.
    pub fn pending_hours(&self) -> impl DoubleEndedIterator<Item = Hour> {
        self.log.pending_hours()
    }

    /// How many hours there are in which something is pending or sealing.
    pub(crate) fn count_at_work(&self) -> u64 {
        let sealing = self.sealing().filter(|hour| !self.log.has_pending(*hour)).count();
        (self.log.pending_hour_count() + sealing) as u64
    }

    /// What is pending of an hour.
    #[must_use]
    pub fn pending(&self, hour: Hour) -> Option<Pending> {
        self.log.pending(hour)
    }

    pub(crate) fn pending_records(&self, hour: Hour) -> u64 {
        self.pending(hour).map_or(0, |pending| pending.records)
    }

    /// All pending records, of whichever hour.
    pub(crate) const fn all_pending_records(&self) -> u64 {
        self.log.pending_records()
    }

    /// What is pending of an hour in commits after `after`. `None`: nothing.
    pub(crate) fn pending_after(&self, hour: Hour, after: u64) -> Option<Pending> {
        self.log.unsealed(hour, after)
    }

    /// The records of an hour that are in no part yet. `None`: there are none.
    pub(crate) fn unsealed(&self, row: &HourRow) -> Option<Pending> {
        self.log.unsealed(row.hour, row.frozen)
    }

    /// Whether the log no longer holds all records of an hour's parts in the making.
    pub(crate) fn misses_records(&self, hour: Hour) -> bool {
        self.missing_records.contains(&hour)
    }

    pub(crate) fn any_misses_records(&self) -> bool {
        !self.missing_records.is_empty()
    }

    /// How many records of the parts of `row` that wait for receipts the log no longer holds.
    pub(crate) fn gone_from_log(&self, row: &HourRow) -> u64 {
        let frozen: u64 =
            row.parts.iter().filter(|part| part.through > row.receipted).map(|part| part.identity.rows).sum();
        frozen.saturating_sub(self.log.count_between(row.hour, row.receipted, row.frozen))
    }

    /// What was counted of an hour so far: what the log knows, or the ledger.
    pub(crate) fn tally(&mut self, hour: Hour) -> Result<Tally> {
        let logged = self.log.tally(hour);
        if let Some(tally) = logged.filter(|_| self.log.has_pending(hour)) {
            return Ok(tally);
        }
        // What the log forgets of an hour at rest may come back as an older generation has it.
        let certified = self.ledger.row(hour)?.certified.map(|certified| certified.tally).unwrap_or_default();
        Ok(logged.unwrap_or_default().or_later(&certified))
    }

    /// Which ids came.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        self.log.seen()
    }

    pub(crate) const fn duplicates(&self) -> u64 {
        self.log.duplicates()
    }

    pub(crate) const fn uploaded_records(&self) -> u64 {
        self.ledger.uploaded_records()
    }

    pub(crate) const fn uploaded_parts(&self) -> u64 {
        self.ledger.uploaded_parts()
    }

    /// The newest commit and the newest segment that the ledger knew at its last step.
    pub(crate) const fn newest_at_last_step(&self) -> (u64, u64) {
        self.ledger.newest()
    }

    pub(super) fn holds_nothing(&self) -> bool {
        self.ledger.is_empty() && self.log.pending_hours().next().is_none() && self.parked.count() == 0
    }
}

/// The log: pages that are committed, and their records until the receipts.
impl Hours {
    /// Makes sure that there is a log to commit to, and with it the store's own threads.
    pub(crate) fn prepare_log(&mut self) -> Result<()> {
        self.log.prepare()
    }

    /// Commits what a segment of the journal brings. Atomic, and durable on return.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn commit(&mut self, new: NewCommit<'_>) -> Result<()> {
        self.log.commit(new)
    }

    /// Whether the page with this number was committed.
    #[must_use]
    pub fn is_committed(&self, segment: u64) -> bool {
        self.log.is_committed(segment)
    }

    /// The number behind everything that was committed.
    pub(crate) const fn newest_segment(&self) -> u64 {
        self.log.newest_segment()
    }

    /// The number of the first entry of a lane's log that is still needed. `None`: none is.
    pub(crate) fn oldest_needed_entry(&self) -> Option<u64> {
        self.log.oldest_needed_entry()
    }

    /// Whether the log has no generation: nothing was committed, or all of it has receipts, or it is lost.
    pub(crate) const fn has_no_log(&self) -> bool {
        self.log.has_no_generation()
    }

    /// Whether the page was committed and none of its records is pending.
    pub(super) fn is_finished(&self, segment: u64) -> bool {
        self.log.is_finished(segment)
    }

    /// Notes that no committed page is in the journal: it is that of a lane.
    pub(super) fn note_missing(&mut self) {
        self.log.note_missing(&BTreeSet::new());
    }

    /// Notes that pages are gone from the journal.
    pub(super) fn note_removed(&mut self, segments: impl IntoIterator<Item = u64>) {
        self.log.note_removed(segments);
    }

    /// The hours that need the oldest page that is needed: as many as `most`.
    pub(crate) fn that_need_the_oldest_page(&self, most: usize) -> Vec<Hour> {
        self.log.oldest_needed(most).map(|(_, hours)| hours).unwrap_or_default()
    }

    /// Hands the entries of the records of `wanted` hours, each in commits after the given one, to `each`.
    /// `false`: the run is to stop, and these are not all.
    pub(crate) fn entries(&self, wanted: &[(Hour, u64)], stop: &Stop, each: &mut EachEntry<'_>) -> Result<bool> {
        self.log.entries(wanted, stop, each)
    }

    /// A reader of the log's lines.
    pub(crate) fn lines(&self) -> LineReader<'_> {
        self.log.lines()
    }

    /// Whether the log's rows on disk still have what has receipts.
    pub(super) fn is_log_behind(&self) -> bool {
        self.log.is_behind()
    }

    /// Removes what has receipts from the log's rows on disk.
    pub(super) fn prune_log(&mut self) -> Result<()> {
        self.log.prune()
    }

    /// Drops the log's generations in which nothing is pending. Returns what is left to delete.
    pub(super) fn remove_dead_generations(&mut self) -> Result<Vec<PathBuf>> {
        self.log.remove_dead_generations()
    }

    /// Replaces a log that is mostly dead.
    pub(crate) fn tidy_log(&mut self) -> Result<()> {
        self.log.tidy()
    }
}
