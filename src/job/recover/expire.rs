//! Parts whose objects are gone for good: what is lost is said in the store first, then in the ledger.
//!
//! By a person (`etl repair --accept-loss`), or by the lifecycle rule that `load.expire_after` declares. The object that says so is
//! created, and only created, before the ledger's step; a crash in between leaves it, and the next giving up finds it. A store
//! in which there is nothing at all is not believed: a folder that is not mounted looks the same.

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::job::Run;
use crate::job::output::document::create_document;
use crate::state::files::step::{Step, durable_step};
use crate::state::status::verified;
use crate::store::expired::Marker;
use crate::store::once::Outcome;

/// The row of a part that is not in the store, if that is how it should be: somebody gave it up, or the lifecycle rule has deleted it.
///
/// # Errors
/// `Mismatch`: it is missing. Others: the store did not answer.
pub(super) fn gone_for_good(run: &Run<'_>, hour: Hour, part: &PartRow, now: Timestamp) -> Result<PartRow> {
    let (setup, given_up) = (run.setup, |at| given_up(part, at));
    let key = setup.layout.expired_key(&setup.prefix, hour, part.part);
    let marker = Marker::read(&*setup.store, &key, hour, part.part)?;
    if marker.is_some_and(|marker| marker.is_of(&part.identity)) {
        return Ok(given_up(now));
    }
    if !setup.has_expired(part, now) {
        return Err(missing(hour, part));
    }
    check_not_empty(run)?;
    mark(run, hour, part, now)?;
    tracing::warn!("hour {hour}: {} is gone, as load.expire_after says", part.key);
    Ok(given_up(now))
}

fn given_up(part: &PartRow, at: Timestamp) -> PartRow {
    PartRow { stage: PartStage::Expired, expired_at: Some(at), ..part.clone() }
}

fn missing(hour: Hour, part: &PartRow) -> Error {
    Error::new(
        ErrorKind::Mismatch,
        format!("hour {hour}: there is nothing where part {} should be: {}", part.part, part.key),
    )
    .hint(format!("`etl repair` puts it back; where it is gone for good, `etl repair --accept-loss {hour}` says so"))
}

/// Gives up the `missing` parts of the hour of `row`. The caller has looked: the store says that they are not there, and it is not empty.
pub(super) fn accept_loss(run: &mut Run<'_>, row: &HourRow, missing: &[PartRow]) -> Result<()> {
    let (hour, at) = (row.hour, run.now());
    for part in missing {
        mark(run, hour, part, at)?;
    }
    let expired = Event::Expired { parts: missing.iter().map(|part| part.part).collect(), at };
    run.state.hours.apply(Step::LossAccepted, vec![(hour, expired)])?;
    run.buckets.forget(hour);
    // Its parked records need not wait for their hour's turn.
    run.state.hours.parked.forget_tried(hour)?;
    verified::note_mended(run.state.dir(), &|finding| missing.iter().any(|part| part.key == finding.key));
    Ok(())
}

/// Says in the store that a part is gone for good.
fn mark(run: &Run<'_>, hour: Hour, part: &PartRow, at: Timestamp) -> Result<()> {
    let setup = run.setup;
    let bytes = Marker::new(hour, part, at).to_bytes()?;
    let (key, named) = (setup.layout.expired_key(&setup.prefix, hour, part.part), hour.to_string());
    let put = durable_step(Step::LossMarked, || create_document(run, &key, &bytes, (&named, &part.dict)))?;
    // Given up before, at another time: the same part.
    if let Outcome::Foreign { .. } = put
        && !Marker::read(&*setup.store, &key, hour, part.part)?.is_some_and(|marker| marker.is_of(&part.identity))
    {
        let what = format!("hour {hour}: the object {key} is about another part {}", part.part);
        let hint = "it was left alone: look at it, and at who else writes there";
        return Err(Error::new(ErrorKind::Mismatch, what).hint(hint));
    }
    Ok(())
}

/// Refuses a store in which there is nothing at all: no part of it is given up.
pub(super) fn check_not_empty(run: &Run<'_>) -> Result<()> {
    let mut any = false;
    let listed = run.setup.store.list(&run.setup.prefix, &mut |_, _| {
        any = true;
        Err(Error::new(ErrorKind::Mismatch, "one is enough"))
    });
    if any {
        return Ok(());
    }
    listed?;
    let what = format!("there is nothing at all in {}: no part of it is given up", run.setup.store.place());
    let hint = "is it mounted, and is load.to right? One object there is enough";
    Err(Error::new(ErrorKind::Mismatch, what).hint(hint))
}
