//! Crashes and failures around each durable step of lanes: a lane whose parts move on, in a process of its own.

use std::collections::BTreeSet;

use super::bench::{Bench, Work, time, went_well};
use crate::support::tally;

/// What a lane does, one process after the other, while another lane works.
struct Acts {
    bench: Bench,
    acts: Vec<Work>,
}

impl Acts {
    /// Records that wait; then parts that the store does not take, and the other lane's under their numbers; then the rest.
    fn new(bench: Bench) -> Self {
        let open = time("2023-03-10T01:35:00Z");
        let lane = Work { part_max_records: 4, batch: 1, ..bench.work(2, 0) };
        let acts = vec![
            Work { drain: false, now: open, caught_up: open, ..lane.clone() },
            Work { refused: Some(("put".into(), "/part-".into())), ..lane.clone() },
            lane.clone(),
            lane,
        ];
        Self { bench, acts }
    }

    /// What comes before an act: pages, and the other lane.
    fn before(&mut self, act: usize) {
        match act {
            0 => self.bench.give(1..15, 2),
            1 => self.bench.give(10..20, 1),
            _ => {
                let first = 15 + 25 * (act as u64 - 2);
                self.bench.give(first..first + 30, 2);
                went_well(&Work { part_max_records: 6, ..self.bench.work(2, 1) }.lane(), "the other lane");
            }
        }
    }

    /// Runs an act in a process. Gives its exit code and its steps.
    fn run(&self, act: usize, env: &[(&str, &str)]) -> (i32, Vec<String>) {
        let steps = self.bench.state("steps");
        std::fs::create_dir_all(steps.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&steps);
        let mut env = env.to_vec();
        env.push(("ETL_STEPS", steps.to_str().unwrap()));
        let ran = self.acts[act].in_a_process(&env);
        assert!(!ran.err.contains("panicked"), "{ran:#?}");
        let text = std::fs::read_to_string(&steps).unwrap_or_default();
        (ran.code, text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect())
    }
}

/// All acts; the one of that number, if any, crashes or fails (`what`) at a step. Gives the steps of each.
fn play(at: Option<(usize, &str, &str)>) -> Option<Vec<Vec<String>>> {
    let mut acts = Acts::new(Bench::new("crash")?);
    let case = format!("{at:?}");
    let mut steps = Vec::new();
    for act in 0..acts.acts.len() {
        acts.before(act);
        if let Some((_, what, point)) = at.filter(|(number, ..)| *number == act) {
            let (code, taken) = acts.run(act, &[(what, point)]);
            assert!(what != "ETL_CRASH" || code == -1, "{case}: it was to crash: {code}");
            tally::add("steps", "of a lane", 1);
            acts.bench.is_sound(&format!("{case}: {taken:?}"));
        }
        let (code, taken) = acts.run(act, &[]);
        assert!(code == 0 || act == 1, "{case}: {code}");
        steps.push(taken);
        acts.bench.is_sound(&case);
    }
    let lane = &acts.acts[2];
    let (code, idle) = acts.run(2, &[]);
    assert_eq!((code, idle), (0, vec![]), "{case}: an idle lane takes no step");
    acts.bench.is_complete(&case);
    assert_eq!(lane.released(), lane.ends(), "{case}: everything is released");
    Some(steps)
}

#[test]
fn crash_or_failure_at_any_step_of_a_lane_leaves_each_record_once() {
    let Some(steps) = play(None) else { return };
    let names: BTreeSet<&str> = steps.iter().flatten().map(String::as_str).collect();
    for wanted in [
        "SegmentCommitted",
        "HoursFrozen",
        "PartPut",
        "PartsReceipted",
        "PartsRenumbered",
        "HourImported",
        "RecordsPruned",
    ] {
        assert!(names.contains(wanted), "{wanted}: {steps:#?}");
    }
    let mut drawn = fastrand::Rng::with_seed(tally::seed("crashes of lanes", 1));
    let mut met = BTreeSet::new();
    let mut cases = Vec::new();
    let mut points: Vec<(usize, usize)> =
        steps.iter().enumerate().flat_map(|(act, steps)| (1..=steps.len()).map(move |step| (act, step))).collect();
    drawn.shuffle(&mut points);
    for (act, step) in points {
        // In the quick form each kind of step, and a few more.
        if met.insert(steps[act][step - 1].clone()) || drawn.u64(..tally::scale(12, 1)) == 0 {
            let all = [("ETL_CRASH", "before"), ("ETL_CRASH", "after"), ("ETL_FAIL", "before"), ("ETL_FAIL", "after")];
            let kept =
                all.into_iter().filter(|(what, when)| tally::scale(*what == "ETL_CRASH" || *when == "after", true));
            cases.extend(kept.map(|(what, when)| (act, what, format!("{when}:{step}"))));
        }
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((act, what, point)) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    play(Some((*act, what, point)));
                }
            });
        }
    });
}
