//! Crashes at every step over a lake directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use etl::state::files::step::Step;

use super::bench::{Bench, Outcome, Point};
use super::scenario::{self, Scenario};
use crate::support::form::{Form, GZIP, PARQUET, ZSTD, form, in_form, within};
use crate::support::tally;

/// What befalls a step.
#[derive(Debug, Clone, Copy)]
enum Befalls {
    Crash,
    Failure,
}

/// A scenario that ran to its end without a crash: what each stage began with, which steps it took, what came of it.
struct Uncrashed {
    form: Form,
    scenario: Scenario,
    kept: tempfile::TempDir,
    steps: Vec<Vec<String>>,
    outcomes: Vec<Outcome>,
}

impl Uncrashed {
    fn new(scenario: Scenario) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let mut bench = Bench::new();
        let (mut steps, mut outcomes) = (Vec::new(), Vec::new());
        for (number, stage) in scenario.stages.iter().enumerate() {
            if let Some(act) = &stage.outside {
                act(&bench);
            }
            bench.keep(&kept.path().join(number.to_string()));
            bench.prepare(stage, true);
            let (ran, taken) = bench.count(&stage.args);
            assert_eq!(ran.code, stage.code, "{}: {ran:#?}", stage.name);
            steps.push(taken);
            outcomes.push(bench.outcome());
        }
        bench.place.etl(&["verify", "--deep", "--digests"]).exits(0);
        Self { form: form(), scenario, kept, steps, outcomes }
    }

    /// Crashes it in its form.
    fn within(&self, crash: impl FnOnce(&Self)) {
        within(self.form, || crash(self));
    }

    fn before(&self, stage: usize) -> PathBuf {
        self.kept.path().join(stage.to_string())
    }

    /// Whether the stage's page is in the journal when it crashes at `point`: the first page that it journals is the one that
    /// it received.
    fn received(&self, stage: usize, point: Point) -> bool {
        let journaled = self.steps[stage].iter().position(|step| step == "PageJournaled").map(|index| index + 1);
        journaled.is_some_and(|journaled| journaled < point.step || journaled == point.step && point.after)
    }

    /// A crash at `point` of a stage, or a failure, a replay, then the rest as usual: it ends as if nothing had happened.
    fn survives(&self, bench: &mut Bench, number: usize, point: Point, befalls: Befalls) {
        let stage = &self.scenario.stages[number];
        let case = self.case(number, point);
        bench.put_back(&self.before(number));
        bench.prepare(stage, true);
        match befalls {
            Befalls::Crash => bench.crash(&stage.args, point),
            Befalls::Failure => bench.fail(&stage.args, point),
        }
        bench.recover(stage);
        let name = match (befalls, point.after) {
            (Befalls::Crash, true) => "after",
            (Befalls::Crash, false) => "before",
            (Befalls::Failure, _) => "made to fail",
        };
        tally::add("steps", name, 1);
        let received = self.received(number, point);
        if received && stage.args == ["run"] {
            assert_eq!(bench.outcome().lake, self.outcomes[number].lake, "{case}: a replay finishes the work");
        }
        bench.prepare(stage, !received);
        let again = bench.run(stage);
        assert!([0, stage.code].contains(&again.code), "{case}: {again:?}");
        for later in &self.scenario.stages[number + 1..] {
            if let Some(act) = &later.outside {
                act(bench);
            }
            bench.prepare(later, true);
            let ran = bench.run(later);
            assert_eq!(ran.code, later.code, "{case}, then {}: {ran:?}", later.name);
        }
        let expected = self.outcomes.last().unwrap();
        match befalls {
            Befalls::Crash => {
                bench.came_out_as(expected, &case);
                bench.arrays_are_named(&case);
            }
            // A run that came to its end leaves strays to the daily sweep.
            Befalls::Failure => bench.came_out_but_for_duplicates(expected, &case),
        }
        let verified = bench.place.etl(&["verify", "--deep", "--digests"]);
        assert_eq!(verified.code, 0, "{case}: {verified:?}");
    }

    /// A crash at `point` of a stage, then a replay that crashes around each of its own steps, then one that does not: it ends
    /// as a replay that never crashed. In the quick form a replay crashes only after a few of its steps.
    fn recovers(&self, bench: &mut Bench, number: usize, point: Point, few: &Mutex<Few>) {
        let stage = &self.scenario.stages[number];
        let case = self.case(number, point);
        let crashed = tempfile::tempdir().unwrap();
        bench.put_back(&self.before(number));
        bench.prepare(stage, true);
        bench.crash(&stage.args, point);
        bench.keep(crashed.path());
        let (ran, steps) = bench.count(&["replay"]);
        assert!([0, 65, 75, 77, stage.code].contains(&ran.code), "{case}: {ran:?}");
        let expected = bench.outcome();
        let points = Point::all(steps.len()).filter(|point| point.after || tally::scale(false, true));
        for point in points.filter(|point| few.lock().unwrap().takes(&steps[point.step - 1])) {
            let (when, name) = (if point.after { "after" } else { "before" }, &steps[point.step - 1]);
            bench.put_back(crashed.path());
            bench.crash(&["replay"], point);
            bench.recover(stage);
            tally::add("steps", "of the recovery", 1);
            bench.came_out_but_for_duplicates(&expected, &format!("{case}, replay crashed {when} {name}"));
        }
    }

    fn case(&self, number: usize, point: Point) -> String {
        let when = if point.after { "after" } else { "before" };
        let step = &self.steps[number][point.step - 1];
        let (scenario, stage) = (self.scenario.name, self.scenario.stages[number].name);
        format!("{scenario}, {stage}: crash {when} step {} ({step})", point.step)
    }

    fn crashed_stages(&self) -> impl Iterator<Item = (usize, usize)> {
        self.steps.iter().map(Vec::len).enumerate().skip(self.scenario.first)
    }

    fn kinds(&self, points: Vec<(usize, Point)>) -> impl Iterator<Item = String> {
        points.into_iter().map(|(number, point)| self.steps[number][point.step - 1].clone())
    }

    fn points(&self) -> impl Iterator<Item = (usize, Point)> {
        self.crashed_stages().flat_map(|(number, steps)| Point::all(steps).map(move |point| (number, point)))
    }

    fn survives_all(&self) {
        self.survive(&self.points().collect::<Vec<_>>(), Befalls::Crash);
    }

    fn survives_some(&self, seed: u64) {
        self.survive(&self.some(self.points(), seed), Befalls::Crash);
    }

    /// In the quick form a step fails only once it is done: that is the harder half.
    fn survives_failures(&self, seed: u64) {
        let harder = self.points().filter(|(_, point)| point.after || tally::scale(false, true));
        self.survive(&self.some(harder, seed), Befalls::Failure);
    }

    fn survive(&self, cases: &[(usize, Point)], befalls: Befalls) {
        parallel_map(cases, Bench::new, |bench, (number, point)| self.survives(bench, *number, *point, befalls));
    }

    fn recovers_from_some(&self, seed: u64) {
        // A crash after a step leaves what one before the next leaves.
        let cases = self.some(self.points().filter(|(_, point)| !point.after), seed);
        let few = Mutex::new(Few::new(seed));
        parallel_map(&cases, Bench::new, |bench, (number, point)| self.recovers(bench, *number, *point, &few));
    }

    fn some(&self, points: impl Iterator<Item = (usize, Point)>, seed: u64) -> Vec<(usize, Point)> {
        let mut few = Few::new(seed);
        let mut points: Vec<(usize, Point)> = points.collect();
        few.drawn.shuffle(&mut points);
        points.retain(|(number, point)| few.takes(&self.steps[*number][point.step - 1]));
        points
    }
}

/// In the quick form one of four points as the seed says, and each kind of step whatever it says; otherwise all.
struct Few {
    drawn: fastrand::Rng,
    met: BTreeSet<String>,
}

impl Few {
    fn new(seed: u64) -> Self {
        Self { drawn: fastrand::Rng::with_seed(seed), met: BTreeSet::new() }
    }

    fn takes(&mut self, step: &str) -> bool {
        let is_new = self.met.insert(step.to_owned());
        self.drawn.u64(..tally::scale(4, 1)) == 0 || is_new
    }
}

/// Checks all cases on two threads, each with a bench of its own.
pub fn parallel_map<T: Sync, B>(cases: &[T], bench: impl Fn() -> B + Sync, check: impl Fn(&mut B, &T) + Sync) {
    assert!(!cases.is_empty());
    let (next, form) = (AtomicUsize::new(0), form());
    let work = || {
        let mut bench = bench();
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            check(&mut bench, case);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| within(form, work));
        }
    });
}

/// All of them, each in a form; some have files in `dir`.
fn scenarios(dir: &Path) -> Vec<Uncrashed> {
    let [pages, copies] = ["pages", "copies"].map(|name| dir.join(name));
    std::fs::create_dir(&pages).unwrap();
    std::fs::create_dir(&copies).unwrap();
    vec![
        uncrashed(GZIP, scenario::daily),
        uncrashed(ZSTD, || scenario::archive(pages)),
        uncrashed(PARQUET, scenario::damage),
        uncrashed(ZSTD, scenario::parked),
        uncrashed(PARQUET, || scenario::repaired(copies)),
        uncrashed(GZIP, scenario::recut),
    ]
}

fn uncrashed(form: Form, scenario: impl FnOnce() -> Scenario) -> Uncrashed {
    in_form(form, || Uncrashed::new(scenario()))
}

#[test]
fn scenarios_pass_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let scenarios = scenarios(dir.path());
    // A directory is known to be create-only: only a server is asked (see `store`). It keeps no metadata: lanes need a server too.
    let of_a_server = [Step::CreateOnlyProbed, Step::PartsRenumbered];
    let lake = Step::ALL.into_iter().filter(|step| !of_a_server.contains(step));
    let lake: BTreeSet<String> = lake.map(|step| format!("{step:?}")).collect();
    for seed in 0..20 {
        let chosen = scenarios.iter().flat_map(|uncrashed| uncrashed.kinds(uncrashed.some(uncrashed.points(), seed)));
        assert_eq!(chosen.collect::<BTreeSet<_>>(), lake, "seed {seed}");
    }
}

#[test]
fn crash_at_any_step_of_daily_work_changes_nothing_in_the_end() {
    let uncrashed = Uncrashed::new(scenario::daily());
    assert!(uncrashed.outcomes.last().unwrap().litter.is_empty());
    uncrashed.survives_all();
}

#[test]
fn crash_at_a_step_of_daily_work_in_another_form_changes_nothing_in_the_end() {
    let seed = tally::seed("crashes in other forms", 0);
    for form in [ZSTD, PARQUET] {
        uncrashed(form, scenario::daily).within(|uncrashed| uncrashed.survives_some(seed));
    }
}

#[test]
fn crash_at_any_step_of_a_run_that_archives_changes_nothing_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    uncrashed(ZSTD, || scenario::archive(dir.path().to_owned())).within(Uncrashed::survives_all);
}

#[test]
fn crash_at_any_step_of_a_run_that_repairs_changes_nothing_in_the_end() {
    uncrashed(PARQUET, scenario::damage).within(Uncrashed::survives_all);
}

#[test]
fn crash_at_any_step_of_a_run_that_parks_or_brings_back_changes_nothing_in_the_end() {
    uncrashed(ZSTD, scenario::parked).within(Uncrashed::survives_all);
}

#[test]
fn crash_at_any_step_of_a_repair_changes_nothing_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    uncrashed(PARQUET, || scenario::repaired(dir.path().to_owned())).within(Uncrashed::survives_all);
    uncrashed(GZIP, scenario::recut).within(Uncrashed::survives_all);
}

#[test]
fn failure_of_any_step_changes_nothing_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let seed = tally::seed("failing steps", 1);
    for uncrashed in scenarios(dir.path()) {
        uncrashed.within(|uncrashed| uncrashed.survives_failures(seed));
    }
}

#[test]
fn crash_of_the_recovery_is_recovered_from() {
    let dir = tempfile::tempdir().unwrap();
    let seed = tally::seed("crashes of the recovery", 1);
    for uncrashed in scenarios(dir.path()) {
        uncrashed.within(|uncrashed| uncrashed.recovers_from_some(seed));
    }
}
