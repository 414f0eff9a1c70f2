//! Those who watch runs: a monitor that is pinged, a metrics file, and cron, who mails whatever stands on stderr.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Origin};

const CONFIG: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

fn place() -> Place {
    let place = Place::new(CONFIG);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z"), record(2, "2023-03-10T02:00:00.000Z")]);
    place
}

/// A monitor that remembers what it was asked for, with the body.
struct Monitor {
    url: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Monitor {
    fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/s3cret-uuid", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut first, mut length) = (String::new(), 0);
                stream.read_line(&mut first).unwrap();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.trim().is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().unwrap().push((path, String::from_utf8(body).unwrap()));
                let head = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = write!(stream.get_mut(), "HTTP/1.1 {answer}\r\n{head}");
            }
        });
        Self { url, asked }
    }

    fn paths(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

#[test]
fn monitor_is_told_of_start_and_exit_code() {
    let (monitor, mut place) = (Monitor::start("200 OK"), place());
    place.set("ETL_PING_URL", &monitor.url);
    assert_eq!(place.etl(&["run"]).exits(0).err, "");
    assert_eq!(monitor.paths(), ["/s3cret-uuid/start", "/s3cret-uuid/0"]);
    assert!(monitor.asked.lock().unwrap()[1].1.contains("2 records"), "the summary goes along");

    // A configuration that cannot be used is an end too; a busy tick is none.
    place.set("FERNET_KEY", "nonsense");
    place.etl(&["run"]).exits(78);
    assert_eq!(monitor.paths()[2..], ["/s3cret-uuid/start", "/s3cret-uuid/78"]);
    let body = monitor.asked.lock().unwrap()[3].1.clone();
    assert!(body.contains("error: FERNET_KEY in the environment: entry 1 is not a Fernet key"), "{body}");
    assert!(body.contains("hint: ") && !body.contains("nonsense"), "{body}");
    // So is one that cannot be read at all.
    let config = std::fs::read_to_string(place.path("etl.toml")).unwrap();
    place.configure("[sorce]\n");
    place.etl(&["run"]).exits(78);
    let (path, body) = monitor.asked.lock().unwrap().pop().unwrap();
    assert!(path.ends_with("/78") && body.contains("unknown key"), "{path}: {body}");
    place.configure(&config);
    place.set("FERNET_KEY", &place.key.clone());
    let _lock = etl::state::Lock::take(&place.path("etl-state")).unwrap();
    place.etl(&["run"]).exits(11);
    assert_eq!(monitor.paths()[4..], ["/s3cret-uuid/start"]);
}

#[test]
fn monitor_that_fails_costs_a_warning_and_its_address_stays_secret() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let unwell = Monitor::start("500 Internal Server Error");
    for url in [format!("http://127.0.0.1:{port}/s3cret-uuid"), "s3cret-uuid".to_owned(), unwell.url.clone()] {
        let ran = place().etl(&["run", "--ping", &url]).exits(0);
        assert!(ran.err.contains("cannot ping the monitor"), "{}", ran.err);
        assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
    }
}

#[test]
fn metrics_file_holds_the_last_run_and_what_it_left() {
    let place = place();
    let metrics = || {
        let text = std::fs::read_to_string(place.path("etl.prom")).unwrap();
        move |name: &str| {
            let typed = text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} "));
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            assert!(typed && line.is_some(), "{name}: {text}");
            line.unwrap().parse::<f64>().unwrap()
        }
    };
    place.etl(&["run", "--metrics-file", "etl.prom"]).exits(0);
    let value = metrics();
    for (name, expected) in [
        ("etl_last_run_exit_code", 0.0),
        ("etl_last_run_new_records", 2.0),
        ("etl_last_run_uploaded_parts", 2.0),
        ("etl_pending_records", 0.0),
        ("etl_uploaded_records_total", 2.0),
        ("etl_gaps", 0.0),
    ] {
        assert!((value(name) - expected).abs() < 0.1, "{name} is {}", value(name));
    }
    let success = value("etl_last_success_timestamp_seconds");
    // The collector runs as another user.
    let metadata = std::fs::metadata(place.path("etl.prom")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o644);
    // A run that finds another at work leaves the file to that one; one that fails says so.
    let before = std::fs::read(place.path("etl.prom")).unwrap();
    let lock = etl::state::Lock::take(&place.path("etl-state")).unwrap();
    place.etl(&["run", "--metrics-file", "etl.prom"]).exits(11);
    assert_eq!(std::fs::read(place.path("etl.prom")).unwrap(), before);
    drop(lock);
    place.configure(&format!("{CONFIG}[run]\nmetrics_file = \"etl.prom\"\n"));
    place.page("pages/2.json", &["[1, 2]".to_owned()]);
    place.etl(&["run"]).exits(65);
    let value = metrics();
    assert!(
        (value("etl_last_run_exit_code") - 65.0).abs() < 0.1 && (value("etl_quarantined_tokens") - 1.0).abs() < 0.1
    );
    assert!(value("etl_last_success_timestamp_seconds") >= success, "records that were kept are a success");
}

#[test]
fn metrics_have_what_waits_what_is_late_and_the_size_of_the_state() {
    let origin = Origin::start(vec![Answer::Page("[1]".into())]);
    let mut place = Place::new(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:lake\"\n", origin.url));
    place.etl(&["run"]).exits(75);
    origin.script(vec![Answer::Page(page(&place.key, &["[1, 2]".to_owned()]))]);
    place.etl(&["run", "--metrics-file", "etl.prom"]).exits(65);
    let text = std::fs::read_to_string(place.path("etl.prom")).unwrap();
    let says = |line: &str| assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
    says("etl_rejected_bodies 1");
    says("etl_parked_records 0");
    says("etl_overdue_hours 0");
    says("etl_oldest_pending_age_seconds 0");
    says("etl_quarantined_tokens_by_reason{reason=\"not-a-record\"} 1");
    says(&format!("etl_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")));
    let bytes = text.lines().find_map(|line| line.strip_prefix("etl_state_bytes ")).unwrap();
    assert!(bytes.parse::<u64>().unwrap() > 1000, "{bytes}");
    // A run that cannot begin leaves what is known.
    place.set("FERNET_KEY", "nonsense");
    place.etl(&["run", "--metrics-file", "etl.prom"]).exits(78);
    let text = std::fs::read_to_string(place.path("etl.prom")).unwrap();
    assert!(text.contains("\netl_last_run_exit_code 78\n") && text.contains("\netl_rejected_bodies 1\n"), "{text}");
}

#[test]
fn under_cron_a_clean_run_says_its_summary_and_nothing_else() {
    let place = place();
    let run = || {
        // cron's environment: no terminal, no locale, no PATH worth the name.
        let mut env = Command::new("env");
        env.args(["-i", "HOME=/nonexistent", "SHELL=/bin/sh", "PATH=/usr/bin:/bin", "sh", "-c"]);
        let key = &place.key;
        let line = format!(
            "cd / && FERNET_KEY='{key}' {} --config {} run",
            env!("CARGO_BIN_EXE_etl"),
            place.path("etl.toml").display()
        );
        let ran = env.arg(line).stdin(Stdio::null()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
        String::from_utf8(ran.stdout).unwrap()
    };
    let first = run();
    assert!(first.contains("uploaded  2 parts with 2 records"), "{first}");
    let second = run();
    assert!(second.contains("nothing new") && !second.contains('\u{1b}'), "{second}");
    assert_eq!(place.lake("lake").len(), 2);
}
