//! Which pages may go: those of which every record is in a part with a receipt.
//!
//! A checkpoint is a pair: up to where pages were routed, and where the lanes ended after that. Everything that came of those pages lies
//! below these ends; so when every lane has released them, the pages below may be deleted. Invariant: nothing is deleted but below a
//! checkpoint that every lane has passed. In memory: after a crash a new checkpoint is made, and pages go later.

use std::collections::BTreeMap;

use super::kafka::{Admin, Connection};
use super::names::Names;
use super::{report, status_log};
use crate::error::Result;

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

/// A checkpoint on its way.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    at_work: Option<(Offsets, Offsets)>,
}

impl Checkpoint {
    /// Deletes pages below the checkpoint, if every lane has passed it, and begins the next one.
    ///
    /// # Errors
    /// `State`: a lane has lost what was in it. Its records are in pages alone.
    pub(super) fn advance(
        &mut self,
        connection: &Connection,
        admin: &Admin,
        (names, epoch): (&Names, u32),
    ) -> Result<()> {
        let (pages, lanes) = (names.pages(), names.lanes(epoch));
        check_are_whole(connection, admin, &lanes, epoch)?;
        let released = admin.committed(&names.own_group(epoch), &lanes)?;
        if let Some((routed, ends)) = &self.at_work {
            if !has_passed(&released, ends) {
                return Ok(());
            }
            let below = what_is_left(routed, &admin.ends(&pages)?);
            admin.delete_records(&pages, &below)?;
        }
        // In this order: what is routed by now has its records in the lanes already.
        let routed = admin.committed(&names.route_group(), &pages)?;
        let ends = admin.ends(&lanes)?.into_iter().map(|(lane, (_, end))| (lane, end)).collect();
        self.at_work = Some((routed, ends));
        Ok(())
    }
}

/// A lane that is empty because its topic was made again has not passed anything.
fn check_are_whole(connection: &Connection, admin: &Admin, lanes: &str, epoch: u32) -> Result<()> {
    // In this order: owners go on meanwhile.
    let known = report::read_up_to(&status_log::read_all(connection)?, epoch);
    let ends = admin.ends(lanes)?;
    known.into_iter().try_for_each(|(lane, read)| {
        let end = ends.get(&lane).map_or(0, |(_, end)| u64::try_from(*end).unwrap_or(0));
        report::check_is_whole(lanes, lane, read, end)
    })
}

/// Whether all lanes have released what was in them.
fn has_passed(released: &Offsets, ends: &Offsets) -> bool {
    ends.iter().all(|(lane, end)| *end == 0 || released.get(lane).is_some_and(|at| at >= end))
}

/// The offsets below which there is still something.
fn what_is_left(below: &Offsets, there: &BTreeMap<i32, (i64, i64)>) -> Offsets {
    let is_left =
        |(partition, at): &(&i32, &i64)| there.get(partition).is_some_and(|(low, end)| *at > low && *at <= end);
    below.iter().filter(is_left).map(|(partition, at)| (*partition, *at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_wait_for_every_lane() {
        let ends = Offsets::from([(0, 5), (1, 0), (2, 7)]);
        assert!(!has_passed(&Offsets::from([(0, 5)]), &ends), "a lane that has released nothing");
        assert!(!has_passed(&Offsets::from([(0, 5), (2, 6)]), &ends));
        assert!(has_passed(&Offsets::from([(0, 5), (2, 9)]), &ends));
    }

    #[test]
    fn only_what_is_there_is_deleted() {
        let there = BTreeMap::from([(0, (3, 9)), (1, (4, 4)), (2, (0, 2))]);
        let below = Offsets::from([(0, 5), (1, 4), (2, 8)]);
        assert_eq!(what_is_left(&below, &there), Offsets::from([(0, 5)]), "never beyond the end");
    }
}
