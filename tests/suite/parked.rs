//! An hour that cannot be read back from the store costs only itself: its records wait, all others go on, and they come back once
//! the hour can be read, each of them once.
//!
//! Planted bugs that turn these red: an hour that cannot be imported taken for a new one (`…once`); its whole page kept back
//! (`…go_out`); parked records let go before their page is in the journal (the crash tests).

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::cli::{Place, gunzip, page, record};
use crate::support::origin::{Answer, Origin};

const OLD: &str = "2023-01-01T01";
const PART: &str = "lake/data/2023_y/01_m/01_d/01_h/part-00000.ndjson.gz";

/// A place with five records of an hour whose hashes are forgotten.
struct Forgotten {
    place: Place,
    origin: Origin,
}

impl Forgotten {
    fn new() -> Self {
        let origin = Origin::start(vec![Answer::Page("[]".into())]);
        let place = Place::new(&format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\ndedup_window = \"0s\"\n[load]\nto = \"file:lake\"\n",
            origin.url
        ));
        let made = Self { place, origin };
        made.run(&(0..5).map(old).collect::<Vec<_>>(), 0);
        made.run(&[record(10, "2023-02-01T01:00:00.000Z")], 0);
        made
    }

    fn run(&self, records: &[String], code: i32) -> crate::support::cli::Ran {
        self.origin.script(vec![Answer::Page(page(&self.place.key, records))]);
        self.place.etl(&["run"]).exits(code)
    }

    fn part(&self) -> PathBuf {
        self.place.path(PART)
    }

    fn parked(&self) -> Value {
        self.place.status()["parked"].clone()
    }

    /// The ids in the lake, each as often as it is there.
    fn ids(&self) -> Vec<u64> {
        let pattern = format!("{}/lake/data/**/*.gz", self.place.path("").display());
        let mut ids: Vec<u64> = glob::glob(&pattern)
            .unwrap()
            .flat_map(|path| gunzip(&std::fs::read(path.unwrap()).unwrap()))
            .map(|line| serde_json::from_str::<Value>(&line).unwrap()["record_id"].as_u64().unwrap())
            .collect();
        ids.sort_unstable();
        ids
    }
}

fn old(id: u64) -> String {
    record(id, &format!("{OLD}:00:0{}.000Z", id % 10))
}

fn fresh(ids: std::ops::Range<u64>) -> Vec<String> {
    ids.map(|id| record(id, "2023-03-10T01:00:00.000Z")).collect()
}

#[test]
fn late_record_of_an_hour_that_is_gone_waits_alone_and_all_others_go_out() {
    let world = Forgotten::new();
    let away = std::fs::read(world.part()).unwrap();
    std::fs::remove_file(world.part()).unwrap();
    let mut records = fresh(100..120);
    records.extend([old(3), old(7)]);
    let ran = world.run(&records, 76);
    assert!(ran.err.contains(OLD) && ran.err.contains("repair") && ran.err.contains("etl replay"), "{ran:?}");
    assert_eq!(world.ids().into_iter().filter(|id| *id >= 100).count(), 20);
    assert_eq!(world.parked(), json!({"count": 2, "hours": [OLD]}));
    assert_eq!(world.place.status()["journal"]["pages"], 0, "the page is needed no more");
    // Later runs do not repeat it, whatever more of it comes.
    let again = world.run(&[old(3), old(7), old(8)], 0);
    assert_eq!(again.err, "");
    assert_eq!(world.parked()["count"], 3, "each is parked once");
    let check = world.place.etl(&["status", "--check"]).exits(1);
    assert!(check.out.contains("3 records parked"), "{check:?}");
    // The object is back: what it holds is known, the rest becomes the next part.
    std::fs::write(world.part(), away).unwrap();
    world.place.etl(&["replay"]).exits(0);
    assert_eq!(world.parked()["count"], 0);
    assert_eq!(world.ids().into_iter().filter(|id| *id < 10).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 7, 8]);
    world.place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn object_that_was_changed_parks_and_is_never_taken_for_the_hour() {
    let world = Forgotten::new();
    let good = std::fs::read(world.part()).unwrap();
    for bad in [b"".to_vec(), b"<html>".to_vec(), good[..good.len() - 9].to_vec()] {
        std::fs::write(world.part(), bad).unwrap();
        let ran = world.place.etl(&["replay"]);
        assert!([0, 76].contains(&ran.code), "{ran:?}");
        world.run(&[old(2), old(6)], if world.parked()["count"] == 0 { 76 } else { 0 });
        assert_eq!(world.parked()["count"], 2);
    }
    std::fs::write(world.part(), good).unwrap();
    world.place.etl(&["replay"]).exits(0);
    assert_eq!(world.ids(), [0, 1, 2, 3, 4, 6, 10]);
}

#[test]
fn store_that_is_away_parks_with_75_and_the_records_come_back() {
    let world = Forgotten::new();
    let (lake, away) = (world.place.path("lake"), world.place.path("lake.away"));
    std::fs::rename(&lake, &away).unwrap();
    std::fs::write(&lake, "in the way").unwrap();
    let ran = world.run(&[old(1), old(9)], 74);
    assert!(ran.err.contains(OLD), "{ran:?}");
    assert_eq!(world.parked()["count"], 2);
    std::fs::remove_file(&lake).unwrap();
    std::fs::rename(&away, &lake).unwrap();
    world.place.etl(&["replay"]).exits(0);
    assert_eq!(world.ids(), [0, 1, 2, 3, 4, 9, 10]);
}

#[test]
fn quarantined_token_of_an_hour_that_is_gone_is_parked_when_its_key_comes() {
    let mut world = Forgotten::new();
    let other = fernet::Fernet::generate_key();
    let good = std::fs::read(world.part()).unwrap();
    let mixed = page(&other, &[old(6)]).replace(']', &format!(",{}", &page(&world.place.key, &fresh(100..101))[1..]));
    world.origin.script(vec![Answer::Page(mixed)]);
    world.place.etl(&["run"]).exits(65);
    std::fs::remove_file(world.part()).unwrap();
    let ring = format!("{other},{}", world.place.key);
    world.place.set("FERNET_KEY", &ring);
    world.run(&[], 76);
    assert_eq!((&world.parked()["count"], &world.place.status()["quarantine"]["count"]), (&1.into(), &0.into()));
    std::fs::write(world.part(), good).unwrap();
    world.place.etl(&["replay"]).exits(0);
    assert_eq!(world.ids(), [0, 1, 2, 3, 4, 6, 10, 100]);
}

#[test]
fn parked_file_that_vanishes_is_missed() {
    let world = Forgotten::new();
    std::fs::remove_file(world.part()).unwrap();
    world.run(&[old(7)], 76);
    let files: Vec<PathBuf> = std::fs::read_dir(world.place.path("etl-state/parked"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("tried"))
        .collect();
    assert_eq!(files.len(), 1);
    std::fs::remove_file(&files[0]).unwrap();
    let ran = world.run(&[], 74);
    assert!(ran.err.contains("1 parked records are gone"), "{ran:?}");
    world.run(&[], 0);
}
