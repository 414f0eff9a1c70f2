//! A disk that fails: a library that is preloaded into the command (`shim.c`), built once for the whole test binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::cli::{Place, Ran};

/// A run takes a fraction of a second.
const HANGS: Duration = Duration::from_secs(60);

static BUILT: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();

/// The library that makes calls fail.
#[derive(Debug, Clone)]
pub struct Shim(PathBuf);

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The disk is broken: once.
    Broken,
    /// The disk is full: once.
    Full,
    /// The disk is full, and stays so.
    StaysFull,
    /// The quota is used up, and stays so.
    NoQuota,
    /// Too many files are open: once.
    NoDescriptor,
    /// Half of what was asked is done, which is no error.
    Short,
}

impl Failure {
    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broken => "EIO",
            Self::Full => "ENOSPC",
            Self::StaysFull => "ENOSPC from then on",
            Self::NoQuota => "EDQUOT from then on",
            Self::NoDescriptor => "EMFILE",
            Self::Short => "short",
        }
    }

    /// Whether a call of that name can fail like this.
    pub fn befalls(self, call: &str) -> bool {
        match self {
            Self::Broken => true,
            Self::NoDescriptor => call == "open",
            Self::Full | Self::StaysFull | Self::NoQuota => !["read", "pread", "unlink"].contains(&call),
            Self::Short => ["read", "write", "pwrite", "copy"].contains(&call),
        }
    }
}

/// A call that fails.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which kind of call.
    pub call: String,
    /// The how-many-th of its kind, in all threads together.
    pub number: u64,
    /// How.
    pub failure: Failure,
}

impl Fault {
    fn for_shim(&self) -> String {
        let Self { call, number, failure } = self;
        match failure {
            Failure::Broken => format!("{call} {number} {}", nix::libc::EIO),
            Failure::Full => format!("{call} {number} {}", nix::libc::ENOSPC),
            Failure::StaysFull => format!("{call} {number}+ {}", nix::libc::ENOSPC),
            Failure::NoQuota => format!("{call} {number}+ {}", nix::libc::EDQUOT),
            Failure::NoDescriptor => format!("{call} {number} {}", nix::libc::EMFILE),
            Failure::Short => format!("{call} {number} short"),
        }
    }
}

/// The library, unless it cannot be built here.
pub fn shim() -> Option<Shim> {
    let built = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&library).arg(source);
        let done = compiler.arg("-ldl").output().ok()?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Some((dir, library))
    });
    built.as_ref().map(|(_, library)| Shim(library.clone()))
}

impl Shim {
    /// Runs a command whose calls on the state and the lake of `place` are counted, and one of them made to fail. Gives what
    /// it said, and whether the call came.
    #[track_caller]
    pub fn run(&self, place: &Place, args: &[&str], fault: Option<&Fault>) -> (Ran, bool) {
        let log = place.path("shim.log");
        let _ = std::fs::remove_file(&log);
        let mut command = place.command(args);
        command.env("LD_PRELOAD", &self.0).env("ETL_SHIM_DIRS", watched(place)).env("ETL_SHIM_LOG", &log);
        if let Some(fault) = fault {
            command.env("ETL_SHIM_FAULT", fault.for_shim());
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let ran = in_time(child, HANGS);
        let hit = std::fs::read_to_string(log).unwrap_or_default().lines().any(|line| line == "hit");
        (ran, hit)
    }

    /// A command on a disk whose calls of a kind each take so many milliseconds longer.
    pub fn slow(&self, place: &Place, args: &[&str], call: &str, milliseconds: u32) -> Command {
        let mut command = place.command(args);
        command.env("LD_PRELOAD", &self.0).env("ETL_SHIM_DIRS", watched(place));
        command.env("ETL_SHIM_SLOW", format!("{call} {milliseconds}"));
        command
    }

    /// Runs a command that can have so many threads beside its first.
    #[track_caller]
    pub fn run_with_threads(&self, place: &Place, args: &[&str], threads: u32) -> Ran {
        let mut command = place.command(args);
        command.env("LD_PRELOAD", &self.0).env("ETL_SHIM_THREADS", threads.to_string());
        in_time(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), HANGS)
    }

    /// Runs a command on a machine whose clock is so many seconds ahead of the true time, or behind it.
    #[track_caller]
    pub fn run_at_clock(&self, place: &Place, args: &[&str], ahead: i64) -> Ran {
        let mut command = place.command(args);
        command.env("LD_PRELOAD", &self.0).env("ETL_SHIM_CLOCK", ahead.to_string());
        in_time(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), HANGS)
    }

    /// What a run flushed, or gave a name, in that order: `flushed` or `named`, and the path.
    #[track_caller]
    pub fn trace(&self, place: &mut Place, args: &[&str]) -> Vec<(String, PathBuf)> {
        place.set("ETL_SHIM_TRACE", "1");
        let (ran, _) = self.run(place, args, None);
        assert!([0, 65].contains(&ran.code), "{ran:#?}");
        let log = std::fs::read_to_string(place.path("shim.log")).unwrap();
        let steps = log.lines().filter_map(|line| line.split_once(' ')).filter(|(what, _)| *what != "call");
        steps.map(|(what, path)| (what.to_owned(), path.into())).collect()
    }

    /// How many calls of each kind the last run made.
    pub fn calls(place: &Place) -> Vec<(String, u64)> {
        let log = std::fs::read_to_string(place.path("shim.log")).unwrap();
        let calls = log.lines().filter_map(|line| line.strip_prefix("call ")?.split_once(' '));
        calls.map(|(call, count)| (call.to_owned(), count.parse().unwrap())).collect()
    }
}

/// The directories whose calls count.
fn watched(place: &Place) -> String {
    ["etl-state", "lake"].map(|name| place.path(name).to_str().unwrap().to_owned()).join(":")
}

/// Waits for a process; one that takes longer is killed and fails the test.
#[track_caller]
pub fn in_time(child: Child, limit: Duration) -> Ran {
    let (id, started) = (child.id().to_string(), Instant::now());
    let waiting = std::thread::spawn(move || child.wait_with_output());
    while !waiting.is_finished() {
        if started.elapsed() > limit {
            let _ = Command::new("kill").args(["-9", &id]).status();
            panic!("it hangs: {:?}", Ran::from(waiting.join().unwrap().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    waiting.join().unwrap().unwrap().into()
}
