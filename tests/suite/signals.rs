//! Signals, `--every` and `--max-runtime`: a run ends soon, and after a clean step.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

fn place(answers: impl FnOnce(&str) -> Vec<Answer>) -> (Place, Origin) {
    let origin = Origin::start(vec![]);
    let url = &origin.url;
    let place = Place::new(&format!(
        "[source]\nurl = \"{url}\"\ntimeout = \"30s\"\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n"
    ));
    origin.script(answers(&place.key));
    (place, origin)
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until `etl status` says so.
fn until(place: &Place, what: &str, holds: impl Fn(&serde_json::Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds(&place.status()) {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn signal_during_a_stall_ends_the_run_at_once_with_its_code() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let (place, _origin) = place(|_| vec![Answer::Stall(Duration::from_secs(25))]);
        let mut run = place.spawn(&["run"]);
        until(&place, "running", |status| status["running"] == true);
        let started = Instant::now();
        signal(&run, name);
        assert_eq!(run.wait().unwrap().code(), Some(code));
        assert!(started.elapsed() < Duration::from_secs(5));
        let status = place.status();
        assert_eq!(status["running"], false);
        assert!(status["last_run"]["ended"].is_string());
    }
}

#[test]
fn every_repeats_until_it_is_stopped_and_its_status_is_true() {
    let (place, _origin) = place(|key| {
        (1..=3).map(|n| Answer::Page(page(key, &[record(n, &format!("2023-03-10T0{n}:00:00.000Z"))]))).collect()
    });
    let mut run = place.spawn(&["run", "--every", "200ms"]);
    until(&place, "three hours uploaded", |status| status["totals"]["uploaded"] == 3);
    signal(&run, "-TERM");
    assert_eq!(run.wait().unwrap().code(), Some(143));
    assert_eq!(place.lake("lake").len(), 3);
    assert_eq!(place.status()["totals"]["pending"], 0);
}

#[test]
fn max_runtime_ends_a_run_that_waits() {
    let (place, _origin) = place(|_| vec![Answer::Stall(Duration::from_secs(25))]);
    let started = Instant::now();
    let ran = place.etl(&["run", "--max-runtime", "1s"]);
    assert!(started.elapsed() < Duration::from_secs(10), "{ran:?}");
    assert!([0, 75].contains(&ran.code), "{ran:?}");
}
