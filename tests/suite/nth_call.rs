//! A disk that fails at the n-th call: the run says so and ends, the next one completes, nothing lost, nothing twice.
//!
//! N = 1, 2, 3 … for each kind of call that a run makes on its state directory and its lake, until the run no longer makes
//! so many; the quick form takes a sample. Only the naming of an object in the lake escapes: that call is made without the
//! C library.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::shim::{Failure, Fault, Shim, shim};
use crate::support::state_dir::copy_dir;
use crate::support::tally;

/// In the quick form so many of the calls of a kind are made to fail, spread evenly, the first and the last among them.
const SAMPLE: u64 = 2;

/// A run whose disk fails, and what went before.
struct Act {
    name: &'static str,
    key: String,
    /// The pages of the runs before it, one each, and its own.
    pages: Vec<String>,
    ids: Vec<u64>,
    quarantined: u64,
    hours: &'static str,
    before: tempfile::TempDir,
}

fn log(id: u64, hour: u64) -> String {
    record(id, &format!("2023-03-10T{hour:02}:{id:02}:00.000Z"))
}

impl Act {
    fn new(name: &'static str, hours: &'static str, pages: &[&[String]], odd: bool) -> Self {
        let key = fernet::Fernet::generate_key();
        let mut pages: Vec<String> = pages.iter().map(|records| page(&key, records)).collect();
        if let Some(last) = pages.last_mut().filter(|_| odd) {
            *last = last.replacen('[', "[{\"data\":\"garbage\"},", 1);
        }
        let ids = (1..=6).collect();
        let act =
            Self { name, key, pages, ids, quarantined: u64::from(odd), hours, before: tempfile::tempdir().unwrap() };
        let origin = Origin::start(vec![]);
        let place = act.place(&origin);
        for page in &act.pages[..act.pages.len() - 1] {
            origin.script(vec![Answer::Page(page.clone())]);
            place.etl(&["run"]).exits(0);
        }
        for name in ["etl-state", "lake"].iter().filter(|name| place.path(name).exists()) {
            copy_dir(&place.path(name), &act.before.path().join(name));
        }
        act
    }

    fn all() -> Vec<Self> {
        let first = [log(1, 1), log(2, 1), log(3, 2)];
        let second = [log(3, 2), log(4, 1), log(5, 2), log(6, 3)];
        let whole = [log(1, 1), log(2, 1), log(3, 2), log(4, 1), log(5, 2), log(6, 3)];
        vec![
            Self::new("a usual run", "late_hold = \"0s\"", &[&first, &second], true),
            Self::new("the first run", "late_hold = \"0s\"", &[&whole], true),
            Self::new("late records of forgotten hours", FORGETFUL, &[&first, &[], &second], false),
            Self::new("records that wait", "late_hold = \"1h\"", &[&first, &second], false),
        ]
    }

    fn place(&self, origin: &Origin) -> Place {
        let mut place = Place::in_memory(&format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\n{}\n[load]\nto = \"file:lake\"\npart_max_records = 2\n",
            origin.url, self.hours
        ));
        place.set("FERNET_KEY", &self.key);
        // With the crash points built in, the log is replaced as after gigabytes.
        place.set("ETL_WORTH_REPLACING", "1");
        place
    }

    /// A place right before the run, and its source.
    fn begin(&self) -> (Place, Origin) {
        let origin = Origin::start(vec![Answer::Page(self.pages.last().unwrap().clone())]);
        let place = self.place(&origin);
        for name in ["etl-state", "lake"] {
            let kept = self.before.path().join(name);
            if kept.exists() {
                copy_dir(&kept, &place.path(name));
            }
        }
        (place, origin)
    }

    /// Every way in which a call can fail.
    fn faults(&self, shim: &Shim) -> Vec<Fault> {
        let (place, _origin) = self.begin();
        let (ran, _) = shim.run(&place, &["run"], None);
        assert!([0, 65].contains(&ran.code), "{}: {ran:#?}", self.name);
        let failures = [Failure::Broken, Failure::Full, Failure::StaysFull, Failure::Short];
        let mut faults = Vec::new();
        for (call, count) in Shim::calls(&place) {
            // A few more than were counted: threads share the work differently each time.
            for number in spread(count + tally::scale(0, 3)) {
                let fit = failures.into_iter().filter(|failure| failure.befalls(&call));
                faults.extend(fit.map(|failure| Fault { call: call.clone(), number, failure }));
            }
        }
        faults
    }

    fn survives(&self, shim: &Shim, fault: &Fault) {
        let (place, _origin) = self.begin();
        let case = format!("{}, {fault:?}", self.name);
        let (failed, hit) = shim.run(&place, &["run"], Some(fault));
        if !hit {
            return;
        }
        tally::add("calls", fault.failure.name(), 1);
        self.says_it(&case, fault, &failed);
        if [0, 65].contains(&failed.code) && !self.hours.contains("1h") {
            assert_eq!(ids(&place, &case), self.ids, "{case}: said to be done: {failed:#?}");
        }
        let next = place.etl(&["run"]);
        assert!([0, 65].contains(&next.code), "{case}, the next run: {next:#?} after {failed:#?}");
        place.etl(&["run", "--drain"]).exits(0);
        self.completes(&place, &format!("{case}: {failed:#?}"));
        let aside = set_aside(&place.path("etl-state/wal"));
        // What sled cannot read when it opens is the end of its log to it, so the log is no longer whole.
        let unread = fault.call == "pread";
        assert!(unread || aside.is_empty(), "{case}: a failing disk is no damage: {aside:?} {failed:#?} {next:#?}");
    }

    /// The exit code is the disk's, or that of a run that could do without the call; the message names a path.
    fn says_it(&self, case: &str, fault: &Fault, failed: &Ran) {
        assert!([0, 65, 74].contains(&failed.code), "{case}: {failed:#?}");
        assert!(!failed.err.contains("panicked"), "{case}: {failed:#?}");
        if failed.code == 74 {
            assert!(fault.failure != Failure::Short, "{case}: a short write is no error: {failed:#?}");
            let named = ["etl-state", "lake"].iter().any(|name| failed.err.contains(name));
            assert!(named, "{case} names no path: {failed:#?}");
        }
    }

    fn completes(&self, place: &Place, case: &str) {
        let found = ids(place, case);
        let lost = self.ids.iter().filter(|id| !found.contains(id)).count();
        tally::found(lost, found.len() + lost - self.ids.len(), 0);
        assert_eq!(found, self.ids, "{case}");
        let status = place.status();
        let (totals, journal) = (&status["totals"], &status["journal"]);
        assert_eq!((&totals["pending"], &journal["pages"]), (&Value::from(0), &Value::from(0)), "{case}");
        assert_eq!(totals["quarantined"], self.quarantined, "{case}");
        let verified = place.etl(&["verify", "--deep"]);
        assert_eq!(verified.code, 0, "{case}: {verified:#?}");
    }
}

/// Hashes are forgotten at once, so each late record needs its hour's parts back from the store.
const FORGETFUL: &str = "late_hold = \"0s\"\ndedup_window = \"0s\"";

fn ids(place: &Place, case: &str) -> Vec<u64> {
    let restored = place.etl(&["restore"]);
    assert_eq!(restored.code, 0, "{case}: {restored:#?}");
    let values = restored.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut ids: Vec<u64> = values.map(|value| value["record_id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// The generations of the log that were taken for damaged.
fn set_aside(wal: &Path) -> Vec<String> {
    let names = std::fs::read_dir(wal).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("corrupt") || name.contains("condemned")).collect()
}

/// The numbers up to `count`; in the quick form [`SAMPLE`] of them, spread evenly.
fn spread(count: u64) -> Vec<u64> {
    let chosen = count.min(tally::scale(SAMPLE, u64::MAX));
    (0..chosen).map(|n| 1 + n * (count - 1) / (chosen - 1).max(1)).collect()
}

#[test]
fn disk_that_fails_at_any_call_loses_nothing() {
    let Some(shim) = shim() else {
        return tally::skipped("no disk was made to fail: that needs a C compiler, cc");
    };
    let acts = Act::all();
    let cases: Vec<(&Act, Fault)> =
        acts.iter().flat_map(|act| act.faults(&shim).into_iter().map(move |fault| (act, fault))).collect();
    assert!(cases.len() > 100, "{} cases", cases.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((act, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    act.survives(&shim, fault);
                }
            });
        }
    });
}

/// Names that may be lost with the power: of views, of arrays that are checked and made again, of spooled bytes that are done with,
/// and sled's own.
fn is_passing(path: &Path) -> bool {
    if path.extension() == Some("ids".as_ref()) {
        return true;
    }
    let views = [
        "status.json",
        "runs/index.jsonl",
        "validator.json",
        "trail.json",
        "window.json",
        "source.json",
        "quarantine/reasons",
    ];
    let is_view = views.iter().any(|name| path.ends_with(name));
    let is_spare = is_unfinished(path) && path.parent().unwrap().ends_with("spool");
    is_view || is_spare || path.ancestors().skip(2).any(|above| above.ends_with("wal"))
}

fn is_unfinished(path: &Path) -> bool {
    path.extension() == Some("tmp".as_ref())
}

#[test]
fn bytes_are_durable_before_their_name_and_names_before_the_ledger_names_them() {
    let Some(shim) = shim() else { return };
    let mut named = 0;
    for act in Act::all() {
        let (mut place, _origin) = act.begin();
        let steps = shim.trace(&mut place, &["run"]);
        let flushed = |path: &Path, among: &[(String, PathBuf)]| {
            among.iter().any(|(what, flushed)| what == "flushed" && flushed == path)
        };
        for (at, (_, path)) in steps.iter().enumerate().filter(|(_, (what, path))| what == "named" && !is_passing(path))
        {
            let last = steps[..at].iter().rposition(|(what, named)| what == "named" && named == path);
            let (before, after) = (&steps[last.unwrap_or(0)..at], &steps[at + 1..]);
            // What is being deleted has no bytes that matter, nor has the journal's floor, and a generation's are the test of its
            // own writes.
            let is_floor = path.extension() == Some("floor".as_ref());
            let has_bytes = !is_unfinished(path) && !is_floor && !path.parent().unwrap().ends_with("wal");
            // How many tokens a file of the quarantine holds, and so its name, is known at its end.
            let counted = path.parent().unwrap().ends_with("quarantine") && !path.ends_with("ring");
            let unfinished =
                if counted { path.with_extension("").with_extension("tmp") } else { path.with_added_extension("tmp") };
            assert!(!has_bytes || flushed(&unfinished, before), "{}: {path:?}: its bytes", act.name);
            let until = after.iter().position(|(what, next)| what == "named" && next.ends_with("ledger/head"));
            let after = after.get(..until.unwrap_or(after.len())).unwrap();
            assert!(flushed(path.parent().unwrap(), after), "{}: {path:?}: its name", act.name);
            named += 1;
        }
    }
    assert!(named > 20, "{named} names");
}
