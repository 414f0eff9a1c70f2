//! Several at once: runs on one state directory, and machines with one store.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::{TestS3, s3, unique_prefix};

#[test]
fn of_runs_started_at_once_on_one_directory_exactly_one_works() {
    for count in [2, 3, 5] {
        let origin = Origin::start(vec![Answer::Stall(Duration::from_secs(2))]);
        let url = &origin.url;
        let place = Place::new(&format!("[source]\nurl = \"{url}\"\nretries = 0\n[load]\nto = \"file:lake\"\n"));
        let start = |_| place.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let runs: Vec<Child> = (0..count).map(start).collect();
        let ran: Vec<Ran> = runs.into_iter().map(|run| run.wait_with_output().unwrap().into()).collect();
        let worked = ran.iter().filter(|ran| ran.code == 75).count();
        let told = ran.iter().filter(|ran| ran.code == 11 && ran.out.is_empty()).count();
        assert_eq!((worked, told), (1, count - 1), "{ran:#?}");
        assert_eq!(place.status()["last_run"]["exit"], 75, "the runs that were told leave the status alone");
    }
}

/// Machines with a state directory each and one store.
struct Machines {
    places: Vec<Place>,
    origins: Vec<Origin>,
    sent: Vec<String>,
    key: String,
}

impl Machines {
    fn new(count: usize, load: &str, store: Option<&TestS3>) -> Self {
        let key = fernet::Fernet::generate_key();
        let origins: Vec<Origin> = (0..count).map(|_| Origin::start(vec![Answer::Page("[]".into())])).collect();
        let places = origins.iter().map(|origin| {
            let url = &origin.url;
            let config = format!("[source]\nurl = \"{url}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\n{load}");
            let mut place = Place::new(&config);
            place.set("FERNET_KEY", &key);
            store.into_iter().for_each(|at| place.trust(at));
            place
        });
        Self { places: places.collect(), origins, sent: Vec::new(), key }
    }

    /// Gives machine number `n` these records at its next run.
    fn give(&mut self, n: usize, ids: impl Iterator<Item = u64>) {
        let records: Vec<String> = ids
            .map(|id| record(id, &format!("2023-03-10T{:02}:00:{:02}.{:03}Z", id % 3, id % 60, id % 1000)))
            .collect();
        self.origins[n].script(vec![Answer::Page(page(&self.key, &records)), Answer::Page("[]".into())]);
        self.sent.extend(records);
    }

    /// Overlapping windows for each machine, run side by side, `rounds` times; then alternating runs.
    fn work(&mut self, rounds: u64) {
        let machines = self.places.len() as u64;
        for round in 0..rounds {
            for n in 0..self.places.len() {
                let from = round * 40 + n as u64 * 7;
                self.give(n, from..from + 60);
            }
            let start =
                |place: &Place| place.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let runs: Vec<Child> = self.places.iter().map(start).collect();
            for run in runs {
                let ran: Ran = run.wait_with_output().unwrap().into();
                assert!([0, 75].contains(&ran.code), "round {round}: {ran:#?}");
            }
        }
        for _ in 0..machines {
            for place in &self.places {
                place.etl(&["run", "--drain"]).exits(0);
            }
        }
    }

    /// Every record is in the store once, and every machine is done.
    fn check(&self) {
        let restored = self.places[0].etl(&["restore"]).exits(0).out;
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for line in restored.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
        }
        let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
        assert!(twice.is_empty(), "twice: {twice:?}");
        let sent: std::collections::BTreeSet<&String> = self.sent.iter().collect();
        assert_eq!(seen.len(), sent.len(), "lost");
        for place in &self.places {
            let status = place.status();
            assert_eq!((&status["totals"]["pending"], &status["journal"]["pages"]), (&0.into(), &0.into()));
            let verified = place.etl(&["verify", "--deep", "--json"]);
            let report = verified.json();
            let findings = report["findings"].as_array().unwrap();
            assert!(findings.iter().all(|found| found["fault"] == "foreign"), "{verified:#?}");
            assert_eq!(verified.code, if findings.is_empty() { 0 } else { 76 });
        }
    }

    /// What `verify` says of the other's parts goes when they are taken over.
    fn check_after_taking_over(&self) {
        for place in &self.places {
            place.etl(&["replay", "--from-s3"]).exits(0);
        }
        let verified: Vec<Value> =
            self.places.iter().map(|place| place.etl(&["verify", "--deep", "--json"]).exits(0).json()).collect();
        for report in &verified {
            assert_eq!((&report["parts"], &report["rows"]), (&verified[0]["parts"], &verified[0]["rows"]));
        }
    }
}

#[test]
fn two_machines_with_one_lake_converge() {
    let shared = tempfile::tempdir().unwrap();
    let lake = shared.path().join("lake");
    let mut machines = Machines::new(2, &format!("to = \"file:{}\"\n", lake.display()), None);
    machines.work(6);
    machines.check();
    machines.check_after_taking_over();
}

#[test]
fn three_machines_with_one_prefix_in_s3_converge() {
    let Some(at) = s3() else { return };
    let load = format!("{}part_max_records = 20\n", at.load(&unique_prefix("machines")));
    let mut machines = Machines::new(3, &load, Some(&at));
    machines.work(5);
    machines.check();
    machines.check_after_taking_over();
}

#[test]
fn machine_that_was_away_meets_the_others_parts_when_it_has_records_for_their_hour() {
    let shared = tempfile::tempdir().unwrap();
    let lake = shared.path().join("lake");
    let mut machines = Machines::new(2, &format!("to = \"file:{}\"\n", lake.display()), None);
    machines.give(0, 0..50);
    machines.places[0].etl(&["run", "--drain"]).exits(0);
    machines.give(1, 30..80);
    let ran = machines.places[1].etl(&["run", "--drain", "--json"]).exits(0).json();
    assert_eq!((&ran["new"], &ran["uploaded_records"]), (&50.into(), &30.into()), "20 of them were there already");
    machines.check();
    // Nothing makes the first machine look again; the other's parts are strangers to it, and named as such.
    let verified = machines.places[0].etl(&["verify"]).exits(76);
    assert!(verified.out.contains("part-00001") && verified.out.contains("--from-s3"), "{verified:?}");
    machines.check_after_taking_over();
}
