//! Generations begin and end: a new one for what comes, one for what is left of others that are mostly dead.
//!
//! Owns which directories below `wal/` there are. Invariant: a generation is whole and durable before it has its name, and
//! those that it replaces go only then; a name that ends in `.new` or `.dead` is of one that is not whole, or no longer
//! needed. A crash leaves such names, or a replaced generation beside the one that says so: the next open removes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Batch, Entry, Generation, Meta, Wal};
use crate::error::Result;
use crate::hour::Hour;
use crate::state::files::crash_point;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;

/// A generation beyond this size on disk is full: the next commit starts another.
const FULL: u64 = 32 << 20;
/// A generation beyond this size is replaced once it is mostly dead.
const WORTH_REPLACING: u64 = 6 << 20;
/// About what a pending record takes in a generation, to judge what is dead.
const RECORD: u64 = 256;
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
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn tidy(&mut self) -> Result<()> {
        if self.is_mostly_dead() { self.start_anew() } else { Ok(()) }
    }

    fn is_mostly_dead(&self) -> bool {
        let size: u64 = self.generations.iter().map(Generation::disk_bytes).sum();
        let pending: u64 = self.pending.values().map(|p| p.records).sum::<u64>() * RECORD;
        size > crash_point::threshold("ETL_WORTH_REPLACING", WORTH_REPLACING) && pending < size / 4
    }

    /// Starts a generation that replaces all others.
    fn start_anew(&mut self) -> Result<()> {
        let all: Vec<u32> = self.generations.iter().map(|g| g.id).collect();
        self.start(&all)
    }

    /// Starts a generation that takes over the pending records of those that it replaces.
    fn start(&mut self, replaces: &[u32]) -> Result<()> {
        self.trim_tallies();
        let id = self.generations.last().map_or(1, |g| g.id + 1);
        let (path, new) = (self.dir.join(format!("{id:06}")), self.dir.join(format!("{id:06}.new")));
        durable_step(Step::GenerationStarted, || {
            let generation = Generation::open(&new, id)?;
            let meta = Meta { replaces: replaces.to_vec(), ..self.meta.clone() };
            self.move_pending(replaces, &generation)?;
            let mut batch = Batch::default();
            batch.put_meta(&meta)?;
            batch.put_seen(&self.seen)?;
            batch.put_tallies(&self.tallies)?;
            generation.write(batch)?;
            generation.close();
            durable::rename(&new, &path)
        })?;
        self.generations.push(Generation::open(&path, id)?);
        let replaced: BTreeSet<u32> = replaces.iter().copied().collect();
        let gone = std::mem::take(&mut self.gone);
        gone.into_iter()
            .filter(|commit| self.commits.get(commit).is_some_and(|c| replaced.contains(&c.generation)))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|commit| self.forget(commit));
        self.commits.values_mut().filter(|c| replaced.contains(&c.generation)).for_each(|c| c.generation = id);
        durable::remove_each(&self.drop_generations(&replaced)?)
    }

    /// Forgets what was counted of hours of which nothing is pending, but for the newest of them.
    fn trim_tallies(&mut self) {
        let idle = self.tallies.keys().filter(|hour| !self.pending.contains_key(hour));
        let Some(oldest_kept) = idle.rev().nth(TALLIES).copied() else { return };
        self.tallies.retain(|hour, _| *hour > oldest_kept || self.pending.contains_key(hour));
    }

    fn move_pending(&self, replaces: &[u32], into: &Generation) -> Result<()> {
        for (commit, entry) in &self.commits {
            if !replaces.contains(&entry.generation) || self.gone.contains(commit) {
                continue;
            }
            let from = self.generation(entry.generation)?;
            let mut moved = BTreeMap::new();
            for (key, _) in &entry.row.hours {
                let hour = Hour::from_key(*key).ok_or_else(|| from.condemn())?;
                moved.insert(hour, read_commit(from, hour, *commit)?);
            }
            let mut batch = Batch::default();
            for (hour, (entries, lines)) in &moved {
                batch.put_records(*hour, *commit, entries, &[lines])?;
            }
            batch.put_commit(*commit, &entry.row)?;
            into.write(batch)?;
        }
        Ok(())
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

    /// Takes generations out of which no record is pending, but for the newest; gives what is left to delete, under names
    /// that the next open deletes.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn remove_dead_generations(&mut self) -> Result<Vec<PathBuf>> {
        let needed: BTreeSet<u32> =
            self.commits.values().filter(|c| !c.row.hours.is_empty()).map(|c| c.generation).collect();
        let newest = self.generations.last().map(|g| g.id);
        let dead: BTreeSet<u32> =
            self.generations.iter().map(|g| g.id).filter(|id| !needed.contains(id) && Some(*id) != newest).collect();
        let rows: Vec<u64> =
            self.commits.iter().filter(|(_, c)| dead.contains(&c.generation)).map(|(n, _)| *n).collect();
        if rows.iter().any(|commit| !self.gone.contains(commit)) {
            // A finished segment that is still in the journal would be taken for a new one.
            return Ok(Vec::new());
        }
        for commit in rows {
            self.forget(commit);
        }
        self.drop_generations(&dead)
    }

    /// Takes generations out; gives what is left to delete.
    fn drop_generations(&mut self, ids: &BTreeSet<u32>) -> Result<Vec<PathBuf>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (dead, alive) = std::mem::take(&mut self.generations).into_iter().partition(|g| ids.contains(&g.id));
        self.generations = alive;
        let dead: Vec<Generation> = dead;
        let bury = |generation: Generation| {
            let path = self.dir.join(format!("{:06}", generation.id));
            let grave = path.with_added_extension("dead");
            generation.close();
            durable_step(Step::GenerationRemoved, || durable::rename(&path, &grave))?;
            Ok(grave)
        };
        dead.into_iter().map(bury).collect()
    }
}

/// A commit's records of one hour: their entries, and their lines one behind the other.
fn read_commit(from: &Generation, hour: Hour, commit: u64) -> Result<(Vec<Entry>, Vec<u8>)> {
    let (mut entries, mut lines, mut reader) = (Vec::new(), Vec::new(), from.lines(hour)?);
    from.entries(hour, commit - 1, &mut |at, entry| {
        if at.commit == commit {
            let start = lines.len();
            lines.resize(start + usize::try_from(entry.length).map_err(|_| from.condemn())?, 0);
            reader.read(at, lines.get_mut(start..).unwrap_or_default())?;
            entries.push(entry);
        }
        Ok(())
    })?;
    Ok((entries, lines))
}
