//! The examples of the README and the manual that can be run, as they stand.

use std::path::Path;
use std::process::Command;

use crate::support::cli::Place;
use crate::support::documents::{self, document, page, rows};
use crate::support::service::Service;
use crate::support::{s3, tally, unique_prefix};

/// The README's blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    documents::blocks(&document("README.md"), language)
}

#[test]
fn first_block_is_the_two_commands() {
    let expected = "cargo run --release -- run --config fixtures/demo.toml\ncargo test\n";
    assert_eq!(blocks("sh")[0], expected);
}

fn cargo_toml() -> toml::Table {
    document("Cargo.toml").parse().unwrap()
}

/// The names in a table of `Cargo.toml`.
fn in_cargo_toml(table: &str) -> Vec<String> {
    cargo_toml()[table].as_table().unwrap().keys().cloned().collect()
}

#[test]
fn each_dependency_is_justified_once() {
    let rows = rows(&document("src/README.md"), "crate");
    let mut named: Vec<String> =
        rows.iter().flat_map(|row| row[0].split(", ")).map(|name| name.replace('`', "")).collect();
    named.sort_unstable();
    let mut expected = in_cargo_toml("dependencies");
    expected.sort_unstable();
    assert_eq!(named, expected, "the table in src/README.md and [dependencies] in Cargo.toml");
}

#[test]
fn rust_version_is_that_of_the_manifest() {
    let manifest = cargo_toml();
    let version = manifest["package"]["rust-version"].as_str().unwrap();
    assert!(document("README.md").contains(&format!("Rust {version} or newer")), "{version}");
}

#[test]
fn tables_are_printed_as_the_examples_say() {
    let script =
        documents::blocks(&page("querying"), "sh").into_iter().find(|block| block.contains("etl ddl")).unwrap();
    let Some(at) = s3() else { return };
    let place = Place::new(&format!("[load]\n{}", at.load(&unique_prefix("tables"))));
    let keys = format!("export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}\n", at.key, at.secret);
    shell(&place, &(keys + &script));
    for file in ["athena.sql", "trino.sql", "duckdb.sql", "spark.sql", "more.sql"] {
        let sql = std::fs::read_to_string(place.path(file)).unwrap();
        let is_whole = sql.contains("CREATE OR REPLACE ") && sql.trim_end().ends_with("AS restored;");
        assert!(is_whole, "{file}: {sql}");
    }
}

#[test]
fn simulated_pages_are_written_as_the_example_says() {
    let script =
        documents::blocks(&page("sources"), "sh").into_iter().find(|block| block.contains("etl simulate")).unwrap();
    let place = Place::new("");
    shell(&place, &script);
    assert_eq!(std::fs::read_dir(place.path("pages")).unwrap().count(), 20);
}

#[test]
fn newcomer_gets_from_init_to_an_hour_in_s3_line_by_line() {
    let Some(at) = s3() else { return };
    let script = blocks("sh").into_iter().find(|block| block.contains("etl init")).unwrap();
    let (service, prefix) = (Service::start(3, |_| {}), unique_prefix("readme"));
    let filled = [
        ("http://127.0.0.1:8080/api/data/log", &*service.url),
        ("http://127.0.0.1:8333", &*at.endpoint),
        ("s3://logs/", &format!("s3://{}/{prefix}", at.bucket)),
        ("--region us-east-1", &format!("--region {}", at.region)),
        ("FERNET_KEY=…", &format!("FERNET_KEY={}", service.key)),
        ("AWS_ACCESS_KEY_ID=demo", &format!("AWS_ACCESS_KEY_ID={}", at.key)),
        ("AWS_SECRET_ACCESS_KEY=demo-secret", &format!("AWS_SECRET_ACCESS_KEY={}", at.secret)),
    ]
    .iter()
    .fold(script, |script, (shown, real)| {
        assert!(script.contains(shown), "{shown}: {script}");
        script.replace(shown, real)
    });
    let place = Place::new("");
    std::fs::remove_file(place.path("etl.toml")).unwrap();
    let out = shell(&place, &filled);
    assert!(out.contains("✓ create-only") && !out.contains("✗"), "{out}");
    assert!(out.contains("data/2023_y/03_m/10_d/00_h/part-00000.ndjson.gz"), "{out}");
    assert!(out.contains("all as the ledger says") && out.contains("record_id"), "{out}");
}

/// Runs a script with the built command at hand and nothing in the environment; gives what it printed.
#[track_caller]
fn shell(place: &Place, script: &str) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_etl")).parent().unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let mut sh = Command::new("sh");
    let ran = sh.args(["-euc", script]).current_dir(place.path("")).env_clear().env("PATH", path).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    assert_eq!(err, "", "a clean run is silent on stderr");
    out.into_owned()
}

#[test]
fn getting_started_works_line_by_line() {
    let script = blocks("sh").into_iter().find(|block| block.contains("file:lake")).unwrap();
    let service = Service::start(3, |_| {});
    let place = Place::new("");
    std::fs::remove_file(place.path("etl.toml")).unwrap();
    let script: String = script
        .lines()
        .map(|line| match line {
            line if line.starts_with("export FERNET_KEY") => format!("export FERNET_KEY={}\n", service.key),
            line if line.starts_with("export API_URL") => format!("export API_URL={}\n", service.url),
            line => format!("{line}\n"),
        })
        .collect();
    let out = shell(&place, &script);
    assert!(out.contains("all as the ledger says") && out.contains("record_id"), "{out}");
}

#[test]
fn proof_has_a_row_of_each_kind_with_commit_and_date() {
    let page = page("proof");
    let (_, rest) = page.split_once("<!-- proof: written by tests/proof.rs -->").unwrap();
    let (table, _) = rest.split_once("<!-- end of proof -->").unwrap();
    for (name, label) in tally::ROWS {
        // A proof that was run without brokers has none of a cluster.
        if name == "deaths" && !table.contains(label) {
            continue;
        }
        assert!(table.lines().any(|line| line.starts_with(&format!("| {label}"))), "{name}: {table}");
    }
    assert!(table.contains("lost 0, duplicated 0, rewritten 0"), "{table}");
    assert!(table.contains("Release form, commit ") && table.contains(", 20"), "{table}");
}
