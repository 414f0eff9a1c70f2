//! Pages of any shape: the array elsewhere, the token elsewhere, nothing encrypted, lines of JSON, packed files.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const AT: &str = "2023-03-10T01:00:00.000Z";

/// A configuration with these lines in `[source]`.
fn config(url: &str, source: &str) -> String {
    format!(
        "[source]\nurl = \"{url}\"\ntimeout = \"5s\"\nretries = 0\n{source}\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n"
    )
}

/// Records as the origin spells them, of three hours.
fn records() -> Vec<String> {
    (0..60).map(|n| record(n, &format!("2023-03-10T{:02}:{n:02}:00.5Z", n % 3))).collect()
}

/// The same record as JSON.
fn as_json(record: &str) -> String {
    record.replace('\'', "\"")
}

fn tokens(key: &str, records: &[String]) -> Vec<String> {
    let fernet = fernet::Fernet::new(key).unwrap();
    records.iter().map(|record| fernet.encrypt(record.as_bytes())).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An answer with this content type, body and length.
fn answer(content_type: &str, body: &[u8]) -> Answer {
    cut_answer(content_type, body, body.len())
}

fn cut_answer(content_type: &str, body: &[u8], length: usize) -> Answer {
    let head = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    Answer::Raw([head.as_bytes(), body].concat())
}

fn lines(records: &[String]) -> String {
    records.iter().map(|record| as_json(record) + "\n").collect()
}

/// What a source of the shape `source` sends leaves in the lake; a file where the name of one is given.
#[track_caller]
fn lake(
    source: &str,
    file: Option<&str>,
    body: impl FnOnce(&str) -> (&'static str, Vec<u8>),
) -> Vec<(String, Vec<String>)> {
    let origin = Origin::start(vec![Answer::Status(500, String::new())]);
    let url = file.map_or_else(|| origin.url.clone(), |name| format!("file:{name}"));
    let place = Place::new(&config(&url, source));
    let (content_type, body) = body(&place.key);
    match file {
        Some(name) => std::fs::write(place.path(name), body).unwrap(),
        None => origin.script(vec![answer(content_type, &body)]),
    }
    let ran = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&ran["new"], &ran["quarantined"]), (&json!(60), &json!(0)), "{source}");
    place.etl(&["verify"]).exits(0);
    place.lake("lake")
}

#[test]
fn same_records_in_any_shape_make_the_same_lake() {
    let records = records();
    let json: Vec<Value> = records.iter().map(|record| serde_json::from_str(&as_json(record)).unwrap()).collect();
    let expected = lake("", None, |key| ("application/json", page(key, &records).into_bytes()));
    assert_eq!(expected.len(), 3);
    let same = |found: Vec<(String, Vec<String>)>, what: &str| assert!(found == expected, "{what}: {found:?}");
    let plain = "encryption = \"none\"\n";
    let text = |value: Value| ("application/json", value.to_string().into_bytes());

    same(
        lake("items = \"/data/items\"\ntoken = \"/log/token\"", None, |key| {
            let tokens = tokens(key, &records);
            let items: Vec<Value> = tokens.iter().map(|token| json!({"id": 1, "log": {"token": token}})).collect();
            text(json!({"meta": {"items": [1]}, "data": {"items": items}}))
        }),
        "tokens within objects within an object",
    );
    same(lake("token = \"\"", None, |key| text(json!(tokens(key, &records)))), "an array of tokens");
    same(
        lake("", None, |key| {
            let lines: Vec<String> =
                tokens(key, &records).iter().map(|token| format!("{{\"data\":\"{token}\"}}\n")).collect();
            ("application/x-ndjson", lines.concat().into_bytes())
        }),
        "tokens in lines",
    );
    same(
        lake(&format!("{plain}items = \"/hits/hits\"\ntoken = \"/_source\""), None, |_| {
            let hits: Vec<Value> = json.iter().map(|record| json!({"_id": "x", "_source": record})).collect();
            text(json!({"took": 1, "hits": {"hits": hits, "total": 60}}))
        }),
        "records within objects",
    );
    same(
        lake(&format!("{plain}token = \"/message\""), None, |_| {
            text(records.iter().map(|record| json!({"message": record})).collect())
        }),
        "records as texts",
    );
    let plain = &format!("{plain}token = \"\"");
    let whole = lines(&records);
    let pretty = || serde_json::to_vec_pretty(&json).unwrap();
    same(lake(plain, None, |_| ("text/html", pretty())), "an array of records");
    same(lake(plain, None, |_| ("application/jsonl", whole.clone().into_bytes())), "lines");
    same(lake(plain, None, |_| ("text/plain", whole.clone().into_bytes())), "lines that nobody calls so");
    same(lake(plain, None, |_| ("application/gzip", gzip(whole.as_bytes()))), "packed lines");
    same(lake(plain, Some("a.json"), |_| ("", pretty())), "a file");
    same(lake(plain, Some("a.json.zst"), |_| ("", zstd::encode_all(&pretty()[..], 3).unwrap())), "a file in zstd");
    same(lake(plain, Some("a.ndjson.gz"), |_| ("", gzip(whole.as_bytes()))), "a dump in gzip");
    same(
        lake(plain, Some("a.txt"), |_| {
            ("", records.iter().map(|r| format!("{}\n", as_json(r))).collect::<String>().into_bytes())
        }),
        "a dump that nobody calls so",
    );
}

#[test]
fn changed_shape_is_set_aside_with_what_to_set_and_comes_back_with_the_mended_configuration() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&config(&origin.url, ""));
    let token = |n| tokens(&place.key, &[record(n, AT)]).remove(0);
    let moved = json!({"status": "s3cret", "result": {"logs": [{"text": token(1)}]}}).to_string();
    let again = json!({"status": "s3cret", "result": {"logs": [{"text": token(2)}]}}).to_string();
    origin.script(vec![Answer::Page(moved), Answer::Page(again)]);
    let asides: [(&str, &[&str]); 2] = [
        ("", &["not a JSON array", "\"status\", \"result\"", "set source.items = \"/result/logs\""]),
        (
            "items = \"/data/logs\"",
            &["source.items is \"/data/logs\"", "has no \"data\"", "set source.items = \"/result/logs\""],
        ),
    ];
    for (count, (source, said)) in (1..).zip(asides) {
        place.configure(&config(&origin.url, source));
        let ran = place.etl(&["run"]).exits(75);
        assert!(said.iter().all(|said| ran.err.contains(said)) && !ran.err.contains("s3cret"), "{}", ran.err);
        let status = place.status();
        assert_eq!((&status["rejected"]["count"], &status["totals"]["records"]), (&json!(count), &json!(0)));
    }
    place.configure(&config(&origin.url, "items = \"/result/logs\""));
    let replayed = place.etl(&["replay", "--rejected"]).exits(75);
    assert!(replayed.err.contains("none of its 1 elements has a string \"data\""), "{}", replayed.err);
    assert_eq!(place.status()["rejected"]["count"], 2);

    place.configure(&config(&origin.url, "items = \"/result/logs\"\ntoken = \"/text\""));
    place.etl(&["replay", "--rejected"]).exits(0);
    let status = place.status();
    assert_eq!((&status["rejected"]["count"], &status["totals"]["uploaded"]), (&json!(0), &json!(2)));
}

#[test]
fn answer_in_words_is_no_page_and_is_not_kept() {
    let origin = Origin::start(vec![Answer::Page("{\"error\": \"s3cret\"}".into())]);
    let place = Place::new(&config(&origin.url, "items = \"/data\""));
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("a JSON object without /data (source.items): it has \"error\""), "{}", ran.err);
    assert!(!ran.err.contains("s3cret"));
    assert_eq!(place.status()["rejected"]["count"], 0);
}

#[test]
fn log_at_another_place_comes_back_from_the_quarantine() {
    let origin = Origin::start(vec![]);
    let plain = "encryption = \"none\"\ntoken = \"";
    let place = Place::new(&config(&origin.url, &format!("{plain}\"")));
    let element = format!("{{\"id\": 1.50, \"log\": {}}}", as_json(&record(1, AT)));
    origin.script(vec![Answer::Page(format!("[{element}]")), Answer::Page("[]".into())]);
    place.etl(&["run"]).exits(65);
    let kept = place.etl(&["quarantine", "export"]).exits(0).json();
    assert_eq!((&kept["token"], &kept["reason"]), (&json!(element), &json!("no-indate")), "the element as it is");
    place.configure(&config(&origin.url, &format!("{plain}/log\"")));
    let replayed = place.etl(&["replay", "--quarantine", "--json"]).exits(0).json();
    assert_eq!((&replayed["recovered"], &replayed["uploaded_records"]), (&json!(1), &json!(1)));
    assert_eq!(place.status()["quarantine"]["count"], 0);
}

#[test]
fn nothing_encrypted_needs_no_key_and_keeps_what_json_says() {
    let origin = Origin::start(vec![]);
    let mut place = Place::new(&config(&origin.url, "encryption = \"none\"\ntoken = \"\""));
    place.env.retain(|(name, _)| name != "FERNET_KEY");
    let good = r#"{"big":123456789012345678901234567890,"path":"a\/b","n":1.50,"t":"\ud83d\ude00","inDate":"2023-03-10T01:00:00Z"}"#;
    let odd = r#"{"n":NaN,"inDate":"2023-03-10T01:00:00Z"}"#;
    origin.script(vec![Answer::Page(format!("[{good},{odd},7]"))]);
    place.etl(&["config", "check"]).exits(0);
    let checked = place.etl(&["check", "--read-only"]);
    assert!(checked.out.contains("1 of 3 logs read"), "{checked:?}");
    let ran = place.etl(&["run", "--json"]).exits(65).json();
    assert_eq!((&ran["new"], &ran["quarantined"]), (&json!(1), &json!(2)));
    let restored = place.etl(&["restore"]).exits(0).out;
    assert_eq!(
        restored.trim_end(),
        r#"{"big":123456789012345678901234567890,"path":"a/b","n":1.5,"t":"\ud83d\ude00","inDate":"2023-03-10T01:00:00Z"}"#
    );
}

/// A dump of more than two pages, and how many records it has.
fn dump() -> (String, u64) {
    let filler = "x".repeat(600);
    let record = |n: u64| {
        format!("{{\"record_id\":{n},\"inDate\":\"2023-03-10T01:00:00.{:03}Z\",\"text\":\"{filler}\"}}\n", n % 1000)
    };
    ((0..16_000).map(record).collect(), 16_000)
}

#[test]
fn dump_that_breaks_off_keeps_its_pages_and_claims_nothing() {
    let (dump, count) = dump();
    let origin = Origin::start(vec![]);
    let plain = "encryption = \"none\"\ntoken = \"\"";
    let place = Place::new(&config(&origin.url, plain).replace("retries = 0", "retries = 1"));
    let cut = &dump.as_bytes()[..dump.len() - 100];
    let half = &dump.as_bytes()[..6 << 20];
    let kind = "application/x-ndjson";
    origin.script(vec![cut_answer(kind, half, dump.len()), cut_answer(kind, cut, dump.len())]);
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("was cut short"), "{}", ran.err);
    let status = place.status();
    let kept = status["totals"]["records"].as_u64().unwrap();
    assert!(kept > count / 2 && kept < count, "{kept}");
    assert_eq!(status["journal"]["uncommitted"], 0);
    let journaled = status["totals"]["duplicates"].as_u64().unwrap();
    assert_eq!(journaled, 0, "a page of the first try is not written again");
    let heard = std::fs::read_to_string(place.path("etl-state/heard")).unwrap_or_default();

    origin.script(vec![answer(kind, dump.as_bytes())]);
    let whole = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&whole["new"], &whole["duplicates"]), (&json!(count - kept), &json!(kept)));
    assert_eq!(place.status()["totals"]["uploaded"], count);
    let now = std::fs::read_to_string(place.path("etl-state/heard")).unwrap_or_default();
    assert_ne!(heard, now, "only the whole dump counts as heard");
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn lines_without_an_end_that_shows_are_refused() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&config(&origin.url, "encryption = \"none\"\ntoken = \"\""));
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n";
    let body = lines(&records());
    origin.script(vec![
        Answer::Raw(format!("{head}\r\n{body}").into_bytes()),
        Answer::Raw([format!("{head}Content-Encoding: gzip\r\n\r\n").as_bytes(), &gzip(body.as_bytes())].concat()),
    ]);
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("whether all of them came"), "{}", ran.err);
    assert_eq!(place.etl(&["run", "--json"]).exits(0).json()["new"], 60);
}

#[test]
fn dump_that_is_damaged_costs_only_the_rest_of_itself() {
    let (dump, count) = dump();
    let packed = gzip(dump.as_bytes());
    let place = Place::new(&config("file:dumps/*", "encryption = \"none\"\ntoken = \"\""));
    std::fs::create_dir(place.path("dumps")).unwrap();
    std::fs::write(place.path("dumps/a.ndjson.gz"), &packed[..packed.len() - 20]).unwrap();
    std::fs::write(place.path("dumps/b.ndjson"), lines(&records())).unwrap();
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("a.ndjson.gz") && ran.err.contains("that came before are kept"), "{}", ran.err);
    let kept = place.status()["totals"]["uploaded"].as_u64().unwrap();
    assert!(kept > 60 + count / 2 && kept < 60 + count, "{kept}");
    std::fs::write(place.path("dumps/a.ndjson.gz"), &packed).unwrap();
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 60 + count);
}

#[test]
fn pointer_that_is_none_is_refused_with_how_to_write_it() {
    let place = Place::new(&config("file:*.json", "items = \"data.items\""));
    let refused = place.etl(&["run"]).exits(78);
    assert!(refused.err.contains("source.items") && refused.err.contains("\"/data/items\""), "{}", refused.err);
    place.configure(&config("file:*.json", "encryption = \"aes\""));
    let refused = place.etl(&["run"]).exits(78);
    assert!(refused.err.contains("source.encryption") && refused.err.contains("\"none\""), "{}", refused.err);
}
