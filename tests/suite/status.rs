//! `etl status` as people and monitoring see it.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use etl::state::status::DiskUse;
use etl::view::heat::Heat;
use etl::view::screen::{self, Screen};
use serde_json::{Value, json};

use crate::support::cli::{Place, record};
use crate::support::desk::Desk;

const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

/// Logs that come in each hour of the day.
const CURVE: [u64; 24] = [9, 6, 4, 3, 3, 5, 12, 24, 33, 38, 41, 40, 42, 40, 38, 37, 36, 38, 42, 44, 40, 31, 22, 14];

/// The logs of an hour of March 2023, with ids from `first` on.
fn logs(day: u64, hour: u64, count: u64, first: u64) -> Vec<String> {
    let at = |n: u64| format!("2023-03-{day:02}T{hour:02}:{:02}:{:02}.000Z", n % 60, n / 60);
    (0..count).map(|n| record(first + n, &at(n))).collect()
}

/// Two days and a morning of cron: the source is silent for some hours, and some logs come late.
fn two_days() -> Desk {
    let desk = Desk::new("UTC");
    let mut id = 1;
    for at in 0..34 {
        let (day, hour) = (8 + (at + 10) / 24, (at + 10) % 24);
        let mut page = Vec::new();
        if !(day == 9 && (3..6).contains(&hour)) {
            let count = CURVE[usize::try_from(hour).unwrap()];
            page = logs(day, hour, count, id);
            id += count;
        }
        if (day, hour) == (9, 15) {
            page.extend(logs(9, 12, 3, id + 3));
            id += 6;
        }
        desk.run_at(&format!("2023-03-{day:02}T{hour:02}:57:00Z"), &page);
    }
    desk
}

#[test]
fn manual_shows_what_the_terminal_shows() {
    let desk = two_days();
    let (now, mut status) = ("2023-03-09T20:05:00Z".parse().unwrap(), desk.status());
    // What a disk's blocks make of it differs from one to the next.
    status.disk = status.disk.map(|disk| DiskUse { bytes: 34_700_000, ..disk });
    let screen = Screen { unicode: true, columns: 80, all: false, fresh: Some(7200) };
    let styled = screen::status(&status, &Heat::of(&status, &desk.closing(), now, 7), now, screen);
    let shown = anstream::adapter::strip_str(&styled).to_string();
    let page = include_str!("../../src/docs/operations.md");
    let block = format!("```text\n{shown}```\n");
    assert!(page.contains(&block), "the manual should show:\n{block}");
}

#[test]
fn styles_are_for_terminals_and_shades_for_those_that_know_them() {
    let mut place = Place::new(FILES);
    place.page("pages/1.json", &logs(8, 1, 5, 1));
    place.etl(&["run"]).exits(0);
    let plain = place.etl(&["status"]).exits(0).out;
    assert!(plain.is_ascii() && !plain.contains('\x1b') && plain.contains("OO"), "{plain}");
    place.set("LANG", "ko_KR.UTF-8");
    assert!(place.etl(&["status"]).exits(0).out.contains("██"));
    place.set("CLICOLOR_FORCE", "1");
    let styled = place.etl(&["status"]).exits(0).out;
    assert!(styled.contains("\x1b[32muploaded\x1b[0m"), "{styled}");
    place.set("NO_COLOR", "1");
    assert!(!place.etl(&["status"]).exits(0).out.contains('\x1b'));
}

/// How many records the days of a status have.
fn in_days(status: &Value) -> u64 {
    let days = status["days"].as_array().unwrap();
    let of = |day: &Value, name: &str| day[name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    days.iter().map(|day| of(day, "uploaded") + of(day, "pending")).sum()
}

#[test]
fn days_are_complete_however_many_hours_came_at_once_and_after_the_status_was_lost() {
    let place = Place::new(FILES);
    let hours = (0..6).flat_map(|day| (0..24).map(move |hour| (day, hour)));
    let all: Vec<String> = hours.flat_map(|(day, hour)| logs(10 + day, hour, 2, 1 + 2 * (24 * day + hour))).collect();
    place.page("pages/1.json", &all);
    place.etl(&["run"]).exits(0);
    let status = place.status();
    assert_eq!((status["days"].as_array().unwrap().len(), in_days(&status)), (6, 288));
    // The next run changes one hour and carries the others.
    place.page("pages/2.json", &logs(12, 5, 2, 500));
    place.etl(&["run"]).exits(0);
    let status = place.status();
    assert_eq!((in_days(&status), &status["days"][2]["late"][5]), (290, &json!(2)));
    std::fs::remove_file(place.path("etl-state/status.json")).unwrap();
    place.etl(&["replay"]).exits(0);
    assert_eq!(place.status()["days"], status["days"]);

    let text = place.etl(&["status"]).exits(0).out;
    assert_eq!(text.lines().filter(|line| line.contains("uploaded  ")).count(), 12, "{text}");
    assert!(text.contains("and 36 more hours: --all"), "{text}");
    let text = place.etl(&["status", "--all", "--days", "2"]).exits(0).out;
    assert_eq!(text.lines().filter(|line| line.contains("uploaded  ")).count(), 144, "{text}");
    assert!(text.contains("2023-03-15 Wed") && !text.contains("2023-03-13 Mon"), "{text}");
}

#[test]
fn check_speaks_as_monitoring_plugins_do() {
    let place = Place::new(FILES);
    let check = |args: &[&str]| {
        let ran = place.etl(&[&["status", "--check"], args].concat());
        assert!(ran.out.lines().count() == 1 && ran.err.is_empty(), "{ran:?}");
        (ran.code, ran.out)
    };
    let (code, line) = check(&[]);
    assert!(code == 3 && line.starts_with("UNKNOWN - no run yet: `etl run` begins; "), "{line}");
    place.page("pages/1.json", &logs(8, 1, 5, 1));
    place.etl(&["run"]).exits(0);
    let (code, line) = check(&[]);
    assert!(code == 0 && line.starts_with("OK - last run 0 s ago, 5 new, nothing pending | age=0s;"), "{line}");
    std::thread::sleep(Duration::from_millis(2100));
    let (code, line) = check(&["--warn-age", "1s"]);
    assert!(code == 1 && line.starts_with("WARNING - the last run that succeeded was"), "{line}");
    let (code, line) = check(&["--warn-age", "1s", "--crit-age", "1s"]);
    assert!(code == 2 && line.starts_with("CRITICAL - "), "{line}");
    let (code, line) = check(&["--warn-age", "0s", "--crit-age", "0s"]);
    assert!(code == 0, "{line}");
    // A run that fails ages the last one that succeeded.
    let before = place.status()["last_success"].clone();
    place
        .configure(&FILES.replace("file:pages/*.json", "http://127.0.0.1:9/").replace("[load]", "retries = 0\n[load]"));
    place.etl(&["run"]).exits(75);
    let (code, line) = check(&[]);
    assert!(code == 1 && line.starts_with("WARNING - the last run ended with exit 75: "), "{line}");
    assert_eq!(place.status()["last_success"], before);
    std::fs::write(place.path("etl-state/status.json"), "{").unwrap();
    let (code, line) = check(&[]);
    assert!(code == 3 && line.starts_with("UNKNOWN - cannot read "), "{line}");
}

#[test]
fn watch_needs_a_terminal() {
    let place = Place::new(FILES);
    let ran = place.etl(&["status", "--watch"]).exits(2);
    assert!(ran.err.contains("--watch needs a terminal") && ran.out.is_empty(), "{ran:?}");
}

#[test]
fn watch_shows_what_changes_and_leaves_the_terminal_as_it_was() {
    let place = Place::new(FILES);
    let pty = nix::pty::openpty(None, None).unwrap();
    let screen = std::fs::File::from(pty.slave);
    let mut watch = place.command(&["status", "--watch", "100ms"]).stdout(Stdio::from(screen)).spawn().unwrap();
    let (send, read) = std::sync::mpsc::channel();
    let mut master = std::fs::File::from(pty.master);
    let reading = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = master.read(&mut bytes) {
            let _ = send.send(String::from_utf8_lossy(&bytes[..length]).into_owned());
        }
    });
    let mut seen = String::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut until = |what: &str| {
        while !seen.contains(what) {
            assert!(Instant::now() < deadline, "never {what}: {seen:?}");
            seen.extend(read.recv_timeout(Duration::from_millis(50)));
        }
        seen.clone()
    };
    assert!(until("no run yet").starts_with("\x1b[?1049h\x1b[?25l\x1b[H"));
    place.page("pages/1.json", &logs(8, 1, 5, 1));
    place.etl(&["run"]).exits(0);
    until("2023-03-08T01");
    let pid = watch.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(130));
    assert!(until("\x1b[?25h\x1b[?1049l").ends_with("\x1b[?25h\x1b[?1049l"));
    reading.join().unwrap();
}
