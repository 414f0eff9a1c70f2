//! What a record is, by configuration: other sources' logs end to end, each once, in the right hour, and back as they came.

use std::fs;

use serde_json::Value;

use crate::support::cli::Place;

/// `[record]` and `[compact]` of a source whose logs are nested, with an epoch time.
const NESTED: &str = "[record]\ntime = \"/meta/at\"\ntime_format = \"epoch-ms\"\nid = \"/meta/seq\"\n\
                      [compact]\ntrace = \"hex\"\nkind = { click = 1, view = 2 }\n";

fn nested(n: u64) -> String {
    let at = 1_678_413_600_000 + n * 1000;
    format!(
        "{{'meta': {{'at': {at}, 'seq': {n}}}, 'trace': '{:032x}', 'kind': '{}', 'inDate': 'no time', 'kind_raw': None}}",
        n * 7919,
        ["click", "view", "other"][n as usize % 3]
    )
}

fn place(record: &str) -> Place {
    let place = Place::new("");
    configure(&place, record);
    place
}

fn configure(place: &Place, record: &str) {
    place.configure(&format!("[source]\nurl = \"file:pages/*\"\n[load]\nto = \"file:lake\"\n{record}"));
}

/// The originals of a lake, in order.
fn restored(place: &Place) -> Vec<Value> {
    let ran = place.etl(&["restore"]).exits(0);
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn nested_logs_with_an_epoch_time_come_back_as_they_were() {
    let place = place(NESTED);
    place.page("pages/1", &(1..=5).map(nested).collect::<Vec<_>>());
    place.page("pages/2", &(4..=9).map(nested).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    let logs = restored(&place);
    assert_eq!(logs.iter().map(|log| log["meta"]["seq"].as_u64().unwrap()).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    assert_eq!((&logs[0]["kind"], &logs[1]["kind"], &logs[2]["kind"]), (&"view".into(), &"other".into(), &"click".into()));
    assert!(logs.iter().all(|log| log["inDate"] == "no time" && log["kind_raw"].is_null()));
    let hour = place.path("lake/data/2023_y/03_m/10_d/02_h/part-00000.ndjson.gz");
    let lines = crate::support::cli::gunzip(&fs::read(hour).unwrap());
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["kind"], first["trace"].as_str().unwrap().len()), (&2.into(), 22));
    place.etl(&["verify", "--deep"]).exits(0);
    // Parts say what they are read with: not what is configured by now.
    let elsewhere = Place::new(NESTED);
    fs::remove_dir_all(elsewhere.path("lake")).ok();
    place.etl(&["replay", "--from-s3"]).exits(0);
    assert_eq!(restored(&place), logs);
}
