//! What intake, output and recovery share while a run is at work: the setup, the open state, and what has come of the run so far.
//!
//! Owns the rule of failures: one that concerns one page, one hour or one end (source, store) is recorded and costs only that;
//! a failing state directory ends the run. Writes `status.json`, a view that the next run writes again.

use jiff::Timestamp;

use super::intake::dedup::Buckets;
use super::{RunRequest, Setup, Summary};
use crate::error::{Error, ErrorKind, Result};
use crate::state::status::history::Recorder;
use crate::state::{Reserve, State, status};
use crate::store::dictionaries::DictionaryStore;
use crate::store::expired::ExpiredParts;
use crate::store::once::CreateOnly;

/// A run at work.
pub(crate) struct Run<'a> {
    pub(crate) setup: &'a Setup<'a>,
    pub(crate) request: RunRequest,
    pub(crate) state: State,
    /// Which records are known, of the hours at hand.
    pub(crate) buckets: Buckets,
    /// The dictionaries that parts are read with.
    pub(crate) dictionaries: DictionaryStore<'a>,
    /// Parts that are gone for good, as far as the store was asked.
    pub(crate) expired: ExpiredParts,
    /// The store refused the object with the settings: it is offered again in the next run.
    pub(crate) settings_are_refused: bool,
    pub(crate) summary: &'a mut Summary,
    pub(crate) problems: Vec<Error>,
    /// Whether the manifests in the store are to be compared with the digests there: after a rebuild.
    pub(crate) survey_manifests: bool,
    /// The store did not answer: it is not asked again in this run.
    pub(crate) store_is_down: bool,
    history: &'a Recorder,
    status: status::Writer,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        setup: &'a Setup<'a>,
        mut state: State,
        request: RunRequest,
        summary: &'a mut Summary,
        history: &'a Recorder,
    ) -> Self {
        state.pages.quarantine.cap(setup.quarantine_max_bytes);
        let dictionaries = DictionaryStore::new(&*setup.store, &setup.prefix, &setup.decoder.compactor)
            .with_former(state.hours.former_dictionaries());
        let status = status::Writer::start(&setup.state_dir, history, setup.status_file.as_ref(), setup.clock.now());
        Self {
            setup,
            request,
            state,
            buckets: Buckets::default(),
            dictionaries,
            expired: ExpiredParts::default(),
            settings_are_refused: false,
            summary,
            problems: Vec::new(),
            survey_manifests: request.from_store,
            store_is_down: false,
            history,
            status,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.setup.clock.now()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.setup.stop.is_requested()
    }

    /// Records a recoverable error; returns a fatal one.
    pub(crate) fn record_or_fail(&mut self, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Bug | ErrorKind::State => Err(error),
            _ => {
                self.problems.push(error);
                Ok(())
            }
        }
    }

    /// Records a failure of the store. After one that every other request would meet as well, it is not asked again in this run.
    pub(crate) fn record_store_failure(&mut self, error: Error) -> Result<()> {
        self.store_is_down |= !error.concerns_one_object();
        // A lake on a disk that fails is a store that fails; only a full disk concerns the state directory too.
        if error.kind() == ErrorKind::State && !error.is_disk_full() {
            self.problems.push(error);
            return Ok(());
        }
        self.record_or_fail(error)
    }

    /// Whether the store honours create-only PUTs, as far as that is known.
    pub(crate) fn create_only(&self) -> CreateOnly {
        match self.state.hours.create_only() {
            _ if self.setup.store.create_only_is_certain() => CreateOnly::Proven,
            Some(true) => CreateOnly::Proven,
            Some(false) => CreateOnly::NotHonoured,
            None => CreateOnly::Unknown,
        }
    }

    /// Whether the disk is too short of space for pages of `uncommitted` bytes to be committed as usual.
    pub(crate) fn is_short_of_space(&self, uncommitted: u64) -> Result<bool> {
        Ok(!has_room(self.setup, uncommitted)?)
    }

    /// Moves old rows of the ledger to their days; the status keeps what it shows of them.
    pub(crate) fn archive_rows(&mut self) -> Result<()> {
        let status = &mut self.status;
        self.state.archive_rows(&mut |row| status.note_leaving(row))
    }

    /// Notes in the run history what a step brought.
    pub(crate) fn note_step(&self, name: &str) {
        self.history.step(name, self.summary.counts(), self.now());
    }

    /// Writes `status.json`: not too often, unless `now`.
    pub(crate) fn note_status(&mut self, now: bool) -> Result<()> {
        if now || self.status.is_stale() {
            let at = self.now();
            let so_far = self.summary.so_far();
            self.status.write(&mut self.state, &self.setup.closing, &so_far, at)?;
            self.problems.extend(self.state.pages.quarantine.take_damaged());
        }
        Ok(())
    }
}

/// Whether a page may be fetched while `uncommitted` bytes of pages wait: they will take room once more when they are committed.
pub(crate) fn has_room(setup: &Setup<'_>, uncommitted: u64) -> Result<bool> {
    Ok(Reserve::new(&setup.state_dir).free_bytes()? >= setup.min_free.saturating_add(uncommitted))
}
