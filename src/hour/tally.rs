//! What can be certified of an hour: counted as its records are committed, fixed in the ledger when they are frozen.
//!
//! A [`Tally`] is the sum for an hour. It is written in the same atomic batch as the commit that it counts, and the ledger takes it over
//! with the freeze, so no crash makes anything count twice. Where a damaged write-ahead log was filled again, pages that were gone by
//! then are not counted: the figures are lower bounds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hour::gaps::Gap;

/// Holes that a certificate lists at most. The ids of all are counted.
const LISTED: usize = 64;

/// What was counted of an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records that were received again, and dropped.
    pub(crate) duplicates: u64,
    /// Tokens that were quarantined from pages with records of the hour: each may be one of them.
    pub(crate) quarantined: u64,
    /// The lowest and the highest of the source's numbers in its records.
    pub(crate) ids: Option<(i64, i64)>,
}

impl Tally {
    /// Counts a new record with this number.
    pub(crate) fn saw(&mut self, id: i64) {
        self.ids = Some(self.ids.map_or((id, id), |(low, high)| (low.min(id), high.max(id))));
    }

    /// Of two counts of the same hour, one of which may be of an earlier time: what both know.
    pub(crate) fn or_later(mut self, other: &Self) -> Self {
        self.duplicates = self.duplicates.max(other.duplicates);
        self.quarantined = self.quarantined.max(other.quarantined);
        for id in other.ids.into_iter().flat_map(|(low, high)| [low, high]) {
            self.saw(id);
        }
        self
    }

    /// Adds a later count.
    pub(crate) fn add(&mut self, since: &Self) {
        self.duplicates += since.duplicates;
        self.quarantined += since.quarantined;
        for id in since.ids.into_iter().flat_map(|(low, high)| [low, high]) {
            self.saw(id);
        }
    }
}

/// What the ledger certifies of an hour, as of its newest freeze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// When it closed: its end and the grace, as they were when its first part was frozen.
    pub(crate) closed_at: Timestamp,
    /// What was counted.
    #[serde(flatten)]
    pub tally: Tally,
    /// Ids between the lowest and the highest, or next to them, that had never come.
    pub(crate) missing: u64,
    /// The first of the ranges that they are in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) holes: Vec<Gap>,
}

impl Certified {
    /// The certificate of an hour that closed at `closed_at`, with the gaps as of now.
    #[must_use]
    pub fn new(closed_at: Timestamp, tally: Tally, gaps: &[Gap]) -> Self {
        let mut holes = tally.ids.map_or_else(Vec::new, |ids| within(ids, gaps));
        let missing = holes.iter().map(Gap::ids).fold(0, u64::saturating_add);
        holes.truncate(LISTED);
        Self { closed_at, tally, missing, holes }
    }
}

/// The gaps between two ids that came, and those right before and after them, which may belong to any hour.
#[must_use]
pub(crate) fn within((low, high): (i64, i64), gaps: &[Gap]) -> Vec<Gap> {
    let touches = |gap: &&Gap| gap.to.saturating_add(1) >= low && gap.from.saturating_sub(1) <= high;
    gaps.iter().filter(touches).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_their_parts() {
        let mut sum = Tally::default();
        sum.add(&Tally { duplicates: 2, quarantined: 1, ids: Some((5, 9)) });
        sum.add(&Tally { duplicates: 1, quarantined: 0, ids: None });
        sum.add(&Tally { duplicates: 0, quarantined: 0, ids: Some((3, 4)) });
        assert_eq!(sum, Tally { duplicates: 3, quarantined: 1, ids: Some((3, 9)) });
    }

    #[test]
    fn holes_are_those_between_the_hour_s_ids_and_at_its_edges() {
        let gap = |from, to| Gap { from, to };
        let gaps = [gap(1, 2), gap(7, 8), gap(10, 20), gap(31, 40), gap(50, 60)];
        let tally = Tally { ids: Some((9, 30)), ..Tally::default() };
        let certified = Certified::new(Timestamp::UNIX_EPOCH, tally, &gaps);
        assert_eq!((certified.holes, certified.missing), (vec![gap(7, 8), gap(10, 20), gap(31, 40)], 23));
        assert_eq!(Certified::new(Timestamp::UNIX_EPOCH, Tally::default(), &gaps).missing, 0);
    }
}
