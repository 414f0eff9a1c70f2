//! What commands write outside of the state directory: files, links, devices and pipes that the operator names.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::support::cli::{Place, Ran, record};
use crate::support::shim::in_time;
use crate::support::tally;

const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

/// How to have a command write the file of that name in a folder, and a line that is in it.
struct Writer {
    args: fn(&str) -> Vec<String>,
    name: &'static str,
    text: &'static str,
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Those that replace a file.
const REPLACING: [Writer; 6] = [
    Writer { args: |dir| words(&format!("status --html {dir}/x")), name: "x", text: "</html>" },
    Writer { args: |dir| words(&format!("run --metrics-file {dir}/x")), name: "x", text: "etl_last_run_exit_code 0" },
    Writer {
        args: |dir| words(&format!("simulate --out made --pages 1 --records 3 --truth {dir}/x")),
        name: "x",
        text: "\"record_id\"",
    },
    Writer { args: |dir| words(&format!("simulate --out {dir} --pages 1")), name: "page-0001.json", text: "\"data\"" },
    Writer { args: |dir| words(&format!("restore --out {dir}")), name: "2023-03-08T01.ndjson", text: "\"record_id\"" },
    Writer { args: |dir| words(&format!("man --out {dir}")), name: "etl-run.1", text: "etl run" },
];

/// Those that never do.
const MAKING: [Writer; 2] = [
    Writer { args: |dir| words(&format!("init {dir}/x")), name: "x", text: "[source]" },
    Writer { args: |dir| words(&format!("quarantine export --out {dir}/x")), name: "x", text: "\"reason\"" },
];

impl Writer {
    fn run(&self, place: &Place, dir: &str) -> Ran {
        let args = (self.args)(dir);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        in_time(child, Duration::from_secs(30))
    }
}

/// A place with an hour in its lake and a token in its quarantine.
fn place() -> Place {
    let place = Place::new(FILES);
    place.page("pages/1.json", &[record(1, "2023-03-08T01:00:00.000Z"), "no record".to_owned()]);
    place.etl(&["run"]).exits(65);
    place
}

fn folder(place: &Place, name: &str) -> PathBuf {
    let path = place.path(name);
    fs::create_dir(&path).unwrap();
    path
}

fn others(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn operator_s_link_stays_and_its_target_is_replaced() {
    let place = place();
    for (n, writer) in REPLACING.iter().enumerate() {
        let (dir, real) = (folder(&place, &format!("out{n}")), folder(&place, &format!("real{n}")));
        let (link, target) = (dir.join(writer.name), real.join("target"));
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o640)).unwrap();
        symlink(format!("../real{n}/target"), &link).unwrap();
        let ran = writer.run(&place, &format!("out{n}")).exits(0);
        assert!(link.is_symlink() && !target.is_symlink(), "{ran:?}");
        assert!(fs::read_to_string(&target).unwrap().contains(writer.text), "{ran:?}");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o640);
        assert_eq!(others(&real), [target]);
    }
}

#[test]
fn link_that_another_user_planted_leads_nowhere() {
    if !Uid::effective().is_root() {
        return tally::skipped("no link was another user's: that needs root");
    }
    let place = place();
    let victim = place.path("victim");
    fs::write(&victim, "theirs").unwrap();
    for mode in [0o777, 0o1777, 0o775] {
        for writer in REPLACING.iter().chain(&MAKING) {
            let dir = folder(&place, "shared");
            fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
            let link = dir.join(writer.name);
            symlink(&victim, &link).unwrap();
            lchown(&link, Some(12345), Some(12345)).unwrap();
            let ran = writer.run(&place, "shared");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs", "{ran:?}");
            // Metrics that cannot be written are a warning.
            assert!(ran.code != 0 || ran.err.contains("the run goes on without"), "{ran:?}");
            assert!(ran.err.contains("another user (uid 12345)"), "{ran:?}");
            fs::remove_dir_all(dir).unwrap();
        }
    }
}

#[test]
fn links_under_names_that_could_be_guessed_are_left_alone() {
    let place = place();
    let victim = place.path("victim");
    fs::write(&victim, "theirs").unwrap();
    let me = std::process::id();
    for writer in &REPLACING {
        let dir = folder(&place, "shared");
        let guesses = (me..me + 2000).map(|pid| format!(".{}.{pid}.tmp", writer.name));
        let guesses = guesses.chain([format!("{}.tmp", writer.name), ".2023-03-08T01.tmp".to_owned()]);
        guesses.for_each(|name| symlink(&victim, dir.join(name)).unwrap());
        writer.run(&place, "shared").exits(0);
        assert!(fs::read_to_string(dir.join(writer.name)).unwrap().contains(writer.text));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs");
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn device_and_pipe_stay_what_they_are() {
    let place = place();
    for writer in REPLACING.iter().chain(&MAKING) {
        let dir = folder(&place, "dev");
        symlink("/dev/null", dir.join(writer.name)).unwrap();
        writer.run(&place, "dev").exits(0);
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert_eq!(others(&dir).iter().filter(|path| path.is_file()).count(), others(&dir).len() - 1);
        fs::remove_dir_all(&dir).unwrap();

        fs::create_dir(&dir).unwrap();
        let pipe = dir.join(writer.name);
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let reading = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().unwrap();
        writer.run(&place, "dev").exits(0);
        let read = Ran::from(reading.wait_with_output().unwrap());
        assert!(read.out.contains(writer.text), "{read:?}");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn file_that_is_there_is_never_replaced_by_what_only_makes_files() {
    let place = place();
    let dir = folder(&place, "out");
    for writer in &MAKING {
        fs::write(dir.join("x"), "theirs").unwrap();
        let ran = writer.run(&place, "out");
        assert!([2, 74].contains(&ran.code) && ran.err.contains("is there already"), "{ran:?}");
        assert_eq!(fs::read_to_string(dir.join("x")).unwrap(), "theirs");
        fs::remove_file(dir.join("x")).unwrap();
        writer.run(&place, "out").exits(0);
        assert!(fs::read_to_string(dir.join("x")).unwrap().contains(writer.text));
    }
}

#[test]
fn directory_in_the_place_of_a_file_is_named() {
    let place = place();
    for writer in REPLACING.iter().chain(&MAKING) {
        let dir = folder(&place, "out");
        fs::create_dir(dir.join(writer.name)).unwrap();
        let ran = writer.run(&place, "out");
        assert!(ran.err.contains("is a directory"), "{ran:?}");
        fs::remove_dir_all(dir).unwrap();
    }
    fs::write(place.path("file"), "theirs").unwrap();
    for command in ["restore", "man"] {
        let ran = place.etl(&[command, "--out", "file"]).exits(2);
        assert!(ran.err.contains("is not a directory"), "{ran:?}");
    }
}

#[test]
fn dash_and_dev_stdout_are_stdout() {
    let place = place();
    for target in ["-", "/dev/stdout", "/dev/fd/1"] {
        let page = place.etl(&["status", "--html", target]).exits(0).out;
        assert!(page.starts_with("<!doctype html>") && page.contains("</html>"), "{target}: {page}");
        let ran = place.etl(&["run", "--json", "--metrics-file", target]).exits(0);
        assert!(ran.out.contains("\netl_last_run_exit_code 0\n"), "{target}: {ran:?}");
        assert_eq!(ran.json()["schema"], 1);
        let tokens = place.etl(&["quarantine", "export", "--out", target]).exits(0).out;
        assert_eq!(tokens, place.etl(&["quarantine", "export"]).exits(0).out, "{target}");
        let config = place.etl(&["init", target]).exits(0).out;
        assert!(config.contains("[source]"), "{target}: {config}");
        // A file that the shell opened to append to keeps what it has.
        let log = place.path("log");
        fs::write(&log, "before\n").unwrap();
        let append = fs::OpenOptions::new().append(true).open(&log).unwrap();
        assert!(place.command(&["status", "--html", target]).stdout(append).status().unwrap().success());
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.starts_with("before\n") && text.contains("</html>"), "{target}: {text}");
    }
    assert!(!place.path("-").exists());
}

#[test]
fn pipe_that_nobody_reads_holds_nobody_up() {
    let place = place();
    mkfifo(&place.path("pipe"), Mode::S_IRWXU).unwrap();
    let started = Instant::now();
    let ran = place.etl(&["run", "--max-runtime", "1s", "--metrics-file", "pipe"]).exits(0);
    assert!(ran.err.contains("a pipe that nobody reads"), "{ran:?}");
    let ran = place.etl(&["status", "--html", "pipe"]).exits(74);
    assert!(ran.err.contains("a pipe that nobody reads"), "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(fs::symlink_metadata(place.path("pipe")).unwrap().file_type().is_fifo());
}
