//! The hashes of hours, at hand before their records are compared: read back from the store where they are forgotten or damaged.
//!
//! Invariant: a record is committed or sealed only where it can be told whether it is known. Reads, but for what an import
//! writes (see [`super::import`]); a crash leaves nothing else.

use std::collections::BTreeSet;

use super::Recover;
use super::import::import;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::job::Run;
use crate::page::decode::Decoded;

/// Whether it can be told which records of an hour are known.
pub(super) enum Recall {
    /// Its hashes are at hand.
    AtHand,
    /// Its parts are in the making, and what needs their hashes waits for them.
    Waits,
    /// Its parts cannot be read back. The reason is in [`Recover::unreadable`], until it is reported.
    Unreadable,
}

impl Recover {
    /// Opens all hours of the pages, and returns those that cannot be read back. `None`: one waits for its own parts, and
    /// its pages wait in the journal; or the run is to stop.
    pub(crate) fn open_hours(&mut self, run: &mut Run<'_>, pages: &[Decoded]) -> Result<Option<BTreeSet<Hour>>> {
        let hours: BTreeSet<Hour> = pages.iter().flat_map(|page| page.records.iter().map(|r| r.hour)).collect();
        let mut unreadable = BTreeSet::new();
        for hour in hours {
            match self.recall(run, hour)? {
                Recall::AtHand => run.buckets.open(&mut run.state.hours, hour)?,
                Recall::Waits => return postpone(run, hour).map(|()| None),
                Recall::Unreadable => {
                    unreadable.insert(hour);
                }
            }
        }
        let is_loaded = run.buckets.load(&mut run.state.hours, pages, run.setup.stop)?;
        Ok(is_loaded.then_some(unreadable))
    }

    /// Opens all hours of the pages, those too that cannot be read back now: their records are compared when they are sealed. `false`: the
    /// run is to stop.
    pub(crate) fn open_hours_anyway(&mut self, run: &mut Run<'_>, pages: &[Decoded]) -> Result<bool> {
        let hours: BTreeSet<Hour> = pages.iter().flat_map(|page| page.records.iter().map(|r| r.hour)).collect();
        for hour in hours {
            self.recall(run, hour)?;
            run.buckets.open(&mut run.state.hours, hour)?;
        }
        run.buckets.load(&mut run.state.hours, pages, run.setup.stop)
    }

    /// Makes sure that the hashes of an hour that is to be sealed are at hand. `false`: they are not, and that was reported.
    pub(crate) fn recall_or_postpone(&mut self, run: &mut Run<'_>, hour: Hour) -> Result<bool> {
        if let Recall::AtHand = self.recall(run, hour)? {
            return Ok(true);
        }
        if let Some(error) = self.take_reason(hour) {
            run.record_or_fail(error)?;
        }
        postpone(run, hour).map(|()| false)
    }

    /// Makes sure that the hashes of an hour's parts are at hand: imports the hour where they are forgotten or damaged.
    pub(super) fn recall(&mut self, run: &mut Run<'_>, hour: Hour) -> Result<Recall> {
        if self.unreadable.contains_key(&hour) {
            return Ok(Recall::Unreadable);
        }
        let row = run.state.hours.row(hour)?;
        if row.is_sealing() && run.state.hours.misses_records(hour) {
            return Ok(Recall::Waits);
        }
        if !row.is_forgotten() && (run.buckets.has_array(hour) || keep_array(run, &row)) {
            return Ok(Recall::AtHand);
        }
        if row.is_sealing() {
            return Ok(Recall::Waits);
        }
        let parked = &run.state.hours.parked;
        if parked.holds(hour) && !self.is_replay && parked.was_just_tried(hour, run.now()) {
            self.unreadable.insert(hour, None);
            return Ok(Recall::Unreadable);
        }
        if !row.is_forgotten() {
            tracing::warn!("hour {hour}: its hash array is damaged or missing: its parts are read back from the store");
        }
        self.read_back(run, &row)
    }

    fn read_back(&mut self, run: &mut Run<'_>, row: &HourRow) -> Result<Recall> {
        let error = match run.store_is_down {
            true => Error::new(ErrorKind::Unavailable, "the store did not answer"),
            false => match import(run, row, &[]) {
                Ok(_) => return Ok(Recall::AtHand),
                // A look that a stop cut short says nothing about the hour.
                Err(_) if run.is_stopped() => return Ok(Recall::Waits),
                Err(error) => error,
            },
        };
        self.note_unreadable(run, row.hour, error).map(|()| Recall::Unreadable)
    }

    fn note_unreadable(&mut self, run: &mut Run<'_>, hour: Hour, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::Bug || error.is_disk_full() {
            return Err(error);
        }
        let is_about_this_hour = error.concerns_one_object();
        run.store_is_down |= !is_about_this_hour;
        self.unreadable.insert(hour, Some(error));
        // A store that is away is asked by the next run anyway, and then once for all.
        if !is_about_this_hour {
            return Ok(());
        }
        let now = run.now();
        run.state.hours.parked.note_tried(hour, now)
    }

    /// Why an hour cannot be read back, where that was not reported yet.
    pub(super) fn take_reason(&mut self, hour: Hour) -> Option<Error> {
        self.unreadable.get_mut(&hour).and_then(Option::take)
    }
}

/// Whether the hash array of the hour of `row` is sound; there need not be one.
fn keep_array(run: &mut Run<'_>, row: &HourRow) -> bool {
    match run.state.hours.array(row) {
        Ok(Some(array)) => run.buckets.keep_array(row.hour, array),
        Ok(None) => {}
        Err(_) => return false,
    }
    true
}

/// Reports that the records of an hour wait for its hashes.
fn postpone(run: &mut Run<'_>, hour: Hour) -> Result<()> {
    if run.is_stopped() {
        return Ok(());
    }
    let what = format!("hour {hour}: its hashes are not at hand, and the store was not read");
    run.record_or_fail(Error::new(ErrorKind::Unavailable, what).hint("its records wait here; run again"))
}
