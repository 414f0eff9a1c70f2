//! Reading the log: index entries and lines, in the order in which they lie.
//!
//! Owns nothing. Invariant: what is wanted of several hours is read in one go, commit by commit: neighbouring hours lie together in
//! each, so a set of them costs one read of what it has, whatever else there is. Reads only; a crash leaves nothing.

use std::collections::BTreeMap;

use super::Wal;
use super::book::Commit;
use super::sled::{BlockReader, ENTRY, Entry, Generation, LineAt, Share};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::stop::Stop;

/// Entries that are read at once.
const ENTRIES: usize = 2_048;
/// Generations whose files stay open while lines are read.
const OPEN: usize = 8;

/// Takes an hour, where the line of a record of it is, and its entry.
pub type EachEntry<'a> = dyn FnMut(Hour, LineAt, Entry) -> Result<()> + 'a;

/// The entries and the lines of some records.
pub(super) type Records = (Vec<Entry>, Vec<u8>);

impl Wal {
    /// The pending records of hours, each in the commits after a number. `wanted` is in the order of the hours. `false`: the run is to
    /// stop, and not all were given.
    pub fn entries(&self, wanted: &[(Hour, u64)], stop: &Stop, each: &mut EachEntry<'_>) -> Result<bool> {
        let mut commits: BTreeMap<u64, Vec<Hour>> = BTreeMap::new();
        for (hour, after) in wanted {
            self.book.commits_of(*hour, *after).for_each(|commit| commits.entry(commit).or_default().push(*hour));
        }
        let mut readers = Readers::new(self);
        for (number, hours) in commits {
            let Some(commit) = self.book.commit(number) else { continue };
            let mut hours = hours.into_iter().peekable();
            for (share, entries, lines) in commit.places() {
                if hours.next_if_eq(&share.hour).is_some() {
                    if stop.is_requested() {
                        return Ok(false);
                    }
                    let (reader, generation) = readers.of(commit.generation)?;
                    let read = Wanted { number, commit, records: u64::from(share.records), entries, lines };
                    let end = read.each(reader, &mut |at, entry| each(share.hour, at, entry))?;
                    if end != lines + u64::from(share.bytes) {
                        return Err(generation.mark_corrupt());
                    }
                }
            }
        }
        Ok(true)
    }

    /// A reader of lines.
    #[must_use]
    pub fn lines(&self) -> LineReader<'_> {
        LineReader { readers: Readers::new(self) }
    }

    /// The pending records of a commit, by hour.
    pub(super) fn read_pending(&self, number: u64, from: &Generation) -> Result<BTreeMap<Hour, Records>> {
        let mut found = BTreeMap::new();
        let Some(commit) = self.book.commit(number) else { return Ok(found) };
        let mut readers = Readers::new(self);
        let is_pending = |share: &Share| self.book.is_pending(share.hour, number);
        for (share, entries, lines) in commit.places().filter(|(share, _, _)| is_pending(share)) {
            let (reader, _) = readers.of(commit.generation)?;
            let mut records: Records =
                (Vec::new(), vec![0; usize::try_from(share.bytes).map_err(|_| from.mark_corrupt())?]);
            let read = Wanted { number, commit, records: u64::from(share.records), entries, lines };
            read.each(reader, &mut |_, entry| {
                records.0.push(entry);
                Ok(())
            })?;
            reader.read(number, &commit.row.block, commit.length, lines, &mut records.1)?;
            found.insert(share.hour, records);
        }
        Ok(found)
    }
}

/// What a commit has of an hour.
struct Wanted<'c> {
    number: u64,
    commit: &'c Commit,
    records: u64,
    entries: u64,
    lines: u64,
}

impl Wanted<'_> {
    /// Gives its entries; and where its lines end, as they have it.
    fn each(&self, reader: &mut BlockReader<'_>, each: &mut dyn FnMut(LineAt, Entry) -> Result<()>) -> Result<u64> {
        let mut at = LineAt { commit: self.number, offset: self.lines };
        let (mut from, end) = (self.entries, self.entries + self.records * ENTRY as u64);
        let mut memory = Vec::new();
        while from < end {
            let bytes = usize::try_from(end - from).unwrap_or(usize::MAX).min(ENTRIES * ENTRY);
            memory.resize(bytes, 0);
            reader.read(self.number, &self.commit.row.block, self.commit.length, from, &mut memory)?;
            for bytes in memory.chunks(ENTRY) {
                let entry: Entry = bincode::deserialize(bytes)
                    .map_err(|e| Error::new(ErrorKind::Bug, "cannot decode an entry").caused_by(e))?;
                each(at, entry)?;
                at.offset += u64::from(entry.length);
            }
            from += bytes as u64;
        }
        Ok(at.offset)
    }
}

/// The readers of some generations.
#[derive(Debug)]
struct Readers<'w> {
    wal: &'w Wal,
    open: Vec<(BlockReader<'w>, &'w Generation)>,
}

impl<'w> Readers<'w> {
    const fn new(wal: &'w Wal) -> Self {
        Self { wal, open: Vec::new() }
    }

    fn of(&mut self, generation: u32) -> Result<&mut (BlockReader<'w>, &'w Generation)> {
        let known = self.open.iter().position(|(_, of)| of.id == generation);
        let index = match known {
            Some(index) => index,
            None => {
                if self.open.len() >= OPEN {
                    self.open.remove(0);
                }
                let of = self.wal.generation(generation)?;
                self.open.push((of.reader()?, of));
                self.open.len() - 1
            }
        };
        self.open.get_mut(index).ok_or_else(|| Error::new(ErrorKind::Bug, "a reader was opened and is not there"))
    }
}

/// Reads lines: in the order in which they lie, each chunk of them is read once.
#[derive(Debug)]
pub struct LineReader<'w> {
    readers: Readers<'w>,
}

impl LineReader<'_> {
    /// Reads the line at `at` into `line`, which is as long.
    ///
    /// # Errors
    /// `State`: damaged. `Bug`: there is no such commit.
    pub fn read(&mut self, at: LineAt, line: &mut [u8]) -> Result<()> {
        let commit = self.readers.wal.book.commit(at.commit);
        let commit = commit.ok_or_else(|| Error::new(ErrorKind::Bug, format!("there is no commit {}", at.commit)))?;
        let (reader, _) = self.readers.of(commit.generation)?;
        reader.read(at.commit, &commit.row.block, commit.length, at.offset, line)
    }
}
