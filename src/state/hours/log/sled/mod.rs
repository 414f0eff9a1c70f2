//! One generation of the write-ahead log: a sled database of committed records that have no receipt yet.
//!
//! Invariant: [`Generation::write`] is atomic and, on return, survives a power cut. sled's own `flush` does not (it never
//! calls fsync in time), so each batch is followed by our `fdatasync` on its log. Values stay below 6 KB, because sled
//! puts large ones into files that it never syncs. Opening is guarded: sled panics on some damage and takes other
//! damage for an empty database; either way the journal still holds every page of a pending record, so a generation that
//! cannot be trusted is set aside and filled again from there.
//!
//! ```text
//! "v"                                   the number of this form
//! "m"                                   Meta, bincode
//! "s" piece                             6000 bytes of the ids that came: Seen, bincode; behind the last piece none
//! "c" commit piece                      6000 bytes of a CommitRow, bincode; behind the last piece none
//! "t" set piece                         6000 bytes of hours, each with its Tally, bincode: what was counted so far
//! "e"                                   where the blocks end, bincode
//! ```
//! The records themselves are in a file beside the database: see [`blocks`].
//! Hours in the rows are [`Hour::to_key`]; in the keys, `commit` and `set` take 8 bytes and `piece` 4, all big endian.

mod blocks;
mod flush_watchdog;
mod guard;
mod rows;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use blocks::BlockFile;
pub use blocks::BlockReader;
use guard::{Open, damaged, decode, guarded};
pub use rows::{Batch, Block, CommitRow, ENTRY, Entry, LineAt, Meta, Share};
use rows::{FORM, FORM_KEY};
use sled::IVec;

use crate::error::{Error, Result};
use crate::hour::Hour;
use crate::hour::gaps::{PADDING, Seen};
use crate::hour::tally::Tally;
use crate::state::files::durable;
use flush_watchdog::watched;

/// Takes a key and its value.
type EachPair<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Takes the number of a row, its bytes, and how many pieces it is in.
type EachNumbered<'a> = dyn FnMut(u64, &[u8], u32) -> Result<()> + 'a;

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
            let path = dir.join(blocks::NAME);
            BlockFile::create(&path).map_err(|e| Error::disk("create", &path, e))?;
        }
        let generation = Self { id, dir: dir.to_owned(), open: Mutex::default() };
        let open = generation.opened()?;
        if is_new {
            watched(open.db.store().ok(), || generation.make_durable(&open))?;
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
    pub(crate) fn rest(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).held = None;
    }

    /// What it knows besides its commits. `None`: nothing was ever written.
    pub(crate) fn meta(&self) -> Result<Option<Meta>> {
        let value = self.get(b"m")?;
        value.map(|v| decode(&self.dir, &v)).transpose()
    }

    /// Which ids came, as of the newest commit that was written to it. `None`: that was never written.
    pub(crate) fn seen(&self) -> Result<Option<Seen>> {
        let mut bytes = Vec::new();
        self.scan(b"s", b"t", &mut |_, piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        bytes.extend_from_slice(&PADDING);
        decode(&self.dir, &bytes).map(Some)
    }

    /// Whether it is of the present form. Of one of the form before, only what it knows besides its commits is used.
    pub(crate) fn is_of_this_form(&self) -> Result<bool> {
        Ok(self.get(FORM_KEY)?.is_some_and(|form| *form == [FORM]))
    }

    /// Its commits, by number, each with the number of its pieces.
    pub(crate) fn commits(&self) -> Result<Vec<(u64, CommitRow, u32)>> {
        let mut commits = Vec::new();
        self.numbered(b"c", b"d", &mut |commit, bytes, pieces| {
            commits.push((commit, decode(&self.dir, bytes)?, pieces));
            Ok(())
        })?;
        Ok(commits)
    }

    /// What was counted of hours, oldest first: the later of two counts. And the number of the newest set of them.
    pub(crate) fn tallies(&self) -> Result<(Vec<(Hour, Tally)>, u64)> {
        let (mut tallies, mut newest) = (Vec::new(), 0);
        let hour = |key| Hour::from_key(key).ok_or_else(|| self.damaged());
        // The form before had a row for each hour.
        self.scan(b"h", b"i", &mut |key, value| {
            let key = key.get(1..).and_then(|key| key.try_into().ok()).ok_or_else(|| self.damaged())?;
            tallies.push((hour(key)?, decode(&self.dir, value)?));
            Ok(())
        })?;
        self.numbered(b"t", b"u", &mut |set, bytes, _| {
            newest = set;
            for (key, tally) in decode::<Vec<([u8; 4], Tally)>>(&self.dir, bytes)? {
                tallies.push((hour(key)?, tally));
            }
            Ok(())
        })?;
        Ok((tallies, newest))
    }

    /// Rows in numbered pieces, put together: the number, the bytes, how many pieces.
    fn numbered(&self, from: &[u8], to: &[u8], each: &mut EachNumbered<'_>) -> Result<()> {
        let mut at_hand: Option<(u64, Vec<u8>, u32)> = None;
        self.scan(from, to, &mut |key, value| {
            let (number, piece) = key.get(1..).and_then(|key| key.split_at_checked(8)).ok_or_else(|| self.damaged())?;
            let number = number.try_into().map(u64::from_be_bytes).map_err(|_| self.damaged())?;
            let piece = piece.try_into().map(u32::from_be_bytes).map_err(|_| self.damaged())?;
            match &mut at_hand {
                Some((of, bytes, pieces)) if *of == number && *pieces == piece => {
                    bytes.extend_from_slice(value);
                    *pieces += 1;
                }
                _ if piece == 0 => {
                    let before = at_hand.replace((number, value.to_vec(), 1));
                    before.map_or(Ok(()), |(of, bytes, pieces)| each(of, &bytes, pieces))?;
                }
                _ => return Err(self.damaged()),
            }
            Ok(())
        })?;
        at_hand.map_or(Ok(()), |(of, bytes, pieces)| each(of, &bytes, pieces))
    }

    /// A reader of its blocks.
    pub(crate) fn reader(&self) -> Result<BlockReader<'_>> {
        BlockReader::open(&self.dir)
    }

    /// Applies a batch: atomic, and durable on return. Gives the rows of its new commits, each with the number of its pieces.
    pub(crate) fn write(&self, mut batch: Batch<'_>) -> Result<Vec<(u64, CommitRow, u32)>> {
        let open = self.opened()?;
        let rows = open.blocks.append(&self.dir.join(blocks::NAME), &mut batch)?;
        watched(open.db.store().ok(), || {
            guarded(&self.dir, || open.db.store()?.apply_batch(batch.rows))?;
            self.make_durable(&open)
        })?;
        Ok(rows)
    }

    /// Bytes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let size = |name| std::fs::metadata(self.dir.join(name)).map_or(0, |meta| meta.len());
        size("db") + size(blocks::NAME)
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
    pub(crate) fn mark_corrupt(&self) -> Error {
        self.damaged()
    }

    /// Closes it: nothing of it is open on return.
    pub(crate) fn close(self) {
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

    fn row() -> CommitRow {
        CommitRow { segment: 9, pages: 1, received: 3, ..CommitRow::default() }
    }

    #[test]
    fn records_come_back_in_order_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let lines: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; 100 * usize::from(n)]).collect();
        let entries: Vec<Entry> = (0..200u8).map(|n| entry(n, 100 * usize::from(n))).collect();
        {
            let generation = Generation::open(&path, 1).unwrap();
            let mut batch = Batch::default();
            let joined = lines.concat();
            batch.begin_commit(5, row());
            batch.put_records(hour("2023-03-10T01"), &entries, &[&joined]).unwrap();
            batch.put_records(hour("2023-03-10T02"), &entries[..1], &[]).unwrap();
            batch.put_form();
            batch.put_meta(&Meta { duplicates: 3, ..Meta::default() }).unwrap();
            generation.write(batch).unwrap();
        }
        let generation = Generation::open(&path, 1).unwrap();
        assert!(generation.is_of_this_form().unwrap());
        assert_eq!(generation.meta().unwrap().unwrap().duplicates, 3);
        let (commit, row, pieces) = generation.commits().unwrap().remove(0);
        assert_eq!((commit, row.segment, row.records(), pieces), (5, 9, 201, 1));
        let (mut reader, mut found) = (generation.reader().unwrap(), vec![0; 201 * ENTRY]);
        reader.read(5, &row.block, row.bytes(), 0, &mut found).unwrap();
        let found: Vec<Entry> = found.chunks(ENTRY).map(|bytes| bincode::deserialize(bytes).unwrap()).collect();
        assert_eq!(found[..200], entries);
        let mut offset = found.len() as u64 * ENTRY as u64;
        for (n, entry) in found[..200].iter().enumerate() {
            let mut line = vec![0; usize::try_from(entry.length).unwrap()];
            reader.read(5, &row.block, row.bytes(), offset, &mut line).unwrap();
            assert_eq!(line, lines[n], "line {n}");
            offset += u64::from(entry.length);
        }
    }

    #[test]
    fn commit_of_any_number_of_hours_is_in_small_values_and_comes_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let generation = Generation::open(&path, 1).unwrap();
        let hours: Vec<Hour> = (0..5_000).filter_map(|n: u32| Hour::from_key((500_000 + n).to_be_bytes())).collect();
        let mut batch = Batch::default();
        for commit in [5, 6] {
            batch.begin_commit(commit, row());
            hours.iter().for_each(|hour| batch.put_records(*hour, &[entry(1, 3)], &[b"abc"]).unwrap());
        }
        let (_, written, pieces) = generation.write(batch).unwrap().remove(1);
        assert!(pieces > 1);
        let open = generation.opened().unwrap();
        assert!(open.db.store().unwrap().iter().all(|row| row.unwrap().1.len() <= 6_000));
        let found = generation.commits().unwrap();
        assert_eq!((found.len(), &found[1]), (2, &(6, written.clone(), pieces)));
        let finished = CommitRow { shares: Vec::new(), block: Block::default(), ..written };
        let mut batch = Batch::default();
        assert_eq!(batch.put_commit(6, &finished, pieces).unwrap(), 1);
        generation.write(batch).unwrap();
        assert_eq!(generation.commits().unwrap()[1], (6, finished, 1), "no piece of the longer row is left");
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
