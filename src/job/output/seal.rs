//! Buckets → parts: which hours are due, and their parts in the spool and in the ledger.
//!
//! In batches of hours: their parts are encoded side by side, while those of the batch before go to the store, then frozen in
//! one atomic step of the ledger, which is their intent. A crash before that leaves bytes that nothing names; after it, parts
//! that the next run uploads.

use super::upload::SpooledBy;
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HashesRef, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::hour::tally::Certified;
use crate::job::{Job, Progress};
use crate::part::seal::{self, CutRules, Encoded, EncodedPart};
use crate::process::parallel::{parallel_map, threads};
use crate::state::State;
use crate::state::files::step::Step;
use crate::stop::Stop;

/// A batch of hours is full at so many records, or at so many hours.
const BATCH_RECORDS: u64 = 50_000;
/// See [`BATCH_RECORDS`].
const BATCH_HOURS: usize = 48;
/// Imports of one hour in one run, before it is left to the next.
const IMPORTS: u32 = 1000;

impl Job<'_> {
    /// Seals, uploads and prunes all that is due.
    pub(crate) fn seal_and_upload(&mut self) -> Result<()> {
        for _ in 0..IMPORTS {
            let due = self.due_hours()?;
            if !due.is_empty() {
                // A large hour's order needs the memory; what is fetched later looks its hours up anew.
                self.buckets.clear();
            }
            if !self.seal_and_upload_all(&due)? {
                return Ok(());
            }
            // An import may have thawed hours: they are due again.
            if self.thawed.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Seals and uploads hours: while the parts of one batch go to the store, the next is encoded. `false`: stopped.
    fn seal_and_upload_all(&mut self, due: &[Hour]) -> Result<bool> {
        let mut sealed = 0;
        self.ahead = Ahead::default();
        self.state.spool.filling.clear();
        let batches = self.batches(due);
        let mut batches = batches.into_iter();
        let mut batch = batches.next();
        while let Some(hours) = batch {
            if self.stopped() {
                return Ok(false);
            }
            if self.state.spool.filling.is_empty() {
                self.prepare(hours)?;
            }
            let frozen = self.seal()?;
            sealed += hours.len() as u64;
            (self.setup.progress)(Progress::Sealed(sealed, due.len() as u64));
            batch = batches.next();
            if let Some(next) = batch.filter(|next| are_small(&self.state, next.iter())) {
                self.prepare(next)?;
            }
            self.upload(frozen, SpooledBy::ThisRun)?;
        }
        Ok(true)
    }

    /// Cuts the due hours into batches: of many small hours, so that what is done once a batch costs little; of one that is large.
    fn batches<'h>(&self, due: &'h [Hour]) -> Vec<&'h [Hour]> {
        let mut batches = Vec::new();
        let mut rest = due;
        while !rest.is_empty() {
            let mut records = 0;
            let fits = rest.iter().take(BATCH_HOURS).take_while(|hour| {
                records += self.pending_records(**hour);
                records <= BATCH_RECORDS
            });
            let (batch, behind) = rest.split_at(fits.count().max(1));
            batches.push(batch);
            rest = behind;
        }
        batches
    }

    /// The hours whose unsealed records are due, oldest first.
    fn due_hours(&mut self) -> Result<Vec<Hour>> {
        let now = self.now();
        let mut due = Vec::new();
        for hour in self.state.wal.pending_hours().collect::<Vec<_>>() {
            let row = self.state.ledger.row(hour)?;
            let Some(unsealed) = self.state.wal.unsealed(hour, row.frozen) else { continue };
            if row.is_sealing() || self.blocked.contains(&hour) {
                continue;
            }
            let at_once = self.drain || self.thawed.contains(&hour);
            if at_once || self.setup.closing.due_as_of(now, hour, !row.parts.is_empty(), unsealed.first_received) <= now
            {
                due.push(hour);
            }
        }
        self.thawed.clear();
        Ok(due)
    }

    /// Makes `hours` the next to be encoded: by [`Self::put`] while it waits for the store, at the latest by [`Self::seal`].
    fn prepare(&mut self, hours: &[Hour]) -> Result<()> {
        for hour in hours {
            // Late records may wait for an hour whose hashes are no longer at hand.
            if self.remember(*hour)? {
                self.ahead.rows.push(self.state.ledger.row(*hour)?);
            }
        }
        // Their parts have no intent yet.
        self.state.spool.filling = hours.iter().copied().collect();
        Ok(())
    }

    /// Encodes the hours that were prepared, where that is not done, and freezes them. Gives those that have parts to upload now.
    fn seal(&mut self) -> Result<Vec<Hour>> {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.encode(&self.state, self.setup.cut, self.setup.stop);
        if self.stopped() {
            // They are encoded by the next run: nothing names what is in the spool.
            self.state.spool.filling.clear();
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        for (row, encoded) in ahead.rows.iter().zip(ahead.encoded.into_iter().flatten()) {
            let (encoded, hashes) = encoded?;
            let certified = self.certify(row.hour)?;
            events.push((row.hour, self.freeze(row.hour, encoded, hashes, certified)));
        }
        let frozen = self.freeze_all(events)?;
        self.state.spool.filling.clear();
        Ok(frozen)
    }

    /// What freezes an encoded hour.
    fn freeze(&self, hour: Hour, encoded: Encoded, hashes: Option<HashesRef>, certified: Certified) -> Event {
        let through = encoded.through;
        let Some(hashes) = hashes else { return Event::Absorbed { through } };
        let parts = encoded.parts.into_iter().map(|part| self.intent(hour, through, part)).collect();
        Event::Frozen { through, hashes, parts, certified }
    }

    /// What can be certified of an hour now.
    fn certify(&mut self, hour: Hour) -> Result<Certified> {
        let tally = self.tally(hour)?;
        let gaps = if tally.ids.is_some() { self.state.wal.seen().gaps() } else { Vec::new() };
        Ok(Certified::new(self.setup.closing.closes_at(hour), tally, &gaps))
    }

    fn freeze_all(&mut self, events: Vec<(Hour, Event)>) -> Result<Vec<Hour>> {
        let hours: Vec<Hour> = events.iter().map(|(hour, _)| *hour).collect();
        let parts = events.iter().map(|(_, event)| match event {
            Event::Frozen { parts, .. } => parts.len() as u64,
            _ => 0,
        });
        let parts: u64 = parts.sum();
        self.state.apply(Step::HoursFrozen, events)?;
        hours.iter().for_each(|hour| self.buckets.forget(*hour));
        self.summary.sealed_parts += parts;
        self.note_status(false)?;
        Ok(hours)
    }

    fn intent(&self, hour: Hour, through: u64, part: EncodedPart) -> PartRow {
        PartRow {
            part: part.part,
            stage: PartStage::Sealing,
            key: self.setup.layout.key(&self.setup.prefix, hour, part.part),
            identity: part.identity,
            dict: self.setup.decoder.dictionaries.clone(),
            through,
            first: part.first,
            last: part.last,
            frozen_at: self.now(),
            uploaded_at: None,
            etag: None,
        }
    }

    pub(crate) fn pending_records(&self, hour: Hour) -> u64 {
        self.state.wal.pending(hour).map_or(0, |pending| pending.records)
    }
}

/// Hours that are encoded before it is their turn to be frozen.
#[derive(Default)]
pub(crate) struct Ahead {
    rows: Vec<HourRow>,
    encoded: Option<Vec<Result<Spooled>>>,
}

impl Ahead {
    /// Whether there is something to encode.
    pub(crate) const fn waits(&self) -> bool {
        !self.rows.is_empty() && self.encoded.is_none()
    }

    /// Encodes the hours, where that is not done.
    pub(crate) fn encode(&mut self, state: &State, cut: CutRules, stop: &Stop) {
        if self.waits() {
            self.encoded = Some(encode_all(state, &self.rows, cut, stop));
        }
    }
}

/// An hour whose parts are in the spool, and its hash array. No array: there are no parts.
type Spooled = (Encoded, Option<HashesRef>);

/// Whether hours can be encoded while others are uploaded, several a processor: that takes no more memory than a large hour alone.
fn are_small<'h>(state: &State, mut hours: impl Iterator<Item = &'h Hour>) -> bool {
    hours.all(|hour| state.wal.pending(*hour).is_none_or(|pending| pending.records <= seal::LARGE as u64))
}

fn encode_all(state: &State, rows: &[HourRow], cut: CutRules, stop: &Stop) -> Vec<Result<Spooled>> {
    // While one waits for the disk, another works; but each large hour takes much memory.
    let threads = if are_small(state, rows.iter().map(|row| &row.hour)) { 2 * threads() } else { threads() };
    parallel_map(rows, threads, |row| encode(state, row, cut, stop))
}

/// Encodes an hour: its parts are in the spool, and its hash array is written, on return.
fn encode(state: &State, row: &HourRow, cut: CutRules, stop: &Stop) -> Result<Spooled> {
    let mut encoded = seal::encode_until(state, row, cut, stop)?;
    let new = std::mem::take(&mut encoded.hashes);
    if encoded.parts.is_empty() {
        return Ok((encoded, None));
    }
    let old = state.array(row)?;
    let hashes = state.hashes.write(row.hour, row.next_hashes, old.as_ref(), &new)?;
    Ok((encoded, Some(hashes)))
}
