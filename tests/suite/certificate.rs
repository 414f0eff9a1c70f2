//! An hour's certificate: what it says is what happened, at each moment, and whatever was interrupted.

use etl::hour::verdict::Verdict;
use serde_json::{Value, json};

use crate::support::cli::{Place, page, record};
use crate::support::desk::Desk;
use crate::support::origin::{Answer, Origin};

const HOUR: &str = "2023-03-10T01";

/// The log with this id; ids below 10 are of hour 0, those below 100 of hour 1, the others of hour 2.
fn log(id: u64) -> String {
    let hour = if id < 10 { 0 } else { 1 + id / 100 };
    // A counter and a clock that go on side by side.
    let minute = if hour == 1 { 10 + (id - 10) * 29 / 89 } else { id % 60 };
    record(id, &format!("2023-03-10T{hour:02}:{minute:02}:00.000Z"))
}

fn place(origin: &Origin, load: &str) -> Place {
    let hours = "[hours]\nlate_hold = \"0s\"\n";
    Place::new(&format!("[source]\nurl = \"{}\"\nretries = 0\n{hours}[load]\nto = \"file:lake\"\n{load}", origin.url))
}

/// Lets the source say these logs, and runs.
fn run(place: &Place, origin: &Origin, ids: &[u64], odd: &str, args: &[&str], code: i32) {
    let text = page(&place.key, &ids.iter().map(|id| log(*id)).collect::<Vec<_>>());
    origin.script(vec![Answer::Page(text.replacen('[', &format!("[{odd}"), 1))]);
    place.etl(args).exits(code);
}

fn certificate(place: &Place) -> Value {
    let looked = place.etl(&["status", "--json", "--hour", HOUR]);
    let status = looked.json();
    assert_eq!(status["hours"].as_array().unwrap().len(), 1);
    assert_eq!(status["hours"][0]["hour"], HOUR);
    let certificate = status["certificate"].clone();
    looked.exits(if certificate["verdict"] == "complete" { 0 } else { 66 });
    assert_eq!(certificate["complete"], certificate["verdict"] == "complete");
    certificate
}

fn text(place: &Place) -> String {
    let text = place.etl(&["hours", HOUR]).out;
    assert_eq!(text, place.etl(&["status", "--hour", HOUR]).out);
    text
}

/// The verdict on the hour, and why.
fn verdict(place: &Place) -> (String, String) {
    let found = place.etl(&["hours", HOUR, "--json"]).json();
    (found["verdict"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
}

#[test]
fn certificate_says_what_came_what_did_not_and_when() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    let unknown = place.etl(&["hours", HOUR]).exits(66).out;
    assert!(unknown.starts_with("hour 2023-03-10T01 UTC: unproven\n  no records; "), "{unknown}");
    run(&place, &origin, &[10, 11, 12], "", &["run", "--drain"], 0);
    // Two of them again, a hole of two ids, and a token that nobody can read.
    let later = [11, 12, 15, 16, 100];
    run(&place, &origin, &later, "{\"data\":\"no token\"},", &["run", "--drain"], 65);
    let found = certificate(&place);
    assert_eq!(found["closed_at"], "2023-03-10T02:10:00Z");
    let counted = ["rows", "duplicates", "quarantined", "late_parts"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(counted, [5, 2, 1, 1]);
    let holes = json!([{"from": 13, "to": 14}, {"from": 17, "to": 99}]);
    assert_eq!(found["record_id"], json!({"from": 10, "to": 16, "missing": 85, "holes": holes}));
    assert_eq!([&found["first"], &found["last"]], ["2023-03-10T01:10:00Z", "2023-03-10T01:11:00Z"]);
    let parts = found["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|part| part["rows"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2]);
    for part in parts {
        let bytes = std::fs::read(place.path("lake").join(part["key"].as_str().unwrap())).unwrap();
        let sha256: String =
            <sha2::Sha256 as sha2::Digest>::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((&part["sha256"], part["bytes"].as_u64()), (&json!(sha256), Some(bytes.len() as u64)));
    }
    assert_eq!(found["complete"], false);
    let told = text(&place);
    for line in [
        "hour 2023-03-10T01 UTC: incomplete\n",
        "  1 token that came with its records was no record, and the quarantine is not empty: `etl quarantine list`",
        "  also: 85 ids never came, in it or at its edge: 13–14, 17–99\n",
        "records     5 in 2 parts, 1 late; 2 received again, 1 quarantined beside them\n",
        "record_id   10 to 16, 85 never seen: 13–14, 17–99\n",
    ] {
        assert!(told.contains(line), "{line}{told}");
    }
}

#[test]
fn hour_is_complete_once_its_holes_are_filled_wherever_their_logs_belong() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    let all_but = |missing: &[u64]| (9..=101).filter(|id| !missing.contains(id)).collect::<Vec<u64>>();
    run(&place, &origin, &all_but(&[99, 100]), "", &["run", "--drain"], 0);
    assert_eq!(certificate(&place)["record_id"]["missing"], 2, "99 and 100 may be of either hour");
    run(&place, &origin, &[99], "", &["run"], 0);
    let found = certificate(&place);
    assert_eq!((&found["verdict"], &found["rows"]), (&json!("incomplete"), &json!(90)), "100 may still be of the hour");
    run(&place, &origin, &[100], "", &["run", "--drain"], 0);
    let found = certificate(&place);
    assert_eq!((&found["complete"], &found["doubts"]), (&json!(true), &json!([])), "{found}");
    let ids =
        json!({"by": "ids", "from": 9, "since": "2023-03-10T00:09:00Z", "to": 101, "until": "2023-03-10T02:41:00Z"});
    assert_eq!(found["witness"], ids);
    let told = text(&place);
    let says = "hour 2023-03-10T01 UTC: complete\n  no id is missing from 9 at 2023-03-10 00:09:00 UTC to 101 at \
                2023-03-10 02:41:00 UTC\nclosed ";
    assert!(told.starts_with(says), "{told}");
}

#[test]
fn hour_without_a_record_before_it_or_after_it_is_unproven() {
    for (ids, why) in [
        (
            10..=101,
            "no record of before 2023-03-10 01:00:00 UTC is joined to it: the ids go back to 10 at 2023-03-10 01:10:00 UTC",
        ),
        (
            9..=99,
            "no record of after 2023-03-10 02:00:00 UTC is joined to it: the ids go on to 99 at 2023-03-10 01:39:00 UTC",
        ),
    ] {
        let origin = Origin::start(vec![]);
        let place = place(&origin, "");
        run(&place, &origin, &ids.collect::<Vec<u64>>(), "", &["run", "--drain"], 0);
        let (verdict, reason) = verdict(&place);
        assert!(verdict == "unproven" && reason.starts_with(why), "{verdict}: {reason}");
    }
}

#[test]
fn record_after_an_hour_witnesses_it_before_it_is_sealed_itself() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    run(&place, &origin, &(9..=99).collect::<Vec<u64>>(), "", &["run", "--drain"], 0);
    assert_eq!(verdict(&place).0, "unproven");
    let hours = "[hours]\nlate_hold = \"100d\"\n";
    place.configure(&format!("[source]\nurl = \"{}\"\n{hours}[load]\nto = \"file:lake\"\n", origin.url));
    run(&place, &origin, &[99, 100], "", &["run"], 0);
    assert_eq!(verdict(&place).0, "complete");
    // A run that was killed may have received more of it.
    let mut killed = place.spawn(&["run", "--every", "1h"]);
    while place.status()["running"] != true {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let (said, reason) = verdict(&place);
    let is_over = place.status()["last_run"]["ended"].is_string();
    assert!(is_over || said == "pending" && reason.starts_with("the last run did not end"), "{said}: {reason}");
}

#[test]
fn counter_that_went_back_a_little_or_an_odd_id_makes_no_hour_complete_that_is_not() {
    let at = |id: u64, minute: u64| record(id, &format!("2023-03-10T{:02}:{:02}:00.000Z", minute / 60, minute % 60));
    let polled = |pages: &[Vec<String>]| {
        let origin = Origin::start(vec![]);
        let place = place(&origin, "");
        for logs in pages {
            origin.script(vec![Answer::Page(page(&place.key, logs))]);
            place.etl(&["run", "--drain"]).exits(0);
        }
        (verdict(&place), place.status()["gaps"].clone())
    };
    // From 40 back to 30 at 01:10, and the records of the second 33 to 36 are never seen.
    let first: Vec<String> = (1..=40).map(|id| at(id, 30 + id)).collect();
    let again: Vec<String> = (30..=90).filter(|id| !(33..=36).contains(id)).map(|id| at(id, 50 + id)).collect();
    let ((said, _), gaps) = polled(&[first.clone(), again]);
    assert_eq!((said.as_str(), &gaps), ("incomplete", &json!([{"from": 33, "to": 36}])));
    // All of them are seen: the hour in which the counter went back is not told apart by its ids.
    let ((said, reason), gaps) = polled(&[first, (30..=90).map(|id| at(id, 50 + id)).collect()]);
    assert_eq!((said.as_str(), &gaps), ("unproven", &json!([])), "{reason}");
    // An odd id floods nothing, and takes nothing from the hour.
    let mut odd: Vec<String> = (1..=140).map(|id| at(id, id)).collect();
    odd.insert(0, at(i64::MAX as u64, 100));
    let ((said, reason), gaps) = polled(&[odd]);
    assert_eq!((said.as_str(), &gaps), ("complete", &json!([])), "{reason}");
}

#[test]
fn hour_that_is_not_over_is_open_also_after_a_drain() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    let now = jiff::Timestamp::now();
    let ago = |minutes: i64| (now - jiff::SignedDuration::from_mins(minutes)).to_string()[..19].to_owned() + ".000Z";
    let logs = [record(1, &ago(70)), record(2, &ago(0)), record(3, &ago(0))];
    origin.script(vec![Answer::Page(page(&place.key, &logs))]);
    place.etl(&["run", "--drain"]).exits(0);
    let hour = &ago(0)[..13];
    let told = place.etl(&["hours", hour]).exits(66).out;
    let is_open = |said: &str| told.starts_with(&format!("hour {hour} UTC: open\n  it is {said}"));
    assert!(is_open("not over before ") || is_open("over, and waits"), "{told}");
}

#[test]
fn range_has_a_line_an_hour_and_exit_66_unless_all_are_complete() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    let ids: Vec<u64> = (9..=101).chain(202..=203).collect();
    run(&place, &origin, &ids, "", &["run", "--drain"], 0);
    let range = ["hours", "--since", "2023-03-10T00", "--until", "2023-03-10T04"];
    let told = place.etl(&range).exits(66).out;
    let expected = [
        "HOUR           VERDICT       RECORDS  WHY (times in UTC)",
        "2023-03-10T00  unproven            1  no record of before 2023-03-10 00:00:00 is joined to it: ",
        "2023-03-10T01  complete           90  no id is missing from 9 at 2023-03-10 00:09:00 to 101 at ",
        "2023-03-10T02  incomplete          2  100 ids never came, in it or at its edge: 102–201",
        "2023-03-10T03  incomplete          2  100 ids never came, in it or at its edge: 102–201",
        "2023-03-10T04  unproven            0  no records; no record of after 2023-03-10 05:00:00 is joined to it: ",
        "",
        "5 hours: 1 complete, 2 unproven, 2 incomplete",
    ];
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{told}");
    assert!(lines.iter().zip(expected).all(|(line, begins)| line.starts_with(begins)), "{told}");
    let rest = place.etl(&[&range[..], &["--not", "complete", "--not", "unproven"]].concat()).exits(66).out;
    assert_eq!(rest.lines().filter(|line| line.contains("2023-")).count(), 2, "{rest}");
    let json = place.etl(&[&range[..], &["--json"]].concat()).exits(66).json();
    assert_eq!((&json["timezone"], json["hours"].as_array().unwrap().len()), (&json!("UTC"), 5));
    assert_eq!(json["counts"], json!({"open": 0, "pending": 0, "incomplete": 2, "unproven": 2, "complete": 1}));
    assert_eq!((&json["hours"][1]["verdict"], &json["hours"][1]["witness"]["to"]), (&json!("complete"), &json!(101)));
    place.etl(&["hours", "--since", HOUR, "--until", HOUR]).exits(0);
    place.etl(&["hours", "--since", HOUR, "--until", "2023-03-10T00"]).exits(2);
    // Hours between two that are joined, and of which nothing came.
    place.etl(&["hours"]).exits(66);
}

#[test]
fn hour_that_brought_nothing_is_complete_where_the_ids_are_joined_across_it() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    run(&place, &origin, &[8, 9], "", &["run", "--drain"], 0);
    let logs = [record(10, "2023-03-10T02:10:00.000Z")];
    origin.script(vec![Answer::Page(page(&place.key, &logs))]);
    place.etl(&["run", "--drain"]).exits(0);
    let told = place.etl(&["hours", HOUR]).exits(0).out;
    assert!(told.starts_with("hour 2023-03-10T01 UTC: complete\n  no records; no id is missing from 8 "), "{told}");
}

#[test]
fn counts_are_those_of_all_runs_whatever_became_of_them() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    run(&place, &origin, &[10, 11], "", &["run"], 0);
    for _ in 0..3 {
        run(&place, &origin, &[10, 11, 12], "", &["run"], 0);
    }
    run(&place, &origin, &[10, 13], "", &["run", "--drain"], 0);
    let found = certificate(&place);
    assert_eq!((&found["rows"], &found["duplicates"]), (&json!(4), &json!(9)), "{found}");
    // An empty write-ahead log goes on from what the ledger knows.
    std::fs::remove_dir_all(place.path("etl-state/wal")).unwrap();
    run(&place, &origin, &[10, 14], "", &["run", "--drain"], 0);
    let found = certificate(&place);
    assert_eq!((&found["rows"], &found["duplicates"]), (&json!(5), &json!(10)), "{found}");
}

/// Every manifest in the lake, by its key.
fn manifests(place: &Place) -> Vec<(String, String)> {
    let pattern = place.path("lake/manifest/**/*.json");
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(place.path("lake")).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    glob::glob(pattern.to_str().unwrap()).unwrap().map(|path| read(path.unwrap())).collect()
}

#[test]
fn manifest_is_published_once_for_each_part_and_outside_the_data() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "manifest = true\n");
    run(&place, &origin, &[10, 11], "", &["run"], 0);
    let first = manifests(&place);
    let (key, text) = &first[0];
    assert_eq!((first.len(), key.as_str()), (1, "manifest/2023_y/03_m/10_d/01_h/part-00000.json"));
    let manifest: Value = serde_json::from_str(text).unwrap();
    let part = &certificate(&place)["parts"][0];
    for name in ["part", "key", "rows", "bytes", "sha256", "content_sha256", "first", "last", "sealed_at"] {
        assert_eq!(manifest[name], part[name], "{name}");
    }
    assert_eq!((&manifest["schema"], &manifest["hour"]), (&json!(1), &json!(HOUR)));
    assert_eq!((&manifest["verdict"], &manifest["witness"]), (&json!("unproven"), &Value::Null));
    assert_eq!(manifest["hour_so_far"]["record_id"], json!({"from": 10, "to": 11, "missing": 0, "holes": []}));
    run(&place, &origin, &[11, 12], "", &["run"], 0);
    let second = manifests(&place);
    assert_eq!((second.len(), &second[0]), (2, &first[0]), "an earlier one never changes");
    let so_far = serde_json::from_str::<Value>(&second[1].1).unwrap()["hour_so_far"].clone();
    assert_eq!(["rows", "duplicates", "late_parts"].map(|name| so_far[name].as_u64().unwrap()), [3, 1, 1]);
    place.etl(&["verify", "--deep"]).exits(0);
    assert_eq!(place.etl(&["restore"]).exits(0).out.lines().count(), 3);
}

#[test]
fn manifest_claims_what_was_witnessed_when_its_part_was_sealed() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "manifest = true\n");
    run(&place, &origin, &(9..=100).collect::<Vec<u64>>(), "", &["run", "--drain"], 0);
    let said: Vec<Value> = manifests(&place).iter().map(|(_, text)| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(
        ["unproven", "complete", "unproven"].map(Value::from).as_slice(),
        said.iter().map(|one| one["verdict"].clone()).collect::<Vec<_>>()
    );
    assert_eq!((&said[1]["witness"]["by"], &said[1]["witness"]["from"]), (&json!("ids"), &json!(9)));
    // Made again after a crash it is the same, whatever came since.
    let key = place.path("lake").join(&manifests(&place)[1].0);
    let before = std::fs::read(&key).unwrap();
    run(&place, &origin, &[101, 103], "", &["run", "--drain"], 0);
    assert_eq!(std::fs::read(&key).unwrap(), before);
}

#[test]
fn part_has_no_receipt_before_its_manifest_and_a_foreign_one_stays() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "manifest = true\n");
    std::fs::create_dir(place.path("lake")).unwrap();
    std::fs::write(place.path("lake/manifest"), "in the way").unwrap();
    run(&place, &origin, &[10, 11], "", &["run"], 74);
    assert_eq!(place.lake("lake").len(), 1, "the part is there");
    assert_eq!(place.status()["totals"]["uploaded"], 0);
    std::fs::remove_file(place.path("lake/manifest")).unwrap();
    let theirs = place.path("lake/manifest/2023_y/03_m/10_d/01_h/part-00000.json");
    std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    std::fs::write(&theirs, "theirs").unwrap();
    let again = place.etl(&["replay"]).exits(0);
    assert!(again.err.contains("another manifest is there already"), "{again:?}");
    assert_eq!(place.status()["totals"]["uploaded"], 2);
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
    assert!(place.path("etl-state/spool").read_dir().unwrap().next().is_none());
}

#[test]
fn manifests_go_to_s3_too() {
    let Some(at) = crate::support::s3() else { return };
    let prefix = crate::support::unique_prefix("manifest");
    let origin = Origin::start(vec![]);
    let mut place = place(&origin, "");
    place.configure(&format!("[source]\nurl = \"{}\"\n[load]\n{}manifest = true\n", origin.url, at.load(&prefix)));
    place.trust(&at);
    run(&place, &origin, &[10, 11, 100], "", &["run", "--drain"], 0);
    let store = crate::support::intruder::Intruder::in_bucket(&at);
    for (hour, rows) in [("01", 2), ("02", 1)] {
        let text = store.read(&format!("{prefix}manifest/2023_y/03_m/10_d/{hour}_h/part-00000.json"));
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["rows"], rows);
    }
    place.etl(&["verify"]).exits(0);
}

/// A source without a sequence, polled every ten minutes from 00:50 to 02:20; `poll` says what one brings.
fn heard(poll: impl Fn(i64, &[String]) -> Option<String>) -> (Verdict, String) {
    let desk = Desk::without_sequence();
    let mut window: Vec<String> = Vec::new();
    for minute in (50..=140).step_by(10) {
        let at = format!("2023-03-10T{:02}:{:02}:00Z", minute / 60, minute % 60);
        window.push(format!("{{'n': {minute}, 'inDate': '{at}'}}"));
        window.drain(..window.len().saturating_sub(5));
        if let Some(body) = poll(minute, &window) {
            let body = if body.is_empty() { desk.page(&window) } else { body };
            desk.polled_at(&at, Answer::Page(body));
        }
    }
    desk.polled_at("2023-03-10T05:00:00Z", Answer::Status(404, String::new()));
    desk.verdict(HOUR)
}

#[test]
fn hour_without_ids_is_complete_where_each_poll_holds_the_newest_record_of_the_one_before() {
    let all = |_: i64, _: &[String]| Some(String::new());
    let (verdict, reason) = heard(all);
    let says = "the source was heard without a break from 2023-03-10 00:50:00 UTC to 2023-03-10 02:20:00 UTC";
    assert_eq!((verdict, reason.as_str()), (Verdict::Complete, says));
    let some = |minute: i64, _: &[String]| (!(70..=90).contains(&minute)).then(String::new);
    assert_eq!(heard(some).0, Verdict::Complete, "polls that failed, and a window that reaches back");
    let nothing = |minute: i64, _: &[String]| Some(if minute == 80 { "[]".to_owned() } else { String::new() });
    assert_eq!(heard(nothing).0, Verdict::Complete, "nothing new, from a source that answered whole");
}

#[test]
fn hour_without_ids_is_not_complete_where_the_source_was_not_heard_throughout() {
    let unless = |skipped: std::ops::RangeInclusive<i64>| {
        move |minute: i64, _: &[String]| (!skipped.contains(&minute)).then(String::new)
    };
    for (what, skipped) in
        [("the first hour", 50..=60), ("polled too rarely", 70..=110), ("the source died", 100..=150)]
    {
        let (verdict, reason) = heard(unless(skipped));
        assert_eq!(verdict, Verdict::Unproven, "{what}: {reason}");
        assert!(
            reason.contains("the source had to be heard from 2023-03-10 01:00:00 UTC to 2023-03-10 02:10:00 UTC"),
            "{reason}"
        );
    }
    let rejected = |minute: i64, _: &[String]| Some(if minute == 80 { "[1, {]".to_owned() } else { String::new() });
    let (verdict, reason) = heard(rejected);
    assert!(
        verdict == Verdict::Pending && reason.contains("01:20:00 UTC was rejected as no page"),
        "{verdict}: {reason}"
    );
}

#[test]
fn token_that_is_no_record_keeps_an_hour_without_ids_from_being_complete() {
    let desk = Desk::without_sequence();
    for minute in (50..=140).step_by(10) {
        let at = format!("2023-03-10T{:02}:{:02}:00Z", minute / 60, minute % 60);
        let known = "{'n': 1, 'inDate': '2023-03-10T00:49:00Z'}".to_owned();
        let odd = if (80..=100).contains(&minute) { vec![known, "no record".to_owned()] } else { vec![known] };
        desk.polled_at(&at, Answer::Page(desk.page(&odd)));
    }
    let (verdict, reason) = desk.verdict(HOUR);
    assert!(verdict == Verdict::Incomplete && reason.contains("quarantine"), "{verdict}: {reason}");
}

/// The most memory that the process had, in bytes, while it printed so much.
fn printed(place: &Place, args: &[&str]) -> (String, u64) {
    use std::io::Read;
    let mut child = place.command(args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut text, mut peak) = (Vec::new(), 0);
    let mut chunk = [0; 4096];
    let mut out = child.stdout.take().unwrap();
    while let Ok(length @ 1..) = out.read(&mut chunk) {
        text.extend_from_slice(&chunk[..length]);
        let found = std::fs::read_to_string(&status).unwrap_or_default();
        let line = found.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) * 1024);
    }
    assert_eq!(child.wait().unwrap().code(), Some(66));
    (String::from_utf8(text).unwrap(), peak)
}

#[test]
fn hours_of_many_years_take_the_memory_of_a_few_days() {
    let origin = Origin::start(vec![]);
    let place = place(&origin, "");
    run(&place, &origin, &(9..=101).collect::<Vec<u64>>(), "", &["run", "--drain"], 0);
    let head = std::fs::read_to_string(place.path("etl-state/ledger/head")).unwrap();
    let head: Value = serde_json::from_str(head.split_once('\n').unwrap().1).unwrap();
    let mut row = head["hours"][HOUR].clone();
    row["certified"].as_object_mut().unwrap().remove("witness").unwrap();
    let days = crate::support::tally::scale(200, 4200);
    let mut day: jiff::civil::Date = "2011-01-01".parse().unwrap();
    for _ in 0..days {
        let of = |hour: i64| {
            let mut row = row.clone();
            row["hour"] = json!(format!("{day}T{hour:02}"));
            row
        };
        let json = serde_json::to_vec(&(0..24).map(of).collect::<Vec<Value>>()).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &json).unwrap();
        let text = etl::state::files::checked::with_checksum(&gzip.finish().unwrap());
        std::fs::write(place.path(format!("etl-state/ledger/{day}")), text).unwrap();
        day = day.tomorrow().unwrap();
    }
    for form in [&["--json"][..], &[]] {
        let last = format!("{}T23", day.yesterday().unwrap());
        let args = [&["hours", "--since", "2011-01-01T00", "--until", &last], form].concat();
        let (text, peak) = printed(&place, &args);
        let hours = text.matches("unproven").count() as u64;
        assert!((days * 24..=days * 24 + 1).contains(&hours), "{hours} hours");
        // With Kafka's client in it, the program itself is larger.
        let most = if cfg!(feature = "kafka") { 40 << 20 } else { 32 << 20 };
        assert!((1..most).contains(&peak), "{peak} bytes");
    }
}
