//! Generations begin and end: a new one for what comes, one for what is left of others that are mostly dead.
//!
//! Owns which directories below `wal/` there are. Invariant: a generation is whole and durable before it has its name, and
//! those that it replaces go only then; a name that ends in `.new` or `.dead` is of one that is not whole, or no longer
//! needed. A crash leaves such names, or a replaced generation beside the one that says so: the next open removes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::book::Commit;
use super::{Batch, CommitRow, Generation, Meta, Wal};
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::tally::Tally;
use crate::state::files::crash_point;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;

/// A generation beyond this size on disk is full: the next commit starts another.
const FULL: u64 = 32 << 20;
/// A generation beyond this size is replaced once it is mostly dead.
const WORTH_REPLACING: u64 = 6 << 20;
/// What a pending record takes in a generation beside its line, to judge what is dead.
const RECORD: u64 = 40;
/// Hours beside the pending ones whose counts a new generation takes over: what comes again is mostly of the newest hours.
const TALLIES: usize = 512;

impl Wal {
    /// Starts a new generation where there is none, where the newest is full, or where it is mostly dead.
    pub(super) fn make_room(&mut self) -> Result<()> {
        let Some(newest) = self.generations.last() else {
            return self.start(&[]);
        };
        if newest.disk_bytes() > crash_point::threshold("ETL_FULL", FULL) && !self.is_mostly_dead() {
            self.start(&[])
        } else {
            self.tidy()
        }
    }

    /// Replaces the newest generation, too, where it is mostly dead: between runs the log stays small.
    pub(crate) fn tidy(&mut self) -> Result<()> {
        if self.is_mostly_dead() { self.replace_all() } else { Ok(()) }
    }

    fn is_mostly_dead(&self) -> bool {
        let size: u64 = self.generations.iter().map(Generation::disk_bytes).sum();
        let pending = self.book.bytes() + self.book.records() * RECORD;
        size > crash_point::threshold("ETL_WORTH_REPLACING", WORTH_REPLACING) && pending < size / 4
    }

    /// Starts a generation that replaces all others.
    pub(super) fn replace_all(&mut self) -> Result<()> {
        let all: Vec<u32> = self.generations.iter().map(|g| g.id).collect();
        self.start(&all)
    }

    /// Starts a generation with a number that none of `older` has, which are not among ours.
    pub(super) fn start_above(&mut self, older: &[(u32, PathBuf)]) -> Result<()> {
        let next = older.iter().map(|(id, _)| id + 1).max().unwrap_or(1);
        self.start_numbered(next, &[])
    }

    /// Starts a generation that takes over the pending records of those that it replaces.
    fn start(&mut self, replaces: &[u32]) -> Result<()> {
        self.start_numbered(1, replaces)
    }

    fn start_numbered(&mut self, least: u32, replaces: &[u32]) -> Result<()> {
        self.trim_tallies();
        let id = self.generations.last().map_or(1, |g| g.id + 1).max(least);
        let (path, new) = (self.dir.join(format!("{id:06}")), self.dir.join(format!("{id:06}.new")));
        let replaced: BTreeSet<u32> = replaces.iter().copied().collect();
        let (moved, tallies, set) = (self.needed_of(&replaced), self.tallies_in(&replaced), self.new_set());
        let rows = durable_step(Step::GenerationStarted, || {
            let generation = Generation::open(&new, id)?;
            let meta = Meta { replaces: replaces.to_vec(), ..self.meta.clone() };
            let rows = self.move_commits(&moved, &generation)?;
            let mut batch = Batch::default();
            batch.put_form();
            batch.put_meta(&meta)?;
            batch.put_seen(&self.seen)?;
            batch.put_tallies(set, &tallies)?;
            generation.write(batch)?;
            generation.close();
            durable::rename(&new, &path).map(|()| rows)
        })?;
        self.generations.push(Generation::open(&path, id)?);
        self.rest();
        let of_replaced = |(number, commit): (u64, &Commit)| replaced.contains(&commit.generation).then_some(number);
        let gone: Vec<u64> = self.book.commits().filter_map(of_replaced).collect();
        gone.into_iter().for_each(|commit| self.forget(commit));
        rows.into_iter().for_each(|(commit, row, pieces)| self.book.enter(commit, id, pieces, row));
        self.tallies.extend(tallies.into_iter().map(|(hour, tally)| (hour, (tally, id))));
        durable::remove_each(&self.drop_generations(&replaced)?)
    }

    /// The commits of generations whose rows are needed, though perhaps none of their records is.
    fn needed_of(&self, generations: &BTreeSet<u32>) -> Vec<u64> {
        let is_needed =
            |number: &u64, commit: &Commit| generations.contains(&commit.generation) && !self.gone.contains(number);
        self.book.commits().filter(|(number, commit)| is_needed(number, commit)).map(|(number, _)| number).collect()
    }

    /// The number of the next set of counts.
    pub(super) const fn new_set(&mut self) -> u64 {
        self.sets += 1;
        self.sets
    }

    /// What generations say was counted of hours.
    fn tallies_in(&self, generations: &BTreeSet<u32>) -> BTreeMap<Hour, Tally> {
        let theirs = self.tallies.iter().filter(|(_, (_, generation))| {
            generations.contains(generation) || self.generations.iter().all(|there| there.id != *generation)
        });
        theirs.map(|(hour, (tally, _))| (*hour, *tally)).collect()
    }

    /// Forgets what was counted of hours of which nothing is pending, except the newest of them.
    fn trim_tallies(&mut self) {
        if self.tallies.len() <= self.tallies_at_most {
            return;
        }
        let idle = self.tallies.keys().filter(|hour| !self.book.has(**hour));
        if let Some(oldest_kept) = idle.rev().nth(TALLIES).copied() {
            let book = &self.book;
            self.tallies.retain(|hour, _| *hour > oldest_kept || book.has(*hour));
        }
        // To look costs what there is: not again before there is twice as much.
        self.tallies_at_most = 2 * self.tallies.len().max(TALLIES);
    }

    /// Moves what is pending of commits.
    fn move_commits(&self, commits: &[u64], into: &Generation) -> Result<Vec<(u64, CommitRow, u32)>> {
        let mut rows = Vec::with_capacity(commits.len());
        for number in commits {
            let Some(commit) = self.book.commit(*number) else { continue };
            let from = self.generation(commit.generation)?;
            let shares = self.read_pending(*number, from)?;
            let row = &commit.row;
            let mut batch = Batch::default();
            let bare =
                CommitRow { segment: row.segment, pages: row.pages, received: row.received, ..CommitRow::default() };
            batch.begin_commit(*number, bare);
            for (hour, (entries, lines)) in &shares {
                batch.put_records(*hour, entries, &[lines])?;
            }
            rows.extend(into.write(batch)?);
        }
        Ok(rows)
    }

    /// Removes the generations whose pending records a newer one took over.
    pub(super) fn remove_replaced(&mut self) -> Result<()> {
        self.generations.sort_unstable_by_key(|g| g.id);
        let mut replaced = BTreeSet::new();
        for generation in &self.generations {
            replaced.extend(generation.meta()?.unwrap_or_default().replaces);
        }
        durable::remove_each(&self.drop_generations(&replaced)?)
    }

    /// Takes generations out of which no record is pending, except the newest. Returns what is left to delete, under names
    /// that the next open deletes.
    pub(crate) fn remove_dead_generations(&mut self) -> Result<Vec<PathBuf>> {
        let newest = self.generations.last().map(|g| g.id);
        let ids = self.generations.iter().map(|g| g.id);
        let dead: BTreeSet<u32> = ids.filter(|id| !self.book.needs(*id) && Some(*id) != newest).collect();
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<u64> =
            self.book.commits().filter(|(_, c)| dead.contains(&c.generation)).map(|(number, _)| number).collect();
        if rows.iter().any(|commit| !self.gone.contains(commit)) {
            // A finished segment that is still in the journal would be taken for a new one.
            return Ok(Vec::new());
        }
        self.carry_tallies(&dead)?;
        for commit in rows {
            self.forget(commit);
        }
        self.drop_generations(&dead)
    }

    /// Has the newest generation say what those say that are about to go.
    fn carry_tallies(&mut self, dead: &BTreeSet<u32>) -> Result<()> {
        self.tallies_at_most = 0;
        self.trim_tallies();
        let (tallies, newest) = (self.tallies_in(dead), self.newest()?.id);
        if tallies.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put_tallies(self.new_set(), &tallies)?;
        self.write(newest, batch, Step::RecordsPruned)?;
        self.tallies.extend(tallies.into_iter().map(|(hour, tally)| (hour, (tally, newest))));
        Ok(())
    }

    /// Takes generations out; gives what is left to delete.
    fn drop_generations(&mut self, ids: &BTreeSet<u32>) -> Result<Vec<PathBuf>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (dead, alive) = std::mem::take(&mut self.generations).into_iter().partition(|g| ids.contains(&g.id));
        self.generations = alive;
        let dead: Vec<Generation> = dead;
        let mark_dead = |generation: Generation| {
            let path = self.dir.join(format!("{:06}", generation.id));
            let marked = path.with_added_extension("dead");
            generation.close();
            durable_step(Step::GenerationRemoved, || durable::rename(&path, &marked))?;
            Ok(marked)
        };
        dead.into_iter().map(mark_dead).collect()
    }
}
