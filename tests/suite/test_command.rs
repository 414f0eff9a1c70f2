//! `etl test`: saved pages become the same lines on every day, and what differs from what is expected is shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::cli::{Place, Ran, record};

/// A place without anything that could be asked over the network, and with two saved pages that share a record.
fn saved() -> Place {
    let place = Place::new("[source]\nurl = \"http://127.0.0.1:9/never-asked\"\n[load]\nto = \"s3://never-asked/\"\n");
    place.page("saved/1.json", &[record(1, "2023-03-10T01:00:00Z"), "no record".to_owned()]);
    place.page("saved/2.json", &[record(1, "2023-03-10T01:00:00Z"), record(2, "2399-03-10T02:00:00Z")]);
    place
}

fn test(place: &Place, more: &[&str]) -> Ran {
    place.etl(&[&["test", "--pages", "saved/*.json"][..], more].concat())
}

#[test]
fn each_record_is_a_line_with_its_hour_and_nothing_is_made() {
    let place = saved();
    let ran = test(&place, &[]).exits(65);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("2023-03-10T01 {\"user_id\":") && lines[0].contains("\"record_id\":1"), "{ran:#?}");
    assert!(lines[1].starts_with("2399-03-10T02 {") && lines[1].contains("\"record_id\":2"), "{ran:#?}");
    assert_eq!(lines[2..], ["again 1", "quarantined not-a-record 1"]);
    assert_eq!(ran.err, "");
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 2, "no state, no lake");
    assert_eq!(test(&place, &[]).out, ran.out);
    // As a shell hands the names over, in any order, and one of them twice.
    let named = place.etl(&["test", "--pages", "saved/2.json", "saved/1.json", "saved/2.json"]).exits(65);
    assert_eq!(named.out, ran.out);
}

#[test]
fn lines_are_those_that_a_run_stores() {
    let place = Place::new("[source]\nurl = \"file:saved/*.json\"\n[load]\nto = \"file:lake\"\n");
    place.page("saved/1.json", &[record(1, "2023-03-10T01:00:00Z"), record(2, "2023-03-10T01:00:01Z")]);
    let ran = place.etl(&["test"]).exits(0);
    place.etl(&["run"]).exits(0);
    let stored: Vec<String> = place.lake("lake").into_iter().flat_map(|(_, lines)| lines).collect();
    let tested: Vec<&str> = ran.out.lines().filter_map(|line| line.strip_prefix("2023-03-10T01 ")).collect();
    assert_eq!(tested, stored);
}

#[test]
fn what_is_expected_is_written_and_what_differs_from_it_is_shown() {
    let place = saved();
    let said = test(&place, &["--expect", "expected", "--write"]).exits(0);
    assert_eq!(said.out, "expected is written: 2 records of 2 hours; 1 quarantined; 0 files or pages refused\n");
    assert_eq!(fs::metadata(place.path("expected")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(test(&place, &["--expect", "expected"]).exits(0).out.starts_with("as expected: 2 records"));

    place.page("saved/2.json", &[record(1, "2023-03-10T01:00:00Z"), record(3, "2399-03-10T02:00:00Z")]);
    let differs = test(&place, &["--expect", "expected"]).exits(76);
    let signs: Vec<&str> = differs.out.lines().map(|line| &line[..1]).collect();
    assert_eq!(signs, ["@", "-", "+"], "{differs:#?}");
    assert!(differs.out.starts_with("@@ line 2 @@\n- 2399-03-10T02 {") && differs.out.contains("\"record_id\":3"));
    assert!(differs.err.contains("do not become what expected expects"), "{differs:#?}");

    // What a person noted at its head stays.
    let text = fs::read_to_string(place.path("expected")).unwrap();
    let noted = text.replacen("# What", "# Mine. What", 1);
    fs::write(place.path("expected"), noted).unwrap();
    test(&place, &["--expect", "expected", "--write"]).exits(0);
    test(&place, &["--expect", "expected"]).exits(0);
    assert!(fs::read_to_string(place.path("expected")).unwrap().starts_with("# Mine. What"));
}

#[test]
fn file_of_something_else_is_not_replaced() {
    let place = saved();
    fs::write(place.path("notes"), "2023-03-10T01 was a Friday\n").unwrap();
    let refused = test(&place, &["--expect", "notes", "--write"]).exits(2);
    assert!(refused.err.contains("is not replaced"), "{refused:#?}");
    assert_eq!(fs::read_to_string(place.path("notes")).unwrap(), "2023-03-10T01 was a Friday\n");
    let refused = test(&place, &["--expect", "gone"]).exits(2);
    assert!(refused.err.contains("gone") && refused.err.contains("--write"), "{refused:#?}");
    test(&place, &["--write"]).exits(2);
}

#[test]
fn file_that_is_no_page_costs_only_itself_and_is_named() {
    let place = saved();
    fs::write(place.path("saved/0.json"), "{\"error\": \"s3cret\"}").unwrap();
    fs::write(place.path("saved/1b.json"), "[{\"token\": \"s3cret\"}]").unwrap();
    let ran = test(&place, &[]).exits(65);
    let odd: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("not a page")).collect();
    assert_eq!(odd, ["not a page: 0.json", "not a page: 1b.json"], "{ran:#?}");
    assert_eq!(ran.out.lines().filter(|line| line.contains(" {")).count(), 2);
    assert!(ran.err.contains("saved/1b.json is not a page") && ran.err.contains("source.token"), "{ran:#?}");
    assert!(!ran.err.contains("s3cret") && !ran.out.contains("s3cret"), "{ran:#?}");
}

#[test]
fn pages_have_to_be_named_and_to_be_there() {
    let place = saved();
    for args in [&["test"][..], &["test", "--pages", "gone/*.json"], &["test", "--pages", "saved/***"]] {
        let refused = place.etl(args).exits(2);
        assert!(refused.err.contains("saved/*.json"), "{refused:#?}");
    }
}

#[test]
fn elements_without_a_token_count_each() {
    let place = saved();
    let key = &place.key;
    let token = fernet::Fernet::new(key).unwrap().encrypt(record(9, "2023-03-10T01:00:00Z").as_bytes());
    let odd = "{\"x\":1},".repeat(5000);
    fs::write(place.path("saved/3.json"), format!("[{odd}{{\"data\":\"{token}\"}}]")).unwrap();
    let different: String = (0..5000).map(|n| format!("{{\"x\":{n}}},")).collect();
    fs::write(place.path("saved/4.json"), format!("[{different}{{\"data\":\"{token}\"}}]")).unwrap();
    let ran = test(&place, &[]).exits(65);
    assert!(ran.out.ends_with("again 2\nquarantined no-token 10000\nquarantined not-a-record 1\n"), "{}", ran.out);
}
