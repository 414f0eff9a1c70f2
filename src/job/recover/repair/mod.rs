//! `etl repair`: the store made to hold again what the ledger says; or the loss accepted; or a part that the store never takes cut again.
//!
//! A missing part is put back create-only, and only with the content that the ledger names ([`sources`] says from where). Its
//! compressed bytes may be others; then the ledger takes their digest, as it does at an upload. A crash between the PUT and the ledger's
//! step leaves a part with the right content, whose digest the next repair takes over.

mod pool;
mod sources;

use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde::Serialize;

pub use self::sources::Place;
use self::sources::{Content, Sources};
use super::expire;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::Event;
use crate::hour::part::PartRow;
use crate::job::context::Run;
use crate::job::output::dictionaries::ensure_dictionaries;
use crate::job::{RunRequest, Setup, Summary};
use crate::state::files::durable;
use crate::state::files::step::{Step, durable_step};
use crate::state::status::history::{Counts, Recorder};
use crate::state::status::{self, Command, verified};
use crate::state::{Front, Ledger, State};
use crate::store::PartMeta;
use crate::store::once::{self, Outcome, Sealed};

/// What is to be done.
pub enum RepairRequest {
    /// Put missing parts back, from copies elsewhere too where there are any.
    PutBack {
        /// Where copies are.
        from: Option<Place>,
        /// Only look.
        dry_run: bool,
    },
    /// Give up what is missing of these hours.
    AcceptLoss(RangeInclusive<Hour>),
    /// Cut the parts of an hour again that the store never takes.
    Recut(Hour),
}

/// A part that a repair is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepairedPart {
    /// Its hour.
    pub hour: Hour,
    /// Its number within the hour.
    pub part: u32,
    /// The object's key.
    pub key: String,
    /// Records in it.
    pub rows: u64,
    /// From where it is put back, or why it is not.
    pub from: String,
}

/// What a repair did. Additions are free; what is here stays.
#[derive(Debug, Default, Serialize)]
pub struct Repaired {
    /// The version of this shape.
    pub schema: u32,
    /// Whether it only looked.
    pub dry_run: bool,
    /// Parts that are in the store again, or would be.
    pub repaired: Vec<RepairedPart>,
    /// Parts that were given up.
    pub expired: Vec<RepairedPart>,
    /// Parts that are still not as the ledger says.
    pub left: Vec<RepairedPart>,
    /// What is to be said of a recut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recut: Option<String>,
    /// What went wrong, most pressing first.
    #[serde(skip)]
    pub problems: Vec<Error>,
}

/// Repairs what `request` says, in a state directory that has a ledger.
///
/// # Errors
/// The state directory cannot be opened, or fails.
pub fn repair(setup: &Setup<'_>, request: &RepairRequest) -> Result<Repaired> {
    if Ledger::open(&setup.state_dir)?.is_none() {
        let what = format!("{} holds no ledger: there is nothing to repair by", setup.state_dir.display());
        let hint = "name the state directory that the runs use: state.dir, or --state-dir";
        return Err(Error::new(ErrorKind::State, what).hint(hint));
    }
    let state = State::open_behind(Front::open(&setup.state_dir)?, &setup.settings)?;
    let mut summary = Summary::default();
    let history = Recorder::new(&setup.state_dir, Command::Repair, setup.clock.now());
    let mut run = Run::new(setup, state, RunRequest::default(), &mut summary, &history);
    let mut done = Repaired { schema: 1, ..Repaired::default() };
    match request {
        RepairRequest::PutBack { from, dry_run } => {
            done.dry_run = *dry_run;
            put_back_all(&mut run, &mut done, from.as_ref())?;
        }
        RepairRequest::AcceptLoss(hours) => accept_losses(&mut run, &mut done, hours)?,
        RepairRequest::Recut(hour) => done.recut = Some(super::recut::ask(&mut run, *hour)?),
    }
    run.state.prune()?;
    done.problems.append(&mut run.problems);
    done.problems.sort_by_key(Error::kind);
    if !done.dry_run {
        run.note_status(true)?;
        let exit = done.problems.first().map_or(0, |worst| worst.kind().exit_code());
        let end = status::End { exit, asked: false, counts: Counts::default(), problems: &done.problems };
        status::note_end(&setup.state_dir, setup.clock.now(), &history, end, setup.status_file.as_ref())?;
    }
    Ok(done)
}

/// A part that is not in the store as the ledger says.
struct Wrong {
    hour: Hour,
    part: PartRow,
    /// What is there: the part with other bytes, or something else. `None`: nothing.
    there: Option<Outcome>,
}

fn put_back_all(run: &mut Run<'_>, done: &mut Repaired, from: Option<&Place>) -> Result<()> {
    let wrong = match find_wrong(run) {
        Ok(wrong) => wrong,
        Err(error) => return run.record_store_failure(error),
    };
    if !done.dry_run {
        run.state.hours.forget_stored_dictionaries();
    }
    let mut sources = Sources::new(from);
    for Wrong { hour, part, there } in wrong {
        if run.is_stopped() {
            let what = "stopped before all was looked at";
            return run.record_or_fail(Error::new(ErrorKind::Unavailable, what).hint("run `etl repair` again"));
        }
        let told = |from: String| RepairedPart {
            hour,
            part: part.part,
            key: part.key.clone(),
            rows: part.identity.rows,
            from,
        };
        match repair_part(run, &mut sources, hour, &part, there, done.dry_run) {
            Ok(Ok(from)) => done.repaired.push(told(from)),
            Ok(Err(why)) => done.left.push(told(why)),
            Err(error) if error.kind() == ErrorKind::State => return Err(error),
            Err(error) => {
                done.left.push(told(error.chain()));
                run.record_store_failure(error)?;
                if run.store_is_down {
                    break;
                }
            }
        }
    }
    run.problems.extend(left_over(done));
    Ok(())
}

/// The error for the parts that are left.
fn left_over(done: &Repaired) -> Option<Error> {
    let first = done.left.first()?;
    let what = match done.left.len() {
        1 => format!("hour {}: {} is not put back: {}", first.hour, first.key, first.from),
        n => format!("{n} parts are not put back, the first of hour {}: {}: {}", first.hour, first.key, first.from),
    };
    let hint = format!(
        "where there is a copy: `etl repair --from PLACE`; where it is gone for good: `etl repair --accept-loss {}`",
        first.hour
    );
    Some(Error::new(ErrorKind::Mismatch, what).hint(hint))
}

/// The parts with receipts that are not in the store, or with other bytes. One listing, and a look at what it does not explain.
fn find_wrong(run: &Run<'_>) -> Result<Vec<Wrong>> {
    let (setup, store) = (run.setup, &*run.setup.store);
    let mut objects = HashMap::new();
    store.list(&setup.layout.data_prefix(&setup.prefix), &mut |key, size| {
        objects.insert(key.to_owned(), size);
        Ok(())
    })?;
    let (mut wrong, now) = (Vec::new(), run.now());
    run.state.hours.for_each_row(&mut |row| {
        for part in row.uploaded() {
            if objects.get(&part.key) == Some(&part.identity.bytes) {
                continue;
            }
            let there = look(run, row.hour, part)?;
            if there.is_some() || !setup.has_expired(part, now) {
                wrong.push(Wrong { hour: row.hour, part: part.clone(), there });
            }
        }
        Ok(())
    })?;
    Ok(wrong)
}

fn look(run: &Run<'_>, hour: Hour, part: &PartRow) -> Result<Option<Outcome>> {
    let meta = meta_of(hour, part);
    once::look(&*run.setup.store, &Sealed { key: &part.key, body: "".as_ref(), meta: &meta })
}

fn meta_of(hour: Hour, part: &PartRow) -> PartMeta {
    let PartRow { identity, dict, range, .. } = part;
    PartMeta { identity: identity.clone(), hour: hour.to_string(), dict: dict.clone(), range: *range }
}

/// From where the part is in the store again; or why it is not.
fn repair_part(
    run: &mut Run<'_>,
    sources: &mut Sources<'_>,
    hour: Hour,
    part: &PartRow,
    there: Option<Outcome>,
    dry_run: bool,
) -> Result<std::result::Result<String, String>> {
    let (outcome, from) = match there {
        Some(Outcome::Uploaded { .. }) if dry_run => return Ok(Ok("the store: only its bytes differ".to_owned())),
        Some(same @ Outcome::Uploaded { .. }) => (same, "the store: only its bytes differed".to_owned()),
        Some(Outcome::Foreign { .. }) => {
            return Ok(Err("something else is there: move it away, then repair again".to_owned()));
        }
        None => {
            let content = match sources.find(run, hour, part)? {
                Ok(content) => content,
                Err(why) => return Ok(Err(why)),
            };
            if dry_run {
                return Ok(Ok(content.from));
            }
            match put_back(run, hour, part, &content)? {
                Some(outcome) => (outcome, content.from),
                None => return Ok(Err("its dictionaries cannot be stored".to_owned())),
            }
        }
    };
    let Outcome::Uploaded { etag, sha256, size, .. } = outcome else {
        return Ok(Err("something else came to be there meanwhile".to_owned()));
    };
    let repaired = Event::Repaired { part: part.part, sha256, bytes: size, etag };
    run.state.hours.apply(Step::PartRepaired, vec![(hour, repaired)])?;
    verified::note_mended(run.state.dir(), &|finding| finding.key == part.key);
    tracing::info!("hour {hour}: {} is put back from {from}", part.key);
    Ok(Ok(from))
}

/// PUTs the content of a part. `None`: its dictionaries are not in the store, and the reason is recorded.
fn put_back(run: &mut Run<'_>, hour: Hour, part: &PartRow, content: &Content) -> Result<Option<Outcome>> {
    if !part.dict.is_empty() && !ensure_dictionaries(run, &part.dict)? {
        return Ok(None);
    }
    let (object, identity) = run.setup.codec().encode(&content.lines).map_err(|e| {
        Error::new(ErrorKind::Bug, format!("hour {hour}: cannot encode part {}", part.part)).caused_by(e)
    })?;
    // No intent names it: what a crash leaves of it goes with the next clearing of the spool.
    let body = run.state.hours.spool_path_beside(&format!("{hour}.repair-{}", part.part));
    durable::replace(&body, &object)?;
    let meta = PartMeta { identity, ..meta_of(hour, part) };
    let sealed = Sealed { key: &part.key, body: &body, meta: &meta };
    let (store, create_only, stop) = (&*run.setup.store, run.create_only(), run.setup.stop);
    let put = durable_step(Step::PartPut, || once::upload(store, &sealed, create_only, stop));
    durable::remove(&body)?;
    put.map(Some)
}

fn accept_losses(run: &mut Run<'_>, done: &mut Repaired, hours: &RangeInclusive<Hour>) -> Result<()> {
    let mut rows = Vec::new();
    run.state.hours.for_each_row(&mut |row| {
        if hours.contains(&row.hour) && row.uploaded().next().is_some() {
            rows.push(row.clone());
        }
        Ok(())
    })?;
    let mut is_checked = false;
    for row in rows {
        let hour = row.hour;
        let given_up = missing_of(run, &row).and_then(|missing| {
            if missing.is_empty() {
                return Ok(missing);
            }
            if row.is_sealing() {
                return Err(in_the_making(hour));
            }
            // Once: giving up puts an object there.
            if !is_checked {
                expire::check_not_empty(run)?;
                is_checked = true;
            }
            expire::accept_loss(run, &row, &missing)?;
            Ok(missing)
        });
        match given_up {
            Ok(parts) => done.expired.extend(parts.into_iter().map(|part| RepairedPart {
                hour,
                part: part.part,
                rows: part.identity.rows,
                from: "given up".to_owned(),
                key: part.key,
            })),
            Err(error) => {
                run.record_store_failure(error)?;
                if run.store_is_down {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn in_the_making(hour: Hour) -> Error {
    Error::new(
        ErrorKind::Mismatch,
        format!("hour {hour} has parts that are not uploaded yet: nothing of it is given up"),
    )
    .hint(format!("`etl replay` uploads them, or `etl repair --recut {hour}` where the store never takes them"))
}

/// The parts of an hour with receipts of which the store says that they are not there.
fn missing_of(run: &Run<'_>, row: &crate::hour::lifecycle::HourRow) -> Result<Vec<PartRow>> {
    let mut missing = Vec::new();
    for part in row.uploaded() {
        if run.setup.store.head(&part.key)?.is_none() {
            missing.push(part.clone());
        }
    }
    Ok(missing)
}
