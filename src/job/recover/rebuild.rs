//! `etl replay --from-s3`: ledger and hashes from the store, where they are lost or damaged.
//!
//! Every part below `data/` that the ledger does not know is read back and taken over, in the order of the numbers, hour by
//! hour; each hour is one atomic step, so a crash leaves the hours done so far. What the log and the journal still hold is then
//! sealed as usual: records that are in a part already are dropped, the others become the next part.

use std::collections::{BTreeMap, BTreeSet};

use super::import::import;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::job::Run;
use crate::job::output::dictionaries::store_missing_dictionaries;
use crate::job::output::{Output, guard};
use crate::state::HashArray;

/// Hours after which old ledger rows are moved to their days.
const ARCHIVE_EVERY: usize = 64;

/// Takes over every part in the store that the ledger does not know.
pub(crate) fn rebuild_from_store(run: &mut Run<'_>, output: &mut Output) -> Result<()> {
    run.state.hours.forget_stored_dictionaries();
    // Parts that are made under other settings would all look like strangers.
    if let Err(error) = guard::check(run) {
        return run.record_store_failure(error);
    }
    let mut stored: BTreeMap<Hour, BTreeSet<u32>> = BTreeMap::new();
    let (layout, prefix) = (&run.setup.layout, &run.setup.prefix);
    let listed = run.setup.store.list(&layout.data_prefix(prefix), &mut |key, _| {
        if let Some((hour, part)) = layout.parse_key(prefix, key) {
            stored.entry(hour).or_default().insert(part);
        }
        Ok(())
    });
    let listed = listed.and_then(|()| run.expired.look_for_all(&*run.setup.store, prefix, layout));
    if let Err(error) = listed {
        return run.record_store_failure(error);
    }
    for (hour, part) in run.expired.iter() {
        stored.entry(hour).or_default().insert(part);
    }
    for (done, (hour, numbers)) in stored.into_iter().enumerate() {
        if run.is_stopped() || run.store_is_down {
            break;
        }
        rebuild_hour(run, output, hour, &numbers)?;
        if done % ARCHIVE_EVERY == ARCHIVE_EVERY - 1 {
            run.state.archive_rows(&mut |_| ())?;
        }
    }
    run.state.hours.recount()?;
    store_missing_dictionaries(run)
}

fn rebuild_hour(run: &mut Run<'_>, output: &mut Output, hour: Hour, numbers: &BTreeSet<u32>) -> Result<()> {
    let row = run.state.hours.row(hour)?;
    // A part in the making meets the one in the store when it is uploaded.
    if row.is_sealing() {
        return Ok(());
    }
    let known = u32::try_from(row.parts.len()).unwrap_or(u32::MAX);
    let next: Vec<u32> = (known..).take_while(|number| numbers.contains(number)).collect();
    let beyond = numbers.iter().find(|number| **number >= known && !next.contains(number));
    if let Some(beyond) = beyond {
        let what = format!("hour {hour}: the store has part {beyond}, but not all before it");
        run.record_or_fail(
            Error::new(ErrorKind::Mismatch, what).hint("look for the missing part, or move this one away"),
        )?;
    }
    if next.is_empty() && has_sound_hashes(run, &row) {
        return Ok(());
    }
    match import(run, &row, &next) {
        Ok(true) => Ok(()),
        Ok(false) => {
            output.block(hour);
            let what = format!("hour {hour}: an object in the store has a part's name and is none");
            run.record_or_fail(Error::new(ErrorKind::Mismatch, what).hint("`etl verify` names it: look at it"))
        }
        Err(error) => run.record_store_failure(error),
    }
}

fn has_sound_hashes(run: &Run<'_>, row: &HourRow) -> bool {
    let read = |array: HashArray| array.for_each(&mut |_| Ok(()));
    run.state.hours.array(row).and_then(|array| array.map_or(Ok(()), read)).is_ok()
}
