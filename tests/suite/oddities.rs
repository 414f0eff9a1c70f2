//! No page is poison: what is odd in it costs itself, whatever it is and however much of it there is.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const AT: &str = "2023-03-10T01:00:00.000Z";

fn place(extra: &str) -> (Place, Origin) {
    let origin = Origin::start(vec![Answer::Page("[]".into())]);
    let config = format!(
        "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n{extra}",
        origin.url
    );
    (Place::new(&config), origin)
}

/// A page of these records and, in their middle, these bytes.
fn page_with(key: &str, ids: std::ops::Range<u64>, odd: &[u8]) -> Vec<u8> {
    let good = page(key, &ids.map(|id| record(id, AT)).collect::<Vec<_>>()).into_bytes();
    let middle = good.iter().position(|byte| *byte == b',').unwrap();
    [&good[..middle], b",", odd, &good[middle..]].concat()
}

/// 200 with this body, whatever its bytes are.
fn raw(body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    Answer::Raw([head.as_bytes(), body].concat())
}

fn ids(place: &Place) -> Vec<u64> {
    let lines = place.lake("lake").into_iter().flat_map(|(_, lines)| lines);
    let mut ids: Vec<u64> =
        lines.map(|line| serde_json::from_str::<Value>(&line).unwrap()["record_id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

fn exported(place: &Place) -> Vec<Value> {
    let out = place.etl(&["quarantine", "export"]).exits(0).out;
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn element_that_no_json_reader_takes_is_kept_with_its_bytes_and_the_rest_goes_on() {
    let odd: [&[u8]; 9] = [
        br#"{"x":NaN,"data":"t"}"#,
        br#"{"x":[-Infinity],"data":"t"}"#,
        b"{\"x\":\"a\0b\",\"data\":\"t\"}",
        b"{\"x\":\"a\nb\"}",
        b"{\"x\":\"\xff\",\"data\":\"t\"}",
        b"{\"data\":\"\xc3(\"}",
        b"\xfe",
        br#"{"data":"t",}"#,
        b"]",
    ];
    for bytes in odd {
        let (place, origin) = place("");
        origin.script(vec![raw(&page_with(&place.key, 0..20, bytes))]);
        let ran = place.etl(&["run"]).exits(65);
        assert!(ran.err.contains("1 token was quarantined: 1 no-token"), "{}", ran.err);
        assert_eq!(ids(&place), (0..20).collect::<Vec<_>>(), "{}", String::from_utf8_lossy(bytes));
        let kept = exported(&place);
        let text = kept[0]["token"].as_str().unwrap();
        let is_text = std::str::from_utf8(bytes).is_ok();
        assert_eq!(kept[0].get("encoding").is_none(), is_text);
        let held = if is_text { text.as_bytes().to_vec() } else { STANDARD.decode(text).unwrap() };
        assert_eq!((kept.len(), held.as_slice()), (1, bytes));
        // It is known: the next page with it is no news, and trying it again does it no harm.
        place.etl(&["run"]).exits(0);
        place.etl(&["replay", "--quarantine"]).exits(0);
        assert_eq!(exported(&place), kept);
    }
}

#[test]
fn comma_too_many_and_a_byte_order_mark_cost_nothing() {
    let (place, origin) = place("");
    let good = |id| page(&place.key, &[record(id, AT)]);
    let comma = good(1).replace("}]", "},]");
    origin.script(vec![raw(comma.as_bytes()), raw(format!("\u{feff}{}", good(2)).as_bytes())]);
    for _ in 0..2 {
        place.etl(&["run"]).exits(0);
    }
    assert_eq!(ids(&place), [1, 2]);
}

#[test]
fn body_that_ends_within_an_element_is_rejected_though_its_last_byte_is_a_bracket() {
    let (place, origin) = place("");
    let cut = format!("{},{{\"tags\":[1]", page(&place.key, &[record(1, AT)]).trim_end_matches(']'));
    origin.script(vec![raw(cut.as_bytes())]);
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("cut short"), "{}", ran.err);
    assert_eq!(ids(&place), [0; 0]);
}

#[test]
fn reasons_and_counts_are_in_the_message() {
    let (place, origin) = place("");
    let stranger = page(&fernet::Fernet::generate_key(), &["{}".to_owned()]);
    let odd = format!("1,2,1,{}", stranger.trim_matches(['[', ']']));
    origin.script(vec![raw(&page_with(&place.key, 0..2, odd.as_bytes()))]);
    let ran = place.etl(&["run", "--json"]).exits(65);
    assert!(ran.err.contains("3 tokens were quarantined: 2 no-token, 1 wrong-key"), "{}", ran.err);
    let reasons = serde_json::json!({"no-token": 2, "wrong-key": 1});
    assert_eq!(ran.json()["quarantined_reasons"], reasons);
    assert_eq!(place.status()["quarantine"]["reasons"], reasons);
    assert!(place.etl(&["status"]).exits(0).out.contains("3 tokens, "));
    assert!(place.etl(&["status"]).exits(0).out.contains(": 2 no-token, 1 wrong-key\n"));
    place.etl(&["quarantine", "drop", "--reason", "no-token", "--yes"]).exits(0);
    assert_eq!(place.status()["quarantine"]["reasons"], serde_json::json!({"wrong-key": 1}));
}

/// The most memory that the process had, in MiB; it is watched until its end.
fn peak(mut run: Child) -> (Option<i32>, u64) {
    let status = format!("/proc/{}/status", run.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1024);
        if let Some(status) = run.try_wait().unwrap() {
            return (status.code(), peak);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn page_of_nothing_but_tiny_elements_takes_no_more_memory_than_another() {
    let many = |element: &str| [element, ","].concat().repeat((8 << 20) / (element.len() + 1));
    let distinct: String = (0..200_000).map(|n| format!("{n},")).collect();
    let deep = format!("{}{},", "[".repeat(4 << 20), "]".repeat(4 << 20));
    for (name, elements) in [("numbers", many("1")), ("objects", many("{}")), ("distinct", distinct), ("deep", deep)] {
        let (place, origin) = place("");
        origin.script(vec![raw(&page_with(&place.key, 0..2, elements.trim_end_matches(',').as_bytes()))]);
        let (code, mib) = peak(place.spawn(&["run"]));
        assert_eq!(code, Some(65), "{name}");
        assert!(mib < 64, "{name}: {mib} MiB");
        assert_eq!(ids(&place), [0, 1]);
    }
}

#[test]
fn page_of_many_different_odd_elements_hears_a_stop_and_is_taken_by_a_run_that_has_time() {
    let (mut place, origin) = place("");
    let odd: Vec<String> = (0..150_000).map(|n| n.to_string()).collect();
    let body = page_with(&place.key, 0..2, odd.join(",").as_bytes());
    origin.script(vec![raw(&body), Answer::Page("[]".into())]);
    let right = place.key.clone();
    place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    place.etl(&["run"]).exits(77);
    place.set("FERNET_KEY", &right);
    for _ in 0..2 {
        let started = Instant::now();
        let ran = place.etl(&["run", "--max-runtime", "300ms"]);
        assert!([0, 75].contains(&ran.code), "a source may be too slow for that: {ran:?}");
        assert!(started.elapsed() < Duration::from_millis(2300), "{:?}", started.elapsed());
        let status = place.status();
        assert!(
            status["journal"]["uncommitted"].as_u64().unwrap() >= 1 && status["quarantine"]["count"] == 0,
            "{status}"
        );
    }
    place.etl(&["run"]).exits(65);
    let status = place.status();
    assert_eq!((&status["journal"]["uncommitted"], &status["quarantine"]["count"]), (&0.into(), &150_000.into()));
    assert_eq!(status["quarantine"]["bytes"], file_bytes(&place.path("etl-state/quarantine")));
    assert_eq!(ids(&place), [0, 1]);
}

/// Bytes of the files of tokens.
fn file_bytes(dir: &Path) -> u64 {
    let names = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let tokens = names.filter(|entry| entry.file_name().to_str().unwrap().ends_with(".-"));
    tokens.map(|entry| entry.metadata().unwrap().len()).sum()
}

#[test]
fn odd_token_is_looked_up_and_the_others_are_not_read() {
    let (place, origin) = place("");
    let run = |ids, odd: &str, code| {
        origin.script(vec![raw(&page_with(&place.key, ids, odd.as_bytes()))]);
        place.etl(&["run", "--json"]).exits(code).json()["quarantined"].as_u64().unwrap()
    };
    assert_eq!(run(0..2, "1,2,3", 65), 3);
    assert_eq!(run(2..4, "4,5", 65), 2);
    let dir = place.path("etl-state/quarantine");
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files: Vec<_> = files.iter().filter(|path| path.to_str().unwrap().ends_with(".-")).collect();
    assert_eq!(files.len(), 2);
    // All but their first line, which names their identities.
    let spoiled: Vec<Vec<u8>> =
        files.iter().map(|path| [&std::fs::read(path).unwrap()[..65], b"spoiled"].concat()).collect();
    files.iter().zip(&spoiled).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    assert_eq!(run(4..6, "1,5,3", 0), 0);
    assert_eq!(run(6..8, "1,6", 65), 1);
    files.iter().zip(&spoiled).for_each(|(path, bytes)| assert_eq!(&std::fs::read(path).unwrap(), bytes));
}

#[test]
fn page_whose_odd_tokens_find_no_room_is_held_and_its_records_are_kept_once() {
    let capped = |bytes: u64| place(&format!("[quarantine]\nmax_bytes = {bytes}\n"));
    let (place, origin) = capped(400);
    let odd = page_with(&place.key, 0..3, b"1,2,3,4,5,6,7,8,9");
    origin.script(vec![raw(&odd), Answer::Page("[]".into())]);
    let ran = place.etl(&["run"]).exits(65);
    assert!(ran.err.contains("quarantine.max_bytes") && ran.err.contains("400 bytes"), "{}", ran.err);
    let is_held = |status: &Value| {
        assert_eq!((&status["quarantine"]["count"], &status["quarantine"]["held_pages"]), (&0.into(), &1.into()));
        assert_eq!((&status["journal"]["pages"], &status["totals"]["uploaded"]), (&1.into(), &3.into()));
    };
    is_held(&place.status());
    // Said once; it is held all the same, also when the page comes again in part.
    place.etl(&["run"]).exits(0);
    is_held(&place.status());
    assert!(place.etl(&["status"]).exits(0).out.contains("it is full: 1 page held"));
    assert!(place.etl(&["status", "--check"]).exits(1).out.contains("1 page held"));
    // A known one needs no room, and new ones that fit are taken.
    origin.script(vec![raw(&page_with(&place.key, 3..5, b"1")), Answer::Page("[]".into())]);
    place.etl(&["run"]).exits(65);
    assert_eq!(place.status()["quarantine"]["count"], 1);
    let roomy = std::fs::read_to_string(place.path("etl.toml")).unwrap().replace("= 400", "= \"1MiB\"");
    place.configure(&roomy);
    place.etl(&["run"]).exits(65);
    let status = place.status();
    assert_eq!((&status["quarantine"]["count"], &status["quarantine"]["held_pages"]), (&9.into(), &Value::Null));
    assert_eq!(status["journal"]["pages"], 0);
    assert_eq!(ids(&place), [0, 1, 2, 3, 4]);
    assert_eq!(status["totals"]["duplicates"], 0);
}

#[test]
fn rejected_bodies_stay_until_someone_acts() {
    let (place, origin) = place("");
    for n in 0..23 {
        origin.script(vec![Answer::Page(format!("[{n}]"))]);
        place.etl(&["run"]).exits(75);
    }
    let dir = place.path("etl-state/rejected");
    let bytes: u64 = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(place.status()["rejected"], serde_json::json!({"count": 23, "bytes": bytes}));
    origin.script(vec![Answer::Page("[]".into())]);
    place.etl(&["run"]).exits(0);
    assert!(place.etl(&["status"]).exits(0).out.contains("rejected    23 bodies"));
    assert!(place.etl(&["status", "--check"]).exits(1).out.contains("23 bodies rejected"));

    // Two of them are pages by now.
    let journal = etl::state::pages::journal::Journal::open(&place.path("etl-state")).unwrap();
    for id in [1, 2] {
        let mut writer = journal.begin(Vec::new());
        let body = page(&place.key, &[record(id, AT)]);
        etl::source::PageSink::write(&mut writer, body.as_bytes()).unwrap();
        writer.end_page();
        let segment = journal.append(writer, AT.parse().unwrap()).unwrap();
        journal.reject(segment.id).unwrap();
    }
    drop(journal);
    let again = place.etl(&["replay", "--rejected", "--json"]).exits(75);
    assert!(again.err.contains("23 bodies are still not pages"), "{}", again.err);
    assert_eq!((&again.json()["reread"], &again.json()["new"]), (&2.into(), &2.into()));
    assert_eq!(place.status()["rejected"]["count"], 23);
    place.etl(&["run", "--drain"]).exits(0);
    assert_eq!(ids(&place), [1, 2]);
    std::fs::remove_dir_all(dir).unwrap();
    place.etl(&["replay", "--rejected"]).exits(0);
    assert_eq!(place.status()["rejected"], serde_json::json!({"count": 0, "bytes": 0}));
}

#[test]
fn tokens_of_a_key_that_comes_later_all_come_back_in_pages_of_bounded_size() {
    let (mut place, origin) = place("");
    let other = fernet::Fernet::generate_key();
    let strangers = page(&other, &(10..5_010).map(|id| record(id, AT)).collect::<Vec<_>>());
    origin.script(vec![raw(&page_with(&place.key, 0..2, strangers.trim_matches(['[', ']']).as_bytes()))]);
    place.etl(&["run"]).exits(65);
    assert_eq!(place.status()["quarantine"]["count"], 5_000);
    origin.script(vec![Answer::Page("[]".into())]);
    let ring = format!("{},{other}", place.key);
    place.set("FERNET_KEY", &ring);
    let recovered = place.etl(&["run", "--json"]).exits(0).json();
    assert_eq!((&recovered["recovered"], &recovered["new"]), (&5_000.into(), &5_000.into()));
    assert_eq!(ids(&place).len(), 5_002);
    assert_eq!(place.status()["quarantine"]["count"], 0);
}

/// Crashes at one page, whenever it is read.
#[cfg(feature = "failpoints")]
#[test]
fn crash_at_a_page_puts_it_off_and_costs_only_itself() {
    let (mut place, origin) = place("");
    let right = place.key.clone();
    let bodies = [
        page(&right, &[record(1, AT)]).into_bytes(),
        page_with(&right, 2..4, br#""poison""#),
        page(&right, &[record(4, AT)]).into_bytes(),
    ];
    place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    origin.script(bodies.iter().map(|body| raw(body)).collect());
    for _ in &bodies {
        place.etl(&["run"]).exits(77);
    }
    origin.script(vec![Answer::Page("[]".into())]);
    place.set("FERNET_KEY", &right);
    place.set("ETL_POISON", "poison");
    for _ in 0..2 {
        assert_eq!(place.etl(&["replay"]).code, -1, "it died at the page");
    }
    let died = place.etl(&["replay"]);
    assert!(died.code == -1 && died.err.contains("two runs died"), "{died:?}");
    assert_eq!(ids(&place), [1, 4], "everything else is uploaded");
    let status = place.status();
    assert_eq!((&status["journal"]["put_off"], &status["journal"]["uncommitted"]), (&1.into(), &1.into()));
    // Whatever it was is mended.
    place.env.retain(|(name, _)| name != "ETL_POISON");
    place.etl(&["run"]).exits(65);
    assert_eq!(ids(&place), [1, 2, 3, 4]);
    assert_eq!(place.status()["journal"]["put_off"], Value::Null);
}
