//! `etl quarantine`: what is in it can be counted, taken away, and let go; nothing goes by accident.

use serde_json::{Value, json};

use crate::support::cli::{Place, record};

const CONFIG: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

/// A place after a run over three records, two elements without a token, and a text that is not a record.
fn place() -> Place {
    let place = Place::new(CONFIG);
    let mut texts: Vec<String> = (1..=3).map(|id| record(id, "2023-03-10T01:00:00.000Z")).collect();
    texts.push("[1, 2]".to_owned());
    place.page("pages/1.json", &texts);
    let path = place.path("pages/1.json");
    let mut page: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    page.extend([json!({"data": 5}), json!({"other": 6})]);
    std::fs::write(&path, serde_json::to_vec(&page).unwrap()).unwrap();
    place.etl(&["run"]).exits(65);
    place
}

fn reasons(place: &Place) -> Vec<(String, u64)> {
    let listing = place.etl(&["quarantine", "list", "--json"]).exits(0).json();
    let reasons = listing["reasons"].as_array().unwrap();
    reasons.iter().map(|r| (r["reason"].as_str().unwrap().to_owned(), r["count"].as_u64().unwrap())).collect()
}

fn token_length(line: &str) -> usize {
    serde_json::from_str::<Value>(line).unwrap()["token"].as_str().unwrap().len()
}

#[test]
fn tokens_are_counted_by_reason() {
    let place = place();
    assert_eq!(reasons(&place), [("no-token".to_owned(), 2), ("not-a-record".to_owned(), 1)]);
    let shown = place.etl(&["quarantine", "list"]).exits(0);
    assert!(shown.out.contains("no-token           2") && shown.out.contains("3 tokens, "), "{}", shown.out);
    let listing = place.etl(&["quarantine", "list", "--json"]).exits(0).json();
    let bytes: usize = place.etl(&["quarantine", "export"]).exits(0).out.lines().map(token_length).sum();
    assert_eq!((&listing["count"], &listing["bytes"]), (&3.into(), &bytes.into()));
    assert_eq!(shown.err, "");
    assert_eq!(Place::new(CONFIG).etl(&["quarantine", "list"]).exits(0).out, "the quarantine is empty\n");
}

#[test]
fn exported_tokens_are_those_that_came_and_stay() {
    let place = place();
    let page: Vec<Value> = serde_json::from_slice(&std::fs::read(place.path("pages/1.json")).unwrap()).unwrap();
    let out = place.etl(&["quarantine", "export", "--reason", "not-a-record"]).exits(0).out;
    let line: Value = serde_json::from_str(out.trim_end()).unwrap();
    assert_eq!(line["token"], page[3]["data"]);
    place.etl(&["quarantine", "export", "--out", "tokens.ndjson"]).exits(0);
    assert_eq!(std::fs::read_to_string(place.path("tokens.ndjson")).unwrap().lines().count(), 3);
    let again = place.etl(&["quarantine", "export", "--out", "tokens.ndjson"]).exits(74);
    assert!(again.err.contains("tokens.ndjson") && again.err.contains("nothing is overwritten"), "{}", again.err);
    assert_eq!(reasons(&place).len(), 2);
}

#[test]
fn what_is_inside_is_shown_to_a_person_or_written_into_a_private_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let refused = place.etl(&["quarantine", "show"]).exits(2);
    assert!(refused.err.contains("--out") && !refused.err.contains("[1, 2]"), "{}", refused.err);
    assert_eq!(refused.out, "");
    place.page("pages/2.json", &["no \u{1b}[31m record \u{9b} é😀".to_owned()]);
    let mut page = std::fs::read(place.path("pages/2.json")).unwrap();
    page.splice(1..1, b"{\"x\":\"\xff\"},".iter().copied());
    std::fs::write(place.path("pages/2.json"), page).unwrap();
    place.etl(&["run"]).exits(65);
    place.etl(&["quarantine", "show", "--out", "inside.ndjson"]).exits(0);
    let text = std::fs::read_to_string(place.path("inside.ndjson")).unwrap();
    assert!(text.lines().all(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte))), "{text}");
    let inside: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let plain: Vec<&Value> = inside.iter().map(|line| &line["plaintext"]).collect();
    let (none, second) = (Value::Null, json!("no \u{1b}[31m record \u{9b} é😀"));
    assert_eq!(plain, [&json!("[1, 2]"), &none, &none, &none, &second]);
    let mode = std::fs::metadata(place.path("inside.ndjson")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn dropping_needs_a_yes_and_takes_only_its_reason() {
    let place = place();
    let refused = place.etl(&["quarantine", "drop", "--reason", "no-token"]).exits(2);
    assert!(refused.err.contains("--yes"), "{}", refused.err);
    let unknown = place.etl(&["quarantine", "drop", "--reason", "no-tokens", "--yes"]).exits(2);
    assert!(unknown.err.contains("no-token, not-a-record"), "{}", unknown.err);
    assert_eq!(reasons(&place).len(), 2, "nothing went");

    let dropped = place.etl(&["quarantine", "drop", "--reason", "no-token", "--yes"]).exits(0);
    assert_eq!(dropped.out, "2 tokens with the reason no-token dropped\n");
    assert_eq!(reasons(&place), [("not-a-record".to_owned(), 1)]);
    assert_eq!(place.status()["quarantine"]["count"], 1);
    place.etl(&["quarantine", "drop", "--reason", "not-a-record", "--yes"]).exits(0);
    assert_eq!(reasons(&place), []);
    // The next start misses none of them.
    let replay = place.etl(&["replay"]).exits(0);
    assert_eq!(replay.err, "");
}

#[test]
fn dropping_waits_for_no_run() {
    let place = place();
    let _lock = etl::state::Lock::take(&place.path("etl-state")).unwrap();
    place.etl(&["quarantine", "drop", "--reason", "no-token", "--yes"]).exits(11);
    assert_eq!(reasons(&place).len(), 2);
}

#[test]
fn examples_of_the_manual_work_as_they_stand() {
    let page = include_str!("../../src/docs/sources.md");
    let place = place();
    let lines = page.lines().filter(|line| line.starts_with("etl quarantine ")).map(|line| line.split('#').next());
    for line in lines.map(Option::unwrap) {
        place.etl(&line.split_whitespace().skip(1).collect::<Vec<_>>()).exits(0);
    }
    assert_eq!(reasons(&place), [("no-token".to_owned(), 2)]);
}
