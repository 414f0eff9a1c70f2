//! The limits of a system: threads, open files, the size of a file, quota, inodes, and streams that nobody reads.
//!
//! Whatever runs out: no panic, no signal, no damage. The work is done, or exit 74 names the limit; the next run completes.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};
use crate::support::shim::{Failure, Fault, Shim, shim};
use crate::support::state_dir::in_lake;
use crate::support::{s3, tally, unique_prefix};

/// A place with an hour that is pending, another in the lake, and a source with more.
struct Case {
    place: Place,
    _origin: Origin,
}

impl Case {
    /// The source: files, or a server by its name.
    fn new(is_files: bool) -> Self {
        let origin = Origin::start(vec![]);
        let url = if is_files { "file:pages/*.json".to_owned() } else { origin.url.replace("127.0.0.1", "localhost") };
        let config = |hold: &str, url: &str| {
            format!(
                "[source]\nurl = \"{url}\"\nretries = 0\n[hours]\nlate_hold = \"{hold}\"\n[load]\nto = \"file:lake\"\n"
            )
        };
        let place = Place::new(&config("0s", &origin.url));
        let at = |id: u64| record(id, &format!("2023-03-10T0{}:00:00.000Z", id % 5));
        let logs = |ids: std::ops::Range<u64>| page(&place.key, &ids.map(at).collect::<Vec<_>>());
        origin.script(vec![Answer::Page(logs(1..11)), Answer::Page(logs(11..21)), Answer::Page(logs(21..31))]);
        place.etl(&["run"]).exits(0);
        place.configure(&config("1h", &origin.url));
        place.etl(&["run"]).exits(0);
        place.configure(&config("0s", &url));
        for file in 0..3 {
            place.page(&format!("pages/{file}.json"), &(21 + file..31).map(at).collect::<Vec<_>>());
        }
        Self { place, _origin: origin }
    }

    /// Checks what a run with too little of something did, and that the next has all of it.
    fn survives(&self, case: &str, ran: &Ran, named: &str) {
        assert!([0, 74].contains(&ran.code) && !ran.err.contains("panicked"), "{case}: {ran:#?}");
        assert!(ran.code == 0 || ran.err.contains(named), "{case}: {ran:#?}");
        let aside = self.place.path("etl-state/wal").read_dir().unwrap();
        let aside = aside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let aside: Vec<String> = aside.filter(|name| name.contains("corrupt") || name.contains("condemned")).collect();
        assert!(aside.is_empty(), "{case}: a limit is no damage: {aside:?} {ran:#?}");
        let next = self.place.etl(&["run", "--drain"]);
        assert_eq!(next.code, 0, "{case}: {next:#?} after {ran:#?}");
        let expected: BTreeMap<u64, u32> = (1..31).map(|id| (id, 1)).collect();
        assert_eq!(in_lake(&self.place), expected, "{case}: {ran:#?}");
        self.place.etl(&["verify", "--deep"]).exits(0);
    }

    /// Runs under a limit of the shell's `ulimit`.
    fn limited(&self, limit: &str) -> Ran {
        let etl = env!("CARGO_BIN_EXE_etl");
        let plain = self.place.command(&[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit {limit} && exec {etl} run")]).env_clear();
        shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.current_dir(plain.get_current_dir().unwrap()).stdin(Stdio::null());
        shell.output().unwrap().into()
    }
}

#[test]
fn work_is_done_on_the_threads_that_there_are() {
    let Some(shim) = shim() else { return tally::skipped("no thread was refused: that needs a C compiler, cc") };
    for is_files in [true, false] {
        for threads in tally::scale(vec![0, 1, 2, 3, 5, 8], (0..16).collect()) {
            let case = Case::new(is_files);
            let ran = shim.run_with_threads(&case.place, &["run"], threads);
            // One listens to signals, another writes the log: without these nothing is begun.
            assert_eq!(ran.code, if threads < 2 { 74 } else { 0 }, "{threads} threads, files: {is_files}: {ran:#?}");
            case.survives(&format!("{threads} threads"), &ran, "the limit on threads is reached");
        }
    }
}

#[test]
fn new_state_is_begun_with_two_threads() {
    let Some(shim) = shim() else { return };
    let place = Place::new("[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n");
    for file in 0..70 {
        place.page(&format!("pages/{file:02}.json"), &[record(file + 1, "2023-03-10T01:00:00.000Z")]);
    }
    shim.run_with_threads(&place, &["run"], 2).exits(0);
    assert_eq!(in_lake(&place).len(), 70);
    for command in [["verify", "--deep"], ["restore", "--out"]] {
        let args = if command[0] == "restore" { vec!["restore", "--out", "out"] } else { command.to_vec() };
        shim.run_with_threads(&place, &args, 0).exits(0);
    }
}

#[test]
fn few_open_files_are_said_and_are_no_damage() {
    for is_files in [true, false] {
        for files in tally::scale(vec![4, 6, 8, 10, 12], (4..24).collect()) {
            let case = Case::new(is_files);
            let ran = case.limited(&format!("-n {files}"));
            case.survives(&format!("{files} open files"), &ran, "raise the limit on open files: `ulimit -n`");
        }
    }
}

#[test]
fn file_that_cannot_be_opened_at_any_moment_is_no_damage() {
    let Some(shim) = shim() else { return };
    let opens = {
        let case = Case::new(true);
        shim.run(&case.place, &["run"], None).0.exits(0);
        Shim::calls(&case.place).into_iter().find(|(call, _)| call == "open").unwrap().1
    };
    let step = usize::try_from(opens / tally::scale(8, opens)).unwrap();
    for number in (1..=opens).step_by(step.max(1)) {
        let case = Case::new(true);
        let fault = Fault { call: "open".to_owned(), number, failure: Failure::NoDescriptor };
        let (ran, _) = shim.run(&case.place, &["run"], Some(&fault));
        case.survives(&format!("open {number} of {opens}"), &ran, "raise the limit on open files");
    }
}

#[test]
fn file_that_may_not_grow_is_a_full_disk() {
    let mut refused = 0;
    for blocks in tally::scale(vec![0, 8, 200, 2000], (0..2000).step_by(100).collect()) {
        let case = Case::new(true);
        let ran = case.limited(&format!("-f {blocks}"));
        refused += i32::from(ran.code == 74);
        case.survives(&format!("{blocks} blocks"), &ran, "raise the limit on the size of a file: `ulimit -f`");
    }
    assert!(refused > 1);
}

#[test]
fn quota_that_is_used_up_is_a_full_disk() {
    let Some(shim) = shim() else { return };
    for call in ["write", "pwrite", "fallocate", "fsync"] {
        let case = Case::new(true);
        let fault = Fault { call: call.to_owned(), number: 2, failure: Failure::NoQuota };
        let (ran, _) = shim.run(&case.place, &["run"], Some(&fault));
        case.survives(call, &ran, "the disk quota of this user is used up");
    }
}

#[test]
fn disk_without_inodes_is_told_from_a_full_one() {
    let place = Place::new(
        "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n[state]\ndir = \"disk/state\"\nmin_free = \"1\"\n",
    );
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    let disk = place.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m,nr_inodes=60", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return tally::skipped("no disk was without inodes: that needs root, to mount a tmpfs");
    }
    let filled = (0..100).take_while(|n| std::fs::write(disk.join(n.to_string()), "").is_ok()).count();
    let ran = place.etl(&["run"]);
    (0..filled).for_each(|n| std::fs::remove_file(disk.join(n.to_string())).unwrap());
    let next = place.etl(&["run"]);
    let found = in_lake(&place);
    let _ = Command::new("umount").arg("-l").arg(&disk).status();
    assert_eq!(ran.code, 74, "{ran:#?}");
    assert!(ran.err.contains("no inodes are left on its disk"), "{ran:#?}");
    assert_eq!((next.code, found), (0, [(1, 1)].into()), "{next:#?}");
}

#[test]
fn streams_that_nobody_reads_change_no_exit_code() {
    let place = Place::new("[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n");
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    for (args, code) in [
        (&["run", "-vv"][..], 0),
        (&["run", "--log-format", "text", "-vv"], 0),
        (&["status"], 0),
        (&["restore"], 0),
        (&["restore", "--hour", "2000-01-01T00"], 2),
        (&["restore", "--hour", "2000-01-01T00", "--log-format", "text"], 2),
        (&["no-such-command"], 2),
        (&["--help"], 0),
    ] {
        for is_closed in [true, false] {
            let stream = || {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                Stdio::from(writer)
            };
            let mut command = place.command(args);
            if is_closed {
                let etl = env!("CARGO_BIN_EXE_etl");
                let plain = place.command(&[]);
                command = Command::new("sh");
                command.args(["-c", &format!("exec {etl} {} <&- >&- 2>&-", args.join(" "))]).env_clear();
                command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
                command.current_dir(plain.get_current_dir().unwrap());
            }
            let ended = command.stdout(stream()).stderr(stream()).status().unwrap();
            assert_eq!(ended.code(), Some(code), "{args:?}, closed: {is_closed}");
        }
    }
}

#[test]
fn no_home_and_no_folder_for_temporary_files_are_needed() {
    let Some(server) = s3() else { return };
    let load = server.load(&unique_prefix("nohome"));
    let mut place = Place::new(&format!("[source]\nurl = \"file:pages/*.json\"\n[load]\n{load}"));
    place.trust(&server);
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00.000Z")]);
    for (name, value) in [("TMPDIR", "/no/such/folder"), ("HOME", "/no/such/home"), ("TMPDIR", "/proc"), ("HOME", "")] {
        place.set(name, value);
        for args in [&["run"][..], &["check"], &["verify", "--deep"], &["restore"], &["status"]] {
            let ran = place.etl(args);
            assert_eq!(ran.code, 0, "{name}={value}: {args:?}: {ran:?}");
        }
    }
}
