//! What `verify` finds is remembered until it is mended, and each finding says how.

use serde_json::Value;

use crate::support::cli::{Place, record};

/// The lake's key of an hour's part.
fn key(hour: u32, part: u32) -> String {
    format!("data/2023_y/03_m/10_d/{hour:02}_h/part-{part:05}.ndjson.gz")
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
