//! A watch list: which files must be there at the next start, so that a deleted one is noticed.
//!
//! For files that nothing else names: uncommitted pages, quarantined tokens, parked records. One small text behind a checksum,
//! `number count` a line, replaced as a whole. Invariant: an entry is removed before its file is deleted, and added after its file
//! exists. So a crash leaves at most a file that is not listed, which the next start lists, and never a false alarm. A damaged
//! or missing list counts as empty: it only watches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::output::draft::Survives;
use crate::state::files::checked;
use crate::state::files::step::{Step, durable_step};

/// Files by number, each with a count of what is in it.
#[derive(Debug, Default)]
pub struct WatchList {
    path: PathBuf,
    entries: BTreeMap<u64, u64>,
}

impl WatchList {
    /// Opens the list `name` in the state directory.
    pub(crate) fn open(state: &Path, name: &str) -> Result<Self> {
        let path = state.join(name);
        let entries = checked::read(&path)?.and_then(|text| parse(&text)).unwrap_or_default();
        Ok(Self { path, entries })
    }

    pub(crate) const fn entries(&self) -> &BTreeMap<u64, u64> {
        &self.entries
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.entries.contains_key(&number)
    }

    /// Replaces the list. Durable on return; writes nothing where nothing changes.
    pub(crate) fn set(&mut self, entries: BTreeMap<u64, u64>) -> Result<()> {
        if entries == self.entries {
            return Ok(());
        }
        let text: String = entries.iter().map(|(number, count)| format!("{number} {count}\n")).collect();
        durable_step(Step::WatchListSet, || checked::write(&self.path, text.as_bytes(), Survives::Everything))?;
        self.entries = entries;
        Ok(())
    }

    /// Removes a file from the list, before it is deleted.
    pub(crate) fn remove(&mut self, number: u64) -> Result<()> {
        let mut entries = self.entries.clone();
        entries.remove(&number);
        self.set(entries)
    }

    /// Replaces the list by what is `there` in `dir`, and reports how many of its things (`what`) are missing, if any are.
    pub(crate) fn check(&mut self, there: BTreeMap<u64, u64>, what: &str, dir: &Path) -> Result<Option<Error>> {
        let missing =
            |(number, count): (&u64, &u64)| count.saturating_sub(there.get(number).copied().unwrap_or_default());
        let missing: u64 = self.entries.iter().map(missing).sum();
        self.set(there)?;
        let what = format!("{missing} {what} are gone from {}", dir.display());
        let hint = "restore the directory from a backup if there is one; this is said once";
        Ok((missing > 0).then(|| Error::new(ErrorKind::State, what).hint(hint)))
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
    fn list_comes_back_and_a_damaged_one_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let mut list = WatchList::open(dir.path(), "waiting").unwrap();
        list.set(BTreeMap::from([(3, 1), (7, 20)])).unwrap();
        list.remove(3).unwrap();
        assert_eq!(WatchList::open(dir.path(), "waiting").unwrap().entries(), &BTreeMap::from([(7, 20)]));
        std::fs::write(dir.path().join("waiting"), "garbage").unwrap();
        assert!(WatchList::open(dir.path(), "waiting").unwrap().entries().is_empty());
    }

    #[test]
    fn missing_things_are_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut list = WatchList::open(dir.path(), "quarantined").unwrap();
        list.set(BTreeMap::from([(3, 1), (7, 20)])).unwrap();
        let there = || BTreeMap::from([(7, 18), (9, 4)]);
        let error = list.check(there(), "tokens", Path::new("q")).unwrap().unwrap();
        assert_eq!(error.to_string(), "3 tokens are gone from q");
        assert!(list.check(there(), "tokens", Path::new("q")).unwrap().is_none());
    }
}
