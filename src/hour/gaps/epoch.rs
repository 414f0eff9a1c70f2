//! The ids between two restarts of the counter, as ranges. Pure.
//!
//! The ranges are a tree, not a list: ids in no order make thousands of ranges in one segment, and in a list each of them would move
//! half of the others. Each knows from which id on it is unbroken for certain, and the times at its ends: what an hour is witnessed by.

use std::collections::BTreeMap;

use super::{Gap, MAX_STRAYS, RESTART_DISTANCE};

/// Ids and times of records that are made side by side may be in another order by so many milliseconds.
const DISORDER: i64 = 5_000;

/// Ids without a hole, under the first of them. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// The last of them.
    pub(super) to: i64,
    /// The first after which none is missing: holes below it may have been given up.
    pub(super) sure: i64,
    /// The time of the record with that id. `i64::MAX`: it is not known.
    pub(super) first: i64,
    /// The time of the record with the last id, or when it was received, where that was earlier. `i64::MIN`: it is not known.
    pub(super) last: i64,
}

impl Range {
    pub(super) const fn of_one(id: i64, at: At) -> Self {
        Self { to: id, sure: id, first: at.event, last: at.known_by() }
    }
}

/// When a record happened, and when it was received: milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) event: i64,
    pub(super) received: i64,
}

impl At {
    /// The counter had come this far by then: a record that is dated ahead does not show that time went on.
    pub(super) const fn known_by(self) -> i64 {
        if self.event < self.received { self.event } else { self.received }
    }
}

/// A set of ids. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epoch {
    /// The time of the record that it began with.
    pub(super) since: i64,
    /// The newest time in it.
    pub(super) newest: i64,
    /// Each under its first id; no two of them touch.
    pub(super) ranges: BTreeMap<i64, Range>,
}

impl Epoch {
    /// One that begins at `at`.
    pub(super) const fn starting(at: i64) -> Self {
        Self { since: at, newest: at, ranges: BTreeMap::new() }
    }

    /// The set of strays. It is recognised by its times, which no epoch has.
    pub(super) const fn aside() -> Self {
        Self { since: i64::MAX, newest: i64::MIN, ranges: BTreeMap::new() }
    }

    pub(super) const fn is_aside(&self) -> bool {
        self.since > self.newest
    }

    pub(super) fn lowest(&self) -> i64 {
        self.ranges.first_key_value().map_or(i64::MAX, |(from, _)| *from)
    }

    pub(super) fn highest(&self) -> i64 {
        self.ranges.last_key_value().map_or(i64::MIN, |(_, range)| range.to)
    }

    /// Whether `id` is near the highest.
    pub(super) fn is_near(&self, id: i64) -> bool {
        self.highest().abs_diff(id) <= RESTART_DISTANCE.unsigned_abs()
    }

    /// Whether `id` is just above the highest.
    pub(super) fn is_next(&self, id: i64) -> bool {
        let highest = self.highest();
        id > highest && id.abs_diff(highest) <= MAX_STRAYS
    }

    /// Whether `id` is between the lowest and the highest.
    pub(super) fn spans(&self, id: i64) -> bool {
        (self.lowest()..=self.highest()).contains(&id)
    }

    pub(super) fn has(&self, id: i64) -> bool {
        self.ranges.range(..=id).next_back().is_some_and(|(_, range)| range.to >= id)
    }

    /// How many ids it has.
    pub(super) fn count(&self) -> u64 {
        count(&self.ranges)
    }

    /// Whether `id` is far from all that is in it. Nothing is far from an empty set.
    pub(super) fn is_far(&self, id: i64) -> bool {
        let far = RESTART_DISTANCE.unsigned_abs();
        let below =
            self.ranges.range(..=id).next_back().is_none_or(|(_, range)| id > range.to && id.abs_diff(range.to) > far);
        let above = self.ranges.range(id..).next().is_none_or(|(from, _)| from.abs_diff(id) > far);
        below && above && !self.ranges.is_empty()
    }

    /// Takes away the top ids after a jump, at most `few`, if `id` continues below the jump: the counter was never up there.
    pub(super) fn without_strays(&mut self, id: i64, few: u64) -> BTreeMap<i64, Range> {
        let (below, above) = (self.ranges.range(..=id).next_back(), self.ranges.range(id..).next());
        let (Some((_, below)), Some((start, _))) = (below, above) else { return BTreeMap::new() };
        let (end, start, far) = (below.to, *start, RESTART_DISTANCE.unsigned_abs());
        let continues = end < id && id.abs_diff(end) <= far && start.abs_diff(end) > far;
        if continues && count(self.ranges.range(start..)) <= few {
            self.ranges.split_off(&start)
        } else {
            BTreeMap::new()
        }
    }

    /// The time of which the ids say nothing, if `id` came at `event`: it is lower than an id that came earlier, or higher than one that
    /// came later. It is then perhaps of a counter that went back, and what is joined by it may lack ids of before that.
    pub(super) fn contradicted(&self, id: i64, event: i64) -> Option<(i64, i64)> {
        let below = self.ranges.range(..id).next_back().map(|(_, range)| range.last).filter(|last| *last != i64::MIN);
        let above = self.ranges.range(id..).next().map(|(_, range)| range.first).filter(|first| *first != i64::MAX);
        if above.is_some_and(|above| event > above.saturating_add(DISORDER)) {
            return Some((below.or(above).map_or(event, |from| from.min(event)), event));
        }
        below.filter(|below| event < below.saturating_sub(DISORDER)).map(|below| (event, below))
    }

    /// Forgets when the ids happened with which the range of `id` begins.
    pub(super) fn forget_first(&mut self, id: i64) {
        if let Some((_, range)) = self.ranges.range_mut(..=id).next_back() {
            range.first = i64::MAX;
        }
    }

    /// Forgets when the ids from `id` on happened: what is joined to them later proves nothing of the time before it.
    pub(super) fn cut(&mut self, id: i64) {
        let its = self.ranges.range(..=id).next_back().map_or(id, |(from, _)| *from);
        self.ranges.range_mut(its..).for_each(|(_, range)| range.first = i64::MAX);
    }

    /// Adds `id`. Says whether it was missing.
    pub(super) fn insert(&mut self, id: i64, at: At) -> bool {
        if self.has(id) {
            return false;
        }
        let mut new = Range::of_one(id, at);
        let mut from = id;
        if let Some((start, below)) = self.ranges.range(..id).next_back()
            && below.to.checked_add(1) == Some(id)
        {
            from = *start;
            if below.first != i64::MAX {
                (new.sure, new.first) = (below.sure, below.first);
            }
        }
        // The range that begins right after it, if there is one, becomes one with it.
        if let Some((start, above)) = id.checked_add(1).and_then(|next| self.ranges.remove_entry(&next)) {
            (new.to, new.last) = (above.to, above.last);
            if above.sure != start || above.first == i64::MAX {
                (new.sure, new.first) = (above.sure, above.first);
            }
        }
        self.ranges.insert(from, new);
        true
    }

    /// Adds ranges that came from another set.
    pub(super) fn take(&mut self, ranges: BTreeMap<i64, Range>) {
        for (from, range) in ranges {
            let at = At { event: range.first, received: range.last };
            (from..=range.to).for_each(|id| {
                self.insert(id, at);
            });
        }
    }

    pub(super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let shown = Some(&self.ranges).filter(|_| !self.is_aside()).into_iter().flatten();
        let next = shown.clone().skip(1);
        shown.zip(next).map(|((_, end), (start, _))| Gap { from: end.to + 1, to: start - 1 })
    }

    /// Gives the lowest `holes` up: their ids count as seen. Returns how many ids that are.
    pub(super) fn give_up(&mut self, holes: usize) -> u64 {
        let given_up = self.gaps().take(holes).fold(0, |sum: u64, gap| sum.saturating_add(gap.ids()));
        let lowest = self.lowest();
        let mut merged = None;
        for _ in 0..=holes.min(self.ranges.len().saturating_sub(1)) {
            merged = self.ranges.pop_first();
        }
        if let Some((_, range)) = merged {
            self.ranges.insert(lowest, range);
        }
        given_up
    }
}

fn count<'a>(ranges: impl IntoIterator<Item = (&'a i64, &'a Range)>) -> u64 {
    ranges.into_iter().fold(0, |sum, (from, range)| sum.saturating_add(range.to.abs_diff(*from).saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same set as a sorted list of ids.
    #[derive(Debug, Default)]
    struct Plain(Vec<i64>);

    impl Plain {
        fn insert(&mut self, id: i64) -> bool {
            let at = self.0.binary_search(&id);
            at.map_err(|at| self.0.insert(at, id)).is_err()
        }

        fn ranges(&self) -> Vec<(i64, i64)> {
            let mut ranges: Vec<(i64, i64)> = Vec::new();
            for id in &self.0 {
                match ranges.last_mut() {
                    Some((_, to)) if *to + 1 == *id => *to = *id,
                    _ => ranges.push((*id, *id)),
                }
            }
            ranges
        }

        fn give_up(&mut self, holes: usize) -> u64 {
            let ranges = self.ranges();
            let Some(((from, _), (_, to))) = ranges.first().zip(ranges.get(holes.min(ranges.len().saturating_sub(1))))
            else {
                return 0;
            };
            let before = self.0.len();
            for id in *from..=*to {
                self.insert(id);
            }
            (self.0.len() - before) as u64
        }

        fn without_strays(&mut self, id: i64, few: u64) -> Vec<(i64, i64)> {
            let at = self.0.partition_point(|each| *each < id);
            let (below, above) = self.0.split_at(at);
            let (Some(end), Some(start)) = (below.last(), above.first()) else { return Vec::new() };
            let continues = *start != id && id - end <= RESTART_DISTANCE && start - end > RESTART_DISTANCE;
            if continues && above.len() as u64 <= few { Self(self.0.split_off(at)).ranges() } else { Vec::new() }
        }
    }

    fn pairs(ranges: &BTreeMap<i64, Range>) -> Vec<(i64, i64)> {
        ranges.iter().map(|(from, range)| (*from, range.to)).collect()
    }

    proptest! {
        #[test]
        fn ranges_are_those_of_a_plain_list(steps in prop::collection::vec((0..40u8, 0..60i64, 0..3i64), 1..300)) {
            let (mut epoch, mut plain) = (Epoch::starting(0), Plain::default());
            for (step, low, high) in steps {
                let id = high * 1_500 + low;
                match step {
                    0 => prop_assert_eq!(epoch.give_up(usize::try_from(high).unwrap()), plain.give_up(usize::try_from(high).unwrap())),
                    1..4 => prop_assert_eq!(pairs(&epoch.without_strays(id, MAX_STRAYS)), plain.without_strays(id, MAX_STRAYS)),
                    _ => prop_assert_eq!(epoch.insert(id, At { event: id, received: id }), plain.insert(id)),
                }
                prop_assert_eq!(pairs(&epoch.ranges), plain.ranges());
                prop_assert_eq!(epoch.has(id), plain.0.contains(&id));
                let knows_its_times = |(from, range): (&i64, &Range)| {
                    (*from..=range.to).contains(&range.sure) && range.first == range.sure && range.last == range.to
                };
                prop_assert!(epoch.ranges.iter().all(knows_its_times));
                prop_assert_eq!(epoch.count(), plain.0.len() as u64);
            }
        }
    }
}
