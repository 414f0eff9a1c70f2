//! What a start reads, and what stays behind, do not grow with the months.

use std::fs;
use std::path::Path;

use crate::support::cli::{Place, page, record};
use crate::support::desk::Desk;
use crate::support::origin::{Answer, Origin};

const DAYS: u64 = 70;

/// A moment `days` and `hours` after the beginning, in RFC 3339.
fn moment(days: u64, hours: u64) -> String {
    let start: jiff::Timestamp = "2023-03-10T00:00:00Z".parse().unwrap();
    let hours = i64::try_from(days * 24 + hours).unwrap();
    format!("{:.3}", start + jiff::SignedDuration::from_hours(hours))
}

fn files(dir: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

#[test]
fn hashes_are_forgotten_after_their_window_and_what_was_forgotten_is_still_known() {
    let desk = Desk::new("UTC");
    for day in 0..DAYS {
        let records = [record(2 * day, &moment(day, 1)), record(2 * day + 1, &moment(day, 2))];
        assert_eq!(desk.run_at(&moment(day, 2), &records).exit_code(), 0);
        assert_eq!(desk.run_at(&moment(day, 12), &[]).exit_code(), 0);
    }
    let arrays = files(&desk.state("hashes")).len();
    assert!((60..=64).contains(&arrays), "two hours a day for thirty days, and one more at most: {arrays}");
    let ledger = files(&desk.state("ledger"));
    let head = ledger.iter().find(|(name, _)| name == "head").unwrap().1;
    // A row with its certificate, and the witness in it.
    assert!(head < 72 * 800, "only the newest hours are in the head: {head} bytes");
    let days: u64 = ledger.iter().filter(|(name, _)| name != "head").map(|(_, size)| size).sum();
    assert!(days > 0 && days < DAYS * 2 * 300, "{days} bytes for the other hours");

    let again = desk.run_at(&moment(DAYS, 0), &[record(0, &moment(0, 1)), record(2 * DAYS, &moment(DAYS - 1, 23))]);
    assert_eq!((again.exit_code(), again.summary.new, again.summary.duplicates), (0, 1, 1));
}

#[test]
fn tick_reads_the_hours_of_its_page_and_no_others() {
    let origin = Origin::start(vec![]);
    let place = Place::new(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:lake\"\n", origin.url));
    let old: Vec<String> = (0..100).map(|n| record(n, &moment(n / 24, n % 24))).collect();
    let (known, new) = (record(99, &moment(4, 3)), record(100, &moment(4, 3)));
    origin.script(vec![Answer::Page(page(&place.key, &old))]);
    place.etl(&["run", "--drain"]).exits(0);
    let touched = "2023-03-14T03.";
    let spoil = |dir: &str| {
        let dir = place.path("etl-state").join(dir);
        let names = files(&dir).into_iter().map(|(name, _)| name);
        let others: Vec<String> = names.filter(|name| name != "head" && !name.starts_with(touched)).collect();
        assert!(!others.is_empty(), "{} holds something", dir.display());
        others.iter().for_each(|name| fs::write(dir.join(name), "spoiled").unwrap());
        move || others.iter().for_each(|name| assert_eq!(fs::read(dir.join(name)).unwrap(), b"spoiled", "{name}"))
    };
    let untouched = [spoil("hashes"), spoil("ledger")];
    origin.script(vec![Answer::Page(page(&place.key, &[known, new]))]);
    let ran = place.etl(&["run", "--json"]).exits(0);
    assert_eq!((&ran.err[..], &ran.json()["new"], &ran.json()["duplicates"]), ("", &1.into(), &1.into()));
    untouched.iter().for_each(|check| check());
}

/// A run that archives rows of the ledger while the log's own rows lag behind crashes. A command that only takes the lock and lets go of
/// it comes next, and does not make up for it.
#[test]
#[cfg(feature = "failpoints")]
fn crash_after_rows_were_archived_is_made_up_for_whoever_takes_the_lock_next() {
    let place = Place::new("[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n");
    let records: Vec<String> = (0..1500).map(|n| record(n, &moment(n / 24, n % 24))).collect();
    place.page("pages/1.json", &[records, vec!["not a record".to_owned()]].concat());
    let steps = place.path("steps");
    place.command(&["run"]).env("ETL_STEPS", &steps).output().unwrap();
    let steps = fs::read_to_string(steps).unwrap();
    let archived = steps.lines().find(|line| line.ends_with(" LedgerArchived")).unwrap();
    let archived = archived.split(' ').next().unwrap();
    fs::remove_dir_all(place.path("etl-state")).unwrap();
    fs::remove_dir_all(place.path("lake")).unwrap();
    place.command(&["run"]).env("ETL_CRASH", format!("after:{archived}")).output().unwrap();
    place.etl(&["quarantine", "drop", "--reason", "not-a-record", "--yes"]).exits(0);
    place.etl(&["replay"]).exits(0);
    let status = place.status();
    let left = (&status["totals"]["pending"], &status["journal"]["pages"]);
    assert_eq!(left, (&0.into(), &0.into()), "all has receipts");
    assert_eq!(place.etl(&["restore"]).exits(0).out.lines().count(), 1500);
}

#[test]
fn plain_http_needs_no_root_certificates() {
    let origin = Origin::start(vec![Answer::Page("[]".into())]);
    let mut place = Place::new(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:lake\"\n", origin.url));
    let roots = place.path("roots.pem");
    fs::write(&roots, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    place.set("SSL_CERT_FILE", roots.to_str().unwrap());
    place.etl(&["run"]).exits(0);
    place.configure("[source]\nurl = \"https://127.0.0.1:9/\"\n[load]\nto = \"file:lake\"\n");
    place.etl(&["run"]).exits(78);
}
