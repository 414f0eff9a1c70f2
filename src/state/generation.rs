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
//! "l" hour commit number                the commit's rows of that hour, their lines one behind the other: see [`lines`]
//! ```
//! `hour` is [`Hour::to_key`], `commit` 8 bytes and `piece` 4 bytes, all big endian, so that keys sort by hour, then age.

mod lines;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
pub use lines::LineReader;
use lines::VALUE;
use serde::{Deserialize, Serialize};
use sled::IVec;

use super::damage::Damage;
use super::durable;
use super::nudge::nudged;
use crate::certificate::Tally;
use crate::error::{Error, ErrorKind, Result};
use crate::gaps::Seen;
use crate::hour::Hour;
use crate::record::ContentHash;

/// Bytes of one encoded [`Entry`].
const ENTRY: usize = 32;
/// Entries in one value.
const ENTRIES: usize = 187;
/// Pieces that the ids that came take at most: 16 bytes a range, and then some.
const SEEN_PIECES: u8 = 4;
/// What sled may keep in memory.
const CACHE: u64 = 8 << 20;

/// What a generation knows besides its commits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Records received again, since the state directory was made.
    pub duplicates: u64,
    /// The newest commit and the newest segment so far, in any generation.
    pub newest_commit: u64,
    /// See `newest_commit`.
    pub newest_segment: u64,
    /// Generations whose pending records were moved into this one: they are dead.
    pub replaces: Vec<u32>,
}

/// One commit: a journal segment, and how many records it introduced to which hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRow {
    /// The journal segment that it came from.
    pub segment: u64,
    /// Pages in the segment.
    pub pages: u32,
    /// When they were received, nanoseconds since 1970.
    pub received: i128,
    /// The pending hours, by key, and how many records were new to each.
    pub hours: Vec<([u8; 4], u64)>,
}

/// The index entry of a record: all that dedup and order need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The content hash.
    pub hash: [u8; 16],
    /// The event time: seconds since 1970, and nanoseconds on top.
    pub seconds: i64,
    /// See `seconds`.
    pub nanos: i32,
    /// Bytes of the record's line, which has no newline yet.
    pub length: u32,
}

impl Entry {
    /// The entry of a record with the event time `at`.
    #[must_use]
    pub fn new(hash: ContentHash, at: Timestamp, length: u32) -> Self {
        Self { hash: hash.0, seconds: at.as_second(), nanos: at.subsec_nanosecond(), length }
    }

    /// The event time.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        Timestamp::new(self.seconds, self.nanos).unwrap_or(Timestamp::MIN)
    }
}

/// Where a commit's lines of one hour are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineAt {
    /// The commit.
    pub commit: u64,
    /// Byte offset among the commit's lines of the hour.
    pub offset: u64,
}

/// Changes that become durable together or not at all.
#[derive(Debug, Default)]
pub struct Batch(sled::Batch);

impl Batch {
    /// Records what the generation knows besides its commits.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_meta(&mut self, meta: &Meta) -> Result<()> {
        self.0.insert(b"m", encode(meta)?);
        Ok(())
    }

    /// Records which ids came.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_seen(&mut self, seen: &Seen) -> Result<()> {
        let bytes = encode(seen)?;
        let mut pieces = bytes.chunks(VALUE);
        // What was longer once leaves no piece of it behind.
        for piece in 0..SEEN_PIECES {
            match pieces.next() {
                Some(bytes) => self.0.insert(&[b's', piece], bytes),
                None => self.0.remove(&[b's', piece]),
            }
        }
        Ok(())
    }

    /// Records a commit, or replaces its row.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_commit(&mut self, commit: u64, row: &CommitRow) -> Result<()> {
        self.0.insert(commit_key(commit).as_slice(), encode(row)?);
        Ok(())
    }

    /// Records what was counted of hours so far.
    ///
    /// # Errors
    /// `Bug`: it cannot be encoded.
    pub fn put_tallies(&mut self, tallies: &BTreeMap<Hour, Tally>) -> Result<()> {
        for (hour, tally) in tallies {
            self.0.insert(tally_key(*hour).as_slice(), encode(tally)?);
        }
        Ok(())
    }

    /// Forgets a commit. Its records' bytes stay until the generation goes.
    pub fn remove_commit(&mut self, commit: u64) {
        self.0.remove(commit_key(commit).as_slice());
    }

    /// Adds a commit's new records of one hour: `entries` in order of arrival, `lines` their lines one behind the other.
    ///
    /// # Errors
    /// `Bug`: an entry cannot be encoded.
    pub fn put_records(&mut self, hour: Hour, commit: u64, entries: &[Entry], lines: &[u8]) -> Result<()> {
        for (piece, entries) in (0..).zip(entries.chunks(ENTRIES)) {
            let mut value = Vec::with_capacity(entries.len() * ENTRY);
            for entry in entries {
                bincode::serialize_into(&mut value, entry).map_err(cannot_encode)?;
            }
            self.0.insert(record_key(b'i', hour, commit, piece).as_slice(), value);
        }
        lines::pack(lines, |number, value| {
            self.0.insert(record_key(b'l', hour, commit, number).as_slice(), value);
        })
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    bincode::serialize(value).map_err(cannot_encode)
}

fn cannot_encode(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Bug, "cannot encode a value of the write-ahead log").caused_by(e)
}

fn commit_key(commit: u64) -> [u8; 9] {
    let mut key = [b'c'; 9];
    key[1..].copy_from_slice(&commit.to_be_bytes());
    key
}

fn tally_key(hour: Hour) -> [u8; 5] {
    let mut key = [b'h'; 5];
    key[1..].copy_from_slice(&hour.to_key());
    key
}

fn record_key(kind: u8, hour: Hour, commit: u64, piece: u32) -> [u8; 17] {
    let mut key = [kind; 17];
    key[1..5].copy_from_slice(&hour.to_key());
    key[5..13].copy_from_slice(&commit.to_be_bytes());
    key[13..].copy_from_slice(&piece.to_be_bytes());
    key
}

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

/// sled flushes once more when it is closed, and panics where that fails; by then all that counts is durable.
#[derive(Debug)]
struct Db(Option<sled::Db>);

impl Db {
    fn store(&self) -> sled::Result<&sled::Db> {
        self.0.as_ref().ok_or_else(|| sled::Error::Unsupported("it was closed".to_owned()))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let db = self.0.take();
        if crate::panics::quietly(|| catch_unwind(AssertUnwindSafe(|| drop(db)))).is_err() {
            tracing::debug!("the write-ahead log could not be flushed when it was closed");
        }
    }
}

#[derive(Debug)]
struct Open {
    db: Db,
    log: File,
}

impl Generation {
    /// Opens the generation in `dir`, or makes it there.
    ///
    /// # Errors
    /// `State`, naming the path: it cannot be opened, or not be trusted.
    pub fn open(dir: &Path, id: u32) -> Result<Self> {
        let is_new = !dir.is_dir();
        durable::make_dir(dir)?;
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
            None => Arc::new(open(&self.dir)?),
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
        value.map(|v| bincode::deserialize(&v).map_err(|e| damaged_by(&self.dir, e))).transpose()
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
        bincode::deserialize(&bytes).map(Some).map_err(|e| damaged_by(&self.dir, e))
    }

    /// Its commits, by number.
    ///
    /// # Errors
    /// `State`: damaged.
    pub fn commits(&self) -> Result<Vec<(u64, CommitRow)>> {
        let mut commits = Vec::new();
        self.scan(b"c", b"d", &mut |key, value| {
            let commit = key.get(1..).and_then(|k| k.try_into().ok()).map(u64::from_be_bytes);
            let row = bincode::deserialize(value).map_err(|e| damaged_by(&self.dir, e))?;
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
            let tally = bincode::deserialize(value).map_err(|e| damaged_by(&self.dir, e))?;
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
                let entry: Entry = bincode::deserialize(bytes).map_err(|e| damaged_by(&self.dir, e))?;
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
    pub fn write(&self, batch: Batch) -> Result<()> {
        let open = self.opened()?;
        nudged(open.db.store().ok(), || {
            guarded(&self.dir, || open.db.store()?.apply_batch(batch.0))?;
            self.make_durable(&open)
        })
    }

    /// Bytes on disk.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        std::fs::metadata(self.dir.join("db")).map_or(0, |meta| meta.len())
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

fn open(dir: &Path) -> Result<Open> {
    remove_stray_snapshots(dir)?;
    let config = sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(None);
    let db = open_patiently(dir, &config)?;
    let path = dir.join("db");
    let log = durable::open(&path).map_err(|e| Error::disk("open", &path, e))?;
    Ok(Open { db: Db(Some(db)), log })
}

/// Marks the generation, so that the next open sets it aside even where it opens well.
fn damaged(dir: &Path) -> Error {
    damaged_by(dir, "records are missing or cannot be read")
}

fn damaged_by(dir: &Path, cause: impl std::fmt::Display) -> Error {
    // Where even this cannot be written, the next open meets the damage again.
    let _ = std::fs::write(dir.with_added_extension("condemned"), b"");
    Error::new(ErrorKind::State, format!("the write-ahead log {} is damaged", dir.display()))
        .hint("run `etl replay`: it sets the damaged log aside and fills a new one from the journal")
        .caused_by(Damage::new(cause))
}

/// sled's lock is now and then still held for a moment after the same process closed the database.
fn open_patiently(dir: &Path, config: &sled::Config) -> Result<sled::Db> {
    for _ in 0..50 {
        match guarded(dir, || Ok(config.open())) {
            Ok(Err(sled::Error::Io(e))) if e.to_string().contains("could not acquire lock") => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened.and_then(|db| db.map_err(|e| damaged_or_disk(dir, e))),
        }
    }
    Err(Error::new(ErrorKind::Busy, format!("the write-ahead log {} is in use", dir.display())))
}

/// sled panics on some kinds of damage: a panic is damage like any other.
fn guarded<T>(dir: &Path, action: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let outcome = crate::panics::quietly(|| catch_unwind(AssertUnwindSafe(action)));
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(damaged_or_disk(dir, e)),
        Err(_) => Err(damaged_by(dir, "its store gave up on it")),
    }
}

fn damaged_or_disk(dir: &Path, e: sled::Error) -> Error {
    use std::io::ErrorKind as Io;
    match e {
        // What the system itself reports, but for a file that ends too early, is trouble of the disk.
        sled::Error::Io(e) if e.raw_os_error().is_some() || e.kind() == Io::StorageFull || is_copied(&e) => {
            Error::disk("use the write-ahead log", dir, e)
        }
        e => damaged_by(dir, e),
    }
}

/// Whether it is a copy of what the system reported. sled hands the failure of one thread to the others as a text: the
/// error's debug form.
fn is_copied(e: &std::io::Error) -> bool {
    e.to_string().contains("Os { code: ")
}

/// A half-written snapshot makes every open fail; sled can do without.
fn remove_stray_snapshots(dir: &Path) -> Result<()> {
    for name in durable::names(dir)? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            durable::remove(&dir.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(text: &str) -> Hour {
        text.parse().unwrap()
    }

    fn entry(n: u8, length: usize) -> Entry {
        Entry { hash: [n; 16], seconds: i64::from(n), nanos: 7, length: u32::try_from(length).unwrap() }
    }

    #[test]
    fn layout_of_an_entry_is_pinned() {
        let at = "2023-03-10T01:48:11.818Z".parse().unwrap();
        let bytes = bincode::serialize(&Entry::new(ContentHash([0xab; 16]), at, 213)).unwrap();
        let expected = "abababababababababababababababab\
                        5b8c0a6400000000\
                        80b0c130\
                        d5000000";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
        assert_eq!(bytes.len(), ENTRY);
    }

    #[test]
    fn layout_of_a_commit_row_is_pinned() {
        let row = CommitRow { segment: 1, pages: 2, received: 3, hours: vec![([0, 1, 2, 3], 4)] };
        let bytes = bincode::serialize(&row).unwrap();
        let expected = "0100000000000000\
                        02000000\
                        03000000000000000000000000000000\
                        0100000000000000\
                        00010203\
                        0400000000000000";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn layout_of_a_tally_is_pinned() {
        let tally = Tally { duplicates: 1, quarantined: 2, ids: Some((3, -1)) };
        let bytes = bincode::serialize(&tally).unwrap();
        let expected = "0100000000000000\
                        0200000000000000\
                        010300000000000000ffffffffffffffff";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
        assert_eq!(tally_key(hour("2023-03-10T01")), [b'h', 1, 19, 158, 201]);
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
            batch.put_records(h, 5, &entries, &lines.concat()).unwrap();
            batch.put_records(hour("2023-03-10T02"), 5, &entries[..1], b"").unwrap();
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
            let mut line = Vec::new();
            reader.read(at, e.length, &mut line).unwrap();
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
