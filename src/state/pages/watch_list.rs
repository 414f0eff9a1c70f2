//! A roll: which files must be there at the next start, so that one that vanishes is missed.
//!
//! For what nothing else names: pages that wait for their key, and quarantined tokens. One small checksummed text, `number
//! count` a line, replaced as a whole. A name is taken off the roll before its file goes, and put on after the file
//! is there, so that a crash leaves a file too many, which the next start puts on the roll, and never a false alarm. A
//! damaged or missing roll is written anew: it only watches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;

/// A roll of files by number, each with a count.
#[derive(Debug, Default)]
pub struct Roll {
    path: PathBuf,
    names: BTreeMap<u64, u64>,
}

impl Roll {
    /// Opens the roll `name` in the state directory.
    ///
    /// # Errors
    /// `State`: it cannot be read.
    pub fn open(state: &Path, name: &str) -> Result<Self> {
        let path = state.join(name);
        let text = durable::read(&path)?.unwrap_or_default();
        let names = durable::open_text(&path, &text).ok().and_then(parse).unwrap_or_default();
        Ok(Self { path, names })
    }

    /// Who is on it.
    #[must_use]
    pub const fn names(&self) -> &BTreeMap<u64, u64> {
        &self.names
    }

    /// Makes `names` the roll. Durable on return; writes nothing where nothing changes.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn call(&mut self, names: BTreeMap<u64, u64>) -> Result<()> {
        if names == self.names {
            return Ok(());
        }
        let text: String = names.iter().map(|(number, count)| format!("{number} {count}\n")).collect();
        durable_step(Step::RollCalled, || durable::replace(&self.path, &durable::seal_text(text.as_bytes())))?;
        self.names = names;
        Ok(())
    }

    /// Takes a name off the roll: its file may go.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn release(&mut self, number: u64) -> Result<()> {
        let mut names = self.names.clone();
        names.remove(&number);
        self.call(names)
    }
}

fn parse(text: &[u8]) -> Option<BTreeMap<u64, u64>> {
    let lines = std::str::from_utf8(text).ok()?.lines();
    lines.map(|line| line.split_once(' ').and_then(|(n, count)| Some((n.parse().ok()?, count.parse().ok()?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roll_comes_back_and_a_damaged_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let mut roll = Roll::open(dir.path(), "waiting").unwrap();
        roll.call(BTreeMap::from([(3, 1), (7, 20)])).unwrap();
        roll.release(3).unwrap();
        assert_eq!(Roll::open(dir.path(), "waiting").unwrap().names(), &BTreeMap::from([(7, 20)]));
        std::fs::write(dir.path().join("waiting"), "garbage").unwrap();
        assert!(Roll::open(dir.path(), "waiting").unwrap().names().is_empty());
    }
}
