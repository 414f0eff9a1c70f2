//! What the lanes of one process tell each other of their hours, so that not each of them asks the store for the parts of the others.
//!
//! Invariant: when an hour's last part was created, what is told here were all of its parts. Another machine may have added one since: then
//! the create-only PUT under the next number fails, and the store is asked. A part that was added and deleted again would not be
//! noticed by that PUT, so everything is forgotten after a minute. Nothing here is durable.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartRow, PartStage};
use crate::hour::range::HashRange;

/// How long it is believed.
const LASTS: Duration = Duration::from_secs(60);
/// Hours that are remembered: with more, all are forgotten, and the store is asked.
const HOURS: usize = 2_000;

/// The hours in which lanes of this process have just created parts.
#[derive(Debug, Default)]
pub struct Neighbours {
    hours: RefCell<BTreeMap<Hour, Told>>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    parts: Vec<PartRow>,
}

impl Neighbours {
    /// Tells of an hour whose last part was created just now.
    pub(crate) fn tell(&self, row: HourRow) {
        let mut hours = self.hours.borrow_mut();
        hours.remove(&row.hour);
        if row.parts.iter().any(|part| part.stage != PartStage::Uploaded) {
            return;
        }
        if hours.len() >= HOURS {
            hours.clear();
        }
        hours.insert(row.hour, Told { at: Instant::now(), parts: row.parts });
    }

    /// The parts of an hour from the number `first` on. `None`: the store has to be asked, because nothing was told of them, or because one
    /// of them may hold a record of `ours`.
    pub(super) fn beyond(&self, hour: Hour, first: u32, ours: HashRange) -> Option<Vec<PartRow>> {
        let hours = self.hours.borrow();
        let told = hours.get(&hour).filter(|told| told.at.elapsed() < LASTS)?;
        let beyond = told.parts.get(usize::try_from(first).ok()?..)?;
        let passed = |part: &PartRow| PartRow { through: 0, spooled_as: None, ..part.clone() };
        beyond.iter().all(|part| !part.range.overlaps(ours)).then(|| beyond.iter().map(passed).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hour::part::PartIdentity;

    const LANES: u32 = 3;

    fn part(number: u32, lane: u32, stage: PartStage) -> PartRow {
        let at = jiff::Timestamp::UNIX_EPOCH;
        PartRow {
            part: number,
            stage,
            key: format!("part-{number}"),
            identity: PartIdentity { rows: 1, bytes: 1, sha256: String::new(), content_sha256: String::new() },
            dict: String::new(),
            through: 7,
            first: at,
            last: at,
            frozen_at: at,
            uploaded_at: Some(at),
            etag: None,
            expired_at: None,
            range: HashRange::of_lane(lane, LANES),
            spooled_as: Some(9),
        }
    }

    fn row(parts: Vec<PartRow>) -> HourRow {
        HourRow { parts, ..HourRow::new("2023-03-10T01".parse().unwrap()) }
    }

    #[test]
    fn parts_of_others_are_told_and_those_that_may_hold_ours_are_looked_at() {
        use PartStage::{Sealing, Uploaded};
        let (told, hour) = (Neighbours::default(), row(Vec::new()).hour);
        let beyond = |first, lane| {
            let found = told.beyond(hour, first, HashRange::of_lane(lane, LANES))?;
            assert!(found.iter().all(|part| part.through == 0 && part.spooled_as.is_none()));
            Some(found.iter().map(|part| part.part).collect::<Vec<_>>())
        };
        assert_eq!(beyond(0, 2), None);
        told.tell(row(vec![part(0, 0, Uploaded), part(1, 1, Uploaded)]));
        assert_eq!((beyond(0, 2), beyond(1, 2), beyond(2, 2)), (Some(vec![0, 1]), Some(vec![1]), Some(vec![])));
        assert_eq!((beyond(0, 0), beyond(1, 0), beyond(0, 1)), (None, Some(vec![1]), None));
        assert_eq!(beyond(3, 2), None, "more is known than was told");
        told.tell(row(vec![part(0, 0, Uploaded), part(1, 1, Sealing)]));
        assert_eq!(beyond(0, 2), None, "what is not in the store is not told");
    }

    #[test]
    fn memory_is_bounded() {
        let told = Neighbours::default();
        let first: Hour = "2023-03-10T01".parse().unwrap();
        let hours = std::iter::successors(Some(first), |hour| hour.next());
        for hour in hours.take(HOURS + 5) {
            told.tell(HourRow { parts: vec![part(0, 0, PartStage::Uploaded)], ..HourRow::new(hour) });
        }
        assert_eq!(told.hours.borrow().len(), 5);
    }
}
