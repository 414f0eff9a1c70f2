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
pub use files::reserve::Reserve;
pub use front::{Front, Inbox, refuse_newer};
pub use hours::hashes::{HashArray, HashDir};
pub use hours::ledger::{Ledger, SHOWN, Settings};
pub use hours::log::sled::{Entry, LineAt, LineReader, Meta};
pub use hours::log::{NewRecords, Pending, Wal};
pub use hours::spool::Spool;
pub use pages::tries::Tries;
pub use pages::watch_list::Roll;

use self::files::durable;
use crate::error::{Error, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::part::PartStage;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::hours::parked::Parked;
use crate::state::pages::journal::{Journal, SegmentId};
use crate::state::pages::quarantine::Quarantine;

/// An open state directory. Holding one is holding the lock.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    /// Pages as received.
    pub journal: Journal,
    /// Tokens that are no record.
    pub quarantine: Quarantine,
    /// Records of hours that cannot be read back.
    pub parked: Parked,
    /// Room for a full disk.
    pub reserve: Reserve,
    /// Parts, and what became of them.
    pub ledger: Ledger,
    /// The content hashes of the parts' records.
    pub hashes: HashDir,
    /// Records without a receipt.
    pub wal: Wal,
    /// What had to be repaired when it was opened, for people.
    pub repairs: Vec<String>,
    /// What was there and is gone, and cannot be repaired.
    pub losses: Vec<Error>,
    /// Hours with parts in the making of which the log no longer holds all records: the pages that bring them back wait
    /// until their parts have receipts.
    pub short: BTreeSet<Hour>,
    /// Bytes of parts until their receipts.
    pub spool: Spool,
    /// Files that have served and are yet to be deleted, under names that the next open deletes.
    doomed: Vec<PathBuf>,
    /// Pages that were not committed when the last run ended.
    waiting: Roll,
    /// Which pages are read last.
    pub tries: Tries,
    /// Committed pages that stay, because their odd tokens found no room in the quarantine.
    held: Roll,
    /// Damaged pages that were named: someone was told to move them away.
    named: BTreeSet<u64>,
    front: Front,
}

impl State {
    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the last run did not come to its end, as far as one can tell: there may be strays.
    #[must_use]
    pub const fn after_a_crash(&self) -> bool {
        self.front.after_a_crash()
    }

    /// The segments that were received and not committed yet, oldest first.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn uncommitted(&self) -> Result<Vec<SegmentId>> {
        let mut segments = self.journal.list()?;
        segments.retain(|id| !self.wal.is_committed(id.number));
        Ok(segments)
    }

    /// Whether pages wait in the journal that may hold records of parts in the making: they were there at the ledger's last step.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn journal_may_hold_frozen(&self) -> Result<bool> {
        let (_, newest) = self.ledger.newest();
        Ok(self.uncommitted()?.iter().any(|id| id.number <= newest))
    }

    /// Bytes of the segments that were received and not committed yet.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn uncommitted_bytes(&self) -> Result<u64> {
        Ok(self.uncommitted()?.into_iter().map(|id| self.journal.size(id)).sum())
    }

    /// Puts the pages that are not committed on the roll, so that the next start misses one that vanishes.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn call_waiting(&mut self) -> Result<()> {
        let waiting = self.uncommitted()?.into_iter().filter(|id| !self.named.contains(&id.number));
        self.waiting.call(waiting.map(|id| (id.number, u64::from(id.pages))).collect())
    }

    /// Takes a damaged page off the roll for good: it is being named, with the advice to move it away.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn release_damaged(&mut self, segment: u64) -> Result<()> {
        self.named.insert(segment);
        self.waiting.release(segment)
    }

    /// Takes a segment off the roll of those that wait: it is about to be committed.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn release_waiting(&mut self, segment: u64) -> Result<()> {
        self.waiting.release(segment)
    }

    /// Has a page stay in the journal when its records are committed: its odd tokens found no room. Durable on return.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn hold(&mut self, id: SegmentId) -> Result<()> {
        let mut held = self.held.names().clone();
        held.insert(id.number, u64::from(id.pages));
        self.held.call(held)
    }

    /// The committed pages that stay in the journal for the sake of their odd tokens.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn held(&self) -> Result<Vec<SegmentId>> {
        if self.held.names().is_empty() {
            return Ok(Vec::new());
        }
        let mut segments = self.journal.list()?;
        segments.retain(|id| self.held.names().contains_key(&id.number) && self.wal.is_committed(id.number));
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

    /// Hours in which something is pending or sealing, oldest first.
    #[must_use]
    pub fn hours_at_work(&self) -> Vec<Hour> {
        let sealing = self.ledger.recent().filter(|row| row.is_sealing()).map(|row| row.hour);
        let mut hours: Vec<Hour> = self.wal.pending_hours().chain(sealing).collect();
        hours.sort_unstable();
        hours.dedup();
        hours
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
            if let Some(version) = version
                && self.ledger.row(hour)?.hashes.map(|h| h.version) != Some(version)
            {
                self.hashes.remove(hour, version)?;
            }
        }
        Ok(())
    }

    /// Prunes what has a receipt: the log stops counting the records, their pages go.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn prune(&mut self) -> Result<()> {
        let mut receipted = Vec::new();
        for hour in self.wal.pending_hours().collect::<Vec<_>>() {
            receipted.push((hour, self.ledger.row(hour)?.receipted));
        }
        self.wal.prune(&receipted)?;
        self.remove_finished_pages()?;
        self.clear_spool()?;
        let left = self.wal.remove_dead_generations()?;
        self.delete(left)
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
        segments.retain(|id| self.wal.is_finished(id.number) && !self.held.names().contains_key(&id.number));
        let left = self.journal.remove(&segments, newest)?;
        self.wal.note_removed(&segments);
        self.delete(left)
    }

    /// Makes the files durable under their names that `events` are about to name in the ledger.
    fn make_named_durable(&self, events: &[(Hour, Event)]) -> Result<()> {
        if events.iter().any(|(_, event)| matches!(event, Event::Frozen { .. })) {
            self.spool.make_names_durable()?;
        }
        if events.iter().any(|(_, event)| matches!(event, Event::Frozen { .. } | Event::Imported { .. })) {
            self.hashes.make_names_durable()?;
        }
        Ok(())
    }

    /// Deletes the spooled bytes that no intent names.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn clear_spool(&mut self) -> Result<()> {
        let ledger = &mut self.ledger;
        let strays = self.spool.strays(|hour, part| {
            let row = ledger.row(hour)?;
            Ok(row.parts.iter().any(|p| p.part == part && p.stage == PartStage::Sealing))
        })?;
        if strays.is_empty() {
            return Ok(());
        }
        durable_step(Step::SpoolCleared, || {
            let left = self.spool.clear(strays)?;
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
        let mut events = Vec::new();
        let (hashes, ledger, wal) = (self.hashes.clone(), &mut self.ledger, &self.wal);
        hashes.retain(|hour, version| {
            let row = ledger.row(hour)?;
            // A crash may have left an older array of the hour beside the one that counts.
            let is_named = row.hashes.is_some_and(|named| named.version == version);
            let old = row.last_receipt.is_some_and(|at| at < before);
            if old && is_named && !row.is_sealing() && !wal.has_pending(hour) {
                events.push((hour, Event::Forgotten));
            }
            Ok(is_named)
        })?;
        self.apply(Step::HashesForgotten, events)?;
        self.ledger.record_forgotten(before)
    }
}
