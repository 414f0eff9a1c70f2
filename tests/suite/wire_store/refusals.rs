//! Who answers for the store, and what the store refuses: nothing goes to another host, nothing is read without end, no answer but the
//! store's own is a receipt, and a part or a condition that is refused costs no more than it must.

use std::net::TcpListener;
use std::time::Duration;

use etl::hour::range::HashRange;
use etl::store::ObjectStore;

use super::{Bench, LONG, parallel_map};
use crate::support::cli::{page, record};
use crate::support::origin::Answer;
use crate::support::proxy::{Fault, named};
use crate::support::{s3, tally};

const SHORT: Duration = Duration::from_millis(1500);

impl Bench {
    /// Records of hours 00 … of a day, ten each, of which nothing was given before.
    fn give_hours(&mut self, day: u32, hours: std::ops::Range<u32>) {
        let id = |hour: u32, n: u32| u64::from(day * 1000 + hour * 10 + n);
        let at = |hour: u32, n: u32| format!("2023-04-{day:02}T{hour:02}:{n:02}:00.000Z");
        let all: Vec<(u64, String)> = hours.flat_map(|hour| (0..2).map(move |n| (id(hour, n), at(hour, n)))).collect();
        let logs: Vec<String> = all.iter().map(|(id, at)| record(*id, at)).collect();
        self.origin.script(vec![Answer::Page(page(&self.place.key, &logs))]);
        self.sent.extend(all.iter().map(|(id, _)| id));
    }

    fn uploaded(&self) -> u64 {
        self.place.status()["totals"]["uploaded"].as_u64().unwrap()
    }

    /// The hours of the PUTs so far, sorted.
    fn put_hours(&self) -> Vec<String> {
        let hour = |line: &str| line.split("_h/").next().unwrap().rsplit('/').next().unwrap().to_owned();
        let mut hours: Vec<String> = self.proxy.requests("PUT ").iter().map(|(line, _)| hour(line)).collect();
        hours.sort_unstable();
        hours
    }
}

#[test]
fn redirect_of_any_kind_is_followed_nowhere() {
    let Some(at) = s3() else { return };
    let kinds =
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"];
    parallel_map(&kinds, |status| {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        elsewhere.set_nonblocking(true).unwrap();
        let redirect = Fault::Redirect(status, elsewhere.local_addr().unwrap().port());
        let mut bench = Bench::new(&at, "");
        bench.give(1..=8);
        bench.run("the first parts", LONG).exits(0);
        bench.give(9..=20);
        for verb in ["PUT ", ""] {
            bench.proxy.always(verb, redirect);
            let ran = bench.run(status, SHORT).exits(75);
            assert!(ran.err.contains("a redirect to localhost, which is not followed"), "{ran:#?}");
            assert_eq!(bench.uploaded(), 8, "{status}");
        }
        for args in [&["verify", "--deep"][..], &["restore"], &["replay", "--from-s3"]] {
            let ran = bench.place.etl(args).exits(75);
            assert!(ran.err.contains("redirect"), "{ran:#?}");
        }
        let heard = elsewhere.accept().unwrap_err();
        assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock, "{status}: somebody connected to the other host");
        tally::add("wire", "lasting", 5);
        bench.check(status);
    });
}

#[test]
fn answer_of_another_for_the_store_is_no_receipt() {
    let Some(at) = s3() else { return };
    parallel_map(&["200 with a tag", "200 in HTML", "204"], |name| {
        for proven in [true, false] {
            let mut bench = Bench::new(&at, "");
            if proven {
                bench.give(30..=33);
                bench.run("the first parts", LONG).exits(0);
            }
            let before = bench.uploaded();
            bench.give(1..=8);
            for verb in ["PUT ", ""] {
                bench.proxy.always(verb, Fault::Instead(named(name)));
                bench.run(name, SHORT).exits(75);
                assert_eq!(bench.uploaded(), before, "{name} at {verb}");
            }
            tally::add("wire", "lasting", 2);
            bench.check(name);
        }
    });
}

#[test]
fn body_without_end_is_read_for_a_while_only() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    bench.give(1..=8);
    bench.run("the first parts", LONG).exits(0);
    bench.give(7..=20);
    for (verb, status, args, code) in [
        ("PUT ", "500 Internal Server Error", &["run", "--drain"][..], 75),
        ("PUT ", "200 OK", &["run", "--drain"], 75),
        ("PUT ", "403 Forbidden", &["run", "--drain"], 77),
        ("GET ", "500 Internal Server Error", &["verify", "--deep"], 75),
        ("GET ", "200 OK", &["verify"], 75),
        ("GET ", "403 Forbidden", &["restore"], 77),
    ] {
        let what = format!("{status} without end at each {verb}of {args:?}");
        bench.proxy.forget();
        bench.proxy.always(verb, Fault::Endless(status));
        let ran = bench.place.etl(args);
        assert_eq!(ran.code, code, "{what}: {ran:#?}");
        let sent = bench.proxy.forget() >> 20;
        assert!(sent <= 80, "{what}: {sent} MiB were read");
        tally::add("wire", "lasting", 1);
    }
    // An object that never ends, behind listings that do.
    bench.proxy.calm();
    bench.proxy.at_keys("GET ", &["part-00000.ndjson.gz "], Fault::Endless("200 OK"));
    bench.proxy.forget();
    bench.place.etl(&["verify", "--deep"]).exits(76);
    let sent = bench.proxy.forget() >> 20;
    assert!(sent <= 80 * 3, "{sent} MiB of three objects were read");
    bench.check("bodies without end");
}

#[test]
fn part_that_is_refused_costs_its_hour_alone() {
    let Some(at) = s3() else { return };
    let cases =
        [("413", "client_max_body_size"), ("400", "Too big."), ("403", "s3:PutObject"), ("archived", "Glacier")];
    parallel_map(&cases, |(name, word)| {
        let mut bench = Bench::new(&at, "");
        bench.give(30..=33);
        bench.run("the first parts", LONG).exits(0);
        bench.give_hours(1, 0..14);
        let poisoned: Vec<String> = (1..10).map(|hour| format!("01_d/{hour:02}_h")).collect();
        let poisoned: Vec<&str> = poisoned.iter().map(String::as_str).collect();
        bench.proxy.at_keys("PUT ", &poisoned, Fault::Instead(named(name)));
        let ran = bench.run(name, LONG).exits(75);
        assert_eq!(ran.err.lines().count(), 1, "{ran:#?}");
        assert!(ran.err.contains("9 hours (2023-04-01T01, ") && ran.err.contains(word), "{ran:#?}");
        assert_eq!(bench.uploaded(), 4 + 5 * 2, "the other hours of that day are there");
        // One of them a run, each in its turn, after what is new.
        let mut turns = Vec::new();
        for tick in 0..9 {
            bench.proxy.forget();
            bench.give_hours(2, tick..tick + 1);
            bench.run(name, LONG).exits(75);
            let hours = bench.proxy.requests("PUT ");
            assert!(hours.len() == 2 && hours[0].0.contains("02_d/"), "{name} {tick}: {hours:?}");
            turns.push(hours[1].0.clone());
        }
        turns.sort_unstable();
        turns.dedup();
        assert_eq!(turns.len(), 9, "each has its turn: {turns:?}");
        bench.proxy.forget();
        // Where nothing else is tried, a 403 is the credentials'.
        bench.place.etl(&["replay"]).exits(if *name == "403" { 77 } else { 75 });
        assert_eq!(bench.proxy.requests("PUT ").len(), 1, "also where nothing is new");
        tally::add("wire", "lasting", 19);
        bench.check(name);
        assert!(!bench.place.path("state/refused.json").exists());
    });
}

#[test]
fn refusal_of_every_part_is_the_credentials_said_once() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    // The dictionaries are there.
    bench.give(30..=30);
    bench.run("the first part", LONG).exits(0);
    bench.give_hours(1, 0..6);
    bench.proxy.always("PUT ", Fault::Instead(named("403")));
    bench.proxy.forget();
    for run in 0..3 {
        let ran = bench.run("403 for every part", LONG).exits(77);
        assert_eq!(ran.err.lines().count(), 1, "{ran:#?}");
        assert_eq!(bench.put_hours().len(), [6, 1, 1][run], "run {run}");
        bench.proxy.forget();
    }
    tally::add("wire", "lasting", 3);
    bench.check("403 for every part");
}

#[test]
fn many_refusals_in_a_row_end_the_talk_until_the_next_run() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    bench.give(30..=30);
    bench.run("the first parts", LONG).exits(0);
    let logs: Vec<String> =
        (0..96).map(|n| record(1000 + n, &format!("2023-05-{:02}T{:02}:00:00.000Z", 1 + n / 24, n % 24))).collect();
    bench.origin.script(vec![Answer::Page(page(&bench.place.key, &logs))]);
    bench.sent.extend(1000..1096);
    bench.proxy.always("PUT ", Fault::Instead(named("403")));
    bench.proxy.forget();
    bench.run("403 for every part", LONG).exits(77);
    let sent = bench.proxy.requests("PUT ").len();
    assert!((32..40).contains(&sent), "{sent} PUTs");
    tally::add("wire", "lasting", 1);
    bench.check("many refusals in a row");
}

#[test]
fn part_that_never_gets_an_answer_keeps_no_other_from_the_store() {
    let Some(at) = s3() else { return };
    parallel_map(&[Fault::Instead(named("500")), Fault::ResetInHead, Fault::BodyCut, Fault::Gibberish], |fault| {
        let mut bench = Bench::new(&at, "");
        bench.give_hours(1, 0..3);
        bench.proxy.at_keys("PUT ", &["01_d/00_h"], *fault);
        bench.run("a part without an answer", LONG);
        // Whatever the first run got done, the next one begins with the others.
        bench.give_hours(2, 0..1);
        bench.run("the same", LONG);
        assert!(bench.uploaded() >= 6, "{fault:?}: {}", bench.uploaded());
        tally::add("wire", "lasting", 2);
        bench.check(&format!("{fault:?} for one part"));
    });
}

#[test]
fn store_that_refuses_the_condition_gets_the_part_without_it_after_a_look() {
    let Some(at) = s3() else { return };
    let cases = [
        ("501 Not Implemented", "NotImplemented"),
        ("400 Bad Request", "NotImplemented"),
        ("400 Bad Request", "InvalidArgument"),
        ("400 Bad Request", "InvalidRequest"),
    ];
    parallel_map(&cases, |(status, code)| {
        let what = format!("{status} {code} to each condition");
        let mut bench = Bench::new(&at, "");
        bench.proxy.always("PUT ", Fault::NoCondition(status, code));
        bench.give_hours(1, 0..3);
        let ran = bench.run(&what, LONG).exits(0);
        assert_eq!(ran.err.lines().count(), 1, "said once: {ran:#?}");
        assert!(ran.err.contains("does not honour create-only"), "{ran:#?}");
        bench.proxy.forget();
        bench.give_hours(2, 0..2);
        let ran = bench.run(&what, LONG).exits(0);
        assert_eq!(ran.err, "", "{what}");
        let puts = bench.proxy.requests("PUT ");
        assert!(puts.len() == 2 && puts.iter().all(|(_, condition)| !condition), "{puts:?}");
        // What is in the way is seen by the look.
        bench.give_hours(3, 0..1);
        let key = bench.place.form.key("data/2023_y/04_m/03_d/00_h/part-00000.ndjson.gz");
        let key = format!("{}{key}", bench.prefix);
        let (foreign, meta) = (tempfile::NamedTempFile::new().unwrap(), meta());
        at.store().put_new(&key, foreign.path(), &meta).unwrap();
        bench.run(&what, LONG).exits(76);
        assert_eq!(at.store().get(&key).unwrap(), b"", "it was left alone");
        tally::add("wire", "lasting", 3);
    });
}

fn meta() -> etl::store::PartMeta {
    let text = || "x".to_owned();
    let identity = etl::hour::part::PartIdentity { rows: 1, bytes: 0, sha256: text(), content_sha256: text() };
    etl::store::PartMeta { identity, hour: text(), dict: text(), range: HashRange::ALL }
}

#[test]
fn destination_once_proven_never_gets_a_put_without_the_condition() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    bench.give_hours(1, 0..2);
    bench.run("the first parts", LONG).exits(0);
    for (status, code, exit) in [
        ("501 Not Implemented", "NotImplemented", 78),
        ("400 Bad Request", "InvalidArgument", 75),
        ("400 Bad Request", "InvalidRequest", 75),
    ] {
        bench.proxy.always("PUT ", Fault::NoCondition(status, code));
        bench.give_hours(2, 0..3);
        let ran = bench.place.etl(&["run", "--drain"]);
        assert_eq!((ran.code, bench.uploaded()), (exit, 4), "{status} {code}: {ran:#?}");
    }
    tally::add("wire", "lasting", 3);
    bench.check("a condition that is refused of late");
    let puts = bench.proxy.requests("PUT ");
    assert!(puts.iter().all(|(_, condition)| *condition), "{puts:?}");
}

#[test]
fn store_that_refuses_a_condition_once_is_not_taken_for_one_that_never_honours_it() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    bench.give_hours(1, 0..2);
    bench.proxy.script(&[("PUT ", Fault::NoCondition("501 Not Implemented", "NotImplemented"))]);
    let ran = bench.run("one refusal", LONG).exits(0);
    assert_eq!(ran.err, "");
    bench.proxy.forget();
    bench.give_hours(2, 0..2);
    bench.run("and no more", LONG).exits(0);
    let puts = bench.proxy.requests("PUT ");
    assert!(puts.len() == 2 && puts.iter().all(|(_, condition)| *condition), "{puts:?}");
    assert!(bench.proxy.requests("HEAD ").is_empty(), "nothing is looked at first where it is proven");
    tally::add("wire", "lasting", 1);
    bench.check("one refused condition");
}

#[test]
fn manifest_that_is_refused_costs_its_hour_alone_and_is_made_up_for() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    let config = std::fs::read_to_string(bench.place.path("etl.toml")).unwrap();
    bench.place.configure(&format!("{config}manifest = true\n"));
    bench.give_hours(1, 0..3);
    bench.proxy.at_keys("PUT ", &["manifest/2023_y/04_m/01_d/01_h"], Fault::Instead(named("413")));
    let ran = bench.run("one manifest", LONG).exits(75);
    assert!(ran.err.contains("hour 2023-04-01T01: "), "{ran:#?}");
    assert_eq!(bench.uploaded(), 4);
    bench.proxy.calm();
    bench.run("no fault", LONG).exits(0);
    assert_eq!(bench.uploaded(), 6);
    let created = bench.proxy.created(&bench.prefix);
    // With the settings, and the digests of the day: of what was there, and of what came later.
    assert!(created.len() == 10 && created.values().all(|times| *times == 1), "{created:?}");
    // Neither is put with the condition where that is refused.
    let mut bench = Bench::new(&at, "");
    let config = std::fs::read_to_string(bench.place.path("etl.toml")).unwrap();
    bench.place.configure(&format!("{config}manifest = true\n"));
    bench.proxy.always("PUT ", Fault::NoCondition("501 Not Implemented", "NotImplemented"));
    bench.give_hours(1, 0..3);
    bench.run("no condition", LONG).exits(0);
    let created = bench.proxy.created(&bench.prefix);
    assert!(created.len() == 9 && created.values().all(|times| *times == 1), "{created:?}");
    tally::add("wire", "lasting", 2);
}

#[test]
fn settings_that_are_refused_keep_no_part_from_the_store() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    let offered =
        |bench: &Bench| bench.proxy.requests("PUT ").iter().filter(|(line, _)| line.contains("/settings.json")).count();
    bench.give_hours(1, 0..3);
    bench.proxy.at_keys("PUT ", &["/settings.json"], Fault::Instead(named("413")));
    let ran = bench.run("no settings", LONG).exits(75);
    assert!(ran.err.contains("/settings.json") && ran.err.lines().count() == 1, "{ran:#?}");
    assert_eq!((bench.uploaded(), offered(&bench)), (6, 1), "offered once a run");
    bench.proxy.calm();
    bench.proxy.at_keys("HEAD ", &["/settings.json"], Fault::Instead(named("403")));
    bench.give_hours(2, 0..1);
    bench.run("no look at the settings", LONG).exits(0);
    assert_eq!((bench.uploaded(), offered(&bench)), (8, 2), "offered again");
    tally::add("wire", "lasting", 2);
    bench.check("refused settings");
}

#[test]
fn run_lists_what_is_gone_once_and_uploads_without_the_right_to_list() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    let listed =
        |bench: &Bench| bench.proxy.requests("GET ").iter().filter(|(line, _)| line.contains("list-type")).count();
    bench.give(30..=33);
    bench.run("the first parts", LONG).exits(0);
    bench.proxy.forget();
    bench.give_hours(1, 0..12);
    bench.run("twelve hours", LONG).exits(0);
    assert_eq!((bench.uploaded(), listed(&bench)), (28, 1));
    bench.proxy.at_keys("GET ", &["list-type"], Fault::Instead(named("403")));
    bench.proxy.forget();
    bench.give_hours(2, 0..3);
    bench.run("no right to list", LONG).exits(0);
    assert_eq!((bench.uploaded(), listed(&bench)), (34, 1));
    // A listing that fails otherwise is no absence.
    bench.proxy.calm();
    bench.proxy.at_keys("GET ", &["list-type"], Fault::Instead(named("500")));
    bench.give_hours(3, 0..3);
    bench.run("no listing", SHORT).exits(75);
    assert_eq!(bench.uploaded(), 34);
    tally::add("wire", "lasting", 2);
    bench.check("without a listing");
}
