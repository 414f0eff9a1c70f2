//! A disk that fails at the n-th call: the run says so and ends, the next one completes, nothing lost, nothing twice.
//!
//! strace makes the call fail. Which calls a run makes on its files is read off a run that does not fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};

const CALLS: [&str; 9] =
    ["write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "openat", "unlink", "mkdir"];
/// Of the calls of a kind so many are made to fail, spread evenly, the first and the last among them.
const SAMPLE: usize = 14;
/// A run takes a fraction of a second.
const HANGS: Duration = Duration::from_secs(60);

/// A disk that fails.
#[derive(Debug, Clone, Copy)]
struct Fault {
    call: &'static str,
    error: &'static str,
    /// Which of the calls of that kind, in each thread.
    when: usize,
}

fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join("strace")).find(|file| file.is_file())?;
    let works = Command::new(&found).args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    works.is_ok_and(|status| status.success()).then_some(found)
}

/// The numbers of the calls, among all of their kind and thread, that a run made on files of its place at `root`.
fn calls_on(trace: &str, root: &Path) -> BTreeMap<&'static str, BTreeSet<usize>> {
    let named = ["etl-state", "lake"].map(|name| format!("{}{name}", root.display()));
    let (mut seen, mut ours) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<usize>>::new());
    for line in trace.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        let Some(call) = CALLS.into_iter().find(|call| line.contains(&format!(" {call}("))) else { continue };
        let number: usize = *seen.entry((thread, call)).and_modify(|n| *n += 1).or_insert(1);
        if named.iter().any(|name| line.contains(name.as_str())) {
            ours.entry(call).or_default().insert(number);
        }
    }
    ours
}

/// At most [`SAMPLE`] of the numbers, spread evenly.
fn spread(numbers: &[usize]) -> Vec<usize> {
    let chosen = numbers.len().min(SAMPLE);
    (0..chosen).filter_map(|n| numbers.get(n * (numbers.len() - 1) / (chosen - 1).max(1))).copied().collect()
}

/// Two runs over scripted pages; the second is the one whose disk fails.
struct Runs {
    strace: PathBuf,
    key: String,
    pages: [String; 2],
}

impl Runs {
    fn new(strace: PathBuf) -> Self {
        let key = fernet::Fernet::generate_key();
        let log = |id: u64, hour: u64| record(id, &format!("2023-03-10T{hour:02}:{id:02}:00.000Z"));
        let first = page(&key, &[log(1, 1), log(2, 1), log(3, 2)]);
        let second = page(&key, &[log(3, 2), log(4, 1), log(5, 2), log(6, 3)]);
        // One token that is no record.
        let second = second.replacen('[', "[{\"data\":\"garbage\"},", 1);
        Self { strace, key, pages: [first, second] }
    }

    /// A place after its first run, and its source, which gives the second page from now on.
    fn begin(&self) -> (Place, Origin) {
        let origin = Origin::start(vec![Answer::Page(self.pages[0].clone())]);
        let mut place = Place::in_memory(&format!(
            "[source]\nurl = \"{}\"\nretries = 0\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n",
            origin.url
        ));
        place.set("FERNET_KEY", &self.key);
        place.etl(&["run"]).exits(0);
        origin.script(vec![Answer::Page(self.pages[1].clone())]);
        (place, origin)
    }

    fn traced(&self, place: &Place, args: &[String]) -> Ran {
        let mut command = Command::new(&self.strace);
        command.args(["-f", "-y", "-o", "trace"]).args(args).args([env!("CARGO_BIN_EXE_etl"), "run"]);
        command.current_dir(place.path("")).env_clear().envs(place.env.iter().cloned()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let (group, started) = (child.id(), Instant::now());
        let waiting = std::thread::spawn(move || child.wait_with_output());
        while !waiting.is_finished() {
            if started.elapsed() > HANGS {
                let _ = Command::new("kill").args(["-9", "--", &format!("-{group}")]).status();
                panic!("it hangs");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        waiting.join().unwrap().unwrap().into()
    }

    /// The faults worth trying: calls that a run makes on files of its place, by their number among all of their kind.
    fn faults(&self) -> Vec<Fault> {
        let (place, _origin) = self.begin();
        self.traced(&place, &["-e".into(), format!("trace={}", CALLS.join(","))]).exits(65);
        let trace = std::fs::read_to_string(place.path("trace")).unwrap();
        let ours = calls_on(&trace, &place.path(""));
        let errors = ["ENOSPC", "EIO"];
        ours.iter()
            .flat_map(|(call, numbers)| {
                spread(&numbers.iter().copied().collect::<Vec<_>>()).into_iter().map(move |when| (*call, when))
            })
            .flat_map(|(call, when)| errors.map(|error| Fault { call, error, when }))
            .collect()
    }

    fn survives(&self, fault: Fault) {
        let (place, _origin) = self.begin();
        let Fault { call, error, when } = fault;
        let inject = format!("inject={call}:error={error}:when={when}");
        let failed = self.traced(&place, &["-e".into(), format!("trace={call}"), "-e".into(), inject]);
        // The number is that of each thread: it may be the reading of the configuration in one of them.
        let config = failed.code == 78 && failed.err.contains("etl.toml");
        assert!([0, 65, 74, 75].contains(&failed.code) || config, "{fault:?}: {failed:#?}");
        assert!(!failed.err.contains("panicked"), "{fault:?}: {failed:#?}");
        if failed.code == 74 {
            // The folder above the lake is flushed, too, when the lake is made.
            let root = place.path("").display().to_string();
            assert!(
                ["etl-state", "lake", root.trim_end_matches('/')].iter().any(|path| failed.err.contains(path)),
                "{fault:?} names no path: {failed:#?}"
            );
        }
        let next = place.etl(&["run"]);
        assert!([0, 65].contains(&next.code), "{fault:?}, the next run: {next:#?} after {failed:#?}");
        let restored = place.etl(&["restore"]).exits(0).out;
        let mut ids: Vec<u64> = restored
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["record_id"].as_u64().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6], "{fault:?}: {failed:#?}");
        let status = place.status();
        assert_eq!(
            (&status["totals"]["pending"], &status["journal"]["pages"]),
            (&Value::from(0), &Value::from(0)),
            "{fault:?}"
        );
        assert_eq!(status["totals"]["quarantined"], 1, "{fault:?}");
        let verified = place.etl(&["verify", "--deep"]);
        assert_eq!(verified.code, 0, "{fault:?}: {verified:#?}");
        let aside: Vec<_> = std::fs::read_dir(place.path("etl-state/wal"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().contains("corrupt"))
            .collect();
        assert!(aside.is_empty(), "{fault:?}: a failing disk is no damage: {aside:?} {failed:#?} {next:#?}");
    }
}

#[test]
fn disk_that_fails_at_any_call_loses_nothing() {
    let Some(strace) = strace() else {
        // Not eprintln!: the test harness would swallow it, and a skipped test has to be seen.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED (needs strace, and the right to use it): no disk was made to fail");
        return;
    };
    let runs = Runs::new(strace);
    let faults = runs.faults();
    assert!(faults.len() > 50, "{faults:?}");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    runs.survives(*fault);
                }
            });
        }
    });
}
