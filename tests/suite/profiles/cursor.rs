//! A JSON API with a cursor, times in milliseconds, and `{since}`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::server::Server;
use super::{Truth, profile, second};
use crate::support::api::{Request, ok, reply};
use crate::support::cli::Place;

/// An event of the second `at`, in one of two shapes.
fn event(seq: u64, at: u64) -> Value {
    let ts = second(at).as_millisecond() + 123;
    match seq % 3 {
        0 => json!({"ts": ts, "kind": {"of": "purchase", "items": [seq, null, 1.5]}, "seq": seq}),
        _ => json!({"seq": seq, "ts": ts, "event": "view", "user": {"id": seq * 7}}),
    }
}

/// The events from `since` on, in the order in which the server has them, five to a page at most.
fn events(request: &Request, events: &[Value]) -> String {
    assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Bearer s3cret"));
    let since: i64 = request.query("since").unwrap().parse().unwrap();
    let limit: usize = request.query("limit").unwrap().parse().unwrap();
    let from: usize = request.query("cursor").map_or(0, |cursor| cursor.trim_start_matches('c').parse().unwrap());
    let wanted: Vec<&Value> = events.iter().filter(|event| event["ts"].as_i64().unwrap() >= since).collect();
    let page: Vec<&&Value> = wanted.iter().skip(from).take(limit).collect();
    let next = if from + page.len() < wanted.len() { json!(format!("c{}", from + page.len())) } else { Value::Null };
    ok(&json!({"data": page, "meta": {"next_cursor": next}}).to_string())
}

fn truth(events: &[Value]) -> Truth {
    Truth::of(events.iter().map(|event| (Timestamp::from_millisecond(event["ts"].as_i64().unwrap()).unwrap(), event)))
}

#[test]
fn json_api_with_a_cursor_brings_each_event_once_whatever_befalls_its_pages() {
    // An event a minute but for two holes; out of order, and some twice.
    let mut all: Vec<Value> = (1..=40).filter(|n| ![17, 30, 31].contains(n)).map(|n| event(n, n * 240)).collect();
    let server = Server::start(all.clone(), |request, all| events(request, all));
    server.change(|events| {
        events.reverse();
        events.swap(3, 20);
        events.insert(9, events[1].clone());
        events.insert(11, events[30].clone());
    });
    let mut place = Place::new("");
    let config =
        profile("A JSON API with a cursor", &[("https://api.example.com", &server.host()), ("size = 500", "size = 5")]);
    place.configure(&config);
    place.set("API_TOKEN", "s3cret");

    // The second page is away, then the fourth is limited, then the cursor has expired.
    server.trouble(1, reply("503 Away", "", "<html>"));
    place.etl(&["run"]).exits(75);
    assert_eq!(server.api.asked_with("cursor"), ["-", "c5"]);
    server.trouble(2, reply("429 Too Many", "Retry-After: 600\r\n", "{}"));
    place.etl(&["run"]).exits(75);
    assert_eq!(server.api.asked_with("cursor"), ["c5", "c10", "c15"]);
    server.trouble(1, reply("410 Gone", "", "{\"error\": \"expired\"}"));
    place.etl(&["run"]).exits(0);
    let asked: Vec<String> =
        ["c15", "c20", "-", "c5", "c10", "c15", "c20", "c25", "c30", "c35"].map(String::from).to_vec();
    assert_eq!(server.api.asked_with("cursor"), asked);
    assert_eq!(place.status()["gaps"], json!([{"from": 17, "to": 17}, {"from": 30, "to": 31}]));

    // What is new, and one that the server shows late, but within the overlap.
    server.change(|events| {
        events.push(event(41, 9_700));
        events.push(event(30, 9_000));
    });
    all.extend([event(41, 9_700), event(30, 9_000)]);
    place.etl(&["run", "--drain"]).exits(0);
    let since = (second(9_600).as_millisecond() + 123 - 15 * 60_000).to_string();
    assert_eq!(server.api.asked_with("since"), [since.clone(), since]);
    assert_eq!(place.status()["gaps"], json!([{"from": 17, "to": 17}, {"from": 31, "to": 31}]));
    truth(&all).is_all(&place);
}
