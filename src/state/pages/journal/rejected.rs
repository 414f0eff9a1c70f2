//! Bodies that are not pages, set aside in `rejected/`: they stay until someone acts. Owns that directory and its sum.
//!
//! A crash leaves a body in the journal or here, never in both.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::segment::{Segment, SegmentId};
use crate::error::{Error, Result};
use crate::state::files::durable;

/// How many bodies are set aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Bodies.
    pub count: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// The directory of rejected bodies. Clones share the sum.
#[derive(Debug, Clone)]
pub struct RejectedPages {
    dir: PathBuf,
    sum: Arc<Mutex<Rejected>>,
}

impl RejectedPages {
    pub(super) fn at(state: &Path) -> Self {
        Self { dir: state.join("rejected"), sum: Arc::default() }
    }

    /// Makes the directory where it does not exist, and counts what is in it.
    pub(super) fn open(&self) -> Result<()> {
        durable::make_dir(&self.dir)?;
        durable::remove_leftovers(&self.dir)?;
        let mut sum = Rejected::default();
        for id in self.list()? {
            sum.count += u64::from(id.pages);
            sum.bytes += size(&self.path(id));
        }
        self.with_sum(|known| *known = sum);
        Ok(())
    }

    /// Takes the segment `id` over from `file` in `journal`. Durable on return.
    pub(super) fn append(&self, id: SegmentId, file: &Path, journal: &Path) -> Result<PathBuf> {
        let path = self.path(id);
        fs::rename(file, &path).map_err(|e| Error::disk("set aside", file, e))?;
        durable::sync_dir(&self.dir)?;
        durable::sync_dir(journal)?;
        let bytes = size(&path);
        self.with_sum(|sum| {
            sum.count = sum.count.saturating_add(u64::from(id.pages));
            sum.bytes = sum.bytes.saturating_add(bytes);
        });
        Ok(path)
    }

    /// The segments in it, oldest first.
    pub(crate) fn list(&self) -> Result<Vec<SegmentId>> {
        SegmentId::list(&self.dir)
    }

    /// The same, for those who only look: the directory need not exist.
    pub(crate) fn list_if_any(&self) -> Result<Vec<SegmentId>> {
        if self.dir.is_dir() { self.list() } else { Ok(Vec::new()) }
    }

    /// Whether the segment of that number is in it.
    pub(crate) fn contains(&self, number: u64) -> Result<bool> {
        Ok(self.list()?.iter().any(|id| id.number == number))
    }

    /// When a segment was received. `None`: it is gone.
    pub(crate) fn received(&self, id: SegmentId) -> Option<Timestamp> {
        id.received(&self.dir)
    }

    /// Reads a segment and checks it.
    pub(crate) fn read(&self, id: SegmentId) -> Result<Segment> {
        Segment::read(&self.path(id), id)
    }

    /// Removes a segment whose bodies are in the journal again.
    pub(crate) fn remove(&self, id: SegmentId) -> Result<()> {
        let path = self.path(id);
        let bytes = size(&path);
        durable::remove(&path)?;
        durable::sync_dir(&self.dir)?;
        self.with_sum(|sum| {
            sum.count = sum.count.saturating_sub(u64::from(id.pages));
            sum.bytes = sum.bytes.saturating_sub(bytes);
        });
        Ok(())
    }

    /// How many there are.
    pub(crate) fn sum(&self) -> Rejected {
        self.with_sum(|sum| *sum)
    }

    fn with_sum<T>(&self, change: impl FnOnce(&mut Rejected) -> T) -> T {
        change(&mut self.sum.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(id.file_name())
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}
