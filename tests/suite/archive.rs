//! The archive against the store: each difference is named, and equal is equal line by line.

use serde_json::Value;

use crate::support::cli::{Place, Ran, record};
use crate::support::form::{ZSTD, form, in_form};
use crate::support::intruder::Intruder;

const CONFIG: &str =
    "[source]\nurl = \"file:pages/*\"\n[load]\nto = \"file:lake\"\npart_max_records = 2\n[archive]\ndir = \"kept\"\n";

/// Three hours with two parts each, and a copy of each part in the archive.
fn filled() -> (Place, Intruder) {
    let place = Place::new(CONFIG);
    let log = |n: u64| record(n, &format!("2023-03-10T{:02}:00:{:02}.000Z", n / 10, n));
    place.page("pages/1", &(10..14).chain(20..24).chain(30..34).map(log).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    let lake = Intruder::Lake(place.path("lake"));
    (place, lake)
}

fn key(hour: u64, part: u64) -> String {
    form().key(&format!("data/2023_y/03_m/10_d/{hour:02}_h/part-{part:05}.ndjson.gz"))
}

/// What the comparison found, as fault and key.
fn findings(ran: Ran) -> Vec<(String, String)> {
    let found = ran.exits(76).json()["archive"]["findings"].clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found.as_array().unwrap().iter().map(|one| (text(&one["fault"]), text(&one["key"]))).collect()
}

#[test]
fn store_that_is_as_it_was_equals_the_archive() {
    let (place, _) = filled();
    let ran = place.etl(&["verify", "--archive"]).exits(0);
    let expected = "6 archived parts compared, 12 logs equal in the store: all as the archive has them\n";
    assert!(ran.out.ends_with(expected), "{ran:?}");
    assert!(ran.out.starts_with("6 parts of 3 hours with 12 records looked at: all as the ledger says\n"), "{ran:?}");
    // With the state lost, the archive alone tells.
    let alone = place.etl(&["verify", "--archive", "--state-dir", "nowhere"]).exits(0);
    assert_eq!(alone.out, expected);
    place.configure(&CONFIG.replace("kept", ""));
    place.etl(&["verify", "--archive"]).exits(78);
    place.configure(&CONFIG.replace("kept", "no-such"));
    place.etl(&["verify", "--archive"]).exits(74);
}

#[test]
fn every_difference_is_named_with_and_without_a_ledger() {
    let (place, lake) = filled();
    lake.delete(&key(1, 0));
    let mut broken = lake.read(&key(1, 1));
    broken.truncate(40);
    lake.write(&key(1, 1), &broken, None);
    // Parts that are sound, of the right hour, and others.
    let swapped = [lake.read(&key(2, 0)), lake.read(&key(2, 1))];
    lake.write(&key(2, 0), &swapped[1], None);
    lake.write(&key(2, 1), &swapped[0], None);
    let kept = place.path("kept/2023-03-10T03.part-00001.ndjson.gz");
    let mut bytes = std::fs::read(&kept).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&kept, bytes).unwrap();
    let expected = [
        ("missing", key(1, 0)),
        ("changed", key(1, 1)),
        ("changed", key(2, 0)),
        ("changed", key(2, 1)),
        ("changed", key(3, 1)),
    ]
    .map(|(fault, key)| (fault.to_owned(), key));
    assert_eq!(findings(place.etl(&["verify", "--archive", "--json"])), expected);
    assert_eq!(findings(place.etl(&["verify", "--archive", "--json", "--state-dir", "nowhere"])), expected);
    let told = place.etl(&["verify", "--archive"]).exits(76).out;
    assert!(told.contains("2023-03-10T01.part-00000.ndjson.gz") && told.ends_with("5 differences\n"), "{told}");
}

#[test]
fn archive_of_parts_in_zstd_is_compared_alike() {
    in_form(ZSTD, store_that_is_as_it_was_equals_the_archive);
    in_form(ZSTD, every_difference_is_named_with_and_without_a_ledger);
    in_form(ZSTD, manifest_tells_a_lake_s_part_from_another_sound_one_without_any_state);
}

#[test]
fn manifest_tells_a_lake_s_part_from_another_sound_one_without_any_state() {
    let place = Place::new(&CONFIG.replace("[archive]", "manifest = true\n[archive]"));
    let log = |n: u64| record(n, &format!("2023-03-10T01:00:{n:02}.000Z"));
    place.page("pages/1", &(10..14).map(log).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    let lake = Intruder::Lake(place.path("lake"));
    lake.write(&key(1, 1), &lake.read(&key(1, 0)), None);
    let ran = place.etl(&["restore", "--from", "lake"]).exits(76);
    assert!(
        ran.out.lines().count() == 2 && ran.err.contains("its manifest says that its content is another"),
        "{ran:?}"
    );
}
