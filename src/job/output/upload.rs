//! Parts → store: upload what is sealed, prune what has its receipt.
//!
//! Parts are PUT in parallel, then receipted in one step of the ledger. Before a PUT its intent is durable, before a prune the
//! receipt. Within an hour part n is tried only when the ledger has the receipts of 0 … n−1, so that two writers to one
//! prefix converge.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::Output;
use super::guard::ensure_settings;
use super::manifest::publish_manifests;
use super::refused::MOST_IN_A_ROW;
use super::spooled_part::{SpooledBy, Upload};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::job::recover::Recover;
use crate::job::recover::import::import;
use crate::job::recover::others::Others;
use crate::job::{Progress, Run, Setup, UploadedPart};
use crate::part::seal;
use crate::process::parallel::{aside, joined, parallel_map};
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::store::once::{self, CreateOnly, How, Outcome, Sealed};

impl Output {
    /// Uploads the sealed parts of hours and prunes: in rounds of one part an hour.
    pub(crate) fn upload(
        &mut self,
        run: &mut Run<'_>,
        recover: &mut Recover,
        mut hours: Vec<Hour>,
        by: SpooledBy,
    ) -> Result<()> {
        while !run.store_is_down && !run.is_stopped() {
            let mut round = Vec::new();
            // Where pages wait for its parts, an hour does not wait for its turn.
            hours.retain(|hour| {
                !self.blocked.contains(hour) && (run.state.hours.misses_records(*hour) || !self.refused.waits(*hour))
            });
            if !know_what_is_gone(run, &hours)? {
                break;
            }
            for hour in &hours {
                round.extend(self.next_upload(run, recover, *hour, by)?);
            }
            if round.is_empty() || !ensure_settings(run)? {
                break;
            }
            self.upload_round(run, recover, &round)?;
        }
        run.state.prune()?;
        run.note_status(false)
    }

    /// The first part of an hour that has no receipt, its bytes checked where an earlier run wrote them.
    fn next_upload(
        &mut self,
        run: &mut Run<'_>,
        recover: &mut Recover,
        hour: Hour,
        by: SpooledBy,
    ) -> Result<Option<Upload>> {
        while !self.blocked.contains(&hour) && !run.store_is_down {
            let row = run.state.hours.row(hour)?;
            let Some(part) = row.parts.iter().find(|p| p.stage == PartStage::Sealing) else { break };
            let body = run.state.hours.spool_path(hour, part.spool_number());
            if run.expired.contains(hour, part.part) {
                // Another machine had such a part, and it is gone for good: its number is taken.
                self.meet_foreign(run, recover, &Upload { hour, row: part.clone(), body })?;
                continue;
            }
            if by == SpooledBy::ThisRun || seal::is_whole(&body, part)? {
                return Ok(Some(Upload { hour, row: part.clone(), body }));
            }
            let what = format!("hour {hour}: the bytes of part {} in {} are damaged", part.part, body.display());
            if let Some(again) = seal::encode_again(&run.state.hours, &run.setup.codec(), &row, part)? {
                tracing::warn!("{what}: encoded again");
                return Ok(Some(Upload { hour, row: again, body }));
            }
            self.look_for_part(run, recover, &row, part, &what)?;
        }
        Ok(None)
    }

    /// The bytes of a part cannot be made again: it may be in the store already, else its hour is thawed.
    fn look_for_part(
        &mut self,
        run: &mut Run<'_>,
        recover: &mut Recover,
        row: &HourRow,
        part: &PartRow,
        what: &str,
    ) -> Result<()> {
        let upload = Upload { hour: row.hour, row: part.clone(), body: PathBuf::new() };
        let found = match upload.look(&*run.setup.store) {
            Ok(found) => found,
            Err(error) => {
                self.block(row.hour);
                return self.record_upload_failure(run, row.hour, error);
            }
        };
        match found {
            Some(Outcome::Uploaded { etag, sha256, size, .. }) => {
                tracing::warn!("{what}: it is in the store already");
                let receipt = Event::Receipted { part: part.part, sha256, bytes: size, etag, at: run.now() };
                run.state.hours.apply(Step::PartsReceipted, vec![(row.hour, receipt)])
            }
            Some(Outcome::Foreign { .. }) => self.meet_foreign(run, recover, &upload),
            None => {
                if !recover.thaw(run, row, what)? {
                    self.block(row.hour);
                }
                Ok(())
            }
        }
    }

    fn upload_round(&mut self, run: &mut Run<'_>, recover: &mut Recover, round: &[Upload]) -> Result<()> {
        let round = self.with_dictionaries(run, round)?;
        let mut round = &*round;
        let mut create_only = run.create_only();
        if create_only == CreateOnly::Unknown {
            // The first part goes alone: with its receipt the store is asked whether it honours create-only.
            let (first, rest) = round.split_at(1.min(round.len()));
            let condition_is_refused = self.put_and_receipt(run, recover, first, create_only)?;
            probe(run, first, condition_is_refused)?;
            (round, create_only) = (rest, run.create_only());
        }
        self.put_and_receipt(run, recover, round, create_only).map(drop)
    }

    /// Whether the store refused the condition, and took a part without it.
    fn put_and_receipt(
        &mut self,
        run: &mut Run<'_>,
        recover: &mut Recover,
        round: &[Upload],
        create_only: CreateOnly,
    ) -> Result<bool> {
        if run.store_is_down {
            return Ok(false);
        }
        let (round, answers) = self.put(run, round, create_only);
        let answers = publish_manifests(run, &round, answers, create_only)?;
        let (mut receipts, mut created, mut in_the_way) = (Vec::new(), Vec::new(), Vec::new());
        let mut condition_is_refused = false;
        for (upload, answer) in round.iter().zip(answers) {
            match answer {
                Ok(Outcome::Uploaded { etag, sha256, size, how }) => {
                    condition_is_refused |= how == How::WithoutCondition;
                    self.refused.taken();
                    archive(run, upload);
                    let at = run.now();
                    let receipt = Event::Receipted { part: upload.row.part, sha256, bytes: size, etag, at };
                    receipts.push((upload.hour, receipt));
                    created.extend((how == How::Now).then_some(upload.hour));
                    run.summary.uploaded(uploaded(upload, size));
                }
                Ok(Outcome::Foreign { .. }) => in_the_way.push(upload.clone()),
                Err(error) => self.record_upload_failure(run, upload.hour, error)?,
            }
        }
        run.state.hours.apply(Step::PartsReceipted, receipts)?;
        if run.setup.is_lane() {
            for hour in created {
                recover.neighbours.tell(run.state.hours.row(hour)?);
            }
        }
        (run.setup.progress)(Progress::Uploaded(run.summary.uploaded_parts, run.summary.uploaded_bytes));
        run.note_status(false)?;
        in_the_way.iter().try_for_each(|upload| self.meet_foreign(run, recover, upload))?;
        Ok(condition_is_refused)
    }

    /// PUTs parts in parallel, and returns those that were sent with their answers. The first failure of the store leaves the rest
    /// out, as many refusals in a row do: each of them would wait as long for its answer, and the source with it. Meanwhile the
    /// next hours are encoded, and files that are no longer needed are deleted.
    fn put(
        &mut self,
        run: &mut Run<'_>,
        round: &[Upload],
        create_only: CreateOnly,
    ) -> (Vec<Upload>, Vec<Result<Outcome>>) {
        let (setup, down, refused) = (run.setup, AtomicBool::new(false), AtomicUsize::new(0));
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
        let pending_deletes = run.state.take_pending_deletes();
        let delete = || durable::remove_each(&pending_deletes);
        let (hours, ahead) = (&run.state.hours, &mut self.ahead);
        let (answers, deleted) = std::thread::scope(|scope| {
            let deleting = (!pending_deletes.is_empty()).then(|| aside(scope, delete)).flatten();
            if !round.is_empty() && ahead.waits() {
                // Without a thread, they are encoded when it is their turn.
                let _ = aside(scope, || ahead.encode(hours, setup));
            }
            let answers = parallel_map(round, setup.uploads, put);
            (answers, deleting.map_or_else(delete, joined))
        });
        run.problems.extend(deleted.err());
        round.iter().zip(answers).filter_map(|(upload, answer)| Some((upload.clone(), answer?))).unzip()
    }

    /// Another object has the key of a part. If it is a part of another lane, ours goes on to the next free number; if it is one that may
    /// hold our records (a lost state directory, a second machine), it is taken over and our part thawed; else the hour waits for someone
    /// to look at it.
    fn meet_foreign(&mut self, run: &mut Run<'_>, recover: &mut Recover, upload: &Upload) -> Result<()> {
        let row = run.state.hours.row(upload.hour)?;
        let taken_over = match run.setup.settings.range.is_all() {
            true => import(run, &row, &[upload.row.part]).inspect(|is_ours| {
                if *is_ours {
                    tracing::info!("hour {}: {} was a part already: taken over", upload.hour, upload.row.key);
                    recover.note_thawed(upload.hour);
                }
            }),
            false => recover.pass_others(run, &row, &upload.row).map(|others| others == Others::Known),
        };
        match taken_over {
            Ok(true) => Ok(()),
            Ok(false) => self.report_foreign(run, upload.hour, &upload.row.key),
            Err(error) => {
                self.block(upload.hour);
                self.record_upload_failure(run, upload.hour, error)
            }
        }
    }

    /// Reports what has a part's key and is none of ours: its hour waits.
    pub(super) fn report_foreign(&mut self, run: &mut Run<'_>, hour: Hour, key: &str) -> Result<()> {
        self.block(hour);
        let what = format!("hour {hour}: a foreign object is in the way at {key}");
        let hint = "it was left alone: move it away, then run again; the hour's records are kept";
        run.record_or_fail(Error::new(ErrorKind::Mismatch, what).hint(hint))
    }

    /// Records a failure of the store at a part of an hour: one that concerns this part alone costs only its hour.
    fn record_upload_failure(&mut self, run: &mut Run<'_>, hour: Hour, error: Error) -> Result<()> {
        if error.concerns_one_object() {
            return self.refuse(run, hour, error);
        }
        if error.kind() == ErrorKind::Unavailable {
            let now = run.now();
            self.refused.put_off(hour, now)?;
        }
        run.record_store_failure(error)
    }
}

/// Learns which numbers of parts of these hours are taken by parts that are gone for good. `false`: the store did not say.
fn know_what_is_gone(run: &mut Run<'_>, hours: &[Hour]) -> Result<bool> {
    let Setup { store, prefix, layout, .. } = run.setup;
    match run.expired.look(&**store, prefix, layout, hours.iter().copied()) {
        Ok(()) => Ok(true),
        // Without the right to list, parts are sent all the same. Whether it is more than that right, their PUTs tell.
        Err(error) if error.kind() == ErrorKind::Credentials => {
            run.expired.give_up();
            tracing::warn!("which parts are gone for good is not known: {}", error.chain());
            Ok(true)
        }
        Err(error) => run.record_store_failure(error).map(|()| false),
    }
}

/// Keeps the originals where that is configured. A copy: a failure is reported, and costs nothing else.
fn archive(run: &mut Run<'_>, upload: &Upload) {
    if let Some(archive) = &run.setup.archive {
        let kept = archive.keep(upload.hour, &upload.row, &upload.body, &run.setup.decoder.compactor);
        run.problems.extend(kept.err());
    }
}

fn probe(run: &mut Run<'_>, first: &[Upload], condition_is_refused: bool) -> Result<()> {
    let Some(upload) = first.first().filter(|_| !run.store_is_down) else { return Ok(()) };
    let has_receipt = |part: &PartRow| part.part == upload.row.part && part.stage == PartStage::Uploaded;
    if !run.state.hours.row(upload.hour)?.parts.iter().any(has_receipt) {
        return Ok(());
    }
    let meta = upload.meta();
    let sealed = Sealed { key: &upload.row.key, body: &upload.body, meta: &meta };
    match once::probe_create_only(&*run.setup.store, &sealed, condition_is_refused) {
        Ok(CreateOnly::Unknown) => Ok(()),
        Ok(answer) => {
            if answer == CreateOnly::NotHonoured {
                tracing::warn!(
                    "{} does not honour create-only PUTs: each is preceded by a look",
                    run.setup.store.place()
                );
            }
            run.state.hours.record_create_only(answer == CreateOnly::Proven)
        }
        Err(error) => run.record_store_failure(error),
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
