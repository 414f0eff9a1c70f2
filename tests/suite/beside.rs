//! Commands that take no lock look while a run changes what they look at: what changed meanwhile is no alarm.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etl::audit::StoredParts;
use etl::audit::finding::Verification;
use etl::audit::verify::Verifier;
use etl::error::Result;
use etl::hour::key::Layout;
use etl::record::Dating;
use etl::record::row::{Codecs, Compactor};
use etl::store::dictionaries::DictionaryStore;
use etl::store::lake::FileStore;
use etl::store::{ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use jiff::tz::TimeZone;

use crate::support::cli::{Place, page, record};
use crate::support::desk::Desk;
use crate::support::{s3, unique_prefix};

/// A lake in which something happens just before the call with a certain number is answered.
struct Meanwhile<'a> {
    lake: FileStore,
    calls: Mutex<u32>,
    at: u32,
    what: &'a (dyn Fn() + Sync),
}

impl Meanwhile<'_> {
    fn call(&self) {
        let mut calls = self.calls.lock().unwrap();
        if *calls == self.at {
            (self.what)();
        }
        *calls += 1;
    }
}

impl ObjectStore for Meanwhile<'_> {
    fn place(&self) -> &str {
        self.lake.place()
    }

    fn put_new(&self, _: &str, _: &Path, _: &PartMeta) -> Result<PutAnswer> {
        unreachable!("it only reads")
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        self.call();
        self.lake.head(key)
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        self.call();
        self.lake.get(key)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.call();
        self.lake.list(prefix, each)?;
        self.call();
        Ok(())
    }

    fn create_only_is_certain(&self) -> bool {
        true
    }

    fn keeps_metadata(&self) -> bool {
        false
    }
}

/// Hours with parts: more than the ledger's head holds.
const HOURS: u64 = 90;

/// A log of each hour, with ids that no other `round` has.
fn logs(round: u64, hours: impl Iterator<Item = u64>) -> Vec<String> {
    let at = |n: u64| format!("2023-03-{:02}T{:02}:00:00.{:03}Z", 10 + n / 24, n % 24, round % 1000);
    hours.map(|n| record(round * 1000 + n, &at(n))).collect()
}

/// Receives the logs of a round, and seals them when their hold is over.
fn round(desk: &Desk, round: u64, hours: impl Iterator<Item = u64>) {
    let day = |n: u64| format!("2023-{:02}-{:02}", 4 + n / 28, 1 + n % 28);
    for (hour, logs) in [("00", logs(round, hours)), ("02", Vec::new())] {
        let outcome = desk.run_at(&format!("{}T{hour}:00:00Z", day(round)), &logs);
        assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    }
}

fn verify(desk: &Desk, store: &dyn ObjectStore, deep: bool) -> Verification {
    let compactor = Compactor::new(&Codecs::default());
    let parts = StoredParts {
        store,
        prefix: "",
        layout: &Layout::parse("{year}_y/{month}_m/{day}_d/{hour}_h").unwrap(),
        dictionaries: &DictionaryStore::new(store, "", &compactor),
        dating: &Dating::of_the_origin(TimeZone::UTC),
    };
    let verifier = Verifier { state: &desk.state(""), parts, deep, expire_after: None };
    verifier.verify(&mut |_| ()).unwrap()
}

#[test]
fn run_at_any_moment_of_a_verification_is_no_finding() {
    let desk = Desk::new("UTC");
    round(&desk, 0, 0..HOURS);
    let lake = desk.state("../lake");
    for (n, at) in [0, 1, 2, 3, 10, 40, 80, 100, 150, 200, 250].into_iter().enumerate() {
        let n = n as u64 + 1;
        // Late records for hours in the head and in files of days, and hours that are new: their parts, rows and arrays change.
        let more = || round(&desk, n, (0..HOURS).step_by(3).chain([HOURS + n]));
        let store = Meanwhile { lake: FileStore::new(&lake), calls: Mutex::new(0), at, what: &more };
        let found = verify(&desk, &store, n.is_multiple_of(2));
        assert_eq!(found.findings, [], "a run at call {at}");
        assert!(*store.calls.lock().unwrap() > at, "a run at call {at}");
    }
}

#[test]
fn what_is_wrong_beside_a_run_is_found_once() {
    let desk = Desk::new("UTC");
    round(&desk, 0, 0..HOURS);
    let lake = desk.state("../lake");
    let key = |n: u64| format!("data/2023_y/03_m/{:02}_d/{:02}_h/part-00000.ndjson.gz", 10 + n / 24, n % 24);
    std::fs::remove_file(lake.join(key(3))).unwrap();
    std::fs::write(lake.join(key(40)), "changed").unwrap();
    std::fs::write(lake.join("data/stranger"), "stranger").unwrap();
    std::fs::write(lake.join("data/moved-away"), "stranger").unwrap();
    for (n, at) in [0, 1, 2, 30].into_iter().enumerate() {
        let more = || {
            round(&desk, n as u64 + 1, 0..HOURS);
            let _ = std::fs::remove_file(lake.join("data/moved-away"));
        };
        let store = Meanwhile { lake: FileStore::new(&lake), calls: Mutex::new(0), at, what: &more };
        let found: Vec<String> = verify(&desk, &store, true).findings.into_iter().map(|finding| finding.key).collect();
        assert_eq!(found, [key(3), key(40), "data/stranger".to_owned()], "a run at call {at}");
    }
}

#[test]
fn run_beside_a_dry_run_changes_nothing_of_what_is_known() {
    let desk = Desk::new("UTC");
    round(&desk, 0, 0..HOURS);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/log", listener.local_addr().unwrap());
    // Known logs of every hour, and one that is new.
    let asked = [logs(0, 0..HOURS), logs(7, std::iter::once(3))].concat();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().unwrap().0;
            let _ = stream.read(&mut [0; 4096]);
            round(&desk, 1, 0..HOURS);
            let body = desk.page(&asked);
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        });
        let found = desk.dry_run(&url).unwrap();
        assert_eq!((found.duplicates, found.new.values().sum::<u64>()), (HOURS, 1), "{found:?}");
    });
}

/// Commands that read what a run changes, and what they may end with.
const READERS: [&[&str]; 9] = [
    &["verify"],
    &["verify", "--deep"],
    &["verify", "--archive"],
    &["restore"],
    &["status"],
    &["status", "--hour", "2023-03-10T00"],
    &["quarantine", "list"],
    &["quarantine", "export"],
    &["run", "--dry-run"],
];

/// Runs each command again and again while runs receive late records and odd tokens for many hours.
fn readers_beside_runs(place: &Place, hours: u64, time: Duration) {
    let give = |n: u64| {
        let mut texts = logs(n, (0..HOURS).filter(|hour| (hour + n).is_multiple_of(HOURS / hours)));
        texts.push(format!("odd {n}"));
        // As a whole, as a writer of pages should: a half page is an alarm of its own.
        std::fs::create_dir_all(place.path("pages")).unwrap();
        std::fs::write(place.path("page.tmp"), page(&place.key, &texts)).unwrap();
        std::fs::rename(place.path("page.tmp"), place.path("pages/1")).unwrap();
    };
    let run = || assert!([0, 65].contains(&place.etl(&["run"]).code));
    give(0);
    run();
    let (done, codes) = (AtomicBool::new(false), Mutex::new(BTreeMap::<_, u32>::new()));
    std::thread::scope(|scope| {
        for args in READERS {
            let (done, codes) = (&done, &codes);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let ran = place.etl(args);
                    let said = if ran.code == 0 { String::new() } else { format!("{ran:?}") };
                    *codes.lock().unwrap().entry((args.join(" "), ran.code, said)).or_default() += 1;
                }
            });
        }
        let (began, mut n) = (Instant::now(), 0);
        while began.elapsed() < time {
            n += 1;
            give(n);
            run();
        }
        done.store(true, Ordering::Relaxed);
    });
    let codes = codes.into_inner().unwrap();
    // The hour that is asked about lacks ids, and tokens beside it are odd, whatever a run does.
    let is_calm = |(args, code, said): &(String, i32, String)| {
        let is_asked = args.starts_with("status --hour") && *code == 66;
        *code == 0 || (is_asked && said.ends_with("err: \"\" }") && !said.contains("did not end"))
    };
    let asked: BTreeSet<_> = codes.keys().map(|(args, ..)| args).collect();
    assert!(asked.len() == READERS.len() && codes.keys().all(is_calm), "{codes:#?}");
}

const ARCHIVE: &str = "[archive]\ndir = \"archive\"\n";

#[test]
fn readers_beside_runs_into_a_lake_raise_no_alarm() {
    let place = Place::in_memory(&format!("[source]\nurl = \"file:pages/*\"\n[load]\nto = \"file:lake\"\n{ARCHIVE}"));
    readers_beside_runs(&place, 45, Duration::from_secs(6));
}

#[test]
fn readers_beside_runs_into_s3_raise_no_alarm() {
    let Some(at) = s3() else { return };
    let load = at.load(&unique_prefix("beside"));
    let mut place = Place::in_memory(&format!("[source]\nurl = \"file:pages/*\"\n[load]\n{load}\n{ARCHIVE}"));
    place.trust(&at);
    readers_beside_runs(&place, 10, Duration::from_secs(6));
}
