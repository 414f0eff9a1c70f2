//! The state directory: the durable operations that the stages need, in two halves, pages and hours.
//!
//! ```text
//! lock        one run at a time                    format       the form of all this, and the settings
//! reserve     room for a full disk                 status.json  what `etl status` shows
//! inbox/      pages received beside a run, until the journal takes them
//! runs/       the history of runs: nothing depends on it
//!
//! pages                                            hours
//! journal/    pages as received                    wal/         records without a receipt (sled)
//! rejected/   bodies that are not pages            ledger/      parts, and what became of them
//! quarantine/ tokens that are not records          hashes/      content hashes of the parts' records
//! waiting     watch list: uncommitted pages        spool/       bytes of parts without a receipt
//! quarantined watch list: the quarantine's files   parked/      records of hours that cannot be read back
//! held        pages whose odd tokens have no room  digests/     manifests that no digest names yet
//! tried       pages at which runs died             refused.json  hours with a part that the store refuses
//! trail.json, validator.json                       parked-records  watch list: parked records
//!                                                  heard        when the source was heard without a break
//! verified.json  what the last verification found  recut.json  hours that are to be cut again
//! ```
//! Journal, ledger and hash arrays are the truth; the write-ahead log is an index over the journal's pages that saves
//! decoding them again, so a damaged one is set aside and filled again. The order of writing makes that so: a page is in
//! the journal before its records are in the log; an hour's hashes are in an array, and its parts in the spool, before the
//! ledger names them; and a page is deleted only when the ledger has the receipts of every record that it introduced. Each half
//! keeps its stores private; what concerns both is an operation of [`State`]. A crash leaves what the crash table says.

pub mod files;
mod front;
pub mod hours;
mod open;
pub mod pages;
pub mod status;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

pub use files::hash_array::HashArray;
pub use files::lock::Lock;
pub(crate) use files::reserve::Reserve;
pub(crate) use files::watch_list::WatchList;
pub(crate) use front::{Front, Inbox, refuse_newer};
pub use hours::Hours;
pub(crate) use hours::digests::{Chain, Fixed, Head, Undigested, newest_digest};
pub use hours::hash_dir::HashDir;
pub(crate) use hours::ledger::way_out;
pub use hours::ledger::{Ledger, SHOWN, Settings};
pub use hours::log::sled::{Entry, LineAt, Meta};
pub use hours::log::{HourRecords, LineReader, NewCommit, Pending, Wal};
pub use pages::Pages;

use self::files::durable;
use crate::error::{Error, Result};
use crate::hour::lifecycle::{Event, HourRow};
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::pages::journal::SegmentId;

/// Hours whose hashes are forgotten in one step of the ledger.
const FORGOTTEN_AT_ONCE: usize = 512;

/// An open state directory: its two halves, and what concerns both. Holding one is holding the lock.
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
    /// Pages that were removed from the journal and not told of yet.
    pages_removed: u64,
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

    /// Keeps the number of the quarantine's files bounded.
    pub(crate) fn merge_quarantine(&mut self, stop: &dyn Fn() -> bool) -> Result<()> {
        if !self.pages.quarantine.has_many() {
            return Ok(());
        }
        let uncommitted: BTreeSet<u64> = self.uncommitted()?.iter().map(|id| id.number).collect();
        self.pages.quarantine.merge(&|segment| !uncommitted.contains(&segment), stop)
    }

    /// Whether uncommitted pages may hold records of parts in the making: they were there at the ledger's last step.
    pub(crate) fn journal_may_hold_frozen(&self) -> Result<bool> {
        let (_, newest) = self.hours.newest_at_last_step();
        Ok(self.uncommitted()?.iter().any(|id| id.number <= newest))
    }

    /// Forgets the hash arrays of hours whose last receipt is longer ago than `window`, and deletes strays. It looks at
    /// every array, so not more often than some thirty times in a window.
    pub(crate) fn forget_hashes(&mut self, now: Timestamp, window: SignedDuration) -> Result<()> {
        let before = now.checked_sub(window).unwrap_or(Timestamp::MIN);
        if self.hours.has_forgotten_lately(before, window) && !self.front.after_a_crash() {
            return Ok(());
        }
        // Their rows come into the ledger's head: some of them at a time.
        for hours in self.hours.remove_stray_arrays(before)?.chunks(FORGOTTEN_AT_ONCE) {
            let forgotten = hours.iter().map(|hour| (*hour, Event::Forgotten)).collect();
            self.hours.apply(Step::HashesForgotten, forgotten)?;
            self.archive_rows(&mut |_| ())?;
        }
        self.hours.record_forgotten(before)
    }

    /// Prunes what has a receipt: its pages, its spooled bytes, and what the log has of its records. While parts are being
    /// spooled, the log's rows on disk stay as they are: most of them go with their generation.
    pub(crate) fn prune(&mut self) -> Result<()> {
        self.remove_finished_pages()?;
        self.clear_spool()?;
        let left = self.hours.remove_dead_generations()?;
        if !self.hours.is_spooling() {
            self.hours.prune_log()?;
            self.front.lock.settle();
        }
        self.delete(left)
    }

    /// Moves old rows of the ledger to the files of their days, and shows them to `leaving` before. The next open believes the
    /// ledger's head about what has receipts; where the log's rows do not say it yet, it has to look into the days' files, too.
    pub(crate) fn archive_rows(&mut self, leaving: &mut dyn FnMut(&HourRow)) -> Result<()> {
        if self.hours.is_log_behind() {
            self.front.lock.owe()?;
        }
        self.hours.archive_rows(leaving)
    }

    /// How many pages were removed from the journal since the last call, and how many it has.
    pub(crate) fn pages_removed_and_left(&mut self) -> Result<(u64, u64)> {
        let left = self.pages.journal().list()?.iter().map(|id| u64::from(id.pages)).sum();
        Ok((std::mem::take(&mut self.pages_removed), left))
    }

    /// Removes the pages that were committed and of which no record is pending.
    pub(crate) fn remove_finished_pages(&mut self) -> Result<()> {
        if !self.hours.settings().lane.is_empty() {
            // What is not in the journal cannot be taken for new.
            self.hours.note_missing();
        }
        let mut segments = self.pages.journal().list()?;
        let newest = segments.last().map_or(0, |id| id.number);
        segments.retain(|id| self.hours.is_finished(id.number) && !self.pages.is_held(id.number));
        let left = self.pages.remove(&segments, newest)?;
        self.hours.note_removed(segments.iter().map(|id| id.number));
        self.pages_removed += segments.iter().map(|id| u64::from(id.pages)).sum::<u64>();
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

    /// Deletes files that are no longer needed: at once, or while parts are being spooled, later. See [`State::take_pending_deletes`].
    fn delete(&mut self, left: Vec<PathBuf>) -> Result<()> {
        self.pending_deletes.extend(left);
        if self.hours.is_spooling() { Ok(()) } else { durable::remove_each(&self.take_pending_deletes()) }
    }

    /// Files for the caller to delete, beside other work: deleting takes the disk's time, and a run has better things to wait for.
    /// The next open deletes those that stay.
    pub(crate) fn take_pending_deletes(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.pending_deletes)
    }
}
