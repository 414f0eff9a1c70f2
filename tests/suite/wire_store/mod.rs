//! Faults on the wire to the store: whatever happens to a request or its answer, the exit code is right, the next run
//! goes on, each object is created once, and nothing is lost or there twice.
//!
//! Each fault once at each kind of request, each lasting for a whole run, and then at random. Planted bugs that turn
//! these red: a 2xx without an entity tag taken for success (`login_page…`), a failed PUT taken for "not stored"
//! (`each_fault…`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::form::{form_of, in_form};
use crate::support::origin::{Answer, Origin};
use crate::support::proxy::{CANNED, Fault, LOST, Proxy, named};
mod refusals;

use crate::support::{TestS3, s3, tally, tls, unique_prefix};

/// A whole run, faults and all, ends this long after its `--max-runtime` at the latest.
const GRACE: Duration = Duration::from_secs(15);

/// A `--max-runtime` that no run here needs.
const LONG: Duration = Duration::from_secs(30);

const SILENT: [Fault; 3] = [Fault::EndlessDrip, Fault::HungBefore, Fault::HungAfter];

/// Faults after which the connection ends, or whose answer is none.
fn broken() -> Vec<Fault> {
    [&LOST[..], &[Fault::ResetInAnswerBody, Fault::Gibberish, Fault::Instead(&CANNED[0])]].concat()
}

/// Every fault that ends by itself.
fn quick() -> Vec<Fault> {
    let canned = CANNED.iter().flat_map(|canned| [Fault::Instead(canned), Fault::Afterwards(canned)]);
    let mut faults = broken();
    faults.extend(canned);
    faults.dedup();
    faults
}

/// The same without those that differ only where a request changes something.
fn harmless() -> Vec<Fault> {
    quick().into_iter().filter(|fault| !matches!(fault, Fault::Afterwards(_))).collect()
}

/// A machine whose way to the store is faulty.
struct Bench {
    proxy: Proxy,
    prefix: String,
    origin: Origin,
    place: Place,
    sent: BTreeSet<u64>,
}

impl Bench {
    fn new(at: &TestS3, more: &str) -> Self {
        let (proxy, origin) = (Proxy::start(&at.endpoint), Origin::start(vec![Answer::Page("[]".into())]));
        let prefix = unique_prefix("wire");
        let config = format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n{more}\n[load]\n{}part_max_records = 2\n",
            origin.url,
            at.behind(&proxy.endpoint).load(&prefix)
        );
        let mut place = Place::in_memory(&config);
        place.trust(at);
        Self { proxy, prefix, origin, place, sent: BTreeSet::new() }
    }

    /// What the source hands out from now on: three hours, by turns.
    fn give(&mut self, ids: impl Iterator<Item = u64>) {
        let ids: Vec<u64> = ids.collect();
        let at = |id: u64| format!("2023-03-10T{:02}:{:02}:{:02}.000Z", id % 3, id / 60 % 60, id % 60);
        let records: Vec<String> = ids.iter().map(|id| record(*id, &at(*id))).collect();
        self.origin.script(vec![Answer::Page(page(&self.place.key, &records))]);
        self.sent.extend(ids);
    }

    /// A run that is neither a bug nor a hang.
    #[track_caller]
    fn run(&self, what: &str, limit: Duration) -> Ran {
        let (began, text) = (Instant::now(), format!("{}ms", limit.as_millis()));
        let ran = self.place.etl(&["run", "--drain", "--json", "--max-runtime", &text]);
        assert!(began.elapsed() < limit + GRACE, "{what}: {:?}", began.elapsed());
        assert!([0, 75, 76, 77].contains(&ran.code) && !ran.err.contains("panicked"), "{what}: {ran:#?}");
        ran
    }

    /// Without faults the next run completes, and everything is as if there had never been any.
    #[track_caller]
    fn check(&self, what: &str) {
        self.proxy.calm();
        let ran = self.place.etl(&["run", "--drain"]);
        assert_eq!(ran.code, 0, "{what}: the next run: {ran:#?}");
        if self.place.status()["parked"]["count"] != 0 {
            // Records of an hour that could not be read back come by themselves within an hour, or now.
            self.place.etl(&["replay"]).exits(0);
        }
        let restored = self.place.etl(&["restore"]).exits(0).out;
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        for line in restored.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            *seen.entry(value["record_id"].as_u64().unwrap()).or_default() += 1;
        }
        let lost = self.sent.iter().filter(|id| !seen.contains_key(id)).count();
        let twice = seen.values().filter(|n| **n > 1).count();
        let created = self.proxy.created(&self.prefix);
        let rewritten = created.values().filter(|n| **n > 1).count();
        tally::found(lost, twice, rewritten);
        assert_eq!((lost, twice, rewritten), (0, 0, 0), "{what}: {seen:?} {created:?}");
        let status = self.place.status();
        assert_eq!((&status["totals"]["pending"], &status["journal"]["pages"]), (&0.into(), &0.into()), "{what}");
        let verified = self.place.etl(&["verify", "--deep", "--json"]);
        assert_eq!(verified.code, 0, "{what}: {verified:#?}");
        let root = format!("/{}/", self.place.form.root);
        let parts = created.keys().filter(|key| key.contains(&root)).count();
        let others: BTreeSet<&str> =
            created.keys().filter(|key| !key.contains(&root)).map(|key| &key[self.prefix.len() - 1..]).collect();
        assert_eq!(&verified.json()["parts"], parts, "{what}: {created:?}");
        assert!(others.len() == 2 && others.iter().any(|key| key.ends_with("/settings.json")), "{what}: {others:?}");
    }
}

/// Each case, in one form after the other, several at once: most of the time is waiting.
fn parallel_map<T: Sync>(cases: &[T], work: impl Fn(&T) + Sync) {
    let left = Mutex::new(cases.iter().zip(0..));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some((case, number)) = { left.lock().unwrap().next() } {
                    in_form(form_of(number), || work(case));
                }
            });
        }
    });
}

/// What a run ends with that meets a fault at its first PUT, which is that of the settings, or at each: 77 for refused credentials,
/// 75 for a refused object.
fn exit(fault: Fault) -> i32 {
    match fault {
        Fault::Instead(canned) | Fault::Afterwards(canned) => match canned.name {
            "expired token" | "403" => 77,
            "413" | "400" | "archived" => 75,
            _ => 0,
        },
        _ => 0,
    }
}

#[test]
fn each_fault_once_at_a_put_costs_a_try_and_nothing_else() {
    let Some(at) = s3() else { return };
    parallel_map(&quick(), |fault| {
        let what = format!("{fault:?} at a PUT");
        let mut bench = Bench::new(&at, "");
        bench.give(1..=8);
        // At the first PUT of all, and at one of several under way.
        bench.proxy.script(&[("PUT ", *fault)]);
        let ran = bench.run(&what, LONG);
        assert_eq!(ran.code, exit(*fault), "{what}: {ran:#?}");
        bench.give(7..=20);
        bench.proxy.script(&[("PUT ", Fault::Drip), ("PUT ", *fault)]);
        bench.run(&what, LONG);
        tally::add("wire", "at a PUT", 2);
        bench.check(&what);
    });
}

#[test]
fn each_fault_once_at_a_look_is_no_absence() {
    let Some(at) = s3() else { return };
    parallel_map(&harmless(), |fault| {
        let what = format!("{fault:?} at a HEAD");
        let mut bench = Bench::new(&at, "");
        bench.give(1..=8);
        // Before the first PUT, and after one whose answer was lost.
        bench.proxy.script(&[("HEAD ", *fault)]);
        bench.run(&what, LONG);
        bench.give(7..=20);
        bench.proxy.script(&[("PUT ", Fault::AnswerDropped), ("HEAD ", *fault)]);
        bench.run(&what, LONG);
        tally::add("wire", "at a HEAD", 3);
        bench.check(&what);
    });
}

#[test]
fn each_fault_once_while_an_hour_is_read_back_makes_its_records_wait() {
    let Some(at) = s3() else { return };
    parallel_map(&harmless(), |fault| {
        let what = format!("{fault:?} at a GET");
        let mut bench = Bench::new(&at, "dedup_window = \"0s\"");
        bench.give(1..=8);
        bench.run(&what, LONG);
        // Their hashes are forgotten: known and new records alike need the hour's parts.
        bench.give(5..=12);
        bench.proxy.script(&[("GET ", *fault)]);
        bench.run(&what, LONG);
        tally::add("wire", "at a GET", 1);
        bench.check(&what);
    });
}

#[test]
fn each_fault_once_under_verify_and_restore_is_said_and_never_taken_for_absence() {
    let Some(at) = s3() else { return };
    parallel_map(&harmless(), |fault| {
        let mut bench = Bench::new(&at, "");
        bench.give(1..=8);
        bench.run("no fault", LONG);
        for (verb, args) in [
            ("GET ", &["verify", "--deep", "--json"][..]),
            ("HEAD ", &["verify", "--deep", "--json"]),
            ("GET ", &["restore"]),
        ] {
            let what = format!("{fault:?} at a {verb} of {args:?}");
            bench.proxy.script(&[(verb, *fault)]);
            let ran = bench.place.etl(args);
            assert!([0, 75, 76, 77].contains(&ran.code) && !ran.err.contains("panicked"), "{what}: {ran:#?}");
            let lies = matches!(fault, Fault::Instead(canned) if ["404", "200 in HTML", "204", "200 with a tag"].contains(&canned.name));
            assert!(ran.code != 76 || lies, "{what}: {ran:#?}");
            let all = args != ["restore"] || ran.out.lines().count() == bench.sent.len();
            assert!(ran.code != 0 || all, "{what}: {ran:#?}");
            tally::add("wire", "under verify and restore", 1);
        }
        bench.check(&format!("{fault:?} while reading"));
    });
}

#[test]
fn fault_that_lasts_ends_the_run_unavailable_and_leaves_everything_for_the_next() {
    let Some(at) = s3() else { return };
    let mut cases: Vec<(&str, Fault)> = Vec::new();
    for fault in broken().into_iter().chain(SILENT).filter(|fault| *fault != Fault::Drip) {
        cases.extend([("PUT ", fault), ("", fault)]);
    }
    for name in ["503", "409", "403", "expired token", "200 in HTML", "200 with a tag", "302", "413"] {
        cases.extend([("PUT ", Fault::Instead(named(name))), ("", Fault::Instead(named(name)))]);
        cases.extend([("PUT ", Fault::Afterwards(named(name)))]);
    }
    parallel_map(&cases, |(verb, fault)| {
        let what = format!("{fault:?} at each {verb}");
        let mut bench = Bench::new(&at, "");
        bench.give(1..=8);
        bench.proxy.always(verb, *fault);
        let ran = bench.run(&what, Duration::from_millis(1500));
        let expected: &[i32] = match fault {
            _ if exit(*fault) == 77 => &[77],
            // Done and done: the look tells.
            Fault::Afterwards(_) if *verb == "PUT " => &[0, 75],
            _ if *verb == "PUT " && stores(*fault) => &[0, 75],
            _ => &[75],
        };
        assert!(expected.contains(&ran.code), "{what}: {ran:#?}");
        assert!(ran.code == 0 || ran.err.contains("hint"), "{what}: no next step: {ran:#?}");
        tally::add("wire", "lasting", 1);
        bench.check(&what);
    });
}

/// Whether the store does what it is asked to, so that a later try finds it.
fn stores(fault: Fault) -> bool {
    use Fault::{AnswerCut, AnswerDropped, AnswerReset, Gibberish, ResetInAnswerBody, ResetInAnswerHead};
    matches!(
        fault,
        AnswerDropped | AnswerReset | ResetInAnswerHead | AnswerCut | ResetInAnswerBody | Gibberish | Fault::Drip
    )
}

/// Minutes long: in the long form only.
#[test]
fn store_that_hangs_is_given_up_without_a_deadline_too() {
    if !tally::scale(false, true) {
        return;
    }
    let Some(at) = s3() else { return };
    parallel_map(&SILENT, |fault| {
        let mut bench = Bench::new(&at, "");
        bench.give(1..=8);
        bench.proxy.always("", *fault);
        let began = Instant::now();
        bench.place.etl(&["run", "--drain"]).exits(75);
        assert!(began.elapsed() < Duration::from_secs(60), "{fault:?}: {:?}", began.elapsed());
        tally::add("wire", "lasting", 1);
        bench.check(&format!("{fault:?} without a deadline"));
    });
}

#[test]
fn store_that_is_down_costs_a_run_a_few_tries_however_many_hours_wait() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    bench.give(1..=3);
    bench.run("the first parts", LONG).exits(0);
    // Three days without a store.
    let hours = 10..82_u64;
    let log = |hour: u64| record(hour, &format!("2023-04-{:02}T{:02}:00:00.000Z", 1 + hour / 24, hour % 24));
    let logs: Vec<String> = hours.clone().map(log).collect();
    bench.origin.script(vec![Answer::Page(page(&bench.place.key, &logs))]);
    bench.sent.extend(hours);
    bench.proxy.always("", Fault::Instead(named("503")));
    bench.run("all is sealed", LONG).exits(75);
    bench.proxy.calm();
    bench.proxy.always("", Fault::Instead(named("503")));
    bench.run("and waits", LONG).exits(75);
    let tries = bench.proxy.calm().len();
    assert!((1..=40).contains(&tries), "{tries} requests to a store that is down");
    tally::add("wire", "lasting", tries as u64);
    bench.check("three days without a store");
}

#[test]
fn login_page_that_answers_each_put_with_200_is_no_store() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    bench.give(1..=8);
    bench.proxy.always("PUT ", Fault::Instead(named("200 in HTML")));
    bench.run("a login page", Duration::from_secs(1)).exits(75);
    assert_eq!(bench.place.status()["totals"]["uploaded"], 0);
    tally::add("wire", "lasting", 1);
    bench.check("a login page");
}

#[test]
fn certificate_of_a_store_that_nobody_vouches_for_is_refused_before_any_credential_is_sent() {
    let ok = b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (url, _) = tls::serve(&["localhost"], ok, |_| {});
    let endpoint = url.replace("/api/data/log", "");
    let origin = Origin::start(vec![]);
    let source = &origin.url;
    let mut place =
        Place::new(&format!("[source]\nurl = \"{source}\"\n[load]\nto = \"s3://b/\"\nendpoint = \"{endpoint}\"\n"));
    place.set("AWS_ACCESS_KEY_ID", "id");
    place.set("AWS_SECRET_ACCESS_KEY", "secretSECRET");
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, "2023-03-10T01:00:00.000Z")]))]);
    let ran = place.etl(&["run", "--drain", "--max-runtime", "2s"]).exits(75);
    assert!(ran.err.contains("certificate") && ran.err.contains("SSL_CERT_FILE"), "{ran:#?}");
    let status = place.status();
    assert_eq!((&status["totals"]["uploaded"], &status["totals"]["pending"]), (&0.into(), &1.into()));
    tally::add("wire", "lasting", 1);
}

#[test]
fn store_of_a_private_authority_is_reached_once_that_is_named() {
    let listing = "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>";
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", listing.len());
    let origin = Origin::start(vec![Answer::Page("[]".into())]);
    for (names, code) in [(["localhost"], 0), (["elsewhere.example"], 75)] {
        let (url, certificate) = tls::serve(&names, format!("{head}{listing}").into_bytes(), |_| {});
        let endpoint = url.replace("/api/data/log", "");
        let source = &origin.url;
        let mut place =
            Place::new(&format!("[source]\nurl = \"{source}\"\n[load]\nto = \"s3://b/\"\nendpoint = \"{endpoint}\"\n"));
        place.set("AWS_ACCESS_KEY_ID", "id");
        place.set("AWS_SECRET_ACCESS_KEY", "secretSECRET");
        std::fs::write(place.path("ca.pem"), tls::pem(&certificate)).unwrap();
        place.set("SSL_CERT_FILE", place.path("ca.pem").to_str().unwrap());
        let found = place.etl(&["check", "--read-only", "--json"]);
        let steps = found.json()["steps"].as_array().unwrap().clone();
        let store = steps.iter().find(|step| step["step"] == "store").unwrap();
        assert_eq!(store["result"] == "ok", code == 0, "{names:?}: {store}");
        tally::add("wire", "lasting", 1);
    }
}

#[test]
fn plain_http_to_the_store_needs_no_root_certificates() {
    let Some(at) = s3() else { return };
    let mut bench = Bench::new(&at, "");
    let roots = bench.place.path("roots.pem");
    std::fs::write(&roots, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    bench.place.set("SSL_CERT_FILE", roots.to_str().unwrap());
    bench.give(1..=8);
    bench.run("no roots", LONG).exits(0);
    let config = format!("[source]\nurl = \"{}\"\n[load]\n", bench.origin.url);
    bench.place.configure(&format!("{config}{}", at.behind("https://127.0.0.1:9").load(&bench.prefix)));
    bench.place.etl(&["verify"]).exits(78);
}

#[test]
fn credentials_that_are_refused_in_the_middle_of_a_run_keep_what_was_done() {
    let Some(at) = s3() else { return };
    // The first is about each part, and some were taken; the second is about who asks.
    for (name, code) in [("403", 75), ("expired token", 77)] {
        let mut bench = Bench::new(&at, "");
        bench.give(1..=30);
        let pass = ("PUT ", Fault::Drip);
        let refused = ("PUT ", Fault::Instead(named(name)));
        bench.proxy.script(&[pass, pass, pass, pass, refused, refused, refused, refused, refused]);
        let ran = bench.run(name, LONG).exits(code);
        assert!(ran.err.contains("hint") && !ran.err.contains(&at.secret), "{ran:#?}");
        let uploaded = bench.place.status()["totals"]["uploaded"].as_u64().unwrap();
        assert!((2..30).contains(&uploaded), "{uploaded}");
        tally::add("wire", "lasting", 1);
        bench.check(name);
    }
}

#[test]
fn faults_at_random_lose_and_repeat_nothing() {
    let Some(at) = s3() else { return };
    let seed = tally::seed("faults on the wire at random", 7);
    let (machines, rounds) = tally::scale((3, 6), (8, 60));
    parallel_map(&(0..machines).collect::<Vec<u64>>(), |machine| {
        let window = if machine % 2 == 0 { "dedup_window = \"0s\"" } else { "" };
        let mut bench = Bench::new(&at, window);
        let mut faults = quick();
        faults.extend(SILENT);
        let what = format!("machine {machine}, ETL_TEST_SEED={seed}");
        let (mut happened, mut from) = (0, 0);
        for round in 0..rounds {
            bench.give(from..round * 11 + 20);
            bench.proxy.at_random(seed ^ (machine << 32) ^ round, 5 + round * 7 % 60, faults.clone());
            let ran = bench.run(&what, Duration::from_secs(2));
            happened += bench.proxy.calm().len() as u64;
            // The source moves on when its page was fetched: a run may have no time left for that.
            if ran.json()["pages"] == 1 {
                from = round * 11 + 9;
            }
        }
        tally::add("wire", "at random", happened);
        // A run whose first request hangs meets no second fault.
        assert!(happened * 2 > rounds, "{what}: only {happened} faults");
        bench.check(&what);
    });
}
