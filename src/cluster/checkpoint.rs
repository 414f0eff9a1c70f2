//! Which pages may go: those of which every record is in a part with a receipt.
//!
//! A checkpoint is a pair: up to where pages were routed, and where the lanes ended after that, as barriers say. Everything that came of those
//! pages lies below these ends; so when every lane has released them, the pages below may be deleted. Invariant: nothing is deleted but below a
//! checkpoint that every lane has passed. It lies in the topic `status`, so that runs of a few seconds get on with it, too: it stays true for
//! its epoch, whoever wrote it. A crash between the deletion and the next checkpoint leaves the old one, which deletes nothing more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::barrier;
use super::kafka::{Admin, Connection};
use super::names::Names;
use super::report;
use super::settings::ClusterSettings;
use super::status_log::{self, StatusLog};
use crate::error::Result;

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

/// The key of the checkpoint in the topic `status`.
const KEY: &str = "checkpoint";

/// A checkpoint on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Checkpoint {
    epoch: u32,
    /// Up to where pages were routed.
    routed: Offsets,
    /// Where the lanes ended after that.
    ends: Offsets,
}

/// Deletes pages below the checkpoint, if every lane has passed it, and begins the next one.
///
/// # Errors
/// `State`: a lane has lost what was in it. Its records are in pages alone.
pub(super) fn advance(
    connection: &Connection,
    admin: &Admin,
    status: &StatusLog,
    (names, settings): (&Names, &ClusterSettings),
) -> Result<()> {
    let epoch = settings.epoch;
    let (pages, lanes) = (names.pages(), names.lanes(epoch));
    // In this order: owners go on meanwhile.
    let values = status_log::read_all(connection)?;
    report::check_are_whole(admin, &lanes, &report::read_up_to(&values, epoch))?;
    let before = at_work(&values, epoch);
    if let Some(at_work) = &before {
        if !has_passed(&admin.committed(&names.own_group(epoch), &lanes)?, &at_work.ends) {
            return Ok(());
        }
        let below = what_is_left(&at_work.routed, &admin.ends(&pages)?);
        admin.delete_records(&pages, &below)?;
    }
    // In this order: what is routed by now has its records in the lanes already.
    let routed = admin.committed(&names.route_group(epoch), &pages)?;
    if before.map(|before| before.routed).unwrap_or_default() == routed {
        return Ok(());
    }
    status.put(KEY, &Checkpoint { epoch, routed, ends: barrier::lanes(status.producer(), names, settings)? })
}

/// The checkpoint of an epoch among the values of `status`. Of another epoch, or unreadable, it is none.
fn at_work(values: &BTreeMap<String, Vec<u8>>, epoch: u32) -> Option<Checkpoint> {
    let found: Checkpoint = serde_json::from_slice(values.get(KEY)?).ok()?;
    Some(found).filter(|found| found.epoch == epoch)
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
    fn checkpoint_counts_for_its_epoch_only() {
        let checkpoint = Checkpoint { epoch: 2, routed: Offsets::from([(0, 5)]), ends: Offsets::from([(3, 7)]) };
        let values = BTreeMap::from([(KEY.to_owned(), serde_json::to_vec(&checkpoint).unwrap())]);
        let found = at_work(&values, 2).unwrap();
        assert_eq!((found.routed, found.ends), (checkpoint.routed, checkpoint.ends));
        assert!(at_work(&values, 3).is_none() && at_work(&BTreeMap::new(), 2).is_none());
        assert!(at_work(&BTreeMap::from([(KEY.to_owned(), b"{".to_vec())]), 2).is_none());
    }

    #[test]
    fn only_what_is_there_is_deleted() {
        let there = BTreeMap::from([(0, (3, 9)), (1, (4, 4)), (2, (0, 2))]);
        let below = Offsets::from([(0, 5), (1, 4), (2, 8)]);
        assert_eq!(what_is_left(&below, &there), Offsets::from([(0, 5)]), "never beyond the end");
    }
}
