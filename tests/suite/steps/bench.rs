//! A bench for crashes: a place with a scripted source, whose files can be put back to what they were.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use etl::hour::lifecycle::HourRow;
use etl::hour::tally::Tally;
use etl::state::Ledger;
use serde_json::{Value, json};

use super::scenario::Stage;
use crate::support::cli::{Place, Ran};
use crate::support::origin::{Answer, Origin};
use crate::support::tally;

/// Where a process is aborted: right before or right after its `step`-th durable step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub after: bool,
    pub step: usize,
}

impl Point {
    /// Both points of each of so many steps.
    pub fn all(steps: usize) -> impl Iterator<Item = Self> {
        (1..=steps).flat_map(|step| [false, true].map(|after| Self { after, step }))
    }
}

/// A page without elements: what the source answers when it has nothing more.
const NOTHING: &str = "[]";

/// What must come out the same, whatever crashed.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub lake: BTreeMap<String, Vec<u8>>,
    /// The keys of the manifests.
    pub manifests: BTreeSet<String>,
    /// The manifests that digests name, each once.
    pub digested: Vec<String>,
    /// What the ledger certifies of each hour, without times, and without the gaps that were open when it was sealed: after a crash
    /// it may be sealed before the next page comes.
    pub certified: BTreeMap<String, Tally>,
    /// Totals, hours with their parts, journal and quarantine: of `status.json`, without times.
    pub status: Value,
    /// Records received again.
    pub duplicates: Value,
    /// Names in the state directory that no whole state has, or few: unfinished, dead, set aside.
    pub litter: BTreeSet<String>,
    /// Bodies that are not pages.
    pub rejected: usize,
}

pub struct Bench {
    pub place: Place,
    origin: Origin,
}

impl Bench {
    pub fn new() -> Self {
        Self { place: Place::in_memory(""), origin: Origin::start(vec![Answer::Page(NOTHING.into())]) }
    }

    /// Keeps the state and the lake in `to`, which is replaced.
    pub fn keep(&self, to: &Path) {
        for name in ["etl-state", "lake"] {
            copy(&self.place.path(name), &to.join(name));
        }
    }

    /// Puts back what was kept in `from`.
    pub fn put_back(&self, from: &Path) {
        for name in ["etl-state", "lake"] {
            copy(&from.join(name), &self.place.path(name));
        }
    }

    /// Gets ready for a stage: its configuration, its keys, and what the source answers.
    pub fn prepare(&mut self, stage: &Stage, has_page: bool) {
        self.place.configure(&stage.config(&self.origin.url));
        self.place.env.clear();
        for (name, value) in &stage.env {
            self.place.set(name, value);
        }
        let page = stage.page.clone().filter(|_| has_page).unwrap_or_else(|| NOTHING.into());
        self.origin.script(vec![Answer::Page(page)]);
    }

    /// Runs a stage that was prepared.
    pub fn run(&mut self, stage: &Stage) -> Ran {
        self.place.etl(&stage.args)
    }

    /// Runs a command to its end, and gives the names of its steps.
    pub fn count(&mut self, args: &[&str]) -> (Ran, Vec<String>) {
        let file = self.place.path("steps");
        let _ = std::fs::remove_file(&file);
        self.place.set("ETL_STEPS", file.to_str().unwrap());
        let ran = self.place.etl(args);
        self.place.env.retain(|(name, _)| name != "ETL_STEPS");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        (ran, text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect())
    }

    /// Runs a command into a crash at `point`.
    #[track_caller]
    pub fn crash(&mut self, args: &[&str], point: Point) {
        let when = if point.after { "after" } else { "before" };
        self.place.set("ETL_CRASH", &format!("{when}:{}", point.step));
        let ran = self.place.etl(args);
        self.place.env.retain(|(name, _)| name != "ETL_CRASH");
        assert_eq!(ran.code, -1, "it was to crash {when} step {}: {ran:?}", point.step);
    }

    /// Runs a command one of whose steps fails, before it is done or after: it says so, or can do without it.
    #[track_caller]
    pub fn fail(&mut self, args: &[&str], point: Point) {
        let when = if point.after { "after" } else { "before" };
        self.place.set("ETL_FAIL", &format!("{when}:{}", point.step));
        let ran = self.place.etl(args);
        self.place.env.retain(|(name, _)| name != "ETL_FAIL");
        assert!([0, 65, 74, 75, 76, 77].contains(&ran.code) && !ran.err.contains("panicked"), "{ran:?}");
    }

    /// `etl replay`: ends, and says nothing worse than what the stage itself may have to say.
    #[track_caller]
    pub fn recover(&mut self, stage: &Stage) {
        let ran = self.place.etl(&["replay"]);
        assert!([0, 65, 75, 77, stage.code].contains(&ran.code), "{ran:?}");
    }

    pub fn outcome(&self) -> Outcome {
        let state = self.place.path("etl-state");
        let mut lake = BTreeMap::new();
        files(&self.place.path("lake").join(self.place.form.root), &mut |path| {
            let name = path.strip_prefix(self.place.path("lake")).unwrap();
            lake.insert(name.to_str().unwrap().to_owned(), std::fs::read(path).unwrap());
        });
        let mut manifests = BTreeSet::new();
        files(&self.place.path("lake/manifest"), &mut |path| {
            manifests.insert(path.strip_prefix(self.place.path("lake")).unwrap().to_str().unwrap().to_owned());
        });
        let mut digested = Vec::new();
        files(&self.place.path("lake/digest"), &mut |path| {
            let digest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let named = digest["manifests"].as_array().unwrap().iter();
            digested.extend(named.map(|link| link["key"].as_str().unwrap().to_owned()));
        });
        digested.sort_unstable();
        let mut litter = BTreeSet::new();
        names(&state, &mut |path| {
            let name = path.strip_prefix(&state).unwrap().to_str().unwrap();
            let odd = [".tmp", ".dead", ".new", ".corrupt", ".condemned"].iter().any(|odd| name.contains(odd));
            if (odd && name.matches('/').count() <= 1) || name.starts_with("spool/") {
                litter.insert(name.to_owned());
            }
        });
        let rejected = std::fs::read_dir(state.join("rejected")).map_or(0, Iterator::count);
        let mut status = self.status();
        let duplicates = status["totals"].as_object_mut().unwrap().remove("duplicates").unwrap();
        Outcome { lake, manifests, digested, certified: self.certified(), status, duplicates, litter, rejected }
    }

    fn certified(&self) -> BTreeMap<String, Tally> {
        let mut certified = BTreeMap::new();
        let ledger = Ledger::open(&self.place.path("etl-state")).unwrap();
        if let Some(ledger) = ledger {
            let mut take = |row: &HourRow| {
                certified.extend(row.certified.iter().map(|c| (row.hour.to_string(), c.tally)));
                Ok(())
            };
            ledger.for_each(&mut take).unwrap();
        }
        certified
    }

    /// Checks that it came out as `expected`.
    #[track_caller]
    pub fn came_out_as(&self, expected: &Outcome, case: &str) {
        let found = self.outcome();
        assert_eq!(found.duplicates, expected.duplicates, "{case}: duplicates");
        self.came_out_but_for_duplicates(expected, case);
    }

    /// The same, where a page may have been read twice: one at which runs died or failed is read last, and what it was made of may
    /// come before it once more.
    #[track_caller]
    pub fn came_out_but_for_duplicates(&self, expected: &Outcome, case: &str) {
        let found = self.outcome();
        tally::found(missing(expected, &found), missing(&found, expected), changed(expected, &found));
        for part in ["totals", "pages", "quarantine", "hours"] {
            assert_eq!(found.status[part], expected.status[part], "{case}: {part}");
        }
        let (names, wanted): (Vec<_>, Vec<_>) = (found.lake.keys().collect(), expected.lake.keys().collect());
        assert_eq!(names, wanted, "{case}: objects");
        assert_eq!((&found.litter, found.rejected), (&expected.litter, expected.rejected), "{case}: litter, rejected");
        assert_eq!(found.manifests, expected.manifests, "{case}: manifests");
        assert_eq!(found.digested, expected.digested, "{case}: what digests name");
        assert_eq!(found.certified, expected.certified, "{case}: what is certified");
        assert!(found.lake == expected.lake, "{case}: an object's bytes differ");
    }

    fn status(&self) -> Value {
        let text = std::fs::read(self.place.path("etl-state/status.json")).unwrap();
        let status: Value = serde_json::from_slice(&text).unwrap();
        let hours: Vec<Value> = status["hours"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hour| json!([hour["hour"], hour["state"], hour["pending_records"], hour["parts"]]))
            .collect();
        let pages = [&status["journal"]["pages"], &status["journal"]["uncommitted"]];
        json!({"totals": status["totals"], "hours": hours, "pages": pages, "quarantine": status["quarantine"]["count"]})
    }

    /// Checks that the hash arrays on disk are those that the ledger names.
    #[track_caller]
    pub fn arrays_are_named(&self, case: &str) {
        let mut named = BTreeSet::new();
        let ledger = Ledger::open(&self.place.path("etl-state")).unwrap().unwrap();
        ledger
            .for_each(&mut |row| {
                named.extend(row.hashes.map(|array| format!("{}.{}", row.hour, array.version)));
                Ok(())
            })
            .unwrap();
        let mut found = BTreeSet::new();
        files(&self.place.path("etl-state/hashes"), &mut |path| {
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
        });
        assert_eq!(found, named, "{case}: hash arrays");
    }
}

/// How many objects of one outcome the other does not have.
fn missing(one: &Outcome, other: &Outcome) -> usize {
    one.lake.keys().filter(|key| !other.lake.contains_key(*key)).count()
}

/// How many objects are other ones.
fn changed(one: &Outcome, other: &Outcome) -> usize {
    one.lake.iter().filter(|(key, bytes)| other.lake.get(*key).is_some_and(|found| found != *bytes)).count()
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    if !from.exists() {
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() == "reserve" {
            // Only its length means anything, and it is large.
            let length = entry.metadata().unwrap().len();
            std::fs::File::create(&target).unwrap().set_len(length).unwrap();
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn files(dir: &Path, each: &mut dyn FnMut(&Path)) {
    names(dir, &mut |path| {
        if path.is_file() {
            each(path);
        }
    });
}

fn names(dir: &Path, each: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        each(&path);
        names(&path, each);
    }
}
