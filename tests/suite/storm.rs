//! SIGKILL at any moment, several processes at once, and faults on the wire: nothing lost, nothing twice, no object created
//! twice.
//!
//! The source hands out the same records until a run that was not killed has said that it has them.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::form::{form_of, in_form};
use crate::support::origin::{Answer, Origin};
use crate::support::proxy::{CANNED, Fault, LOST, Proxy};
use crate::support::{s3, tally, unique_prefix};

/// Records that the source shows at a time, half of which the next page shows again.
const WINDOW: u64 = 200;
/// A run is told to end after a fraction of this.
const LIMIT: Duration = Duration::from_secs(60);

/// What happens to requests: answers that are lost, cut, late or not the store's.
fn weather() -> Vec<Fault> {
    let mut faults = LOST.to_vec();
    faults.push(Fault::HungAfter);
    faults.extend(CANNED.iter().flat_map(|canned| [Fault::Instead(canned), Fault::Afterwards(canned)]));
    faults
}

fn draw(seed: u64, n: u64, below: u64) -> u64 {
    let digest = blake3::hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat());
    u64::from_le_bytes(*digest.as_bytes().first_chunk().unwrap()) % below
}

/// Machines that are struck again and again, with one store for all of them.
struct Storm {
    seed: u64,
    drawn: u64,
    places: Vec<Place>,
    origin: Origin,
    /// The `[load]` table of the configuration.
    load: String,
    proxy: Option<(Proxy, String)>,
    /// How many hours the records are of, in no order; `None`: they come in the order of their hours.
    spread: Option<u64>,
    /// Records before this one were acknowledged.
    done: u64,
    kills: u64,
}

impl Storm {
    fn new(seed: u64, machines: usize, load: String, proxy: Option<(Proxy, String)>) -> Self {
        let mut places: Vec<Place> = in_form(form_of(seed), || (0..machines).map(|_| Place::in_memory("")).collect());
        let key = places[0].key.clone();
        for place in &mut places {
            place.set("FERNET_KEY", &key);
            place.key.clone_from(&key);
        }
        Self { seed, drawn: 0, places, origin: Origin::start(vec![]), load, proxy, spread: None, done: 0, kills: 0 }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        draw(self.seed, self.drawn, below)
    }

    /// One of these.
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.draw(of.len() as u64)).unwrap()]
    }

    /// The page, the settings and the weather of the next round.
    fn change(&mut self) {
        let records: Vec<String> = (self.done..self.done + WINDOW)
            .map(|id| {
                // Each ninth is late by five hours.
                let in_order = id / 150 + 5 - if id % 9 == 0 { 5 } else { 0 };
                let hour = self.spread.map_or(in_order, |hours| draw(7, id, hours));
                let (day, hour) = (hour / 24, hour % 24);
                record(
                    id,
                    &format!(
                        "2023-{:02}-{:02}T{hour:02}:{:02}:10.{:03}Z",
                        1 + day / 28,
                        1 + day % 28,
                        id % 60,
                        id % 1000
                    ),
                )
            })
            .collect();
        self.origin.script(vec![Answer::Page(page(&self.places[0].key, &records))]);
        let (hold, window) = (self.pick(&["0s", "0s", "1h"]), self.pick(&["30d", "30d", "0s"]));
        for place in &self.places {
            place.configure(&format!(
                "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"{hold}\"\ndedup_window = \"{window}\"\n{}",
                self.origin.url, self.load
            ));
        }
        let (seed, percent) = (self.draw(u64::MAX), self.pick(&[0, 10, 40]));
        if let Some((proxy, _)) = &self.proxy {
            proxy.at_random(seed, percent, weather());
        }
    }

    /// Starts some processes at once; each is killed at some moment, unless it is spared or quicker.
    fn strike(&mut self, crowd: u64) {
        self.change();
        let next = self.done + WINDOW / 2;
        let mut children = Vec::new();
        for _ in 0..crowd {
            let runs = ["run --json --max-runtime 5s", "run --json --max-runtime 5s --drain", "replay --json"];
            let args: Vec<&str> = self.pick(&runs).split(' ').collect();
            let machine = usize::try_from(self.draw(self.places.len() as u64)).unwrap();
            let mut command = self.places[machine].command(&args);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let spared = self.draw(4) == 0;
            // As often in the first milliseconds as in the first tenth of a second.
            let moment = Duration::from_micros(1 << self.draw(18)) + Duration::from_micros(self.draw(20_000));
            children.push((command.spawn().unwrap(), if spared { LIMIT } else { moment }));
        }
        let began = Instant::now();
        children.sort_by_key(|(_, moment)| *moment);
        for (child, moment) in children {
            if let Some(ran) = self.kill_at(child, began, moment) {
                self.take_note(&ran, next);
            }
        }
    }

    /// `None`: it was killed.
    fn kill_at(&mut self, mut child: Child, began: Instant, moment: Duration) -> Option<Ran> {
        while child.try_wait().unwrap().is_none() && began.elapsed() < moment {
            std::thread::sleep(Duration::from_micros(100));
        }
        assert!(moment != LIMIT || child.try_wait().unwrap().is_some(), "seed {}: it hangs", self.seed);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.signal() == Some(9) {
            self.kills += 1;
            return None;
        }
        Some(output.into())
    }

    /// What a run that ended says; where it has the page, the source goes on at `next`.
    fn take_note(&mut self, ran: &Ran, next: u64) {
        let fine = [0, 11, 75, 76, 77].contains(&ran.code) && !ran.err.contains("panicked");
        assert!(fine, "seed {}: {ran:#?}", self.seed);
        // A replay's object has no pages: it fetches none.
        let pages = ran.out.lines().next_back().and_then(|line| serde_json::from_str::<Value>(line).ok());
        if ran.code == 0 && pages.is_some_and(|said| said["pages"] == 1 && said["fetched"].as_u64() >= Some(WINDOW)) {
            self.done = next;
        }
    }

    /// The sky clears; the last page is taken, and all of it is compared with what was handed out.
    fn check(&mut self) {
        self.change();
        if let Some((proxy, _)) = &self.proxy {
            tally::add("wire", "while killed", proxy.calm().len() as u64);
        }
        let said = format!("ETL_TEST_SEED={}", self.seed);
        for (place, args) in self
            .places
            .iter()
            .flat_map(|place| [["replay"].as_slice(), &["run"], &["run", "--drain"]].map(|args| (place, args)))
        {
            let ran = place.etl(args);
            assert_eq!(ran.code, 0, "{said}: {ran:#?}");
        }
        let place = &self.places[0];
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for line in place.etl(&["restore"]).exits(0).out.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
        }
        let lost: Vec<u64> = (0..self.done + WINDOW).filter(|id| !seen.contains_key(id)).collect();
        let twice: Vec<u64> = seen.iter().filter(|(_, n)| **n > 1).map(|(id, _)| *id).collect();
        let created = self.proxy.as_ref().map(|(proxy, prefix)| proxy.created(prefix)).unwrap_or_default();
        let rewritten: Vec<_> = created.iter().filter(|(_, n)| **n > 1).collect();
        tally::found(lost.len(), twice.len(), rewritten.len());
        assert!(lost.is_empty(), "{said}: lost {lost:?}");
        assert!(twice.is_empty(), "{said}: twice {twice:?}");
        assert!(rewritten.is_empty(), "{said}: created twice {rewritten:?}");
        assert_eq!(seen.len() as u64, self.done + WINDOW, "{said}");
        for place in &self.places {
            let verified = place.etl(&["verify", "--deep"]);
            // Another machine's parts are strangers until a record of theirs is met.
            assert!(verified.code == 0 || self.places.len() > 1 && verified.code == 76, "{said}: {verified:#?}");
            let status = place.status();
            assert_eq!((&status["totals"]["pending"], &status["journal"]["pages"]), (&0.into(), &0.into()), "{said}");
            assert!(status["totals"]["uploaded"] == seen.len() || self.places.len() > 1, "{said}: {status:#}");
        }
    }

    /// Strikes until so many were killed.
    fn rage(&mut self, kills: u64, crowds: &[u64]) {
        while self.kills < kills {
            let (before, crowd) = (self.kills, self.pick(crowds));
            self.strike(crowd);
            tally::add("kills", "runs and replays", self.kills - before);
            if crowd > 1 {
                tally::add("races", &format!("{crowd} at once"), crowd);
            }
        }
        self.check();
    }
}

const LAKE: &str = "[load]\nto = \"file:lake\"\npart_max_records = 60\n";

#[test]
fn killed_at_any_moment_a_lake_holds_each_record_once() {
    let seed = tally::seed("killed over a lake", 1);
    Storm::new(seed, 1, LAKE.into(), None).rage(tally::scale(80, 2000), &[1]);
}

#[test]
fn killed_at_any_moment_among_hundreds_of_hours_a_lake_holds_each_record_once() {
    let seed = tally::seed("killed among hundreds of hours", 6);
    let mut storm = Storm::new(seed, 1, LAKE.into(), None);
    storm.spread = Some(600);
    storm.rage(tally::scale(30, 800), &[1, 1, 2]);
}

#[test]
fn crowds_of_processes_killed_at_any_moment_lose_and_repeat_nothing() {
    let seed = tally::seed("crowds killed over a lake", 2);
    Storm::new(seed, 1, LAKE.into(), None).rage(tally::scale(60, 1500), &[2, 3, 5]);
}

/// Machines that write to S3 through a faulty proxy.
fn over_s3(seed: u64, machines: usize) -> Option<Storm> {
    let at = s3()?;
    let (proxy, prefix) = (Proxy::start(&at.endpoint), unique_prefix("storm"));
    let load = format!("[load]\n{}part_max_records = 60\n", at.behind(&proxy.endpoint).load(&prefix));
    let mut storm = Storm::new(seed, machines, load, Some((proxy, prefix)));
    for place in &mut storm.places {
        place.trust(&at);
    }
    Some(storm)
}

#[test]
fn killed_at_any_moment_with_faults_on_the_wire_s3_holds_each_record_once() {
    let Some(mut storm) = over_s3(tally::seed("killed over S3 in bad weather", 3), 1) else { return };
    storm.rage(tally::scale(40, 1000), &[1, 1, 2]);
}

#[test]
fn machines_that_are_killed_while_they_share_a_prefix_lose_and_repeat_nothing() {
    let Some(mut storm) = over_s3(tally::seed("two machines killed over S3 in bad weather", 5), 2) else { return };
    storm.rage(tally::scale(20, 500), &[1, 2, 4]);
}
