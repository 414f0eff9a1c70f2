//! Cutting again: the parts of an hour that the store never takes have their records unsealed, so that these become other parts.
//!
//! A part under the same number with other records is safe only when no PUT of the old one can land any more: over a store that
//! ignores the condition it would replace the new one, and its records would be in two parts. So the hour is noted first, and its
//! parts are left alone from then on; an hour later a look must find nothing under the key, and only then are they thawed, all
//! of the hour: its hashes are read back before it is sealed again, so whatever was taken meanwhile is known. `tests/suite/chain/` shows
//! that this holds, and what happens without the wait.
//!
//! Owns `recut.json`: since when which hours are left alone. A crash after the thaw leaves an hour in it that has nothing to cut: it is
//! taken out. Where the file is lost, the parts are sent again, and nothing was cut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::Recover;
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartRow, PartStage};
use crate::job::Run;
use crate::job::output::Output;
use crate::output::draft::Survives;
use crate::state::files::step::{Step, durable_step};
use crate::state::files::{checked, durable};
use crate::store::ObjectInfo;

/// After so long a PUT that got no answer does not land any more.
const DEAD_AFTER: SignedDuration = SignedDuration::from_hours(1);

type Noted = BTreeMap<Hour, Timestamp>;

fn path(dir: &Path) -> PathBuf {
    dir.join("recut.json")
}

fn noted(dir: &Path) -> Result<Noted> {
    Ok(checked::read_json(&path(dir))?.unwrap_or_default())
}

fn note(dir: &Path, noted: &Noted) -> Result<()> {
    let path = path(dir);
    if noted.is_empty() {
        return durable::remove(&path);
    }
    durable_step(Step::RecutNoted, || checked::write_json(&path, noted, Survives::Everything))
}

/// Notes an hour to be cut again, or cuts it where it has waited long enough. Says what happens next.
pub(super) fn ask(run: &mut Run<'_>, hour: Hour) -> Result<String> {
    let row = run.state.hours.row(hour)?;
    let dir = run.state.dir().to_owned();
    let mut hours = noted(&dir)?;
    if !row.is_sealing() {
        if hours.remove(&hour).is_some() {
            note(&dir, &hours)?;
        }
        return Ok(format!("hour {hour} has no part that waits for the store: there is nothing to cut again"));
    }
    let since = *hours.entry(hour).or_insert_with(|| run.now());
    note(&dir, &hours)?;
    if !is_due(since, run.now()) {
        let at = since.checked_add(DEAD_AFTER).unwrap_or(Timestamp::MAX);
        return Ok(format!(
            "hour {hour}: a PUT of its parts may still land, so they are left alone until {at:.0}; the first run after that cuts the \
             hour again"
        ));
    }
    let mut recover = Recover::new(true);
    Ok(match recut(run, &mut recover, hour)? {
        true => format!("hour {hour}: its records are unsealed; `etl replay`, or the next run, seals and uploads them"),
        false => format!("hour {hour}: nothing was cut again; `etl replay` uploads its parts"),
    })
}

fn is_due(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since) >= DEAD_AFTER
}

impl Recover {
    /// Cuts the noted hours again whose time has come, and leaves the others alone for this run.
    pub(crate) fn recut_noted(&mut self, run: &mut Run<'_>, output: &mut Output) -> Result<()> {
        for (hour, since) in noted(run.state.dir())? {
            if !is_due(since, run.now()) {
                output.block(hour);
                continue;
            }
            if let Err(error) = recut(run, self, hour) {
                output.block(hour);
                run.record_store_failure(error)?;
            }
        }
        Ok(())
    }
}

/// Unseals the parts of an hour that was left alone long enough. `false`: one of them is in the store, or there is none, or its records
/// are gone; then the hour goes on as it was.
fn recut(run: &mut Run<'_>, recover: &mut Recover, hour: Hour) -> Result<bool> {
    let row = run.state.hours.row(hour)?;
    let is_cut = row.is_sealing() && all_are_absent(run, &row)? && {
        let what = format!("hour {hour}: the store never took its parts, and they are cut again");
        recover.thaw(run, &row, &what)?
    };
    let dir = run.state.dir().to_owned();
    let mut hours = noted(&dir)?;
    hours.remove(&hour);
    note(&dir, &hours)?;
    Ok(is_cut)
}

/// Whether the store says of each part in the making that it is not there. A failed look is an error, never an absence. Where a part of
/// another lane has its key, it cannot come there any more.
fn all_are_absent(run: &Run<'_>, row: &HourRow) -> Result<bool> {
    let sealing = |part: &&PartRow| part.stage == PartStage::Sealing;
    for part in row.parts.iter().filter(sealing) {
        let is_other =
            |found: &ObjectInfo| found.meta.as_ref().is_some_and(|meta| !meta.range.overlaps(run.setup.settings.range));
        if run.setup.store.head(&part.key)?.is_some_and(|found| !is_other(&found)) {
            return Ok(false);
        }
    }
    Ok(true)
}
