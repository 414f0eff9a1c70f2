//! Any schema in any shape of pages over any paging: durable before the next page is asked for, lossless, once, and the same record
//! whatever the shape. `ETL_TEST_SEED` begins with a seed of yours.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::schema::{Numbers, Schema};
use super::server::Server;
use super::shape::Shape;
use super::{Truth, restored, second};
use crate::support::api::{Request, reply};
use crate::support::cli::Place;
use crate::support::form::{form_of, within};
use crate::support::tally;

/// What the server knows and does.
struct Source {
    schema: Schema,
    shape: Shape,
    key: fernet::Fernet,
    /// The records in the order in which it lists them, some of them twice.
    records: Vec<Value>,
    numbers: Numbers,
    /// How many more requests may fail.
    failures_left: usize,
    asked: usize,
    /// The records of the last whole answer, and those of the answers before: what was asked for after has to be there.
    last: Vec<String>,
    promised: BTreeSet<String>,
    /// Rings when so many requests came.
    bell: Option<(usize, Sender<()>)>,
}

impl Source {
    fn answer(&mut self, request: &Request) -> Vec<u8> {
        self.asked += 1;
        if self.bell.as_ref().is_some_and(|(at, _)| *at <= self.asked) {
            self.bell.take().map(|(_, bell)| bell.send(()).ok());
        }
        let first = self.shape.first_asked(request);
        let last = std::mem::take(&mut self.last);
        self.promised.extend(last);
        if self.failures_left > 0 && self.numbers.below(4) == 0 {
            self.failures_left -= 1;
            return self.failure(first);
        }
        let shown: Vec<Value> = self.records.iter().skip(first).take(self.shape.size()).cloned().collect();
        self.last = shown.iter().map(Value::to_string).collect();
        let noise = self.asked as u64;
        let sent: Vec<Value> = shown.iter().map(|record| self.schema.sent(record, noise)).collect();
        self.shape.answer(&self.key, &sent, first, self.records.len()).into_bytes()
    }

    fn failure(&mut self, first: usize) -> Vec<u8> {
        let gone = if first > 0 { "410 Gone" } else { "500 Oops" };
        let whole = self.shape.answer(&self.key, &self.records, 0, self.records.len());
        match self.numbers.below(6) {
            0 => reply("503 Away", "", "<html>"),
            1 => reply(gone, "", "{}"),
            2 => reply("429 Too Many", "Retry-After: 600\r\n", ""),
            3 => reply("200 OK", "Content-Type: text/html\r\n", "<html>sorry</html>"),
            4 => reply("200 OK", "Content-Type: application/json\r\n", "{\"error\": \"try again\"}"),
            _ => whole[..whole.len() - 5].to_owned(),
        }
        .into_bytes()
    }
}

/// A seed's world.
struct World {
    place: Place,
    server: Server<Source>,
    schema: Schema,
    truth: Truth,
    gaps: Value,
    what: String,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let schema = Schema::drawn(seed, &mut numbers);
        let shape = Shape::drawn(&mut numbers);
        let what = format!("ETL_TEST_SEED={seed}: {schema:?} {shape:?}");
        let count = 25 + numbers.below(60) as u64;
        let kept: Vec<u64> = (0..count).filter(|n| *n == 0 || *n == count - 1 || numbers.below(12) > 0).collect();
        let zone = TimeZone::get(schema.zone).unwrap();
        let mut truth = Truth::default();
        let mut records = Vec::new();
        for n in &kept {
            let at = second(n * 180);
            let record = schema.record(*n, at);
            truth.add(at, &record, &zone);
            records.push(record);
        }
        let again: Vec<Value> = (0..numbers.below(10)).map(|_| records[numbers.below(records.len())].clone()).collect();
        records.extend(again);
        numbers.shuffle(&mut records);
        let gaps = if schema.has_ids() { holes(&schema, &kept) } else { json!([]) };
        let place = Place::new("");
        let source = Source {
            schema: schema.clone(),
            shape,
            key: fernet::Fernet::new(&place.key).unwrap(),
            records,
            numbers,
            failures_left: 4,
            asked: 0,
            last: Vec::new(),
            promised: BTreeSet::new(),
            bell: None,
        };
        let server = Server::start(source, |request, source| source.answer(request));
        Self { place, server, schema, truth, gaps, what }
    }

    fn configure(&self) {
        let shape = self.server.state.lock().unwrap().shape.clone();
        let source = shape.config(&self.server.api.url);
        self.place.configure(&format!("{source}{}[load]\nto = \"file:lake\"\n", self.schema.config()));
    }

    /// Kills a run when it asks for a page, or a moment later. What it had when it asked for another is there.
    fn kill_a_run(&self) {
        let (bell, rung) = mpsc::channel();
        let mut moment = 0;
        self.server.change(|source| {
            moment = source.numbers.below(40);
            source.bell = Some((source.asked + 1 + source.numbers.below(4), bell));
        });
        let mut child = self.place.spawn(&["run"]);
        loop {
            match rung.recv_timeout(Duration::from_millis(20)) {
                Err(RecvTimeoutError::Timeout) if child.try_wait().unwrap().is_none() => {}
                Ok(()) => {
                    std::thread::sleep(Duration::from_millis(moment as u64));
                    break;
                }
                Err(_) => break,
            }
        }
        drop(child.kill());
        child.wait().unwrap();
        let promised = self.server.state.lock().unwrap().promised.clone();
        self.place.etl(&["replay"]).exits(0);
        if promised.is_empty() {
            return;
        }
        let there: BTreeSet<String> = restored(&self.place).into_iter().collect();
        assert!(promised.is_subset(&there), "{}: lost {:?}", self.what, promised.difference(&there));
    }

    /// Runs until the source has given all.
    fn run_on(&self) {
        for _ in 0..12 {
            let ran = self.place.etl(&["run"]);
            assert!([0, 75].contains(&ran.code) && !ran.err.contains("panicked"), "{}: {ran:#?}", self.what);
            if ran.code == 0 {
                return;
            }
        }
        panic!("{}: no run came to its end", self.what);
    }

    fn check(&self) {
        self.server.change(|source| source.failures_left = 0);
        self.truth.is_all(&self.place);
        assert_eq!(self.place.status()["gaps"], self.gaps, "{}", self.what);
    }

    /// The same records in another shape, over another paging, in another order.
    fn take_another_shape(&self) {
        self.server.change(|source| {
            source.shape = Shape::drawn(&mut source.numbers);
            source.numbers.shuffle(&mut source.records);
            (source.failures_left, source.last) = (2, Vec::new());
        });
        self.configure();
    }
}

/// The numbers that are missing between those that are there.
fn holes(schema: &Schema, kept: &[u64]) -> Value {
    let holes = kept.windows(2).filter(|pair| pair[0] + 1 < pair[1]);
    holes.map(|pair| json!({"from": schema.id(pair[0] + 1), "to": schema.id(pair[1] - 1)})).collect()
}

fn play(seed: u64) {
    let world = World::new(seed);
    eprintln!("{}", world.what);
    world.configure();
    world.kill_a_run();
    world.run_on();
    world.check();
    for _ in 0..2 {
        world.take_another_shape();
        eprintln!("then {:?}", world.server.state.lock().unwrap().shape);
        world.run_on();
        world.check();
    }
}

#[test]
fn any_schema_in_any_shape_over_any_paging_is_kept_once_and_whole_through_failures_and_a_kill() {
    let first = tally::seed("profiles::random", 1);
    let seeds = first..first + tally::scale(5, 60);
    seeds.for_each(|seed| within(form_of(seed), || play(seed)));
}
