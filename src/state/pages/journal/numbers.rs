//! The numbers of segments: none is used twice, or a new page would pass for a committed one.
//!
//! So the newest segment is not just deleted: it is renamed, in one step, to `<number>.floor`, an empty file above which numbers
//! go on. The journal knows its numbers by itself, and a run can append before it opens anything else. A crash leaves the old floor,
//! the new one, or both, of which the higher counts.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::state::files::durable;
use crate::state::files::step::{Step, durable_step};

/// The numbers that were used in a directory. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    dir: PathBuf,
    next: Arc<AtomicU64>,
    /// One more than the number of the floor that exists; 0: there is none.
    floor: Arc<AtomicU64>,
}

impl Numbers {
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), next: Arc::default(), floor: Arc::default() }
    }

    /// Goes on above `used` and above the floor that exists.
    pub(super) fn open(&self, used: u64) -> Result<()> {
        let floor = self.take_floor()?;
        self.next.store(used.max(floor) + 1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The highest floor that exists; lower ones are deleted.
    fn take_floor(&self) -> Result<u64> {
        let names = durable::names(&self.dir)?;
        let mut floors: Vec<u64> = names.iter().filter_map(|name| parse(name)).collect();
        floors.sort_unstable();
        let Some(highest) = floors.pop() else { return Ok(0) };
        floors.into_iter().try_for_each(|lower| durable::remove(&self.path(lower)))?;
        self.floor.store(highest + 1, Ordering::Relaxed);
        Ok(highest)
    }

    /// Whether there is a floor. A directory that etl 0.1.0 made has none before [`Numbers::raise`].
    pub(super) fn has_floor(&self) -> bool {
        self.floor.load(Ordering::Relaxed) > 0
    }

    /// Makes numbers go on above `used`, now and after any crash.
    pub(super) fn raise(&self, used: u64) -> Result<()> {
        let newest = self.next.fetch_max(used + 1, Ordering::Relaxed).saturating_sub(1);
        if self.has_floor() && used <= newest {
            return Ok(());
        }
        durable_step(Step::FloorRaised, || durable::replace(&self.path(used), b""))?;
        self.replace(used)
    }

    /// Whether the segment `number` has to become the floor when it goes. A floor only rises.
    pub(super) fn rises_to(&self, number: u64) -> bool {
        number >= self.floor.load(Ordering::Relaxed)
    }

    /// Renames the segment in `file` to the floor; durable after a `sync_dir`.
    pub(super) fn rename_to_floor(&self, file: &Path, number: u64) -> Result<()> {
        durable::rename_unsynced(file, &self.path(number))
    }

    /// A segment has become the floor: its bytes go, and the floor before it.
    pub(super) fn settle_floor(&self, number: u64) -> Result<()> {
        let path = self.path(number);
        let emptied = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0));
        emptied.map_err(|e| Error::disk("cut", &path, e))?;
        self.replace(number)
    }

    /// Makes `floor`, which is durable, the one that counts.
    fn replace(&self, floor: u64) -> Result<()> {
        match self.floor.swap(floor + 1, Ordering::Relaxed).checked_sub(1) {
            Some(old) if old != floor => durable::remove(&self.path(old)),
            _ => Ok(()),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016}.floor"))
    }
}

fn parse(name: &str) -> Option<u64> {
    name.strip_suffix(".floor")?.parse().ok()
}
