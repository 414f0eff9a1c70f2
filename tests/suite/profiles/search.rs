//! A search that is asked by POST: `search_after`, and `{since}` in the body.

use serde_json::{Value, json};

use super::server::Server;
use super::{Truth, profile, second};
use crate::support::api::{Request, ok, reply};
use crate::support::cli::Place;

fn document(n: u64) -> Value {
    let at = second(n * 150).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    match n % 2 {
        0 => json!({"@timestamp": at, "seq": n, "message": format!("a \"quoted\" {n} ü")}),
        _ => json!({"seq": n, "host": {"name": "h", "ip": ["10.0.0.1"]}, "@timestamp": at}),
    }
}

/// The hits from the range on, behind the `sort` that was sent, in order.
fn hits(request: &Request, documents: &[Value]) -> String {
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/logs-app/_search"));
    assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Basic ZXRsOnMzY3JldA=="));
    let asked = request.json();
    let since = asked["query"]["range"]["@timestamp"]["gte"].as_str().unwrap().to_owned();
    let sort =
        |document: &Value| (document["@timestamp"].as_str().unwrap().to_owned(), document["seq"].as_u64().unwrap());
    let after =
        asked.get("search_after").map(|after| (after[0].as_str().unwrap().to_owned(), after[1].as_u64().unwrap()));
    let mut found: Vec<&Value> = documents.iter().filter(|document| sort(document).0 >= since).collect();
    found.sort_by_key(|document| sort(document));
    let found = found.into_iter().filter(|document| after.as_ref().is_none_or(|after| sort(document) > *after));
    let hits: Vec<Value> = found
        .take(asked["size"].as_u64().unwrap() as usize)
        .map(|document| json!({"_id": format!("i{}", document["seq"]), "_source": document, "sort": sort(document)}))
        .collect();
    ok(&json!({"took": 3, "hits": {"total": {"value": documents.len()}, "hits": hits}}).to_string())
}

fn truth(numbers: impl IntoIterator<Item = u64>) -> Truth {
    let all: Vec<(u64, Value)> = numbers.into_iter().map(|n| (n, document(n))).collect();
    Truth::of(all.iter().map(|(n, document)| (second(n * 150), document)))
}

#[test]
fn search_after_leads_through_all_hits_and_since_asks_for_the_rest() {
    let server = Server::start((1..=30).map(document).collect::<Vec<_>>(), |request, all| hits(request, all));
    let mut place = Place::new("");
    let config = profile(
        "A search that is asked by POST",
        &[
            ("https://search.example.com", &server.host()),
            ("\"size\": 500", "\"size\": 4"),
            ("size = 500", "size = 4"),
            ("/hits/hits/499/sort", "/hits/hits/3/sort"),
        ],
    );
    place.configure(&config);
    place.set("SEARCH_PASSWORD", "s3cret");
    let after = || -> Vec<Value> {
        server.api.take_asked().iter().map(|asked| asked.json()["search_after"][1].clone()).collect()
    };

    server.trouble(2, reply("503 Away", "", "{\"error\": {\"type\": \"circuit_breaking_exception\"}}"));
    place.etl(&["run"]).exits(75);
    assert_eq!(after(), [Value::Null, json!(4), json!(8)]);
    // An answer in words is no page, and no end.
    server.trouble(1, ok("{\"error\": {\"type\": \"search_phase_execution_exception\"}}"));
    place.etl(&["run"]).exits(75);
    assert_eq!(after(), [json!(8), json!(12)]);
    server.trouble(0, reply("404 Gone", "", "{\"error\": {\"type\": \"search_context_missing_exception\"}}"));
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(after()[..4], [json!(12), Value::Null, json!(4), json!(8)]);
    truth(1..=30).is_in(&place);

    server.change(|documents| documents.extend((31..=40).map(document)));
    place.etl(&["run", "--drain"]).exits(0);
    let asked = server.api.take_asked();
    assert_eq!(asked[0].json()["query"]["range"]["@timestamp"]["gte"], "2023-03-10T01:10:00.000Z");
    truth(1..=40).is_all(&place);
}
