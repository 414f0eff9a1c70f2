//! One generation of the write-ahead log: a sled database of committed records that have no receipt yet.
//!
//! Invariant: [`Generation::write`] is atomic and, on return, survives a power cut. sled's own `flush` does not (it never
//! calls fsync in time), so each batch is followed by our `fdatasync` on its log. Values stay below 6 KB, because sled
//! puts large ones into files that it never syncs. Opening is guarded: sled panics on some damage and takes other
//! damage for an empty database; either way the journal still holds every page of a pending record, so a generation that
//! cannot be trusted is set aside and filled again from there.
//!
//! ```text
//! "m"                                   Meta, bincode
//! "s" piece                             6000 bytes of the ids that came: Seen, bincode; behind the last piece none
//! "c" commit                            CommitRow, bincode
//! "h" hour                              Tally, bincode: what was counted of the hour so far
//! "i" hour commit piece                 187 × Entry, bincode, 32 bytes each
//! "p" hour commit number                Piece, bincode, 16 bytes: where 64 KiB of the commit's lines of that hour are
//! "e"                                   where the lines end, bincode
//! ```
//! The lines themselves are in a file beside the database: see [`lines`].
//! `hour` is [`Hour::to_key`], `commit` 8 bytes and `piece` 4 bytes, all big endian, so that keys sort by hour, then age.

mod flush_watchdog;
mod guard;
mod lines;
mod rows;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use guard::{Open, damaged, decode, guarded};
use lines::LineFile;
pub use lines::LineReader;
pub use rows::{Batch, CommitRow, Entry, LineAt, Meta};
use rows::{ENTRY, record_key};
use sled::IVec;

use crate::error::{Error, Result};
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::tally::Tally;
use crate::state::files::durable;
use crate::state::hours::log::sled::flush_watchdog::nudged;

/// Takes a key and its value.
type EachPair<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// A generation. Open while it is used: sled holds nearly all that it has touched in memory, whatever its cache is set to.
#[derive(Debug)]
pub struct Generation {
    /// Its number: higher is newer.
    pub id: u32,
    dir: PathBuf,
    open: Mutex<Slot>,
}

/// A database that is open somewhere, and perhaps held open.
#[derive(Debug, Default)]
struct Slot {
    known: Weak<Open>,
    held: Option<Arc<Open>>,
}

impl Generation {
    /// Opens the generation in `dir`, or makes it there.
    ///
    /// # Errors
    /// `State`, naming the path: it cannot be opened, or not be trusted.
    pub fn open(dir: &Path, id: u32) -> Result<Self> {
        let is_new = !dir.is_dir();
        durable::make_dir(dir)?;
        if is_new {
            let path = dir.join(lines::NAME);
            LineFile::create(&path).map_err(|e| Error::disk("create", &path, e))?;
        }
        let generation = Self { id, dir: dir.to_owned(), open: Mutex::default() };
        let open = generation.opened()?;
        if is_new {
            nudged(open.db.store().ok(), || generation.make_durable(&open))?;
            let conf = dir.join("conf");
            durable::open(&conf).and_then(|f| f.sync_all()).map_err(|e| Error::disk("fsync", &conf, e))?;
            durable::sync_dir(dir)?;
        }
        drop(open);
        Ok(generation)
    }

    /// Its database, opened where it is not.
    fn opened(&self) -> Result<Arc<Open>> {
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match slot.known.upgrade() {
            Some(open) => open,
            None => Arc::new(guard::open(&self.dir)?),
        };
        *slot = Slot { known: Arc::downgrade(&open), held: Some(Arc::clone(&open)) };
        Ok(open)
    }

    /// Lets go of its memory until it is used again.
    pub fn rest(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).held = None;
    }

    /// What it knows besides its commits. `None`: nothing was ever written.
    ///
    /// # Errors
    /// `State`: damaged.
    pub fn meta(&self) -> Result<Option<Meta>> {
        let value = self.get(b"m")?;
        value.map(|v| decode(&self.dir, &v)).transpose()
    }

    /// Which ids came, as of the newest commit that was written to it. `None`: that was never written.
    ///
    /// # Errors
    /// `State`: damaged.
    pub fn seen(&self) -> Result<Option<Seen>> {
        let mut bytes = Vec::new();
        self.scan(b"s", b"t", &mut |_, piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        decode(&self.dir, &bytes).map(Some)
    }

    /// Its commits, by number.
    ///
    /// # Errors
    /// `State`: damaged.
    pub fn commits(&self) -> Result<Vec<(u64, CommitRow)>> {
        let mut commits = Vec::new();
        self.scan(b"c", b"d", &mut |key, value| {
            let commit = key.get(1..).and_then(|k| k.try_into().ok()).map(u64::from_be_bytes);
            let row = decode(&self.dir, value)?;
            commits.push((commit.ok_or_else(|| self.damaged())?, row));
            Ok(())
        })?;
        Ok(commits)
    }

    /// What was counted of hours, as of the newest commits that were written to it.
    ///
    /// # Errors
    /// `State`: damaged.
    pub fn tallies(&self) -> Result<Vec<(Hour, Tally)>> {
        let mut tallies = Vec::new();
        self.scan(b"h", b"i", &mut |key, value| {
            let hour = key.get(1..).and_then(|k| k.try_into().ok()).and_then(Hour::from_key);
            let tally = decode(&self.dir, value)?;
            tallies.push((hour.ok_or_else(|| self.damaged())?, tally));
            Ok(())
        })?;
        Ok(tallies)
    }

    /// The records of `hour` in commits after `after`, oldest first.
    ///
    /// # Errors
    /// `State`: damaged. And whatever `each` returns.
    pub fn entries(&self, hour: Hour, after: u64, each: &mut dyn FnMut(LineAt, Entry) -> Result<()>) -> Result<()> {
        let (from, to) =
            (record_key(b'i', hour, after.saturating_add(1), 0), record_key(b'i', hour, u64::MAX, u32::MAX));
        let mut at = LineAt { commit: 0, offset: 0 };
        self.scan(&from, &to, &mut |key, value| {
            let commit = key.get(5..13).and_then(|k| k.try_into().ok()).map(u64::from_be_bytes);
            let commit = commit.ok_or_else(|| self.damaged())?;
            if commit != at.commit {
                at = LineAt { commit, offset: 0 };
            }
            for bytes in value.chunks(ENTRY) {
                let entry: Entry = decode(&self.dir, bytes)?;
                each(at, entry)?;
                at.offset += u64::from(entry.length);
            }
            Ok(())
        })
    }

    /// A reader of the lines of `hour`.
    ///
    /// # Errors
    /// `State`: damaged.
    pub fn lines(&self, hour: Hour) -> Result<LineReader<'_>> {
        LineReader::new(self, hour)
    }

    /// Applies a batch: atomic, and durable on return.
    ///
    /// # Errors
    /// `State`, naming the path; then all of it may be there or nothing.
    pub fn write(&self, mut batch: Batch<'_>) -> Result<()> {
        let open = self.opened()?;
        open.lines.append(&self.dir.join(lines::NAME), &mut batch)?;
        nudged(open.db.store().ok(), || {
            guarded(&self.dir, || open.db.store()?.apply_batch(batch.rows))?;
            self.make_durable(&open)
        })
    }

    /// Bytes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        let size = |name| std::fs::metadata(self.dir.join(name)).map_or(0, |meta| meta.len());
        size("db") + size(lines::NAME)
    }

    fn make_durable(&self, open: &Open) -> Result<()> {
        guarded(&self.dir, || open.db.store()?.flush())?;
        open.log.sync_data().map_err(|e| Error::disk("fdatasync", &self.dir.join("db"), e))
    }

    fn get(&self, key: &[u8]) -> Result<Option<IVec>> {
        let open = self.opened()?;
        guarded(&self.dir, || open.db.store()?.get(key))
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachPair<'_>) -> Result<()> {
        let range = (Bound::Included(from), Bound::Included(to));
        let open = self.opened()?;
        let mut found = guarded(&self.dir, || Ok(open.db.store()?.range::<&[u8], _>(range)))?;
        while let Some((key, value)) = guarded(&self.dir, || found.next().transpose())? {
            each(&key, &value)?;
        }
        Ok(())
    }

    fn damaged(&self) -> Error {
        damaged(&self.dir)
    }

    /// Says that the generation cannot be trusted, and makes the next open set it aside.
    pub fn condemn(&self) -> Error {
        self.damaged()
    }

    /// Closes it: nothing of it is open on return.
    pub fn close(self) {
        drop(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn hour(text: &str) -> Hour {
        text.parse().unwrap()
    }

    fn entry(n: u8, length: usize) -> Entry {
        Entry { hash: [n; 16], seconds: i64::from(n), nanos: 7, length: u32::try_from(length).unwrap() }
    }

    #[test]
    fn records_come_back_in_order_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let lines: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; 100 * usize::from(n)]).collect();
        let entries: Vec<Entry> = (0..200u8).map(|n| entry(n, 100 * usize::from(n))).collect();
        let h = hour("2023-03-10T01");
        {
            let generation = Generation::open(&path, 1).unwrap();
            let mut batch = Batch::default();
            let joined = lines.concat();
            batch.put_records(h, 5, &entries, &[&joined]).unwrap();
            batch.put_records(hour("2023-03-10T02"), 5, &entries[..1], &[]).unwrap();
            batch
                .put_commit(5, &CommitRow { segment: 9, pages: 1, received: 3, hours: vec![(h.to_key(), 200)] })
                .unwrap();
            batch.put_meta(&Meta { duplicates: 3, ..Meta::default() }).unwrap();
            generation.write(batch).unwrap();
        }
        let generation = Generation::open(&path, 1).unwrap();
        assert_eq!(generation.meta().unwrap().unwrap().duplicates, 3);
        assert_eq!(generation.commits().unwrap()[0].1.segment, 9);
        let mut reader = generation.lines(h).unwrap();
        let mut found = Vec::new();
        generation
            .entries(h, 4, &mut |at, e| {
                found.push((at, e));
                Ok(())
            })
            .unwrap();
        assert_eq!(found.iter().map(|(_, e)| *e).collect::<Vec<_>>(), entries);
        for (n, (at, e)) in found.into_iter().enumerate().rev() {
            let mut line = vec![0; usize::try_from(e.length).unwrap()];
            reader.read(at, &mut line).unwrap();
            assert_eq!(line, lines[n], "line {n}");
        }
        generation.entries(h, 5, &mut |_, _| panic!("commit 5 is not after 5")).unwrap();
    }

    #[test]
    fn damaged_log_is_an_error_and_not_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        drop(Generation::open(&path, 1).unwrap());
        std::fs::write(path.join("conf"), [0xff; 64]).unwrap();
        assert_eq!(Generation::open(&path, 1).unwrap_err().kind(), ErrorKind::State);
    }
}
