//! An API behind OAuth 2.0, with an offset and a field that never reaches the lake.

use serde_json::{Value, json};

use super::server::Server;
use super::{Truth, profile, second};
use crate::support::api::{Api, Request, ok, reply};
use crate::support::cli::Place;

/// What the API has.
#[derive(Default)]
struct Audit {
    entries: Vec<Value>,
    /// Tokens that were given so far, and how many answers each is good for.
    given: u64,
    answers_left: u64,
    /// A new entry comes before each page, at the front: what is behind it moves.
    comes_at_the_front: Vec<Value>,
}

fn at(n: u64) -> String {
    second(n * 200).to_zoned(jiff::tz::TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

/// An entry as the API has it.
fn entry(no: u64) -> Value {
    match no % 5 {
        0 => json!({"event": {"no": no, "at": at(no), "system": true}}),
        _ => {
            json!({"event": {"no": no, "at": at(no)}, "actor": {"name": "ann", "email": format!("ann{no}@example.com")}})
        }
    }
}

/// The same as it is kept.
fn kept(no: u64) -> Value {
    let mut entry = entry(no);
    entry.get_mut("actor").and_then(Value::as_object_mut).and_then(|actor| actor.remove("email"));
    entry
}

fn audit(request: &Request, audit: &mut Audit) -> String {
    if request.target.starts_with("/oauth2/token") {
        assert!(request.body.contains("grant_type=client_credentials") && request.body.contains("scope=audit.read"));
        audit.given += 1;
        audit.answers_left = 3;
        return ok(&json!({"access_token": format!("t{}", audit.given), "token_type": "Bearer", "expires_in": 3600})
            .to_string());
    }
    let is_current = request.headers.get("authorization") == Some(&format!("Bearer t{}", audit.given));
    if !is_current || audit.answers_left == 0 {
        return reply("401 Unauthorized", "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n", "{}");
    }
    audit.answers_left -= 1;
    if let Some(new) = audit.comes_at_the_front.pop() {
        audit.entries.insert(0, new);
    }
    let (offset, limit) = (number(request, "offset"), number(request, "limit"));
    let page: Vec<&Value> = audit.entries.iter().skip(offset).take(limit).collect();
    ok(&json!({"result": {"total": audit.entries.len(), "entries": page}}).to_string())
}

fn number(request: &Request, name: &str) -> usize {
    request.query(name).unwrap().parse().unwrap()
}

fn offsets(api: &Api) -> Vec<String> {
    api.asked_with("offset").into_iter().filter(|offset| offset != "-").collect()
}

#[test]
fn oauth_token_that_expires_on_the_way_and_an_offset_that_moves_lose_nothing() {
    let entries: Vec<Value> = (1..=28).filter(|no| *no != 13).rev().map(entry).collect();
    let server = Server::start(Audit { entries, ..Audit::default() }, audit);
    server.change(|audit| audit.comes_at_the_front = vec![entry(30), entry(29)]);
    let mut place = Place::new("");
    let config = profile(
        "OAuth 2.0 and an offset",
        &[
            ("https://api.example.com", &server.host()),
            ("https://login.example.com", &server.host()),
            ("size = 200", "size = 4"),
        ],
    );
    place.configure(&config);
    place.set("AUDIT_CLIENT_SECRET", "s3cret");

    server.trouble(3, reply("500 Oops", "", ""));
    place.etl(&["run"]).exits(75);
    assert_eq!(offsets(&server.api), ["0", "4", "8"]);
    // A run of its own gets a token of its own, which is good for three pages.
    place.etl(&["run"]).exits(0);
    assert_eq!(offsets(&server.api), ["8", "12", "16", "20", "20", "24", "28"]);
    assert_eq!(server.state.lock().unwrap().given, 3);
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(place.status()["gaps"], json!([{"from": 13, "to": 13}]));

    let all: Vec<(u64, Value)> = (1..=30).filter(|no| *no != 13).map(|no| (no, kept(no))).collect();
    let truth = Truth::of(all.iter().map(|(no, entry)| (second(no * 200), entry)));
    truth.is_all(&place);
    // The same entries with other addresses are the same records.
    server.change(|audit| {
        audit.entries.iter_mut().for_each(|entry| {
            if let Some(actor) = entry.get_mut("actor") {
                actor["email"] = json!("other@example.com");
            }
        })
    });
    truth.is_all(&place);
}
