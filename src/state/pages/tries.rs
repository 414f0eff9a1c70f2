//! Pages at which runs died. They are read last, and alone, so that a page that kills its reader delays no other page.
//!
//! Only pages that were found uncommitted after a crash are counted. Before such a page is read, its number is written to the list
//! `tried`, durably; a run that finds it there after another crash knows that a run died at it. A normal run writes nothing. A
//! crash leaves the number of the page that was being read, or one too many, which only makes that page wait.
//!
//! On the list a page has twice the number of runs that died at it, plus one while it is being read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::Result;
use crate::state::files::watch_list::WatchList;

/// A page is put off after so many noted deaths: with the crash that made it a suspect, two runs died while it waited. If the cause was
/// another (a power cut, an impatient user), being read last costs the page little.
const DEADLY: u64 = 1;

/// Which pages are being tried, and which are put off.
#[derive(Debug)]
pub struct Tries {
    watch_list: WatchList,
    /// Pages found uncommitted after a crash.
    suspects: BTreeSet<u64>,
    /// Noted deaths by page.
    deaths: BTreeMap<u64, u64>,
    /// The page that is being read.
    current: Option<u64>,
}

impl Tries {
    /// Opens the notes in the state directory. `uncommitted`: the pages that are to be read.
    pub(crate) fn open(state: &Path, after_a_crash: bool, uncommitted: BTreeSet<u64>) -> Result<Self> {
        let watch_list = WatchList::open(state, "tried")?;
        let deaths = |noted: u64| if after_a_crash { noted.div_ceil(2) } else { noted / 2 };
        let noted = watch_list.entries().iter().map(|(segment, noted)| (*segment, deaths(*noted)));
        let deaths = noted.filter(|(segment, deaths)| *deaths > 0 && uncommitted.contains(segment)).collect();
        let suspects = if after_a_crash { uncommitted } else { BTreeSet::new() };
        Ok(Self { watch_list, suspects, deaths, current: None })
    }

    /// The pages that are put off. Those with the fewest deaths come first, so that each gets its turn.
    pub(crate) fn put_off(&self) -> Vec<u64> {
        let deadly = self.deaths.iter().filter(|(_, deaths)| **deaths >= DEADLY);
        let mut segments: Vec<(u64, u64)> = deadly.map(|(segment, deaths)| (*deaths, *segment)).collect();
        segments.sort_unstable();
        segments.into_iter().map(|(_, segment)| segment).collect()
    }

    /// Notes that a page is about to be read, if it may be deadly. `false`: it is put off, and must not be read now.
    pub(crate) fn begin(&mut self, segment: u64) -> Result<bool> {
        if self.deaths.get(&segment).is_some_and(|deaths| *deaths >= DEADLY) {
            return Ok(false);
        }
        if self.suspects.contains(&segment) || self.deaths.contains_key(&segment) {
            self.read(segment)?;
        }
        Ok(true)
    }

    /// Notes that a page is about to be read, even if it was put off. So the run survived the page before.
    pub(crate) fn read(&mut self, segment: u64) -> Result<()> {
        self.survive();
        self.current = Some(segment);
        let deaths = self.deaths.get(&segment).copied().unwrap_or(0);
        self.note(Some((segment, 2 * deaths + 1)))
    }

    /// Notes that the run survived the last page.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.survive();
        self.note(None)
    }

    fn survive(&mut self) {
        if let Some(segment) = self.current.take() {
            self.deaths.remove(&segment);
        }
    }

    fn note(&mut self, at: Option<(u64, u64)>) -> Result<()> {
        let deaths = self.deaths.iter().map(|(segment, deaths)| (*segment, 2 * deaths));
        self.watch_list.set(deaths.chain(at).collect())
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
        for segment in [2, 3] {
            for _ in 0..DEADLY {
                let mut tries = open(dir.path(), true);
                assert!(tries.begin(1).unwrap() && tries.begin(segment).unwrap());
            }
            assert!(!open(dir.path(), true).begin(segment).unwrap());
        }
        let mut tries = open(dir.path(), true);
        assert_eq!(tries.put_off(), [2, 3]);
        assert!(tries.begin(1).unwrap());
        tries.end().unwrap();
        tries.read(2).unwrap();
        let mut tries = open(dir.path(), true);
        assert_eq!(tries.put_off(), [3, 2]);
        tries.read(3).unwrap();
        tries.end().unwrap();
        assert_eq!(open(dir.path(), false).put_off(), [2]);
        let mut tries = open(dir.path(), false);
        tries.read(2).unwrap();
        tries.end().unwrap();
        assert_eq!(open(dir.path(), true).put_off(), [0; 0]);
    }

    #[test]
    fn page_that_was_survived_is_no_longer_counted() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            assert!(open(dir.path(), true).begin(2).unwrap());
            let mut tries = open(dir.path(), true);
            assert_eq!(tries.put_off(), [2]);
            tries.read(2).unwrap();
            tries.end().unwrap();
            assert_eq!(open(dir.path(), false).put_off(), [0; 0]);
        }
    }

    #[test]
    fn run_that_ends_in_the_middle_of_a_page_did_not_die_at_it() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            assert!(open(dir.path(), true).begin(2).unwrap());
            assert_eq!(open(dir.path(), false).put_off(), [0; 0]);
            // What that start would write at its end.
            open(dir.path(), false).end().unwrap();
        }
    }
}
