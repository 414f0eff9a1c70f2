//! The quarantine: tokens that are not records (yet), with their bytes and the reason. Never dropped, never evaluated.
//!
//! ```text
//! quarantine/<segment>.<tokens>.<due or ->     one file a segment: see `tokens` for what is in it, `batch` for the name
//! quarantine/….ids                             its identities, sorted: see `identity`
//! quarantine/merging                           which files become one: see `merge`
//! quarantine/reasons                           how many tokens there are of each reason: see `reasons`
//! quarantine/ring                              which key ring tried them last
//! ```
//! A segment's tokens are durable here before its commit; a crash in between leaves a file that the next run replaces when it reads
//! the same segment again. A token is released only after the page that it became was committed; a crash in between finds its record
//! known, and releases it. Counting and looking for due tokens reads no file, and one more odd token is looked up in a few
//! reads. Everything takes time in proportion to the tokens, and memory that does not grow with them.

mod adding;
mod batch;
mod identity;
mod known;
mod look;
mod merge;
mod reasons;
mod token;
mod tokens;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use self::adding::NewFile;
pub use self::adding::{Added, Adding};
use self::batch::Batch;
pub use self::identity::Identity;
pub(crate) use self::identity::share_bits;
pub(crate) use self::look::look;
pub use self::token::{Encoding, OddToken};
use self::tokens::Opened;
pub use self::tokens::Tokens;
use crate::error::{Error, ErrorKind, Result};
use crate::state::files::hash_array::HashArray;
use crate::state::files::step::{Step, durable_step};
use crate::state::files::watch_list::WatchList;
use crate::state::files::{damage, durable};

/// The quarantine's directory.
#[derive(Debug)]
pub struct Quarantine {
    dir: PathBuf,
    batches: BTreeMap<u64, Batch>,
    /// The identities in a segment's file: opened when they are first needed.
    arrays: BTreeMap<u64, HashArray>,
    /// Which files must be there at the next start.
    watch_list: WatchList,
    /// Files that were set aside as damaged, to be reported.
    damaged: Vec<Error>,
    /// The most bytes of its files; 0: no limit.
    max_bytes: u64,
    /// Tokens by reason; `None`: to be counted again.
    reasons: Option<BTreeMap<String, u64>>,
}

impl Quarantine {
    fn at(state: &Path, watch_list: WatchList) -> Self {
        Self {
            dir: state.join("quarantine"),
            batches: BTreeMap::new(),
            arrays: BTreeMap::new(),
            watch_list,
            damaged: Vec::new(),
            max_bytes: 0,
            reasons: None,
        }
    }

    /// Opens the quarantine below the state directory.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let mut quarantine = Self::at(state, WatchList::open(state, "quarantined")?);
        durable::make_dir(&quarantine.dir)?;
        durable::remove_leftovers(&quarantine.dir)?;
        merge::finish(&quarantine.dir)?;
        let names = durable::names(&quarantine.dir)?;
        for (segment, batch) in names.iter().filter_map(|name| Batch::parse(name)) {
            quarantine.register(segment, batch)?;
        }
        for (segment, batch) in &mut quarantine.batches {
            batch.bytes = std::fs::metadata(batch.path(&quarantine.dir, *segment)).map_or(0, |meta| meta.len());
        }
        quarantine.remove_stray_arrays(&names)?;
        quarantine.reasons = reasons::read(&quarantine.dir, quarantine.count())?;
        Ok(quarantine)
    }

    /// Registers a file. A crash while one replaced another leaves both: the one with fewer tokens is the newer.
    fn register(&mut self, segment: u64, batch: Batch) -> Result<()> {
        match self.batches.insert(segment, batch) {
            Some(other) if other != batch => {
                let (keep, stale) = if other.tokens < batch.tokens { (other, batch) } else { (batch, other) };
                self.batches.insert(segment, keep);
                durable::remove(&self.path(segment, stale))
            }
            _ => Ok(()),
        }
    }

    fn remove_stray_arrays(&self, names: &[String]) -> Result<()> {
        for name in names {
            let Some(file) = name.strip_suffix(identity::ENDING).and_then(|name| name.strip_suffix('.')) else {
                continue;
            };
            let is_there = Batch::parse(file).is_some_and(|(segment, batch)| {
                self.batches.get(&segment).is_some_and(|known| known.has_name_of(&batch))
            });
            if !is_there {
                durable::remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Limits the bytes of its files; 0: no limit.
    pub(crate) const fn cap(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// Whether there is no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.max_bytes > 0 && self.bytes() >= self.max_bytes
    }

    /// What was there at the end of the last run and is gone; reported once.
    pub(crate) fn vanished(&mut self) -> Result<Option<Error>> {
        self.watch_list.check(self.by_segment(), "quarantined tokens", &self.dir)
    }

    /// The files that were set aside as damaged since the last call.
    pub(crate) fn take_damaged(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.damaged)
    }

    fn update_watch_list(&mut self) -> Result<()> {
        self.watch_list.set(self.by_segment())
    }

    fn by_segment(&self) -> BTreeMap<u64, u64> {
        self.batches.iter().map(|(segment, batch)| (*segment, batch.tokens)).collect()
    }

    /// Sets a damaged file aside: its tokens are lost to the quarantine, all others stay.
    fn set_aside(&mut self, segment: u64, batch: Batch, damage: &Error) -> Result<()> {
        let path = self.path(segment, batch);
        self.batches.remove(&segment);
        self.arrays.remove(&segment);
        self.reasons = None;
        durable::remove(&identity::array_path(&path))?;
        let aside = if path.exists() { Some(damage::set_aside(Step::FileSetAside, &path, "damaged")?) } else { None };
        // Only now: after a crash in between, the next start reports it.
        self.update_watch_list()?;
        let what = format!("{}, with {} quarantined tokens", damage.chain(), batch.tokens);
        let aside = aside.map_or_else(String::new, |aside| format!("it was set aside as {}; ", aside.display()));
        let hint = format!("{aside}restore it from a backup to have its tokens back");
        self.damaged.push(Error::new(ErrorKind::State, what).hint(hint));
        Ok(())
    }

    /// Tokens in it.
    pub(crate) fn count(&self) -> u64 {
        self.batches.values().map(|b| b.tokens).sum()
    }

    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.batches.values().map(|b| b.bytes).sum()
    }

    /// The newest segment that has tokens here.
    pub(crate) fn newest_segment(&self) -> u64 {
        self.batches.last_key_value().map_or(0, |(segment, _)| *segment)
    }

    /// The segments with tokens here; with `due_by`, only those with one that is due by then.
    pub(crate) fn segments(&self, due_by: Option<Timestamp>) -> Vec<u64> {
        let due = |batch: &Batch| due_by.is_none_or(|now| batch.due.is_some_and(|due| due <= now.as_second()));
        self.batches.iter().filter(|(_, batch)| due(batch)).map(|(segment, _)| *segment).collect()
    }

    /// The tokens of a segment. `None`: it has none. A damaged file is set aside, and reported by [`Quarantine::take_damaged`].
    pub(crate) fn tokens(&mut self, segment: u64) -> Result<Option<Tokens>> {
        let Some(batch) = self.batches.get(&segment).copied() else { return Ok(None) };
        let path = self.path(segment, batch);
        match Tokens::open(&path)? {
            Opened::Whole(tokens) => Ok(Some(tokens)),
            Opened::Damaged(damage) => self.set_aside(segment, batch, &damage).map(|()| None),
            Opened::Absent => {
                let gone = Error::new(ErrorKind::State, format!("{} is gone", path.display()));
                self.set_aside(segment, batch, &gone).map(|()| None)
            }
        }
    }

    /// Releases the tokens of a segment that `keep` rejects, and returns how many they were. When stopped, all stay.
    pub(crate) fn release(
        &mut self,
        segment: u64,
        keep: &mut dyn FnMut(&OddToken) -> bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64> {
        let Some(tokens) = self.tokens(segment)? else { return Ok(0) };
        let mut kept = NewFile::of_segment(&self.dir, segment);
        let mut gone = BTreeMap::new();
        for token in tokens {
            if stop() {
                return Ok(0);
            }
            let token = token?;
            if keep(&token) {
                kept.push(&token)?;
            } else {
                *gone.entry(token.reason).or_default() += 1;
            }
        }
        if !gone.is_empty() {
            durable_step(Step::QuarantineReleased, || self.put(segment, kept))?;
            self.count_reasons(&BTreeMap::new(), &gone)?;
        }
        Ok(gone.into_values().sum())
    }

    /// Whether a key ring other than `ring` tried the tokens last.
    pub(crate) fn ring_changed(&self, ring: &str) -> Result<bool> {
        Ok(durable::read(&self.dir.join("ring"))?.is_none_or(|known| known != ring.as_bytes()))
    }

    /// Records the key ring that tried the tokens last.
    pub(crate) fn record_ring(&self, ring: &str) -> Result<()> {
        durable_step(Step::RingRecorded, || durable::replace(&self.dir.join("ring"), ring.as_bytes()))
    }

    /// Replaces the tokens of a segment by `kept`.
    fn put(&mut self, segment: u64, kept: NewFile) -> Result<()> {
        let old = self.batches.remove(&segment);
        let new = kept.batch();
        self.batches.extend(new.map(|batch| (segment, batch)));
        // Before the files: after a crash in between, what was released must not be reported as missing.
        let fewer = old.is_some_and(|old| new.is_none_or(|new| new.tokens < old.tokens));
        if fewer {
            self.update_watch_list()?;
        }
        self.arrays.remove(&segment);
        if let Some(batch) = new {
            kept.publish(&self.path(segment, batch))?;
        }
        if !fewer {
            self.update_watch_list()?;
        }
        if let Some(old) = old.filter(|old| new.is_none_or(|new| !new.has_name_of(old))) {
            batch::remove(&self.path(segment, old))?;
            durable::sync_dir(&self.dir)?;
        }
        Ok(())
    }

    fn path(&self, segment: u64, batch: Batch) -> PathBuf {
        batch.path(&self.dir, segment)
    }
}

#[cfg(test)]
mod tests;
