//! Buckets → parts → store: seal what is due, upload what is sealed, prune what has its receipt.
//!
//! In batches of hours: their parts are encoded side by side, then frozen in one atomic step of the ledger, then
//! PUT side by side, while the next batch is encoded, then receipted in one step. Before a PUT its intent is durable, before
//! a prune the receipt. Within an hour part n is tried only when the ledger has the receipts of 0 … n−1, so that two writers
//! to one prefix converge.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::parallel::{side_by_side, threads};
use super::{Job, Progress, Setup, UploadedPart};
use crate::certificate::Certified;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::lifecycle::{Event, HashesRef, HourRow, PartRow, PartStage, Step, durable_step};
use crate::load::protocol::{self, CreateOnly, Outcome, Sealed};
use crate::load::{ObjectStore, PartMeta};
use crate::seal::{self, CutRules, Encoded, EncodedPart};
use crate::state::{State, durable};

/// A batch of hours is full at so many records, or at so many hours.
const BATCH_RECORDS: u64 = 50_000;
/// See [`BATCH_RECORDS`].
const BATCH_HOURS: usize = 48;
/// Imports of one hour in one run, before it is left to the next.
const IMPORTS: u32 = 1000;

/// A part that is to be uploaded.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) hour: Hour,
    pub(super) row: PartRow,
    pub(super) body: PathBuf,
}

impl Upload {
    fn meta(&self) -> PartMeta {
        PartMeta {
            sha256: self.row.sha256.clone(),
            content_sha256: self.row.content_sha256.clone(),
            rows: self.row.rows,
            hour: self.hour.to_string(),
            dict: self.row.dict.clone(),
        }
    }

    fn put(&self, setup: &Setup<'_>, create_only: CreateOnly) -> Result<Outcome> {
        let meta = self.meta();
        let sealed = Sealed { key: &self.row.key, body: &self.body, meta: &meta, size: self.row.bytes };
        durable_step(Step::PartPut, || protocol::upload(&*setup.store, &sealed, create_only, setup.stop))
    }

    fn look(&self, store: &dyn ObjectStore) -> Result<Option<Outcome>> {
        let meta = self.meta();
        protocol::look(store, &Sealed { key: &self.row.key, body: &self.body, meta: &meta, size: self.row.bytes })
    }
}

impl Job<'_> {
    /// Uploads the parts that an earlier run left.
    pub(super) fn upload_left(&mut self) -> Result<()> {
        let left = self.state.ledger.recent().filter(|row| row.is_sealing()).map(|row| row.hour).collect();
        self.upload(left)
    }

    /// Seals, uploads and prunes all that is due.
    pub(super) fn seal_and_upload(&mut self) -> Result<()> {
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
        let batches = self.batches(due);
        let mut batches = batches.into_iter();
        let mut batch = batches.next();
        while let Some(hours) = batch {
            if self.stopped() {
                return Ok(false);
            }
            if self.ahead.hours.is_empty() {
                self.prepare(hours)?;
            }
            let frozen = self.seal()?;
            sealed += hours.len() as u64;
            (self.setup.progress)(Progress::Sealed(sealed, due.len() as u64));
            batch = batches.next();
            if let Some(next) = batch.filter(|next| self.are_small(next)) {
                self.prepare(next)?;
            }
            self.upload(frozen)?;
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

    /// Whether hours can be encoded while others are uploaded: both at once take no more memory than a large hour alone.
    fn are_small(&self, hours: &[Hour]) -> bool {
        hours.iter().all(|hour| self.pending_records(*hour) <= seal::LARGE as u64)
    }

    /// Makes `hours` the next to be encoded: by [`Self::put`] while it waits for the store, at the latest by [`Self::seal`].
    fn prepare(&mut self, hours: &[Hour]) -> Result<()> {
        for hour in hours {
            // Late records may wait for an hour whose hashes are no longer at hand.
            if self.remember(*hour)? {
                self.ahead.rows.push(self.state.ledger.row(*hour)?);
            }
        }
        self.ahead.hours = hours.to_vec();
        // Their parts have no intent yet.
        self.state.spool.filling = hours.iter().copied().collect();
        Ok(())
    }

    /// Encodes the hours that were prepared, where that is not done, and freezes them. Gives those that have parts to upload now.
    fn seal(&mut self) -> Result<Vec<Hour>> {
        let Ahead { rows, encoded, .. } = std::mem::take(&mut self.ahead);
        let encoded = match encoded {
            Some(encoded) => encoded,
            None => encode_all(&self.state, &rows, self.setup.cut),
        };
        let mut events = Vec::new();
        for (row, encoded) in rows.iter().zip(encoded) {
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
        self.fresh.extend(&hours);
        self.summary.sealed_parts += parts;
        self.note_status(false)?;
        Ok(hours)
    }

    fn intent(&self, hour: Hour, through: u64, part: EncodedPart) -> PartRow {
        PartRow {
            part: part.part,
            stage: PartStage::Sealing,
            key: self.setup.layout.key(&self.setup.prefix, hour, part.part),
            rows: part.rows,
            bytes: part.bytes,
            sha256: part.sha256,
            content_sha256: part.content_sha256,
            dict: self.setup.decoder.dictionaries.clone(),
            through,
            first: part.first,
            last: part.last,
            frozen_at: self.now(),
            uploaded_at: None,
            etag: None,
        }
    }

    /// Uploads the sealed parts of hours and prunes: in rounds of one part an hour.
    fn upload(&mut self, mut hours: Vec<Hour>) -> Result<()> {
        while !self.store_is_down && !self.stopped() {
            let mut round = Vec::new();
            hours.retain(|hour| !self.blocked.contains(hour));
            for hour in &hours {
                round.extend(self.next_upload(*hour)?);
            }
            if round.is_empty() {
                break;
            }
            self.upload_round(&round)?;
        }
        self.fresh.clear();
        self.state.prune()?;
        self.note_status(false)
    }

    /// The first part of an hour that has no receipt, its bytes checked where an earlier run wrote them.
    fn next_upload(&mut self, hour: Hour) -> Result<Option<Upload>> {
        while !self.blocked.contains(&hour) && !self.store_is_down {
            let row = self.state.ledger.row(hour)?;
            let Some(part) = row.parts.iter().find(|p| p.stage == PartStage::Sealing) else { break };
            let body = self.state.spool.path(hour, part.part);
            if self.fresh.contains(&hour) || seal::is_whole(&body, part)? {
                return Ok(Some(Upload { hour, row: part.clone(), body }));
            }
            let what = format!("hour {hour}: the bytes of part {} in {} are damaged", part.part, body.display());
            if let Some(again) = seal::encode_again(&self.state, &row, part)? {
                tracing::warn!("{what}: encoded again");
                return Ok(Some(Upload { hour, row: again, body }));
            }
            self.look_for_part(&row, part, &what)?;
        }
        Ok(None)
    }

    /// The bytes of a part cannot be made again: it may be in the store, else its hour is thawed.
    fn look_for_part(&mut self, row: &HourRow, part: &PartRow, what: &str) -> Result<()> {
        let upload = Upload { hour: row.hour, row: part.clone(), body: PathBuf::new() };
        let found = match upload.look(&*self.setup.store) {
            Ok(found) => found,
            Err(error) => {
                self.blocked.insert(row.hour);
                return self.store_failed(error);
            }
        };
        match found {
            Some(Outcome::Uploaded { etag, sha256, size, .. }) => {
                tracing::warn!("{what}: it is in the store already");
                let receipt = Event::Receipted { part: part.part, sha256, bytes: size, etag, at: self.now() };
                self.state.apply(Step::PartsReceipted, vec![(row.hour, receipt)])
            }
            Some(Outcome::Foreign { .. }) => self.meet_foreign(&upload),
            None => self.thaw(row, what),
        }
    }

    /// Unseals the records of the parts that have no receipt: the log has them, or the journal brings them back.
    fn thaw(&mut self, row: &HourRow, what: &str) -> Result<()> {
        let gone = self.state.gone_from_log(row);
        if gone > 0 && self.state.uncommitted()?.is_empty() && !self.wish.from_store {
            self.blocked.insert(row.hour);
            let what = format!("{what}, and neither the write-ahead log nor the journal holds its records");
            let hint = "restore the file from a backup, or give the records up with `etl replay --from-s3`";
            self.problems.push(Error::new(ErrorKind::State, what).hint(hint));
            return Ok(());
        }
        tracing::warn!("{what}: its records are sealed anew");
        let at_hand: u64 = row.uploaded().filter(|part| part.through > row.receipted).map(|part| part.rows).sum();
        let owed = gone.saturating_sub(at_hand);
        self.owed.insert(row.hour, self.pending_records(row.hour) + owed);
        self.state.apply(Step::HourImported, vec![(row.hour, Event::Thawed)])?;
        self.buckets.forget(row.hour);
        self.state.short.remove(&row.hour);
        self.thawed.insert(row.hour);
        Ok(())
    }

    /// Names the thawed hours of which not all records came back.
    pub(super) fn say_what_is_owed(&mut self) {
        for (hour, owed) in std::mem::take(&mut self.owed) {
            let lost = owed.saturating_sub(self.pending_records(hour));
            if lost > 0 {
                let what = format!("hour {hour}: {lost} records of its damaged parts are lost");
                let hint = "restore the state directory from a backup if there is one; this is said once";
                self.problems.push(Error::new(ErrorKind::State, what).hint(hint));
            }
        }
    }

    fn pending_records(&self, hour: Hour) -> u64 {
        self.state.wal.pending(hour).map_or(0, |pending| pending.records)
    }

    fn upload_round(&mut self, round: &[Upload]) -> Result<()> {
        let mut round = round;
        let mut create_only = self.create_only();
        if create_only == CreateOnly::Unknown {
            // The first part goes alone: with its receipt the store is asked whether it honours create-only.
            let (first, rest) = round.split_at(1.min(round.len()));
            self.put_and_receipt(first, create_only)?;
            self.probe(first)?;
            (round, create_only) = (rest, self.create_only());
        }
        self.put_and_receipt(round, create_only)
    }

    fn put_and_receipt(&mut self, round: &[Upload], create_only: CreateOnly) -> Result<()> {
        if self.store_is_down {
            return Ok(());
        }
        let (round, answers) = self.put(round, create_only);
        let answers = self.publish_manifests(&round, answers, create_only)?;
        let (mut receipts, mut in_the_way) = (Vec::new(), Vec::new());
        for (upload, answer) in round.iter().zip(answers) {
            match answer {
                Ok(Outcome::Uploaded { etag, sha256, size, .. }) => {
                    self.archive(upload);
                    let at = self.now();
                    let receipt = Event::Receipted { part: upload.row.part, sha256, bytes: size, etag, at };
                    receipts.push((upload.hour, receipt));
                    self.summary.uploaded(uploaded(upload, size));
                }
                Ok(Outcome::Foreign { .. }) => in_the_way.push(upload.clone()),
                Err(error) => self.store_failed(error)?,
            }
        }
        self.state.apply(Step::PartsReceipted, receipts)?;
        (self.setup.progress)(Progress::Uploaded(self.summary.uploaded_parts, self.summary.uploaded_bytes));
        self.note_status(false)?;
        in_the_way.iter().try_for_each(|upload| self.meet_foreign(upload))
    }

    /// Puts parts side by side, and gives those that were sent with what became of them. The first failure of the store leaves
    /// out the rest: each of them would wait as long for its answer, and the source with it. Beside it the next hours are
    /// encoded, and what has served is deleted.
    fn put(&mut self, round: &[Upload], create_only: CreateOnly) -> (Vec<Upload>, Vec<Result<Outcome>>) {
        let (setup, down) = (self.setup, AtomicBool::new(false));
        let put = |upload: &Upload| {
            let answer = (!down.load(Ordering::Relaxed)).then(|| upload.put(setup, create_only))?;
            if answer.as_ref().is_err_and(concerns_the_store) {
                down.store(true, Ordering::Relaxed);
            }
            Some(answer)
        };
        let (doomed, mut deleted) = (self.state.take_doomed(), Ok(()));
        let (state, ahead) = (&self.state, &mut self.ahead);
        let answers = std::thread::scope(|scope| {
            if !doomed.is_empty() {
                scope.spawn(|| deleted = durable::remove_each(&doomed));
            }
            if !round.is_empty() && !ahead.rows.is_empty() && ahead.encoded.is_none() {
                scope.spawn(|| ahead.encoded = Some(encode_all(state, &ahead.rows, setup.cut)));
            }
            side_by_side(round, setup.uploads, put)
        });
        self.problems.extend(deleted.err());
        round.iter().zip(answers).filter_map(|(upload, answer)| Some((upload.clone(), answer?))).unzip()
    }

    /// Keeps the originals where that is wished for. A copy: that it failed is said, and costs nothing else.
    fn archive(&mut self, upload: &Upload) {
        if let Some(archive) = &self.setup.archive {
            let kept = archive.keep(upload.hour, upload.row.part, &upload.body, &self.setup.decoder.compactor);
            self.problems.extend(kept.err());
        }
    }

    /// A foreign object has the key of a part: if it is a part of ours (a lost state directory, a second machine), it is
    /// taken over and our part thawed; else the hour waits for someone to look at it.
    fn meet_foreign(&mut self, upload: &Upload) -> Result<()> {
        let row = self.state.ledger.row(upload.hour)?;
        match self.import(&row, &[upload.row.part]) {
            Ok(true) => {
                tracing::info!("hour {}: {} was a part already: taken over", upload.hour, upload.row.key);
                self.thawed.insert(upload.hour);
                Ok(())
            }
            Ok(false) => {
                self.blocked.insert(upload.hour);
                let what = format!("hour {}: a foreign object is in the way at {}", upload.hour, upload.row.key);
                let hint = "it was left alone: move it away, then run again; the hour's records are kept";
                self.bear(Error::new(ErrorKind::Mismatch, what).hint(hint))
            }
            Err(error) => {
                self.blocked.insert(upload.hour);
                self.store_failed(error)
            }
        }
    }

    fn create_only(&self) -> CreateOnly {
        match self.state.ledger.create_only() {
            _ if self.setup.store.create_only_is_certain() => CreateOnly::Proven,
            Some(true) => CreateOnly::Proven,
            Some(false) => CreateOnly::NotHonoured,
            None => CreateOnly::Unknown,
        }
    }

    fn probe(&mut self, first: &[Upload]) -> Result<()> {
        let Some(upload) = first.first().filter(|_| !self.store_is_down) else { return Ok(()) };
        let has_receipt = |part: &PartRow| part.part == upload.row.part && part.stage == PartStage::Uploaded;
        if !self.state.ledger.row(upload.hour)?.parts.iter().any(has_receipt) {
            return Ok(());
        }
        let meta = upload.meta();
        let sealed = Sealed { key: &upload.row.key, body: &upload.body, meta: &meta, size: upload.row.bytes };
        match protocol::probe_create_only(&*self.setup.store, &sealed) {
            Ok(CreateOnly::Unknown) => Ok(()),
            Ok(answer) => {
                if answer == CreateOnly::NotHonoured {
                    tracing::warn!(
                        "{} does not honour create-only PUTs: each is preceded by a look",
                        self.setup.store.place()
                    );
                }
                self.state.ledger.record_create_only(answer == CreateOnly::Proven)
            }
            Err(error) => self.store_failed(error),
        }
    }

    /// Keeps a failure of the store. One that every other call would meet as well ends the talk with it for this run.
    pub(super) fn store_failed(&mut self, error: Error) -> Result<()> {
        self.store_is_down |= concerns_the_store(&error);
        // A lake on a disk that fails is a store that fails; only a full disk concerns the state directory too.
        if error.kind() == ErrorKind::State && !error.is_disk_full() {
            self.problems.push(error);
            return Ok(());
        }
        self.bear(error)
    }
}

/// Whether a failure is one that every other call would meet as well.
fn concerns_the_store(error: &Error) -> bool {
    error.kind() != ErrorKind::Mismatch
}

fn uploaded(upload: &Upload, bytes: u64) -> UploadedPart {
    UploadedPart {
        hour: upload.hour.to_string(),
        part: upload.row.part,
        key: upload.row.key.clone(),
        rows: upload.row.rows,
        bytes,
    }
}

/// Hours that are encoded before it is their turn to be frozen.
#[derive(Default)]
pub(super) struct Ahead {
    hours: Vec<Hour>,
    rows: Vec<HourRow>,
    encoded: Option<Vec<Result<Spooled>>>,
}

/// An hour whose parts are in the spool, and its hash array. No array: there are no parts.
type Spooled = (Encoded, Option<HashesRef>);

fn encode_all(state: &State, rows: &[HourRow], cut: CutRules) -> Vec<Result<Spooled>> {
    let is_small =
        |row: &HourRow| state.wal.pending(row.hour).is_none_or(|pending| pending.records <= seal::LARGE as u64);
    // While one waits for the disk, another works; but each large hour takes much memory.
    let threads = if rows.iter().all(is_small) { 2 * threads() } else { threads() };
    side_by_side(rows, threads, |row| encode(state, row, cut))
}

/// Encodes an hour; its parts are in the spool and its hash array is durable on return.
fn encode(state: &State, row: &HourRow, cut: CutRules) -> Result<Spooled> {
    let mut encoded = seal::encode(state, row, cut)?;
    let new = std::mem::take(&mut encoded.hashes);
    if encoded.parts.is_empty() {
        return Ok((encoded, None));
    }
    let old = state.array(row)?;
    let hashes = state.hashes.write(row.hour, row.next_hashes, old.as_ref(), &new)?;
    Ok((encoded, Some(hashes)))
}
