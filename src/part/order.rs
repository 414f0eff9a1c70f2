//! The total order of an hour's unsealed records: by event time, then by content hash.
//!
//! Invariant: no record is in it that is in a part already. Of a large hour the order is on the disk, in sorted runs that are merged as
//! they are read, so that it takes little memory whatever the hour's size; the runs have no name, and a crash leaves nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::error::Result;
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::record::ContentHash;
use crate::state::files::sorted_runs::{Fixed, Sorted, Sorter};
use crate::state::{Entry, Hours, LineAt};
use crate::stop::Stop;

/// Records that are in order in memory: 12 MB. More than in any hour that is not large.
pub(super) const AT_ONCE: usize = 1 << 18;

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

impl Fixed for LoggedRecord {
    const BYTES: usize = 48;

    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.seconds.to_le_bytes());
        to.extend(self.nanos.to_le_bytes());
        to.extend(self.hash);
        to.extend(self.length.to_le_bytes());
        to.extend(self.at.commit.to_le_bytes());
        to.extend(self.at.offset.to_le_bytes());
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let (seconds, rest) = bytes.split_first_chunk()?;
        let (nanos, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (commit, rest) = rest.split_first_chunk()?;
        let (offset, _) = rest.split_first_chunk()?;
        let at = LineAt { commit: u64::from_le_bytes(*commit), offset: u64::from_le_bytes(*offset) };
        let (seconds, nanos) = (i64::from_le_bytes(*seconds), i32::from_le_bytes(*nanos));
        Some(Self { seconds, nanos, hash: *hash, length: u32::from_le_bytes(*length), at })
    }
}

/// The unsealed records of an hour in their total order, without those that are in parts already.
#[derive(Debug, Default)]
pub struct Ordered {
    /// The records.
    pub(super) records: Sorted<LoggedRecord>,
    /// The newest commit among them, those in parts included.
    pub(super) through: u64,
}

/// The unsealed records of the hours of `rows`, each hour's in their total order: the log is read once for all of them. `None`: the run is to
/// stop.
pub fn order(state: &Hours, rows: &[HourRow], stop: &Stop) -> Result<Option<Vec<Ordered>>> {
    order_holding(state, rows, AT_ONCE, stop)
}

/// The same, with so many records of an hour in memory.
pub(super) fn order_holding(state: &Hours, rows: &[HourRow], most: usize, stop: &Stop) -> Result<Option<Vec<Ordered>>> {
    let mut by_hour: BTreeMap<Hour, (&HourRow, Sorter<LoggedRecord>, u64)> = BTreeMap::new();
    for row in rows {
        let mut sorter = state.sorter(most);
        let records = state.unsealed(row).map_or(0, |pending| pending.records);
        sorter.reserve(usize::try_from(records).unwrap_or(usize::MAX));
        by_hour.insert(row.hour, (row, sorter, 0));
    }
    let mut wanted: Vec<(Hour, u64)> = rows.iter().map(|row| (row.hour, row.frozen)).collect();
    wanted.sort_unstable();
    let is_whole = state.entries(&wanted, stop, &mut |hour, at, entry| {
        let Some((row, sorter, through)) = by_hour.get_mut(&hour) else { return Ok(()) };
        *through = at.commit.max(*through);
        let record = LoggedRecord::new(at, entry);
        sorter.push_or_leave_out(record, |records| leave_out_known(state, row, records))
    })?;
    if !is_whole {
        return Ok(None);
    }
    let finish = |row: &HourRow| {
        let Some((_, sorter, through)) = by_hour.remove(&row.hour) else { return Ok(Ordered::default()) };
        let records = sorter.finish(|records| leave_out_known(state, row, records))?;
        Ok(Ordered { records, through })
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
