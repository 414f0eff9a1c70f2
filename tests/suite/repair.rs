//! What `verify` finds is remembered until it is mended, each finding says how, and `etl repair` does it.
//!
//! Planted bugs that turn these red: content that is not the ledger's put back (`…whatever…`); a number used again after its part was given
//! up (`…state_that_is_new`); the hour cut again at once (`…after_an_hour`).

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::form::{ZSTD, form, in_form};
use crate::support::origin::{Answer, Origin};

/// The lake's key of an hour's part.
fn key(hour: u32, part: u32) -> String {
    form().key(&format!("data/2023_y/03_m/10_d/{hour:02}_h/part-{part:05}.ndjson.gz"))
}

/// A lake with a part for each of three hours, and two of the first.
fn three_hours(more: &str) -> Place {
    let place = Place::new(&format!("[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n{more}"));
    let logs: Vec<String> = (0..9).map(|n| record(n, &format!("2023-03-10T0{}:00:0{n}.000Z", 1 + n % 3))).collect();
    place.page("pages/1.json", &logs);
    place.etl(&["run"]).exits(0);
    place.page("pages/2.json", &[record(9, "2023-03-10T01:30:00.000Z")]);
    place.etl(&["run"]).exits(0);
    place
}

fn last_verify(place: &Place) -> Value {
    place.status()["last_verify"].clone()
}

#[test]
fn last_verification_is_remembered_with_what_to_do_until_it_is_mended() {
    let place = three_hours("");
    assert_eq!(last_verify(&place), Value::Null);
    place.etl(&["verify"]).exits(0);
    let well = last_verify(&place);
    assert_eq!((&well["found"], &well["left"], &well["deep"]), (&0.into(), &0.into(), &false.into()));
    assert_eq!(well["objects"], 5, "four parts and their dictionaries");
    let lost = std::fs::read(place.path("lake").join(key(2, 0))).unwrap();
    std::fs::remove_file(place.path("lake").join(key(2, 0))).unwrap();
    std::fs::copy(place.path("lake").join(key(1, 1)), place.path("lake").join(key(1, 2))).unwrap();
    let ran = place.etl(&["verify"]).exits(76);
    assert!(ran.out.contains("etl repair --accept-loss 2023-03-10T02"), "{ran:?}");
    place.etl(&["run"]).exits(0);
    let found = last_verify(&place);
    assert_eq!((&found["found"], &found["left"]), (&2.into(), &2.into()), "a run does not take it back");
    let faults: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|finding| finding["fault"].as_str().unwrap()).collect();
    assert_eq!(faults, ["missing", "foreign"]);
    assert!(found["findings"].as_array().unwrap().iter().all(|finding| finding["hint"].as_str().unwrap().len() > 20));
    std::fs::write(place.path("lake").join(key(2, 0)), lost).unwrap();
    std::fs::remove_file(place.path("lake").join(key(1, 2))).unwrap();
    place.etl(&["verify"]).exits(0);
    assert_eq!(last_verify(&place)["left"], 0);
}

#[test]
fn part_that_an_import_reads_back_is_no_longer_left() {
    let place = three_hours("");
    let lost = std::fs::read(place.path("lake").join(key(2, 0))).unwrap();
    std::fs::remove_file(place.path("lake").join(key(2, 0))).unwrap();
    place.etl(&["verify"]).exits(76);
    std::fs::write(place.path("lake").join(key(2, 0)), lost).unwrap();
    for array in std::fs::read_dir(place.path("etl-state/hashes")).unwrap() {
        std::fs::write(array.unwrap().path(), "damaged").unwrap();
    }
    place.etl(&["replay", "--from-s3"]).exits(0);
    assert_eq!(last_verify(&place)["left"], 0);
}

/// Deletes a part, and gives its bytes.
fn delete(place: &Place, key: &str) -> Vec<u8> {
    let path = place.path("lake").join(key);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

/// Repairs a part that is gone: first it is only said from where, then done, and all is well.
#[track_caller]
fn is_put_back(place: &Place, key: &str, args: &[&str], from: &str) {
    let lost = delete(place, key);
    place.etl(&["verify"]).exits(76);
    let args = [&["repair"], args].concat();
    let tried = place.etl(&[&args[..], &["--dry-run", "--json"]].concat()).exits(0).json();
    assert!(tried["repaired"][0]["from"].as_str().unwrap().contains(from), "{tried}");
    assert!(!place.path("lake").join(key).exists(), "it was only looked at");
    let done = place.etl(&args).exits(0);
    assert!(done.out.contains(key) && done.out.contains(from), "{done:?}");
    assert_eq!(std::fs::read(place.path("lake").join(key)).unwrap(), lost);
    assert_eq!(last_verify(place)["left"], 0);
    place.etl(&["verify", "--deep"]).exits(0);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(from, to).unwrap();
}

#[test]
fn missing_part_is_put_back_from_whatever_has_its_records() {
    let place = three_hours("[archive]\ndir = \"kept\"\n");
    is_put_back(&place, &key(2, 0), &[], "the archive");
    is_put_back(&place, &key(1, 1), &[], "the archive");
    place.etl(&["restore", "--out", "originals"]).exits(0);
    std::fs::remove_dir_all(place.path("kept")).unwrap();
    is_put_back(&place, &key(1, 0), &["--from", "originals"], "2023-03-10T01.ndjson");
    copy(&place.path("lake").join(key(3, 0)), &place.path("other").join(key(3, 0)));
    is_put_back(&place, &key(3, 0), &["--from", "other"], &format!("part-00000{} in", form().suffix));
    copy(&place.path("lake").join(key(2, 0)), &place.path("heap/deep/any-name").with_extension(form().extension));
    is_put_back(&place, &key(2, 0), &["--from", "heap"], "any-name.");
    assert!(place.etl(&["repair"]).exits(0).out.starts_with("nothing to repair"));
}

#[test]
fn missing_part_in_zstd_is_put_back_from_whatever_has_its_records() {
    in_form(ZSTD, missing_part_is_put_back_from_whatever_has_its_records);
}

#[test]
fn missing_part_is_put_back_from_a_page_that_another_hour_still_needs() {
    let now = jiff::Timestamp::now();
    let origin = Origin::start(vec![]);
    let place = Place::new(&format!(
        "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n",
        origin.url
    ));
    let logs =
        [record(1, "2023-03-10T01:00:01.000Z"), record(2, "2023-03-10T01:00:02.000Z"), record(3, &now.to_string())];
    origin.script(vec![Answer::Page(page(&place.key, &logs)), Answer::Page("[]".into())]);
    place.etl(&["run"]).exits(0);
    is_put_back(&place, &key(1, 0), &[], "the journal");
}

#[test]
fn what_no_source_has_is_left_and_nothing_else_is_put_in_its_place() {
    let place = three_hours("[archive]\ndir = \"kept\"\n");
    delete(&place, &key(2, 0));
    // Its originals are another part's, and so is what has its key elsewhere.
    copy(
        &place.path("kept/2023-03-10T03.part-00000.ndjson.gz"),
        &place.path("kept/2023-03-10T02.part-00000.ndjson.gz"),
    );
    copy(&place.path("lake").join(key(3, 0)), &place.path("other").join(key(2, 0)));
    let ran = place.etl(&["repair", "--from", "other"]).exits(76);
    assert!(ran.err.contains("etl repair --accept-loss 2023-03-10T02") && ran.out.contains("left"), "{ran:?}");
    assert!(!place.path("lake").join(key(2, 0)).exists());
    // What somebody else put there is not touched.
    std::fs::write(place.path("lake").join(key(2, 0)), "theirs").unwrap();
    let ran = place.etl(&["repair"]).exits(76);
    assert!(ran.out.contains("move it away"), "{ran:?}");
    assert_eq!(std::fs::read(place.path("lake").join(key(2, 0))).unwrap(), b"theirs");
}

/// An hour whose hashes are forgotten, of which the first part is gone.
struct Lost {
    place: Place,
    origin: Origin,
}

impl Lost {
    fn new(more: &str) -> Self {
        let origin = Origin::start(vec![]);
        let place = Place::new(&format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\ndedup_window = \"0s\"\n[load]\nto = \"file:lake\"\n{more}",
            origin.url
        ));
        let made = Self { place, origin };
        made.run(&[old(1), old(2)], 0);
        made.run(&[old(3)], 0);
        made.run(&[record(10, "2023-02-01T01:00:00.000Z")], 0);
        delete(&made.place, OLD);
        made
    }

    fn run(&self, logs: &[String], code: i32) -> Ran {
        self.origin.script(vec![Answer::Page(page(&self.place.key, logs)), Answer::Page("[]".into())]);
        self.place.etl(&["run"]).exits(code)
    }

    /// The ids in the old hour, part by part.
    fn ids(&self) -> Vec<(u32, Vec<u64>)> {
        let id = |line: &String| serde_json::from_str::<Value>(line).unwrap()["record_id"].as_u64().unwrap();
        let parts = self.place.lake("lake").into_iter().filter(|(key, _)| key.contains("2023_y/01_m"));
        parts
            .map(|(key, lines)| (key[key.len() - 15..key.len() - 10].parse().unwrap(), lines.iter().map(id).collect()))
            .collect()
    }
}

const OLD: &str = "data/2023_y/01_m/01_d/01_h/part-00000.ndjson.gz";

fn old(id: u64) -> String {
    record(id, &format!("2023-01-01T01:00:0{}.000Z", id % 10))
}

#[test]
fn loss_is_said_in_the_store_and_taken_by_a_state_that_is_new() {
    let world = Lost::new("");
    let place = &world.place;
    let ran = world.run(&[old(3), old(7)], 76);
    assert!(ran.err.contains("etl repair --accept-loss 2023-01-01T01"), "{ran:?}");
    assert_eq!(place.status()["parked"]["count"], 2);
    place.etl(&["repair", "--accept-loss", "2023-01-01T01..2023-01-01T05"]).exits(0);
    let said = std::fs::read_to_string(place.path("lake/expired/2023_y/01_m/01_d/01_h/part-00000.json")).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["rows"], &said["key"]), (&2.into(), &OLD.into()));
    assert!(said["content_sha256"].as_str().unwrap().len() == 64 && said["at"].is_string());
    // What waited comes in; what was lost may come again; what the other part has is known.
    world.run(&[old(1), old(3)], 0);
    assert_eq!(world.ids(), [(1, vec![3]), (2, vec![1, 7])]);
    assert_eq!(place.status()["parked"]["count"], 0);
    place.etl(&["verify", "--deep"]).exits(0);
    let restored = place.etl(&["restore", "--hour", "2023-01-01T01"]).exits(0);
    assert!(restored.out.lines().count() == 3 && restored.err.contains("1 part is gone for good"), "{restored:?}");
    let certificate = place.etl(&["status", "--hour", "2023-01-01T01"]);
    assert!(
        certificate.out.contains(": incomplete\n") && certificate.out.contains("1 part of it is gone for good"),
        "{certificate:?}"
    );
    // Nothing of it is known any more but what the store says.
    std::fs::remove_dir_all(place.path("etl-state")).unwrap();
    place.etl(&["replay", "--from-s3"]).exits(0);
    place.etl(&["verify", "--deep"]).exits(0);
    world.run(&[old(2), old(7)], 0);
    assert_eq!(world.ids(), [(1, vec![3]), (2, vec![1, 7]), (3, vec![2])]);
    std::fs::remove_dir_all(place.path("etl-state")).unwrap();
    // One that meets it part by part does not use the number again.
    world.run(&[old(1), old(8)], 0);
    assert_eq!(world.ids(), [(1, vec![3]), (2, vec![1, 7]), (3, vec![2]), (4, vec![8])]);
    place.etl(&["replay", "--from-s3"]).exits(0);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn part_that_is_there_again_after_it_was_given_up_is_named() {
    let place = three_hours("");
    let lost = delete(&place, &key(2, 0));
    place.etl(&["repair", "--accept-loss", "2023-03-10T02"]).exits(0);
    place.etl(&["verify"]).exits(0);
    std::fs::write(place.path("lake").join(key(2, 0)), lost).unwrap();
    let ran = place.etl(&["verify"]).exits(76);
    assert!(ran.out.contains("given up for good, and is there again"), "{ran:?}");
}

#[test]
fn nothing_is_given_up_that_is_there_or_while_nothing_is_there_at_all() {
    let place = three_hours("");
    let ran = place.etl(&["repair", "--accept-loss", "2023-03-10T01..2023-03-10T03"]).exits(0);
    assert!(ran.out.starts_with("nothing was given up"), "{ran:?}");
    std::fs::rename(place.path("lake"), place.path("unmounted")).unwrap();
    let ran = place.etl(&["repair", "--accept-loss", "2023-03-10T01..2023-03-10T03"]).exits(76);
    assert!(ran.err.contains("is it mounted"), "{ran:?}");
    assert!(!place.path("lake").exists());
    std::fs::rename(place.path("unmounted"), place.path("lake")).unwrap();
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn what_a_lifecycle_rule_deletes_is_expired_and_keeps_nobody_waiting() {
    let world = Lost::new("");
    world.place.etl(&["verify"]).exits(76);
    let config = std::fs::read_to_string(world.place.path("etl.toml")).unwrap();
    world.place.configure(&config.replace("[load]\n", "[load]\nexpire_after = \"90d\"\n"));
    world.place.etl(&["verify"]).exits(76);
    world.place.configure(&config.replace("[load]\n", "[load]\nexpire_after = \"1ms\"\n"));
    let ran = world.place.etl(&["verify", "--json"]).exits(0);
    assert_eq!(ran.json()["expired"], 1);
    world.run(&[old(1), old(3), old(7)], 0);
    assert_eq!(world.ids(), [(1, vec![3]), (2, vec![1, 7])]);
    world.place.configure(&config);
    world.place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn part_that_is_never_taken_is_cut_again_after_an_hour() {
    let origin = Origin::start(vec![]);
    let config = format!(
        "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n",
        origin.url
    );
    let place = Place::new(&config);
    let run = |logs: &[String], code: i32| {
        origin.script(vec![Answer::Page(page(&place.key, logs)), Answer::Page("[]".into())]);
        place.etl(&["run"]).exits(code)
    };
    run(&[record(1, "2023-03-10T01:00:01.000Z")], 0);
    let folder = place.path("lake/data/2023_y/03_m/10_d/02_h");
    std::fs::write(&folder, "in the way").unwrap();
    run(&[record(2, "2023-03-10T02:00:02.000Z"), record(3, "2023-03-10T02:00:03.000Z")], 74);
    std::fs::remove_file(&folder).unwrap();
    place.configure(&format!("{config}part_max_records = 1\n"));
    let said = place.etl(&["repair", "--recut", "2023-03-10T02"]).exits(0);
    assert!(said.out.contains("left alone until"), "{said:?}");
    run(&[], 0);
    assert!(!folder.exists(), "a PUT may still land");
    let noted: PathBuf = place.path("etl-state/recut.json");
    let body = br#"{"2023-03-10T02":"2023-03-11T00:00:00Z"}"#;
    std::fs::write(&noted, etl::state::files::checked::with_checksum(body)).unwrap();
    run(&[record(3, "2023-03-10T02:00:03.000Z")], 0);
    let parts: Vec<usize> =
        place.lake("lake").into_iter().filter(|(key, _)| key.contains("02_h")).map(|(_, lines)| lines.len()).collect();
    assert_eq!(parts, [1, 1]);
    assert!(!noted.exists());
    place.etl(&["verify", "--deep"]).exits(0);
    let said = place.etl(&["repair", "--recut", "2023-03-10T02"]).exits(0);
    assert!(said.out.contains("nothing to cut again"), "{said:?}");
}
