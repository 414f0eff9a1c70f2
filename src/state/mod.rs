//! The state directory: the small set of durable operations that the stages need, and nothing else of how they are done.
//!
//! ```text
//! lock        one run at a time                     ledger/      parts, and what became of them
//! journal/    pages as received                     hashes/      content hashes of the parts' records
//! inbox/      pages received beside a run           (taken into the journal)
//! rejected/   bodies that are no pages              spool/       bytes of parts without a receipt
//! wal/        records without a receipt (sled)      quarantine/  tokens that are no record
//! reserve     room for a full disk                  status.json  what `etl status` shows
//! waiting     pages that must not vanish            quarantined  the same for the quarantine's files
//! format      the form of all this, and the settings         parked/  records of hours that cannot be read back
//! held        pages whose odd tokens have no room   tried        pages at which runs died
//! ```
//! Journal, ledger and hash arrays are the truth; the write-ahead log is an index over the journal's pages that saves
//! decoding them again, so a damaged one is set aside and filled anew. The order of writing makes that so: a page is in
//! the journal before its records are in the log; an hour's hashes are in an array, and its parts in the spool, before the
//! ledger names them; and a page leaves only when the ledger has the receipts of every record that it introduced.

pub mod files;
mod front;
pub mod hours;
mod open;
pub mod pages;
pub mod status;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

pub use files::lock::Lock;
pub(crate) use files::reserve::Reserve;
pub(crate) use front::{Front, Inbox, refuse_newer};
pub use hours::Hours;
pub use hours::hashes::{HashArray, HashDir};
pub use hours::ledger::{Ledger, SHOWN, Settings};
pub use hours::log::sled::{Entry, LineAt, Meta};
pub use hours::log::{LineReader, NewRecords, Pending, Wal};
pub use hours::spool::Spool;
pub use pages::tries::Tries;
pub use pages::watch_list::Roll;

use self::files::durable;
use crate::error::{Error, Result};
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;

/// Hours whose hashes are forgotten in one step of the ledger.
const FORGOTTEN_AT_ONCE: usize = 512;

/// An open state directory. Holding one is holding the lock.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    /// Pages as received, and tokens that are not records.
    pub pages: Pages,
    /// Records of hours, and their parts.
    pub hours: Hours,
    /// Room for a full disk.
    reserve: Reserve,
    /// What had to be repaired when it was opened, for people.
    repairs: Vec<String>,
    /// What was there and is gone, and cannot be repaired.
    losses: Vec<Error>,
    /// Files that are no longer needed, under names that the next open deletes.
    pending_deletes: Vec<PathBuf>,
    front: Front,
}

impl State {
    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the last run did not come to its end, as far as one can tell: there may be strays.
    pub(crate) const fn after_a_crash(&self) -> bool {
        self.front.after_a_crash()
    }

    /// What had to be repaired when it was opened, for people.
    pub(crate) fn repairs(&self) -> &[String] {
        &self.repairs
    }

    /// What was there when the last run ended, and is gone for good.
    pub(crate) fn take_losses(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.losses)
    }

    /// Makes the reserve for a full disk where it is missing and `min_free` bytes stay free beside it.
    pub(crate) fn fill_reserve(&self, min_free: u64) -> Result<()> {
        self.reserve.fill(min_free)
    }

    /// The pages that were received and not committed yet, oldest first.
    pub(crate) fn uncommitted(&self) -> Result<Vec<SegmentId>> {
        let mut segments = self.pages.journal().list()?;
        segments.retain(|id| !self.hours.is_committed(id.number));
        Ok(segments)
    }

    /// Bytes of the pages that were received and not committed yet.
    pub(crate) fn uncommitted_bytes(&self) -> Result<u64> {
        Ok(self.uncommitted()?.into_iter().map(|id| self.pages.journal().size(id)).sum())
    }

    /// Lists the uncommitted pages, so that the next start notices a deleted one.
    pub(crate) fn watch_uncommitted(&mut self) -> Result<()> {
        let uncommitted = self.uncommitted()?;
        self.pages.watch(uncommitted)
    }

    /// The committed pages that stay in the journal for the sake of their odd tokens.
    pub(crate) fn held(&self) -> Result<Vec<SegmentId>> {
        if !self.pages.holds_any() {
            return Ok(Vec::new());
        }
        let mut segments = self.pages.journal().list()?;
        segments.retain(|id| self.pages.is_held(id.number) && self.hours.is_committed(id.number));
        Ok(segments)
    }

    /// How many pages stay in the journal for the sake of their odd tokens.
    #[must_use]
    pub fn held_pages(&self) -> u64 {
        self.held.names().values().sum()
    }

    /// The odd tokens of a page have found room: it may go.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn let_go(&mut self, id: SegmentId) -> Result<()> {
        self.held.release(id.number)
    }

    /// How many records of the parts of `row` that wait for receipts the write-ahead log no longer holds.
    #[must_use]
    pub fn gone_from_log(&self, row: &HourRow) -> u64 {
        open::gone_from_log(row, &self.wal)
    }

    /// The hash array of an hour's parts. `None`: it has none. The caller has made sure that they are not forgotten.
    ///
    /// # Errors
    /// `State`: the array is damaged or missing.
    pub fn array(&self, row: &HourRow) -> Result<Option<HashArray>> {
        row.hashes.map(|named| self.hashes.array(row.hour, named)).transpose()
    }

    /// How many hours there are in which something is pending or sealing.
    #[must_use]
    pub fn hours_at_work(&self) -> usize {
        let sealing = self.ledger.recent().filter(|row| row.is_sealing() && !self.wal.has_pending(row.hour));
        self.wal.pending_hour_count() + sealing.count()
    }

    /// Lets things happen to hours in the ledger: all of them in one atomic and durable step, and the files that it names
    /// before.
    ///
    /// # Errors
    /// See [`Ledger::apply`].
    pub fn apply(&mut self, step: Step, events: Vec<(Hour, Event)>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let replaced: Vec<(Hour, Option<u64>)> = events
            .iter()
            .map(|(hour, _)| Ok((*hour, self.ledger.row(*hour)?.hashes.map(|h| h.version))))
            .collect::<Result<_>>()?;
        self.make_named_durable(&events)?;
        self.ledger.carry(self.wal.seen());
        self.ledger.apply(step, self.wal.newest_segment(), events)?;
        for (hour, version) in replaced {
            let row = self.ledger.row(hour)?;
            self.wal.receipt(hour, row.receipted);
            if let Some(version) = version
                && row.hashes.map(|h| h.version) != Some(version)
            {
                self.hashes.remove(hour, version)?;
            }
        }
        Ok(())
    }

    /// Prunes what has a receipt: the pages go, and what the log has of their records. While more is being spooled, the log's rows on
    /// disk stay as they are: most of them go with their generation.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn prune(&mut self) -> Result<()> {
        self.remove_finished_pages()?;
        self.clear_spool()?;
        let left = self.wal.remove_dead_generations()?;
        self.front.lock.owes(self.wal.is_behind());
        if self.spool.filling.is_empty() {
            self.wal.prune()?;
            self.front.lock.owes(false);
        }
        self.delete(left)
    }

    /// Strikes from the log what has receipts: an interrupted run may not have come to it.
    fn strike_receipted(&mut self) -> Result<()> {
        for hour in self.wal.pending_hours().collect::<Vec<_>>() {
            let row = self.ledger.row(hour)?;
            self.wal.receipt(hour, row.receipted);
        }
        Ok(())
    }

    /// Deletes what has served: at once, or while more is being spooled, aside. See [`State::take_doomed`].
    fn delete(&mut self, left: Vec<PathBuf>) -> Result<()> {
        self.doomed.extend(left);
        if self.spool.filling.is_empty() { durable::remove_each(&self.take_doomed()) } else { Ok(()) }
    }

    /// Files that have served, for someone to delete: that takes the disk's time, and a run has better things to wait for.
    /// The next open deletes those that stay.
    pub fn take_doomed(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.doomed)
    }

    /// Removes the journal's segments that were committed and of which no record is pending.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn remove_finished_pages(&mut self) -> Result<()> {
        let mut segments = self.journal.list()?;
        let newest = segments.last().map_or(0, |id| id.number);
        segments.retain(|id| self.hours.is_finished(id.number) && !self.pages.is_held(id.number));
        let left = self.pages.remove(&segments, newest)?;
        self.hours.note_removed(&segments);
        self.delete(left)
    }

    /// Deletes the spooled bytes that no intent names.
    fn clear_spool(&mut self) -> Result<()> {
        let strays = self.hours.spool_strays()?;
        if strays.is_empty() {
            return Ok(());
        }
        durable_step(Step::SpoolCleared, || {
            let left = self.hours.clear_spool(strays)?;
            self.delete(left)
        })
    }

    /// Forgets the hash arrays of hours whose last receipt is longer ago than `window`, and deletes strays. It looks at
    /// every array, so not more often than some thirty times in a window.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn forget_hashes(&mut self, now: Timestamp, window: SignedDuration) -> Result<()> {
        let before = now.checked_sub(window).unwrap_or(Timestamp::MIN);
        let is_soon = |last: Timestamp| (SignedDuration::ZERO..window / 30).contains(&before.duration_since(last));
        if self.ledger.forgotten_before().is_some_and(is_soon) && !self.front.after_a_crash() {
            return Ok(());
        }
        self.hashes.remove_leftovers()?;
        let mut old = Vec::new();
        let (hashes, ledger, wal) = (self.hashes.clone(), &mut self.ledger, &self.wal);
        hashes.retain(|hour, version| {
            let row = ledger.row(hour)?;
            // A crash may have left an older array of the hour beside the one that counts.
            let is_named = row.hashes.is_some_and(|named| named.version == version);
            let is_old = row.last_receipt.is_some_and(|at| at < before);
            if is_old && is_named && !row.is_sealing() && !wal.has_pending(hour) {
                old.push(hour);
            }
            Ok(is_named)
        })?;
        // Their rows come into the ledger's head: some of them at a time.
        for hours in old.chunks(FORGOTTEN_AT_ONCE) {
            self.apply(Step::HashesForgotten, hours.iter().map(|hour| (*hour, Event::Forgotten)).collect())?;
            let wal = &self.wal;
            self.ledger.archive(|hour| wal.has_pending(hour), &mut |_| ())?;
        }
        self.ledger.record_forgotten(before)
    }
}
