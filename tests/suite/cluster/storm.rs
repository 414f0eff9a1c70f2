//! Machines of a cluster that are killed or stopped past their session at any moment, and brokers that are killed under them: each record
//! in one part of its hour, no object created twice.
//!
//! The source hands out the same records until a run that was not killed has said that they are in Kafka.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::kafka::{Kafka, kafka, unique_name};
use crate::support::origin::{Answer, Origin};
use crate::support::proxy::{LOST, Proxy};
use crate::support::{s3, tally, unique_prefix};

/// Records that the source shows at a time, half of which the next page shows again.
fn window() -> u64 {
    tally::scale(400, 12_000)
}

/// How long brokers wait for a machine.
const SESSION: Duration = Duration::from_secs(2);
/// Brokers that take such sessions.
pub const SETTINGS: &str = "group.min.session.timeout.ms=1000\n";
/// A run has hung that takes longer.
const LIMIT: Duration = Duration::from_secs(180);

/// What is drawn of a seed.
struct Lot {
    seed: u64,
    drawn: AtomicU64,
}

impl Lot {
    const fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }

    fn draw(&self, below: u64) -> u64 {
        let n = self.drawn.fetch_add(1, Ordering::Relaxed);
        let digest = blake3::hash(&[self.seed.to_le_bytes(), n.to_le_bytes()].concat());
        u64::from_le_bytes(*digest.as_bytes().first_chunk().unwrap()) % below
    }
}

/// Machines of one cluster.
struct Storm {
    lot: Lot,
    kafka: Kafka,
    places: Vec<Place>,
    origin: Origin,
    proxy: (Proxy, String),
    /// Records before this one are in Kafka.
    done: AtomicU64,
    kills: AtomicU64,
    zombies: AtomicU64,
    broker_kills: AtomicU64,
}

impl Storm {
    /// `None`: a server is not to be had.
    fn new(seed: u64, machines: usize, lanes: u32) -> Option<Self> {
        let (at, kafka) = (s3()?, kafka(3, SETTINGS)?);
        let (proxy, prefix) = (Proxy::start(&at.endpoint), unique_prefix("cluster"));
        let origin = Origin::start(vec![Answer::Page("[]".to_owned())]);
        let mut places: Vec<Place> = (0..machines).map(|_| Place::in_memory("")).collect();
        let (key, name) = (places[0].key.clone(), unique_name("storm"));
        for (n, place) in places.iter_mut().enumerate() {
            place.set("FERNET_KEY", &key);
            place.key.clone_from(&key);
            place.trust(&at);
            place.configure(&format!(
                "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\n{}part_max_records = {}\n\
                 {}instance = \"machine-{n}\"\nsession = \"{}s\"\n",
                origin.url,
                at.behind(&proxy.endpoint).load(&prefix),
                window() / 2,
                kafka.cluster(&name, lanes),
                SESSION.as_secs()
            ));
        }
        places[0].etl(&["cluster", "init"]).exits(0);
        let zero = || AtomicU64::new(0);
        let (proxy, lot) = ((proxy, prefix), Lot::new(seed));
        let (done, kills, zombies, broker_kills) = (zero(), zero(), zero(), zero());
        Some(Self { lot, kafka, places, origin, proxy, done, kills, zombies, broker_kills })
    }

    /// Shows the next records.
    fn show(&self) {
        let done = self.done.load(Ordering::SeqCst);
        let records: Vec<String> = (done..done + window())
            .map(|id| {
                // Each ninth is late by five hours.
                let hour = id / (window() * 7 / 4) + 5 - if id % 9 == 0 { 5 } else { 0 };
                let (day, hour, minute, milli) = (1 + hour / 24, hour % 24, id % 60, id % 1000);
                record(id, &format!("2023-03-{day:02}T{hour:02}:{minute:02}:10.{milli:03}Z"))
            })
            .collect();
        self.origin.script(vec![Answer::Page(page(&self.places[0].key, &records))]);
    }

    /// One machine runs again and again, and what is drawn happens to it.
    fn live(&self, machine: usize, ends: &AtomicBool) {
        while !ends.load(Ordering::SeqCst) {
            let shown = self.done.load(Ordering::SeqCst);
            let mut command = self.places[machine].command(&["run", "--json", "--max-runtime", "100s"]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let moment = Duration::from_millis(self.lot.draw(4000));
            let ran = match self.lot.draw(10) {
                0..6 => self.kill_at(child, moment),
                6 => self.stop_at(child, moment),
                _ => Some(self.wait(child)),
            };
            if let Some(ran) = ran {
                self.take_note(&ran, shown);
            }
        }
    }

    fn kill_at(&self, mut child: Child, moment: Duration) -> Option<Ran> {
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() && began.elapsed() < moment {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.signal() == Some(9) {
            self.kills.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        Some(output.into())
    }

    /// Stops it past its session, so that others own its lanes when it goes on.
    fn stop_at(&self, mut child: Child, moment: Duration) -> Option<Ran> {
        std::thread::sleep(moment);
        if child.try_wait().unwrap().is_none() {
            signal(&child, "-STOP");
            std::thread::sleep(SESSION * 2 + Duration::from_millis(self.lot.draw(2000)));
            signal(&child, "-CONT");
            self.zombies.fetch_add(1, Ordering::SeqCst);
        }
        Some(self.wait(child))
    }

    fn wait(&self, mut child: Child) -> Ran {
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() && began.elapsed() < LIMIT {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(child.try_wait().unwrap().is_some(), "seed {}: it hangs", self.lot.seed);
        child.wait_with_output().unwrap().into()
    }

    /// What a run that ended says; where its page is in Kafka, the source goes on.
    fn take_note(&self, ran: &Ran, shown: u64) {
        let fine = [0, 11, 75, 130, 143].contains(&ran.code) && !ran.err.contains("panicked");
        assert!(fine, "seed {}: {ran:#?}", self.lot.seed);
        let said = ran.out.lines().next_back().and_then(|line| serde_json::from_str::<Value>(line).ok());
        if ran.code == 0 && said.is_some_and(|said| said["pages"].as_u64() >= Some(1)) {
            let next = shown + window() / 2;
            if self.done.compare_exchange(shown, next, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                self.show();
            }
        }
    }

    /// Kills brokers, one at a time, each of which comes back.
    fn kill_brokers(&self, every: Duration, ends: &AtomicBool) {
        let mut last = Instant::now();
        while !ends.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(50));
            if last.elapsed() >= every {
                let broker = usize::try_from(self.lot.draw(3)).unwrap();
                self.kafka.kill(broker);
                std::thread::sleep(Duration::from_millis(500 + self.lot.draw(3000)));
                self.kafka.restart(broker);
                self.broker_kills.fetch_add(1, Ordering::SeqCst);
                last = Instant::now();
            }
        }
    }

    /// All of it until so many machines were killed, so many stopped, and so many records handed out.
    fn rage(&self, kills: u64, zombies: u64, records: u64, brokers: Option<Duration>) {
        self.show();
        let (seed, ends) = (self.lot.draw(u64::MAX), AtomicBool::new(false));
        self.proxy.0.at_random(seed, 3, LOST.to_vec());
        std::thread::scope(|scope| {
            for machine in 0..self.places.len() {
                let ends = &ends;
                scope.spawn(move || self.live(machine, ends));
            }
            if let Some(every) = brokers {
                let ends = &ends;
                scope.spawn(move || self.kill_brokers(every, ends));
            }
            let reached = |of: &AtomicU64, least| of.load(Ordering::SeqCst) >= least;
            while !(reached(&self.kills, kills) && reached(&self.zombies, zombies) && reached(&self.done, records)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            ends.store(true, Ordering::SeqCst);
        });
        tally::add("cluster", "machines killed", self.kills.load(Ordering::SeqCst));
        tally::add("cluster", "machines stopped past their session", self.zombies.load(Ordering::SeqCst));
        tally::add("cluster", "brokers killed", self.broker_kills.load(Ordering::SeqCst));
        self.check();
    }

    /// The sky clears; one machine takes everything over, and all of it is compared with what was handed out.
    fn check(&self) {
        self.proxy.0.calm();
        let said = format!("ETL_TEST_SEED={}", self.lot.seed);
        // Each machine may have pages on its disk that are in no topic yet.
        for place in &self.places {
            place.etl(&["run"]).exits(0);
        }
        std::thread::sleep(SESSION);
        let drained = self.places[0].etl(&["run", "--drain"]);
        assert_eq!(drained.code, 0, "{said}: {drained:#?}");
        let last = self.done.load(Ordering::SeqCst) + window();
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for line in self.places[1].etl(&["restore"]).exits(0).out.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
        }
        let lost: Vec<u64> = (0..last).filter(|id| !seen.contains_key(id)).collect();
        let twice: Vec<u64> = seen.iter().filter(|(_, n)| **n > 1).map(|(id, _)| *id).collect();
        let created = self.proxy.0.created(&self.proxy.1);
        // What tries the store is put there twice.
        let is_probe = |key: &str| key.contains("/check/");
        let rewritten: Vec<_> = created.iter().filter(|(key, n)| **n > 1 && !is_probe(key)).collect();
        tally::found(lost.len(), twice.len(), rewritten.len());
        assert!(lost.is_empty(), "{said}: lost {} of {last}: {:?}", lost.len(), &lost[..lost.len().min(20)]);
        assert!(twice.is_empty(), "{said}: twice {twice:?}");
        assert!(rewritten.is_empty(), "{said}: created twice {rewritten:?}");
        assert_eq!(seen.len() as u64, last, "{said}");
    }
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn machines_killed_and_stopped_at_any_moment_put_each_record_into_one_part() {
    let seed = tally::seed("machines of a cluster killed", 21);
    let Some(storm) = Storm::new(seed, 3, 4) else { return };
    storm.rage(tally::scale(20, 200), tally::scale(3, 30), tally::scale(2_000, 20_000), None);
}

#[test]
fn brokers_and_machines_killed_at_any_moment_put_each_record_into_one_part() {
    let seed = tally::seed("machines and brokers of a cluster killed", 22);
    let Some(storm) = Storm::new(seed, 3, 6) else { return };
    let every = Duration::from_secs(tally::scale(10, 60));
    storm.rage(tally::scale(15, 100), tally::scale(2, 20), tally::scale(1_500, 300_000), Some(every));
}
