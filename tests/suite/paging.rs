//! APIs that page in every way, ask for what is new, limit requests and fail on the way: each record once, and nothing claimed early.
//!
//! Planted bugs that turn these red: `{since}` noted without a look at what waits (`…moves_past…`), or without the source's time
//! (`…own_clock…`); a note that ignores the fingerprint (`…forgets…`); a place that is kept after a 410 (`…expired…`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::{Api, Request, ok, reply};
use crate::support::cli::{Place, page, record};
use crate::support::state_dir::in_lake;

/// A page with records of these ids, one a minute from midnight on 10 March; its first element says what is next.
fn page_of(key: &str, ids: &[u64], next: &Value) -> String {
    let plaintexts: Vec<String> = ids.iter().map(|id| record(*id, &minute(*id))).collect();
    let mut elements: Vec<Value> = serde_json::from_str(&page(key, &plaintexts)).unwrap();
    if let Some(first) = elements.first_mut() {
        first["next"] = next.clone();
    }
    serde_json::to_string(&elements).unwrap()
}

fn minute(id: u64) -> String {
    format!("2023-03-10T{:02}:{:02}:00.000Z", id / 60, id % 60)
}

fn ids(place: &Place) -> Vec<u64> {
    let found = in_lake(place);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
    found.into_keys().collect()
}

fn config(api: &Api, query: &str, source: &str) -> String {
    format!(
        "[source]\nurl = \"{}{query}\"\nretries = 0\ntimeout = \"5s\"\n{source}\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n",
        api.url
    )
}

/// A list of seven records in pages of three: the number of the page is where the style puts it.
fn seven(key: &str, number: impl Fn(&Request) -> usize + Send + Sync + 'static, next: fn(usize) -> Value) -> Api {
    let key = key.to_owned();
    Api::start(move |request| {
        let number = number(request);
        let ids: Vec<u64> = (1..=7).skip(number * 3).take(3).collect();
        let next = if number < 2 { next(number + 1) } else { Value::Null };
        let link = match number {
            0 | 1 => format!("Link: </log?n={}>; rel=\"next\"\r\n", number + 1),
            _ => String::new(),
        };
        reply("200 OK", &link, &page_of(&key, &ids, &next))
    })
}

fn number(text: Option<&str>) -> usize {
    text.map_or(0, |text| text.trim_start_matches("c-").parse().unwrap())
}

#[test]
fn every_style_brings_each_record_once() {
    let place = Place::new("");
    let key = place.key.clone();
    let by_query = |request: &Request| number(request.query("n").as_deref());
    let cases: Vec<(&str, Api, &str)> = vec![
        ("link", seven(&key, by_query, |_| Value::Null), "paging = { style = \"link\" }"),
        (
            "next-url",
            seven(&key, by_query, |n| json!(format!("/log?n={n}"))),
            "paging = { style = \"next-url\", next = \"/0/next\" }",
        ),
        (
            "cursor in the address",
            seven(&key, by_query, |n| json!(format!("c-{n}"))),
            "paging = { style = \"cursor\", next = \"/0/next\", param = \"n\" }",
        ),
        (
            "cursor in a header",
            seven(&key, |request| number(request.headers.get("x-after").map(String::as_str)), |n| json!(n)),
            "paging = { style = \"cursor\", next = \"/0/next\", param = \"X-After\", in = \"header\" }",
        ),
        (
            "cursor in the body",
            seven(
                &key,
                |request| {
                    assert_eq!((request.method.as_str(), &request.json()["all"]), ("POST", &json!(true)));
                    request.json()["page"]["n"].as_u64().unwrap_or(0) as usize
                },
                |n| json!(n),
            ),
            "method = \"POST\"\nbody = '{\"all\": true, \"page\": {}}'\n\
             paging = { style = \"cursor\", next = \"/0/next\", param = \"/page/n\", in = \"body\" }",
        ),
        (
            "page",
            seven(&key, |request| number(request.query("n").as_deref()) - 1, |_| Value::Null),
            "paging = { style = \"page\", param = \"n\", start = 1 }",
        ),
        (
            "offset",
            seven(
                &key,
                |request| {
                    assert_eq!(request.query("limit").as_deref(), Some("3"));
                    number(request.query("from").as_deref()) / 3
                },
                |_| Value::Null,
            ),
            "paging = { style = \"offset\", param = \"from\", size = 3, size_param = \"limit\" }",
        ),
    ];
    for (what, api, source) in cases {
        drop(std::fs::remove_dir_all(place.path("etl-state")));
        drop(std::fs::remove_dir_all(place.path("lake")));
        place.configure(&config(&api, "", source));
        let would = place.etl(&["run", "--dry-run", "--json"]).exits(0).json();
        assert_eq!((&would["new"]["2023-03-10T00"], &would["duplicates"]), (&json!(7), &json!(0)), "{what}");
        let asked = api.take_asked().len();
        place.etl(&["run"]).exits(0);
        assert_eq!((ids(&place), api.take_asked().len()), ((1..=7).collect(), asked), "{what}");
        // A page that is not full is the last; where no size is known, only an empty one is.
        assert_eq!(asked, if what == "page" { 4 } else { 3 }, "{what}");
        place.etl(&["verify", "--deep"]).exits(0);
    }
}

#[test]
fn page_within_an_object_and_lines_of_json_lead_on_too() {
    let place = Place::new("");
    let plain = |id: usize| json!({"record_id": id, "inDate": minute(id as u64)});
    let three = move |number: usize| (1..=7).skip(number * 3).take(3).map(plain).collect::<Vec<Value>>();
    let within = Api::start(move |request| {
        let number = number(request.query("n").as_deref());
        let next = if number < 2 { json!(format!("?n={}", number + 1)) } else { Value::Null };
        ok(&json!({"meta": {"next": next}, "data": three(number)}).to_string())
    });
    let lines = Api::start(move |request| {
        let lines: Vec<String> =
            three(number(request.query("n").as_deref()) / 3).iter().map(Value::to_string).collect();
        reply("200 OK", "Content-Type: application/x-ndjson\r\n", &(lines.join("\n") + "\n"))
    });
    for (api, items, paging) in [
        (within, "/data", "style = \"next-url\", next = \"/meta/next\""),
        (lines, "", "style = \"offset\", param = \"n\", size = 3"),
    ] {
        drop(std::fs::remove_dir_all(place.path("etl-state")));
        drop(std::fs::remove_dir_all(place.path("lake")));
        let source = format!("items = \"{items}\"\ntoken = \"\"\nencryption = \"none\"\npaging = {{ {paging} }}");
        place.configure(&config(&api, "", &source));
        place.etl(&["run"]).exits(0);
        assert_eq!((ids(&place), api.asked_with("n").len()), ((1..=7).collect(), 3), "{paging}");
    }
}

/// A cursor API over seven records: the test says what befalls the page of a number.
fn failing(key: &str, fails: &Arc<Mutex<BTreeMap<usize, String>>>) -> Api {
    let (key, fails) = (key.to_owned(), Arc::clone(fails));
    Api::start(move |request| {
        let number = number(request.query("n").as_deref());
        if let Some(answer) = fails.lock().unwrap().get(&number) {
            return answer.clone();
        }
        let ids: Vec<u64> = (1..=7).skip(number * 3).take(3).collect();
        ok(&page_of(&key, &ids, &if number < 2 { json!(format!("c-{}", number + 1)) } else { Value::Null }))
    })
}

const CURSOR: &str = "paging = { style = \"cursor\", next = \"/0/next\", param = \"n\" }";

#[test]
fn trail_that_fails_on_the_way_goes_on_there_in_the_next_run() {
    let place = Place::new("");
    let fails = Arc::new(Mutex::new(BTreeMap::from([(1, reply("503 Away", "", ""))])));
    let api = failing(&place.key, &fails);
    place.configure(&config(&api, "", CURSOR));
    place.etl(&["run"]).exits(75);
    assert_eq!((ids(&place), api.asked_with("n")), (vec![1, 2, 3], vec!["-".to_owned(), "c-1".into()]));
    fails.lock().unwrap().clear();
    place.etl(&["run"]).exits(0);
    assert_eq!((ids(&place), api.asked_with("n")), ((1..=7).collect(), vec!["c-1".to_owned(), "c-2".into()]));
}

#[test]
fn cursor_that_has_expired_begins_again_with_the_first_page() {
    for gone in ["410 Gone", "400 Bad Request"] {
        let place = Place::new("");
        let once = Arc::new(Mutex::new(true));
        let (key, expires) = (place.key.clone(), Arc::clone(&once));
        let api = Api::start(move |request| {
            let number = number(request.query("n").as_deref());
            if number == 2 && std::mem::take(&mut *expires.lock().unwrap()) {
                return reply(gone, "", "");
            }
            let ids: Vec<u64> = (1..=7).skip(number * 3).take(3).collect();
            ok(&page_of(&key, &ids, &if number < 2 { json!(number + 1) } else { Value::Null }))
        });
        place.configure(&config(&api, "", CURSOR));
        place.etl(&["run"]).exits(0);
        assert_eq!(
            (ids(&place), api.asked_with("n")),
            ((1..=7).collect(), ["-", "1", "2", "-", "1", "2"].map(String::from).to_vec())
        );

        // Where it expires each time, the next run does not ask for it again.
        let fails = Arc::new(Mutex::new(BTreeMap::from([(1, reply(gone, "", ""))])));
        let api = failing(&place.key, &fails);
        place.configure(&config(&api, "", CURSOR));
        place.etl(&["run"]).exits(75);
        assert_eq!(api.asked_with("n"), ["-", "c-1", "-", "c-1"]);
        place.etl(&["run"]).exits(75);
        assert_eq!(api.asked_with("n"), ["-", "c-1", "-", "c-1"]);
    }
}

#[test]
fn pages_that_overlap_come_twice_or_in_a_circle_bring_each_record_once() {
    let place = Place::new("");
    let key = place.key.clone();
    let api = Api::start(move |request| {
        let (ids, next): (&[u64], Value) = match request.query("n").as_deref() {
            None => (&[5, 4, 3], json!("a")),
            Some("a") => (&[4, 3, 2], json!("b")),
            Some("b") => (&[4, 3, 2], json!("c")),
            _ => (&[7, 1, 6, 1], json!("a")),
        };
        ok(&page_of(&key, ids, &next))
    });
    place.configure(&config(&api, "", CURSOR));
    place.etl(&["run"]).exits(0);
    assert_eq!(
        (ids(&place), api.asked_with("n")),
        ((1..=7).collect(), ["-", "a", "b", "c"].map(String::from).to_vec())
    );
}

#[test]
fn address_in_a_page_is_not_followed_to_another_host() {
    let place = Place::new("");
    let stranger = Api::start(|_| ok("[]"));
    let (key, elsewhere) = (place.key.clone(), stranger.url.clone());
    let api = Api::start(move |_| ok(&page_of(&key, &[1], &json!(format!("{elsewhere}?token=SECRET")))));
    let source = "headers = { X-Tenant = \"7\" }\npaging = { style = \"next-url\", next = \"/0/next\" }";
    place.configure(&config(&api, "", source));
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("leads to another host") && !ran.err.contains("SECRET"), "{}", ran.err);
    assert_eq!((ids(&place), stranger.take_asked().len()), (vec![1], 0), "what came is kept");
}

/// An API that gives the page that the test says, whatever it is asked for.
fn increments() -> (Api, Arc<Mutex<String>>) {
    let body = Arc::new(Mutex::new("[]".to_owned()));
    let script = Arc::clone(&body);
    (Api::start(move |_| reply("200 OK", "", &script.lock().unwrap())), body)
}

const SINCE: &str = "start = \"2023-01-01T00:00:00Z\"\noverlap = \"5m\"";
const FROM_START: &str = "2023-01-01T00:00:00.000Z";

#[test]
fn since_follows_what_is_committed_and_never_moves_past_a_page_that_waits_or_was_set_aside() {
    let mut place = Place::new("");
    let (api, body) = increments();
    place.configure(&config(&api, "?from={since}", SINCE));
    let give = |text: String| *body.lock().unwrap() = text;
    let asked = || api.asked_with("from");
    let key = place.key.clone();

    place.etl(&["run"]).exits(0);
    assert_eq!(asked(), [FROM_START], "nothing came yet");
    give(page_of(&key, &[10, 30, 20], &Value::Null));
    place.etl(&["run"]).exits(0);
    assert_eq!(asked(), [FROM_START]);
    // A body that is no page: what it stood for has to come again.
    give("[{\"x\": 1}]".into());
    place.etl(&["run"]).exits(75);
    assert_eq!(asked(), ["2023-03-10T00:25:00.000Z"]);
    give(page_of(&key, &[60], &Value::Null));
    place.etl(&["run"]).exits(0);
    assert_eq!(asked(), ["2023-03-10T00:25:00.000Z"]);
    // A page that waits for its key.
    let other = fernet::Fernet::generate_key();
    give(page_of(&other, &[90], &Value::Null));
    place.etl(&["run"]).exits(77);
    give(page_of(&key, &[120], &Value::Null));
    place.etl(&["run"]).exits(77);
    place.etl(&["run"]).exits(77);
    assert_eq!(asked(), ["2023-03-10T00:55:00.000Z"; 3], "while it waits");
    place.set("FERNET_KEY", &format!("{key},{other}"));
    place.etl(&["run"]).exits(0);
    place.etl(&["run"]).exits(0);
    assert_eq!(asked(), ["2023-03-10T00:55:00.000Z", "2023-03-10T01:55:00.000Z"]);
    assert_eq!(ids(&place), [10, 20, 30, 60, 90, 120]);
}

#[test]
fn since_moves_only_with_a_trail_that_came_whole_and_with_the_sources_own_clock() {
    let place = Place::new("");
    let fails = Arc::new(Mutex::new(true));
    let (key, away) = (place.key.clone(), Arc::clone(&fails));
    let api = Api::start(move |request| match request.query("n") {
        None => reply("200 OK", "Date: Fri, 10 Mar 2023 00:40:00 GMT\r\n", &page_of(&key, &[50, 60], &json!("b"))),
        Some(_) if *away.lock().unwrap() => reply("502 Away", "", ""),
        Some(_) => reply("200 OK", "Date: Fri, 10 Mar 2023 00:50:00 GMT\r\n", &page_of(&key, &[10, 20], &Value::Null)),
    });
    place.configure(&config(&api, "?from={since}", &format!("{SINCE}\n{CURSOR}")));
    place.etl(&["run"]).exits(75);
    assert_eq!(api.asked_with("from"), [FROM_START, FROM_START]);
    *fails.lock().unwrap() = false;
    place.etl(&["run"]).exits(0);
    assert_eq!(api.asked_with("from"), [FROM_START], "it goes on at the second page, with the same span");
    place.etl(&["run"]).exits(0);
    let later = "2023-03-10T00:35:00.000Z";
    assert_eq!(api.asked_with("from"), [later, later], "from when the source began to answer the whole of it");
    assert_eq!(ids(&place), [10, 20, 50, 60]);
}

#[test]
fn other_requests_forget_since_and_a_damaged_or_lost_note_only_asks_for_more() {
    let place = Place::new("");
    let (api, body) = increments();
    *body.lock().unwrap() = page_of(&place.key, &[30], &Value::Null);
    let usual = config(&api, "?from={since}", SINCE);
    place.configure(&usual);
    let note = place.path("etl-state/increment");
    let moved = "2023-03-10T00:25:00.000Z";
    place.etl(&["run"]).exits(0);
    for damaged in [None, Some("x")] {
        std::fs::remove_file(&note).unwrap();
        if let Some(text) = damaged {
            std::fs::write(&note, text).unwrap();
        }
        place.etl(&["run"]).exits(0);
        place.etl(&["run"]).exits(0);
    }
    assert_eq!(api.asked_with("from"), [FROM_START, FROM_START, moved, FROM_START, moved]);
    let post = |body: &str| format!("{SINCE}\nmethod = \"POST\"\nbody = '{body}'");
    for other in [
        config(&api, "?from={since}&x=1", SINCE),
        config(&api, "?from={since}&x=2", SINCE),
        config(&api, "?from={since}&x=2", &post("{\"q\": 1}")),
        config(&api, "?from={since}&x=2", &post("{\"q\": 2}")),
    ] {
        place.configure(&other);
        place.etl(&["run"]).exits(0);
        place.etl(&["run"]).exits(0);
        assert_eq!(api.asked_with("from"), [FROM_START, moved], "{other}");
    }
}

#[test]
fn last_id_is_the_end_of_the_unbroken_run() {
    let place = Place::new("");
    let (api, body) = increments();
    place.configure(&config(&api, "", "method = \"POST\"\nbody = '{\"after\": {last_id}}'"));
    let asked_after = |ids: &[u64]| {
        *body.lock().unwrap() = page_of(&place.key, ids, &Value::Null);
        place.etl(&["run"]).exits(0);
        api.take_asked()[0].json()["after"].clone()
    };
    assert_eq!(asked_after(&[1, 2, 3]), 0);
    assert_eq!(asked_after(&[6, 5]), 3);
    assert_eq!(asked_after(&[7]), 3, "4 is missing");
    assert_eq!(asked_after(&[4, 8]), 3);
    assert_eq!(asked_after(&[]), 8);
}

#[test]
fn rate_limit_is_waited_for_or_left_to_the_next_run() {
    for (headers, waits) in [
        ("X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1\r\n", true),
        ("RateLimit: limit=9, remaining=0, reset=3600\r\n", false),
    ] {
        let place = Place::new("");
        let key = place.key.clone();
        let api = Api::start(move |request| {
            let number = number(request.query("n").as_deref());
            let ids: Vec<u64> = (1..=7).skip(number * 3).take(3).collect();
            let next = if number < 2 { json!(number + 1) } else { Value::Null };
            reply("200 OK", if number == 0 { headers } else { "" }, &page_of(&key, &ids, &next))
        });
        place.configure(&config(&api, "", CURSOR));
        let started = Instant::now();
        if waits {
            place.etl(&["run"]).exits(0);
            assert!(started.elapsed() >= Duration::from_secs(1));
        } else {
            let ran = place.etl(&["run"]).exits(75);
            assert!(ran.err.contains("takes no more requests for 1h"), "{}", ran.err);
            assert_eq!((ids(&place), api.asked_with("n")), (vec![1, 2, 3], vec!["-".to_owned()]));
            place.etl(&["run"]).exits(0);
            assert_eq!(api.asked_with("n"), ["1", "2"], "it goes on where it was");
        }
        assert_eq!(ids(&place), (1..=7).collect::<Vec<u64>>());
    }
}

#[test]
fn longer_wait_than_a_run_may_take_is_not_tried_again() {
    let place = Place::new("");
    for (status, headers) in [
        ("429 Too Many", "Retry-After: 600\r\n"),
        ("403 Forbidden", "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 600\r\n"),
    ] {
        let api = Api::start(move |_| reply(status, headers, ""));
        place.configure(&config(&api, "", "").replace("retries = 0", "retries = 3"));
        let ran = place.etl(&["run"]).exits(75);
        assert!(ran.err.contains("asks to wait 10m"), "{}", ran.err);
        assert_eq!(api.take_asked().len(), 1, "{status}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_refused_with_what_to_write() {
    let place = Place::new("");
    let api = Api::start(|_| ok("[]"));
    for (source, says) in [
        ("paging = { style = \"cursor\", param = \"n\" }", "paging.next has to be set"),
        ("paging = { style = \"cursor\", next = \"/n\" }", "paging.param has to be set"),
        ("paging = { style = \"next-url\", next = \"n\" }", "a JSON Pointer is empty or begins with"),
        ("paging = { style = \"page\", param = \"n\", in = \"body\" }", "only a POST has a body"),
        ("body = \"{}\"", "only a POST has a body"),
        ("method = \"POST\"\nbody = \"{\"", "not JSON"),
        ("since_format = \"iso\"", "not a format of times"),
        ("paging = { style = \"page\", param = \"n\", size_param = \"s\" }", "paging.size has to be set"),
    ] {
        place.configure(&config(&api, "", source));
        let ran = place.etl(&["run"]).exits(78);
        assert!(ran.err.contains(says), "{source}: {}", ran.err);
    }
    place.configure(&config(&api, "?from={sinse}", ""));
    let ran = place.etl(&["run"]).exits(78);
    assert!(ran.err.contains("{sinse} is no placeholder"), "{}", ran.err);
    assert_eq!(api.take_asked().len(), 0);
}

/// An API over a record every hour of 10 and 11 March that honours `from` and `to`, both as dates with the first excluded: what its
/// callers fear.
fn spans(key: &str, fails: &Arc<Mutex<Option<String>>>) -> Api {
    let (key, fails) = (key.to_owned(), Arc::clone(fails));
    Api::start(move |request| {
        let (from, to) = (request.query("from").unwrap(), request.query("to").unwrap());
        if fails.lock().unwrap().as_ref() == Some(&from) {
            return reply("502 Away", "", "");
        }
        let ids = (0..48_u64).filter(|id| hour(*id) > from && hour(*id) <= to);
        let plaintexts: Vec<String> = ids.map(|id| record(id, &hour(id))).collect();
        ok(&page(&key, &plaintexts))
    })
}

fn hour(id: u64) -> String {
    format!("2023-03-{:02}T{:02}:00:00.000Z", 10 + id / 24, id % 24)
}

#[test]
fn span_is_asked_for_in_windows_once_each_and_the_live_cursor_stays() {
    let place = Place::new("");
    let fails = Arc::new(Mutex::new(None));
    let api = spans(&place.key, &fails);
    let source = "start = \"2023-03-11T22:30:00Z\"\noverlap = \"30m\"";
    place.configure(&config(&api, "?from={since}&to={until}", source));
    place.etl(&["run"]).exits(0);
    assert_eq!(ids(&place), [47]);
    let cursor = std::fs::read(place.path("etl-state/increment")).unwrap();
    drop(api.take_asked());

    // The third window fails: the two before it are done, and are not asked for again.
    *fails.lock().unwrap() = Some("2023-03-10T23:30:00.000Z".into());
    let span = ["run", "--since", "2023-03-10T00:00", "--until", "2023-03-11T23:00:00Z", "--window", "12h", "--json"];
    let ran = place.etl(&span).exits(75).json();
    assert_eq!((&ran["asked"], &ran["left"], &ran["new"]), (&json!(3), &json!(2), &json!(24)));
    *fails.lock().unwrap() = None;
    assert_eq!(api.asked_with("from").len(), 3);
    let ran = place.etl(&span).exits(0).json();
    assert_eq!((&ran["asked"], &ran["left"]), (&json!(2), &json!(0)));
    assert_eq!(api.asked_with("from"), ["2023-03-10T23:30:00.000Z", "2023-03-11T11:30:00.000Z"]);
    assert_eq!(ids(&place), (1..48).collect::<Vec<u64>>(), "the first is not after the start of the span");
    assert_eq!(std::fs::read(place.path("etl-state/increment")).unwrap(), cursor);
    assert_eq!(place.status()["totals"]["pending"], 0, "no record is late");

    let again = place.etl(&span).exits(0);
    assert_eq!((&again.json()["asked"], api.take_asked().len()), (&json!(0), 0));
    let ran = place.etl(&["run", "--since", "2023-03-09", "--until", "2023-03-10T12:00", "--window", "12h"]).exits(0);
    assert!(ran.out.contains("2 windows asked for, 1 new records"), "{}", ran.out);
    assert_eq!(ids(&place), (0..48).collect::<Vec<u64>>());
    drop(api.take_asked());
    place.etl(&["run"]).exits(0);
    assert_eq!(api.asked_with("from"), ["2023-03-11T22:30:00.000Z"], "what is new");
}

#[test]
fn window_with_a_page_that_waits_or_was_set_aside_is_not_done() {
    let mut place = Place::new("");
    let body = Arc::new(Mutex::new("[{\"x\": 1}]".to_owned()));
    let script = Arc::clone(&body);
    let api = Api::start(move |_| ok(&script.lock().unwrap()));
    place.configure(&config(&api, "?from={since}&to={until}", ""));
    let span = ["run", "--since", "2023-03-10", "--until", "2023-03-11", "--json"];
    let left = |place: &Place, code: i32| place.etl(&span).exits(code).json()["left"].clone();
    assert_eq!(left(&place, 75), 1);
    let other = fernet::Fernet::generate_key();
    *body.lock().unwrap() = page_of(&other, &[1], &Value::Null);
    assert_eq!(left(&place, 77), 1);
    place.set("FERNET_KEY", &other);
    assert_eq!(left(&place, 0), 0);
    assert_eq!(ids(&place), [1]);
}

#[test]
fn span_that_cannot_be_asked_for_is_refused() {
    let place = Place::new("");
    let api = Api::start(|_| ok("[]"));
    place.configure(&config(&api, "?from={since}", ""));
    let ran = place.etl(&["run", "--since", "2023-03-10", "--until", "2023-03-11"]).exits(78);
    assert!(ran.err.contains("{since} and {until}"), "{}", ran.err);
    place.configure(&config(&api, "?from={since}&to={until}", ""));
    place.etl(&["run", "--since", "2023-03-11", "--until", "2023-03-10"]).exits(2);
    place.etl(&["run", "--since", "soon", "--until", "2023-03-10"]).exits(2);
    place.etl(&["run", "--since", "2023-03-10"]).exits(2);
    assert_eq!(api.take_asked().len(), 0);
}
