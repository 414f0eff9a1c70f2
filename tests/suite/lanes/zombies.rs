//! Several states at work on the same records: two of one lane, other numbers of lanes, machines alone; in turns, at once, killed.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etl::error::{Error, ErrorKind};
use etl::job::lane::Neighbours;

use super::bench::{Bench, Work, went_well};
use crate::support::tally;

/// Everybody who may be at work: each lane of 2 and of 3 with two states, and two machines alone.
fn everybody(bench: &Bench) -> Vec<(Work, bool)> {
    let lanes = [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)];
    let twice = lanes.into_iter().flat_map(|(lanes, lane)| {
        ["", "-zombie"].map(|zombie| {
            let work = bench.work(lanes, lane);
            let state = bench.state(&format!("{lanes}-{lane}{zombie}"));
            (Work { state, ..work }, false)
        })
    });
    let alone = ["alone", "another"].map(|name| (Work { state: bench.state(name), ..bench.work(1, 0) }, true));
    twice.chain(alone).collect()
}

/// Does it; what went wrong, but for what the store and the lock may say for a moment.
fn work(work: &Work, alone: bool) -> Vec<String> {
    said(if alone { work.alone().problems } else { work.lane().problems })
}

fn said(problems: Vec<Error>) -> Vec<String> {
    let passing = [ErrorKind::Busy, ErrorKind::Unavailable];
    problems
        .iter()
        .filter(|problem| !passing.contains(&problem.kind()))
        .map(|problem| problem.chain().to_string())
        .collect()
}

#[test]
fn lanes_of_one_process_ask_the_store_once_for_an_hour_and_are_not_misled_by_what_they_remember() {
    let Some(mut bench) = Bench::new("neighbours") else { return };
    let neighbours = Rc::default();
    bench.give(1..200, 2);
    // Parts and manifests of an hour.
    let asked = |bench: &Bench| {
        let requests = bench.proxy.requests("GET");
        requests.iter().filter(|(line, _)| line.contains("list-type=2") && line.contains("_h%2F")).count()
    };
    for (lane, lists) in [(0, 4), (1, 0), (2, 0)] {
        bench.proxy.forget();
        went_well(&bench.work(6, lane).lane_among(&neighbours), "the first lanes");
        assert_eq!(asked(&bench), lists, "lane {lane}");
    }
    // Meanwhile another machine has the next lane, and one that works alone has all of it.
    went_well(&bench.work(6, 3).lane(), "elsewhere");
    let alone = Work { state: bench.state("alone"), ..bench.work(1, 0) };
    assert_eq!(work(&alone, true), Vec::<String>::new());
    // Lane 4 finds that out and tells of a part in which lane 5 has records.
    bench.give(200..260, 2);
    for lane in [4, 5, 3] {
        went_well(&bench.work(6, lane).lane_among(&neighbours), "the last lanes");
    }
    for lane in 0..3 {
        went_well(&bench.work(6, lane).lane_among(&neighbours), "the first lanes once more");
    }
    bench.is_complete("in the end");
    bench.is_what_the_command_says();
}

#[test]
fn states_of_the_same_records_in_turns_put_each_into_one_part() {
    for seed in 0..tally::scale(2, 40) {
        let Some(mut bench) = Bench::new("zombies") else { return };
        let seed = tally::seed("zombies in turns", seed);
        let mut drawn = fastrand::Rng::with_seed(seed);
        let everybody = everybody(&bench);
        let neighbours: [Rc<Neighbours>; 2] = Default::default();
        for step in 0..15 {
            let case = format!("seed {seed}, step {step}");
            if step % 3 == 0 {
                bench.give((0..15).map(|_| drawn.u64(0..40 + 8 * step)).collect::<Vec<_>>(), 2);
            }
            let (who, alone) = &everybody[drawn.usize(..everybody.len())];
            if drawn.u8(..8) == 0 {
                let _ = std::fs::remove_dir_all(&who.state);
            }
            let mut who = who.clone();
            (who.drain, who.batch, who.part_max_records) = (drawn.u8(..4) > 0, drawn.usize(1..4), drawn.u64(2..20));
            // What the lanes of two processes told each other, however old that is.
            let problems = match drawn.usize(..3) {
                process @ 0..2 if !alone => said(who.lane_among(&neighbours[process]).problems),
                _ => work(&who, *alone),
            };
            assert_eq!(problems, Vec::<String>::new(), "{case}");
            if step % 5 == 4 {
                bench.is_sound(&case);
            }
        }
        for (who, alone) in &everybody {
            assert_eq!(work(who, *alone), Vec::<String>::new(), "seed {seed}, in the end");
        }
        bench.is_complete(&format!("seed {seed}"));
        bench.is_what_the_command_says();
    }
}

#[test]
fn states_of_the_same_records_at_once_put_each_into_one_part() {
    for seed in 0..tally::scale(1, 20) {
        let Some(mut bench) = Bench::new("zombies") else { return };
        let seed = tally::seed("zombies at once", seed);
        let mut drawn = fastrand::Rng::with_seed(seed);
        let everybody = everybody(&bench);
        for round in 0..3 {
            let case = format!("seed {seed}, round {round}");
            for _ in 0..2 {
                bench.give((0..20).map(|_| drawn.u64(0..60 + 40 * round)).collect::<Vec<_>>(), 2);
            }
            let next = AtomicUsize::new(0);
            let parts = drawn.u64(3..15);
            let problems: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..6)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut problems = Vec::new();
                            while let Some((who, alone)) = everybody.get(next.fetch_add(1, Ordering::Relaxed)) {
                                problems.extend(work(&Work { part_max_records: parts, ..who.clone() }, *alone));
                            }
                            problems
                        })
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(problems, Vec::<String>::new(), "{case}");
            bench.is_sound(&case);
        }
        for (who, alone) in &everybody {
            assert_eq!(work(who, *alone), Vec::<String>::new(), "seed {seed}, in the end");
        }
        bench.is_complete(&format!("seed {seed}"));
        bench.is_what_the_command_says();
    }
}

#[test]
fn lanes_killed_at_any_moment_put_each_record_into_one_part() {
    let Some(mut bench) = Bench::new("killed") else { return };
    let seed = tally::seed("killed lanes", 5);
    let mut drawn = fastrand::Rng::with_seed(seed);
    let mut kills = 0;
    for round in 0..tally::scale(4, 40) {
        bench.give((0..40).map(|_| drawn.u64(0..80 + 40 * round)).collect::<Vec<_>>(), 3);
        for lane in 0..3 {
            for _ in 0..2 {
                let who = Work { part_max_records: drawn.u64(3..9), batch: 1, ..bench.work(3, lane) };
                let mut child = who.process(&[]).spawn().unwrap();
                std::thread::sleep(Duration::from_millis(drawn.u64(20..300)));
                let _ = child.kill();
                kills += u64::from(child.wait().unwrap().code().is_none());
                if drawn.u8(..3) == 0 {
                    let _ = std::fs::remove_dir_all(&who.state);
                }
            }
        }
        bench.is_sound(&format!("seed {seed}, round {round}"));
    }
    tally::add("kills", "lanes", kills);
    for lane in 0..3 {
        went_well(&bench.work(3, lane).lane(), "in the end");
    }
    bench.is_complete(&format!("seed {seed}"));
    bench.is_what_the_command_says();
}
