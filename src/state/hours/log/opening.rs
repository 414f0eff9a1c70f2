//! Opening the log: its generations, what they know, and what cannot be trusted.
//!
//! Owns nothing. Invariant: a generation is set aside only where the journal brings its records again, and what the journal does not
//! have of one of an older form is in a newer one by then. A crash leaves generations as they were, or set aside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Wal;
use super::sled::Generation;
use crate::error::Result;
use crate::state::files::step::Step;
use crate::state::files::{damage, durable};

impl Wal {
    /// `older`: generations of an older form, which are there until what they know is in another.
    pub(super) fn open_generation(
        &mut self,
        name: &str,
        older: &mut Vec<(u32, PathBuf)>,
        repairs: &mut Vec<String>,
    ) -> Result<()> {
        let path = self.dir.join(name);
        if name.ends_with(".dead") || name.ends_with(".new") {
            return durable::remove_all(&path);
        }
        if name.ends_with(".condemned") && !path.with_extension("").exists() {
            // A crash after the setting aside: the mark must not hit the next generation of that number.
            return durable::remove(&path);
        }
        let Ok(id) = name.parse::<u32>() else { return Ok(()) };
        let opened = if path.with_added_extension("condemned").exists() {
            Err(None)
        } else {
            open_and_read(&path, id).map_err(Some)
        };
        match opened {
            Ok(generation) if generation.is_of_this_form()? => self.generations.push(generation),
            Ok(generation) => {
                // What the journal cannot bring back is in it; its records come again.
                self.take_over(&generation)?;
                generation.close();
                older.push((id, path));
            }
            Err(Some(e)) if !damage::is_damage(&e) => return Err(e),
            Err(_) => set_aside(&path, "is damaged", repairs)?,
        }
        Ok(())
    }

    /// Takes over what a generation knows besides its commits.
    fn take_over(&mut self, generation: &Generation) -> Result<()> {
        let meta = generation.meta()?.unwrap_or_default();
        self.meta.duplicates = self.meta.duplicates.max(meta.duplicates);
        self.meta.newest_commit = self.meta.newest_commit.max(meta.newest_commit);
        self.meta.newest_segment = self.meta.newest_segment.max(meta.newest_segment);
        let later = generation.seen()?.filter(|seen| seen.version() > self.seen.version());
        later.into_iter().for_each(|seen| self.seen = seen);
        let (tallies, sets) = generation.tallies()?;
        self.sets = self.sets.max(sets);
        self.tallies.extend(tallies.into_iter().map(|(hour, tally)| (hour, (tally, generation.id))));
        Ok(())
    }

    pub(super) fn load_commits(&mut self) -> Result<()> {
        let mut rows = BTreeMap::new();
        for generation in std::mem::take(&mut self.generations) {
            self.take_over(&generation)?;
            let commits = generation.commits()?.into_iter();
            rows.extend(commits.map(|(commit, row, pieces)| (commit, (generation.id, row, pieces))));
            self.generations.push(generation);
        }
        for (commit, (generation, row, pieces)) in rows {
            self.meta.newest_commit = self.meta.newest_commit.max(commit);
            self.meta.newest_segment = self.meta.newest_segment.max(row.segment);
            self.book.enter(commit, generation, pieces, row);
        }
        self.rest();
        Ok(())
    }
}

/// Sets a generation aside. The journal brings its records again.
pub(super) fn set_aside(path: &Path, what: &str, repairs: &mut Vec<String>) -> Result<()> {
    let aside = damage::set_aside(Step::GenerationSetAside, path, "corrupt")?;
    durable::remove(&path.with_added_extension("condemned"))?;
    repairs.push(format!(
        "the write-ahead log {} {what}: set aside as {}, filled again from the journal",
        path.display(),
        aside.display()
    ));
    Ok(())
}

/// Opens a generation and reads what a start needs of it, so that damage shows now.
fn open_and_read(path: &Path, id: u32) -> Result<Generation> {
    let generation = Generation::open(path, id)?;
    generation.meta()?;
    generation.seen()?;
    generation.tallies()?;
    if generation.is_of_this_form()? {
        generation.commits()?;
    }
    Ok(generation)
}
