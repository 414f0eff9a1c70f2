//! The log's book: which records are pending, by hour and by commit. Pure; nothing here touches disk.
//!
//! Kept twice, in the shape of the two questions that are asked of it: of an hour, which commits have pending records of it; of a
//! commit, of which hours. Invariant: both say the same, and what is asked or told of one hour or one commit costs what that hour or
//! commit has, however many others there are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::shares::Shares;
use super::sled::{Block, CommitRow, ENTRY, Share};
use crate::hour::Hour;

/// What is pending of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Records whose commits have no receipt.
    pub records: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// When the first of them was received.
    pub first_received: Timestamp,
    /// The newest commit with one of them.
    pub newest_commit: u64,
}

/// A commit.
#[derive(Debug)]
pub(super) struct Commit {
    /// The generation that has it.
    pub(super) generation: u32,
    /// Pieces of its row.
    pub(super) pieces: u32,
    /// Its row without the shares.
    pub(super) row: CommitRow,
    /// What it brought; nothing once none of it is pending.
    shares: Shares,
    /// Shares that are pending.
    left: usize,
    /// Its records, pending or not, and the bytes of its block.
    records: u64,
    /// See `records`.
    pub(super) length: u64,
}

impl Commit {
    /// Where the records of its shares begin in its block: the first entry, and the first line.
    pub(super) fn places(&self) -> impl Iterator<Item = (Share, u64, u64)> {
        let mut at = (0, self.records * ENTRY as u64);
        self.shares.iter().map(move |share| {
            let (entries, lines) = at;
            at = (entries + u64::from(share.records) * ENTRY as u64, lines + u64::from(share.bytes));
            (share, entries, lines)
        })
    }

    fn received(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.row.received).unwrap_or(Timestamp::MIN)
    }
}

/// The records of an hour that a commit has. The commit is counted from the book's first.
#[derive(Debug, Clone, Copy)]
struct Part {
    commit: u32,
    records: u32,
    bytes: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    first: u64,
    commits: BTreeMap<u64, Commit>,
    segments: BTreeMap<u64, u64>,
    hours: BTreeMap<Hour, Vec<Part>>,
    /// Pending records of all hours, and bytes of their lines.
    sum: (u64, u64),
    /// Commits with pending records.
    needed: BTreeSet<u64>,
    /// The same, counted by generation; and all commits.
    by_generation: BTreeMap<u32, (usize, usize)>,
    /// Commits whose rows on disk list what is no longer pending.
    changed: BTreeSet<u64>,
}

impl Book {
    /// Enters a commit. Its shares are in the order of their hours.
    pub(super) fn enter(&mut self, number: u64, generation: u32, pieces: u32, mut row: CommitRow) {
        if self.commits.is_empty() {
            self.first = number;
        }
        self.forget(number);
        self.segments.insert(row.segment, number);
        let pending = || row.shares.iter().filter(|share| share.is_pending);
        let commit = u32::try_from(number.saturating_sub(self.first)).unwrap_or(u32::MAX);
        for share in pending() {
            let part = Part { commit, records: share.records, bytes: share.bytes };
            let parts = self.hours.entry(share.hour).or_default();
            let at = parts.partition_point(|other| other.commit < commit);
            // Of most of many hours nothing more comes.
            parts.reserve_exact(1);
            parts.insert(at, part);
            self.sum = (self.sum.0 + u64::from(share.records), self.sum.1 + u64::from(share.bytes));
        }
        let left = pending().count();
        let counted = self.by_generation.entry(generation).or_default();
        counted.1 += 1;
        if left > 0 {
            counted.0 += 1;
            self.needed.insert(number);
        }
        let (records, length) = (row.records(), row.bytes());
        let shares = if left > 0 { Shares::new(&std::mem::take(&mut row.shares)) } else { Shares::default() };
        self.commits.insert(number, Commit { generation, pieces, row, shares, left, records, length });
    }

    /// Stops counting the records of an hour in commits up to `through`: they have receipts.
    pub(super) fn receipt(&mut self, hour: Hour, through: u64) {
        let Some(parts) = self.hours.get_mut(&hour) else { return };
        let receipted = parts.partition_point(|part| self.first + u64::from(part.commit) <= through);
        let done: Vec<Part> = parts.drain(..receipted).collect();
        if parts.is_empty() {
            self.hours.remove(&hour);
        }
        for part in done {
            self.sum.0 = self.sum.0.saturating_sub(u64::from(part.records));
            self.sum.1 = self.sum.1.saturating_sub(u64::from(part.bytes));
            self.strike(self.first + u64::from(part.commit));
        }
    }

    /// One share more of a commit is not pending.
    fn strike(&mut self, number: u64) {
        let Some(commit) = self.commits.get_mut(&number) else { return };
        commit.left = commit.left.saturating_sub(1);
        self.changed.insert(number);
        if commit.left == 0 {
            (commit.shares, commit.row.block) = (Shares::default(), Block::default());
            self.needed.remove(&number);
            let counted = self.by_generation.entry(commit.generation).or_default();
            counted.0 = counted.0.saturating_sub(1);
        }
    }

    /// Forgets a commit.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(commit) = self.commits.remove(&number) else { return };
        self.segments.remove(&commit.row.segment);
        self.changed.remove(&number);
        let was_needed = self.needed.remove(&number);
        let counted = self.by_generation.entry(commit.generation).or_default();
        *counted = (counted.0.saturating_sub(usize::from(was_needed)), counted.1.saturating_sub(1));
        for share in commit.shares.iter() {
            let Some(parts) = self.hours.get_mut(&share.hour) else { continue };
            let before = parts.len();
            parts.retain(|part| self.first + u64::from(part.commit) != number);
            if parts.len() == before {
                continue;
            }
            if parts.is_empty() {
                self.hours.remove(&share.hour);
            }
            self.sum.0 = self.sum.0.saturating_sub(u64::from(share.records));
            self.sum.1 = self.sum.1.saturating_sub(u64::from(share.bytes));
        }
    }

    /// Notes that the row on disk is that of the book, in so many pieces.
    pub(super) fn written(&mut self, number: u64, pieces: u32) {
        self.changed.remove(&number);
        self.commits.get_mut(&number).into_iter().for_each(|commit| commit.pieces = pieces);
    }

    /// The row of a commit as it should be on disk.
    pub(super) fn row(&self, number: u64) -> Option<CommitRow> {
        let commit = self.commits.get(&number)?;
        let shares =
            commit.shares.iter().map(|share| Share { is_pending: self.is_pending(share.hour, number), ..share });
        Some(CommitRow { shares: shares.collect(), ..commit.row.clone() })
    }

    /// Whether the records of an hour in a commit are pending.
    pub(super) fn is_pending(&self, hour: Hour, number: u64) -> bool {
        let found =
            |parts: &Vec<Part>| parts.binary_search_by_key(&number, |p| self.first + u64::from(p.commit)).is_ok();
        self.hours.get(&hour).is_some_and(found)
    }

    /// The commits whose rows on disk list what is no longer pending.
    pub(super) fn changed(&self) -> impl Iterator<Item = (u64, &Commit)> {
        self.changed.iter().filter_map(|number| Some((*number, self.commits.get(number)?)))
    }

    /// The commit with that number.
    pub(super) fn commit(&self, number: u64) -> Option<&Commit> {
        self.commits.get(&number)
    }

    /// All commits.
    pub(super) fn commits(&self) -> impl Iterator<Item = (u64, &Commit)> {
        self.commits.iter().map(|(number, commit)| (*number, commit))
    }

    /// The commit of a segment.
    pub(super) fn commit_of(&self, segment: u64) -> Option<u64> {
        self.segments.get(&segment).copied()
    }

    /// The segments that were committed, with their commits.
    pub(super) fn segments(&self) -> impl Iterator<Item = (u64, u64)> {
        self.segments.iter().map(|(segment, commit)| (*segment, *commit))
    }

    /// Whether none of a commit's records is pending.
    pub(super) fn is_finished(&self, number: u64) -> bool {
        self.commits.contains_key(&number) && !self.needed.contains(&number)
    }

    /// Whether any commit of a generation has pending records.
    pub(super) fn needs(&self, generation: u32) -> bool {
        self.by_generation.get(&generation).is_some_and(|(needed, _)| *needed > 0)
    }

    /// The segment of the oldest commit with pending records, and the hours of these.
    pub(super) fn oldest_needed(&self) -> Option<(u64, impl Iterator<Item = Hour>)> {
        let number = *self.needed.first()?;
        let commit = self.commits.get(&number)?;
        let hours = commit.shares.iter().map(|share| share.hour);
        Some((commit.row.segment, hours.filter(move |hour| self.is_pending(*hour, number))))
    }

    /// The hours with pending records.
    pub(super) fn hours(&self) -> impl DoubleEndedIterator<Item = Hour> {
        self.hours.keys().copied()
    }

    /// How many hours have pending records.
    pub(super) fn hour_count(&self) -> usize {
        self.hours.len()
    }

    /// Whether anything is pending of an hour.
    pub(super) fn has(&self, hour: Hour) -> bool {
        self.hours.contains_key(&hour)
    }

    /// Pending records of all hours.
    pub(super) const fn records(&self) -> u64 {
        self.sum.0
    }

    /// Bytes of the lines of all pending records.
    pub(super) const fn bytes(&self) -> u64 {
        self.sum.1
    }

    fn parts(&self, hour: Hour, after: u64) -> &[Part] {
        let parts = self.hours.get(&hour).map_or(&[][..], Vec::as_slice);
        let from = parts.partition_point(|part| self.first + u64::from(part.commit) <= after);
        parts.get(from..).unwrap_or_default()
    }

    /// The commits after `after` with pending records of an hour.
    pub(super) fn commits_of(&self, hour: Hour, after: u64) -> impl Iterator<Item = u64> {
        self.parts(hour, after).iter().map(|part| self.first + u64::from(part.commit))
    }

    /// What is pending of an hour in commits after `after`. `None`: nothing.
    pub(super) fn unsealed(&self, hour: Hour, after: u64) -> Option<Pending> {
        let parts = self.parts(hour, after);
        let received = |part: &Part| self.commits.get(&(self.first + u64::from(part.commit))).map(Commit::received);
        Some(Pending {
            records: parts.iter().map(|part| u64::from(part.records)).sum(),
            bytes: parts.iter().map(|part| u64::from(part.bytes)).sum(),
            first_received: parts.iter().filter_map(received).min()?,
            newest_commit: parts.last().map(|part| self.first + u64::from(part.commit))?,
        })
    }

    /// How many records of an hour are in commits after `after`, up to `through`.
    pub(super) fn count_between(&self, hour: Hour, after: u64, through: u64) -> u64 {
        let parts = self.parts(hour, after).iter();
        let until = parts.take_while(|part| self.first + u64::from(part.commit) <= through);
        until.map(|part| u64::from(part.records)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(n: u32) -> Hour {
        Hour::from_key((500_000 + n).to_be_bytes()).unwrap()
    }

    fn row(segment: u64, hours: &[(u32, u32)]) -> CommitRow {
        let share = |(n, records): &(u32, u32)| Share {
            hour: hour(*n),
            is_pending: true,
            records: *records,
            bytes: 10 * records,
        };
        let received = i128::from(segment) * 1_000_000_000;
        CommitRow { segment, pages: 1, received, shares: hours.iter().map(share).collect(), ..CommitRow::default() }
    }

    /// What a naive book says of everything, to compare with.
    #[derive(Default)]
    struct Naive(BTreeMap<u64, Vec<(u32, u32)>>);

    impl Naive {
        fn count(&self, n: u32, after: u64, through: u64) -> u64 {
            let commits = self.0.iter().filter(|(number, _)| **number > after && **number <= through);
            commits.flat_map(|(_, hours)| hours).filter(|(of, _)| *of == n).map(|(_, count)| u64::from(*count)).sum()
        }
    }

    #[test]
    fn book_says_what_a_scan_over_everything_would_say() {
        let (mut book, mut naive) = (Book::default(), Naive::default());
        let mut random = fastrand::Rng::with_seed(7);
        for number in 11..300 {
            if number % 3 > 0 {
                let mut hours: Vec<(u32, u32)> = (0..20).map(|n| (n, random.u32(1..9))).collect();
                hours.retain(|_| random.bool());
                book.enter(number, u32::try_from(number / 50).unwrap(), 1, row(number, &hours));
                naive.0.insert(number, hours);
            } else if number % 7 == 0 {
                let gone = random.u64(11..number);
                book.forget(gone);
                naive.0.remove(&gone);
            } else {
                let (n, through) = (random.u32(0..20), random.u64(5..number));
                book.receipt(hour(n), through);
                naive.0.range_mut(..=through).for_each(|(_, hours)| hours.retain(|(of, _)| *of != n));
            }
            for n in 0..20 {
                let (after, through) = (random.u64(0..number), random.u64(0..number));
                let expected = naive.count(n, after, u64::MAX);
                assert_eq!(book.unsealed(hour(n), after).map_or(0, |pending| pending.records), expected);
                assert_eq!(book.count_between(hour(n), after, through), naive.count(n, after, through));
                assert_eq!(book.has(hour(n)), naive.count(n, 0, u64::MAX) > 0);
            }
            let all: u64 = (0..20).map(|n| naive.count(n, 0, u64::MAX)).sum();
            assert_eq!((book.records(), book.bytes()), (all, 10 * all));
            let oldest = naive.0.iter().find(|(_, hours)| !hours.is_empty()).map(|(number, _)| *number);
            assert_eq!(book.oldest_needed().map(|(segment, _)| segment), oldest);
            let needed = |generation| naive.0.iter().any(|(number, h)| number / 50 == generation && !h.is_empty());
            assert!((0..6).all(|g| book.needs(u32::try_from(g).unwrap()) == needed(g)));
            assert!(naive.0.iter().all(|(number, hours)| book.is_finished(*number) == hours.is_empty()));
        }
    }

    #[test]
    fn unsealed_records_tell_when_the_first_was_received_and_the_newest_commit() {
        let mut book = Book::default();
        // An older page may be committed after a newer one.
        for (number, segment) in [(5, 9), (6, 2), (8, 7)] {
            book.enter(number, 1, 1, row(segment, &[(1, 3)]));
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        let pending = |records, second, newest_commit| {
            Some(Pending { records, bytes: 10 * records, first_received: at(second), newest_commit })
        };
        assert_eq!(book.unsealed(hour(1), 0), pending(9, 2, 8));
        assert_eq!(book.unsealed(hour(1), 6), pending(3, 7, 8));
        assert_eq!((book.unsealed(hour(1), 8), book.unsealed(hour(2), 0)), (None, None));
    }

    #[test]
    fn only_what_changed_is_to_be_written_and_a_finished_commit_lists_nothing() {
        let mut book = Book::default();
        book.enter(1, 1, 1, row(1, &[(1, 1), (2, 1)]));
        book.enter(2, 1, 1, row(2, &[(2, 1)]));
        book.enter(3, 2, 1, row(3, &[(3, 1)]));
        assert_eq!(book.changed().count(), 0);
        book.receipt(hour(2), 9);
        let changed: Vec<(u64, usize)> =
            book.changed().map(|(number, _)| (number, book.row(number).unwrap().shares.len())).collect();
        assert_eq!(changed, [(1, 2), (2, 0)]);
        assert!(book.row(1).unwrap().shares.iter().map(|share| share.is_pending).eq([true, false]));
        book.written(1, 1);
        book.forget(2);
        assert_eq!(book.changed().count(), 0);
        assert!(book.hours().eq([hour(1), hour(3)]));
    }
}
