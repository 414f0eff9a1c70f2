//! The total order of an hour's unsealed records: by event time, then by content hash.
//!
//! Invariant: no record is in it that is in a part already. Reads only; a crash leaves nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::error::Result;
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::record::ContentHash;
use crate::state::{Entry, Hours, LineAt};
use crate::stop::Stop;

/// A record in the total order, and where its line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoggedRecord {
    seconds: i64,
    nanos: i32,
    pub(super) hash: [u8; 16],
    pub(super) length: u32,
    pub(super) at: LineAt,
}

impl LoggedRecord {
    pub(super) const fn new(at: LineAt, entry: Entry) -> Self {
        Self { seconds: entry.seconds, nanos: entry.nanos, hash: entry.hash, length: entry.length, at }
    }

    /// Bytes of its line.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    pub(super) fn time(&self) -> Timestamp {
        Timestamp::new(self.seconds, self.nanos).unwrap_or(Timestamp::MIN)
    }
}

/// The unsealed records of an hour in their total order, without those that are in parts already.
#[derive(Debug, Default)]
pub struct Ordered {
    /// The records.
    pub records: Vec<LoggedRecord>,
    /// The newest commit among them, those in parts included.
    pub through: u64,
}

/// The unsealed records of the hours of `rows`, each hour's in their total order: the log is read once for all of them. `None`: the run is to
/// stop.
pub fn order(state: &Hours, rows: &[HourRow], stop: &Stop) -> Result<Option<Vec<Ordered>>> {
    let mut by_hour: BTreeMap<Hour, Ordered> = BTreeMap::new();
    for row in rows {
        let records = state.unsealed(row).map_or(0, |pending| pending.records);
        let records = Vec::with_capacity(usize::try_from(records).unwrap_or(0));
        by_hour.insert(row.hour, Ordered { records, through: 0 });
    }
    let mut wanted: Vec<(Hour, u64)> = rows.iter().map(|row| (row.hour, row.frozen)).collect();
    wanted.sort_unstable();
    let is_whole = state.entries(&wanted, stop, &mut |hour, at, entry| {
        if let Some(ordered) = by_hour.get_mut(&hour) {
            ordered.through = ordered.through.max(at.commit);
            ordered.records.push(LoggedRecord::new(at, entry));
        }
        Ok(())
    })?;
    if !is_whole {
        return Ok(None);
    }
    let finish = |row: &HourRow| {
        let mut ordered = by_hour.remove(&row.hour).unwrap_or_default();
        leave_out_known(state, row, &mut ordered.records)?;
        ordered.records.sort_unstable();
        Ok(ordered)
    };
    rows.iter().map(finish).collect::<Result<_>>().map(Some)
}

/// Only after an import can an unsealed record be in a part already.
fn leave_out_known(state: &Hours, row: &HourRow, records: &mut Vec<LoggedRecord>) -> Result<()> {
    let Some(mut array) = state.array(row)? else { return Ok(()) };
    records.sort_unstable_by_key(|record| record.hash);
    let hashes: Vec<ContentHash> = records.iter().map(|record| ContentHash(record.hash)).collect();
    let mut known = BTreeSet::new();
    array.find(&hashes, &mut |hash| {
        known.insert(hash.0);
    })?;
    records.retain(|record| !known.contains(&record.hash));
    Ok(())
}
