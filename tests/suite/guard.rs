//! Settings that move records are guarded against the store as well as in the state; and a backfill leaves a live state's open hours open.
//!
//! Planted bugs that turn these red: the store not asked (`…another_zone…`), asked before the fetch (`…received_before…`), a failed look
//! taken for "not there" (`…no_absence`), open hours drained (`…leaves_open_hours…`).

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};

const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n";
const LAKE: &str = "[load]\nto = \"file:lake\"\n";

/// A lake with a part, made in UTC.
fn made() -> Place {
    let place = Place::new(&format!("{FILES}{LAKE}"));
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    place.etl(&["run"]).exits(0);
    place
}

/// A run of a new state over the same lake.
fn anew(place: &Place, config: &str, code: i32) -> Ran {
    let _ = std::fs::remove_dir_all(place.path("etl-state"));
    place.configure(config);
    place.page("pages/1.json", &[record(2, "2023-03-10T02:00:00.000Z")]);
    place.etl(&["run"]).exits(code)
}

#[test]
fn new_state_under_another_zone_or_layout_is_stopped_before_its_first_part() {
    for seen_by in ["settings.json", "a part"] {
        for (config, setting) in [
            (format!("{FILES}[hours]\ntimezone = \"Asia/Seoul\"\n{LAKE}"), "hours.timezone"),
            (format!("{FILES}{LAKE}layout = \"hive\"\n"), "load.layout"),
            (format!("{FILES}{LAKE}compression = \"zstd\"\n"), "load.compression"),
        ] {
            let place = made();
            assert_eq!(
                std::fs::read_to_string(place.path("lake/settings.json")).unwrap(),
                "{\"schema\":1,\"timezone\":\"UTC\",\"layout\":\"{year}_y/{month}_m/{day}_d/{hour}_h\",\
                 \"format\":\"ndjson\",\"compression\":\"gzip\"}\n"
            );
            if seen_by == "a part" {
                std::fs::remove_file(place.path("lake/settings.json")).unwrap();
            }
            let ran = anew(&place, &config, 78);
            assert!(ran.err.contains(setting) && ran.err.contains("another prefix"), "{seen_by}: {ran:?}");
            assert_eq!(place.lake("lake").len(), 1, "nothing was sent");
            assert_eq!(place.status()["totals"]["pending"], 1, "and nothing is lost");
            let ran = place.etl(&["replay", "--from-s3"]).exits(78);
            assert!(ran.err.contains(setting), "{ran:?}");
        }
    }
}

#[test]
fn new_state_under_the_same_settings_goes_on_and_an_older_lake_gets_the_object() {
    let place = made();
    std::fs::remove_file(place.path("lake/settings.json")).unwrap();
    anew(&place, &format!("{FILES}{LAKE}"), 0);
    assert_eq!(place.lake("lake").len(), 2);
    assert!(place.path("lake/settings.json").exists());
    place.etl(&["replay", "--from-s3"]).exits(0);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn state_goes_on_with_the_compression_that_it_began_with() {
    let place = made();
    let config = format!("{FILES}{LAKE}compression = \"zstd\"\n");
    place.configure(&config);
    let ran = place.etl(&["run"]).exits(78);
    for said in ["load.compression", "gzip", "zstd", "another prefix", "etl export"] {
        assert!(ran.err.contains(said), "{said}: {ran:?}");
    }
    // What is only looked at goes by the ledger.
    place.etl(&["verify", "--deep"]).exits(0);
    // A new state in a place of its own takes it, and then keeps it.
    std::fs::remove_dir_all(place.path("etl-state")).unwrap();
    place.configure(&config.replace("file:lake", "file:another"));
    place.etl(&["run"]).exits(0);
    assert!(place.path("another/data/2023_y/03_m/10_d/01_h/part-00000.ndjson.zst").exists());
    place.etl(&["verify", "--deep"]).exits(0);
    place.configure(&format!("{FILES}{}", LAKE.replace("file:lake", "file:another")));
    place.etl(&["run"]).exits(78);
}

#[test]
fn part_in_another_form_is_a_stranger_and_no_part_of_its_hour() {
    let place = made();
    let other = "data/2023_y/03_m/10_d/01_h/part-00001.ndjson.zst";
    let lines = place.lake("lake").remove(0).1.join("\n").replace("00001", "00007") + "\n";
    std::fs::write(place.path("lake").join(other), zstd::stream::encode_all(lines.as_bytes(), 3).unwrap()).unwrap();
    let found = place.etl(&["verify", "--json"]).exits(76).json();
    assert_eq!((&found["findings"][0]["fault"], &found["findings"][0]["key"]), (&"foreign".into(), &other.into()));
    assert!(found["findings"][0]["detail"].as_str().unwrap().contains("another format"), "{found}");
    assert_eq!(place.etl(&["restore"]).exits(0).out.lines().count(), 1);
    std::fs::remove_dir_all(place.path("etl-state")).unwrap();
    place.etl(&["replay", "--from-s3"]).exits(0);
    assert_eq!(place.status()["totals"]["parts"], 1);
}

#[test]
fn settings_that_cannot_be_read_are_no_absence() {
    let place = made();
    std::fs::write(place.path("lake/settings.json"), "garbage").unwrap();
    let ran = anew(&place, &format!("{FILES}{LAKE}"), 76);
    assert!(ran.err.contains("settings.json"), "{ran:?}");
    assert_eq!(place.lake("lake").len(), 1);
    assert_eq!(std::fs::read_to_string(place.path("lake/settings.json")).unwrap(), "garbage");
}

/// `etl.toml` for a live source.
fn live(url: &str, more: &str) -> String {
    format!("[source]\nurl = \"{url}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n{more}{LAKE}")
}

#[test]
fn page_is_received_before_the_store_says_that_it_is_under_other_settings() {
    let place = made();
    let origin = Origin::start(vec![]);
    std::fs::remove_dir_all(place.path("etl-state")).unwrap();
    place.configure(&live(&origin.url, "timezone = \"Asia/Seoul\"\n"));
    origin.script(vec![Answer::Page(page(&place.key, &[record(3, "2023-03-10T03:00:00.000Z")]))]);
    place.etl(&["run"]).exits(78);
    assert_eq!(place.status()["totals"]["pending"], 1);
}

#[test]
fn another_address_of_the_source_is_said_once_and_names_both_without_their_secrets() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&live(&format!("{}?token=s3cret", origin.url), ""));
    let run = |code: i32| {
        origin.script(vec![Answer::Page("[]".into())]);
        place.etl(&["run"]).exits(code)
    };
    assert_eq!(run(0).err, "");
    let other = origin.url.replace("127.0.0.1", "localhost");
    place.configure(&live(&format!("{other}?token=s3cret"), ""));
    let said = run(0).err;
    assert!(said.contains(&origin.url) && said.contains(&other) && !said.contains("s3cret"), "{said}");
    assert_eq!(run(0).err, "");
}

#[test]
fn backfill_into_a_live_state_leaves_open_hours_open_but_for_a_drain() {
    let now = jiff::Timestamp::now();
    let origin = Origin::start(vec![]);
    let place = Place::new(&live(&origin.url, ""));
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, &now.to_string())]))]);
    place.etl(&["run"]).exits(0);
    place.page("pages/1.json", &[record(2, "2023-03-10T01:00:00.000Z"), record(3, &now.to_string())]);
    place.configure(&format!("{FILES}{LAKE}"));
    place.etl(&["run"]).exits(0);
    assert_eq!(place.lake("lake").len(), 1, "the hour that is over");
    assert_eq!(place.status()["totals"]["pending"], 2);
    place.etl(&["replay"]).exits(0);
    assert_eq!(place.status()["totals"]["pending"], 2);
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!((place.lake("lake").len(), place.status()["totals"]["pending"].clone()), (2, 0.into()));
}
