//! The write-ahead log: the generations of committed records that have no receipt yet.
//!
//! New commits go to the newest generation. One that has grown mostly dead is replaced: its pending records are written
//! into a new one that says which it replaces, and then it is removed whole, because sled gives no space back. Records are never
//! deleted one by one: a commit's row says of which hours it still has pending records, and all else is dead. What has a receipt
//! is struck from the [`book`] at once, and from the rows on disk when the run has no more to seal: the ledger knows it.
//! A crash leaves rows that list what has receipts (the next open strikes them), a replaced generation or the mark of one that was set
//! aside (removed then), or a row of a segment that is gone (removed with the next batch).

mod book;
mod opening;
mod reading;
mod shares;
pub(crate) mod sled;
mod turnover;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use self::sled::{Batch, CommitRow, Entry, Generation, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::tally::Tally;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use book::Book;
pub use book::Pending;
pub use reading::{EachEntry, LineReader};

/// The new records of one hour in a commit.
#[derive(Debug, Default)]
pub struct HourRecords<'l> {
    /// Their index entries in order of arrival.
    pub entries: Vec<Entry>,
    /// Their lines one behind the other, in pieces that lie somewhere.
    pub lines: Vec<&'l [u8]>,
}

impl<'l> HourRecords<'l> {
    /// Adds a piece of lines, if there is one.
    pub(crate) fn take(&mut self, lines: Option<&'l [u8]>) {
        self.lines.extend(lines.filter(|lines| !lines.is_empty()));
    }
}

/// What a segment of the journal brings.
#[derive(Debug)]
pub struct NewCommit<'r> {
    /// The segment's number.
    pub segment: u64,
    /// Pages in it.
    pub pages: u32,
    /// When they were received.
    pub received: Timestamp,
    /// Its new records by hour.
    pub records: &'r BTreeMap<Hour, HourRecords<'r>>,
    /// How many of its records were known.
    pub duplicates: u64,
    /// The ids that came so far, its own included.
    pub seen: Seen,
    /// What was counted of its hours so far, its own records included.
    pub tallies: BTreeMap<Hour, Tally>,
}

/// The open write-ahead log.
#[derive(Debug)]
pub struct Wal {
    dir: PathBuf,
    generations: Vec<Generation>,
    book: Book,
    meta: Meta,
    seen: Seen,
    /// What was counted of hours, each with the generation that says so.
    tallies: BTreeMap<Hour, (Tally, u32)>,
    /// Sets of them that were written.
    sets: u64,
    /// With so many of them the old ones are forgotten.
    tallies_at_most: usize,
    /// Commits whose segments are gone: their rows go with the next batch.
    gone: BTreeSet<u64>,
}

impl Wal {
    /// Opens all generations below the state directory. What cannot be trusted is set aside and named in `repairs`: its
    /// pages are still in the journal. Numbers go on above `floor` (commit, segment).
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path, floor: (u64, u64), repairs: &mut Vec<String>) -> Result<Self> {
        let dir = state.join("wal");
        durable::make_dir(&dir)?;
        let mut wal = Self {
            dir,
            generations: Vec::new(),
            book: Book::default(),
            meta: Meta { newest_commit: floor.0, newest_segment: floor.1, ..Meta::default() },
            seen: Seen::default(),
            tallies: BTreeMap::new(),
            sets: 0,
            tallies_at_most: 0,
            gone: BTreeSet::new(),
        };
        let mut older = Vec::new();
        for name in durable::names(&wal.dir)? {
            wal.open_generation(&name, &mut older, repairs)?;
        }
        wal.remove_replaced()?;
        wal.load_commits()?;
        if !older.is_empty() {
            // What was taken over from them is nowhere else.
            wal.start_above(&older)?;
        }
        for (_, path) in &older {
            opening::set_aside(path, "is of an older form", repairs)?;
        }
        Ok(wal)
    }

    /// Whether the segment with this number was committed.
    #[must_use]
    pub fn is_committed(&self, segment: u64) -> bool {
        self.book.commit_of(segment).is_some()
    }

    /// Whether the segment was committed and none of its records is pending.
    pub(crate) fn is_finished(&self, segment: u64) -> bool {
        self.book.commit_of(segment).is_some_and(|commit| self.book.is_finished(commit))
    }

    /// Notes that segments are gone from the journal. Also called at a start, for those that went before a crash.
    pub(crate) fn note_removed(&mut self, segments: impl IntoIterator<Item = u64>) {
        self.gone.extend(segments.into_iter().filter_map(|segment| self.book.commit_of(segment)));
    }

    /// Notes the finished segments that are no longer among `listed`.
    pub(crate) fn note_missing(&mut self, listed: &BTreeSet<u64>) {
        let missing = self.book.segments().filter(|(segment, _)| !listed.contains(segment));
        self.gone.extend(missing.map(|(_, commit)| commit).filter(|commit| self.book.is_finished(*commit)));
    }

    /// The newest segment that was ever committed.
    pub(crate) const fn newest_segment(&self) -> u64 {
        self.meta.newest_segment
    }

    /// Records received again, ever.
    pub(crate) const fn duplicates(&self) -> u64 {
        self.meta.duplicates
    }

    /// Which ids came.
    pub(crate) const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What was counted of an hour. `None`: the log does not know it.
    pub(crate) fn tally(&self, hour: Hour) -> Option<Tally> {
        self.tallies.get(&hour).map(|(tally, _)| *tally)
    }

    /// Takes a copy of the ids that came over, where it is later than what the log knows.
    pub(crate) fn recall(&mut self, copy: &Seen) {
        if copy.version() > self.seen.version() {
            self.seen = copy.clone();
        }
    }

    /// The hours with pending records.
    pub fn pending_hours(&self) -> impl DoubleEndedIterator<Item = Hour> {
        self.book.hours()
    }

    /// How many hours have pending records.
    pub(crate) fn pending_hour_count(&self) -> usize {
        self.book.hour_count()
    }

    /// Pending records of all hours.
    #[must_use]
    pub const fn pending_records(&self) -> u64 {
        self.book.records()
    }

    /// What is pending of an hour.
    pub(crate) fn pending(&self, hour: Hour) -> Option<Pending> {
        self.book.unsealed(hour, 0)
    }

    /// Whether anything is pending of an hour.
    pub(crate) fn has_pending(&self, hour: Hour) -> bool {
        self.book.has(hour)
    }

    /// What is pending of an hour in commits after `after`: the unsealed records. `None`: nothing.
    pub(crate) fn unsealed(&self, hour: Hour, after: u64) -> Option<Pending> {
        self.book.unsealed(hour, after)
    }

    /// The oldest segment that is needed, with the first of the hours that need it, up to `most`.
    pub(crate) fn oldest_needed(&self, most: usize) -> Option<(u64, Vec<Hour>)> {
        let (segment, hours) = self.book.oldest_needed()?;
        Some((segment, hours.take(most).collect()))
    }

    /// The first entry of a lane's log that the oldest needed commit covers: it has as many entries as pages.
    pub(crate) fn oldest_needed_entry(&self) -> Option<u64> {
        let (segment, _) = self.book.oldest_needed()?;
        let row = self.book.row(self.book.commit_of(segment)?)?;
        Some(segment.saturating_sub(u64::from(row.pages)))
    }

    pub(crate) const fn has_no_generation(&self) -> bool {
        self.generations.is_empty()
    }

    /// Makes sure that there is a generation to commit to, and with it the store's own threads.
    pub(crate) fn prepare(&mut self) -> Result<()> {
        if self.generations.is_empty() { self.make_room() } else { Ok(()) }
    }

    /// Commits a segment. Atomic, and durable on return.
    pub(crate) fn commit(&mut self, new: NewCommit<'_>) -> Result<()> {
        let NewCommit { segment, pages, received, records, duplicates, seen, tallies } = new;
        self.make_room()?;
        let commit = self.meta.newest_commit + 1;
        let meta = Meta {
            duplicates: self.meta.duplicates + duplicates,
            newest_commit: commit,
            newest_segment: self.meta.newest_segment.max(segment),
            replaces: std::mem::take(&mut self.meta.replaces),
        };
        let received = received.as_nanosecond();
        let row = CommitRow { segment, pages, received, ..CommitRow::default() };
        let mut batch = Batch::default();
        batch.begin_commit(commit, row);
        for (hour, new) in records {
            batch.put_records(*hour, &new.entries, &new.lines)?;
        }
        batch.put_meta(&meta)?;
        batch.put_tallies(self.new_set(), &tallies)?;
        if seen != self.seen {
            batch.put_seen(&seen)?;
        }
        let newest = self.newest()?.id;
        let written = self.write(newest, batch, Step::SegmentCommitted)?;
        (self.meta, self.seen) = (meta, seen);
        self.tallies.extend(tallies.into_iter().map(|(hour, tally)| (hour, (tally, newest))));
        written.into_iter().for_each(|(commit, row, pieces)| self.book.enter(commit, newest, pieces, row));
        Ok(())
    }

    /// Stops counting the records of an hour in commits up to `through`: they have receipts. In memory: see [`Wal::prune`].
    pub(crate) fn receipt(&mut self, hour: Hour, through: u64) {
        self.book.receipt(hour, through);
    }

    /// Whether the rows on disk list records that have receipts.
    pub(crate) fn is_behind(&self) -> bool {
        self.book.changed().next().is_some()
    }

    /// Strikes what has receipts from the rows on disk, too.
    pub(crate) fn prune(&mut self) -> Result<()> {
        let mut batches: BTreeMap<u32, Batch<'_>> = BTreeMap::new();
        let mut struck = Vec::new();
        for (number, commit) in self.book.changed().filter(|(number, _)| !self.gone.contains(number)) {
            let batch = batches.entry(commit.generation).or_default();
            if let Some(row) = self.book.row(number) {
                struck.push((number, batch.put_commit(number, &row, commit.pieces)?));
            }
        }
        for commit in self.gone.iter().filter_map(|number| self.book.commit(*number)) {
            batches.entry(commit.generation).or_default();
        }
        for (generation, batch) in batches {
            self.write(generation, batch, Step::RecordsPruned)?;
            // Each takes megabytes while it is open.
            self.rest();
        }
        struck.into_iter().for_each(|(number, pieces)| self.book.written(number, pieces));
        Ok(())
    }

    /// How many records of `hour` are in commits after `after`, up to `through`.
    pub(crate) fn count_between(&self, hour: Hour, after: u64, through: u64) -> u64 {
        self.book.count_between(hour, after, through)
    }

    /// Lets go of the memory of all generations but the newest: only that one is written to.
    fn rest(&self) {
        let older = self.generations.len().saturating_sub(1);
        self.generations.iter().take(older).for_each(Generation::rest);
    }

    fn forget(&mut self, commit: u64) {
        self.gone.remove(&commit);
        self.book.forget(commit);
    }

    fn write(&mut self, generation: u32, mut batch: Batch<'_>, step: Step) -> Result<Vec<(u64, CommitRow, u32)>> {
        let mut gone = Vec::new();
        for number in &self.gone {
            let commit = self.book.commit(*number).filter(|commit| commit.generation == generation);
            if let Some(commit) = commit {
                batch.remove_commit(*number, 0..commit.pieces);
                gone.push(*number);
            }
        }
        let written = durable_step(step, || self.generation(generation)?.write(batch))?;
        gone.into_iter().for_each(|commit| self.forget(commit));
        Ok(written)
    }

    fn newest(&self) -> Result<&Generation> {
        self.generations.last().ok_or_else(|| Error::new(ErrorKind::Bug, "the write-ahead log has no generation"))
    }

    fn generation(&self, id: u32) -> Result<&Generation> {
        self.generations
            .iter()
            .find(|g| g.id == id)
            .ok_or_else(|| Error::new(ErrorKind::Bug, format!("the write-ahead log has no generation {id}")))
    }
}

#[cfg(test)]
mod tests;
