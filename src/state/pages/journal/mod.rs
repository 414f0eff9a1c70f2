//! The journal: pages as received, still encrypted, durable before anyone looks at them.
//!
//! A *segment* is one file: one page of the API, or a batch of pages of a backfill. Its life: [`Journal::begin`], [`Journal::append`] (durable on
//! return), [`Journal::list`], `Journal::read`, and `Journal::remove` when every record that it introduced has a receipt.
//! Invariant: a segment is there whole or not at all (see `durable`), so a checksum that does not match is damage and never a torn
//! tail. A crash while one is written leaves a `.tmp` file, which the next open deletes.
//!
//! ```text
//! journal/<number, 16 digits>-<pages>.page   a segment: see `segment`
//! journal/<number, 16 digits>.floor          numbers go on above it: see `numbers`
//! inbox/…page                                segments that were received while another run had the lock
//! rejected/…page                             bodies that are not pages: see `rejected`
//! ```

mod numbers;
mod rejected;
mod segment;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use self::numbers::Numbers;
pub use self::rejected::{Rejected, RejectedPages};
pub use self::segment::{Segment, SegmentId};
pub use self::writer::{OpenPage, Writer};
use crate::error::Result;
use crate::state::files::durable;
use crate::state::files::step::{Step, durable_step};

/// The journal's directory. Clones share the numbers, so that one thread can append while another commits.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
    numbers: Numbers,
    inbox: PathBuf,
    rejected: RejectedPages,
}

impl Journal {
    /// The journal below `state`, for reading only: it need not exist.
    pub fn at(state: &Path) -> Self {
        Self::in_dir(state.join("journal"), state)
    }

    fn in_dir(dir: PathBuf, state: &Path) -> Self {
        Self { numbers: Numbers::at(&dir), dir, inbox: state.join("inbox"), rejected: RejectedPages::at(state) }
    }

    /// Opens the journal below the state directory `state`; numbers go on above all that exist.
    pub fn open(state: &Path) -> Result<Self> {
        let journal = Self::at(state);
        durable::make_dir(&journal.dir)?;
        durable::remove_leftovers(&journal.dir)?;
        journal.rejected.open()?;
        let newest = journal.list()?.last().map_or(0, |id| id.number);
        let newest_rejected = journal.rejected.list()?.last().map_or(0, |id| id.number);
        journal.numbers.open(newest.max(newest_rejected))?;
        Ok(journal)
    }

    /// The inbox of the journal below `state`, for the one run that receives pages while another has the lock. Its numbers
    /// order pages among themselves, until [`Journal::adopt`] gives them others.
    pub(crate) fn inbox(state: &Path) -> Result<Self> {
        let inbox = Self::in_dir(state.join("inbox"), state);
        durable::remove_leftovers(&inbox.dir)?;
        inbox.numbers.open(inbox.list()?.last().map_or(0, |id| id.number))?;
        Ok(inbox)
    }

    /// Moves the segments in the inbox into the journal. At every moment a segment is in one or the other.
    pub(crate) fn adopt(&self) -> Result<()> {
        let segments = self.in_inbox()?;
        if segments.is_empty() {
            return Ok(());
        }
        durable_step(Step::PageJournaled, || {
            for id in segments {
                let adopted = SegmentId { number: self.numbers.next(), ..id };
                durable::rename_unsynced(&self.inbox.join(id.file_name()), &self.path(adopted))?;
            }
            durable::sync_dir(&self.dir)?;
            durable::sync_dir(&self.inbox)
        })
    }

    /// The segments in the inbox, oldest first.
    pub(crate) fn in_inbox(&self) -> Result<Vec<SegmentId>> {
        if self.inbox.is_dir() { SegmentId::list(&self.inbox) } else { Ok(Vec::new()) }
    }

    /// Whether the journal knows by itself which numbers were used. One made by etl 0.1.0 does not, before
    /// [`Journal::number_above`].
    pub(crate) fn knows_its_numbers(&self) -> bool {
        self.numbers.has_floor()
    }

    /// Makes numbers go on above `used`, now and after any crash.
    pub(crate) fn number_above(&self, used: u64) -> Result<()> {
        self.numbers.raise(used)
    }

    /// Starts a segment in `memory`, which may be that of one that is no longer needed (`Segment::into_memory`). Nothing of it
    /// is on the disk before [`Journal::append`].
    pub fn begin(&self, memory: Vec<u8>) -> Writer {
        Writer::new(self.numbers.next(), memory)
    }

    /// Appends what was written as a segment, received at `received`. It is durable on return, and returned, so that nobody
    /// has to read it.
    ///
    /// # Errors
    /// `State`, naming the path; then the segment does not exist, or is whole.
    pub fn append(&self, writer: Writer, received: Timestamp) -> Result<Segment> {
        durable_step(Step::PageJournaled, || writer.append(&self.dir, received))
    }

    /// The segments that exist, oldest first.
    pub fn list(&self) -> Result<Vec<SegmentId>> {
        SegmentId::list(&self.dir)
    }

    /// Reads a segment and checks it.
    pub(crate) fn read(&self, id: SegmentId) -> Result<Segment> {
        Segment::read(&self.path(id), id)
    }

    /// Removes segments whose records all have receipts, and returns files that are still to be deleted, under names that the
    /// next open deletes. `newest` is the newest segment that exists: it becomes the floor.
    ///
    /// # Errors
    /// `State`, naming the path; the next run looks again at what was not removed.
    pub(crate) fn remove(&self, ids: &[SegmentId], newest: u64) -> Result<Vec<PathBuf>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let is_floor = |id: &SegmentId| id.number == newest && self.numbers.rises_to(newest);
        let raises = ids.iter().any(is_floor);
        durable_step(Step::PagesRemoved, || {
            let mut left = Vec::with_capacity(ids.len());
            for id in ids {
                let path = self.path(*id);
                if is_floor(id) {
                    self.numbers.rename_to_floor(&path, newest)?;
                } else {
                    left.push(durable::retire(&path, &path)?);
                }
            }
            durable::sync_dir(&self.dir)?;
            if raises {
                self.numbers.settle_floor(newest)?;
            }
            Ok(left)
        })
    }

    /// Sets a body aside that is not a page, and returns where it is.
    pub fn reject(&self, id: SegmentId) -> Result<PathBuf> {
        durable_step(Step::PageRejected, || self.rejected.append(id, &self.path(id), &self.dir))
    }

    /// The bodies that are not pages.
    pub(crate) const fn rejected(&self) -> &RejectedPages {
        &self.rejected
    }

    /// The size of a segment's file in bytes.
    pub(crate) fn size(&self, id: SegmentId) -> u64 {
        fs::metadata(self.path(id)).map_or(0, |meta| meta.len())
    }

    /// Whether there is a journal at all.
    pub(crate) fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// When a segment was received. `None`: it is gone.
    pub(crate) fn received(&self, id: SegmentId) -> Option<Timestamp> {
        id.received(&self.dir)
    }

    /// Where a segment is, for messages.
    pub(crate) fn path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(id.file_name())
    }
}

#[cfg(test)]
mod tests;
