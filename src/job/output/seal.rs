//! Log → parts: which hours are due, and their parts in the spool and in the ledger.
//!
//! In batches of hours: the log is read once for a batch, its parts are encoded in parallel while those of the batch before are
//! uploaded, then they are frozen in one atomic step of the ledger, which is their intent. A crash before that leaves bytes that
//! nothing names; after it, parts that the next run uploads.

use jiff::{SignedDuration, Timestamp};

use super::Output;
use super::spooled_part::SpooledBy;
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HashesRef, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::hour::tally::Certified;
use crate::hour::verdict::{Evidence, OfHour};
use crate::job::Progress;
use crate::job::recover::Recover;
use crate::job::recover::others::Others;
use crate::job::{Run, Setup};
use crate::part::gather;
use crate::part::order::{Ordered, order};
use crate::part::seal::{self, Encoded, EncodedPart, Encoder};
use crate::process::memory::give_back_idle_memory;
use crate::process::parallel::{parallel_map, threads};
use crate::state::files::step::Step;
use crate::state::status::evidence;
use crate::state::{Hours, Pending};
use crate::stop::Stop;

/// A batch of hours is full at so many records, so many bytes of their lines, or so many hours.
const BATCH_RECORDS: u64 = 32_000;
/// See [`BATCH_RECORDS`].
const BATCH_BYTES: u64 = seal::LARGE_BYTES / 2;
/// See [`BATCH_RECORDS`].
const BATCH_HOURS: usize = 256;
/// How long an hour waits for a lane that has not caught up.
const WAITS: SignedDuration = SignedDuration::from_hours(1);
/// Imports of one hour in one run, before it is left to the next.
const IMPORTS: u32 = 1000;

impl Output {
    /// Seals, uploads and prunes all that is due.
    pub(crate) fn seal_and_upload(&mut self, run: &mut Run<'_>, recover: &mut Recover) -> Result<()> {
        for _ in 0..IMPORTS {
            let due = self.due_hours(run, recover)?;
            if !due.is_empty() {
                // A large hour's order needs the memory; what is fetched later opens its hours again.
                run.buckets.clear();
                give_back_idle_memory();
            }
            if !self.seal_and_upload_all(run, recover, &due)? {
                return Ok(());
            }
            // An import may have thawed hours: they are due again.
            if !recover.any_thawed() {
                break;
            }
        }
        Ok(())
    }

    /// Seals and uploads hours: while the parts of one batch go to the store, the next is encoded. `false`: stopped.
    fn seal_and_upload_all(&mut self, run: &mut Run<'_>, recover: &mut Recover, due: &[Hour]) -> Result<bool> {
        self.ahead = EncodeAhead::default();
        run.state.hours.set_spooling(&[]);
        let sealed = self.seal_and_upload_batches(run, recover, due);
        self.ahead = EncodeAhead::default();
        run.state.hours.set_spooling(&[]);
        sealed
    }

    fn seal_and_upload_batches(&mut self, run: &mut Run<'_>, recover: &mut Recover, due: &[Hour]) -> Result<bool> {
        let mut sealed = 0;
        let mut batches = batches(run, due).into_iter();
        let mut batch = batches.next();
        while let Some(hours) = batch {
            if run.is_stopped() {
                return Ok(false);
            }
            if run.store_is_down && run.state.hours.is_crowded() {
                // The records are as safe in the log: no more parts are made that the store does not take.
                return Ok(true);
            }
            if !run.state.hours.is_spooling() {
                self.prepare(run, recover, hours)?;
            }
            let frozen = self.seal(run)?;
            sealed += hours.len() as u64;
            (run.setup.progress)(Progress::Sealed(sealed, due.len() as u64));
            batch = batches.next();
            if let Some(next) = batch.filter(|next| are_small(&run.state.hours, next.iter())) {
                self.prepare(run, recover, next)?;
            }
            self.upload(run, recover, frozen, SpooledBy::ThisRun)?;
            if run.state.hours.is_crowded() {
                run.archive_rows()?;
            }
        }
        Ok(true)
    }

    /// The hours whose unsealed records are due, oldest first.
    pub(crate) fn due_hours(&self, run: &mut Run<'_>, recover: &mut Recover) -> Result<Vec<Hour>> {
        let now = run.now();
        let mut due = Vec::new();
        // No hour is due before it is over.
        let thawed = recover.take_thawed();
        let over = |hour: &Hour| {
            self.drain
                || self.has_closed(run, *hour, now)
                || thawed.contains(hour)
                || is_large(run, run.state.hours.pending(*hour))
        };
        let hours: Vec<Hour> = run.state.hours.pending_hours().filter(over).collect();
        for hour in hours {
            if run.is_stopped() {
                break;
            }
            let row = run.state.hours.row(hour)?;
            let Some(unsealed) = run.state.hours.unsealed(&row) else { continue };
            if row.is_sealing() || self.blocked.contains(&hour) {
                continue;
            }
            let at_once = self.drain || self.drain_closed || thawed.contains(&hour) || is_large(run, Some(unsealed));
            let has_parts = run.state.hours.has_parts(&row);
            if at_once || run.setup.closing.due_as_of(now, hour, has_parts, unsealed.first_received) <= now {
                due.push(hour);
            }
        }
        Ok(due)
    }

    /// Whether an hour is over, and all of it that was received before is committed. A lane that is far behind does not wait for ever:
    /// what it still reads becomes late parts.
    fn has_closed(&self, run: &Run<'_>, hour: Hour, now: Timestamp) -> bool {
        let closes = run.setup.closing.closes_at(hour);
        let at_last = closes.checked_add(WAITS).unwrap_or(Timestamp::MAX);
        closes <= self.caught_up.unwrap_or(now) || at_last <= now
    }

    /// Makes `hours` the next to be encoded: while [`Self::put`] waits for the store, at the latest by [`Self::seal`].
    fn prepare(&mut self, run: &mut Run<'_>, recover: &mut Recover, hours: &[Hour]) -> Result<()> {
        for hour in hours {
            // Late records may wait for an hour whose hashes are no longer at hand.
            if recover.recall_or_postpone(run, *hour)? && self.meet_others(run, recover, *hour)? {
                self.ahead.rows.push(run.state.hours.row(*hour)?);
            }
        }
        // Their parts have no intent yet.
        run.state.hours.set_spooling(hours);
        Ok(())
    }

    /// Makes the parts of other lanes known before an hour's next parts are numbered. `false`: that is not possible now, and was reported.
    fn meet_others(&mut self, run: &mut Run<'_>, recover: &mut Recover, hour: Hour) -> Result<bool> {
        if run.setup.settings.range.is_all() {
            return Ok(true);
        }
        match recover.meet_others(run, hour) {
            Ok(Others::Known) => Ok(true),
            Ok(Others::Foreign(part)) => {
                let key = run.setup.layout.key(&run.setup.prefix, hour, part);
                self.report_foreign(run, hour, &key).map(|()| false)
            }
            Err(error) => {
                self.block(hour);
                run.record_store_failure(error).map(|()| false)
            }
        }
    }

    /// Encodes the prepared hours, where that is not done, and freezes them. Returns those that have parts to upload now.
    fn seal(&mut self, run: &mut Run<'_>) -> Result<Vec<Hour>> {
        let mut ahead = std::mem::take(&mut self.ahead);
        ahead.encode(&run.state.hours, run.setup);
        let mut events = Vec::new();
        let evidence = evidence::of_state(&run.state, run.setup.judging(), run.now())?;
        for (row, encoded) in ahead.rows.iter().zip(ahead.encoded.transpose()?.into_iter().flatten()) {
            // What a stop left undone is sealed by the next run.
            let Some((encoded, hashes)) = encoded? else { continue };
            let certified = certify(run, &evidence, row)?;
            events.push((row.hour, freeze(run, row.hour, encoded, hashes, certified)));
        }
        let frozen = freeze_all(run, events)?;
        run.state.hours.set_spooling(&[]);
        Ok(frozen)
    }
}

/// Whether an open hour of a lane has the lines of a whole part: it is sealed early, so that a lane that moves has not much to read again.
fn is_large(run: &Run<'_>, unsealed: Option<Pending>) -> bool {
    run.setup.is_lane() && unsealed.is_some_and(|unsealed| unsealed.bytes >= run.setup.cut.part_bytes)
}

/// Cuts the due hours into batches: many small hours, so that what is done once a batch costs little, or one large one.
fn batches<'h>(run: &Run<'_>, due: &'h [Hour]) -> Vec<&'h [Hour]> {
    let mut batches = Vec::new();
    let mut rest = due;
    while !rest.is_empty() {
        let (mut records, mut bytes) = (0, 0);
        let fits = rest.iter().take(BATCH_HOURS).take_while(|hour| {
            let pending = run.state.hours.pending(**hour);
            records += pending.map_or(0, |pending| pending.records);
            bytes += pending.map_or(0, |pending| pending.bytes);
            records <= BATCH_RECORDS && bytes <= BATCH_BYTES
        });
        let (batch, behind) = rest.split_at(fits.count().max(1));
        batches.push(batch);
        rest = behind;
    }
    batches
}

/// The event that freezes an encoded hour.
fn freeze(run: &Run<'_>, hour: Hour, encoded: Encoded, hashes: Option<HashesRef>, certified: Certified) -> Event {
    let through = encoded.through;
    let Some(hashes) = hashes else { return Event::Absorbed { through } };
    let parts = encoded.parts.into_iter().map(|part| intent(run, hour, through, part)).collect();
    Event::Frozen { through, hashes, parts, certified }
}

/// What can be certified of an hour now, with the records that are frozen.
fn certify(run: &mut Run<'_>, evidence: &Evidence, row: &HourRow) -> Result<Certified> {
    let tally = run.state.hours.tally(row.hour)?;
    let certified = Certified::new(run.setup.closing.closes_at(row.hour), tally, &[]);
    let then = HourRow { certified: Some(certified.clone()), ..row.clone() };
    let is_parked = run.state.hours.parked.holds(row.hour);
    let judged = evidence.judge(OfHour { hour: row.hour, row: Some(&then), pending: Some(0), is_parked });
    let gaps = judged.gaps.unwrap_or_default();
    Ok(Certified { witness: judged.witness, ..Certified::new(certified.closed_at, tally, &gaps) })
}

fn freeze_all(run: &mut Run<'_>, events: Vec<(Hour, Event)>) -> Result<Vec<Hour>> {
    let hours: Vec<Hour> = events.iter().map(|(hour, _)| *hour).collect();
    let parts = events.iter().map(|(_, event)| match event {
        Event::Frozen { parts, .. } => parts.len() as u64,
        _ => 0,
    });
    let parts: u64 = parts.sum();
    run.state.hours.apply(Step::HoursFrozen, events)?;
    hours.iter().for_each(|hour| run.buckets.forget(*hour));
    run.summary.sealed_parts += parts;
    run.note_status(false)?;
    Ok(hours)
}

fn intent(run: &Run<'_>, hour: Hour, through: u64, part: EncodedPart) -> PartRow {
    PartRow {
        part: part.part,
        stage: PartStage::Sealing,
        key: run.setup.layout.key(&run.setup.prefix, hour, part.part),
        identity: part.identity,
        dict: run.setup.decoder.dictionaries.clone(),
        through,
        first: part.first,
        last: part.last,
        frozen_at: run.now(),
        uploaded_at: None,
        etag: None,
        expired_at: None,
        range: run.setup.settings.range,
        spooled_as: None,
    }
}

/// Hours that are encoded while those before them are uploaded.
#[derive(Default)]
pub(crate) struct EncodeAhead {
    rows: Vec<HourRow>,
    encoded: Option<Result<Vec<Result<Option<Spooled>>>>>,
}

impl EncodeAhead {
    /// Whether there is something to encode.
    pub(crate) const fn waits(&self) -> bool {
        !self.rows.is_empty() && self.encoded.is_none()
    }

    /// Encodes the hours, where that is not done.
    pub(crate) fn encode(&mut self, state: &Hours, setup: &Setup<'_>) {
        if self.waits() {
            self.encoded = Some(encode_all(state, &self.rows, setup));
        }
    }
}

/// An hour whose parts are in the spool, and its hash array. No array: there are not parts.
type Spooled = (Encoded, Option<HashesRef>);

/// Whether hours are so small that encoding them while others are uploaded takes no more memory than a large hour alone.
fn are_small<'h>(state: &Hours, mut hours: impl Iterator<Item = &'h Hour>) -> bool {
    let is_small = |pending: Pending| pending.records <= seal::LARGE && pending.bytes <= seal::LARGE_BYTES;
    hours.all(|hour| state.pending(*hour).is_none_or(is_small))
}

/// Encodes hours; `None` for those that a stop left out.
fn encode_all(state: &Hours, rows: &[HourRow], setup: &Setup<'_>) -> Result<Vec<Result<Option<Spooled>>>> {
    let stop = setup.stop;
    let small = are_small(state, rows.iter().map(|row| &row.hour));
    let left_out = || rows.iter().map(|_| Ok(None)).collect();
    let Some(ordered) = order(state, rows, stop)? else { return Ok(left_out()) };
    let texts = if small { gather::gather(state, &ordered, stop)? } else { Some(Vec::new()) };
    let Some(texts) = texts else { return Ok(left_out()) };
    let hours: Vec<(&HourRow, Ordered, Option<Vec<u8>>)> = {
        let texts = texts.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
        rows.iter().zip(ordered).zip(texts).map(|((row, ordered), text)| (row, ordered, text)).collect()
    };
    // While one waits for the disk, another works.
    let encoder = Encoder::new(state, setup.cut, setup.codec(), stop);
    Ok(parallel_map(&hours, 2 * threads(), |(row, ordered, text)| {
        if stop.is_requested() {
            return Ok(None);
        }
        let encoded = encoder.encode(row, ordered, text.as_deref())?;
        encoded.map_or(Ok(None), |encoded| with_hashes(state, row, encoded, stop))
    }))
}

/// Writes the hash array of an hour whose parts are in the spool. `None`: the run is to stop.
fn with_hashes(state: &Hours, row: &HourRow, mut encoded: Encoded, stop: &Stop) -> Result<Option<Spooled>> {
    let new = std::mem::take(&mut encoded.hashes);
    if encoded.parts.is_empty() {
        return Ok(Some((encoded, None)));
    }
    let old = state.array(row)?;
    let hashes = state.extend_array(row, old.as_ref(), &new, stop)?;
    Ok(hashes.map(|hashes| (encoded, Some(hashes))))
}
