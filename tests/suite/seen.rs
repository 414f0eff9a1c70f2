//! Every failed run is seen: what `etl status --check` says after each way to fail, and after the next good run.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::full_disk::SmallDisk;
use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::tally;

/// A pipeline that was well, and can be broken and mended.
struct Pipeline {
    place: Place,
    origin: Origin,
    /// Logs that the source handed out.
    logs: u64,
}

impl Pipeline {
    fn new() -> Self {
        let origin = Origin::start(vec![Answer::Page("[]".into())]);
        let mut pipeline = Self { place: Place::new(""), origin, logs: 0 };
        pipeline.configure("");
        pipeline.runs_well();
        pipeline
    }

    fn configure(&self, more: &str) {
        let url = &self.origin.url;
        self.place.configure(&format!(
            "[source]\nurl = \"{url}\"\nretries = 0\nsequence = \"\"\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n{more}"
        ));
    }

    /// The source has another log.
    fn supply(&mut self) {
        self.logs += 1;
        let log = record(self.logs, "2023-03-10T01:00:00.000Z");
        self.origin.script(vec![Answer::Page(page(&self.place.key, &[log]))]);
    }

    #[track_caller]
    fn runs_well(&mut self) {
        self.supply();
        self.place.etl(&["run"]).exits(0);
        let ran = check(&self.place);
        assert!(ran.code == 0 && ran.out.starts_with("OK - last run "), "{ran:?}");
        let text = self.place.etl(&["status"]).exits(0).out;
        assert!(text.lines().next().unwrap().ends_with(": all well"), "{text}");
    }

    /// A run that ends with `exit` is seen as what it was, and a replay does not hide it.
    #[track_caller]
    fn is_seen(&self, exit: i32, level: i32, why: &str) {
        let ran = self.place.etl(&["run"]).exits(exit);
        for reflex in [None, Some("replay")] {
            reflex.map(|command| self.place.etl(&[command]));
            let found = check(&self.place);
            assert_eq!(found.code, level, "{found:?} after {ran:?}");
            assert!(found.out.contains(why), "{why:?} is not in {found:?}");
            let text = self.place.etl(&["status"]);
            assert!(!text.out.contains("all well"), "{text:?}");
        }
    }

    fn append(&self, text: &str) -> impl Fn() + use<> {
        let path = self.place.path("etl.toml");
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{good}{text}")).unwrap();
        move || std::fs::write(&path, &good).unwrap()
    }
}

/// `etl status --check`: one line and 0 to 3, whatever is wrong.
#[track_caller]
fn check(place: &Place) -> Ran {
    let ran = place.etl(&["status", "--check"]);
    assert!((0..=3).contains(&ran.code) && ran.out.lines().count() == 1 && ran.err.is_empty(), "{ran:?}");
    let level = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::try_from(ran.code).unwrap()];
    assert!(ran.out.starts_with(&format!("{level} - ")), "{ran:?}");
    ran
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn configuration_that_is_wrong_is_seen_until_a_run_succeeds() {
    let mut pipeline = Pipeline::new();
    for (text, why) in [
        ("[broken\n", "etl.toml, line 9: "),
        ("[state]\nmin_fre = \"1MiB\"\n", "unknown key \"min_fre\" in [state]"),
        ("[run]\nstatus_mode = \"0777\"\n", "run.status_mode: not the permissions of a file"),
        ("[hours]\ngrace = 5\n", "etl.toml, line 9: "),
        ("[source.auth]\nstyle = 1\n[run]\nmetrics_file = 5\n", "etl.toml, line "),
    ] {
        let mend = pipeline.append(text);
        pipeline.is_seen(78, 2, why);
        mend();
        let found = check(&pipeline.place);
        assert!(found.code == 2 && found.out.contains(why), "until a run succeeds: {found:?}");
        pipeline.runs_well();
    }
}

#[test]
fn key_that_is_missing_malformed_or_wrong_is_seen_until_a_run_succeeds() {
    let mut pipeline = Pipeline::new();
    let right = pipeline.place.key.clone();
    let wrong = fernet::Fernet::generate_key();
    for (key, exit, why) in [
        ("", 78, "FERNET_KEY is not set"),
        ("nonsense", 78, "FERNET_KEY in the environment: entry 1 is not a Fernet key"),
        (&wrong, 77, "exit 77"),
    ] {
        pipeline.supply();
        pipeline.place.set("FERNET_KEY", key);
        pipeline.is_seen(exit, 2, why);
        pipeline.place.set("FERNET_KEY", &right);
        pipeline.runs_well();
    }
}

#[test]
fn source_or_store_that_is_away_is_seen_until_a_run_succeeds() {
    let mut pipeline = Pipeline::new();
    pipeline.origin.script(vec![Answer::Status(503, "away".into())]);
    pipeline.is_seen(75, 1, "the last run ended with exit 75");
    pipeline.runs_well();
    // Where the lake was is a file.
    let (lake, aside) = (pipeline.place.path("lake"), pipeline.place.path("aside"));
    std::fs::rename(&lake, &aside).unwrap();
    std::fs::write(&lake, "").unwrap();
    pipeline.supply();
    let ran = pipeline.place.etl(&["run"]);
    assert!([74, 75].contains(&ran.code), "{ran:?}");
    let found = check(&pipeline.place);
    assert!(found.code > 0 && found.out.contains(&format!("exit {}: ", ran.code)), "{found:?}");
    std::fs::remove_file(&lake).unwrap();
    std::fs::rename(&aside, &lake).unwrap();
    pipeline.runs_well();
}

#[test]
fn state_directory_that_is_refused_is_seen_also_before_a_run_is() {
    let mut pipeline = Pipeline::new();
    let state = pipeline.place.path("etl-state");
    chmod(&state, 0o777);
    let found = check(&pipeline.place);
    assert!(found.code == 2 && found.out.contains("can be written by others: chmod 700 "), "{found:?}");
    pipeline.is_seen(74, 2, "can be written by others");
    chmod(&state, 0o700);
    let found = check(&pipeline.place);
    assert!(found.code == 2 && found.out.contains("the last run ended with exit 74"), "{found:?}");
    pipeline.runs_well();
    // Damaged, or of a newer version: nothing can be said.
    for (name, text, why) in
        [("status.json", "{\"schema\":".to_owned(), "cannot read "), ("format", newer(&state), "newer than this etl")]
    {
        let path = state.join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        let found = check(&pipeline.place);
        assert!(found.code == 3 && found.out.contains(why), "{found:?}");
        if name == "format" {
            pipeline.place.etl(&["run"]).exits(74);
            assert_eq!(check(&pipeline.place).code, 3);
        }
        std::fs::write(&path, good).unwrap();
        pipeline.runs_well();
    }
}

/// The file `format` of a state directory as a newer version would write it.
fn newer(state: &Path) -> String {
    let text = std::fs::read_to_string(state.join("format")).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    let mut format: Value = serde_json::from_str(body).unwrap();
    format["format"] = Value::from(99);
    let body = format.to_string();
    format!("{}\n{body}", blake3::hash(body.as_bytes()).to_hex())
}

#[test]
fn run_that_is_killed_is_seen_until_a_run_succeeds() {
    let mut pipeline = Pipeline::new();
    pipeline.origin.script(vec![Answer::Stall(Duration::from_secs(60))]);
    let mut run = pipeline.place.spawn(&["run"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while pipeline.place.status()["running"] != Value::Bool(true) {
        assert!(Instant::now() < deadline, "it never began");
    }
    assert_eq!(check(&pipeline.place).code, 0, "one that is at work is judged by the one before");
    // A run that finds it at work leaves everything as it is.
    let written = || {
        let files = ["status.json", "runs/index.jsonl"].map(|name| pipeline.place.path("etl-state").join(name));
        files.map(|path| std::fs::read(path).unwrap())
    };
    let before = written();
    pipeline.place.etl(&["replay"]).exits(11);
    assert_eq!(written(), before);
    run.kill().unwrap();
    run.wait().unwrap();
    let why = "the last run was killed: it began ";
    let found = check(&pipeline.place);
    assert!(found.code == 1 && found.out.contains(why), "{found:?}");
    pipeline.place.etl(&["replay"]).exits(0);
    let found = check(&pipeline.place);
    assert!(found.code == 1 && found.out.contains(why), "a replay does not hide it: {found:?}");
    let runs = pipeline.place.etl(&["status", "--runs", "--json"]).exits(0).json();
    let killed: Vec<&Value> =
        runs["runs"].as_array().unwrap().iter().filter(|run| run["killed"] == Value::Bool(true)).collect();
    assert!(killed.len() == 1 && killed[0]["exit"].is_null(), "{runs}");
    pipeline.runs_well();
}

#[test]
fn run_that_never_asked_its_source_is_no_success() {
    let pipeline = Pipeline::new();
    let before = pipeline.place.status()["last_success"].clone();
    pipeline.origin.script(vec![Answer::Stall(Duration::from_secs(60))]);
    pipeline.place.etl(&["run", "--max-runtime", "1ms"]);
    pipeline.place.etl(&["replay"]).exits(0);
    pipeline.place.etl(&["run", "--dry-run", "--max-runtime", "1ms"]);
    assert_eq!(pipeline.place.status()["last_success"], before);
    let found = pipeline.place.etl(&["status", "--check", "--warn-age", "1s", "--crit-age", "0s"]);
    assert!(found.code <= 1, "{found:?}");
}

#[test]
fn first_run_that_fails_under_a_configuration_leaves_a_record() {
    let mut place = Place::new("[source]\nurl = \"http://127.0.0.1:9/\"\n[load]\nto = \"file:lake\"\n");
    place.set("FERNET_KEY", "");
    assert_eq!(check(&place).code, 3);
    place.etl(&["run"]).exits(78);
    let found = check(&place);
    assert!(found.code == 2 && found.out.contains("FERNET_KEY is not set (hint: set FERNET_KEY "), "{found:?}");
    assert!(found.out.contains("; no run has succeeded yet"), "{found:?}");
    // Nothing was found: nothing is made.
    let nowhere = Place::new("");
    std::fs::remove_file(nowhere.path("etl.toml")).unwrap();
    nowhere.etl(&["run"]).exits(78);
    assert!(!nowhere.path("etl-state").exists());
}

#[test]
fn check_answers_on_one_line_whatever_is_wrong_with_the_configuration() {
    let pipeline = Pipeline::new();
    let place = &pipeline.place;
    let file = place.path("etl.toml");
    // What says nothing about the state directory does not keep it from being looked at.
    for text in ["[state]\nunknown = 5\n", "[source]\nkeys_env = \"NOT_SET\"\n", "\u{feff}[load]\nto = 5\n"] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(check(place).code, 0, "{text}");
    }
    for (text, why) in [
        ("[state]\ndir = 5\n", "state.dir"),
        ("[state\ndir = \"elsewhere\"\n", "etl.toml, line "),
        ("[state]\ndir = \"~/state\"\n", "state.dir"),
        ("[state]\ndir = \"else\nwhere", "etl.toml, line "),
    ] {
        std::fs::write(&file, text).unwrap();
        let found = check(place);
        assert!(found.code >= 2 && found.out.contains(why), "{text}: {found:?}");
    }
    std::fs::write(&file, b"\xff\xfe\0[\0").unwrap();
    assert_ne!(check(place).code, 0);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let found = check(place);
    assert!(found.code == 3 && found.out.contains("cannot read the configuration file"), "{found:?}");
    let named = place.etl(&["status", "--check", "--config", "nowhere.toml"]);
    assert!(named.code == 3 && named.out.contains("no configuration file"), "{named:?}");
    let missing = Place::new("[state]\ndir = \"nowhere\"\n");
    assert!(check(&missing).out.starts_with("UNKNOWN - no run yet"));
}

/// The program where another user can run it.
fn for_others(place: &Place) -> Option<PathBuf> {
    if !nix::unistd::Uid::effective().is_root() {
        tally::skipped("nobody else looked: that needs root, to be another user");
        return None;
    }
    let program = place.path("etl");
    std::fs::hard_link(env!("CARGO_BIN_EXE_etl"), &program)
        .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_etl"), &program).map(drop))
        .unwrap();
    chmod(program.parent().unwrap(), 0o755);
    Some(program)
}

#[test]
fn user_who_may_read_neither_keys_nor_state_sees_every_failed_run() {
    let mut pipeline = Pipeline::new();
    let Some(program) = for_others(&pipeline.place) else { return };
    let as_nobody = |place: &Place| -> Ran {
        let mut command = Command::new(&program);
        command.args(["status", "--check"]).current_dir(place.path("")).env_clear();
        std::os::unix::process::CommandExt::uid(&mut command, 65534);
        let ran: Ran = command.output().unwrap().into();
        assert!(ran.out.lines().count() == 1 && ran.err.is_empty() && (0..=3).contains(&ran.code), "{ran:?}");
        ran
    };
    let found = as_nobody(&pipeline.place);
    assert!(found.code == 3 && found.out.contains("run.status_file"), "{found:?}");

    pipeline.configure("[run]\nstatus_file = \"watch/status.json\"\n");
    let copy = pipeline.place.path("watch/status.json");
    let warned = pipeline.place.etl(&["run"]).exits(0);
    assert_eq!(warned.err.matches("run.status_file is not written").count(), 1, "said once: {warned:?}");
    std::fs::create_dir(copy.parent().unwrap()).unwrap();
    chmod(copy.parent().unwrap(), 0o755);
    pipeline.runs_well();
    assert_eq!(std::fs::metadata(&copy).unwrap().mode() & 0o777, 0o644);
    assert!(as_nobody(&pipeline.place).out.starts_with("OK - last run "));

    pipeline.place.set("FERNET_KEY", "");
    pipeline.place.etl(&["run"]).exits(78);
    let found = as_nobody(&pipeline.place);
    assert!(found.code == 2 && found.out.contains("FERNET_KEY is not set"), "{found:?}");
    let key = pipeline.place.key.clone();
    pipeline.place.set("FERNET_KEY", &key);
    pipeline.runs_well();
    assert_eq!(as_nobody(&pipeline.place).code, 0);

    // The state is gone, and everybody was well a moment ago.
    std::fs::rename(pipeline.place.path("etl-state"), pipeline.place.path("lost")).unwrap();
    let found = check(&pipeline.place);
    assert!(found.code == 2 && found.out.contains("etl-state is missing"), "{found:?}");
}

#[test]
fn copy_has_the_mode_that_is_asked_for_whatever_the_umask_and_the_old_one() {
    let pipeline = Pipeline::new();
    for mode in ["0640", "0600", "0644"] {
        pipeline.configure(&format!("[run]\nstatus_file = \"copy.json\"\nstatus_mode = \"{mode}\"\n"));
        let line = format!("umask 077 && exec {} run", env!("CARGO_BIN_EXE_etl"));
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(pipeline.place.path("")).env_clear();
        command.envs(pipeline.place.env.iter().map(|(name, value)| (name, value)));
        assert!(command.output().unwrap().status.success());
        let found = std::fs::metadata(pipeline.place.path("copy.json")).unwrap().mode() & 0o777;
        assert_eq!(format!("{found:04o}"), mode);
        let copy: Value = serde_json::from_slice(&std::fs::read(pipeline.place.path("copy.json")).unwrap()).unwrap();
        assert_eq!(copy["last_success"], pipeline.place.status()["last_success"]);
    }
}

/// A pipeline the state of which is on a small disk of its own.
fn on_a_small_disk() -> Option<(Pipeline, SmallDisk)> {
    let origin = Origin::start(vec![Answer::Page("[]".into())]);
    let mut pipeline = Pipeline { place: Place::new(""), origin, logs: 0 };
    let disk = SmallDisk::mount(&pipeline.place.path("disk"), 64)?;
    pipeline.configure("[state]\ndir = \"disk/state\"\nmin_free = \"8MiB\"\n[run]\nstatus_file = \"status.json\"\n");
    pipeline.runs_well();
    Some((pipeline, disk))
}

#[test]
fn disk_that_is_full_is_seen_until_a_run_succeeds() {
    let Some((mut pipeline, disk)) = on_a_small_disk() else { return };
    disk.fill();
    pipeline.supply();
    pipeline.is_seen(74, 2, "the last run ended with exit 74");
    // Now nothing is left that could be given up.
    disk.free();
    disk.fill();
    pipeline.place.etl(&["run"]).exits(74);
    assert_eq!(check(&pipeline.place).code, 2);
    disk.free();
    pipeline.runs_well();
}

#[test]
fn state_that_can_only_be_read_is_seen_until_a_run_succeeds() {
    let Some((mut pipeline, _disk)) = on_a_small_disk() else { return };
    let remount = |how: &str| {
        let disk = pipeline.place.path("disk");
        assert!(Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(disk).status().unwrap().success());
    };
    remount("ro");
    let found = check(&pipeline.place);
    assert!(found.code == 2 && found.out.contains("no run can use the state directory"), "{found:?}");
    pipeline.is_seen(74, 2, "the last run ended with exit 74");
    remount("rw");
    let found = check(&pipeline.place);
    assert!(found.code == 2 && found.out.contains("the last run ended with exit 74"), "{found:?}");
    pipeline.runs_well();
}
