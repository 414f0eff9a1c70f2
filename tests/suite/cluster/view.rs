//! A cluster as it is seen from a machine that does nothing in it, and has no state.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::intruder::Intruder;
use crate::support::kafka::{Kafka, shared, unique_name};
use crate::support::origin::{Answer, Origin};
use crate::support::{TestS3, s3, unique_prefix};

const RECORDS: u64 = 60;
const LANES: u32 = 3;

/// Machines at work, and one that only looks.
struct World {
    machines: Vec<Place>,
    observer: Place,
    origin: Origin,
    s3: TestS3,
    prefix: String,
}

impl World {
    /// `None`: a server is not to be had.
    fn new(name: &str) -> Option<Self> {
        let (at, kafka): (TestS3, &Kafka) = (s3()?, shared()?);
        let (origin, prefix) = (Origin::start(vec![Answer::Page("[]".to_owned())]), unique_prefix(name));
        let mut places: Vec<Place> = (0..3).map(|_| Place::new("")).collect();
        let (key, name) = (places[0].key.clone(), unique_name(name));
        for (place, instance) in places.iter_mut().zip(["one", "two", "observer"]) {
            place.set("FERNET_KEY", &key);
            place.key.clone_from(&key);
            place.trust(&at);
            place.configure(&format!(
                "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\n{}{}instance = \"{instance}\"\nsession = \"6s\"\n",
                origin.url,
                at.load(&prefix),
                kafka.cluster(&name, LANES),
            ));
        }
        let observer = places.pop()?;
        Some(Self { machines: places, observer, origin, s3: at, prefix })
    }

    /// The source shows these records.
    fn show(&self, records: &[String]) {
        self.origin.script(vec![Answer::Page(page(&self.observer.key, records))]);
    }

    /// Begun, and a run of the first machine over records of two hours.
    fn worked(name: &str) -> Option<Self> {
        let world = Self::new(name)?;
        world.observer.etl(&["cluster", "init"]).exits(0);
        world.show(&records());
        world.machines[0].etl(&["run"]).exits(0);
        Some(world)
    }

    fn look(&self, args: &[&str]) -> Ran {
        self.observer.etl(args)
    }
}

/// Half of them of one hour, half of the next.
fn records() -> Vec<String> {
    (0..RECORDS).map(|id| record(id, &format!("2023-03-10T0{}:{:02}:10.123Z", 1 + id % 2, id % 60))).collect()
}

/// Of everything that is a number in `of`, the sum.
fn sum<'v>(of: impl IntoIterator<Item = &'v Value>) -> u64 {
    of.into_iter().filter_map(Value::as_u64).sum()
}

fn list<'v>(of: &'v Value, key: &str) -> &'v Vec<Value> {
    of[key].as_array().unwrap_or_else(|| panic!("{key}: {of:#}"))
}

#[test]
fn cluster_that_is_not_there_yet_says_how_to_make_it() {
    let Some(world) = World::new("nothing") else { return };
    let refused = world.look(&["--log-format", "text", "cluster", "status"]).exits(78);
    assert!(refused.err.contains("etl cluster init"), "{refused:?}");
    world.look(&["cluster", "init"]).exits(0);
    let status = world.look(&["cluster", "status", "--json"]).exits(0).json();
    assert!(
        list(&status, "lanes").iter().all(|lane| lane["owner"].is_null() && lane["reported"].is_null()),
        "{status}"
    );
    assert_eq!((list(&status, "lanes").len(), &status["closed_through"]), (3, &Value::Null), "{status}");
    let text = world.look(&["cluster", "status"]).exits(0).out;
    assert!(
        text.contains("nobody works on lane 0, 1, 2") && text.contains("no machine has been at work yet"),
        "{text}"
    );
}

#[test]
fn status_of_all_lanes_counts_each_record_once() {
    let Some(world) = World::worked("status") else { return };
    let cluster = world.look(&["cluster", "status", "--json"]).exits(0).json();
    for lane in list(&cluster, "lanes") {
        assert!(lane["unread"] == 0 && lane["pending"] == 0 && lane["reported_by"] == "one", "{lane}");
        assert!(lane["closed_through"].as_str().unwrap() > "2023-03-10T03", "{lane}");
    }
    assert_eq!((&cluster["machines"][0]["machine"], &cluster["machines"][0]["exit"]), (&"one".into(), &0.into()));
    let status = world.look(&["status", "--json"]).exits(0).json();
    let totals = &status["totals"];
    assert_eq!((&totals["uploaded"], &totals["pending"]), (&RECORDS.into(), &0.into()), "{status:#}");
    let parts: Vec<&Value> = list(&status, "hours").iter().flat_map(|hour| list(hour, "parts")).collect();
    assert_eq!(sum(parts.iter().map(|part| &part["rows"])), RECORDS, "{status:#}");
    let keys: BTreeSet<&str> = parts.iter().filter_map(|part| part["key"].as_str()).collect();
    assert_eq!(keys.len(), parts.len());
    assert_eq!(&totals["parts"], &parts.len(), "{status:#}");
    let days: u64 = list(&status, "days").iter().map(|day| sum(list(day, "uploaded"))).sum();
    let late: u64 = list(&status, "days").iter().map(|day| sum(list(day, "late"))).sum();
    assert_eq!((days, late), (RECORDS, 0), "{status:#}");
    assert_eq!(list(&status["cluster"], "lanes").len(), 3);
    let text = world.look(&["status"]).exits(0).out;
    assert!(text.contains("LANE  OWNER") && text.contains("MACHINE") && text.contains("60 uploaded"), "{text}");
    world.look(&["status", "--html", "page.html"]).exits(0);
    let page = std::fs::read_to_string(world.observer.path("page.html")).unwrap();
    assert!(page.contains("<h2>Lanes</h2>") && page.contains("nobody"), "{page}");
    assert!(!world.observer.path("etl-state").exists(), "who only looks leaves nothing");
}

#[test]
fn monitor_is_told_of_lanes_that_nobody_works_on() {
    let Some(world) = World::worked("check") else { return };
    let check = world.look(&["status", "--check"]);
    assert!(check.code == 2 && check.out.starts_with("CRITICAL - nobody works on lane 0, 1, 2"), "{check:?}");
    let mut machine = world.machines[1].spawn(&["run", "--every", "1s"]);
    let began = Instant::now();
    let well = loop {
        let check = world.look(&["status", "--check"]);
        let cluster = world.look(&["cluster", "status", "--json"]).exits(0).json();
        let has_said =
            list(&cluster, "machines").iter().any(|machine| machine["machine"] == "two" && machine["fetches"] == true);
        if (check.code == 0 && has_said) || began.elapsed() > Duration::from_secs(60) {
            break check;
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    let at_work = world.look(&["cluster", "status"]).exits(0).out;
    machine.kill().unwrap();
    machine.wait().unwrap();
    assert!(well.code == 0 && well.out.contains("unowned=0"), "{well:?}");
    let at_work = at_work.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(at_work.contains("two 0 1 2 0 1 2 yes"), "{at_work}");
}

#[test]
fn hours_are_judged_by_all_lanes_and_never_called_complete() {
    let Some(world) = World::worked("hours") else { return };
    let range = ["hours", "--since", "2023-03-10T00", "--until", "2023-03-10T02", "--json"];
    let hours = world.look(&range).exits(66).json();
    let verdicts: Vec<(&Value, &Value)> =
        list(&hours, "hours").iter().map(|hour| (&hour["verdict"], &hour["records"])).collect();
    let unproven = Value::from("unproven");
    assert_eq!(verdicts, [(&unproven, &0.into()), (&unproven, &30.into()), (&unproven, &30.into())], "{hours:#}");
    let one = world.look(&["hours", "2023-03-10T01", "--json"]).exits(66).json();
    assert!(one["reason"].as_str().unwrap().contains("in a cluster"), "{one:#}");
    assert_eq!((&one["rows"], &one["late_parts"]), (&30.into(), &0.into()), "{one:#}");
    assert_eq!(
        list(&one, "parts").len() as u64,
        list(&one, "parts").iter().map(|part| &part["part"]).collect::<Vec<_>>().len() as u64
    );
    let status = world.look(&["status", "--hour", "2023-03-10T01", "--json"]).exits(66).json();
    assert_eq!(status["certificate"]["verdict"], "unproven", "{status:#}");
    // An hour is pending while a lane has not said that it has closed it.
    let closed = world.look(&["cluster", "status", "--json"]).exits(0).json();
    let closed = closed["closed_through"].as_str().unwrap().to_owned();
    let next: jiff::Timestamp = closed.parse().unwrap();
    let hour = next.strftime("%Y-%m-%dT%H").to_string();
    let open = world.look(&["hours", &hour, "--json"]).exits(66).json();
    assert!(["open", "pending"].contains(&open["verdict"].as_str().unwrap()), "{open:#}");
}

#[test]
fn store_is_verified_by_its_manifests() {
    let Some(world) = World::worked("verify") else { return };
    for deep in [&["verify", "--json"][..], &["verify", "--deep", "--json"]] {
        let found = world.look(deep).exits(0).json();
        assert_eq!((&found["rows"], &found["hours"]), (&RECORDS.into(), &2.into()), "{found:#}");
        assert!(found["by_manifests"] == true && list(&found, "findings").is_empty(), "{found:#}");
    }
    let text = world.look(&["verify"]).exits(0).out;
    assert!(text.contains("all as their manifests say"), "{text}");
    let keys = world.s3.keys(&world.prefix);
    let below = |folder: &str| {
        let start = format!("{}{folder}/", world.prefix);
        let mut keys: Vec<String> = keys.iter().filter(|key| key.starts_with(&start)).cloned().collect();
        keys.sort();
        keys
    };
    let (parts, manifests) = (below("data"), below("manifest"));
    assert_eq!(parts.len(), manifests.len());
    let intruder = Intruder::in_bucket(&world.s3);
    let findings = |args: &[&str]| {
        let found = world.look(args).exits(76).json();
        let one =
            |finding: &Value| format!("{} {}", finding["fault"].as_str().unwrap(), finding["key"].as_str().unwrap());
        list(&found, "findings").iter().map(one).collect::<Vec<_>>()
    };
    // Its writer ended between the two.
    let manifest = intruder.read(&manifests[0]);
    intruder.delete(&manifests[0]);
    let found = world.look(&["verify", "--json"]).exits(0).json();
    assert_eq!(found["without_manifest"], 1, "{found:#}");
    assert!(world.look(&["verify"]).exits(0).out.contains("1 part has no manifest"));
    // Another says something else.
    let other = String::from_utf8(manifest.clone()).unwrap().replacen("\"rows\":", "\"rows\":1", 1);
    intruder.write(&manifests[0], other.as_bytes(), None);
    assert_eq!(findings(&["verify", "--json"]), [format!("changed {}", parts[0])]);
    intruder.delete(&manifests[0]);
    intruder.write(&manifests[0], &manifest, None);
    world.look(&["verify"]).exits(0);
    // The first part of an hour is gone, and a stranger has come.
    let (bytes, meta) = (intruder.read(&parts[0]), intruder.meta(&parts[0]));
    intruder.delete(&parts[0]);
    let stranger = format!("{}data/notes.txt", world.prefix);
    intruder.write(&stranger, b"hello", None);
    assert_eq!(findings(&["verify", "--json"]), [format!("foreign {stranger}"), format!("missing {}", parts[0])]);
    intruder.delete(&stranger);
    // A part under another's number: its records are in the hour twice.
    let second = intruder.meta(&parts[1]);
    intruder.write(&parts[0], &intruder.read(&parts[1]), second.as_ref());
    intruder.delete(&manifests[0]);
    world.look(&["verify"]).exits(0);
    assert_eq!(findings(&["verify", "--deep", "--json"]), [format!("changed {}", parts[1])]);
    intruder.write(&parts[0], &bytes, meta.as_ref());
    world.look(&["verify", "--deep"]).exits(0);
}

#[test]
fn everything_that_reads_the_store_works_without_a_state() {
    let Some(world) = World::worked("reads") else { return };
    let restored = world.look(&["restore"]).exits(0);
    let ids: BTreeSet<u64> = restored
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["record_id"].as_u64().unwrap())
        .collect();
    assert_eq!((ids.len() as u64, restored.out.lines().count() as u64), (RECORDS, RECORDS));
    assert!(world.look(&["ddl"]).exits(0).out.contains("CREATE EXTERNAL TABLE"));
    world.look(&["quarantine", "list"]).exits(0);
    assert!(!world.observer.path("etl-state").exists());
}

#[test]
fn tokens_of_all_machines_are_listed_dropped_and_tried_again_with_their_key() {
    let Some(mut world) = World::new("quarantine") else { return };
    world.observer.etl(&["cluster", "init"]).exits(0);
    let other = fernet::Fernet::generate_key();
    // Two with another key, beside records of ours; one that is no record.
    let mut elements: Vec<Value> = serde_json::from_str(&page(&world.observer.key, &records())).unwrap();
    let strangers: Vec<String> = (900..902).map(|id| record(id, "2023-03-10T01:30:10.000Z")).collect();
    elements.extend(serde_json::from_str::<Vec<Value>>(&page(&other, &strangers)).unwrap());
    elements.extend(serde_json::from_str::<Vec<Value>>(&page(&world.observer.key, &["{'a': 1}".to_owned()])).unwrap());
    world.origin.script(vec![Answer::Page(serde_json::to_string(&elements).unwrap())]);
    world.machines[0].etl(&["run"]).exits(65);
    let listed = world.look(&["quarantine", "list", "--json"]).exits(0).json();
    assert_eq!(listed["count"], 3, "{listed:#}");
    assert_eq!(world.look(&["quarantine", "export"]).exits(0).out.lines().count(), 3);
    let status = world.look(&["status", "--json"]).exits(0).json();
    assert_eq!(
        (&status["quarantine"]["count"], &status["totals"]["quarantined"]),
        (&3.into(), &3.into()),
        "{status:#}"
    );
    world.look(&["quarantine", "drop", "--reason", "wrong-key", "--yes"]);
    let reasons: Vec<String> =
        list(&listed, "reasons").iter().map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons.len(), 2, "{listed:#}");
    // They were dropped; the source shows them again, and a machine with their key tries them.
    let left = world.look(&["quarantine", "list", "--json"]).exits(0).json();
    assert_eq!(left["count"], 1, "{left:#}");
    world.machines[1].etl(&["run"]).exits(65);
    assert_eq!(world.look(&["quarantine", "list", "--json"]).exits(0).json()["count"], 3);
    world.origin.script(vec![Answer::Page("[]".to_owned())]);
    let both = format!("{other},{}", world.observer.key);
    world.machines[0].set("FERNET_KEY", &both);
    let replayed = world.machines[0].etl(&["replay", "--quarantine", "--json"]);
    assert_eq!(replayed.json()["recovered"], 2, "{replayed:?}");
    assert_eq!(world.look(&["quarantine", "list", "--json"]).exits(0).json()["count"], 1);
    // Their hour had parts already: they are late, and come with the next run that finds them due.
    world.machines[0].etl(&["run", "--drain"]).exits(0);
    let restored = world.look(&["restore"]).exits(0).out;
    assert_eq!(restored.lines().count() as u64, RECORDS + 2);
    assert!(restored.contains("\"record_id\": 900") || restored.contains("\"record_id\":900"), "{restored}");
}

#[test]
fn what_only_a_machine_alone_does_is_refused_with_what_to_do() {
    let Some(world) = World::worked("refused") else { return };
    for args in [&["repair"][..], &["replay", "--from-s3"], &["replay", "--rejected"]] {
        let refused = world.machines[0].etl(&[&["--log-format", "text"], args].concat()).exits(2);
        assert!(refused.err.contains("is for a machine alone") && refused.err.contains("hint"), "{refused:?}");
    }
}
