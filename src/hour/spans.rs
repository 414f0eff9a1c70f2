//! A set of spans of time, bounded. Pure. What is kept on the disk is the list of their first and last milliseconds since 1970.

use serde::{Deserialize, Serialize};

/// Spans of time, both ends included, in the order of time; no two of them meet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// The spans, in the order of time.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, i64)> {
        self.0.iter().copied()
    }

    /// Adds a span: what it meets becomes one with it.
    pub(crate) fn add(&mut self, from: i64, to: i64) {
        if from > to {
            return;
        }
        let first = self.0.partition_point(|(_, end)| *end < from);
        let behind = self.0.partition_point(|(start, _)| *start <= to);
        let met = self.0.get(first..behind).unwrap_or_default();
        let from = met.first().map_or(from, |(start, _)| from.min(*start));
        let to = met.last().map_or(to, |(_, end)| to.max(*end));
        self.0.splice(first..behind.max(first), [(from, to)]);
    }

    /// Whether one of them holds all from `from` to `to`.
    pub(crate) fn hold(&self, from: i64, to: i64) -> Option<(i64, i64)> {
        self.iter().find(|(start, end)| *start <= from && *end >= to)
    }

    /// Whether one of them meets what is from `from` on and before `to`.
    pub(crate) fn meet(&self, from: i64, to: i64) -> bool {
        self.iter().any(|(start, end)| start < to && end >= from)
    }

    /// Forgets all after `at`.
    pub(crate) fn cut_after(&mut self, at: i64) {
        self.0.retain(|(start, _)| *start <= at);
        self.0.iter_mut().for_each(|(_, end)| *end = at.min(*end));
    }

    /// Forgets the oldest beyond `most`.
    pub(crate) fn keep_newest(&mut self, most: usize) {
        self.0.drain(..self.0.len().saturating_sub(most));
    }

    /// Makes those one that are closest to each other, until there are at most `most`.
    pub(crate) fn join_closest(&mut self, most: usize) {
        if self.0.len() <= most {
            return;
        }
        let mut apart: Vec<(i64, usize)> = Vec::with_capacity(self.0.len());
        for (n, ((_, end), (start, _))) in self.0.iter().zip(self.0.iter().skip(1)).enumerate() {
            apart.push((start.saturating_sub(*end), n));
        }
        // The widest gaps stay.
        apart.sort_unstable_by(|a, b| b.cmp(a));
        let mut stay: Vec<usize> = apart.iter().take(most.saturating_sub(1)).map(|(_, n)| *n).collect();
        stay.sort_unstable();
        let mut joined = Spans::default();
        let mut from = self.0.first().map_or(0, |(from, _)| *from);
        for n in stay {
            if let (Some((_, to)), Some((next, _))) = (self.0.get(n), self.0.get(n + 1)) {
                joined.0.push((from, *to));
                from = *next;
            }
        }
        joined.0.extend(self.0.last().map(|(_, to)| (from, *to)));
        *self = joined;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spans_are_those_of_a_plain_set(added in prop::collection::vec((0..60i64, 0..6i64), 0..20)) {
            let (mut spans, mut plain) = (Spans::default(), [false; 70]);
            for (from, length) in added {
                spans.add(from, from + length);
                plain[usize::try_from(from).unwrap()..=usize::try_from(from + length).unwrap()].fill(true);
            }
            let is_in = |at: i64| spans.hold(at, at).is_some();
            prop_assert!((0..70).all(|at| is_in(at) == plain[usize::try_from(at).unwrap()]), "{:?}", spans);
            prop_assert!(spans.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            prop_assert_eq!(spans.meet(10, 20), (10..20).any(is_in));
        }
    }

    #[test]
    fn bounded_sets_forget_the_oldest_or_join_the_closest() {
        let mut spans = Spans(vec![(0, 1), (10, 11), (13, 14), (40, 41)]);
        let mut heard = spans.clone();
        heard.keep_newest(2);
        assert_eq!(heard, Spans(vec![(13, 14), (40, 41)]));
        spans.join_closest(2);
        assert_eq!(spans, Spans(vec![(0, 14), (40, 41)]));
        spans.cut_after(12);
        assert_eq!(spans, Spans(vec![(0, 12)]));
    }
}
