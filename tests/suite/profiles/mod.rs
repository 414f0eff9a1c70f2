//! The profiles of the manual, as they stand there, against servers that have each of their faults: every record once, in its hour, and
//! back as it was.
//!
//! Planted bugs that turn these red: an interrupted trail that begins with its first page again (`cursor`, `links`, `oauth`, `search`), a
//! list of which only the first page is asked for (`random`).

mod cursor;
mod dump;
mod links;
mod oauth;
mod origin;
mod random;
mod schema;
mod search;
mod server;
mod shape;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::support::cli::Place;
use crate::support::documents::{blocks, page};

/// The configuration of the profile under a heading, with what is of the test's in place of what is shown. Whatever is to be replaced has
/// to stand there.
#[track_caller]
fn profile(heading: &str, filled: &[(&str, &str)]) -> String {
    let page = page("profiles");
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let found = blocks(section.split("\n## ").next().unwrap(), "toml");
    let [found] = &found[..] else { panic!("one configuration under {heading}: {found:?}") };
    let to = found.lines().find(|line| line.starts_with("to = ")).unwrap().to_owned();
    let ours = [(to.as_str(), "to = \"file:lake\""), ("[source]\n", "[source]\nretries = 0\ntimeout = \"5s\"\n")];
    filled.iter().chain(&ours).fold(found.clone(), |text, (shown, real)| {
        assert!(text.contains(shown), "{shown}: {text}");
        text.replace(shown, real)
    })
}

/// What a server had: each distinct record as it should come back, by its hour.
#[derive(Debug, Default, Clone)]
struct Truth {
    hours: BTreeMap<String, BTreeSet<String>>,
}

impl Truth {
    /// Records with their times, in hours of UTC.
    fn of<'a>(records: impl IntoIterator<Item = (Timestamp, &'a Value)>) -> Self {
        let mut truth = Self::default();
        records.into_iter().for_each(|(at, record)| truth.add(at, record, &TimeZone::UTC));
        truth
    }

    fn add(&mut self, at: Timestamp, record: &Value, zone: &TimeZone) {
        let hour = at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H").to_string();
        self.hours.entry(hour).or_default().insert(record.to_string());
    }

    /// Checks that the lake has exactly this, each record once, in its hour, with its fields in their order.
    #[track_caller]
    fn is_in(&self, place: &Place) {
        let mut lines = BTreeMap::<String, usize>::new();
        for (key, found) in place.lake("lake") {
            *lines.entry(hour_of(&key)).or_default() += found.len();
        }
        assert_eq!(lines, self.hours.iter().map(|(hour, records)| (hour.clone(), records.len())).collect());
        let mut restored = restored(place).into_iter();
        for (hour, records) in &self.hours {
            let found: BTreeSet<String> = restored.by_ref().take(records.len()).collect();
            assert_eq!(&found, records, "{hour}");
        }
        assert_eq!(restored.next(), None);
        place.etl(&["verify", "--deep"]).exits(0);
    }

    /// Checks the same, and that another run adds nothing.
    #[track_caller]
    fn is_all(&self, place: &Place) {
        self.is_in(place);
        let before = place.lake("lake");
        let again = place.etl(&["run", "--drain", "--json"]).exits(0).json();
        assert_eq!((&again["new"], &again["quarantined"]), (&json!(0), &json!(0)), "{again}");
        assert!(place.lake("lake") == before, "another run adds nothing");
        assert_eq!(place.status()["rejected"]["count"], 0);
    }
}

/// The hour of a part: `data/2023_y/03_m/10_d/01_h/…` is 2023-03-10T01.
fn hour_of(key: &str) -> String {
    let numbers: Vec<&str> = key.split('/').filter_map(|folder| Some(folder.rsplit_once('_')?.0)).collect();
    let [year, month, day, hour] = numbers[..] else { panic!("{key}") };
    format!("{year}-{month}-{day}T{hour}")
}

/// What is restored, hour by hour, as it is spelled.
#[track_caller]
fn restored(place: &Place) -> Vec<String> {
    let ran = place.etl(&["restore"]).exits(0);
    ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap().to_string()).collect()
}

/// The time of the second number `n` after midnight on 10 March 2023.
fn second(n: u64) -> Timestamp {
    Timestamp::from_second(1_678_406_400 + i64::try_from(n).unwrap()).unwrap()
}
