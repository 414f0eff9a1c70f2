//! A source that fails in all its ways, and keys that are wrong.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const AT: &str = "2023-03-10T01:00:00.000Z";

fn place(origin: &Origin) -> Place {
    Place::new(&config(origin, ""))
}

fn config(origin: &Origin, source: &str) -> String {
    let url = &origin.url;
    format!(
        "[source]\nurl = \"{url}\"\ntimeout = \"2s\"\nretries = 0\n{source}\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n"
    )
}

#[test]
fn source_that_is_down_loses_nothing_and_the_next_run_goes_on() {
    let origin = Origin::start(vec![Answer::Status(502, String::new())]);
    let place = place(&origin);
    let html = "<html><body>502 Bad Gateway</body></html>".to_owned();
    let whole = page(&place.key, &[record(1, AT)]);
    for (answer, says) in [
        (Answer::Status(502, html.clone()), "502"),
        (Answer::Page(html), "HTML"),
        (Answer::Cut(whole.clone()), ""),
        (Answer::Page(whole[..whole.len() - 20].to_owned()), ""),
    ] {
        origin.script(vec![answer.clone()]);
        let ran = place.etl(&["run"]).exits(75);
        assert!(
            ran.err.contains(&origin.url) && ran.err.to_lowercase().contains(&says.to_lowercase()),
            "{answer:?}: {}",
            ran.err
        );
        assert_eq!(place.status()["last_run"]["exit"], 75);
        assert_eq!(place.status()["journal"]["pages"], 0);
    }
    origin.script(vec![Answer::Page(whole)]);
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 1);
}

#[test]
fn connection_refused_is_unavailable() {
    let origin = Origin::start(vec![]);
    let place = place(&origin);
    place.configure(&config(&origin, "").replace(&origin.url, "http://127.0.0.1:1/x?token=SECRET"));
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("http://127.0.0.1:1/x") && !ran.err.contains("SECRET"), "{}", ran.err);
}

#[test]
fn stall_ends_at_the_time_out() {
    let origin = Origin::start(vec![Answer::Stall(Duration::from_secs(10))]);
    let place = place(&origin);
    let started = Instant::now();
    place.etl(&["run"]).exits(75);
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[test]
fn closed_hours_are_sealed_while_the_source_is_down() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&config(&origin, "").replace("0s", "1h"));
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, AT)]))]);
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["pending"], 1, "late records wait for their fellows");
    place.configure(&config(&origin, ""));
    origin.script(vec![Answer::Status(504, String::new())]);
    place.etl(&["run"]).exits(75);
    assert_eq!(place.status()["totals"]["uploaded"], 1);
}

#[test]
fn wrong_key_leaves_the_pages_in_the_journal_until_the_right_one_comes() {
    let origin = Origin::start(vec![]);
    let mut place = place(&origin);
    let right = place.key.clone();
    origin.script(vec![
        Answer::Page(page(&right, &[record(1, AT), record(2, AT)])),
        Answer::Page(page(&right, &[record(3, AT)])),
        Answer::Page("[]".to_owned()),
    ]);
    place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    for pages in [1, 2] {
        let ran = place.etl(&["run"]).exits(77);
        assert!(!ran.err.contains(&right), "no key in the log");
        let status = place.status();
        assert_eq!(
            (&status["journal"]["pages"], &status["journal"]["uncommitted"]),
            (&Value::from(pages), &Value::from(pages))
        );
        assert_eq!(status["quarantine"]["count"], 0);
    }
    place.set("FERNET_KEY", &right);
    let summary = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&summary["new"], &summary["uploaded_records"]), (&Value::from(3), &Value::from(3)));
    assert_eq!(place.status()["journal"]["pages"], 0);
}

#[test]
fn token_of_another_key_is_quarantined_once_and_recovered_with_its_key() {
    let origin = Origin::start(vec![]);
    let mut place = place(&origin);
    let other = fernet::Fernet::generate_key();
    let good = page(&place.key, &[record(1, AT)]);
    let foreign = page(&other, &[record(2, AT)]);
    let mixed = format!("{},{}", &good[..good.len() - 1], &foreign[1..]);
    origin.script(vec![Answer::Page(mixed)]);
    let first = place.etl(&["run", "--json"]).exits(65).json();
    assert_eq!((&first["new"], &first["quarantined"]), (&Value::from(1), &Value::from(1)));
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["quarantine"]["count"], 1);
    let ring = format!("{},{other}", place.key);
    place.set("FERNET_KEY", &ring);
    let recovered = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&recovered["recovered"], &recovered["new"]), (&Value::from(1), &Value::from(1)));
    let status = place.status();
    assert_eq!((&status["quarantine"]["count"], &status["totals"]["uploaded"]), (&Value::from(0), &Value::from(2)));
}

#[test]
fn body_that_is_no_page_is_set_aside() {
    let origin = Origin::start(vec![Answer::Page("[{\"x\": 1}, 2]".to_owned())]);
    let place = place(&origin);
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("rejected"), "{}", ran.err);
    assert_eq!(place.status()["journal"]["pages"], 0);
}

#[test]
fn source_that_refuses_the_credentials_is_77() {
    let origin = Origin::start(vec![Answer::Status(401, String::new())]);
    let mut place = place(&origin);
    place.configure(&config(&origin, "headers = { Authorization = \"env:API_TOKEN\" }"));
    place.set("API_TOKEN", "Bearer hidden-thing");
    let ran = place.etl(&["run"]).exits(77);
    assert!(!ran.err.contains("hidden-thing"));
}

#[test]
fn second_run_at_once_is_told_that_one_is_at_work() {
    let origin = Origin::start(vec![Answer::Stall(Duration::from_secs(4))]);
    let place = place(&origin);
    place.configure(&config(&origin, "").replace("\"2s\"", "\"30s\""));
    let mut first = place.spawn(&["run"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while place.status()["running"] != true {
        assert!(Instant::now() < deadline, "the first run never started");
    }
    place.etl(&["run"]).exits(11);
    assert_eq!(first.wait().unwrap().code(), Some(75));
    assert_eq!(place.status()["running"], false);
}

#[test]
fn recovered_token_is_parked_while_the_hashes_of_its_hour_are_not_at_hand() {
    let origin = Origin::start(vec![]);
    let mut place = place(&origin);
    place.configure(&config(&origin, "").replace("[hours]", "[hours]\ndedup_window = \"0s\""));
    let (first, second) = (place.key.clone(), fernet::Fernet::generate_key());
    let odd = page(&second, &[record(2, AT)]);
    let both = page(&first, &[record(1, AT)]).replace(']', &format!(",{}", &odd[1..]));
    origin.script(vec![Answer::Page(both), Answer::Page("[]".into())]);
    place.etl(&["run"]).exits(65);

    let (lake, away) = (place.path("lake"), place.path("away"));
    std::fs::rename(&lake, &away).unwrap();
    place.set("FERNET_KEY", &format!("{second},{first}"));
    // Said once.
    for code in [76, 0] {
        place.etl(&["run"]).exits(code);
        let status = place.status();
        let held = [&status["quarantine"]["count"], &status["parked"]["count"], &status["journal"]["pages"]];
        assert_eq!(held, [&Value::from(0), &Value::from(1), &Value::from(0)]);
    }
    std::fs::rename(&away, &lake).unwrap();
    assert_eq!(place.etl(&["replay", "--json"]).exits(0).json()["recovered"], 1);
    let status = place.status();
    assert_eq!((&status["parked"]["count"], &status["totals"]["uploaded"]), (&Value::from(0), &Value::from(2)));
}
