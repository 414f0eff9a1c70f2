//! The whole state machine against a model of it: pages, duplicates, late records and records of the future, a clock
//! that jumps, hashes that are forgotten, a store that fails before or after it stored, crashes at any moment,
//! replays, a wrong key, tokens that are not records, a second machine with the same store, and a state directory that
//! is lost, in any order.
//!
//! The model knows which records were received. It must always hold: each of them is in the store once, or still
//! here; nothing else is there; an hour's parts are numbered without a hole; and once the store is well and the time
//! has come, all are there.
//!
//! A crash is what SIGKILL leaves: an image of the state directory and of the store at that moment, from which the
//! next run goes on. Planted bugs that turn this red: prune before receipt; 412 taken for success without comparing;
//! dedup that forgets sealed hours.

mod claims;
mod seams;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etl::error::{Error, ErrorKind};
use etl::job::{self, Outcome, Progress, RunRequest, Setup, Source};
use etl::net::backoff::Backoff;
use etl::part::cut::CutRules;
use etl::source::{Headers, HttpSettings, HttpSource, PageShape, PageUrl, Template};
use etl::state::status::{self, Status};
use etl::stop::Stop;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use self::seams::{Image, ModelClock, ModelStore, Moments, Mood, Objects, in_memory};
use crate::support::cli::{gunzip, page, record};
use crate::support::desk::run_alone;
use crate::support::origin::{Answer, Origin};
use crate::support::setup::setup;
use crate::support::state_dir::copy_dir;
use crate::support::tally;

/// When the first run is.
const START: i64 = 1_678_417_200;
/// When all is over, and every record's hour has closed.
const END: i64 = START + 5 * 24 * 3600;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Happening {
    /// A run.
    Run(Run),
    /// The clock moves by so many minutes.
    Time(i64),
    /// A machine's state directory is lost; perhaps it is rebuilt from the store.
    Loss { machine: usize, rebuilt: bool },
}

/// A run, and what goes wrong in it.
#[derive(Debug, Clone)]
struct Run {
    /// On the first machine or the second.
    machine: usize,
    /// The numbers of what is in the source's page; from [`Size::odd`] on they are not records. `None`: a replay.
    page: Option<Vec<u64>>,
    request: RunRequest,
    /// The hashes of all hours with receipts are forgotten.
    forgets: bool,
    key_is_wrong: bool,
    store: Mood,
    /// At which moment it is killed.
    crash: Option<usize>,
}

impl Run {
    /// One in which nothing goes wrong.
    const fn quiet(machine: usize, page: Option<Vec<u64>>, drain: bool, from_store: bool) -> Self {
        let request = RunRequest { drain, backfill: false, quarantine: false, rejected: false, from_store };
        Self { machine, page, request, forgets: false, key_is_wrong: false, store: Mood::Well, crash: None }
    }
}

/// How much there is of everything in a story.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// The first number that is not a record.
    odd: u64,
    /// Of how many hours the records are.
    hours: u64,
    /// Records in a page are fewer.
    page: usize,
    /// The store fails at a call before this one.
    calls: usize,
    /// A run is killed at a moment before this one.
    moments: usize,
    /// Happenings are fewer.
    story: usize,
}

const FEW_HOURS: Size = Size { odd: 48, hours: 8, page: 8, calls: 8, moments: 60, story: 24 };
const HUNDREDS_OF_HOURS: Size = Size { odd: 1_000, hours: 400, page: 300, calls: 400, moments: 900, story: 10 };

fn happenings(size: Size) -> impl Strategy<Value = Vec<Happening>> {
    let mood = prop_oneof![
        3 => Just(Mood::Well),
        1 => (0..size.calls, any::<bool>()).prop_map(|(call, stored)| Mood::FailsFrom(call, stored)),
        1 => (0..size.calls, any::<bool>()).prop_map(|(call, stored)| Mood::FailsAt(call, stored)),
    ];
    let ids = prop::collection::vec(0..size.odd + 4, 0..size.page);
    let page = prop_oneof![4 => ids.prop_map(Some), 1 => Just(None)];
    let crash = prop_oneof![2 => Just(None), 1 => (0..size.moments).prop_map(Some)];
    let machine = || prop_oneof![4 => Just(0_usize), 1 => Just(1)];
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.3), prop::bool::weighted(0.1));
    let run = (machine(), page, flags, mood, crash).prop_map(
        |(machine, page, (drain, quarantine, forgets, key_is_wrong), store, crash)| {
            let request = RunRequest { drain, backfill: false, quarantine, rejected: false, from_store: false };
            Happening::Run(Run { machine, page, request, forgets, key_is_wrong, store, crash })
        },
    );
    let happening = prop_oneof![
        12 => run,
        5 => (5..200_i64).prop_map(Happening::Time),
        1 => (-600..0_i64).prop_map(Happening::Time),
        1 => (machine(), any::<bool>()).prop_map(|(machine, rebuilt)| Happening::Loss { machine, rebuilt }),
    ];
    prop::collection::vec(happening, 4..size.story)
}

/// The text of a number: always the same, and a record in one of some hours, of which four are not over at the first runs.
fn log(id: u64, size: Size) -> String {
    if id >= size.odd {
        return format!("no record, number {id}");
    }
    let hour = i64::try_from(id % size.hours).unwrap() + 4 - i64::try_from(size.hours).unwrap();
    let at = START + hour * 3600 + i64::try_from(id * 61 % 3600).unwrap();
    record(id, &format!("{}.{:03}Z", &Timestamp::from_second(at).unwrap().to_string()[..19], id % 1000))
}

/// Two machines with one store, and what the model knows of them.
struct World {
    size: Size,
    dir: tempfile::TempDir,
    key: String,
    origin: Origin,
    now: i64,
    objects: Arc<Mutex<Objects>>,
    /// What a machine received for certain: never lost, but with the directory that held it.
    must: [BTreeSet<u64>; 2],
    /// Sent in a run that was killed before it said that it had it.
    may: BTreeSet<u64>,
    /// A directory was lost, or the second machine was used: a machine's totals are not those of the whole.
    apart: bool,
}

impl World {
    fn new(size: Size) -> Self {
        Self {
            size,
            dir: in_memory(),
            key: fernet::Fernet::generate_key(),
            origin: Origin::start(vec![Answer::Page("[]".into())]),
            now: START,
            objects: Arc::default(),
            must: Default::default(),
            may: BTreeSet::new(),
            apart: false,
        }
    }

    fn state(&self, machine: usize) -> PathBuf {
        self.dir.path().join(format!("state-{machine}"))
    }

    fn happens(&mut self, what: &Happening) -> Result<(), TestCaseError> {
        match what {
            Happening::Time(minutes) => self.now += minutes * 60,
            Happening::Loss { machine, rebuilt } => {
                std::fs::remove_dir_all(self.state(*machine)).ok();
                // What it had uploaded is still there, and is looked for among all that may be.
                let held = std::mem::take(&mut self.must[*machine]);
                self.may.extend(held);
                self.apart = true;
                if *rebuilt {
                    self.run(&Run::quiet(*machine, None, false, true))?;
                }
            }
            Happening::Run(run) => drop(self.run(run)?),
        }
        self.check()
    }

    fn run(&mut self, run: &Run) -> Result<Outcome, TestCaseError> {
        self.apart |= run.machine > 0;
        let sent = run.page.clone().unwrap_or_default();
        let logs: Vec<String> = sent.iter().map(|id| log(*id, self.size)).collect();
        self.origin.script(vec![Answer::Page(page(&self.key, &logs))]);
        let (state, objects) = (self.state(run.machine), Arc::clone(&self.objects));
        let (left, received, image) = (Mutex::new(run.crash), Mutex::default(), Mutex::default());
        let moments = Arc::new(Moments { state, objects: Arc::clone(&objects), left, received, image });
        let clock = ModelClock(Mutex::new(Timestamp::from_second(self.now).unwrap()), Arc::clone(&moments));
        let store = ModelStore { objects, mood: run.store, calls: Mutex::default(), moments: Arc::clone(&moments) };
        let (stop, heard) = (Stop::new(), |progress| moments.heard(progress));
        let setup = self.setup(run, &clock, store, &stop, &heard);
        let mut client = HttpSource::new(http(), stop.clone());
        let url = PageUrl::parse(&self.origin.url).unwrap();
        let outcome = run_alone(&self.state(run.machine), || {
            let source = run
                .page
                .as_ref()
                .map(|_| Source::Http { client: &mut client, template: Template::of_links(url.clone()) });
            job::run(&setup, source, run.request)
        });
        drop(setup);
        let taken = moments.image.lock().unwrap().take();
        match taken {
            Some(image) => {
                if image.received {
                    self.must[run.machine].extend(sent)
                } else {
                    self.may.extend(sent)
                }
                self.go_on_from(image, run.machine);
            }
            None => {
                let kinds = outcome.problems.iter().map(Error::kind).collect::<Vec<_>>();
                let fine = [ErrorKind::Credentials, ErrorKind::Unavailable, ErrorKind::Quarantined];
                prop_assert!(kinds.iter().all(|kind| fine.contains(kind)), "{:?}", outcome.problems);
                prop_assert!(run.page.is_none() || outcome.summary.pages == 1, "{outcome:?}");
                self.must[run.machine].extend(sent);
            }
        }
        Ok(outcome)
    }

    /// The process died when `image` was taken.
    fn go_on_from(&self, image: Image, machine: usize) {
        std::fs::remove_dir_all(self.state(machine)).ok();
        copy_dir(image.state.path(), &self.state(machine));
        *self.objects.lock().unwrap() = image.objects;
    }

    fn setup<'a>(
        &self,
        run: &Run,
        clock: &'a ModelClock,
        store: ModelStore,
        stop: &'a Stop,
        progress: &'a (dyn Fn(Progress) + Sync),
    ) -> Setup<'a> {
        let key = if run.key_is_wrong { fernet::Fernet::generate_key() } else { self.key.clone() };
        let usual = setup(self.state(run.machine), &key, Arc::new(store), clock, stop);
        let dedup_window = if run.forgets { SignedDuration::ZERO } else { usual.dedup_window };
        Setup { cut: CutRules { part_max_records: 3, ..usual.cut }, dedup_window, progress, ..usual }
    }

    /// How often each record is in the store. An hour's parts have no hole.
    fn stored(&self) -> Result<BTreeMap<u64, u32>, TestCaseError> {
        let (mut seen, mut parts) = (BTreeMap::new(), BTreeMap::<String, Vec<usize>>::new());
        let objects = self.objects.lock().unwrap();
        for (key, (bytes, meta)) in objects.iter().filter(|(key, _)| key.contains("data/")) {
            let dictionaries = format!("dict/{}.json", meta.dict);
            prop_assert!(objects.keys().any(|key| key.ends_with(&dictionaries)), "{} of {}", dictionaries, key);
            let lines = gunzip(bytes);
            prop_assert_eq!(lines.len() as u64, meta.identity.rows, "{}", key);
            for line in lines {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
            }
            let (hour, name) = key.rsplit_once('/').unwrap();
            parts.entry(hour.to_owned()).or_default().push(name[5..10].parse().unwrap());
        }
        for (hour, numbers) in parts {
            prop_assert_eq!(&numbers, &(0..numbers.len()).collect::<Vec<_>>(), "parts of {}", hour);
        }
        Ok(seen)
    }

    fn status(&self, machine: usize) -> Option<Status> {
        status::read(&self.state(machine), Timestamp::from_second(self.now).unwrap()).ok()
    }

    /// What was received for certain, by one machine or the other.
    fn received(&self) -> BTreeSet<u64> {
        self.must[0].union(&self.must[1]).copied().collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (stored, received) = (self.stored()?, self.received());
        prop_assert!(stored.values().all(|n| *n == 1), "twice: {stored:?}");
        let known: BTreeSet<u64> = received.union(&self.may).copied().collect();
        prop_assert!(stored.keys().all(|id| known.contains(id)), "nobody sent them: {stored:?}");
        let Some(status) = self.status(0).filter(|_| !self.apart) else { return Ok(()) };
        let (totals, most) = (&status.totals, known.len() as u64);
        // Both, where the clock went back: a record that is known may be one of the future now.
        prop_assert!(totals.records.max(status.quarantine.count) <= most, "{most}: {totals:?}");
        prop_assert_eq!(totals.records, totals.uploaded + totals.pending);
        Ok(())
    }

    /// The store is well, the key is right and the time has come: everything is there.
    fn ends(&mut self) -> Result<(), TestCaseError> {
        self.now = END;
        for _ in 0..3 {
            for machine in [0, 1] {
                self.run_if_used(machine, Vec::new(), true)?;
                self.check()?;
            }
        }
        for machine in [0, 1] {
            let outcome = self.run_if_used(machine, Vec::new(), false)?;
            prop_assert!(outcome.is_none_or(|outcome| outcome.problems.is_empty()), "machine {machine}");
            self.check_end(machine)?;
        }
        let (stored, received) = (self.stored()?, self.received());
        let lost: Vec<_> = received.iter().filter(|id| **id < self.size.odd && !stored.contains_key(id)).collect();
        prop_assert!(lost.is_empty(), "lost: {lost:?}");
        // Once more, all of it: nothing is new, but to a machine that had no part in it.
        let outcome = self.run_if_used(0, received.into_iter().collect(), true)?;
        prop_assert!(self.apart || outcome.is_none_or(|outcome| outcome.summary.new == 0));
        self.check()
    }

    fn run_if_used(&mut self, machine: usize, page: Vec<u64>, drain: bool) -> Result<Option<Outcome>, TestCaseError> {
        let used = self.state(machine).exists();
        used.then(|| self.run(&Run::quiet(machine, Some(page), drain, false))).transpose()
    }

    /// Nothing waits on a machine, and its quarantine has what is not a record, and no record.
    fn check_end(&self, machine: usize) -> Result<(), TestCaseError> {
        let Some(status) = self.status(machine).filter(|_| self.state(machine).exists()) else { return Ok(()) };
        prop_assert_eq!((status.totals.pending, status.journal.pages), (0, 0));
        let odd = |ids: &BTreeSet<u64>| ids.iter().filter(|id| **id >= self.size.odd).count() as u64;
        let both = self.must[machine].union(&self.may).copied().collect();
        let (least, count) = (odd(&self.must[machine]), status.quarantine.count);
        prop_assert!((least..=odd(&both)).contains(&count), "{count} quarantined, not {least} to {}", odd(&both));
        prop_assert!(self.apart || status.totals.uploaded == self.stored()?.len() as u64, "{:?}", status.totals);
        Ok(())
    }
}

fn http() -> HttpSettings {
    HttpSettings {
        shape: PageShape::default(),
        headers: Headers::new([]).unwrap(),
        timeout: Duration::from_secs(5),
        retries: 2,
        max_page_bytes: 1 << 20,
        backoff: Backoff::SOURCE,
    }
}

#[test]
fn whatever_happens_each_record_is_kept_once() {
    check("the model of the whole", FEW_HOURS, tally::scale(100, 6000));
}

#[test]
fn whatever_happens_to_hundreds_of_hours_each_record_is_kept_once() {
    check("the model of many hours", HUNDREDS_OF_HOURS, tally::scale(4, 100));
}

fn check(name: &str, size: Size, cases: u32) {
    let seed = tally::seed(name, 1);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let bytes = *blake3::hash(&seed.to_le_bytes()).as_bytes();
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tried = runner.run(&happenings(size), |story| {
        let mut world = World::new(size);
        story.iter().try_for_each(|what| world.happens(what))?;
        world.ends()?;
        tally::add("model", "stories", 1);
        tally::found(0, 0, 0);
        Ok(())
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, story)) => panic!("ETL_TEST_SEED={seed}: {why}\n{story:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}
