//! The write-ahead log: the generations of committed records that have no receipt yet.
//!
//! New commits go to the newest generation. One that has grown mostly dead is replaced: its pending records are written
//! into a new one that says which it replaces, and then it is removed whole, because sled gives no space back. Records are never
//! deleted one by one: a commit's row lists the hours that it still has pending records in, and what no row lists is dead.
//! A crash leaves a replaced generation or the mark of one that was set aside (removed at the next open), or a row of a
//! segment that is gone (removed with the next batch).

pub(crate) mod sled;
mod turnover;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::tally::Tally;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::hours::log::sled::{Batch, CommitRow, Entry, Generation, LineAt, LineReader, Meta};
use crate::state::pages::journal::SegmentId;

/// A generation with more records than these of an hour rests once they were gone through: a large hour is in many generations, and
/// all their entries at once would take more memory than its order.
const WORTH_RESTING: u64 = 20_000;

/// The new records of one hour in a commit.
#[derive(Debug, Default)]
pub struct NewRecords<'l> {
    /// Their index entries in order of arrival.
    pub entries: Vec<Entry>,
    /// Their lines one behind the other, in pieces that lie somewhere.
    pub lines: Vec<&'l [u8]>,
}

impl<'l> NewRecords<'l> {
    /// Adds a piece of lines, if there is one.
    pub fn take(&mut self, lines: Option<&'l [u8]>) {
        self.lines.extend(lines.filter(|lines| !lines.is_empty()));
    }
}

/// What is pending of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Records whose commits have no receipt.
    pub records: u64,
    /// When the first of them was received.
    pub first_received: Timestamp,
    /// The newest commit with one of them.
    pub newest_commit: u64,
}

#[derive(Debug)]
struct Commit {
    generation: u32,
    row: CommitRow,
}

/// The open write-ahead log.
#[derive(Debug)]
pub struct Wal {
    dir: PathBuf,
    generations: Vec<Generation>,
    commits: BTreeMap<u64, Commit>,
    segments: BTreeMap<u64, u64>,
    pending: BTreeMap<Hour, Pending>,
    meta: Meta,
    seen: Seen,
    tallies: BTreeMap<Hour, Tally>,
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
            commits: BTreeMap::new(),
            segments: BTreeMap::new(),
            pending: BTreeMap::new(),
            meta: Meta { newest_commit: floor.0, newest_segment: floor.1, ..Meta::default() },
            seen: Seen::default(),
            tallies: BTreeMap::new(),
            gone: BTreeSet::new(),
        };
        for name in durable::names(&wal.dir)? {
            wal.open_generation(&name, repairs)?;
        }
        wal.remove_replaced()?;
        wal.load_commits()?;
        Ok(wal)
    }

    fn open_generation(&mut self, name: &str, repairs: &mut Vec<String>) -> Result<()> {
        let path = self.dir.join(name);
        if name.ends_with(".dead") || name.ends_with(".new") {
            return durable::remove_all(&path);
        }
        if name.ends_with(".condemned") && !path.with_extension("").exists() {
            // A crash after the setting aside: the next generation of that number is not condemned by it.
            return durable::remove(&path);
        }
        let Ok(id) = name.parse::<u32>() else { return Ok(()) };
        let condemned = path.with_added_extension("condemned");
        let opened = if condemned.exists() { Err(None) } else { open_and_read(&path, id).map_err(Some) };
        match opened {
            Ok(generation) => self.generations.push(generation),
            Err(Some(e)) if !crate::state::files::damage::is_damage(&e) => return Err(e),
            Err(_) => {
                let aside = durable::free_name(&path.with_added_extension("corrupt"));
                durable_step(Step::GenerationSetAside, || durable::rename(&path, &aside))?;
                durable::remove(&condemned)?;
                repairs.push(format!(
                    "the write-ahead log {} is damaged: set aside as {}, filled anew from the journal",
                    path.display(),
                    aside.display()
                ));
            }
        }
        Ok(())
    }

    fn load_commits(&mut self) -> Result<()> {
        for generation in &self.generations {
            let meta = generation.meta()?.unwrap_or_default();
            self.meta.duplicates = self.meta.duplicates.max(meta.duplicates);
            self.meta.newest_commit = self.meta.newest_commit.max(meta.newest_commit);
            self.meta.newest_segment = self.meta.newest_segment.max(meta.newest_segment);
            let later = generation.seen()?.filter(|seen| seen.version() > self.seen.version());
            later.into_iter().for_each(|seen| self.seen = seen);
            self.tallies.extend(generation.tallies()?);
            for (commit, row) in generation.commits()? {
                self.meta.newest_commit = self.meta.newest_commit.max(commit);
                self.meta.newest_segment = self.meta.newest_segment.max(row.segment);
                self.segments.insert(row.segment, commit);
                self.commits.insert(commit, Commit { generation: generation.id, row });
            }
        }
        for (commit, entry) in &self.commits {
            count(&mut self.pending, *commit, &entry.row);
        }
        Ok(())
    }

    /// Whether the segment with this number was committed.
    #[must_use]
    pub fn is_committed(&self, segment: u64) -> bool {
        self.segments.contains_key(&segment)
    }

    /// Whether the segment was committed and none of its records is pending.
    #[must_use]
    pub fn is_finished(&self, segment: u64) -> bool {
        let commit = self.segments.get(&segment).and_then(|commit| self.commits.get(commit));
        commit.is_some_and(|commit| commit.row.hours.is_empty())
    }

    /// Notes that segments are gone from the journal. Also called at a start, for those that went before a crash.
    pub fn note_removed(&mut self, segments: &[SegmentId]) {
        self.gone.extend(segments.iter().filter_map(|id| self.segments.get(&id.number)));
    }

    /// Notes the finished segments that are no longer among `listed`.
    pub fn note_missing(&mut self, listed: &[SegmentId]) {
        let there: BTreeSet<u64> = listed.iter().map(|id| id.number).collect();
        for (segment, commit) in &self.segments {
            if !there.contains(segment) && self.is_finished(*segment) {
                self.gone.insert(*commit);
            }
        }
    }

    /// The newest segment that was ever committed.
    #[must_use]
    pub const fn newest_segment(&self) -> u64 {
        self.meta.newest_segment
    }

    /// Records received again, ever.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.meta.duplicates
    }

    /// Which ids came.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What was counted of an hour. `None`: the log does not know it.
    #[must_use]
    pub fn tally(&self, hour: Hour) -> Option<Tally> {
        self.tallies.get(&hour).copied()
    }

    /// Takes a copy of the ids that came over, where it is later than what the log knows.
    pub fn recall(&mut self, copy: &Seen) {
        if copy.version() > self.seen.version() {
            self.seen = copy.clone();
        }
    }

    /// The hours with pending records.
    pub fn pending_hours(&self) -> impl Iterator<Item = Hour> {
        self.pending.keys().copied()
    }

    /// What is pending of an hour.
    #[must_use]
    pub fn pending(&self, hour: Hour) -> Option<Pending> {
        self.pending.get(&hour).copied()
    }

    /// Whether anything is pending of an hour.
    #[must_use]
    pub fn has_pending(&self, hour: Hour) -> bool {
        self.pending.contains_key(&hour)
    }

    /// What is pending of an hour in commits after `after`: the unsealed records. `None`: nothing.
    #[must_use]
    pub fn unsealed(&self, hour: Hour, after: u64) -> Option<Pending> {
        let all = self.pending(hour)?;
        let mut unsealed = BTreeMap::new();
        if all.newest_commit > after {
            for (commit, entry) in self.commits.range(after.saturating_add(1)..) {
                count_hour(&mut unsealed, *commit, &entry.row, hour);
            }
        }
        unsealed.remove(&hour)
    }

    /// The oldest segment that is needed, with the hours that need it.
    #[must_use]
    pub fn oldest_needed(&self) -> Option<(u64, Vec<Hour>)> {
        let (_, commit) = self.commits.iter().find(|(_, c)| !c.row.hours.is_empty())?;
        let hours = commit.row.hours.iter().filter_map(|(key, _)| Hour::from_key(*key)).collect();
        Some((commit.row.segment, hours))
    }

    /// Makes sure that there is a generation to commit to, and with it the store's own threads.
    ///
    /// # Errors
    /// `State`, naming the path; also where no thread can be had.
    pub fn prepare(&mut self) -> Result<()> {
        if self.generations.is_empty() { self.make_room() } else { Ok(()) }
    }

    /// Commits a segment: its new records by hour, how many of its records were known, `seen`, the ids that came so far, and
    /// `tallies`, what was counted of its hours so far, these included. Atomic, and durable on return.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn commit(
        &mut self,
        segment: SegmentId,
        received: Timestamp,
        records: &BTreeMap<Hour, NewRecords<'_>>,
        duplicates: u64,
        seen: Seen,
        tallies: BTreeMap<Hour, Tally>,
    ) -> Result<()> {
        self.make_room()?;
        let commit = self.meta.newest_commit + 1;
        let hours = records.iter().map(|(hour, new)| (hour.to_key(), new.entries.len() as u64)).collect();
        let received = received.as_nanosecond();
        let row = CommitRow { segment: segment.number, pages: segment.pages, received, hours };
        let meta = Meta {
            duplicates: self.meta.duplicates + duplicates,
            newest_commit: commit,
            newest_segment: self.meta.newest_segment.max(segment.number),
            replaces: std::mem::take(&mut self.meta.replaces),
        };
        let mut batch = Batch::default();
        for (hour, new) in records {
            batch.put_records(*hour, commit, &new.entries, &new.lines)?;
        }
        batch.put_commit(commit, &row)?;
        batch.put_meta(&meta)?;
        batch.put_tallies(&tallies)?;
        if seen != self.seen {
            batch.put_seen(&seen)?;
        }
        let newest = self.newest()?.id;
        self.write(newest, batch, Step::SegmentCommitted)?;
        self.meta = meta;
        self.seen = seen;
        self.tallies.extend(tallies);
        self.segments.insert(row.segment, commit);
        count(&mut self.pending, commit, &row);
        self.commits.insert(commit, Commit { generation: newest, row });
        Ok(())
    }

    /// Stops counting the records of hours in commits up to the given one: they have receipts.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn prune(&mut self, receipted: &[(Hour, u64)]) -> Result<()> {
        let through: BTreeMap<[u8; 4], u64> =
            receipted.iter().map(|(hour, through)| (hour.to_key(), *through)).collect();
        let mut batches: BTreeMap<u32, Batch<'_>> = BTreeMap::new();
        let mut changed = Vec::new();
        for (commit, entry) in &self.commits {
            let mut row = entry.row.clone();
            row.hours.retain(|(hour, _)| through.get(hour).is_none_or(|through| commit > through));
            if row.hours.len() < entry.row.hours.len() {
                batches.entry(entry.generation).or_default().put_commit(*commit, &row)?;
                changed.push((*commit, row));
            }
        }
        // What is pruned comes about in the order of arrival: what is next is in the newest of them.
        let boundary = batches.keys().next_back().copied();
        for (generation, batch) in batches {
            self.write(generation, batch, Step::RecordsPruned)?;
        }
        self.rest_but(boundary);
        for (commit, row) in changed {
            if let Some(entry) = self.commits.get_mut(&commit) {
                entry.row = row;
            }
        }
        self.pending.clear();
        for (commit, entry) in &self.commits {
            count(&mut self.pending, *commit, &entry.row);
        }
        Ok(())
    }

    /// The unsealed records of an hour in commits after `after`: which generation, where, and the entry.
    ///
    /// # Errors
    /// `State`: damaged; also where fewer or more are there than were committed. And whatever `each` returns.
    pub fn records(
        &self,
        hour: Hour,
        after: u64,
        each: &mut dyn FnMut(u32, LineAt, Entry) -> Result<()>,
    ) -> Result<()> {
        for generation in &self.generations {
            let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
            for (commit, entry) in self.commits.range(after.saturating_add(1)..) {
                if entry.generation == generation.id {
                    let rows = entry.row.hours.iter().find(|(key, _)| *key == hour.to_key()).map(|(_, n)| *n);
                    rows.into_iter().for_each(|n| {
                        expected.insert(*commit, n);
                    });
                }
            }
            if expected.is_empty() {
                continue;
            }
            let count: u64 = expected.values().sum();
            generation.entries(hour, after, &mut |at, entry| match expected.get_mut(&at.commit) {
                Some(left) => {
                    *left = left.checked_sub(1).ok_or_else(|| generation.condemn())?;
                    each(generation.id, at, entry)
                }
                // A commit whose records of the hour have receipts: dead, and skipped.
                None => Ok(()),
            })?;
            if expected.values().any(|left| *left > 0) {
                return Err(generation.condemn());
            }
            if count > WORTH_RESTING {
                generation.rest();
            }
        }
        Ok(())
    }

    /// How many records of `hour` are in commits after `after`, up to `through`.
    #[must_use]
    pub fn count_between(&self, hour: Hour, after: u64, through: u64) -> u64 {
        let commits = self.commits.range(after.saturating_add(1)..).take_while(|(commit, _)| **commit <= through);
        let rows = commits.flat_map(|(_, entry)| entry.row.hours.iter());
        rows.filter(|(key, _)| *key == hour.to_key()).map(|(_, n)| n).sum()
    }

    /// A reader of lines of `hour` in a generation.
    ///
    /// # Errors
    /// `Bug`: there is no such generation.
    pub fn lines(&self, generation: u32, hour: Hour) -> Result<LineReader<'_>> {
        self.generation(generation)?.lines(hour)
    }

    /// Lets go of the memory of all generations but the newest.
    pub fn rest(&self) {
        self.rest_but(None);
    }

    fn rest_but(&self, kept: Option<u32>) {
        let older = self.generations.len().saturating_sub(1);
        self.generations.iter().take(older).filter(|g| Some(g.id) != kept).for_each(Generation::rest);
    }

    fn forget(&mut self, commit: u64) {
        self.gone.remove(&commit);
        if let Some(entry) = self.commits.remove(&commit) {
            self.segments.remove(&entry.row.segment);
        }
    }

    fn write(&mut self, generation: u32, mut batch: Batch<'_>, step: Step) -> Result<()> {
        let gone: Vec<u64> = self
            .gone
            .iter()
            .copied()
            .filter(|commit| self.commits.get(commit).is_some_and(|c| c.generation == generation))
            .collect();
        gone.iter().for_each(|commit| batch.remove_commit(*commit));
        durable_step(step, || self.generation(generation)?.write(batch))?;
        gone.into_iter().for_each(|commit| self.forget(commit));
        Ok(())
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

/// Opens a generation and reads what a start needs of it, so that damage shows now.
fn open_and_read(path: &Path, id: u32) -> Result<Generation> {
    let generation = Generation::open(path, id)?;
    generation.meta()?;
    generation.seen()?;
    generation.commits()?;
    generation.tallies()?;
    Ok(generation)
}

fn count(pending: &mut BTreeMap<Hour, Pending>, commit: u64, row: &CommitRow) {
    for hour in row.hours.iter().filter_map(|(key, _)| Hour::from_key(*key)) {
        count_hour(pending, commit, row, hour);
    }
}

fn count_hour(pending: &mut BTreeMap<Hour, Pending>, commit: u64, row: &CommitRow, hour: Hour) {
    let Some((_, records)) = row.hours.iter().find(|(key, _)| *key == hour.to_key()) else { return };
    let received = Timestamp::from_nanosecond(row.received).unwrap_or(Timestamp::MIN);
    let entry = pending.entry(hour).or_insert(Pending { records: 0, first_received: received, newest_commit: commit });
    entry.records += records;
    entry.first_received = entry.first_received.min(received);
    entry.newest_commit = entry.newest_commit.max(commit);
}
