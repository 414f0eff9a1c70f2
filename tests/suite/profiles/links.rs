//! Links as GitHub has them: tags that stay unused, and a limit of requests.

use serde_json::{Value, json};

use super::server::Server;
use super::{Truth, profile, second};
use crate::support::api::{Request, reply};
use crate::support::cli::Place;

/// An event as GitHub has them; its id says its place.
fn event(n: u64) -> Value {
    let (id, at) = ((27_664_012_345 + n * 3).to_string(), second(n * 300).to_string());
    match n % 4 {
        0 => json!({"id": id, "type": "WatchEvent", "public": true, "created_at": at}),
        _ => {
            json!({"id": id, "type": "PushEvent", "actor": {"login": "octocat"}, "payload": {"size": n}, "created_at": at})
        }
    }
}

/// Newest first, four a page, each page with a tag of its own.
fn events(request: &Request, newest: &mut u64) -> String {
    assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Bearer s3cret"));
    assert_eq!(request.headers.get("accept").map(String::as_str), Some("application/vnd.github+json"));
    assert_eq!(request.headers.get("if-none-match"), None, "a tag of one page is none of the list's");
    assert_eq!(request.query("per_page").as_deref(), Some("100"));
    let page: u64 = request.query("page").map_or(1, |page| page.parse().unwrap());
    let skipped = (page - 1) * 4;
    let shown: Vec<Value> = (1..=*newest).rev().skip(skipped as usize).take(4).map(event).collect();
    let link = |page: u64, rel: &str| format!("</orgs/acme/events?per_page=100&page={page}>; rel=\"{rel}\"");
    let links = match skipped + 4 < *newest {
        true => format!("Link: {}, {}\r\n", link(1, "prev"), link(page + 1, "next")),
        false => format!("Link: {}\r\n", link(1, "first")),
    };
    reply("200 OK", &format!("ETag: W/\"{page}\"\r\n{links}"), &json!(shown).to_string())
}

fn truth(numbers: std::ops::RangeInclusive<u64>) -> Truth {
    let all: Vec<(u64, Value)> = numbers.map(|n| (n, event(n))).collect();
    Truth::of(all.iter().map(|(n, event)| (second(n * 300), event)))
}

#[test]
fn links_lead_on_through_a_limit_and_a_failure_and_tags_stay_unused() {
    let server = Server::start(22, events);
    let mut place = Place::new("");
    place.configure(&profile("Links as GitHub has them", &[("https://api.example.com", &server.host())]));
    place.set("GITHUB_TOKEN", "s3cret");
    let pages = || server.api.asked_with("page");

    server.trouble(1, reply("502 Server Error", "", "<html>"));
    place.etl(&["run"]).exits(75);
    assert_eq!(pages(), ["-", "2"]);
    // Between two runs the list moves by three: what was on page 2 is on it or on the next.
    server.change(|newest| *newest += 3);
    let limited = "X-RateLimit-Limit: 60\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1800\r\n";
    server.trouble(2, reply("403 rate limit exceeded", limited, "{\"message\": \"API rate limit exceeded\"}"));
    place.etl(&["run"]).exits(75);
    assert_eq!(pages(), ["2", "3", "4"]);
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(pages(), ["4", "5", "6", "7"]);
    // The three that came meanwhile are on the first page of the next poll.
    truth(1..=22).is_in(&place);
    place.etl(&["run", "--drain"]).exits(0);
    truth(1..=25).is_all(&place);
    assert_eq!(place.status()["gaps"], json!([]));
}
