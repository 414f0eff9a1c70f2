//! What the benches of whole runs share: processes that are measured, medians, targets, places to run in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etl::simulate::{self, Options};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What a process used: seconds, and MiB.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub cpu: f64,
    pub wall: f64,
    pub peak: f64,
}

/// The arguments that are for the bench itself. In a process that is there to measure another, it does that and ends.
pub fn args() -> Vec<String> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.split_first() {
        Some((mode, command)) if mode == "measured" => {
            measured(command);
            std::process::exit(0);
        }
        _ => args,
    }
}

/// Runs a command and prints what it used.
fn measured(command: &[String]) {
    let (program, args) = command.split_first().expect("a command");
    let started = Instant::now();
    let status = Command::new(program).args(args).stdout(Stdio::null()).status().expect("a process");
    let wall = started.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?}: {status}");
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).expect("what it used");
    let seconds = |time: TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000);
    let cpu = (seconds(used.user_time()) + seconds(used.system_time())).as_secs_f64();
    println!("{cpu} {wall} {}", used.max_rss() as f64 / 1024.0);
}

/// Runs a command, in `dir` and with `env` besides, and gives what it used: all its threads, from start to end.
///
/// A small process in between: what a process used, peak memory above all, is told apart only for its children.
pub fn measure(dir: &Path, env: &[(&str, &str)], command: &[&str]) -> Used {
    let mut measured = Command::new(std::env::current_exe().expect("this program"));
    measured.arg("measured").args(command).current_dir(dir).envs(env.iter().copied());
    let output = measured.stderr(Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "{command:?} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().map(|n| n.parse().expect("a number")).collect();
    Used { cpu: numbers[0], wall: numbers[1], peak: numbers[2] }
}

/// The command under test.
pub const ETL: &str = env!("CARGO_BIN_EXE_etl");

/// Each figure's own median.
pub fn median(runs: &[Used]) -> Used {
    Used { cpu: middle(runs, |u| u.cpu), wall: middle(runs, |u| u.wall), peak: middle(runs, |u| u.peak) }
}

/// The largest peak.
pub fn peak(runs: &[Used]) -> f64 {
    runs.iter().map(|used| used.peak).fold(0.0, f64::max)
}

fn middle(runs: &[Used], of: impl Fn(&Used) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints what was to be shown and what came out: no more than `most`.
pub fn target(what: &str, most: f64, measured: f64, unit: &str) {
    let verdict = if measured <= most { "ok" } else { "MISSED" };
    println!("target  {what:<62} at most {most:>8.2} {unit:<4} measured {measured:>8.2}  {verdict}");
}

/// The same for what has to be large.
pub fn target_least(what: &str, least: f64, measured: f64, unit: &str) {
    let verdict = if measured >= least { "ok" } else { "MISSED" };
    println!("target  {what:<62} at least {least:>7.0} {unit:<4} measured {measured:>8.0}  {verdict}");
}

/// A directory with pages and a configuration, and after a run a state and a lake.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub key: String,
}

impl Place {
    /// So many records, 1 000 a page; 2 000 an hour unless `options` say otherwise.
    pub fn with_pages(records: u64, options: Options) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { window: 1_000, advance: 1_000, records: Some(records), ..options };
        simulate::write_pages(&options, &dir.path().join("pages"), records.div_ceil(1_000)).expect("pages");
        let place = Self { dir, key: options.key().to_text() };
        place.configure("file:pages/*.json", "to = \"file:lake\"");
        place
    }

    /// An empty one.
    pub fn new(key: String) -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), key }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration.
    pub fn configure(&self, source: &str, load: &str) {
        let text = format!("[source]\nurl = \"{source}\"\n[load]\n{load}\n");
        std::fs::write(self.path("etl.toml"), text).expect("a configuration");
    }

    /// Puts what a run made aside. Deleted, it would make the next run slower: ext4 without a journal looks at each inode that was
    /// deleted in the last minutes before it makes a file.
    pub fn clear(&self) {
        let aside = tempfile::tempdir_in(self.dir.path()).expect("a directory").keep();
        for name in ["lake", "etl-state"] {
            let _ = std::fs::rename(self.path(name), aside.join(name));
        }
    }

    /// `etl run`, measured.
    pub fn run(&self) -> Used {
        self.measure(&[ETL, "run"], &[])
    }

    /// Any command, measured.
    pub fn measure(&self, command: &[&str], env: &[(&str, &str)]) -> Used {
        measure(self.dir.path(), &[&[("FERNET_KEY", self.key.as_str())], env].concat(), command)
    }
}
