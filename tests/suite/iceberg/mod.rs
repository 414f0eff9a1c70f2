//! The committer of `fixtures/iceberg/`, run by PyIceberg with a catalog in SQLite: whatever happens to it, the table has each record of
//! a closed hour once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::cli::{Place, Ran, record};
use crate::support::python::venv;

const PACKAGES: [&str; 2] = ["pyiceberg[sql-sqlite]==0.12.0", "pyarrow==26.0.1"];

/// A lake, and a table's catalog beside it.
struct Warehouse {
    python: PathBuf,
    place: Place,
    /// The pages so far.
    pages: u64,
    /// The start of the hour number 0. It is some hours ago: `etl hours` goes through all hours since the first.
    start: Timestamp,
    /// The ids of all records that were received of closed hours.
    ids: BTreeSet<u64>,
}

impl Warehouse {
    /// With three closed hours of some records each, and one that is not over.
    fn new() -> Option<Self> {
        let python = venv("iceberg", &PACKAGES)?.join("bin/python");
        let place = Place::new("[source]\nurl = \"file:pages/*\"\n[load]\nto = \"file:lake\"\nformat = \"parquet\"\n");
        let now = Timestamp::now();
        let start = Timestamp::from_second((now.as_second() / 3600 - 12) * 3600).unwrap();
        let mut all = Self { python, place, pages: 0, start, ids: BTreeSet::new() };
        all.receive((1..=30).map(|id| (id, 1 + id % 3)));
        let now = now.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        all.place.page("pages/now", &[record(999, &now)]);
        all.place.etl(&["run"]).exits(0);
        all.place.etl(&["run", "--drain"]).exits(0);
        Some(all)
    }

    /// Lets records of these hours come.
    fn receive(&mut self, records: impl IntoIterator<Item = (u64, u64)>) {
        let records: Vec<_> = records.into_iter().collect();
        self.ids.extend(records.iter().map(|(id, _)| *id));
        let at = |id: u64, hour: u64| self.start + SignedDuration::from_mins((hour * 60 + id % 60).cast_signed());
        let text = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:00.123Z").to_string();
        let page = |(id, hour): &(u64, u64)| record(*id, &text(at(*id, *hour)));
        let records: Vec<_> = records.iter().map(page).collect();
        self.pages += 1;
        self.place.page(&format!("pages/{:03}", self.pages), &records);
        self.place.etl(&["run"]).exits(0);
    }

    fn command(&self, script: &Path, before: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        let catalog = |name: &str| format!("PYICEBERG_CATALOG__DEFAULT__{name}");
        let here = self.place.path("").display().to_string();
        command.arg(script).args(before).current_dir(self.place.path("")).env_clear();
        command.env("FERNET_KEY", &self.place.key).env("HOME", &here);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("PYTHONDONTWRITEBYTECODE", "1");
        command.env(catalog("TYPE"), "sql").env(catalog("URI"), format!("sqlite:///{here}/catalog.db"));
        command.env(catalog("WAREHOUSE"), format!("file://{here}/warehouse"));
        command.stdin(Stdio::null());
        command
    }

    /// The committer; `before`: what is to happen around its first commit.
    fn committer(&self, before: Option<&str>) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = root.join("fixtures/iceberg/commit.py");
        let mut command = match before {
            Some(what) => {
                self.command(&root.join("tests/suite/iceberg/at_commit.py"), &[what, script.to_str().unwrap()])
            }
            None => self.command(&script, &[]),
        };
        command.args(["--table", "logs.requests", "--config", "etl.toml", "--etl", env!("CARGO_BIN_EXE_etl")]);
        command
    }

    fn commit(&self) -> Ran {
        self.committer(None).output().unwrap().into()
    }

    /// How many parts a run adds.
    #[track_caller]
    fn adds(&self) -> u64 {
        self.commit().exits(0).json()["parts"].as_u64().unwrap()
    }

    /// The ids of the table's rows.
    #[track_caller]
    fn rows(&self) -> Vec<u64> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/iceberg/rows.py");
        let ran: Ran = self.command(&script, &["logs.requests"]).output().unwrap().into();
        serde_json::from_value(ran.exits(0).json()).unwrap()
    }

    /// Checks that the table has each record of the closed hours once.
    #[track_caller]
    fn has_all_once(&self) {
        assert_eq!(self.rows(), self.ids.iter().copied().collect::<Vec<_>>());
    }
}

#[test]
fn each_record_of_a_closed_hour_is_in_the_table_once_and_late_ones_follow() {
    let Some(mut all) = Warehouse::new() else { return };
    assert_eq!(all.adds(), 3, "the hour that is not over is left out");
    all.has_all_once();
    assert_eq!(all.adds(), 0);
    all.receive([(100, 2), (101, 2), (102, 7)]);
    assert_eq!(all.adds(), 2, "a late part and a new hour");
    all.has_all_once();
    assert_eq!(all.adds(), 0);
    all.has_all_once();
}

#[test]
fn committer_that_dies_or_is_overtaken_adds_nothing_twice_and_misses_nothing() {
    let Some(mut all) = Warehouse::new() else { return };
    // The first makes the table, too.
    for (what, code, left) in [("dies-before", 9, 3), ("overtaken", 0, 0), ("dies-after", 9, 0), ("dies-before", 9, 1)]
    {
        let ran: Ran = all.committer(Some(what)).output().unwrap().into();
        assert_eq!(ran.code, code, "{what}: {ran:?}");
        assert_eq!(all.adds(), left, "{what}");
        all.has_all_once();
        let next = all.ids.len() as u64 + 100;
        all.receive([(next, 2)]);
    }
}

#[test]
fn committers_that_run_at_once_add_each_part_once() {
    let Some(mut all) = Warehouse::new() else { return };
    for round in 0..2 {
        let run = || all.committer(None).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let running: Vec<_> = (0..3).map(|_| run()).collect();
        let ran: Vec<Ran> = running.into_iter().map(|one| one.wait_with_output().unwrap().into()).collect();
        // One that finds SQLite locked fails, and may.
        let added: u64 = ran.iter().filter(|ran| ran.code == 0).map(|ran| ran.json()["parts"].as_u64().unwrap()).sum();
        assert!(added <= 3 - round, "{ran:#?}");
        all.adds();
        all.has_all_once();
        all.receive([(100, 2), (102, 7)]);
    }
}

#[test]
fn part_that_is_gone_or_another_costs_only_its_hour() {
    let Some(mut all) = Warehouse::new() else { return };
    all.adds();
    all.receive([(100, 2), (102, 7), (103, 8)]);
    let hours = [2, 7].map(|hour| all.start + SignedDuration::from_hours(hour));
    let part = |hour: Timestamp, part: u32| {
        let key = hour.strftime("lake/parquet/year=%Y/month=%m/day=%d/hour=%H");
        all.place.path(format!("{key}/part-{part:05}.parquet"))
    };
    let [gone, other] = [part(hours[0], 1), part(hours[1], 0)];
    let [was_gone, was_other] = [&gone, &other].map(|path| std::fs::read(path).unwrap());
    std::fs::remove_file(&gone).unwrap();
    std::fs::copy(part(hours[0], 0), &other).unwrap();
    let ran = all.commit().exits(1);
    let hours = hours.map(|hour| hour.strftime("%Y-%m-%dT%H").to_string());
    assert_eq!((&ran.json()["parts"], &ran.json()["left_out"]), (&1.into(), &Value::from(hours.to_vec())));
    assert!(ran.err.contains(&format!("hour {} is left out", hours[0])), "{ran:?}");
    assert!(ran.err.contains("is not the part that the ledger knows"), "{ran:?}");
    std::fs::write(gone, was_gone).unwrap();
    std::fs::write(other, was_other).unwrap();
    assert_eq!(all.adds(), 2);
    all.has_all_once();
}

#[test]
fn table_of_another_lake_or_one_that_was_rolled_back_is_refused() {
    let Some(mut all) = Warehouse::new() else { return };
    all.adds();
    let first = all.rows();
    all.receive([(100, 2)]);
    all.adds();
    let roll_back = "from pyiceberg.catalog import load_catalog
table = load_catalog('default').load_table('logs.requests')
table.manage_snapshots().rollback_to_snapshot(table.history()[0].snapshot_id).commit()";
    let script = all.place.path("roll_back.py");
    std::fs::write(&script, roll_back).unwrap();
    let ran: Ran = all.command(&script, &[]).output().unwrap().into();
    ran.exits(0);
    assert_eq!(all.rows(), first);
    let ran = all.commit().exits(1);
    assert!(ran.err.contains("was rolled back"), "{ran:?}");
    all.place.configure("[source]\nurl = \"file:pages/*\"\n[load]\nto = \"file:other\"\nformat = \"parquet\"\n");
    let ran = all.commit().exits(1);
    assert!(ran.err.contains("name another table"), "{ran:?}");
}
