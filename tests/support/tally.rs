//! What the fault tests did, counted for the table that `tests/proof.rs` prints, and how long they are to take.
//!
//! Each count is a JSON line at the end of the file that `ETL_TEST_TALLY` names, written in one go, so that threads and
//! processes can share it. Without the variable nothing is written.

use std::fs::OpenOptions;
use std::io::Write;

use serde_json::{Value, json};

/// The rows of the table in their order: a name, and what is counted.
pub const ROWS: [(&str, &str); 9] = [
    ("steps", "crashes around a durable step"),
    ("calls", "system calls made to fail"),
    ("kills", "SIGKILLs at random moments"),
    ("races", "processes started at once on one state directory"),
    ("cuts", "power cuts"),
    ("damage", "damaged state files"),
    ("wire", "faults on the wire"),
    ("model", "cases of the model of the whole"),
    ("fuzz", "fuzz inputs"),
];

/// The rows of the cluster's own table.
pub const CLUSTER_ROWS: [(&str, &str); 2] = [
    ("cluster", "machines and brokers of a cluster at random moments"),
    ("deaths", "deaths in a cluster at a known moment"),
];

/// Counts `count` more of `kind` ("before", "EIO", …) in the row named `row`.
#[track_caller]
pub fn add(row: &str, kind: &str, count: u64) {
    assert!(ROWS.iter().chain(&CLUSTER_ROWS).any(|(name, _)| *name == row), "the table has no row {row:?}");
    append(&json!({"row": row, "kind": kind, "count": count}));
}

/// Counts what a check of the records and objects found. Called before the assertions that all of them are 0.
pub fn found(lost: usize, duplicated: usize, rewritten: usize) {
    append(&json!({"checks": 1, "lost": lost, "duplicated": duplicated, "rewritten": rewritten}));
}

/// Notes that something was done with parts in the form of this name.
pub fn form(name: &str) {
    append(&json!({"form": name}));
}

/// A seed of a test: its own, or what `ETL_TEST_SEED` says. Noted, and to be named in what the test says when it fails.
pub fn seed(test: &str, own: u64) -> u64 {
    let given = std::env::var("ETL_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(own);
    append(&json!({"test": test, "seed": seed}));
    seed
}

/// `quick`, or `release` in the long form that `ETL_TEST_SCALE=release` asks for.
pub fn scale<T>(quick: T, release: T) -> T {
    if std::env::var_os("ETL_TEST_SCALE").is_some_and(|scale| scale == "release") { release } else { quick }
}

/// Says that a test did not run: past the test harness, which would swallow it, and in the table.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
    append(&json!({"skipped": what}));
}

fn append(line: &Value) {
    let Some(path) = std::env::var_os("ETL_TEST_TALLY") else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
