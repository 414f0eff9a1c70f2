//! Parts: their bytes in the spool, the hashes of their records, and what the ledger says became of them.
//!
//! Invariant: the files that an event names are durable before the ledger names them. A crash in between leaves files that nothing
//! names: the next open clears the spool, and arrays are removed with the next forgetting.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::Hours;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HashesRef, HourRow};
use crate::hour::part::PartStage;
use crate::output::draft::Draft;
use crate::record::ContentHash;
use crate::record::row::Codecs;
use crate::state::files::hash_array::HashArray;
use crate::state::files::hash_array::spilled::Spilled;
use crate::state::files::sorted_runs::{Fixed, Sorted, Sorter};
use crate::state::files::step::Step;
use crate::state::hours::ledger::Settings;
use crate::stop::Stop;

impl Hours {
    /// Applies events to hours: all or none, durable on return, and before that the files that they name.
    pub(crate) fn apply(&mut self, step: Step, events: Vec<(Hour, Event)>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let replaced: Vec<(Hour, Option<u64>)> = events
            .iter()
            .map(|(hour, _)| Ok((*hour, self.ledger.row(*hour)?.hashes.map(|h| h.version))))
            .collect::<Result<_>>()?;
        self.make_named_durable(&events)?;
        self.ledger.carry(self.log.seen());
        self.ledger.apply(step, self.log.newest_segment(), events)?;
        for (hour, version) in replaced {
            let row = self.ledger.row(hour)?;
            self.log.receipt(hour, row.receipted);
            if let Some(version) = version
                && row.hashes.map(|h| h.version) != Some(version)
            {
                self.hashes.remove(hour, version)?;
            }
        }
        Ok(())
    }

    /// Makes the files durable under their names that `events` are about to name in the ledger.
    fn make_named_durable(&self, events: &[(Hour, Event)]) -> Result<()> {
        if events.iter().any(|(_, event)| matches!(event, Event::Frozen { .. })) {
            self.spool.make_names_durable()?;
        }
        if events.iter().any(|(_, event)| matches!(event, Event::Frozen { .. } | Event::Imported { .. })) {
            self.hashes.make_names_durable()?;
        }
        Ok(())
    }

    /// Unseals the records of an hour's parts in the making.
    pub(crate) fn thaw(&mut self, hour: Hour) -> Result<()> {
        self.apply(Step::HourImported, vec![(hour, Event::Thawed)])?;
        self.missing_records.remove(&hour);
        Ok(())
    }

    /// The hash array of an hour's parts. `None`: it has none. The caller has made sure that they are not forgotten.
    ///
    /// # Errors
    /// `State`: the array is damaged or missing.
    pub fn array(&self, row: &HourRow) -> Result<Option<HashArray>> {
        row.hashes.map(|named| self.hashes.array(row.hour, named)).transpose()
    }

    /// Takes what is to be put in order, `most` items in memory: beyond that it is on the disk, where no crash leaves it.
    pub(crate) fn sorter<T: Fixed>(&self, most: usize) -> Sorter<T> {
        Sorter::new(self.spool.dir().to_owned(), most)
    }

    /// Hashes that are too many for memory.
    pub(crate) fn spilled_hashes(&self) -> Spilled {
        Spilled::new(self.spool.dir())
    }

    /// Writes the next hash array of the hour of `row`. The ledger names it with the next event.
    pub(crate) fn write_array(&self, row: &HourRow, hashes: &Sorted<ContentHash>) -> Result<HashesRef> {
        let count = distinct(hashes).try_fold(0, |count, hash| hash.map(|_| count + 1))?;
        let named = HashesRef { version: row.next_hashes, count };
        let written = self.hashes.write_until(row.hour, named, None, &mut distinct(hashes), &Stop::new())?;
        written.ok_or_else(|| Error::new(ErrorKind::Bug, "nothing stops this, and it was stopped"))
    }

    /// The same of the hashes of `old` and the `new` ones, which differ. `None`: the run is to stop, and there is no next array.
    pub(crate) fn extend_array(
        &self,
        row: &HourRow,
        old: Option<&HashArray>,
        new: &Sorted<ContentHash>,
        stop: &Stop,
    ) -> Result<Option<HashesRef>> {
        let named = HashesRef { version: row.next_hashes, count: old.map_or(0, HashArray::len) + new.len() };
        self.hashes.write_until(row.hour, named, old, &mut new.iter(), stop)
    }

    /// Whether hash arrays were forgotten so short a time before `before` that it is not worth going through them again.
    pub(crate) fn has_forgotten_lately(&self, before: Timestamp, window: SignedDuration) -> bool {
        let is_soon = |last: Timestamp| (SignedDuration::ZERO..window / 30).contains(&before.duration_since(last));
        self.ledger.forgotten_before().is_some_and(is_soon)
    }

    /// Deletes the hash arrays that the ledger does not name. Returns the hours whose array may be forgotten: their last
    /// receipt is older than `before`, and nothing of them is pending.
    pub(crate) fn remove_stray_arrays(&mut self, before: Timestamp) -> Result<Vec<Hour>> {
        self.hashes.remove_leftovers()?;
        let mut old = Vec::new();
        let (hashes, ledger, log) = (self.hashes.clone(), &mut self.ledger, &self.log);
        hashes.retain(|hour, version| {
            let row = ledger.row(hour)?;
            // A crash may have left an older array of the hour beside the one that counts.
            let is_named = row.hashes.is_some_and(|named| named.version == version);
            let is_old = row.last_receipt.is_some_and(|at| at < before);
            if is_old && is_named && !row.is_sealing() && !log.has_pending(hour) {
                old.push(hour);
            }
            Ok(is_named)
        })?;
        Ok(old)
    }

    /// Notes that the hash arrays of hours whose last receipt is older than `before` are forgotten.
    pub(crate) fn record_forgotten(&mut self, before: Timestamp) -> Result<()> {
        self.ledger.record_forgotten(before)
    }

    /// Where the bytes of a part are until its receipt.
    pub(crate) fn spool_path(&self, hour: Hour, part: u32) -> PathBuf {
        self.spool.path(hour, part)
    }

    /// Where the bytes of another small object are while it is uploaded. No intent names it: the next clearing deletes it.
    pub(crate) fn spool_path_beside(&self, name: &str) -> PathBuf {
        self.spool.beside(name)
    }

    /// Starts the file of the spool that will be at `path`.
    pub(crate) fn begin_spooling(&self, path: &Path) -> Result<Draft> {
        self.spool.begin(path)
    }

    /// Notes the hours whose parts are being spooled: what is there of them has no intent yet.
    pub(crate) fn set_spooling(&mut self, hours: &[Hour]) {
        self.spool.filling = hours.iter().copied().collect();
    }

    pub(crate) fn is_spooling(&self) -> bool {
        !self.spool.filling.is_empty()
    }

    /// The spooled files that no intent names.
    pub(crate) fn spool_strays(&mut self) -> Result<Vec<PathBuf>> {
        let ledger = &mut self.ledger;
        self.spool.strays(|hour, part| {
            let row = ledger.row(hour)?;
            Ok(row.parts.iter().any(|p| p.spool_number() == part && p.stage == PartStage::Sealing))
        })
    }

    /// Takes files out of the spool. Returns what is left to delete.
    pub(crate) fn clear_spool(&mut self, served: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        self.spool.clear(served)
    }

    /// Whether so many rows are in the ledger's head that each step costs much.
    pub(crate) fn is_crowded(&self) -> bool {
        self.ledger.is_crowded()
    }

    /// Moves old rows of the ledger to the files of their days; `leaving` is told of each.
    pub(crate) fn archive_rows(&mut self, leaving: &mut dyn FnMut(&HourRow)) -> Result<()> {
        let log = &self.log;
        self.ledger.archive(|hour| log.has_pending(hour), leaving)
    }

    /// Counts the parts of all rows again.
    pub(crate) fn recount(&mut self) -> Result<()> {
        self.ledger.recount()
    }
}

/// Hashes in order, each once.
fn distinct(hashes: &Sorted<ContentHash>) -> impl Iterator<Item = Result<ContentHash>> {
    let mut before = None;
    hashes.iter().filter(move |hash| match hash {
        Ok(hash) => before.replace(*hash) != Some(*hash),
        Err(_) => true,
    })
}

/// What the ledger notes of the settings and the store.
impl Hours {
    /// Whether the store honours create-only PUTs. `None`: it was not asked yet.
    pub(crate) const fn create_only(&self) -> Option<bool> {
        self.ledger.create_only()
    }

    pub(crate) fn record_create_only(&mut self, is_honoured: bool) -> Result<()> {
        self.ledger.record_create_only(is_honoured)
    }

    /// Dictionaries that were configured before the configuration gained entries.
    pub(crate) fn former_dictionaries(&self) -> &[Codecs] {
        self.ledger.former_dictionaries()
    }

    pub(crate) fn has_stored_dictionaries(&self, id: &str) -> bool {
        self.ledger.has_stored_dictionaries(id)
    }

    /// Notes that the store has these dictionaries: with the next step of the ledger.
    pub(crate) fn note_stored_dictionaries(&mut self, id: &str) {
        self.ledger.note_stored_dictionaries(id);
    }

    pub(crate) fn forget_stored_dictionaries(&mut self) {
        self.ledger.forget_stored_dictionaries();
    }

    pub(crate) const fn has_stored_settings(&self) -> bool {
        self.ledger.has_stored_settings()
    }

    /// Notes that the store says under which settings its parts are made: with the next step of the ledger.
    pub(crate) const fn note_stored_settings(&mut self) {
        self.ledger.note_stored_settings();
    }

    /// The settings that the state was made under.
    pub(crate) const fn settings(&self) -> &Settings {
        self.ledger.settings()
    }

    pub(crate) fn record_settings(&mut self, settings: Settings) -> Result<()> {
        self.ledger.record_settings(settings)
    }
}
