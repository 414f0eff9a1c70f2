//! A state directory that has everything in it, and copies of it to break.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cli::{Place, Ran, page, record};
use super::form::within;
use super::origin::{Answer, Origin};

/// Hours that are sealed and uploaded, two records each: more than the ledger's head keeps.
const OLD_HOURS: u64 = 80;

/// A place with pending records, parts that wait for a store, pages of another key, quarantined tokens and a long ledger.
pub struct Everything {
    /// The place, as it was left.
    pub place: Place,
    /// Its state directory at two earlier times, oldest first.
    pub earlier: Vec<tempfile::TempDir>,
    /// A key that the runs so far did not have.
    pub other_key: String,
    /// The record ids that were received.
    pub ids: BTreeSet<u64>,
    /// Answers with nothing.
    pub quiet: Origin,
    /// Answers with every record once more.
    pub again: Origin,
}

/// Two records in the hour number `n`.
fn hour_of(n: u64, ids: [u64; 2]) -> Vec<String> {
    let (day, hour) = (1 + n / 24, n % 24);
    ids.iter().map(|id| record(*id, &format!("2023-03-{day:02}T{hour:02}:10:00.{:03}Z", id % 1000))).collect()
}

impl Everything {
    pub fn build() -> Self {
        let (quiet, again) = (Origin::start(vec![Answer::Page("[]".into())]), Origin::start(vec![]));
        let place = Place::in_memory(&config(&quiet));
        let other_key = fernet::Fernet::generate_key();
        let mut all = Vec::new();
        let mut earlier = Vec::new();
        let mut run = |args: &[&str], key: &str, records: Vec<String>, odd: &str, code: i32| {
            let text = page(key, &records);
            quiet.script(vec![Answer::Page(text.replacen('[', &format!("[{odd}"), 1)), Answer::Page("[]".into())]);
            all.extend(records);
            place.etl(args).exits(code);
        };
        let old = (0..OLD_HOURS).flat_map(|n| hour_of(n, [2 * n, 2 * n + 1])).collect();
        run(&["run", "--drain"], &place.key, old, "", 0);
        let late = [3, 70].into_iter().flat_map(|n| hour_of(n, [1000 + 2 * n, 1001 + 2 * n])).collect();
        run(&["run", "--drain"], &place.key, late, "", 0);
        earlier.push(copied(&place));
        // The store is down: parts wait in the spool.
        fs::rename(place.path("lake"), place.path("lake.away")).unwrap();
        fs::write(place.path("lake"), "in the way").unwrap();
        let sealing = [4, 71, 90].into_iter().flat_map(|n| hour_of(n, [2000 + 2 * n, 2001 + 2 * n])).collect();
        run(&["run", "--drain"], &place.key, sealing, "", 74);
        earlier.push(copied(&place));
        // Records that wait for their fellows, and tokens that are no record.
        let pending = [5, 71, 72, 91].into_iter().flat_map(|n| hour_of(n, [3000 + 2 * n, 3001 + 2 * n])).collect();
        run(&["run"], &place.key, pending, "{\"data\":\"no token\"},{\"no\":1},", 74);
        let odd = vec!["{'record_id': 1}".to_owned(), record(9, "2999-01-01T00:00:00.000Z")];
        quiet.script(vec![Answer::Page(page(&place.key, &odd)), Answer::Page("[]".into())]);
        place.etl(&["run"]).exits(74);
        let locked = [6, 71, 92].into_iter().flat_map(|n| hour_of(n, [4000 + 2 * n, 4001 + 2 * n])).collect();
        run(&["run"], &other_key, locked, "", 74);
        fs::remove_file(place.path("lake")).unwrap();
        fs::rename(place.path("lake.away"), place.path("lake")).unwrap();
        again.script(vec![Answer::Page(page(&place.key, &all))]);
        let ids = all.iter().map(|text| id_of(text)).collect();
        Self { place, earlier, other_key, ids, quiet, again }
    }

    /// A copy to break, with the reserve left out: it means nothing and is large.
    pub fn copy(&self) -> Place {
        let mut copy = within(self.place.form, || Place::in_memory(&config(&self.quiet)));
        copy.key.clone_from(&self.place.key);
        copy.set("FERNET_KEY", &self.place.key);
        for name in ["etl-state", "lake"] {
            copy_dir(&self.place.path(name), &copy.path(name));
        }
        copy
    }

    /// Makes the source of `place` say everything once more.
    pub fn say_again(&self, place: &Place) {
        place.configure(&config(&self.again));
    }

    /// Every file of the state directory, relative to it.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        list(&self.place.path("etl-state"), Path::new(""), &mut files);
        files.sort();
        files
    }
}

/// The configuration of every place here, with this source.
pub fn config(origin: &Origin) -> String {
    format!(
        "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"24h\"\n[load]\nto = \"file:lake\"\n",
        origin.url
    )
}

fn id_of(record: &str) -> u64 {
    let (_, rest) = record.split_once("'record_id': ").unwrap();
    rest.split_once(',').unwrap().0.parse().unwrap()
}

fn copied(place: &Place) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&place.path("etl-state"), copy.path());
    copy
}

fn list(dir: &Path, below: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        if entry.path().is_dir() { list(&entry.path(), &name, files) } else { files.push(name) }
    }
}

/// Copies a directory with all that is below it, but for the reserve.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if entry.file_name() != "reserve" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How often each record id is in the lake.
pub fn in_lake(place: &Place) -> BTreeMap<u64, u32> {
    let mut seen = BTreeMap::new();
    for (_, lines) in place.lake("lake") {
        for line in lines {
            let value: Value = serde_json::from_str(&line).unwrap();
            *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
        }
    }
    seen
}

/// Checks that a run, however it ended, is no bug and hides nothing.
#[track_caller]
pub fn sane(what: &str, ran: &Ran) {
    assert!([0, 65, 74, 75, 76, 77].contains(&ran.code), "{what}: {ran:#?}");
    assert!(!ran.err.contains("panicked"), "{what}: {ran:#?}");
    if ran.code == 74 {
        assert!(ran.err.contains("hint"), "{what}: no way out: {ran:#?}");
    }
}
