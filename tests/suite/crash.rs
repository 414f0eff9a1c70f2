//! SIGKILL at any moment: nothing lost, nothing twice.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::support::cli::Place;
use crate::support::service::Service;
use crate::support::tally;
use crate::support::{s3, unique_prefix};

/// A choice, the same whenever the seed is.
fn draw(seed: u64, n: u64, below: u64) -> u64 {
    let digest = blake3::hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat());
    u64::from_le_bytes(*digest.as_bytes().first_chunk().unwrap()) % below
}

/// Runs under a sliding window, killed at random moments, then a replay; gives the place.
fn killed_runs(place: &Place, kills: u64, seed: u64) {
    // What only the first page held would not come again.
    place.etl(&["run"]).exits(0);
    let mut killed = 0;
    for n in 0..kills {
        let mut run = place.spawn(&["run"]);
        std::thread::sleep(Duration::from_micros(draw(seed, n, 60_000)));
        run.kill().unwrap();
        killed += u64::from(run.wait().unwrap().signal() == Some(9));
        if n % 5 == 4 {
            let ran = place.etl(&["replay"]);
            assert_eq!(ran.code, 0, "{ran:?}");
        }
    }
    tally::add("kills", "runs", killed);
    assert!(killed > kills / 3, "only {killed} of {kills} runs were hit");
    place.etl(&["replay"]).exits(0);
    place.etl(&["run", "--drain"]).exits(0);
    place.etl(&["replay"]).exits(0);
}

fn config(service: &Service, load: &str) -> String {
    format!(
        "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\n{load}part_max_records = 150\n",
        service.url
    )
}

/// Compares what is in the store with what the service handed out: every record once.
fn check(place: &Place, service: &Service) {
    let restored = place.etl(&["restore"]).exits(0).out;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for line in restored.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        *seen.entry(value.to_string()).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, n)| **n > 1).collect();
    let lost: Vec<_> = service.truth().into_iter().filter(|record| !seen.contains_key(record)).collect();
    tally::found(lost.len(), twice.len(), 0);
    assert!(twice.is_empty(), "twice: {twice:?}");
    assert!(lost.is_empty(), "lost {}: {:?}", lost.len(), lost.first());
    place.etl(&["verify", "--deep"]).exits(0);
    let status = place.status();
    assert_eq!(status["totals"]["pending"], 0);
    assert_eq!(status["journal"]["pages"], 0);
    assert_eq!(status["totals"]["records"], seen.len() as u64);
}

#[test]
fn killed_at_random_moments_a_lake_holds_each_record_once() {
    let service = Service::start(11, |options| {
        // The window forgets what was sent to a run that was killed before it was in the journal: the overlap brings it
        // back, even after several such runs in a row.
        options.advance = 12;
        options.late = 10.0;
        options.duplicates = 10.0;
        options.interval = Duration::from_secs(60);
    });
    let mut place = Place::new(&config(&service, "to = \"file:lake\"\n"));
    place.set("FERNET_KEY", &service.key);
    killed_runs(&place, tally::scale(40, 300), tally::seed("killed on a lake", 1));
    check(&place, &service);
}

#[test]
fn killed_at_random_moments_s3_holds_each_record_once() {
    let Some(at) = s3() else { return };
    let service = Service::start(12, |options| {
        // The window forgets what was sent to a run that was killed before it was in the journal: the overlap brings it
        // back, even after several such runs in a row.
        options.advance = 12;
        options.late = 10.0;
        options.interval = Duration::from_secs(60);
    });
    let mut place = Place::new(&config(&service, &at.load(&unique_prefix("killed"))));
    place.set("FERNET_KEY", &service.key);
    place.trust(&at);
    killed_runs(&place, tally::scale(30, 200), tally::seed("killed on S3", 2));
    check(&place, &service);
}

#[test]
fn twenty_runs_over_a_sliding_window_put_each_key_once() {
    let Some(at) = s3() else { return };
    let service = Service::start(13, |options| {
        options.advance = 50;
        options.late = 5.0;
        options.duplicates = 5.0;
        options.json_plain = 30.0;
        options.interval = Duration::from_secs(10);
    });
    let mut place = Place::new(&config(&service, &at.load(&unique_prefix("window"))));
    place.set("FERNET_KEY", &service.key);
    place.trust(&at);
    let mut parts = 0;
    for _ in 0..20 {
        let ran = place.etl(&["run", "--json"]).exits(0);
        parts += ran.json()["uploaded_parts"].as_u64().unwrap();
        assert_eq!(ran.err, "");
    }
    assert_eq!(place.status()["totals"]["parts"], parts);
    check(&place, &service);
}
