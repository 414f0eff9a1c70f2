//! What is claimed of hours, whatever happens: `complete` is never said of an hour that lacks a record which the source had.
//!
//! The source counts and keeps a window of its newest records. It is down, sends what is no page or tokens that are no records, starts
//! its counter again, has an odd id, hands a record out late; it is polled too rarely, with a wrong key, by a run that is killed; the
//! store fails; the state is rebuilt. Three sources: with ids, with ids in text form, and without a sequence.
//!
//! Planted bugs that turn this red: a restart that is not noticed by ids that came before; a range that takes the newest time for that
//! of its last id; a poll that joins without holding the newest record; an hour that need not be over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use etl::hour::Hour;
use etl::hour::closing::ClosingRules;
use etl::hour::verdict::Verdict;
use etl::job::{self, RunRequest, Setup, Source};
use etl::page::decode::Decoder;
use etl::part::cut::CutRules;
use etl::record::Schema;
use etl::source::{HttpSource, PageUrl, Template};
use etl::state::status::verdicts;
use etl::stop::Stop;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::seams::{Image, ModelClock, ModelStore, Moments, Mood, Objects, in_memory};
use super::{START, http};
use crate::support::cli::{gunzip, page};
use crate::support::desk::run_alone;
use crate::support::origin::{Answer, Origin};
use crate::support::setup::setup;
use crate::support::state_dir::copy_dir;
use crate::support::tally;

/// Records that the source shows.
const WINDOW: usize = 8;

/// What the records have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ids,
    TextIds,
    NoSequence,
}
/// Ids that are not part of the count.
const ODD: [i64; 3] = [i64::MAX, -5, 700_000];

#[derive(Debug, Clone)]
enum Happening {
    /// So many minutes pass, in which so many records are made.
    Time {
        minutes: i64,
        records: u32,
    },
    Poll(Poll),
    /// The counter goes back by so many.
    Restart(i64),
    /// A record with an odd id.
    OddId(i64),
    /// A record that is handed out only at the next but one happening of this kind.
    Late,
    /// The state is lost, and rebuilt from the store.
    Loss,
}

#[derive(Debug, Clone)]
struct Poll {
    fault: Fault,
    store: Mood,
    crash: Option<usize>,
    drain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Down,
    NoPage,
    OddTokens,
    WrongKey,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let fault = prop_oneof![
        12 => Just(Fault::None),
        2 => Just(Fault::Down),
        1 => Just(Fault::NoPage),
        1 => Just(Fault::OddTokens),
        1 => Just(Fault::WrongKey),
    ];
    let store = prop_oneof![6 => Just(Mood::Well), 1 => (0..6_usize).prop_map(|call| Mood::FailsFrom(call, false))];
    let crash = prop_oneof![6 => Just(None), 1 => (0..50_usize).prop_map(Some)];
    let poll = (fault, store, crash, prop::bool::weighted(0.15));
    let poll = poll.prop_map(|(fault, store, crash, drain)| Happening::Poll(Poll { fault, store, crash, drain }));
    let happening = prop_oneof![
        16 => ((1..35_i64), (0..6_u32)).prop_map(|(minutes, records)| Happening::Time { minutes, records }),
        24 => poll,
        1 => (1..1200_i64).prop_map(Happening::Restart),
        1 => (1..6_i64).prop_map(Happening::Restart),
        1 => prop_oneof![Just(i64::MAX), Just(-5), Just(700_000)].prop_map(Happening::OddId),
        1 => Just(Happening::Late),
        1 => Just(Happening::Loss),
    ];
    prop::collection::vec(happening, 10..60)
}

/// A record that the source had.
#[derive(Debug, Clone)]
struct Made {
    text: String,
    id: i64,
    serial: u64,
    hour: Hour,
}

struct World {
    kind: Kind,
    dir: tempfile::TempDir,
    key: String,
    origin: Origin,
    now: i64,
    objects: Arc<Mutex<Objects>>,
    made: Vec<Made>,
    window: VecDeque<usize>,
    held: Option<usize>,
    next_id: i64,
    /// The highest id that was received, and whether the counter went back since.
    highest: i64,
    went_back: bool,
    claims: u64,
}

impl World {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            dir: in_memory(),
            key: fernet::Fernet::generate_key(),
            origin: Origin::start(vec![Answer::Page("[]".into())]),
            now: START,
            objects: Arc::default(),
            made: Vec::new(),
            window: VecDeque::new(),
            held: None,
            next_id: 1_001,
            highest: 0,
            went_back: false,
            claims: 0,
        }
    }

    fn make(&mut self, at: i64, id: i64) -> usize {
        let at = Timestamp::from_second(at).unwrap();
        let (serial, time) = (self.made.len() as u64, &at.to_string()[..19]);
        let id_text = if self.kind == Kind::TextIds { format!("'{id}'") } else { id.to_string() };
        let text = format!("{{'record_id': {id_text}, 'n': {serial}, 'inDate': '{time}.000Z'}}");
        let hour = at.strftime("%Y-%m-%dT%H").to_string().parse().unwrap();
        self.made.push(Made { text, id, serial, hour });
        self.made.len() - 1
    }

    fn hand_out(&mut self, index: usize) {
        self.window.push_back(index);
        self.window.drain(..self.window.len().saturating_sub(WINDOW));
    }

    fn makes_the_next(&mut self, at: i64) -> usize {
        self.next_id += 1;
        self.make(at, self.next_id - 1)
    }

    fn happens(&mut self, what: &Happening) -> Result<(), TestCaseError> {
        match what {
            Happening::Time { minutes, records } => {
                for n in 1..=i64::from(*records) {
                    let made = self.makes_the_next(self.now + minutes * 60 * n / i64::from(records + 1));
                    self.hand_out(made);
                }
                self.now += minutes * 60;
            }
            Happening::Poll(poll) => self.poll(poll)?,
            Happening::Restart(by) => {
                self.next_id = (self.next_id - by).max(1);
                self.went_back = true;
                let made = self.makes_the_next(self.now);
                self.hand_out(made);
            }
            Happening::OddId(id) => {
                let made = self.make(self.now, *id);
                self.hand_out(made);
            }
            // Without ids nothing tells of a record that comes later than the grace.
            Happening::Late if self.kind == Kind::Ids => match self.held.take() {
                Some(held) => self.hand_out(held),
                None => self.held = Some(self.makes_the_next(self.now)),
            },
            Happening::Late => {}
            Happening::Loss => {
                std::fs::remove_dir_all(self.dir.path().join("state")).ok();
                self.run(None, &Poll { fault: Fault::None, store: Mood::Well, crash: None, drain: false }, true);
            }
        }
        self.check()
    }

    fn poll(&mut self, poll: &Poll) -> Result<(), TestCaseError> {
        // A counter that went back, and was not seen before it had come to where it was: nobody can tell.
        let ids = self.window.iter().map(|index| self.made[*index].id);
        let lowest = ids.filter(|id| !ODD.contains(id)).min();
        if self.went_back && lowest == Some(self.highest + 1) {
            let made = self.makes_the_next(self.now);
            self.hand_out(made);
        }
        let mut texts: Vec<String> = self.window.iter().map(|index| self.made[*index].text.clone()).collect();
        if poll.fault == Fault::OddTokens {
            texts.iter_mut().rev().take(2).for_each(|text| *text = format!("no record: {}", text.len()));
        }
        let answer = match poll.fault {
            Fault::Down => Answer::Status(404, "down".into()),
            Fault::NoPage => Answer::Page("[1, {]".into()),
            _ => Answer::Page(page(&self.key, &texts)),
        };
        if matches!(poll.fault, Fault::None | Fault::WrongKey) {
            let came = self.window.iter().map(|index| self.made[*index].id).filter(|id| *id < 600_000);
            let (highest, came) = (self.highest, came.max().unwrap_or(0));
            (self.highest, self.went_back) = (highest.max(came), self.went_back && texts.is_empty());
        }
        self.run(Some(answer), poll, false);
        Ok(())
    }

    fn run(&mut self, answer: Option<Answer>, poll: &Poll, from_store: bool) {
        let is_asked = answer.is_some();
        self.origin.script(answer.into_iter().collect());
        if !is_asked {
            self.origin.script(vec![Answer::Page("[]".into())]);
        }
        let (state, objects) = (self.dir.path().join("state"), Arc::clone(&self.objects));
        let (left, image) = (Mutex::new(poll.crash), Mutex::default());
        let moments = Arc::new(Moments {
            state: state.clone(),
            objects: Arc::clone(&objects),
            left,
            received: Mutex::default(),
            image,
        });
        let clock = ModelClock(Mutex::new(Timestamp::from_second(self.now).unwrap()), Arc::clone(&moments));
        let store = ModelStore { objects, mood: poll.store, calls: Mutex::default(), moments: Arc::clone(&moments) };
        let (stop, heard) = (Stop::new(), |progress| moments.heard(progress));
        let key = if poll.fault == Fault::WrongKey { fernet::Fernet::generate_key() } else { self.key.clone() };
        let usual = setup(state.clone(), &key, Arc::new(store), &clock, &stop);
        let setup = Setup {
            cut: CutRules { part_max_records: 3, ..usual.cut },
            decoder: Decoder {
                schema: Schema::of_the_origin(TimeZone::UTC).with_id_in(self.sequence()),
                ..usual.decoder
            },
            progress: &heard,
            ..usual
        };
        let mut client = HttpSource::new(etl::source::HttpSettings { retries: 0, ..http() }, stop.clone());
        let url = PageUrl::parse(&self.origin.url).unwrap();
        let request = RunRequest { drain: poll.drain, from_store, ..RunRequest::default() };
        run_alone(&state, || {
            let source =
                is_asked.then(|| Source::Http { client: &mut client, template: Template::of_links(url.clone()) });
            job::run(&setup, source, request)
        });
        drop(setup);
        let taken: Option<Image> = moments.image.lock().unwrap().take();
        if let Some(image) = taken {
            std::fs::remove_dir_all(&state).ok();
            copy_dir(image.state.path(), &state);
            *self.objects.lock().unwrap() = image.objects;
        }
    }

    const fn sequence(&self) -> &'static str {
        match self.kind {
            Kind::NoSequence => "",
            Kind::Ids | Kind::TextIds => "record_id",
        }
    }

    /// The serial numbers of what is in the store.
    fn stored(&self) -> BTreeSet<u64> {
        let objects = self.objects.lock().unwrap();
        let parts = objects.iter().filter(|(key, _)| key.contains("data/"));
        let serial = |line: String| serde_json::from_str::<serde_json::Value>(&line).unwrap()["n"].as_u64().unwrap();
        parts.flat_map(|(_, (bytes, _))| gunzip(bytes)).map(serial).collect()
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let stored = self.stored();
        let mut lacking: BTreeMap<Hour, Vec<&Made>> = BTreeMap::new();
        for made in self.made.iter().filter(|made| !stored.contains(&made.serial)) {
            lacking.entry(made.hour).or_default().push(made);
        }
        let now = Timestamp::from_second(self.now).unwrap();
        let hour = |at: i64| Timestamp::from_second(at).unwrap().strftime("%Y-%m-%dT%H").to_string().parse().unwrap();
        let (state, asked) = (self.dir.path().join("state"), (hour(START - 7200), hour(self.now)));
        let (grace, late_hold) = (SignedDuration::from_mins(10), SignedDuration::from_hours(1));
        let closing = ClosingRules { zone: TimeZone::UTC, grace, late_hold };
        let judged = verdicts(&state, &closing, self.sequence(), now, asked).unwrap();
        for (hour, verdict, reason) in judged.into_iter().filter(|(_, verdict, _)| *verdict == Verdict::Complete) {
            prop_assert!(
                !lacking.contains_key(&hour),
                "{hour} is {verdict} ({reason}), and lacks {:?}",
                lacking[&hour]
            );
            self.claims += 1;
        }
        Ok(())
    }
}

#[test]
fn complete_is_never_said_of_an_hour_that_lacks_a_record_which_the_source_had() {
    let seed = tally::seed("the claims", 1);
    let cases = tally::scale(24, 3000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let bytes = *blake3::hash(&seed.to_le_bytes()).as_bytes();
    let claims = Mutex::new([0_u64; 3]);
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tried = runner.run(&happenings(), |story| {
        for (n, kind) in [Kind::Ids, Kind::TextIds, Kind::NoSequence].into_iter().enumerate() {
            let mut world = World::new(kind);
            let told = story.iter().try_for_each(|what| world.happens(what));
            told.map_err(|error| TestCaseError::fail(format!("{kind:?}: {error}")))?;
            claims.lock().unwrap()[n] += world.claims;
        }
        tally::add("model", "stories of claims", 3);
        Ok(())
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, story)) => panic!("ETL_TEST_SEED={seed}: {why}\n{story:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    let claims = *claims.lock().unwrap();
    assert!(claims.iter().all(|said| *said > 5), "hardly anything was claimed: {claims:?}");
}
