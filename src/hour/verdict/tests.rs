//! `complete` is never said of an hour that lacks a record which the source had: thousands of stories of a source that counts, and of
//! polls that see a window of its newest records. Owns nothing, keeps nothing on the disk; the model of the whole does the same with
//! real runs, fewer times.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::hour::gaps::ArrivedId;
use crate::hour::heard::Told;
use crate::hour::part::{PartIdentity, PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::hour::tally::{Certified, Tally};

const START: i64 = 1_678_417_200;
const WINDOW: usize = 5;
/// Ids that are not part of the count.
const ODD: [i64; 4] = [i64::MAX, -5, 700_000, -700_000];

#[derive(Debug, Clone)]
enum Happening {
    Time {
        minutes: i64,
        records: i64,
    },
    Poll,
    /// The counter goes back by so many, and goes on from there for so many records that nobody polls.
    Restart {
        by: i64,
        unseen: i64,
    },
    OddId(i64),
    /// A record is held back, or handed out at last.
    Late,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let happening = prop_oneof![
        10 => ((1..30_i64), (0..5_i64)).prop_map(|(minutes, records)| Happening::Time { minutes, records }),
        2 => ((30..90_i64), (4..9_i64)).prop_map(|(minutes, records)| Happening::Time { minutes, records }),
        12 => Just(Happening::Poll),
        1 => ((1..30_i64), (0..12_i64)).prop_map(|(by, unseen)| Happening::Restart { by, unseen }),
        1 => ((900..1100_i64), (0..9_i64)).prop_map(|(by, unseen)| Happening::Restart { by, unseen }),
        1 => prop::sample::select(ODD.to_vec()).prop_map(Happening::OddId),
        1 => Just(Happening::Late),
    ];
    prop::collection::vec(happening, 20..80)
}

#[derive(Debug, Clone, Copy)]
struct Made {
    id: i64,
    at: Timestamp,
    /// Its id is not part of the count: no witness can show that it did not come.
    is_odd: bool,
    /// How often the counter had gone back before it.
    pass: u32,
}

struct World {
    has_ids: bool,
    now: i64,
    made: Vec<Made>,
    window: VecDeque<usize>,
    held: Option<usize>,
    next_id: i64,
    received: BTreeSet<usize>,
    pass: u32,
    seen: Seen,
    heard: Heard,
    newest: Option<usize>,
    tallies: BTreeMap<Hour, Tally>,
    segment: u64,
    claims: usize,
}

impl World {
    fn new(has_ids: bool) -> Self {
        Self {
            has_ids,
            now: START,
            made: Vec::new(),
            window: VecDeque::new(),
            held: None,
            next_id: 1_500,
            received: BTreeSet::new(),
            pass: 0,
            seen: Seen::of(if has_ids { "record_id" } else { "" }),
            heard: Heard::default(),
            newest: None,
            tallies: BTreeMap::new(),
            segment: 0,
            claims: 0,
        }
    }

    fn make(&mut self, at: i64, id: i64) -> usize {
        self.made.push(Made { id, at: Timestamp::from_second(at).unwrap(), is_odd: false, pass: self.pass });
        self.made.len() - 1
    }

    fn hand_out(&mut self, made: usize) {
        self.window.push_back(made);
        self.window.drain(..self.window.len().saturating_sub(WINDOW));
    }

    fn make_next(&mut self, at: i64) -> usize {
        self.next_id += 1;
        self.make(at, self.next_id - 1)
    }

    fn pass(&mut self, minutes: i64, records: i64) {
        for n in 1..=records {
            let made = self.make_next(self.now + minutes * 60 * n / (records + 1));
            self.hand_out(made);
        }
        self.now += minutes * 60;
    }

    fn happens(&mut self, what: &Happening) {
        match what {
            Happening::Time { minutes, records } => self.pass(*minutes, *records),
            Happening::Poll => self.poll(),
            Happening::Restart { by, unseen } => {
                // One of before that came only after it, between ids of after it: nobody can tell either.
                if let Some(held) = self.held.take() {
                    self.hand_out(held);
                }
                self.next_id = (self.next_id - by).max(1);
                self.pass += 1;
                self.pass(unseen * 7 + 1, unseen + 1);
            }
            Happening::OddId(id) => {
                let made = self.make(self.now, *id);
                self.made[made].is_odd = true;
                self.hand_out(made);
            }
            Happening::Late if self.has_ids => match self.held.take() {
                Some(held) => self.hand_out(held),
                None => self.held = Some(self.make_next(self.now)),
            },
            Happening::Late => {}
        }
    }

    /// A record of a counter that went back, with the id right after the highest that was seen before: nobody can tell it from the
    /// next one of before. Here the source loses it.
    fn lose_what_nobody_can_tell(&mut self) {
        let mut highest: BTreeMap<u32, i64> = BTreeMap::new();
        for made in self.received.iter().map(|n| self.made[*n]).filter(|made| !made.is_odd) {
            let highest = highest.entry(made.pass).or_insert(made.id);
            *highest = made.id.max(*highest);
        }
        let is_next = |made: Made| highest.range(..made.pass).any(|(_, highest)| highest + 1 == made.id);
        self.window.retain(|n| self.made[*n].is_odd || self.received.contains(n) || !is_next(self.made[*n]));
    }

    fn poll(&mut self) {
        if self.has_ids {
            self.lose_what_nobody_can_tell();
        }
        let mut ids = Vec::new();
        for made in &self.window {
            let Made { id, at, .. } = self.made[*made];
            ids.push(ArrivedId { id, at, is_new: self.received.insert(*made) });
        }
        let now = Timestamp::from_second(self.now).unwrap();
        self.segment += 1;
        self.seen = self.seen.with(&ids, self.segment, now);
        for arrived in ids.iter().filter(|arrived| arrived.is_new) {
            let tally = self.tallies.entry(Hour::of(arrived.at, &TimeZone::UTC).unwrap()).or_default();
            if self.has_ids && !self.seen.is_stray(arrived.id) {
                tally.saw(arrived.id);
            }
        }
        let holds_the_newest = self.newest.is_some_and(|newest| self.window.contains(&newest));
        let newest = self.window.iter().copied().max_by_key(|made| (self.made[*made].at, *made));
        let told = match newest {
            Some(newest) => {
                Told::Records { newest: [newest as u8; 16], has_odd: false, holds_the_newest, segment: self.segment }
            }
            None => Told::Nothing,
        };
        self.newest = newest.or(self.newest);
        self.heard.hear("here", now, told);
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let now = Timestamp::from_second(self.now).unwrap();
        let (grace, late_hold) = (SignedDuration::from_mins(10), SignedDuration::from_hours(1));
        let evidence = Evidence {
            now,
            rules: ClosingRules { zone: TimeZone::UTC, grace, late_hold },
            zone: "UTC".into(),
            seen: self.seen.clone(),
            heard: self.heard.clone(),
            unread: Vec::new(),
            quarantined: 0,
            is_interrupted: false,
            lanes: None,
        };
        let mut next = Hour::of(Timestamp::from_second(START - 7200).unwrap(), &TimeZone::UTC);
        while let Some(hour) = next.filter(|hour| hour.starts_at(&TimeZone::UTC) < now) {
            next = hour.next();
            let row = self.tallies.get(&hour).map(|tally| row(hour, *tally));
            let judged = evidence.judge(OfHour { hour, row: row.as_ref(), pending: Some(0), is_parked: false });
            if judged.verdict != Verdict::Complete {
                continue;
            }
            self.claims += 1;
            let is_of = |made: &Made| !(made.is_odd && self.has_ids) && Hour::of(made.at, &TimeZone::UTC) == Some(hour);
            let lacking = (0..self.made.len()).find(|n| is_of(&self.made[*n]) && !self.received.contains(n));
            prop_assert_eq!(lacking.map(|n| self.made[n]), None, "{}: {}", hour, judged.reason);
        }
        Ok(())
    }
}

impl PartialEq for Made {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.at) == (other.id, other.at)
    }
}

fn row(hour: Hour, tally: Tally) -> HourRow {
    let at = hour.starts_at(&TimeZone::UTC);
    let part = PartRow {
        part: 0,
        stage: PartStage::Uploaded,
        key: String::new(),
        identity: PartIdentity { rows: 1, bytes: 1, sha256: String::new(), content_sha256: String::new() },
        dict: String::new(),
        through: 1,
        first: at,
        last: at,
        frozen_at: at,
        uploaded_at: Some(at),
        expired_at: None,
        range: HashRange::ALL,
        spooled_as: None,
        etag: None,
    };
    HourRow { certified: Some(Certified::new(at, tally, &[])), parts: vec![part], ..HourRow::new(hour) }
}

#[test]
fn complete_is_never_said_of_an_hour_that_lacks_a_record() {
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let config = Config { cases: 1000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let claims = std::cell::Cell::new([0; 2]);
    let tried = runner.run(&happenings(), |story| {
        for has_ids in [true, false] {
            let mut world = World::new(has_ids);
            for (n, what) in story.iter().enumerate() {
                world.happens(what);
                if n % 6 == 0 {
                    world.check()?;
                }
            }
            world.check()?;
            let mut said = claims.get();
            said[usize::from(has_ids)] += world.claims;
            claims.set(said);
        }
        Ok(())
    });
    assert!(tried.is_ok(), "{}", tried.unwrap_err());
    assert!(claims.get().iter().all(|said| *said > 500), "hardly anything was claimed: {:?}", claims.get());
}
