//! How far each lane is: offsets of now, and what its owner said last.

use std::collections::BTreeMap;

use super::{Look, between};
use crate::cluster::report::{LaneReport, Reported};
use crate::error::Result;
use crate::state::status::Status;
use crate::state::status::cluster::LaneStatus;

/// All lanes of the epoch, in their order.
pub(super) fn all(
    look: &Look<'_>,
    lanes: u32,
    reports: &[(Reported<LaneReport>, Option<Status>)],
) -> Result<Vec<LaneStatus>> {
    let topic = look.names.lanes(look.epoch);
    let (ends, released) = (look.admin.ends(&topic)?, look.admin.committed(&look.names.own_group(look.epoch), &topic)?);
    let mut owners = BTreeMap::new();
    for member in &look.members.own {
        for lane in member.partitions.get(&topic).into_iter().flatten() {
            owners.insert(*lane, look.machine(member).to_owned());
        }
    }
    let one = |lane: i32| {
        let said = reports.iter().find(|(said, _)| (said.report.epoch, said.report.lane) == (look.epoch, lane));
        let offsets = ends.get(&lane).copied().unwrap_or_default();
        let mut found = offsets_of(offsets, released.get(&lane).copied(), said.map(|(said, _)| said));
        found.lane = lane;
        found.owner = owners.remove(&lane);
        if let Some((said, status)) = said {
            found.closed_through = Some(said.report.place.closed_through);
            (found.reported, found.reported_by) = (Some(said.at), Some(said.report.machine.clone()));
            found.problems.clone_from(&said.report.problems);
            found.oldest = status.as_ref().and_then(|status| status.journal.pinned_by.first().copied());
            found.pending = status.as_ref().map_or(0, |status| status.totals.pending);
        }
        found
    };
    Ok((0..i32::try_from(lanes).unwrap_or(i32::MAX)).map(one).collect())
}

/// What offsets say of a lane.
fn offsets_of((low, end): (i64, i64), released: Option<i64>, said: Option<&Reported<LaneReport>>) -> LaneStatus {
    let released = released.map_or(low, |at| at.max(low));
    // The group may know more than what was said: by another owner, of whom nothing came yet.
    let read =
        said.and_then(|said| i64::try_from(said.report.place.newest).ok()).map_or(released, |at| at.max(released));
    LaneStatus {
        lane: 0,
        owner: None,
        unread: between(read, end),
        unfinished: between(released, end),
        oldest: None,
        pending: 0,
        closed_through: None,
        reported: None,
        reported_by: None,
        problems: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::job::lane::LanePlace;

    fn said(newest: u64) -> Reported<LaneReport> {
        let place = LanePlace { needed: 0, newest, closed_through: Timestamp::MIN };
        let (machine, problems) = ("a".to_owned(), Vec::new());
        let report = LaneReport { lane: 0, epoch: 1, machine, place, released: None, problems };
        Reported { schema: 1, at: Timestamp::UNIX_EPOCH, report, status: None }
    }

    #[test]
    fn lag_is_what_was_not_read_and_what_has_no_receipts() {
        let lag = |offsets, released, newest: Option<u64>| {
            let found = offsets_of(offsets, released, newest.map(said).as_ref());
            (found.unread, found.unfinished)
        };
        assert_eq!(lag((0, 10), None, None), (10, 10), "nobody has said anything");
        assert_eq!(lag((3, 10), None, None), (7, 7), "what is deleted has receipts");
        assert_eq!(lag((0, 10), Some(4), Some(8)), (2, 6));
        assert_eq!(lag((0, 10), Some(9), Some(8)), (1, 1), "the group knows more than what was said");
        assert_eq!(lag((0, 10), Some(10), Some(12)), (0, 0));
    }
}
