//! A whole run, files in and lake out, against the floor: the arithmetic on the same data that no program can do without.
//!
//! The floor is page JSON, Fernet, parse, one BLAKE3 over the plaintext, one hash set, compact and serialise, gzip 6, with the
//! same crates, on one thread, in memory: no journal, no commit, no order, no part that survives a crash. Each run is a
//! process of its own and is measured as a whole: processor time in all its threads, elapsed time, peak memory.
//!
//! `cargo bench --bench whole` takes 1 000 and 100 000 records; `cargo bench --bench whole -- 1000000` takes so many.
#![expect(clippy::indexing_slicing, reason = "a bench that prints wrong figures may stop instead")]
#![expect(clippy::expect_used, reason = "a bench that cannot run should say so at once")]

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etl::compact::{Compactor, Dictionaries};
use etl::record;
use etl::simulate::{self, Options};
use fernet::Fernet;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::tz::TimeZone;
use nix::sys::resource::{UsageWho, getrusage};
use serde::Deserialize;

/// Runs of each kind; the median counts.
const RUNS: usize = 5;
const SIZES: [u64; 2] = [1_000, 100_000];
const CONFIG: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.split_first() {
        Some((mode, rest)) if mode == "measured" => measured(rest),
        Some((mode, rest)) if mode == "floor" => floor(rest.first().expect("a folder of pages").as_ref()),
        Some(_) => compare(args.iter().map(|arg| arg.parse().expect("a number of records"))),
        None => compare(SIZES.into_iter()),
    }
}

fn compare(sizes: impl Iterator<Item = u64>) {
    println!("per record, medians of {RUNS} runs; `again` is the same pages once more, all of them known");
    println!("{:>9}  {:<6} {:>10} {:>10} {:>9} {:>9}", "records", "what", "CPU µs", "wall µs", "peak MiB", "of floor");
    for records in sizes {
        let bench = Bench::new(records);
        let mut runs = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            bench.clear();
            for (runs, used) in runs.iter_mut().zip([bench.floor(), bench.etl(), bench.etl()]) {
                runs.push(used);
            }
        }
        let floor = median(&runs[0], |used| used.cpu);
        for (what, runs) in ["floor", "run", "again"].iter().zip(&runs) {
            let each = |seconds: f64| seconds * 1e6 / records as f64;
            let (cpu, wall, peak) = (median(runs, |u| u.cpu), median(runs, |u| u.wall), median(runs, |u| u.peak));
            let (cpu_each, wall_each, of_floor) = (each(cpu), each(wall), cpu / floor);
            println!("{records:>9}  {what:<6} {cpu_each:>10.2} {wall_each:>10.2} {peak:>9.1} {of_floor:>9.2}");
        }
    }
}

fn median(runs: &[Used], of: impl Fn(&Used) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a process used: seconds, and MiB.
#[derive(Debug, Clone, Copy)]
struct Used {
    cpu: f64,
    wall: f64,
    peak: f64,
}

/// A directory with pages, a configuration, and after a run a lake.
struct Bench {
    dir: tempfile::TempDir,
    key: String,
}

impl Bench {
    /// Pages of 1 000 records, 2 000 records an hour.
    fn new(records: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { window: 1_000, advance: 1_000, records: Some(records), ..Options::default() };
        simulate::write_pages(&options, &dir.path().join("pages"), records.div_ceil(1_000)).expect("pages");
        std::fs::write(dir.path().join("etl.toml"), CONFIG).expect("a configuration");
        Self { dir, key: options.key().to_text() }
    }

    fn clear(&self) {
        for name in ["lake", "etl-state"] {
            let _ = std::fs::remove_dir_all(self.dir.path().join(name));
        }
    }

    fn floor(&self) -> Used {
        let this = std::env::current_exe().expect("this program");
        self.measure(&[this, "floor".into(), "pages".into()])
    }

    fn etl(&self) -> Used {
        self.measure(&[env!("CARGO_BIN_EXE_etl").into(), "run".into()])
    }

    /// A small process in between: what a process used, peak memory above all, is told apart only for its children.
    fn measure(&self, command: &[PathBuf]) -> Used {
        let mut measured = Command::new(std::env::current_exe().expect("this program"));
        measured.arg("measured").args(command).current_dir(self.dir.path()).env("FERNET_KEY", &self.key);
        let output = measured.stderr(Stdio::inherit()).output().expect("a process");
        assert!(output.status.success(), "{command:?} failed");
        let numbers: Vec<f64> =
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(|n| n.parse().expect("a number")).collect();
        Used { cpu: numbers[0], wall: numbers[1], peak: numbers[2] }
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
    let seconds = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000);
    let cpu = (seconds(used.user_time()) + seconds(used.system_time())).as_secs_f64();
    println!("{cpu} {wall} {}", used.max_rss() as f64 / 1024.0);
}

#[derive(Deserialize)]
struct Element<'a> {
    data: &'a str,
}

/// The floor on the pages in `dir`.
fn floor(dir: &Path) {
    let fernet = Fernet::new(&std::env::var("FERNET_KEY").expect("a key")).expect("a Fernet key");
    let compactor = Compactor::new(&Dictionaries::default());
    let mut pages: Vec<_> = std::fs::read_dir(dir).expect("pages").map(|page| page.expect("a page").path()).collect();
    pages.sort();
    let (mut known, mut hours) = (HashSet::new(), BTreeMap::<_, Vec<u8>>::new());
    for page in pages {
        let body = std::fs::read(page).expect("a page");
        for element in serde_json::from_slice::<Vec<Element<'_>>>(&body).expect("an array") {
            let plaintext = fernet.decrypt(element.data).expect("a token");
            let record = record::read(&plaintext, &TimeZone::UTC).expect("a record");
            if known.insert(*blake3::hash(&plaintext).as_bytes().first_chunk::<16>().expect("16 bytes")) {
                let lines = hours.entry(record.hour).or_default();
                compactor.write_row(&record.fields, lines);
                lines.push(b'\n');
            }
        }
    }
    let mut bytes = 0;
    for lines in hours.into_values() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(&lines).expect("memory");
        bytes += gzip.finish().expect("memory").len();
    }
    println!("{bytes}");
}
