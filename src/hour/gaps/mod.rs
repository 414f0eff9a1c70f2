//! Gaps: ranges of the source's rising number (`record_id`) that never came. A hole means logs that were never seen.
//!
//! [`Seen`] is a set of intervals, one for each unbroken run of ids, so it stays small however many logs come: at most [`MAX_RANGES`].
//! Beyond that the oldest holes are given up and counted. Duplicates count like new records, and a late record closes its hole. Tokens
//! in quarantine have no id: they leave a hole until they are recovered.
//!
//! **The counter restarts** when an id is more than [`RESTART_DISTANCE`] below the highest, or is 0 or 1 and the highest was past
//! [`MAX_STRAYS`], or came before, in a new record that is newer than all before. Then an *epoch* begins, and each epoch has a set of
//! ids of its own. A record belongs to the newest epoch that began before it. Where its time is between two epochs, or its id is too
//! high for its time, its id decides. An id comes once in an epoch, so a new record whose id is there already belongs to another epoch
//! that lacks it. Where none does, the time of that record is *disputed*: no hour there is witnessed by its ids. So is the time between
//! two records whose ids and times are in another order, for the counter may have gone back: what follows joins nothing before.
//!
//! **Strays**: an id further than [`RESTART_DISTANCE`] from all others is put aside until the ids around it come: the next one, or two
//! within that distance. So are up to [`MAX_STRAYS`] ids far off after which the counter continues where it was. They make no hole.
//!
//! The set is written with each commit, in the same atomic batch of the write-ahead log, and with each step of the ledger; the copy
//! with the higher version counts. A record that the ledger's copy does not know has no receipt, so its page is in the journal: a
//! damaged log that is filled again from there gives the same set. One state directory has one source.

mod epoch;
pub(crate) mod runs;
mod stored;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::epoch::{At, Epoch, Range};
pub(crate) use self::stored::PADDING;
pub use self::watch::{PolledTooRarely, Watch};
use super::spans::Spans;

/// An id that is further below the highest shows that the counter restarted: logs never overtake each other by so much.
pub(crate) const RESTART_DISTANCE: i64 = 1000;
/// So many ids far off may be strays.
pub(crate) const MAX_STRAYS: u64 = 16;
/// Ranges that are kept; the oldest holes beyond that are given up.
pub(crate) const MAX_RANGES: usize = 1024;
/// Epochs that are kept.
const MAX_EPOCHS: usize = 8;
/// Ranges of strays that are kept, so that they are known when they come again.
const MAX_STRAY_RANGES: usize = 64;
/// Spans of time of which ids say nothing: with more, those that are closest become one.
const MAX_SPANS: usize = 64;

/// A range of ids that never came, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first.
    pub(crate) from: i64,
    /// The last.
    pub(crate) to: i64,
}

impl Gap {
    /// How many ids it spans.
    #[must_use]
    pub(crate) const fn ids(&self) -> u64 {
        self.to.abs_diff(self.from).saturating_add(1)
    }
}

/// `5`, or `5–9`.
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { self.from.fmt(f) } else { write!(f, "{}–{}", self.from, self.to) }
    }
}

/// An id that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivedId {
    /// The id.
    pub(crate) id: i64,
    /// Its record's time.
    pub at: Timestamp,
    /// Whether its record is new.
    pub(crate) is_new: bool,
}

/// The ids that came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The field that holds the id. Empty: gaps are not looked for.
    field: String,
    /// Rises with each change.
    version: u64,
    /// Oldest first.
    epochs: Vec<Epoch>,
    /// Ids in holes that were given up.
    given_up: u64,
    /// The newest journal segment whose ids are here.
    segment: u64,
    /// When the last page was received after which more ids were missing than before: milliseconds since 1970.
    grew: Option<i64>,
    /// When records happened whose ids cannot be told from those of others.
    disputed: Spans,
    /// When records happened that have no id.
    unnumbered: Spans,
}

impl Seen {
    /// No ids of `field` seen yet.
    #[must_use]
    pub(crate) fn of(field: &str) -> Self {
        Self { field: field.to_owned(), ..Self::default() }
    }

    /// The set for ids in `field`: this one if it is of that field, else an empty one.
    #[must_use]
    pub(crate) fn for_field(&self, field: &str) -> Self {
        if self.field == field {
            return self.clone();
        }
        Self { version: self.version + 1, ..Self::of(field) }
    }

    /// Rises with each change: of two copies the one with the higher version is newer.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The same with the ids of a journal segment that was received at `received`.
    #[must_use]
    pub(crate) fn with(&self, ids: &[ArrivedId], segment: u64, received: Timestamp) -> Self {
        let mut seen = self.clone();
        if seen.field.is_empty() {
            return seen;
        }
        for ArrivedId { id, at, is_new } in ids {
            // A log that is filled again takes records for new whose ids were counted before.
            let is_known = !is_new || segment <= self.segment;
            if !(is_known && seen.has(*id)) {
                let at = At { event: at.as_millisecond(), received: received.as_millisecond() };
                seen.add(*id, at, !is_known);
            }
        }
        seen.segment = seen.segment.max(segment);
        seen.give_up_the_oldest();
        seen.disputed.join_closest(MAX_SPANS);
        if seen == *self {
            return seen;
        }
        seen.version += 1;
        if seen.missing() > self.missing() {
            seen.grew = Some(received.as_millisecond());
        }
        seen
    }

    /// The same, knowing that new records without an id happened within these spans: ids alone say nothing of those times.
    #[must_use]
    pub(crate) fn with_unnumbered(mut self, spans: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> Self {
        let before = self.unnumbered.clone();
        if !self.field.is_empty() {
            spans.into_iter().for_each(|(from, to)| self.unnumbered.add(from.as_millisecond(), to.as_millisecond()));
            self.unnumbered.join_closest(MAX_SPANS);
        }
        self.version += u64::from(self.unnumbered != before);
        self
    }

    /// The same, knowing that what came until `newest` may be of another counter than what came before: the source's address changed.
    #[must_use]
    pub(crate) fn with_another_source(mut self, newest: Timestamp) -> Self {
        let before = self.disputed.clone();
        if let Some(epoch) = self.epochs.last().filter(|epoch| !epoch.is_aside()) {
            self.disputed.add(epoch.newest.min(newest.as_millisecond()), newest.as_millisecond());
            self.disputed.join_closest(MAX_SPANS);
        }
        self.version += u64::from(self.disputed != before);
        self
    }

    /// Whether the id is far from all others, and so not part of the count.
    pub(crate) fn is_stray(&self, id: i64) -> bool {
        self.epochs.first().is_some_and(|epoch| epoch.is_aside() && epoch.has(id))
    }

    fn has(&self, id: i64) -> bool {
        self.epochs.iter().rev().any(|epoch| epoch.has(id))
    }

    /// `is_new`: of a record that was not known.
    fn add(&mut self, id: i64, at: At, is_new: bool) {
        self.put_strays_aside(id, at.event);
        let restarts = self.restarts(id, at.event, is_new);
        let its = self.by_time(id, at.event).filter(|_| !restarts);
        let its_epoch = its.and_then(|n| self.epochs.get(n));
        let is_far = match its_epoch {
            Some(epoch) => epoch.is_far(id),
            None => self.epochs.last().is_some_and(|epoch| !epoch.is_aside() && epoch.is_far(id)),
        };
        let Some(around) = self.around(id, is_far) else { return self.put_one_aside(id, at, is_new) };
        let Some(n) = its else { return self.begin(id, at, around) };
        if is_far {
            self.put_a_lone_one_aside(n);
        }
        let Some(epoch) = self.epochs.get_mut(n) else { return };
        epoch.take(around);
        let contradicted = epoch.contradicted(id, at.event).filter(|_| is_new);
        if epoch.insert(id, at) {
            epoch.newest = epoch.newest.max(at.event);
            if let Some((from, to)) = contradicted {
                epoch.cut(id);
                self.disputed.add(from, to);
            }
        } else if let Some(other) = self.that_lacks(id, n) {
            other.insert(id, at);
        } else if is_new {
            self.disputed.add(at.event, at.event);
        }
    }

    /// Begins an epoch with `id` and the ids around it.
    fn begin(&mut self, id: i64, at: At, around: BTreeMap<i64, Range>) {
        if let Some(lone) = self.epochs.pop_if(|last| !last.is_aside() && last.count() == 1 && last.is_far(id)) {
            self.put_aside(lone.ranges);
        }
        let newest = self.epochs.last().map_or(i64::MIN, |epoch| epoch.newest);
        let began = around.values().map(|range| range.first).filter(|first| *first > newest).min();
        let mut epoch = Epoch::starting(began.map_or(at.event, |began| began.min(at.event)));
        epoch.newest = at.event;
        epoch.take(around);
        epoch.insert(id, at);
        self.epochs.push(epoch);
    }

    /// The strays that `id` shows to be none, taken from those aside. `None`: it is itself a stray, as far as one can tell.
    fn around(&mut self, id: i64, is_far: bool) -> Option<BTreeMap<i64, Range>> {
        if !is_far {
            return Some(BTreeMap::new());
        }
        let aside = self.epochs.first_mut().filter(|epoch| epoch.is_aside())?;
        let touches = |(from, range): &(&i64, &Range)| from.abs_diff(id) == 1 || range.to.abs_diff(id) == 1;
        let is_near = |(from, range): &(&i64, &Range)| {
            let far = RESTART_DISTANCE.unsigned_abs();
            from.abs_diff(id) <= far || range.to.abs_diff(id) <= far
        };
        let next: Vec<i64> = aside.ranges.iter().filter(touches).map(|(from, _)| *from).collect();
        let near: Vec<i64> = aside.ranges.iter().filter(is_near).map(|(from, _)| *from).collect();
        let around = if next.is_empty() && near.len() > 1 { near } else { next };
        let around: BTreeMap<i64, Range> =
            around.into_iter().filter_map(|from| aside.ranges.remove_entry(&from)).collect();
        (!around.is_empty()).then_some(around)
    }

    /// Puts the only id of an epoch aside: others, far from it, have come around each other.
    fn put_a_lone_one_aside(&mut self, n: usize) {
        let Some(epoch) = self.epochs.get_mut(n).filter(|epoch| epoch.count() == 1) else { return };
        let lone = std::mem::take(&mut epoch.ranges);
        self.put_aside(lone);
    }

    /// Whether the counter restarts with `id`.
    fn restarts(&self, id: i64, at: i64, is_new: bool) -> bool {
        self.epochs.last().filter(|epoch| !epoch.is_aside()).is_none_or(|epoch| {
            let is_far_below = id < epoch.highest().saturating_sub(RESTART_DISTANCE);
            let begins = (0..=1).contains(&id) && epoch.highest().saturating_sub(id) > MAX_STRAYS.cast_signed();
            (is_far_below || begins || (is_new && epoch.has(id))) && at > epoch.newest
        })
    }

    /// Puts ids far off aside, if `id` shows that the counter was never there.
    fn put_strays_aside(&mut self, id: i64, at: i64) {
        let counted = self.epochs.iter().filter(|epoch| !epoch.is_aside()).count();
        let [.., before, last] = self.epochs.as_mut_slice() else {
            return self.put_top_aside(id, at);
        };
        let goes_on = counted > 1 && at >= last.since && before.is_near(id) && !last.is_near(id);
        if !goes_on || last.count() > MAX_STRAYS {
            return self.put_top_aside(id, at);
        }
        let strays = self.epochs.pop().map_or_else(BTreeMap::new, |epoch| epoch.ranges);
        self.put_aside(strays);
    }

    fn put_top_aside(&mut self, id: i64, at: i64) {
        let last = self
            .epochs
            .last_mut()
            .filter(|epoch| at > epoch.newest && id < epoch.highest().saturating_sub(RESTART_DISTANCE));
        let strays = last.map_or_else(BTreeMap::new, |epoch| epoch.without_strays(id, MAX_STRAYS));
        if !strays.is_empty() {
            self.put_aside(strays);
        }
    }

    fn put_one_aside(&mut self, id: i64, at: At, is_new: bool) {
        match self.epochs.first_mut() {
            // Of two records with this id it is not known which one is joined to those that come.
            Some(aside) if aside.is_aside() && aside.has(id) && is_new => aside.forget_first(id),
            _ => self.put_aside(BTreeMap::from([(id, Range::of_one(id, at))])),
        }
    }

    fn put_aside(&mut self, strays: BTreeMap<i64, Range>) {
        if !self.epochs.first().is_some_and(Epoch::is_aside) {
            self.epochs.insert(0, Epoch::aside());
        }
        let Some(aside) = self.epochs.first_mut() else { return };
        aside.take(strays);
        while aside.ranges.len() > MAX_STRAY_RANGES {
            aside.ranges.pop_first();
        }
    }

    /// The epoch of a record with this id and time.
    fn by_time(&self, id: i64, at: i64) -> Option<usize> {
        let mut later: Option<(usize, &Epoch)> = None;
        for (n, epoch) in self.epochs.iter().enumerate().rev().filter(|(_, epoch)| !epoch.is_aside()) {
            if let Some((m, next)) = later {
                let is_higher = id > epoch.highest();
                match at > epoch.newest {
                    true => return Some(if is_higher { n } else { m }),
                    false if next.is_next(id) || (is_higher && next.is_near(id)) => return Some(m),
                    false => {}
                }
            }
            if at >= epoch.since {
                return Some(n);
            }
            later = Some((n, epoch));
        }
        later.map(|(n, _)| n)
    }

    /// The newest epoch that lacks `id`, other than the one at `its`, which has it.
    fn that_lacks(&mut self, id: i64, its: usize) -> Option<&mut Epoch> {
        let lacks = |(n, epoch): (usize, &Epoch)| {
            let fits = if n > its { epoch.is_near(id) } else { epoch.spans(id) };
            fits && !epoch.has(id) && !epoch.is_aside()
        };
        let other = (0..self.epochs.len()).rev().find(|n| self.epochs.get(*n).is_some_and(|epoch| lacks((*n, epoch))));
        other.and_then(|n| self.epochs.get_mut(n))
    }

    fn give_up_the_oldest(&mut self) {
        while self.epochs.len() > MAX_EPOCHS {
            self.forget_an_epoch();
        }
        let counted = self.epochs.iter_mut().filter(|epoch| !epoch.is_aside());
        let counted: Vec<&mut Epoch> = counted.collect();
        let mut surplus = counted.iter().map(|epoch| epoch.ranges.len()).sum::<usize>().saturating_sub(MAX_RANGES);
        for epoch in counted {
            let merged = surplus.min(epoch.ranges.len().saturating_sub(1));
            if merged > 0 {
                self.given_up = self.given_up.saturating_add(epoch.give_up(merged));
                surplus -= merged;
            }
        }
    }

    /// Forgets an old epoch: the oldest without holes, else the oldest.
    fn forget_an_epoch(&mut self) {
        let old = self.epochs.len().saturating_sub(1);
        let is_old = |(n, epoch): &(usize, &Epoch)| *n < old && !epoch.is_aside();
        let mut old = self.epochs.iter().enumerate().filter(is_old);
        let oldest = old.clone().next().map_or(0, |(n, _)| n);
        let whole = old.find(|(_, epoch)| epoch.ranges.len() == 1).map(|(n, _)| n);
        let gone = self.epochs.remove(whole.unwrap_or(oldest));
        self.given_up = gone.gaps().fold(self.given_up, |sum, gap| sum.saturating_add(gap.ids()));
    }

    /// The ranges that never came, those of the oldest epoch first, by id.
    #[must_use]
    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.epochs.iter().flat_map(Epoch::gaps).collect()
    }

    /// How many ids never came.
    #[must_use]
    pub(crate) fn missing(&self) -> u64 {
        self.epochs.iter().flat_map(Epoch::gaps).fold(0, |sum, gap| sum.saturating_add(gap.ids()))
    }

    /// Ids in holes that were given up, because there were too many holes.
    #[must_use]
    pub(crate) const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// When the last hole was found. `None`: never.
    #[must_use]
    pub(crate) fn last_found(&self) -> Option<Timestamp> {
        self.grew.and_then(|at| Timestamp::from_millisecond(at).ok())
    }
}
