//! Parts are read with the dictionaries that they were written with, whatever the configuration says: right, or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use etl::store::ObjectStore;
use serde_json::Value;

use crate::support::cli::{Place, Ran};
use crate::support::intruder::Intruder;
use crate::support::{TestS3, s3, unique_prefix};

/// What the parts are written with.
const WRITTEN: &str = "url = { '/checkout' = 1, '/cart' = 2 }\nmethod = { PATCH = 1, GET = 2 }";
/// It lacks entries.
const FEWER: &str = "url = { '/checkout' = 1 }\nmethod = { PATCH = 1 }";
/// It has gained entries.
const MORE: &str = "url = { '/checkout' = 1, '/cart' = 2, '/login' = 3 }\nmethod = { PATCH = 1, GET = 2, PUT = 3 }";
/// The same texts with each other's codes.
const SWAPPED: &str = "url = { '/checkout' = 2, '/cart' = 1 }\nmethod = { PATCH = 2, GET = 1 }";
/// Other texts with the same codes.
const OTHER: &str = "url = { '/a' = 1, '/b' = 2 }\nmethod = { POST = 1, PUT = 2 }";

/// A log of hour `n % 4`.
fn log(n: u64, url: &str, method: &str) -> String {
    format!(
        "{{'user_id': '{n:064x}', 'record_id': {n}, 'url': '{url}', 'method': '{method}', 'inDate': \
         '2023-03-10T{:02}:00:{:02}.000Z'}}",
        n % 4,
        n / 4
    )
}

fn logs() -> Vec<String> {
    (0..16).map(|n| log(n, ["/checkout", "/cart", "/x"][n as usize % 3], ["PATCH", "GET"][n as usize % 2])).collect()
}

/// Where parts go: a place, who else can write there, and the prefix of the keys.
struct Lake {
    place: Place,
    intruder: Intruder,
    prefix: String,
    load: String,
}

impl Lake {
    fn in_folder() -> Self {
        let place = Place::new("");
        let intruder = Intruder::Lake(place.path("lake"));
        Self { place, intruder, prefix: String::new(), load: "to = \"file:lake\"".into() }
    }

    fn in_bucket(at: &TestS3) -> Self {
        let (mut place, prefix) = (Place::new(""), unique_prefix("dictionaries"));
        place.trust(at);
        Self { place, intruder: Intruder::in_bucket(at), load: at.load(&prefix), prefix }
    }

    /// In each kind of store, with the parts of [`logs`] made with [`WRITTEN`].
    fn each() -> Vec<Self> {
        let lakes: Vec<Self> = s3().iter().map(Self::in_bucket).chain([Self::in_folder()]).collect();
        for lake in &lakes {
            lake.configure(WRITTEN);
            lake.place.page("pages/1", &logs());
            lake.place.etl(&["run"]).exits(0);
        }
        lakes
    }

    fn keeps_metadata(&self) -> bool {
        matches!(self.intruder, Intruder::Bucket { .. })
    }

    fn configure(&self, compact: &str) {
        let load = &self.load;
        self.place.configure(&format!("[source]\nurl = \"file:pages/*\"\n[load]\n{load}\n[compact]\n{compact}\n"));
    }

    /// Restores with this `[compact]` and without a state.
    fn restore(&self, compact: &str) -> Ran {
        self.configure(compact);
        self.place.etl(&["restore", "--state-dir", "nowhere", "--log-format", "text"])
    }

    fn keys(&self, below: &str) -> Vec<String> {
        let below = format!("{}{below}", self.prefix);
        let mut keys = Vec::new();
        let mut take = |key: &str, _| {
            keys.push(key.to_owned());
            Ok(())
        };
        match &self.intruder {
            Intruder::Bucket { store, .. } => store.list(&below, &mut take).unwrap(),
            Intruder::Lake(dir) => etl::store::lake::FileStore::new(dir).list(&below, &mut take).unwrap(),
        }
        keys
    }

    /// The one object with dictionaries that is there.
    fn dictionary(&self) -> String {
        let keys = self.keys("dict/");
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys[0].clone()
    }

    /// Copies everything below the prefix into a directory, as the tools of a store do.
    fn copy_to(&self, dir: &Path) {
        for key in self.keys("") {
            let to = dir.join(key.strip_prefix(&self.prefix).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, self.intruder.read(&key)).unwrap();
        }
    }
}

/// Each log that came out, as id, url and method.
fn values(ran: &Ran) -> Vec<(u64, String, String)> {
    let text = |log: &Value, field: &str| log[field].as_str().unwrap().to_owned();
    let mut values: Vec<_> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|log| (log["record_id"].as_u64().unwrap(), text(&log, "url"), text(&log, "method")))
        .collect();
    values.sort();
    values
}

fn expected(logs: &[String]) -> Vec<(u64, String, String)> {
    let json = logs.iter().map(|log| log.replace('\'', "\""));
    values(&Ran { code: 0, out: json.collect::<Vec<_>>().join("\n"), err: String::new() })
}

#[test]
fn restore_under_any_configuration_gives_the_original_values() {
    for lake in Lake::each() {
        for compact in [WRITTEN, FEWER, MORE, SWAPPED, OTHER, "", "url = {}\nmethod = {}"] {
            let ran = lake.restore(compact).exits(0);
            assert_eq!((values(&ran), ran.err.as_str()), (expected(&logs()), ""), "{compact}");
        }
    }
}

#[test]
fn dictionaries_that_are_gone_are_found_in_what_the_configuration_gained_or_the_part_is_refused() {
    for lake in Lake::each() {
        let key = lake.dictionary();
        lake.intruder.delete(&key);
        for compact in [WRITTEN, MORE] {
            assert_eq!(values(&lake.restore(compact).exits(0)), expected(&logs()), "{compact}");
        }
        assert_eq!(lake.keys("dict/"), Vec::<String>::new(), "restore only reads");
        for compact in [FEWER, SWAPPED, OTHER, ""].iter().filter(|_| lake.keeps_metadata()) {
            let ran = lake.restore(compact).exits(76);
            assert!(ran.out.is_empty() && ran.err.contains(&key) && ran.err.contains("hint: "), "{compact}: {ran:?}");
            assert_eq!(ran.err.matches(" is refused").count(), 4, "{ran:?}");
        }
    }
}

#[test]
fn damaged_dictionaries_are_not_believed() {
    for lake in Lake::each() {
        let key = lake.dictionary();
        let (sound, meta) = (String::from_utf8(lake.intruder.read(&key)).unwrap(), lake.intruder.meta(&key));
        let swapped = sound.replace(":2", ":9").replace(":1", ":2").replace(":9", ":1");
        for damaged in [swapped.as_str(), "", "{}", "not json", &sound[..sound.len() / 2]] {
            lake.intruder.write(&key, damaged.as_bytes(), meta.as_ref());
            assert_eq!(values(&lake.restore(MORE).exits(0)), expected(&logs()), "{damaged}");
            let ran = lake.restore(OTHER).exits(76);
            assert!(
                ran.out.is_empty() && ran.err.contains(&key) && ran.err.contains("not what its name says"),
                "{ran:?}"
            );
            lake.configure(WRITTEN);
            let found = lake.place.etl(&["verify", "--json"]).exits(76).json();
            assert_eq!(
                (&found["findings"][0]["fault"], &found["findings"][0]["key"]),
                (&"changed".into(), &key.as_str().into())
            );
        }
    }
}

#[test]
fn verify_names_dictionaries_that_are_gone_and_a_replay_from_the_store_puts_them_back() {
    for lake in Lake::each() {
        lake.place.etl(&["verify", "--deep"]).exits(0);
        let key = lake.dictionary();
        let before = lake.intruder.read(&key);
        lake.intruder.delete(&key);
        let found = lake.place.etl(&["verify", "--json"]).exits(76).json();
        let findings = found["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((&findings[0]["fault"], &findings[0]["key"]), (&"missing".into(), &key.as_str().into()));
        lake.place.etl(&["replay", "--from-s3"]).exits(0);
        assert_eq!(lake.intruder.read(&key), before);
        lake.place.etl(&["verify", "--deep"]).exits(0);
    }
}

#[test]
fn replay_from_the_store_under_another_configuration_repeats_and_drops_nothing() {
    for compact in [SWAPPED, OTHER, ""] {
        for lake in Lake::each() {
            // What a row of these parts means to the other configuration is another log, which comes now.
            let more: Vec<String> = (0..16).map(|n| log(n, ["/a", "/cart", "/b"][n as usize % 3], "POST")).collect();
            fs::remove_dir_all(lake.place.path("etl-state")).unwrap();
            lake.configure(compact);
            // A store without metadata takes no parts whose dictionaries contradict those that are there.
            let code = if lake.keeps_metadata() { 0 } else { 76 };
            lake.place.etl(&["replay", "--from-s3"]).exits(0);
            lake.place.page("pages/2", &more);
            lake.place.etl(&["run"]).exits(code);
            let all = if code == 0 { [logs(), more].concat() } else { logs() };
            assert_eq!(values(&lake.restore("").exits(0)), expected(&all), "{compact}");
            lake.configure(compact);
            lake.place.etl(&["verify", "--deep"]).exits(0);
            lake.place.etl(&["run"]).exits(code);
            assert_eq!(values(&lake.restore("").exits(0)), expected(&all), "{compact}");
        }
    }
}

#[test]
fn other_logs_that_give_the_same_rows_under_other_dictionaries_are_no_earlier_success() {
    for lake in Lake::each().iter().filter(|lake| lake.keeps_metadata()) {
        let other = [("/checkout", "/a"), ("/cart", "/b"), ("PATCH", "POST"), ("GET", "PUT")];
        let translated = |log: &String| other.iter().fold(log.clone(), |log, (from, to)| log.replace(from, to));
        let more: Vec<String> = logs().iter().map(translated).collect();
        fs::remove_dir_all(lake.place.path("etl-state")).unwrap();
        lake.configure(OTHER);
        lake.place.page("pages/1", &more);
        lake.place.etl(&["run"]).exits(0);
        assert_eq!(values(&lake.restore("").exits(0)), expected(&[logs(), more].concat()));
    }
}

#[test]
fn lake_of_an_older_version_goes_on_and_its_dictionaries_are_stored_with_a_replay() {
    for lake in Lake::each() {
        let key = lake.dictionary();
        lake.intruder.delete(&key);
        fs::remove_dir_all(lake.place.path("etl-state")).unwrap();
        lake.configure(MORE);
        lake.place.page("pages/2", &[log(99, "/login", "PUT")]);
        // The first part of ours is in the way: it is read, and taken over.
        lake.place.etl(&["run"]).exits(0);
        lake.place.etl(&["verify", "--deep"]).exits(0);
        let all = [logs(), vec![log(99, "/login", "PUT")]].concat();
        for compact in ["", OTHER].iter().filter(|_| !lake.keeps_metadata()) {
            assert_eq!(values(&lake.restore(compact).exits(0)), expected(&all), "{compact}");
        }
        lake.configure(MORE);
        lake.place.etl(&["replay", "--from-s3"]).exits(0);
        assert!(!lake.keeps_metadata() || lake.keys("dict/").contains(&key));
        assert_eq!(values(&lake.restore(OTHER).exits(0)), expected(&all));
    }
}

#[test]
fn folder_with_a_copy_is_read_with_the_longest_dictionaries_in_it() {
    for lake in Lake::each() {
        lake.configure(MORE);
        lake.place.page("pages/2", &[log(99, "/login", "PUT")]);
        lake.place.etl(&["run"]).exits(0);
        assert_eq!(lake.keys("dict/").len(), 2);
        let copy = tempfile::tempdir().unwrap();
        lake.copy_to(copy.path());
        let all = expected(&[logs(), vec![log(99, "/login", "PUT")]].concat());
        let from = copy.path().to_str().unwrap();
        for compact in ["", OTHER, SWAPPED, MORE] {
            let elsewhere = Place::new(&format!("[compact]\n{compact}\n"));
            assert_eq!(values(&elsewhere.etl(&["restore", "--from", from]).exits(0)), all, "{compact}");
        }
        // Two sets that contradict each other, of which one may have written any of the parts.
        let stranger = etl::record::row::Codecs::default();
        let name = format!("dict/{}.json", stranger.fingerprint());
        fs::write(copy.path().join(&name), stranger.to_stored().unwrap()).unwrap();
        let ran = Place::new("").etl(&["restore", "--from", from]).exits(76);
        assert!(ran.out.is_empty() && ran.err.contains(&name) && ran.err.contains("contradict"), "{ran:?}");
    }
}

/// The keys of all parts.
fn parts(lake: &Lake) -> BTreeSet<String> {
    lake.keys("data/").into_iter().collect()
}

#[test]
fn no_part_is_uploaded_before_its_dictionaries() {
    let lake = Lake::in_folder();
    lake.configure(FEWER);
    lake.place.page("pages/1", &logs());
    // Nothing can be created there.
    fs::create_dir(lake.place.path("lake")).unwrap();
    fs::write(lake.place.path("lake/dict"), "in the way").unwrap();
    for _ in 0..2 {
        lake.place.etl(&["run"]).exits(74);
        assert_eq!(parts(&lake), BTreeSet::new());
    }
    // What waits was made with the fewer entries, whatever the configuration gains meanwhile.
    let more: String = (10..60).map(|n| format!(", '/{n}' = {n}")).collect();
    lake.configure(&format!("url = {{ '/checkout' = 1{more} }}\nmethod = {{ PATCH = 1 }}"));
    fs::remove_file(lake.place.path("lake/dict")).unwrap();
    lake.place.page("pages/2", &[log(99, "/20", "PATCH")]);
    lake.place.etl(&["run"]).exits(0);
    assert_eq!((parts(&lake).len(), lake.keys("dict/").len()), (5, 2));
    let all = expected(&[logs(), vec![log(99, "/20", "PATCH")]].concat());
    assert_eq!(values(&lake.restore("").exits(0)), all);
}

#[test]
fn something_else_under_the_name_of_the_dictionaries_is_left_alone_and_parts_wait() {
    let stores: Vec<Lake> = s3().iter().map(Lake::in_bucket).chain([Lake::in_folder()]).collect();
    for lake in stores {
        let key = format!("{}dict/{}.json", lake.prefix, etl::record::row::Codecs::default().fingerprint());
        lake.intruder.write(&key, b"something else", None);
        lake.configure("");
        lake.place.page("pages/1", &logs());
        let ran = lake.place.etl(&["run", "--log-format", "text"]).exits(76);
        assert!(ran.err.contains(&key), "{ran:?}");
        assert_eq!(parts(&lake), BTreeSet::new());
        assert_eq!(lake.intruder.read(&key), b"something else");
        lake.intruder.delete(&key);
        lake.place.etl(&["run"]).exits(0);
        assert_eq!(values(&lake.restore(OTHER).exits(0)), expected(&logs()));
    }
}
