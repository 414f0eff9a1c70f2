//! What befalls a lane's directory and its store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use etl::error::ErrorKind;

use super::bench::{Bench, Work, time, went_well};
use crate::support::proxy::{Fault, named};
use crate::support::state_dir::copy_dir;
use crate::support::tally;

/// All files below a folder, with their content and the time of their last change.
fn files(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            found.insert(path.clone(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    found
}

/// The same where the store refuses requests of this kind for keys with this text.
fn refusing(work: Work, verb: &str, text: &str) -> Work {
    Work { refused: Some((verb.to_owned(), text.to_owned())), ..work }
}

#[test]
fn idle_lane_writes_nothing_and_asks_for_nothing() {
    let Some(mut bench) = Bench::new("idle") else { return };
    bench.give(1..30, 3);
    for lane in 0..3 {
        went_well(&bench.work(3, lane).lane(), "work");
    }
    // Records that wait for their hour.
    bench.give_at("2023-03-10T12:00:00Z", (30..60).map(|id| (id, format!("12:00:{:02}.000", id - 30))));
    let mut work = bench.work(3, 1);
    work.drain = false;
    for _ in 0..2 {
        went_well(&work.lane(), "the first");
    }
    bench.proxy.forget();
    let before = files(&work.state);
    let outcome = work.lane();
    went_well(&outcome, "idle");
    assert_eq!(bench.proxy.requests(""), [], "an idle lane asks the store nothing");
    let changed: Vec<PathBuf> = files(&work.state)
        .into_iter()
        .filter(|(path, file)| before.get(path) != Some(file))
        .map(|(path, _)| path)
        .collect();
    // The lock is taken, and the log's store touches its file when it is opened.
    let is_view = |path: &PathBuf| {
        ["status.json", "lock", "db"].iter().any(|name| path.ends_with(name)) || path.iter().any(|name| name == "runs")
    };
    let written: Vec<&PathBuf> = changed.iter().filter(|path| !is_view(path)).collect();
    assert!(written.is_empty(), "{written:?}");
}

/// What befalls a state directory.
const DAMAGE: [&str; 9] =
    ["all", "wal", "ledger", "hashes", "spool", "lane.json", "damaged wal", "damaged ledger", "damaged hashes"];

fn befall(state: &Path, damage: &str) {
    let damaged = |folder: &Path| {
        for path in files(folder).into_keys() {
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.len() / 2;
            bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 0x55);
            std::fs::write(path, bytes).unwrap();
        }
    };
    match damage {
        "all" => std::fs::remove_dir_all(state).unwrap(),
        "lane.json" => std::fs::remove_file(state.join("lane.json")).unwrap(),
        folder if !folder.contains(' ') => {
            let _ = std::fs::remove_dir_all(state.join(folder));
        }
        damage => {
            let folder = state.join(damage.strip_prefix("damaged ").unwrap());
            if folder.is_dir() {
                damaged(&folder);
            }
        }
    }
}

#[test]
fn whatever_is_lost_of_a_lane_comes_again_and_is_there_once() {
    type Begun = fn(&Bench) -> Work;
    let states: [(&str, Begun); 4] = [
        ("records wait", |bench| {
            let work = Work { drain: false, now: time("2023-03-10T01:35:00Z"), ..bench.work(2, 0) };
            Work { caught_up: work.now, ..work }
        }),
        ("parts wait", |bench| refusing(bench.work(2, 0), "put", "/part-")),
        ("all has receipts", |bench| bench.work(2, 0)),
        ("its hashes are forgotten", |bench| Work { dedup_window: jiff::SignedDuration::ZERO, ..bench.work(2, 0) }),
    ];
    std::thread::scope(|scope| {
        for (name, reach) in states {
            scope.spawn(move || loses_everything_in_turn(name, reach));
        }
    });
}

fn loses_everything_in_turn(name: &str, reach: fn(&Bench) -> Work) {
    let Some(mut bench) = Bench::new("lost") else { return };
    let mut known = 0;
    for damage in DAMAGE {
        let case = format!("{name}: {damage}");
        bench.give(known..known + 20, 2);
        known += 20;
        let work = reach(&bench);
        let first = work.lane();
        assert!(first.place.is_some(), "{case}: {:?}", first.problems);
        befall(&work.state, damage);
        bench.give(known - 10..known + 10, 2);
        known += 10;
        went_well(&bench.work(2, 0).lane(), &case);
        went_well(&bench.work(2, 1).lane(), &case);
        bench.is_complete(&case);
        tally::add("damage", "of a lane", 1);
    }
    bench.is_what_the_command_says();
}

/// A lane with parts under numbers that were taken by another lane's, renumbered and not sent yet.
fn renumbered(bench: &mut Bench) -> Work {
    bench.give(1..60, 1);
    let work = Work { part_max_records: 10, ..bench.work(2, 0) };
    let outcome = refusing(work.clone(), "put", "/part-").lane();
    assert_eq!(outcome.place.unwrap().needed, 0, "{:?}", outcome.problems);
    went_well(&Work { part_max_records: 20, ..bench.work(2, 1) }.lane(), "the other lane");
    let others = u32::try_from(bench.parts().len()).unwrap();
    assert!(others >= 2);
    let outcome = refusing(work.clone(), "put", &format!("/part-{others:05}")).lane();
    assert_eq!(outcome.place.unwrap().needed, 0, "{:?}", outcome.problems);
    assert_eq!(bench.parts().len(), others as usize);
    work
}

#[test]
fn manifest_of_a_part_whose_owner_died_is_made_though_the_first_try_fails() {
    let Some(mut bench) = Bench::new("bare") else { return };
    bench.give(1..30, 1);
    for _ in 0..2 {
        // The part is in the store, and its manifest is not; then the state is lost.
        assert!(!refusing(bench.work(2, 0), "put", "manifest/").lane().problems.is_empty());
        befall(&bench.work(2, 0).state, "all");
    }
    // The next owner's first try fails as well.
    assert!(!refusing(bench.work(2, 0), "put", "manifest/").lane().problems.is_empty());
    assert_eq!((bench.parts().len(), bench.manifests().len()), (1, 0));
    went_well(&bench.work(2, 0).lane(), "the next owner");
    assert_eq!(bench.manifests().len(), 1);
    went_well(&bench.work(2, 1).lane(), "the other lane");
    bench.is_complete("bare");
}

#[test]
fn parts_whose_numbers_are_taken_by_another_lane_move_on() {
    let Some(mut bench) = Bench::new("renumbered") else { return };
    let work = renumbered(&mut bench);
    bench.proxy.forget();
    went_well(&work.lane(), "renumbered");
    bench.is_complete("renumbered");
    assert_eq!(
        bench.proxy.requests("GET /logs/test/renumbered").iter().filter(|(line, _)| line.contains("/data/")).count(),
        0
    );
    bench.is_what_the_command_says();
}

#[test]
fn bytes_of_renumbered_parts_that_are_lost_are_made_again() {
    for damage in DAMAGE {
        let Some(mut bench) = Bench::new("renumbered") else { return };
        let work = renumbered(&mut bench);
        befall(&work.state, damage);
        went_well(&work.lane(), damage);
        bench.is_complete(damage);
        tally::add("damage", "of a lane", 1);
    }
}

#[test]
fn state_of_before_that_comes_back_adds_nothing() {
    let Some(mut bench) = Bench::new("back") else { return };
    let kept = tempfile::tempdir().unwrap();
    bench.give(1..40, 2);
    let open = Work {
        drain: false,
        now: time("2023-03-10T01:35:00Z"),
        caught_up: time("2023-03-10T01:35:00Z"),
        ..bench.work(2, 0)
    };
    went_well(&open.lane(), "open");
    copy_dir(&open.state, kept.path());
    went_well(&bench.work(2, 0).lane(), "sealed");
    bench.give(40..60, 2);
    went_well(&bench.work(2, 0).lane(), "more");
    std::fs::remove_dir_all(&open.state).unwrap();
    copy_dir(kept.path(), &open.state);
    went_well(&bench.work(2, 0).lane(), "the state of before");
    went_well(&bench.work(2, 1).lane(), "the other lane");
    bench.is_complete("");
}

#[test]
fn look_that_fails_is_no_absence_and_costs_its_hour_only() {
    let Some(mut bench) = Bench::new("looks") else { return };
    bench.give(1..90, 3);
    went_well(&bench.work(3, 0).lane(), "the first lane");
    let before = bench.parts().len();
    let faults = [("GET ", "503"), ("HEAD ", "503"), ("GET ", "204"), ("GET ", "200 in HTML"), ("GET ", "404")];
    for (verb, fault) in faults {
        bench.proxy.at_keys(verb, &["_h"], Fault::Instead(named(fault)));
        let outcome = bench.work(3, 1).lane();
        bench.proxy.calm();
        let case = format!("{verb}{fault}");
        assert!(!outcome.problems.is_empty(), "{case}: it is said");
        assert_eq!(outcome.place.unwrap().needed, 0, "{case}");
        assert_eq!(bench.parts().len(), before, "{case}: nothing is sent");
        tally::add("wire", "a lane's look", 1);
    }
    // One hour cannot be looked at: the others go on.
    bench.proxy.at_keys("HEAD ", &["02_h"], Fault::Instead(named("403")));
    let outcome = bench.work(3, 1).lane();
    let kinds: Vec<ErrorKind> = outcome.problems.iter().map(etl::error::Error::kind).collect();
    bench.proxy.calm();
    assert!(!kinds.is_empty());
    bench.is_sound("one hour");
    for lane in 0..3 {
        went_well(&bench.work(3, lane).lane(), "in the end");
    }
    bench.is_complete("in the end");
}

#[test]
fn foreign_object_in_the_way_makes_its_hour_wait_and_no_other() {
    let Some(mut bench) = Bench::new("foreign") else { return };
    bench.give(1..60, 2);
    let (key, body) =
        (format!("{}data/2023_y/03_m/10_d/01_h/part-00000.ndjson.gz", bench.prefix), bench.state("stranger"));
    std::fs::create_dir_all(body.parent().unwrap()).unwrap();
    std::fs::write(&body, "no part").unwrap();
    put(&bench, &key, &body);
    let outcome = bench.work(2, 0).lane();
    let problems: Vec<String> = outcome.problems.iter().map(|problem| problem.chain().to_string()).collect();
    assert!(problems.len() == 1 && problems[0].contains(&key), "{problems:?}");
    assert_eq!((outcome.summary.uploaded_parts, outcome.place.unwrap().needed), (1, 0));
}

fn put(bench: &Bench, key: &str, body: &Path) {
    use etl::store::{ObjectStore, PartMeta};
    let identity = etl::hour::part::PartIdentity { rows: 1, bytes: 7, sha256: "x".into(), content_sha256: "y".into() };
    let meta = PartMeta { identity, hour: "x".into(), dict: "x".into(), range: etl::hour::range::HashRange::ALL };
    bench.at.store().put_new(key, body, &meta).unwrap();
}
