//! Pages at which runs died: read last, and alone, so that one that kills its reader costs only itself.
//!
//! Counted only for pages that were found uncommitted after a crash: before such a page is read, its number goes onto the roll
//! `tried`, durably; a run that finds it there after another crash knows that two died at it. A normal run writes nothing. A
//! crash leaves the number of the page that was being read, or one too many, which costs that page its place and nothing else.
//!
//! On the roll a page has twice the number of runs that died while it was noted, and one more while it is being read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Roll;
use crate::error::Result;

/// Which pages are being tried, and which are put off.
#[derive(Debug)]
pub struct Tries {
    roll: Roll,
    /// Pages found uncommitted after a crash.
    suspects: BTreeSet<u64>,
    /// Pages at which runs died, with the number of deaths that were noted.
    put_off: BTreeMap<u64, u64>,
}

impl Tries {
    /// Opens the notes in the state directory. `suspects`: the uncommitted pages, where the last run did not come to its end.
    ///
    /// # Errors
    /// `State`: they cannot be read.
    pub fn open(state: &Path, after_a_crash: bool, uncommitted: BTreeSet<u64>) -> Result<Self> {
        let roll = Roll::open(state, "tried")?;
        let deaths = |noted: u64| if after_a_crash { noted.div_ceil(2) } else { noted / 2 };
        let noted = roll.names().iter().map(|(segment, noted)| (*segment, deaths(*noted)));
        let put_off = noted.filter(|(segment, deaths)| *deaths > 0 && uncommitted.contains(segment)).collect();
        let suspects = if after_a_crash { uncommitted } else { BTreeSet::new() };
        Ok(Self { roll, suspects, put_off })
    }

    /// The pages that are put off, those at which the fewest died first: so each comes to its turn.
    #[must_use]
    pub fn put_off(&self) -> Vec<u64> {
        let mut segments: Vec<(u64, u64)> = self.put_off.iter().map(|(segment, deaths)| (*deaths, *segment)).collect();
        segments.sort_unstable();
        segments.into_iter().map(|(_, segment)| segment).collect()
    }

    /// Notes that a page is about to be read, where that may be deadly. `false`: it is put off, and must not be.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn begin(&mut self, segment: u64) -> Result<bool> {
        if self.put_off.contains_key(&segment) {
            return Ok(false);
        }
        if self.suspects.contains(&segment) {
            self.note(Some((segment, 1)))?;
        }
        Ok(true)
    }

    /// Notes that a page that was put off is about to be read.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn begin_put_off(&mut self, segment: u64) -> Result<()> {
        let deaths = self.put_off.get(&segment).copied().unwrap_or(0);
        self.note(Some((segment, 2 * deaths + 1)))
    }

    /// Nobody died: none but the pages that are put off is noted any more.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn end(&mut self) -> Result<()> {
        self.note(None)
    }

    /// A page that was put off has been read.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn survived(&mut self, segment: u64) -> Result<()> {
        self.put_off.remove(&segment);
        self.note(None)
    }

    fn note(&mut self, at: Option<(u64, u64)>) -> Result<()> {
        let mut names: BTreeMap<u64, u64> =
            self.put_off.iter().map(|(segment, deaths)| (*segment, 2 * deaths)).collect();
        names.extend(at);
        self.roll.call(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, after_a_crash: bool) -> Tries {
        Tries::open(dir, after_a_crash, BTreeSet::from([1, 2, 3])).unwrap()
    }

    #[test]
    fn run_that_follows_no_crash_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut tries = open(dir.path(), false);
        assert!(tries.begin(1).unwrap());
        tries.end().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn page_at_which_two_runs_died_is_put_off_and_each_such_page_has_its_turn() {
        let dir = tempfile::tempdir().unwrap();
        // The first died somewhere; this one dies at page 2.
        let mut tries = open(dir.path(), true);
        assert!(tries.begin(1).unwrap() && tries.begin(2).unwrap());
        let mut tries = open(dir.path(), true);
        assert_eq!(tries.put_off(), [2]);
        assert!(!tries.begin(2).unwrap());
        // It gets on to the next, and dies there.
        assert!(tries.begin(3).unwrap());
        let mut tries = open(dir.path(), true);
        assert_eq!(tries.put_off(), [2, 3]);
        tries.end().unwrap();
        tries.begin_put_off(2).unwrap();
        let mut tries = open(dir.path(), true);
        assert_eq!(tries.put_off(), [3, 2]);
        tries.begin_put_off(3).unwrap();
        tries.survived(3).unwrap();
        assert_eq!(open(dir.path(), false).put_off(), [2]);
        tries.survived(2).unwrap();
        assert_eq!(open(dir.path(), true).put_off(), [0; 0]);
    }

    #[test]
    fn run_that_ends_in_the_middle_of_a_page_did_not_die_at_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path(), true).begin(2).unwrap());
        assert_eq!(open(dir.path(), false).put_off(), [0; 0]);
    }
}
