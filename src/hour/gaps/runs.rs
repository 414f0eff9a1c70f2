//! What the ids that came say of an hour: whether an unbroken run of them joins what happened before it to what happened after. Pure.

use super::epoch::{Epoch, Range};
use super::{Gap, Seen};

/// A run of ids without a hole. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The id that it begins with, and when its record happened.
    pub(crate) from: (i64, i64),
    /// The id that it ends with, and when its record had happened and was received.
    pub(crate) to: (i64, i64),
}

/// What the ids say of an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdsSay {
    /// Ids are missing in it or at its edges.
    Missing(Vec<Gap>),
    /// A run of them holds its ids, one of before its start, and one of after its end.
    Joined(Run),
    /// No record has an id, or none is counted.
    NothingAtAll,
    /// Records of it have none.
    NothingOfIt,
    /// A new record came with an id that another had, or the source's address changed.
    Disputed,
    /// The counter restarted in it or around it.
    Restarted,
    /// The run that holds its ids begins in it, or later.
    NothingBefore(Run),
    /// The run that holds its ids ends in it, or earlier.
    NothingAfter(Run),
    /// Nothing is known of the ids of that time.
    Forgotten,
}

impl Seen {
    /// What the ids say of the time from `start` on and before `end`, in milliseconds since 1970, whose records have ids from the
    /// first to the last of `ids`. `has_records`: whether there are any.
    pub(crate) fn say_of(&self, start: i64, end: i64, ids: Option<(i64, i64)>, has_records: bool) -> IdsSay {
        let epochs = || self.epochs.iter().filter(|epoch| !epoch.is_aside());
        if self.field.is_empty() || epochs().next().is_none() {
            return IdsSay::NothingAtAll;
        }
        let meets = |epoch: &Epoch| epoch.since < end && epoch.newest >= start;
        let missing: Vec<Gap> =
            epochs().filter(|epoch| meets(epoch)).flat_map(|epoch| missing(epoch, start, end, ids)).collect();
        if !missing.is_empty() {
            return IdsSay::Missing(missing);
        }
        if self.unnumbered.meet(start, end) || (has_records && ids.is_none()) {
            return IdsSay::NothingOfIt;
        }
        if self.disputed.meet(start, end) {
            return IdsSay::Disputed;
        }
        if epochs().filter(|epoch| meets(epoch)).count() > 1 {
            return IdsSay::Restarted;
        }
        let holding =
            epochs().flat_map(|epoch| epoch.ranges.values().filter(|range| holds(epoch, range, start, end, ids)));
        let said: Vec<IdsSay> = holding.map(|range| joined(range, start, end, ids)).collect();
        let is_joined = |said: &&IdsSay| matches!(said, IdsSay::Joined(_));
        said.iter().find(is_joined).or(said.last()).cloned().unwrap_or(IdsSay::Forgotten)
    }
}

/// The holes of an epoch that touch the ids, or lie between records of before the end and of after the start.
fn missing(epoch: &Epoch, start: i64, end: i64, ids: Option<(i64, i64)>) -> impl Iterator<Item = Gap> {
    let next = epoch.ranges.iter().skip(1);
    epoch.ranges.values().zip(next).filter_map(move |(below, (from, above))| {
        let gap = Gap { from: below.to + 1, to: from - 1 };
        let touches =
            ids.is_some_and(|(low, high)| gap.to.saturating_add(1) >= low && gap.from.saturating_sub(1) <= high);
        let known = below.last != i64::MIN && above.first != i64::MAX;
        (touches || (known && below.last < end && above.first >= start)).then_some(gap)
    })
}

/// Whether a range is the one that has the ids of that time.
fn holds(epoch: &Epoch, range: &Range, start: i64, end: i64, ids: Option<(i64, i64)>) -> bool {
    match ids {
        Some((low, high)) => range.sure <= low && range.to >= high && epoch.since < end && epoch.newest >= start,
        None => range.last >= start || range.first < end,
    }
}

fn joined(range: &Range, start: i64, end: i64, ids: Option<(i64, i64)>) -> IdsSay {
    let run = Run { from: (range.sure, range.first), to: (range.to, range.last) };
    let (low, high) = ids.unwrap_or((i64::MAX, i64::MIN));
    if range.first >= start || range.sure >= low {
        IdsSay::NothingBefore(run)
    } else if range.last < end || range.to <= high {
        IdsSay::NothingAfter(run)
    } else {
        IdsSay::Joined(run)
    }
}
