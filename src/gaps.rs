//! Gaps: ranges of the source's rising number (`record_id`) that never came. A hole means logs that were never seen.
//!
//! [`Seen`] is a set of intervals, one for each unbroken run of ids, so that it stays small however many logs came: at most
//! [`MOST_RANGES`]; beyond that the oldest holes are given up, and counted. A duplicate is as good as a new record, a late
//! record closes its hole. What is in the quarantine has no id: it leaves a hole until it is recovered.
//!
//! **The counter starts again** when an id comes that is more than [`FAR`] below the highest, in a record that is newer
//! than every one before: then an *epoch* begins, and the ids of each epoch are a set of their own. A new record belongs to
//! the newest epoch that began before it, or whose highest id is within [`FAR`] of its own; a known one was counted where it
//! belongs. A counter that starts again below [`FAR`] is not noticed; until it is past its old height no hole of it is.
//!
//! It is written with each commit in the same atomic batch of the write-ahead log, and with each step of the ledger; the
//! one with the higher version counts. A record that the ledger's copy does not know has no receipt, so its page is in the
//! journal: a log that is damaged and filled anew from there gives the same set. One source for one state directory.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How far below the highest an id must be for the counter to have started again; far more than what logs overtake
/// each other by.
pub const FAR: i64 = 1000;
/// Ranges that are kept: the oldest holes beyond are given up.
pub const MOST_RANGES: usize = 1024;
/// Epochs that are kept.
const MOST_EPOCHS: usize = 8;

/// A range of ids that never came, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first.
    pub from: i64,
    /// The last.
    pub to: i64,
}

impl Gap {
    /// How many ids it spans.
    #[must_use]
    pub const fn ids(&self) -> u64 {
        self.to.abs_diff(self.from).saturating_add(1)
    }
}

/// An id that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// The id.
    pub id: i64,
    /// Its record's time.
    pub at: Timestamp,
    /// Whether its record is new.
    pub is_new: bool,
}

/// The ids between two starts of the counter. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    since: i64,
    newest: i64,
    /// Sorted, and no two of them touch.
    ranges: Vec<(i64, i64)>,
}

impl Epoch {
    fn highest(&self) -> i64 {
        self.ranges.last().map_or(i64::MIN, |(_, to)| *to)
    }

    fn is_near(&self, id: i64) -> bool {
        self.highest().abs_diff(id) <= FAR.unsigned_abs()
    }

    /// The first range that ends at `id` or behind, and whether it holds it.
    fn find(&self, id: i64) -> (usize, bool) {
        let at = self.ranges.partition_point(|(_, to)| *to < id);
        (at, self.ranges.get(at).is_some_and(|(from, _)| *from <= id))
    }

    fn insert(&mut self, id: i64) {
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

    fn gaps(&self) -> impl Iterator<Item = Gap> {
        let next = self.ranges.iter().skip(1);
        self.ranges.iter().zip(next).map(|((_, end), (start, _))| Gap { from: end + 1, to: start - 1 })
    }
}

/// The ids that came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The field that holds the id. Empty: nobody looks for gaps.
    field: String,
    /// Rises with each change.
    version: u64,
    /// Oldest first.
    epochs: Vec<Epoch>,
    /// Ids in holes that were given up.
    given_up: u64,
    /// The newest journal segment whose ids are here.
    segment: u64,
    /// When more ids were missing than before, the last time: the receipt of that page, milliseconds since 1970.
    grew: Option<i64>,
}

impl Seen {
    /// Nothing seen of the ids in `field` yet.
    #[must_use]
    pub fn of(field: &str) -> Self {
        Self { field: field.to_owned(), ..Self::default() }
    }

    /// The same for ids in `field`: as it is where they were looked for before, else from the beginning.
    #[must_use]
    pub fn for_field(&self, field: &str) -> Self {
        if self.field == field {
            return self.clone();
        }
        Self { version: self.version + 1, ..Self::of(field) }
    }

    /// Rises with each change: of two copies the one with the higher version is the later.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The same with the ids of a journal segment that was received at `received`.
    #[must_use]
    pub fn with(&self, ids: &[Sighting], segment: u64, received: Timestamp) -> Self {
        let mut seen = self.clone();
        if seen.field.is_empty() {
            return seen;
        }
        for Sighting { id, at, is_new } in ids {
            // A log that is filled anew takes records for new whose ids were counted long ago.
            let is_known = !is_new || segment <= self.segment;
            if !(is_known && seen.has(*id)) {
                seen.add(*id, at.as_millisecond());
            }
        }
        seen.segment = seen.segment.max(segment);
        seen.give_up_the_oldest();
        if seen == *self {
            return seen;
        }
        seen.version += 1;
        if seen.missing() > self.missing() {
            seen.grew = Some(received.as_millisecond());
        }
        seen
    }

    fn has(&self, id: i64) -> bool {
        self.epochs.iter().rev().any(|epoch| epoch.find(id).1)
    }

    fn add(&mut self, id: i64, at: i64) {
        let starts_again = self.epochs.last().is_none_or(|epoch| {
            let is_far_below = id < epoch.highest().saturating_sub(FAR);
            is_far_below && at > epoch.newest
        });
        if starts_again {
            self.epochs.push(Epoch { since: at, newest: at, ranges: Vec::new() });
        }
        let its =
            self.epochs.iter().rposition(|epoch| epoch.ranges.is_empty() || at >= epoch.since || epoch.is_near(id));
        if let Some(epoch) = self.epochs.get_mut(its.unwrap_or(0)) {
            epoch.newest = epoch.newest.max(at);
            epoch.insert(id);
        }
    }

    fn give_up_the_oldest(&mut self) {
        while self.epochs.len() > MOST_EPOCHS {
            let oldest = self.epochs.remove(0);
            self.given_up = oldest.gaps().fold(self.given_up, |sum, gap| sum.saturating_add(gap.ids()));
        }
        let mut surplus = self.epochs.iter().map(|epoch| epoch.ranges.len()).sum::<usize>().saturating_sub(MOST_RANGES);
        for epoch in &mut self.epochs {
            let merged = surplus.min(epoch.ranges.len().saturating_sub(1));
            self.given_up = epoch.gaps().take(merged).fold(self.given_up, |sum, gap| sum.saturating_add(gap.ids()));
            let first = epoch.ranges.first().map(|(from, _)| *from);
            epoch.ranges.drain(..merged);
            if let (Some(range), Some(first)) = (epoch.ranges.first_mut(), first) {
                range.0 = first;
            }
            surplus -= merged;
        }
    }

    /// The ranges that never came, those of the oldest epoch first, by id.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        self.epochs.iter().flat_map(Epoch::gaps).collect()
    }

    /// How many ids never came.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.epochs.iter().flat_map(Epoch::gaps).fold(0, |sum, gap| sum.saturating_add(gap.ids()))
    }

    /// Ids in holes that were given up, because there were too many holes.
    #[must_use]
    pub const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// When the last hole was found. `None`: never.
    #[must_use]
    pub fn last_found(&self) -> Option<Timestamp> {
        self.grew.and_then(|at| Timestamp::from_millisecond(at).ok())
    }
}

/// Logs that may be lost between two polls: the newest log of the one is not on the other, and ids are missing right
/// after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolledTooRarely {
    /// How many.
    pub lost: u64,
    /// Their ids.
    #[serde(flatten)]
    pub gap: Gap,
    /// The time of the newest log before them.
    pub after: Timestamp,
    /// The time of the first log behind them.
    pub before: Timestamp,
}

/// Watches a poll for whether it overlaps with the one before.
#[derive(Debug)]
pub struct Watch {
    epochs: usize,
    highest: i64,
    newest: i64,
    overlaps: bool,
    /// The lowest id above `highest` that came, and its time.
    next: Option<(i64, Timestamp)>,
}

impl Watch {
    /// Watches from here on. `None`: nothing came before.
    #[must_use]
    pub fn start(seen: &Seen) -> Option<Self> {
        let epoch = seen.epochs.last()?;
        let (highest, newest) = (epoch.highest(), epoch.newest);
        Some(Self { epochs: seen.epochs.len(), highest, newest, overlaps: false, next: None })
    }

    /// Notes an id that came.
    pub fn saw(&mut self, Sighting { id, at, .. }: &Sighting) {
        let (id, at) = (*id, *at);
        self.overlaps |= id == self.highest;
        if id > self.highest && self.next.is_none_or(|(lowest, _)| id < lowest) {
            self.next = Some((id, at));
        }
    }

    /// What may be lost between the last poll and this one, now that `seen` holds this one too.
    #[must_use]
    pub fn verdict(&self, seen: &Seen) -> Option<PolledTooRarely> {
        let epoch = seen.epochs.last().filter(|_| seen.epochs.len() == self.epochs && !self.overlaps)?;
        let gap = epoch.gaps().find(|gap| gap.from.checked_sub(1) == Some(self.highest))?;
        let (_, before) = self.next?;
        let after = Timestamp::from_millisecond(self.newest).ok()?;
        Some(PolledTooRarely { lost: gap.ids(), gap, after, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_678_406_400 + second).unwrap()
    }

    /// Ids of new records that come one a second.
    fn ids(range: std::ops::RangeInclusive<i64>, from: i64) -> Vec<Sighting> {
        range.zip(from..).map(|(id, second)| Sighting { id, at: at(second), is_new: true }).collect()
    }

    fn gaps(seen: &Seen) -> Vec<(i64, i64)> {
        seen.gaps().iter().map(|gap| (gap.from, gap.to)).collect()
    }

    /// A set that is fed segment by segment.
    struct Feed(Seen);

    impl Feed {
        fn new() -> Self {
            Self(Seen::of("record_id"))
        }

        fn take(&mut self, range: std::ops::RangeInclusive<i64>, from: i64) -> Vec<(i64, i64)> {
            let received = from + range.end() - range.start();
            self.0 = self.0.with(&ids(range, from), self.0.segment + 1, at(received));
            gaps(&self.0)
        }
    }

    #[test]
    fn hole_is_known_until_a_late_record_fills_it() {
        let mut feed = Feed::new();
        feed.take(1..=10, 0);
        assert_eq!(feed.take(15..=20, 14), [(11, 14)]);
        assert_eq!((feed.0.missing(), feed.0.last_found()), (4, Some(at(19))));
        assert_eq!(feed.take(13..=13, 12), [(11, 12), (14, 14)]);
        feed.take(11..=12, 10);
        assert_eq!(feed.take(14..=14, 13), []);
        assert_eq!((feed.0.missing(), feed.0.last_found()), (0, Some(at(19))));
    }

    #[test]
    fn order_within_a_segment_does_not_matter() {
        let forward = ids(1..=50, 0);
        let backward: Vec<Sighting> = forward.iter().rev().copied().collect();
        let seen = |ids: &[Sighting]| Seen::of("record_id").with(ids, 1, at(0)).epochs[0].ranges.clone();
        assert_eq!(seen(&forward), seen(&backward));
    }

    #[test]
    fn counter_that_starts_again_is_an_epoch_of_its_own() {
        let mut feed = Feed::new();
        feed.take(1..=5000, 0);
        feed.take(5011..=5020, 5011);
        feed.take(1..=100, 6000);
        assert_eq!(feed.take(111..=120, 6110), [(5001, 5010), (101, 110)]);
        feed.take(5001..=5010, 5001);
        assert_eq!(feed.take(101..=110, 6100), []);
        assert_eq!(feed.0.epochs.len(), 2);
    }

    #[test]
    fn what_comes_again_is_counted_where_it_was() {
        let mut feed = Feed::new();
        feed.take(1..=2000, 0);
        feed.take(2010..=5000, 2010);
        let before = feed.take(1..=100, 6000);
        let known: Vec<Sighting> = ids(1..=2000, 0).into_iter().map(|id| Sighting { is_new: false, ..id }).collect();
        assert_eq!(gaps(&feed.0.with(&known, 9, at(7000))), before, "duplicates");
        assert_eq!(gaps(&feed.0.with(&ids(1..=2000, 0), 1, at(7000))), before, "a log that is filled anew");
    }

    #[test]
    fn low_id_of_an_old_record_starts_nothing() {
        let mut feed = Feed::new();
        feed.take(3000..=4000, 3000);
        assert_eq!(feed.take(1..=10, 1), [(11, 2999)]);
        feed.take(3500..=3500, 9000);
        assert_eq!(feed.0.epochs.len(), 1, "newer, but not far below");
    }

    #[test]
    fn oldest_holes_are_given_up_and_counted() {
        let every_other: Vec<Sighting> = (0..5000).map(|n| Sighting { id: 2 * n, at: at(n), is_new: true }).collect();
        let seen = Seen::of("record_id").with(&every_other, 1, at(0));
        assert_eq!(seen.gaps().len(), MOST_RANGES - 1);
        assert_eq!(seen.given_up(), 4999 - (MOST_RANGES as u64 - 1));
        assert_eq!(seen.gaps().last(), Some(&Gap { from: 9997, to: 9997 }));
    }

    #[test]
    fn extreme_ids_are_ids() {
        let extreme = [i64::MAX, i64::MIN, i64::MAX - 1].map(|id| Sighting { id, at: at(0), is_new: true });
        let seen = Seen::of("record_id").with(&extreme, 1, at(0));
        assert_eq!(gaps(&seen), [(i64::MIN + 1, i64::MAX - 2)]);
        assert_eq!(seen.missing(), u64::MAX - 2);
    }

    #[test]
    fn other_field_begins_anew_and_none_looks_for_nothing() {
        let mut feed = Feed::new();
        feed.take(1..=5, 0);
        feed.take(9..=9, 9);
        assert_eq!(feed.0.for_field("record_id"), feed.0);
        let other = feed.0.for_field("seq");
        assert_eq!((gaps(&other), other.version()), (vec![], feed.0.version() + 1));
        assert_eq!(gaps(&feed.0.for_field("").with(&ids(20..=30, 0), 9, at(0))), []);
    }

    #[test]
    fn polls_that_do_not_overlap_name_what_may_be_lost() {
        let mut feed = Feed::new();
        feed.take(1..=100, 0);
        let before = feed.0;
        let watched = |sightings: &[Sighting]| {
            let mut watch = Watch::start(&before).unwrap();
            sightings.iter().for_each(|sighting| watch.saw(sighting));
            watch.verdict(&before.with(sightings, 2, at(200)))
        };
        let missed = watched(&ids(138..=200, 138)).unwrap();
        assert_eq!((missed.lost, missed.gap), (37, Gap { from: 101, to: 137 }));
        assert_eq!((missed.after, missed.before), (at(99), at(138)));
        assert_eq!(watched(&ids(101..=150, 101)), None, "the next poll goes on where this one ended");
        let with_a_hole = [ids(100..=100, 100), ids(105..=105, 105)].concat();
        assert_eq!(watched(&with_a_hole), None, "the source's own hole");
        assert!(Watch::start(&Seen::of("record_id")).is_none());
    }

    #[test]
    fn layout_is_pinned() {
        let seen = Seen::of("id").with(&ids(1..=3, 0), 7, at(0));
        let bytes = bincode::serialize(&seen).unwrap();
        let expected = "0200000000000000\
                        6964\
                        0100000000000000\
                        0100000000000000\
                        0038d1c886010000\
                        d03fd1c886010000\
                        0100000000000000\
                        0100000000000000\
                        0300000000000000\
                        0000000000000000\
                        0700000000000000\
                        00";
        assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), expected);
        assert_eq!(bincode::deserialize::<Seen>(&bytes).unwrap(), seen);
    }
}
