//! Runs the fault tests and prints the table of what ran: `cargo test --features failpoints --test proof`.
//!
//! `-- --cluster` runs those of a cluster, with the feature `kafka`, `-- --release` the long form, `-- --write` puts its table into the manual, `-- --seed N` draws other moments and faults.
//! What stands in the table was counted by the tests while they ran; a failure names the command that repeats it.
//!
//! # Planted bugs
//! Each was tried once, alone, and turned these tests red:
//!
//! | planted | red |
//! |---|---|
//! | no fdatasync after the flush of the log | `power::steps::power_cut_right_after_a_step_leaves_what_the_step_made_durable` |
//! | no fdatasync of a batch's lines before the rows that name them | both tests of `power` |
//! | the end of the lines not read back when the log is opened | `state::generation::lines::tests::lines_come_back_from_any_offset` |
//! | no fsync before a file gets its name | `power::power_cut_at_any_moment_loses_nothing_that_was_acknowledged`, `nth_call::bytes_are_durable_before_their_name…` |
//! | no fsync of `spool/` and `hashes/` before the ledger names what is in them | `nth_call::bytes_are_durable_before_their_name_and_names_before_the_ledger_names_them` |
//! | receipt before PUT | `storm::killed_at_any_moment_a_lake_holds_each_record_once`, `steps::lake::crash_at_any_step_of_daily_work…` |
//! | prune before receipt | `damage::log_that_is_lost_while_parts_wait_is_filled_from_the_journal…` |
//! | 412 taken for success without comparing | `load::protocol::tests::anything_else_under_the_key_is_foreign_and_stays`, `steps::lake::scenarios_pass_every_step` |
//! | HEAD error taken for absence | `load::protocol::tests::failed_look_is_unknown_never_absent` |
//! | dedup forgetting sealed hours | `crash::twenty_runs_over_a_sliding_window_put_each_key_once`, `storm::killed_at_any_moment_a_lake_holds_each_record_once` |
//! | an hour forgotten once for each of its hash arrays | `damage::stray_hash_array_beside_one_that_is_forgotten_goes_with_it` |
#![expect(clippy::unwrap_used, reason = "what goes wrong here is the end of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use etl::state::files::step::Step;
use serde_json::Value;

#[expect(dead_code, reason = "this only reads what the tests wrote")]
#[path = "support/tally.rs"]
mod tally;

/// What the names of tests about faults hold: their module, or that they crash. Every test that needs crash points is among them.
const FAULTS: [&str; 11] = [
    "steps::",
    "nth_call::",
    "crash",
    "storm::",
    "power::",
    "damage::",
    "full_disk::",
    "wire_",
    "model::",
    "fuzz::",
    "lanes::",
];

/// The modules of the tests about a cluster's faults, which have a table of their own: brokers take minutes.
const CLUSTER: [&str; 4] = ["cluster::storm::", "cluster::deaths::", "cluster::moves::", "cluster::files::"];

/// Where the manual keeps the table.
const MARKS: [&str; 2] = ["<!-- proof: written by tests/proof.rs -->", "<!-- end of proof -->"];
/// And that of the cluster.
const CLUSTER_MARKS: [&str; 2] = ["<!-- cluster: written by tests/proof.rs -->", "<!-- end of cluster -->"];

#[derive(Default)]
struct Wanted {
    release: bool,
    write: bool,
    cluster: bool,
    seed: Option<String>,
}

impl Wanted {
    fn read(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut wanted = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--release" => wanted.release = true,
                "--cluster" => wanted.cluster = true,
                "--write" => wanted.write = true,
                "--seed" => wanted.seed = Some(args.next()?),
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn features(&self) -> &'static str {
        if self.cluster { "failpoints,kafka" } else { "failpoints" }
    }

    fn marks(&self) -> [&'static str; 2] {
        if self.cluster { CLUSTER_MARKS } else { MARKS }
    }

    fn rows(&self) -> &'static [(&'static str, &'static str)] {
        if self.cluster { &tally::CLUSTER_ROWS } else { &tally::ROWS }
    }

    /// What the tests are told by the environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let scale = self.release.then(|| ("ETL_TEST_SCALE", "release".to_owned()));
        scale.into_iter().chain(self.seed.clone().map(|seed| ("ETL_TEST_SEED", seed))).collect()
    }
}

/// `cargo test`, free of what the cargo that started this one told it.
fn cargo_test(features: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"].iter().any(|own| text.starts_with(own)) {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["test", "--locked", "--no-fail-fast", "--features", features]);
    cargo
}

/// Runs the tests. Gives the names of those that failed, or nothing where it did not come to that.
fn run(wanted: &Wanted, counts: &Path) -> Option<BTreeSet<String>> {
    let mut cargo = cargo_test(wanted.features());
    cargo.args(["--test", "suite", "--"]);
    if wanted.cluster {
        cargo.args(["--test-threads", "2"]).args(CLUSTER);
    } else {
        cargo.args(FAULTS);
    }
    cargo.envs(wanted.environment()).env("ETL_TEST_TALLY", counts).stdout(Stdio::piped());
    let mut child = cargo.spawn().unwrap();
    let mut failed = BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        println!("{line}");
        let name = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"));
        failed.extend(name.map(str::to_owned));
    }
    let done = child.wait().unwrap().success();
    (done || !failed.is_empty()).then_some(failed)
}

/// What the tests counted.
#[derive(Default)]
struct Counts {
    rows: BTreeMap<String, BTreeMap<String, u64>>,
    /// Checks, and what they found: lost, duplicated, rewritten.
    found: [u64; 4],
    seeds: BTreeMap<String, u64>,
    /// How often something was done with parts in a form.
    forms: BTreeMap<String, u64>,
    skipped: BTreeSet<String>,
}

impl Counts {
    fn read(path: &Path) -> Self {
        let mut counts = Self::default();
        for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
            let number = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0);
            if let (Some(row), Some(kind)) = (text("row"), text("kind")) {
                *counts.rows.entry(row).or_default().entry(kind).or_default() += number("count");
            }
            if let Some(test) = text("test") {
                counts.seeds.insert(test, number("seed"));
            }
            if let Some(form) = text("form") {
                *counts.forms.entry(form).or_default() += 1;
            }
            counts.skipped.extend(text("skipped"));
            for (sum, name) in counts.found.iter_mut().zip(["checks", "lost", "duplicated", "rewritten"]) {
                *sum += number(name);
            }
        }
        counts
    }

    /// Everything that ran found all of it well.
    fn is_clean(&self) -> bool {
        let [checks, lost, duplicated, rewritten] = self.found;
        checks > 0 && lost + duplicated + rewritten == 0
    }

    fn table(&self, rows: &[(&str, &str)]) -> String {
        let mut table = "| what was done | how often | of these |\n|---|--:|---|\n".to_owned();
        for (name, label) in rows {
            let kinds = self.rows.get(*name).cloned().unwrap_or_default();
            let sum: u64 = kinds.values().sum();
            let of: Vec<String> = kinds.iter().map(|(kind, count)| format!("{} {kind}", spaced(*count))).collect();
            let label =
                if *name == "steps" { format!("{label}, {} kinds", Step::ALL.len()) } else { (*label).to_owned() };
            let of = if of.is_empty() { "none here".to_owned() } else { of.join(", ") };
            writeln!(table, "| {label} | {} | {of} |", spaced(sum)).unwrap();
        }
        let [checks, lost, duplicated, rewritten] = self.found;
        let verdict = format!("lost {lost}, duplicated {duplicated}, rewritten {rewritten}");
        writeln!(table, "| looks at all records and objects after it | {} | **{verdict}** |", spaced(checks)).unwrap();
        table
    }
}

/// 1234567 → "1 234 567".
fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Which code it is.
fn commit() -> String {
    let git = |args: &[&str]| {
        let done = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let changed = git(&["status", "--porcelain"]).is_some_and(|list| !list.is_empty());
    format!("{commit}{}", if changed { " with changes" } else { "" })
}

/// Which code it was, when, in which form, from which seeds.
fn origin(wanted: &Wanted, commit: &str, counts: &Counts, took: Duration) -> String {
    let listed = |of: &BTreeMap<String, u64>| of.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>();
    let (seeds, forms) = (listed(&counts.seeds), listed(&counts.forms));
    format!(
        "{} form, commit {commit}, {}, {} s. Tests and cases by the form of parts, where one was chosen: {}. Seeds: {}.",
        if wanted.release { "Release" } else { "Quick" },
        jiff::Timestamp::now().strftime("%F"),
        took.as_secs(),
        if forms.is_empty() { "none".to_owned() } else { forms.join(", ") },
        if seeds.is_empty() { "none".to_owned() } else { seeds.join(", ") }
    )
}

/// Puts the table between its marks in the manual.
fn write_page(marks: [&str; 2], text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs/proof.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(marks[0]).unwrap();
    let (_, after) = rest.split_once(marks[1]).unwrap();
    std::fs::write(path, format!("{before}{}\n{text}{}{after}", marks[0], marks[1])).unwrap();
}

fn main() -> ExitCode {
    let Some(wanted) = Wanted::read(std::env::args().skip(1)) else {
        eprintln!(
            "usage: cargo test --features failpoints --test proof -- [--cluster] [--release] [--write] [--seed N]"
        );
        return ExitCode::from(2);
    };
    let (began, commit, dir) = (Instant::now(), commit(), tempfile::tempdir().unwrap());
    let file = dir.path().join("tally");
    let Some(failed) = run(&wanted, &file) else { return ExitCode::FAILURE };
    let counts = Counts::read(&file);
    let text = format!("{}\n{}\n", counts.table(wanted.rows()), origin(&wanted, &commit, &counts, began.elapsed()));
    println!("\n{text}");
    for what in &counts.skipped {
        println!("NOT DONE: {what}");
    }
    for name in &failed {
        let environment: String = wanted.environment().iter().map(|(name, value)| format!("{name}={value} ")).collect();
        println!(
            "FAILED, repeat with: {environment}cargo test --features {} --test suite -- --exact {name}",
            wanted.features()
        );
    }
    let good = failed.is_empty() && counts.is_clean();
    if good && wanted.write {
        write_page(wanted.marks(), &text);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
