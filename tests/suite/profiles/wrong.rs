//! Pointers that are wrong, and pages that change their shape in mid life: the message names the pointer and what stands there, and what
//! came waits on this machine, although the server has forgotten it, until the configuration is mended.

use serde_json::{Value, json};

use super::server::Server;
use super::{Truth, profile, second};
use crate::support::api::{Request, ok};
use crate::support::cli::{Place, Ran};

/// An API with a cursor: its records, how many are on a page, and what it calls the array.
struct Api {
    events: Vec<Value>,
    called: &'static str,
}

fn event(n: u64) -> Value {
    json!({"seq": n, "ts": second(n * 240).as_millisecond(), "event": "s3cret"})
}

fn truth(numbers: std::ops::RangeInclusive<u64>) -> Truth {
    let all: Vec<(u64, Value)> = numbers.map(|n| (n, event(n))).collect();
    Truth::of(all.iter().map(|(n, event)| (second(n * 240), event)))
}

fn events(request: &Request, api: &mut Api) -> String {
    let from: usize = request.query("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let page: Vec<&Value> = api.events.iter().skip(from).take(5).collect();
    let next = if from + 5 < api.events.len() { json!(from + 5) } else { Value::Null };
    ok(&json!({api.called: page, "meta": {"next_cursor": next}}).to_string())
}

fn server(numbers: std::ops::RangeInclusive<u64>) -> Server<Api> {
    Server::start(Api { events: numbers.map(event).collect(), called: "data" }, events)
}

/// The profile of a JSON API with these changes.
fn configure(place: &Place, server: &Server<Api>, changed: &[(&str, &str)]) {
    let ours = [("https://api.example.com", server.host()), ("size = 500", "size = 5".into())];
    let ours: Vec<(&str, &str)> = ours.iter().map(|(shown, real)| (*shown, real.as_str())).collect();
    place.configure(&profile("A JSON API with a cursor", &[&ours, changed].concat()));
}

fn place() -> Place {
    let mut place = Place::new("");
    place.set("API_TOKEN", "t");
    place
}

/// Checks that a run said all of that, and no value.
#[track_caller]
fn said(ran: &Ran, told: &[&str]) {
    let err = ran.err.replace("\\\"", "\"");
    told.iter().for_each(|told| assert!(err.contains(told), "{told}: {err}"));
    assert!(!err.contains("s3cret"), "{err}");
}

#[test]
fn pages_that_change_their_shape_wait_for_the_mended_pointer_and_nothing_is_lost_meanwhile() {
    let (place, server) = (place(), server(1..=12));
    configure(&place, &server, &[]);
    place.etl(&["run"]).exits(0);
    // The service is made anew: what it gave out so is gone from it afterwards.
    server.change(|api| *api = Api { events: (13..=31).map(event).collect(), called: "entries" });
    let ran = place.etl(&["run"]).exits(75);
    said(&ran, &["source.items is \"/data\"", "has \"entries\", \"meta\"", "set source.items = \"/entries\""]);
    let since = server.api.asked_with("since").pop();
    assert_eq!(place.status()["rejected"]["count"], 4, "all pages wait");
    server.change(|api| api.events = (32..=35).map(event).collect());

    configure(&place, &server, &[("items = \"/data\"", "items = \"/entries\"")]);
    let replayed = place.etl(&["replay", "--rejected", "--json"]).exits(0).json();
    assert_eq!((&replayed["reread"], &replayed["new"]), (&json!(4), &json!(19)), "{replayed}");
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(server.api.asked_with("since").pop(), since, "what was set aside was asked for again");
    truth(1..=35).is_all(&place);
    assert_eq!(place.status()["gaps"], json!([]));
}

#[test]
fn wrong_place_of_the_time_keeps_the_records_until_it_is_mended() {
    for (shown, wrong, told) in [
        ("time = \"/ts\"", "time = \"/meta/at\"", "\"/meta/at\" leads nowhere"),
        ("time_format = \"epoch-ms\"", "time_format = \"%Y-%m-%d\"", "record.time_format is \"%Y-%m-%d\""),
    ] {
        let (place, server) = (place(), server(1..=12));
        configure(&place, &server, &[(shown, wrong)]);
        place.etl(&["run"]).exits(65);
        let tokens = place.etl(&["quarantine", "export", "--out", "-"]).exits(0).out.replace("\\\"", "\"");
        assert!(tokens.contains(told), "{tokens}");
        server.change(|api| api.events.clear());
        configure(&place, &server, &[]);
        place.etl(&["replay", "--quarantine"]).exits(0);
        place.etl(&["run", "--drain"]).exits(0);
        truth(1..=12).is_all(&place);
    }
}

#[test]
fn wrong_place_of_the_cursor_is_told_at_a_full_page() {
    let (place, server) = (place(), server(1..=12));
    configure(&place, &server, &[("next = \"/meta/next_cursor\"", "next = \"/meta/after\"")]);
    let ran = place.etl(&["run"]).exits(0);
    said(&ran, &["a full page, and nothing at source.paging.next (\"/meta/after\")", "\"next_cursor\""]);
    configure(&place, &server, &[]);
    place.etl(&["run", "--drain"]).exits(0);
    truth(1..=12).is_all(&place);
}

#[test]
fn wrong_place_of_the_token_sets_pages_aside_and_they_come_back() {
    let (place, server) = (place(), server(1..=12));
    configure(
        &place,
        &server,
        &[("token = \"\"", "token = \"/body\""), ("encryption = \"none\"", "encryption = \"fernet\"")],
    );
    let ran = place.etl(&["run"]).exits(75);
    said(&ran, &["source.token", "\"/body\"", "\"event\", \"seq\", \"ts\""]);
    server.change(|api| api.events.clear());
    configure(&place, &server, &[]);
    place.etl(&["replay", "--rejected"]).exits(0);
    place.etl(&["run", "--drain"]).exits(0);
    truth(1..=12).is_all(&place);
}
