//! Progress: seen on a terminal, gone at its end, and nowhere else.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::cli::{Place, record};

const CONFIG: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

/// What a terminal is sent while `etl` runs on it. `None`, said loudly, where there is no `script` to make one.
fn on_a_terminal(place: &Place, line: &str) -> Option<String> {
    let ran = Command::new("script")
        .args(["-qec", line, "/dev/null"])
        .current_dir(place.path(""))
        .env("TERM", "xterm")
        .env("FERNET_KEY", &place.key)
        .stdin(Stdio::null())
        .output();
    let Ok(ran) = ran else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a terminal needs the program `script` (util-linux)");
        return None;
    };
    assert!(ran.status.success(), "{ran:?}");
    Some(String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[test]
fn long_work_shows_how_far_it_is_on_a_terminal_only() {
    let place = Place::new(CONFIG);
    for hour in 0..24 {
        let logs: Vec<String> = (0..500)
            .map(|n| record(hour * 1000 + n, &format!("2023-03-10T{hour:02}:{:02}:{:02}.000Z", n / 60, n % 60)))
            .collect();
        place.page(&format!("pages/{hour}.json"), &logs);
    }
    let etl = env!("CARGO_BIN_EXE_etl");
    let Some(seen) = on_a_terminal(&place, &format!("{etl} run")) else { return };
    assert!(seen.contains("24 pages") && seen.contains("logs (") && seen.contains("/s)"), "{seen:?}");
    let left = seen.rsplit('\r').next().unwrap();
    assert!(!left.contains("logs ("), "it is gone at the end: {left:?}");
    let seen = on_a_terminal(&place, &format!("{etl} restore --out originals")).unwrap();
    assert!(seen.contains("of 24 hours"), "{seen:?}");
    let seen = on_a_terminal(&place, &format!("{etl} restore")).unwrap();
    assert!(!seen.contains("of 24 hours"), "the originals are on the terminal");
    assert_eq!(place.etl(&["restore", "--out", "originals"]).exits(0).err, "");
}

#[test]
fn progress_fits_a_narrow_terminal() {
    let place = Place::new(CONFIG);
    for hour in 0..12 {
        let logs: Vec<String> =
            (0..400).map(|n| record(hour * 1000 + n, &format!("2023-03-10T{hour:02}:00:00.{n:03}Z"))).collect();
        place.page(&format!("pages/{hour}.json"), &logs);
    }
    let etl = env!("CARGO_BIN_EXE_etl");
    let line = format!("stty rows 24 cols 40; {etl} run > /dev/null; {etl} restore --out originals > /dev/null");
    let Some(seen) = on_a_terminal(&place, &line) else { return };
    let plain = anstream::adapter::strip_str(&seen).to_string();
    let frames: Vec<&str> = plain.split(['\r', '\n']).filter(|frame| !frame.is_empty()).collect();
    assert!(frames.iter().any(|frame| frame.contains("12")), "{frames:?}");
    assert!(frames.iter().all(|frame| frame.chars().count() <= 40), "{frames:?}");
}
