//! Crashes at every step over a real S3 server: each key is created once, whatever crashed.

use std::collections::BTreeMap;

use etl::store::ObjectStore;
use serde_json::Value;

use super::bench::Point;
use super::lake::parallel_map;
use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::proxy::Proxy;
use crate::support::{TestS3, s3, tally, unique_prefix};

/// What came of the runs, without the prefix of the keys.
#[derive(Debug, PartialEq)]
struct Outcome {
    objects: BTreeMap<String, Vec<u8>>,
    created: BTreeMap<String, u32>,
    totals: Value,
}

struct Runs<'a> {
    at: &'a TestS3,
    proxy: &'a Proxy,
    key: String,
    pages: [String; 2],
}

impl Runs<'_> {
    /// Two runs; the one of that number, if any, crashes at a point and is followed by a replay. Gives what came of it, and how
    /// many steps each run took.
    fn run(&self, crash: Option<(usize, Point, bool)>) -> (Outcome, Vec<Vec<String>>) {
        let prefix = unique_prefix("steps");
        let origin = Origin::start(vec![Answer::Page("[]".into())]);
        let mut place = self.place(&origin, &prefix);
        let mut steps = Vec::new();
        for (number, page) in self.pages.iter().enumerate() {
            origin.script(vec![Answer::Page(page.clone())]);
            if let Some((_, point, received)) = crash.filter(|(crashed, ..)| *crashed == number) {
                let when = if point.after { "after" } else { "before" };
                place.set("ETL_CRASH", &format!("{when}:{}", point.step));
                place.etl(&["run"]).exits(-1);
                place.env.retain(|(name, _)| name != "ETL_CRASH");
                place.etl(&["replay"]).exits(0);
                if received {
                    origin.script(vec![Answer::Page("[]".into())]);
                }
            }
            let file = place.path(format!("steps-{number}"));
            place.set("ETL_STEPS", file.to_str().unwrap());
            place.etl(&["run"]).exits(0);
            let text = std::fs::read_to_string(file).unwrap();
            steps.push(text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect());
        }
        place.etl(&["verify", "--deep"]).exits(0);
        (self.outcome(&place, &prefix), steps)
    }

    fn place(&self, origin: &Origin, prefix: &str) -> Place {
        let (at, url) = (self.at, &origin.url);
        let mut place = Place::in_memory(&format!(
            "[source]\nurl = \"{url}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\n{}part_max_records = 2\n",
            at.behind(&self.proxy.endpoint).load(prefix)
        ));
        place.set("FERNET_KEY", &self.key);
        place.trust(at);
        place
    }

    fn outcome(&self, place: &Place, prefix: &str) -> Outcome {
        let at = self.at;
        let (store, keys) = (at.store(), at.keys(prefix));
        let objects = keys.iter().map(|key| (key.replace(prefix, ""), store.get(key).unwrap())).collect();
        let created = self.proxy.created(prefix);
        let created = created.into_iter().map(|(path, n)| (path.replace(prefix, ""), n)).collect();
        Outcome { objects, created, totals: place.status()["totals"].clone() }
    }
}

#[test]
fn crash_at_any_step_creates_each_object_once() {
    let Some(at) = s3() else { return };
    let proxy = Proxy::start(&at.endpoint);
    let key = fernet::Fernet::generate_key();
    let log = |id: u64, minute: u64| record(id, &format!("2023-03-10T{:02}:{:02}:00.000Z", minute / 60, minute % 60));
    let pages =
        [[log(1, 70), log(2, 75), log(3, 80), log(4, 121)], [log(4, 121), log(5, 71), log(6, 130), log(6, 130)]];
    let pages = pages.map(|logs| page(&key, &logs));
    let runs = Runs { at: &at, proxy: &proxy, key, pages };
    let (expected, steps) = runs.run(None);
    assert_eq!(expected.objects.len(), 7, "five parts, their dictionaries, and the settings");
    assert!(expected.created.values().all(|n| *n == 1), "{:?}", expected.created);
    assert_eq!(expected.created.len(), expected.objects.len());
    assert!(steps[0].iter().any(|step| step == "CreateOnlyProbed"), "{steps:?}");
    let cases: Vec<(usize, Point)> = steps
        .iter()
        .enumerate()
        .flat_map(|(number, steps)| Point::all(steps.len()).map(move |point| (number, point)))
        .collect();
    parallel_map(
        &cases,
        || (),
        |(), (number, point)| {
            let journaled = steps[*number].iter().position(|step| step == "PageJournaled").unwrap() + 1;
            let received = journaled < point.step || journaled == point.step && point.after;
            let (outcome, _) = runs.run(Some((*number, *point, received)));
            let name = &steps[*number][point.step - 1];
            let lost = expected.objects.keys().filter(|key| !outcome.objects.contains_key(*key)).count();
            let more = outcome.objects.len() + lost - expected.objects.len();
            tally::add("steps", "over S3", 1);
            tally::found(lost, more, outcome.created.values().filter(|n| **n > 1).count());
            assert!(outcome == expected, "run {number}, {point:?} ({name}): {:?} {}", outcome.created, outcome.totals);
        },
    );
}
