//! sled, guarded: it panics on some damage, says little of other damage, and its lock is slow to go.
//!
//! Owns the way into a database. Invariant: what comes out of [`guarded`] is a value, trouble of the disk, or damage; damage marks
//! the generation, so that the next open sets it aside. A crash leaves that mark or not: damage is met again.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::blocks::{self, BlockFile};
use crate::error::{Error, ErrorKind, Result};
use crate::process::threads;
use crate::state::files::damage::Damage;
use crate::state::files::durable;

/// What sled may keep in memory.
const CACHE: u64 = 8 << 20;
/// How long to wait for its lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// sled flushes once more when it is closed, and panics where that fails; by then all that counts is durable.
#[derive(Debug)]
pub(super) struct Db(Option<sled::Db>);

impl Db {
    pub(super) fn store(&self) -> sled::Result<&sled::Db> {
        self.0.as_ref().ok_or_else(|| sled::Error::Unsupported("it was closed".to_owned()))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let db = self.0.take();
        if crate::process::panics::quietly(|| catch_unwind(AssertUnwindSafe(|| drop(db)))).is_err() {
            tracing::debug!("the write-ahead log could not be flushed when it was closed");
        }
    }
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) db: Db,
    pub(super) log: File,
    pub(super) blocks: BlockFile,
}

pub(super) fn open(dir: &Path) -> Result<Open> {
    remove_stray_snapshots(dir)?;
    need_its_thread()?;
    let config = sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(None);
    let db = open_patiently(dir, &config)?;
    let path = dir.join("db");
    let log = durable::open(&path).map_err(|e| Error::disk("open", &path, e))?;
    let end = guarded(dir, || db.get(blocks::END))?.map_or(Ok(0), |row| decode(dir, &row))?;
    let path = dir.join(blocks::NAME);
    let blocks = match is_of_the_form_before(dir, &db)? {
        // Nothing is read of its records.
        true => BlockFile::open(&dir.join("db"), 0),
        false => BlockFile::open(&path, end),
    };
    let blocks = blocks.map_err(|e| Error::disk("open", &path, e))?;
    let blocks = blocks.ok_or_else(|| damaged_by(dir, format_args!("{} is missing or cut short", path.display())))?;
    Ok(Open { db: Db(Some(db)), log, blocks })
}

fn is_of_the_form_before(dir: &Path, db: &sled::Db) -> Result<bool> {
    let row = |key: &[u8]| guarded(dir, || db.get(key));
    Ok(row(b"m")?.is_some() && row(super::FORM_KEY)?.is_none())
}

/// sled writes on threads that it starts at its first open, for the whole process. Where it gets none it says nothing, and waits for ever
/// for what they would write; one is enough.
///
/// The seven threads of its pool spin until the one that starts them has started all: a quarter of a tick's processor time on two busy
/// cores (profile of 40 ticks of 100 records). Nothing outside of sled keeps them from it. Started on one core only, which a thread's
/// affinity would allow, they still spin for 13 %, because each takes the core from the thread that they wait for, and a tick took 20.4 ms
/// instead of 19.2; scheduling them as a batch, which would prevent that, has no safe interface and would stay with them.
fn need_its_thread() -> Result<()> {
    static HAS_ONE: AtomicBool = AtomicBool::new(false);
    if !HAS_ONE.load(Ordering::Relaxed) {
        threads::need_thread("for the write-ahead log")?;
        HAS_ONE.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Marks the generation, so that the next open sets it aside even where it opens well.
pub(super) fn damaged(dir: &Path) -> Error {
    damaged_by(dir, "records are missing or cannot be read")
}

pub(super) fn damaged_by(dir: &Path, cause: impl std::fmt::Display) -> Error {
    // Where even this cannot be written, the next open meets the damage again.
    let _ = std::fs::write(dir.with_added_extension("condemned"), b"");
    Error::new(ErrorKind::State, format!("the write-ahead log {} is damaged", dir.display()))
        .hint("run `etl replay`: it sets the damaged log aside and fills a new one from the journal")
        .caused_by(Damage::new(cause))
}

/// The value of a row of the generation in `dir`: one that cannot be decoded is damage.
pub(super) fn decode<T: DeserializeOwned>(dir: &Path, row: &[u8]) -> Result<T> {
    bincode::deserialize(row).map_err(|e| damaged_by(dir, e))
}

/// sled's lock is now and then still held for a moment after the same process closed the database; where the disk is slow, for as long
/// as a flush takes that the watchdog asked for. No other process opens it: the state's own lock is held.
fn open_patiently(dir: &Path, config: &sled::Config) -> Result<sled::Db> {
    let (until, stop) = (Instant::now() + PATIENCE, crate::stop::installed().unwrap_or_default());
    loop {
        match guarded(dir, || Ok(config.open())) {
            Ok(Err(sled::Error::Io(e))) if e.to_string().contains("could not acquire lock") => {
                if Instant::now() >= until || stop.is_requested() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened.and_then(|db| db.map_err(|e| damaged_or_disk(dir, e))),
        }
    }
    Err(Error::new(ErrorKind::Busy, format!("the write-ahead log {} is in use", dir.display()))
        .hint("another etl of another version, or a copy, has it open: end that, then run again"))
}

/// sled panics on some kinds of damage: a panic is damage like any other.
pub(super) fn guarded<T>(dir: &Path, action: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let outcome = crate::process::panics::quietly(|| catch_unwind(AssertUnwindSafe(action)));
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(e)) => Err(damaged_or_disk(dir, e)),
        Err(_) => Err(damaged_by(dir, "its store gave up on it")),
    }
}

fn damaged_or_disk(dir: &Path, e: sled::Error) -> Error {
    use std::io::ErrorKind as Io;
    match e {
        // What the system itself reports, except a file that ends too early, is trouble of the disk.
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
