//! Every hour that has a part, for `etl status --all`: `status.json` has the newest only.
//!
//! Reads the ledger's files, which are replaced as a whole, and takes no lock.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Status, sealed_hour};
use crate::error::Result;
use crate::hour::Hour;
use crate::state::Ledger;

/// Adds the hours of the ledger that a status does not list.
pub(crate) fn add(dir: &Path, status: &mut Status) -> Result<()> {
    // Of an hour with work that is left out, the ledger would show a part of the truth.
    if status.hours_left_out > 0 {
        return Ok(());
    }
    let Some(ledger) = Ledger::open(dir)? else { return Ok(()) };
    let listed: BTreeSet<Hour> = status.hours.iter().map(|hour| hour.hour).collect();
    ledger.for_each(&mut |row| {
        let row = row.within(ledger.settings().range);
        if !row.parts.is_empty() && !listed.contains(&row.hour) {
            status.hours.push(sealed_hour(&row));
        }
        Ok(())
    })?;
    status.hours.sort_by_key(|hour| hour.hour);
    Ok(())
}
