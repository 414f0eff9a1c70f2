//! Lanes: states that share a bucket, each with the records of a range of hashes, whose journal is elsewhere.
//!
//! Whatever befalls a lane's directory, however many are at work on it, and in how many lanes: each record is in one part of its hour.

mod bench;
#[cfg(feature = "failpoints")]
mod crash;
mod faults;
mod zombies;

use std::collections::{BTreeMap, BTreeSet};

use self::bench::{Bench, CHILD, child, time, went_well};
use crate::support::tally;

/// Not a test: what a lane does in a process of its own.
#[test]
fn lane_of_another_process() {
    if let Ok(work) = std::env::var(CHILD) {
        child(&work);
    }
}

#[test]
fn lanes_put_each_record_into_one_part_of_one_chain() {
    for (lanes, hours, seed) in [(1, 1, 0), (3, 1, 1), (3, 4, 2), (6, 3, 3)] {
        let Some(mut bench) = Bench::new("lanes") else { return };
        let case = format!("{lanes} lanes, {hours} hours, seed {seed}");
        let mut drawn = fastrand::Rng::with_seed(tally::seed("lanes", seed));
        for round in 0..4 {
            let known = 40 * round;
            for _ in 0..3 {
                bench.give((0..20).map(|_| drawn.u64(known / 2..known + 60)), hours);
            }
            let mut order: Vec<u32> = (0..lanes).collect();
            drawn.shuffle(&mut order);
            for lane in order {
                let mut work = bench.work(lanes, lane);
                (work.batch, work.part_max_records) = (drawn.usize(1..4), drawn.u64(3..30));
                let outcome = work.lane();
                went_well(&outcome, &case);
                let place = outcome.place.unwrap();
                assert_eq!(
                    (place.needed, place.newest, work.released()),
                    (work.ends(), work.ends(), work.ends()),
                    "{case}"
                );
            }
            bench.is_complete(&case);
        }
        let parts = bench.parts();
        let ranges: BTreeSet<String> = parts.iter().map(|part| part.range.to_string()).collect();
        assert_eq!(ranges.len(), lanes as usize, "{case}: {ranges:?}");
        bench.is_what_the_command_says();
    }
}

#[test]
fn manifest_of_a_lane_speaks_of_its_part_alone() {
    let Some(mut bench) = Bench::new("lanes") else { return };
    bench.give(1..60, 1);
    for lane in 0..3 {
        went_well(&bench.work(3, lane).lane(), "first");
    }
    bench.give(60..90, 1);
    for lane in 0..3 {
        went_well(&bench.work(3, lane).lane(), "second");
    }
    bench.is_complete("");
    let parts: BTreeMap<String, usize> = bench.parts().into_iter().map(|part| (part.key, part.hashes.len())).collect();
    let manifests = bench.manifests();
    assert_eq!((manifests.len(), parts.len()), (6, 6));
    for manifest in manifests.values() {
        let rows = parts[manifest["key"].as_str().unwrap()];
        assert_eq!((&manifest["rows"], &manifest["hour_so_far"]["rows"]), (&rows.into(), &rows.into()), "{manifest}");
        assert_eq!(manifest["range"].as_str().unwrap().len(), 33, "{manifest}");
        assert_eq!(
            (&manifest["verdict"], &manifest["witness"]),
            (&"unproven".into(), &serde_json::Value::Null),
            "{manifest}"
        );
        assert_eq!(manifest["hour_so_far"]["late_parts"], 0, "{manifest}");
    }
}

#[test]
fn hour_closes_when_the_lane_has_caught_up_and_an_hour_later_at_the_latest() {
    let Some(mut bench) = Bench::new("lanes") else { return };
    bench.give_at("2023-03-10T01:20:00Z", (1..30).map(|id| (id, format!("01:10:{id:02}.000"))));
    // The hour closes at 02:10.
    let cases = [
        ("2023-03-10T02:09:59Z", "2023-03-10T02:09:59Z", 0),
        ("2023-03-10T02:30:00Z", "2023-03-10T02:09:59Z", 0),
        ("2023-03-10T03:09:59Z", "2023-03-10T02:09:59Z", 0),
        ("2023-03-10T03:10:00Z", "2023-03-10T02:09:59Z", 1),
        ("2023-03-10T02:30:00Z", "2023-03-10T02:10:00Z", 1),
    ];
    for (number, (now, caught_up, sealed)) in cases.into_iter().enumerate() {
        let case = format!("{now}, caught up {caught_up}");
        let lane = u32::try_from(number).unwrap() % 3;
        let mut work = bench.work(3, lane);
        (work.drain, work.now, work.caught_up) = (false, time(now), time(caught_up));
        let outcome = work.lane();
        went_well(&outcome, &case);
        let place = outcome.place.unwrap();
        assert_eq!(outcome.summary.uploaded_parts, sealed, "{case}");
        assert_eq!(place.newest, 1, "{case}");
        assert_eq!(place.needed, sealed, "{case}: what has no receipt is needed");
        assert_eq!(place.closed_through, time(caught_up), "{case}");
        assert_eq!(work.released(), sealed, "{case}");
    }
    // The hour is open as long as a lane has something of it that came in time.
    let mut work = bench.work(3, 2);
    (work.drain, work.now, work.caught_up) = (false, time("2023-03-10T05:00:00Z"), time("2023-03-10T01:00:00Z"));
    let outcome = work.lane();
    went_well(&outcome, "the last lane");
    assert_eq!((outcome.summary.uploaded_parts, outcome.summary.late), (1, 0));
    assert_eq!(outcome.place.unwrap().closed_through, time("2023-03-10T01:00:00Z"));
    bench.is_complete("in the end");
}

#[test]
fn late_records_wait_for_their_fellows_and_others_do_not_wait_because_of_parts() {
    let Some(mut bench) = Bench::new("lanes") else { return };
    bench.give_at("2023-03-10T01:20:00Z", (1..30).map(|id| (id, format!("01:10:{id:02}.000"))));
    went_well(&bench.work(2, 0).lane(), "drained while the hour is open");
    bench.give_at("2023-03-10T01:40:00Z", (30..60).map(|id| (id, format!("01:20:{id:02}.000"))));
    let at = |bench: &Bench, lane: u32, now: &str| {
        let mut work = bench.work(2, lane);
        (work.drain, work.now, work.caught_up) = (false, time(now), time(now));
        let outcome = work.lane();
        went_well(&outcome, now);
        (outcome.summary.uploaded_parts, outcome.summary.late)
    };
    for lane in 0..2 {
        assert_eq!(at(&bench, lane, "2023-03-10T02:10:00Z"), (1, 0), "in time");
    }
    bench.is_complete("in time");
    bench.give_at("2023-03-10T02:20:00Z", (60..90).map(|id| (id, format!("01:30:{:02}.000", id % 60))));
    let waits = at(&bench, 0, "2023-03-10T03:19:00Z");
    assert!(waits.0 == 0 && waits.1 > 0, "{waits:?}");
    assert_eq!(at(&bench, 0, "2023-03-10T03:20:00Z"), (1, 0));
    assert_eq!(at(&bench, 1, "2023-03-10T03:20:00Z").0, 1);
    bench.is_complete("late");
}

#[test]
fn open_hour_with_a_whole_part_is_sealed_early() {
    let Some(mut bench) = Bench::new("lanes") else { return };
    bench.give(1..200, 1);
    let mut work = bench.work(2, 0);
    (work.drain, work.now, work.caught_up) = (false, time("2023-03-10T01:31:00Z"), time("2023-03-10T01:31:00Z"));
    work.part_bytes = 1 << 20;
    let outcome = work.lane();
    assert_eq!((outcome.summary.uploaded_parts, outcome.place.unwrap().needed), (0, 0));
    work.part_bytes = 1 << 12;
    let outcome = work.lane();
    assert!(outcome.summary.uploaded_parts > 1, "{:?}", outcome.summary);
    assert_eq!((outcome.place.unwrap().needed, outcome.summary.late), (1, 0));
    // What comes then is as much in time as before.
    bench.give(200..210, 1);
    let outcome = work.lane();
    assert_eq!((outcome.summary.uploaded_parts, outcome.summary.late), (0, 0));
    let place = outcome.place.unwrap();
    assert_eq!((place.needed, place.newest), (1, 2));
    (work.now, work.caught_up) = (time("2023-03-10T02:10:00Z"), time("2023-03-10T02:10:00Z"));
    assert_eq!(work.lane().summary.uploaded_parts, 1);
    went_well(&bench.work(2, 1).lane(), "the other lane");
    bench.is_complete("");
    bench.is_what_the_command_says();
}

#[test]
fn one_machine_then_lanes_then_one_machine_on_one_prefix() {
    let Some(mut bench) = Bench::new("lanes") else { return };
    let alone = |bench: &Bench, name: &str| {
        let mut work = bench.work(1, 0);
        work.state = bench.state(name);
        let outcome = work.alone();
        assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    };
    bench.give(1..40, 3);
    alone(&bench, "alone");
    bench.is_complete("one machine");
    bench.give(30..80, 3);
    for lane in [2, 0, 1] {
        went_well(&bench.work(3, lane).lane(), "three lanes");
    }
    bench.is_complete("three lanes");
    bench.give(70..110, 3);
    for lane in [0, 1] {
        went_well(&bench.work(2, lane).lane(), "two lanes");
    }
    bench.is_complete("two lanes");
    bench.give(100..140, 3);
    alone(&bench, "alone");
    bench.is_complete("one machine again, with its old state");
    bench.give(130..150, 3);
    alone(&bench, "another");
    bench.is_complete("one machine again, with a new state");
    bench.is_what_the_command_says();
}
