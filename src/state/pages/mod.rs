//! Pages: as received (`journal`), those at which runs died (`tries`), and their tokens that are not records (`quarantine`). Nothing
//! here knows hours' logs or ledgers.
//!
//! Owns [`Pages`], the half of the state that a fetch fills. Invariant: an uncommitted page that is not reported as damaged is
//! on the watch list `waiting` when a run ends, and leaves it before it leaves the journal; a page whose odd tokens found no
//! room is on `held` until they do. A crash leaves a list that is a step behind, which costs no page.

pub mod journal;
pub mod quarantine;
pub(crate) mod tries;

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;

use self::journal::{Journal, SegmentId};
use self::quarantine::Quarantine;
use self::tries::Tries;
use crate::error::Result;
use crate::source::PageSink;
use crate::state::files::watch_list::WatchList;

/// The half of the state that is about pages.
#[derive(Debug)]
pub struct Pages {
    journal: Journal,
    /// Tokens that are not records.
    pub quarantine: Quarantine,
    tries: Tries,
    /// Pages that were uncommitted when the last run ended.
    waiting: WatchList,
    /// Committed pages that stay, because their odd tokens found no room in the quarantine.
    held: WatchList,
    /// Damaged pages that were reported: someone was told to move them away.
    reported: BTreeSet<u64>,
}

impl Pages {
    pub(super) const fn new(
        journal: Journal,
        quarantine: Quarantine,
        tries: Tries,
        waiting: WatchList,
        held: WatchList,
    ) -> Self {
        Self { journal, quarantine, tries, waiting, held, reported: BTreeSet::new() }
    }

    /// The pages as received: to append to, and to read.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Appends bodies that were received before, as a segment of their own. Durable on return.
    pub(crate) fn append(&self, bodies: &[&[u8]], received: Timestamp) -> Result<SegmentId> {
        let mut writer = self.journal.begin(Vec::new());
        for body in bodies {
            writer.write(body)?;
            writer.end_page();
        }
        Ok(self.journal.append(writer, received)?.id)
    }

    /// Moves a page that holds no records out of the journal. Returns where it is now.
    pub(crate) fn reject(&mut self, id: SegmentId) -> Result<PathBuf> {
        self.unwatch(id.number)?;
        self.journal.reject(id)
    }

    /// Removes pages that are no longer needed. Returns the files that are left to delete.
    pub(super) fn remove(&self, ids: &[SegmentId], newest: u64) -> Result<Vec<PathBuf>> {
        self.journal.remove(ids, newest)
    }

    /// Lists the `uncommitted` pages, so that the next start notices a deleted one.
    pub(super) fn watch(&mut self, uncommitted: Vec<SegmentId>) -> Result<()> {
        let waiting = uncommitted.into_iter().filter(|id| !self.reported.contains(&id.number));
        self.waiting.set(waiting.map(|id| (id.number, u64::from(id.pages))).collect())
    }

    /// Removes a page from that list: it is about to be committed.
    pub(crate) fn unwatch(&mut self, segment: u64) -> Result<()> {
        self.waiting.remove(segment)
    }

    /// Removes a damaged page from that list for good: it is being reported, with the advice to move it away.
    pub(crate) fn unwatch_damaged(&mut self, segment: u64) -> Result<()> {
        self.reported.insert(segment);
        self.waiting.remove(segment)
    }

    /// Keeps a page in the journal when its records are committed: its odd tokens found no room. Durable on return.
    pub(crate) fn hold(&mut self, id: SegmentId) -> Result<()> {
        let mut held = self.held.entries().clone();
        held.insert(id.number, u64::from(id.pages));
        self.held.set(held)
    }

    /// The odd tokens of a page have found room: it may be removed.
    pub(crate) fn let_go(&mut self, id: SegmentId) -> Result<()> {
        self.held.remove(id.number)
    }

    pub(super) fn holds_any(&self) -> bool {
        !self.held.entries().is_empty()
    }

    pub(super) fn is_held(&self, segment: u64) -> bool {
        self.held.contains(segment)
    }

    /// How many pages stay in the journal for the sake of their odd tokens.
    #[must_use]
    pub fn held_pages(&self) -> u64 {
        self.held.entries().values().sum()
    }

    /// The pages that are read last, because runs died at them: in the order of their turns.
    #[must_use]
    pub fn put_off(&self) -> Vec<u64> {
        self.tries.put_off()
    }

    /// Notes that a page is about to be read, where that may kill the run. `false`: it is put off, and must not be read now.
    pub(crate) fn begin_reading(&mut self, segment: u64) -> Result<bool> {
        self.tries.begin(segment)
    }

    /// Notes that a page that was put off is about to be read: its turn has come.
    pub(crate) fn begin_reading_put_off(&mut self, segment: u64) -> Result<()> {
        self.tries.read(segment)
    }

    /// Notes that the last page was read without harm.
    pub(crate) fn end_reading(&mut self) -> Result<()> {
        self.tries.end()
    }
}
