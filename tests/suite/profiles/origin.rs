//! The origin's own service: a window of the newest logs, encrypted, in new tokens every time.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::server::Server;
use super::{Truth, profile, second};
use crate::support::api::{ok, reply};
use crate::support::cli::{Place, page, record};

/// A log as the service writes it: one in seven is JSON, and has other fields.
fn log(n: u64) -> String {
    let at = second(n * 60).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    match n % 7 {
        0 => json!({"inDate": at, "record_id": n, "extra": {"list": [1, [2]], "none": null}}).to_string(),
        _ => record(n, &at),
    }
}

fn value(n: u64) -> Value {
    serde_json::from_str(&log(n).replace('\'', "\"")).unwrap()
}

/// Whether the service lost a log.
const fn is_lost(n: u64) -> bool {
    matches!(n, 55 | 101 | 102)
}

#[test]
fn origin_is_polled_through_its_faults_with_each_log_once_in_its_hour_in_seoul() {
    let mut place = Place::new("");
    let key = place.key.clone();
    let server = Server::start(0_u64, move |_, newest| {
        // The window of fifty, in no order, with one of them twice.
        let mut logs: Vec<String> =
            (newest.saturating_sub(49)..=*newest).filter(|n| *n > 0 && !is_lost(*n)).map(log).collect();
        logs.reverse();
        logs.rotate_left(7);
        logs.push(logs[0].clone());
        ok(&page(&key, &logs))
    });
    let address = format!("{}/api/data/log", server.host());
    place.configure(&profile("The origin", &[("https://api.example.com/api/data/log", &address)]));
    let poll = |newest: u64, code: i32| {
        server.change(|now| *now = newest);
        place.etl(&["run"]).exits(code);
    };
    poll(40, 0);
    server.trouble(0, reply("502 Bad Gateway", "Content-Type: text/html\r\n", "<html>"));
    poll(60, 75);
    let short = ok(&page(&place.key, &[log(70)]));
    server.trouble(0, short[..short.len() - 20].to_owned());
    poll(70, 75);
    poll(80, 0);
    poll(110, 0);
    poll(110, 0);
    assert_eq!(place.status()["gaps"], json!([{"from": 55, "to": 55}, {"from": 101, "to": 102}]));
    // A wrong key costs nothing: the page waits for the right one.
    let right = place.key.clone();
    place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    server.change(|newest| *newest = 130);
    place.etl(&["run"]).exits(77);
    place.set("FERNET_KEY", &right);
    server.change(|newest| *newest = 150);
    place.etl(&["run", "--drain"]).exits(0);
    let mut truth = Truth::default();
    let zone = TimeZone::get("Asia/Seoul").unwrap();
    (1..=150).filter(|n| !is_lost(*n)).for_each(|n| truth.add(second(n * 60), &value(n), &zone));
    truth.is_all(&place);
}
