//! Parts → store: upload what is sealed, prune what has its receipt.
//!
//! Parts are PUT side by side, then receipted in one step of the ledger. Before a PUT its intent is durable, before a prune the
//! receipt. Within an hour part n is tried only when the ledger has the receipts of 0 … n−1, so that two writers to one
//! prefix converge.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::refused::MOST_IN_A_ROW;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::job::{Job, Progress, Setup, UploadedPart};
use crate::part::seal;
use crate::process::parallel::{aside, joined, parallel_map};
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::store::once::{self, CreateOnly, How, Outcome, Sealed};
use crate::store::{ObjectStore, PartMeta};

/// Who spooled the parts that are to be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpooledBy {
    /// A moment ago: their bytes are what was written.
    ThisRun,
    /// Their bytes are read and checked.
    AnEarlierRun,
}

/// A part that is to be uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) hour: Hour,
    pub(crate) row: PartRow,
    pub(crate) body: PathBuf,
}

impl Upload {
    fn meta(&self) -> PartMeta {
        PartMeta { identity: self.row.identity.clone(), hour: self.hour.to_string(), dict: self.row.dict.clone() }
    }

    fn put(&self, setup: &Setup<'_>, create_only: CreateOnly) -> Result<Outcome> {
        let meta = self.meta();
        let sealed = Sealed { key: &self.row.key, body: &self.body, meta: &meta };
        durable_step(Step::PartPut, || once::upload(&*setup.store, &sealed, create_only, setup.stop))
    }

    fn look(&self, store: &dyn ObjectStore) -> Result<Option<Outcome>> {
        let meta = self.meta();
        once::look(store, &Sealed { key: &self.row.key, body: &self.body, meta: &meta })
    }
}

impl Job<'_> {
    /// Uploads the parts that an earlier run left.
    pub(crate) fn upload_left(&mut self) -> Result<()> {
        let left = self.state.ledger.recent().filter(|row| row.is_sealing()).map(|row| row.hour).collect();
        self.upload(left, SpooledBy::AnEarlierRun)
    }

    /// Uploads the sealed parts of hours and prunes: in rounds of one part an hour.
    pub(crate) fn upload(&mut self, mut hours: Vec<Hour>, by: SpooledBy) -> Result<()> {
        while !self.store_is_down && !self.stopped() {
            let mut round = Vec::new();
            // Where pages wait for its parts, an hour does not wait for its turn.
            hours.retain(|hour| {
                !self.blocked.contains(hour) && (self.state.short.contains(hour) || !self.refused.waits(*hour))
            });
            for hour in &hours {
                round.extend(self.next_upload(*hour, by)?);
            }
            if round.is_empty() {
                break;
            }
            self.upload_round(&round)?;
        }
        self.state.prune()?;
        self.note_status(false)
    }

    /// The first part of an hour that has no receipt, its bytes checked where an earlier run wrote them.
    fn next_upload(&mut self, hour: Hour, by: SpooledBy) -> Result<Option<Upload>> {
        while !self.blocked.contains(&hour) && !self.store_is_down {
            let row = self.state.ledger.row(hour)?;
            let Some(part) = row.parts.iter().find(|p| p.stage == PartStage::Sealing) else { break };
            let body = self.state.spool.path(hour, part.part);
            if by == SpooledBy::ThisRun || seal::is_whole(&body, part)? {
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
                return self.store_or_hour_failed(row.hour, error);
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
        if gone > 0 && !self.state.journal_may_hold_frozen()? && !self.wish.from_store {
            self.blocked.insert(row.hour);
            let what = format!("{what}, and neither the write-ahead log nor the journal holds its records");
            let hint = "restore the file from a backup, or give the records up with `etl replay --from-s3`";
            self.problems.push(Error::new(ErrorKind::State, what).hint(hint));
            return Ok(());
        }
        tracing::warn!("{what}: its records are sealed anew");
        let at_hand: u64 =
            row.uploaded().filter(|part| part.through > row.receipted).map(|part| part.identity.rows).sum();
        let owed = gone.saturating_sub(at_hand);
        self.owed.insert(row.hour, self.pending_records(row.hour) + owed);
        self.state.apply(Step::HourImported, vec![(row.hour, Event::Thawed)])?;
        self.buckets.forget(row.hour);
        self.state.short.remove(&row.hour);
        self.thawed.insert(row.hour);
        Ok(())
    }

    /// Names the thawed hours of which not all records came back.
    pub(crate) fn say_what_is_owed(&mut self) {
        for (hour, owed) in std::mem::take(&mut self.owed) {
            let lost = owed.saturating_sub(self.pending_records(hour));
            if lost > 0 {
                let what = format!("hour {hour}: {lost} records of its damaged parts are lost");
                let hint = "restore the state directory from a backup if there is one; this is said once";
                self.problems.push(Error::new(ErrorKind::State, what).hint(hint));
            }
        }
    }

    fn upload_round(&mut self, round: &[Upload]) -> Result<()> {
        let round = self.with_dictionaries(round)?;
        let mut round = &*round;
        let mut create_only = self.create_only();
        if create_only == CreateOnly::Unknown {
            // The first part goes alone: with its receipt the store is asked whether it honours create-only.
            let (first, rest) = round.split_at(1.min(round.len()));
            let condition_is_refused = self.put_and_receipt(first, create_only)?;
            self.probe(first, condition_is_refused)?;
            (round, create_only) = (rest, self.create_only());
        }
        self.put_and_receipt(round, create_only).map(drop)
    }

    /// Whether the store refused the condition, and took a part without it.
    fn put_and_receipt(&mut self, round: &[Upload], create_only: CreateOnly) -> Result<bool> {
        if self.store_is_down {
            return Ok(false);
        }
        let (round, answers) = self.put(round, create_only);
        let answers = self.publish_manifests(&round, answers, create_only)?;
        let (mut receipts, mut in_the_way, mut condition_is_refused) = (Vec::new(), Vec::new(), false);
        for (upload, answer) in round.iter().zip(answers) {
            match answer {
                Ok(Outcome::Uploaded { etag, sha256, size, how }) => {
                    condition_is_refused |= how == How::WithoutCondition;
                    self.refused.taken();
                    self.archive(upload);
                    let at = self.now();
                    let receipt = Event::Receipted { part: upload.row.part, sha256, bytes: size, etag, at };
                    receipts.push((upload.hour, receipt));
                    self.summary.uploaded(uploaded(upload, size));
                }
                Ok(Outcome::Foreign { .. }) => in_the_way.push(upload.clone()),
                Err(error) => self.store_or_hour_failed(upload.hour, error)?,
            }
        }
        self.state.apply(Step::PartsReceipted, receipts)?;
        (self.setup.progress)(Progress::Uploaded(self.summary.uploaded_parts, self.summary.uploaded_bytes));
        self.note_status(false)?;
        in_the_way.iter().try_for_each(|upload| self.meet_foreign(upload))?;
        Ok(condition_is_refused)
    }

    /// Puts parts side by side, and gives those that were sent with what became of them. The first failure of the store leaves
    /// out the rest, as many refusals in a row do: each of them would wait as long for its answer, and the source with it. Beside it the next hours are
    /// encoded, and what has served is deleted.
    fn put(&mut self, round: &[Upload], create_only: CreateOnly) -> (Vec<Upload>, Vec<Result<Outcome>>) {
        let (setup, down, refused) = (self.setup, AtomicBool::new(false), AtomicUsize::new(0));
        let put = |upload: &Upload| {
            let answer = (!down.load(Ordering::Relaxed)).then(|| upload.put(setup, create_only))?;
            let is_refusal = answer.as_ref().is_err_and(Error::concerns_one_object);
            let in_a_row = if is_refusal { refused.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
            if !is_refusal {
                refused.store(0, Ordering::Relaxed);
            }
            if in_a_row >= MOST_IN_A_ROW || (answer.is_err() && !is_refusal) {
                down.store(true, Ordering::Relaxed);
            }
            Some(answer)
        };
        let doomed = self.state.take_doomed();
        let delete = || durable::remove_each(&doomed);
        let (state, ahead) = (&self.state, &mut self.ahead);
        let (answers, deleted) = std::thread::scope(|scope| {
            let deleting = (!doomed.is_empty()).then(|| aside(scope, delete)).flatten();
            if !round.is_empty() && ahead.waits() {
                // Where no thread can be had, they are encoded when it is their turn.
                let _ = aside(scope, || ahead.encode(state, setup.cut, setup.stop));
            }
            let answers = parallel_map(round, setup.uploads, put);
            (answers, deleting.map_or_else(delete, joined))
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
                self.store_or_hour_failed(upload.hour, error)
            }
        }
    }

    pub(crate) fn create_only(&self) -> CreateOnly {
        match self.state.ledger.create_only() {
            _ if self.setup.store.create_only_is_certain() => CreateOnly::Proven,
            Some(true) => CreateOnly::Proven,
            Some(false) => CreateOnly::NotHonoured,
            None => CreateOnly::Unknown,
        }
    }

    fn probe(&mut self, first: &[Upload], condition_is_refused: bool) -> Result<()> {
        let Some(upload) = first.first().filter(|_| !self.store_is_down) else { return Ok(()) };
        let has_receipt = |part: &PartRow| part.part == upload.row.part && part.stage == PartStage::Uploaded;
        if !self.state.ledger.row(upload.hour)?.parts.iter().any(has_receipt) {
            return Ok(());
        }
        let meta = upload.meta();
        let sealed = Sealed { key: &upload.row.key, body: &upload.body, meta: &meta };
        match once::probe_create_only(&*self.setup.store, &sealed, condition_is_refused) {
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

    /// Keeps a failure of the store, met for an hour: one that is about this hour's object costs the hour alone.
    fn store_or_hour_failed(&mut self, hour: Hour, error: Error) -> Result<()> {
        if error.concerns_one_object() {
            return self.refuse(hour, error);
        }
        if error.kind() == ErrorKind::Unavailable {
            let now = self.now();
            self.refused.put_off(hour, now)?;
        }
        self.store_failed(error)
    }

    /// Keeps a failure of the store. One that every other call would meet as well ends the talk with it for this run.
    pub(crate) fn store_failed(&mut self, error: Error) -> Result<()> {
        self.store_is_down |= !error.concerns_one_object();
        // A lake on a disk that fails is a store that fails; only a full disk concerns the state directory too.
        if error.kind() == ErrorKind::State && !error.is_disk_full() {
            self.problems.push(error);
            return Ok(());
        }
        self.bear(error)
    }
}

fn uploaded(upload: &Upload, bytes: u64) -> UploadedPart {
    UploadedPart {
        hour: upload.hour.to_string(),
        part: upload.row.part,
        key: upload.row.key.clone(),
        rows: upload.row.identity.rows,
        bytes,
    }
}
