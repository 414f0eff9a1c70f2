//! Signals, `--every` and `--max-runtime`: a run ends soon, and after a clean step.

use std::io::{PipeReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::cli::{Place, page, record};
use crate::support::origin::{Answer, Door, Origin};
use crate::support::shim::shim;
use crate::support::{s3, tally, unique_prefix};

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

/// A listener that takes connections and never says a word.
struct Silent {
    url: String,
    connections: Arc<AtomicUsize>,
    _door: Door,
}

impl Silent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (url, connections) = (format!("http://{}", listener.local_addr().unwrap()), Arc::<AtomicUsize>::default());
        let taken = Arc::clone(&connections);
        let door = Door::open(listener, move |mut stream| {
            taken.fetch_add(1, Ordering::Relaxed);
            while stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {}
        });
        Self { url, connections, _door: door }
    }

    fn is_asked(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }
}

/// How long a command may still take once it is to end. The promise is 2 s; a busy machine gets as much again.
const SOON: Duration = Duration::from_secs(4);

/// Stops a command by a signal in the middle of something that would take long: once it is there.
#[track_caller]
fn ends_at_a_signal(name: &str, mut command: Command, reached: &dyn Fn() -> bool, codes: &[i32]) {
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached() {
        let ended = child.try_wait().unwrap();
        assert!(Instant::now() < deadline && ended.is_none(), "{name}: never there: {ended:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    let ended = child.try_wait().unwrap();
    assert!(ended.is_none(), "{name}: it ended by itself: {ended:?}");
    signal(&child, "-TERM");
    ends(name, child, SOON, codes);
}

/// Lets the deadline of a run pass.
#[track_caller]
fn ends_at_its_deadline(name: &str, mut command: Command) {
    let child = command.args(["--max-runtime", "1s"]).spawn().unwrap();
    ends(name, child, Duration::from_secs(1) + SOON, &[0, 75]);
}

#[track_caller]
fn ends(name: &str, mut child: Child, limit: Duration, codes: &[i32]) {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > limit {
            child.kill().unwrap();
            panic!("{name}: still there after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.wait().unwrap();
    // As a shell tells it.
    let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap());
    assert!(codes.contains(&code), "{name}: {code}");
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The end of a pipe that is full, and that nobody reads while the other end is held.
fn full_pipe() -> (Stdio, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = |flags| assert_eq!(fcntl(&writer, FcntlArg::F_SETFL(flags)), Ok(0));
    flags(OFlag::O_NONBLOCK);
    while (&writer).write(&[0; 4096]).is_ok() {}
    flags(OFlag::empty());
    (Stdio::from(writer), reader)
}

fn one_page(key: &str) -> Vec<Answer> {
    vec![Answer::Page(page(key, &[record(1, "2023-03-10T01:00:00.000Z")]))]
}

#[test]
fn source_that_keeps_a_run_waiting_does_not_keep_it_from_ending() {
    for (name, answer) in [
        ("no answer", Answer::Stall(Duration::from_secs(25))),
        ("a body that trickles", Answer::Trickle),
        ("the pause before the next try", Answer::Status(502, String::new())),
    ] {
        let (place, _origin) = place(|_| vec![answer]);
        ends_at_a_signal(name, quiet(place.command(&["run"])), &|| place.status()["running"] == true, &[143, 75]);
        ends_at_its_deadline(name, quiet(place.command(&["run"])));
    }
}

#[test]
fn monitor_that_never_answers_does_not_keep_a_run_from_ending() {
    let monitor = Silent::start();
    let (mut place, _origin) = place(one_page);
    place.set("ETL_PING_URL", &monitor.url);
    ends_at_a_signal("ping", quiet(place.command(&["run"])), &|| monitor.is_asked(), &[143]);
    ends_at_its_deadline("ping", quiet(place.command(&["run"])));
}

#[test]
fn store_that_never_answers_does_not_keep_a_run_from_ending() {
    let Some(server) = s3() else { return };
    let (origin, prefix) = (Origin::start(vec![]), unique_prefix("silent"));
    let mut place = Place::new("");
    let config = |endpoint: &str| {
        let load = server.load(&prefix).replace(&server.endpoint, endpoint);
        let hours = "[hours]\nlate_hold = \"0s\"\ndedup_window = \"0s\"\n";
        format!("[source]\nurl = \"{}\"\n{hours}[load]\n{load}", origin.url)
    };
    place.trust(&server);
    place.configure(&config(&server.endpoint));
    origin.script(one_page(&place.key));
    place.etl(&["run"]).exits(0);
    let silent = || {
        let silent = Silent::start();
        place.configure(&config(&silent.url));
        silent
    };
    // What was uploaded is read back, as its hashes are forgotten.
    for (name, args) in [
        ("import", &["run"][..]),
        ("rebuild", &["replay", "--from-s3"]),
        ("verify", &["verify", "--deep"]),
        ("restore", &["restore", "--out", "out"]),
        ("check", &["check"]),
        ("ddl", &["ddl", "--glue"]),
    ] {
        origin.script(vec![Answer::Page(page(&place.key, &[record(2, "2023-03-10T01:00:00.000Z")]))]);
        let silent = silent();
        ends_at_a_signal(name, quiet(place.command(args)), &|| silent.is_asked(), &[143, 75]);
    }
    ends_at_its_deadline("import", quiet(place.command(&["run"])));
    origin.script(vec![Answer::Page(page(&place.key, &[record(3, "2023-03-10T03:00:00.000Z")]))]);
    let silent = silent();
    ends_at_a_signal("upload", quiet(place.command(&["run"])), &|| silent.is_asked(), &[143, 75]);
    ends_at_its_deadline("upload", quiet(place.command(&["run"])));
    place.configure(&config(&server.endpoint));
    place.etl(&["run"]).exits(0);
    place.etl(&["verify", "--deep"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 3);
}

#[test]
fn streams_that_nobody_reads_do_not_keep_a_run_from_ending() {
    let (place, _origin) = place(one_page);
    place.etl(&["run"]).exits(0);
    mkfifo(&place.path("pipe"), Mode::S_IRWXU).unwrap();
    let is_over = || place.status()["running"] == false;
    for (name, args) in [
        ("summary", &["run"][..]),
        ("summary of a replay", &["replay", "--json"]),
        ("originals", &["restore"]),
        ("a page", &["status", "--html", "-"]),
        ("every", &["run", "--every", "1s"]),
    ] {
        let (stdout, reader) = full_pipe();
        let mut command = place.command(args);
        command.stdout(stdout).stderr(Stdio::null());
        ends_at_a_signal(name, command, &is_over, &[143, 74]);
        drop(reader);
    }
    let (stderr, reader) = full_pipe();
    let mut command = place.command(&["run", "-vv"]);
    command.stdout(Stdio::null()).stderr(stderr);
    ends_at_a_signal("log", command, &|| true, &[143]);
    drop(reader);
    for args in [&["run", "--metrics-file", "pipe"][..], &["run", "--every", "1s", "--metrics-file", "pipe"]] {
        ends_at_a_signal("metrics", quiet(place.command(args)), &is_over, &[143]);
        ends_at_its_deadline("metrics", quiet(place.command(args)));
    }
}

#[test]
fn simulation_ends_while_its_answers_stall() {
    let place = Place::new("");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let simulate = ["simulate", "--port", &port.to_string(), "--stall", "100", "--stall-for", "60s"];
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        write!(stream, "GET /api/data/log HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        Some(stream)
    };
    let asked = std::cell::RefCell::new(None);
    let is_asked = || {
        let mut asked = asked.borrow_mut();
        *asked = asked.take().or_else(ask);
        asked.is_some()
    };
    ends_at_a_signal("simulate", quiet(place.command(&simulate)), &is_asked, &[143]);
}

/// A place with a page of which all records are of one hour.
fn large_hour() -> Place {
    let place = Place::new("[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n");
    let logs: Vec<String> = (0..40_000).map(|n| record(n, "2023-03-10T01:00:00.000Z")).collect();
    place.page("pages/1.json", &logs);
    place
}

#[test]
fn large_hour_on_a_slow_disk_does_not_keep_a_run_from_ending() {
    let Some(shim) = shim() else { return tally::skipped("no disk was slow: that needs a C compiler, cc") };
    let place = large_hour();
    let is_sealing = || {
        let spool = place.path("etl-state/spool");
        spool.read_dir().is_ok_and(|mut names| names.next().is_some())
    };
    for _ in 0..2 {
        let command = quiet(shim.slow(&place, &["run"], "write", 400));
        ends_at_a_signal("sealing", command, &is_sealing, &[143]);
        let _ = std::fs::remove_dir_all(place.path("etl-state/spool"));
    }
    place.etl(&["run"]).exits(0);
    assert_eq!(place.status()["totals"]["uploaded"], 40_000);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn interrupted_restore_leaves_nothing_that_is_not_whole() {
    let place =
        Place::new("[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\npart_max_records = 50\n");
    let logs: Vec<String> = (0..3000).map(|n| record(n, "2023-03-10T01:00:00.000Z")).collect();
    place.page("pages/1.json", &logs);
    place.etl(&["run"]).exits(0);
    let out = place.path("out");
    let has_begun = || out.read_dir().is_ok_and(|mut names| names.next().is_some());
    let mut child = quiet(place.command(&["restore", "--out", "out"])).spawn().unwrap();
    while !has_begun() {
        assert!(child.try_wait().unwrap().is_none());
    }
    signal(&child, "-INT");
    ends("restore", child, SOON, &[130]);
    assert_eq!(out.read_dir().unwrap().count(), 0);
}
