//! The ids between two restarts of the counter, as ranges. Pure.

use serde::{Deserialize, Serialize};

use super::{Gap, MAX_STRAYS, RESTART_DISTANCE};

/// A set of ids. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Epoch {
    /// The time of the record that it began with.
    pub(super) since: i64,
    /// The newest time in it.
    pub(super) newest: i64,
    /// Sorted, and no two of them touch.
    pub(super) ranges: Vec<(i64, i64)>,
}

impl Epoch {
    /// One that begins at `at`.
    pub(super) const fn starting(at: i64) -> Self {
        Self { since: at, newest: at, ranges: Vec::new() }
    }

    /// The set of strays. It is recognised by its times, which no epoch has.
    pub(super) const fn aside() -> Self {
        Self { since: i64::MAX, newest: i64::MIN, ranges: Vec::new() }
    }

    pub(super) const fn is_aside(&self) -> bool {
        self.since > self.newest
    }

    pub(super) fn lowest(&self) -> i64 {
        self.ranges.first().map_or(i64::MAX, |(from, _)| *from)
    }

    pub(super) fn highest(&self) -> i64 {
        self.ranges.last().map_or(i64::MIN, |(_, to)| *to)
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
        self.find(id).1
    }

    /// How many ids it has.
    pub(super) fn count(&self) -> u64 {
        count(&self.ranges)
    }

    /// Takes away the top ids after a jump, at most `few`, if `id` continues below the jump: the counter was never up there.
    pub(super) fn without_strays(&mut self, id: i64, few: u64) -> Vec<(i64, i64)> {
        let (at, is_there) = self.find(id);
        let Some((below, above)) = self.ranges.split_at_checked(at) else { return Vec::new() };
        let (Some((_, end)), Some((start, _))) = (below.last(), above.first()) else { return Vec::new() };
        let far = RESTART_DISTANCE.unsigned_abs();
        let continues = !is_there && id.abs_diff(*end) <= far && start.abs_diff(*end) > far;
        if continues && count(above) <= few { self.ranges.split_off(at) } else { Vec::new() }
    }

    /// The first range that ends at or after `id`, and whether it contains it.
    fn find(&self, id: i64) -> (usize, bool) {
        let at = self.ranges.partition_point(|(_, to)| *to < id);
        (at, self.ranges.get(at).is_some_and(|(from, _)| *from <= id))
    }

    pub(super) fn insert(&mut self, id: i64) {
        let (at, is_there) = self.find(id);
        if is_there {
            return;
        }
        let before =
            at.checked_sub(1).filter(|n| self.ranges.get(*n).is_some_and(|(_, to)| to.checked_add(1) == Some(id)));
        let touches_next = self.ranges.get(at).is_some_and(|(from, _)| id.checked_add(1) == Some(*from));
        match before {
            Some(before) if touches_next => {
                let (_, to) = self.ranges.remove(at);
                self.ranges.get_mut(before).into_iter().for_each(|range| range.1 = to);
            }
            Some(before) => self.ranges.get_mut(before).into_iter().for_each(|range| range.1 = id),
            None if touches_next => self.ranges.get_mut(at).into_iter().for_each(|range| range.0 = id),
            None => self.ranges.insert(at, (id, id)),
        }
    }

    pub(super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let shown = if self.is_aside() { &[] } else { self.ranges.as_slice() };
        shown.iter().zip(shown.iter().skip(1)).map(|((_, end), (start, _))| Gap { from: end + 1, to: start - 1 })
    }

    /// Gives the lowest `holes` up: their ids count as seen. Returns how many ids that are.
    pub(super) fn give_up(&mut self, holes: usize) -> u64 {
        let given_up = self.gaps().take(holes).fold(0, |sum: u64, gap| sum.saturating_add(gap.ids()));
        let lowest = self.lowest();
        self.ranges.drain(..holes.min(self.ranges.len().saturating_sub(1)));
        self.ranges.first_mut().into_iter().for_each(|range| range.0 = lowest);
        given_up
    }
}

fn count(ranges: &[(i64, i64)]) -> u64 {
    ranges.iter().fold(0, |sum, (from, to)| sum.saturating_add(to.abs_diff(*from).saturating_add(1)))
}
