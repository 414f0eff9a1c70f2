//! What the manual says of keys, variables, flags, exit codes and tables is what the code says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use etl::cli::Cli;
use etl::error::ErrorKind;

use super::{all_commands, root};
use crate::support::cli::{Place, record};
use crate::support::documents::{document, manual, page, rows};

/// Pages from files into a folder.
const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

/// Every key that there is, with its table, and its default where the template has one.
fn keys() -> Vec<(String, String, Option<toml::Value>)> {
    let template = Place::new("").etl(&["init", "-"]).exits(0).out;
    let defaults: toml::Table = template.parse().unwrap();
    let (mut keys, mut table) = (Vec::new(), String::new());
    for line in template.lines() {
        // A table that most do without stands behind a `#`.
        if let Some(name) = line.trim_start_matches("# ").strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name.to_owned();
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            let default = defaults.get(&table).map_or_else(|| behind_a_mark(line), |table| table.get(key).cloned());
            keys.push((table.clone(), key.to_owned(), default));
        }
    }
    keys
}

/// The default of a key of a table that stands behind a `#`, with its values; two of its keys have none.
fn behind_a_mark(line: &str) -> Option<toml::Value> {
    let line: toml::Table = line.trim_start_matches("# ").parse().unwrap();
    line.into_iter().next().filter(|(key, _)| !["brokers", "name"].contains(&&**key)).map(|(_, value)| value)
}

#[test]
fn every_key_has_an_entry_with_its_default_and_an_example_that_works() {
    let page = page("configuration");
    let keys = keys();
    assert!(keys.len() >= 30, "{keys:?}");
    for (table, key, default) in keys {
        let head = format!("- **`{table}.{key}`** — ");
        let (_, rest) = page.split_once(&head).unwrap_or_else(|| panic!("{table}.{key} has no entry"));
        let entry = rest.split("\n- **").next().unwrap().split("\n\n").next().unwrap().replace("\n  ", " ");
        match default {
            Some(default) if (&*table, &*key) != ("load", "to") => {
                let (_, shown) = entry.split_once("default `").unwrap_or_else(|| panic!("{table}.{key}: {entry}"));
                let shown = shown.split('`').next().unwrap();
                let shown: toml::Table = format!("value = {shown}").parse().unwrap();
                assert_eq!(shown["value"], default, "{table}.{key}");
            }
            _ => assert!(entry.contains("no default") || entry.contains("default none"), "{table}.{key}: {entry}"),
        }
        let (_, example) = entry.split_once("Example: `").unwrap_or_else(|| panic!("{table}.{key}: {entry}"));
        let example = example.split('`').next().unwrap();
        if table == "cluster" {
            let needed = [("brokers", "\"localhost:9092\""), ("name", "\"logs\""), ("security", "\"tls\"")];
            try_in_a_cluster(&key, example, needed);
            continue;
        }
        let more = if key == "keys" { "url = \"file:pages/*.json\"\n" } else { "" };
        Place::new(&format!("[{table}]\n{more}{example}\n")).etl(&["status"]).exits(0);
    }
}

/// An example of `[cluster]`: with what else it needs, it is accepted by a build that knows clusters, and said to need one by others.
fn try_in_a_cluster(key: &str, example: &str, needed: [(&str, &str); 3]) {
    let of_scram = ["user_env", "password_env", "password_file"].contains(&key);
    let needed: String = needed
        .into_iter()
        .filter(|(other, _)| *other != key && !(of_scram && *other == "security"))
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    let more = match key {
        "security" => "user_env = \"U\"\npassword_env = \"P\"\n",
        "user_env" => "security = \"scram\"\npassword_env = \"P\"\n",
        "password_env" | "password_file" => "security = \"scram\"\nuser_env = \"U\"\n",
        "cert_file" => "key_file = \"k.pem\"\n",
        "key_file" => "cert_file = \"c.pem\"\n",
        _ => "",
    };
    let shown = Place::new(&format!("[load]\nto = \"s3://logs/\"\n[cluster]\n{needed}{more}{example}\n"))
        .etl(&["config", "show"]);
    if cfg!(feature = "kafka") {
        assert!(shown.exits(0).out.contains(&format!("cluster.{key}")), "{key}");
    } else {
        assert!(shown.exits(78).err.contains("this build of etl cannot work in a cluster"), "{key}");
    }
}

/// The files below a folder whose names end in `.rs`.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

#[test]
fn every_environment_variable_is_in_the_manual_or_for_those_who_work_on_it() {
    let known = [page("configuration"), page("operations"), document("CONTRIBUTING.md")].concat();
    let is_name = |text: &str| {
        let shape = text.len() > 5 && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        let ours = ["ETL_", "AWS_", "API_", "FERNET_", "LC_", "SSL_"].iter().any(|start| text.starts_with(start));
        shape && (ours || text.ends_with("_PROXY"))
    };
    let mut seen = BTreeSet::new();
    for path in sources(&root().join("src")).into_iter().chain(sources(&root().join("tests"))) {
        let text = fs::read_to_string(&path).unwrap();
        let names = text.split('"').flat_map(|text| text.split('=')).filter(|text| is_name(text));
        seen.extend(names.map(str::to_owned));
    }
    // How the tests talk to each other.
    seen.retain(|name| {
        !name.starts_with("ETL_SHIM_") && !["ETL_TEST_TALLY", "ETL_TEST_S3_", "ETL_TEST_LANE"].contains(&&**name)
    });
    assert!(seen.len() > 20, "{seen:?}");
    for name in seen {
        assert!(known.contains(&format!("`{name}")) || known.contains(&name), "{name} is in no document");
    }
}

#[test]
fn every_command_and_every_flag_is_in_the_manual() {
    let text = manual().concat() + &document("README.md");
    for command in all_commands() {
        let name = command.get_bin_name().unwrap_or("etl");
        assert!(text.contains(name), "{name}");
        for flag in command.get_arguments().filter_map(|arg| arg.get_long()) {
            let shown = text
                .split(&format!("--{flag}"))
                .skip(1)
                .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'));
            assert!(shown || ["help", "version"].contains(&flag), "{name} --{flag} is not in the manual");
        }
    }
}

#[test]
fn limits_of_monitoring_are_those_of_the_command() {
    let (text, command) = (page("operations"), Cli::command());
    let status = command.find_subcommand("status").unwrap();
    let limits = status.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg.get_default_values().first())));
    let limits: Vec<_> = limits.filter(|(flag, _)| flag.starts_with("warn-") || flag.starts_with("crit-")).collect();
    assert_eq!(limits.len(), 8);
    for (flag, default) in limits {
        let shown = default
            .map_or_else(|| format!("`--{flag}` (never)"), |value| format!("`--{flag} {}`", value.to_str().unwrap()));
        assert!(text.contains(&shown), "{shown}");
    }
}

#[test]
fn exit_codes_are_those_of_the_code() {
    assert!(ErrorKind::ALL.is_sorted(), "in the order of precedence");
    let order: Vec<String> = ErrorKind::ALL.iter().map(|kind| kind.exit_code().to_string()).collect();
    let text = page("operations");
    assert!(text.replace('\n', " ").contains(&format!("in the order {} counts", order.join(", "))));
    assert_eq!(named(&text, "exit"), order.into_iter().chain(["0", "130", "143"].map(str::to_owned)).collect());
}

/// The names in the first column of a table.
fn named(text: &str, title: &str) -> BTreeSet<String> {
    rows(text, title).iter().flat_map(|row| row[0].split(", ")).map(|name| name.replace('`', "")).collect()
}

#[test]
fn what_programs_get_is_in_the_manual() {
    let (place, text) = (Place::new(FILES), page("operations"));
    let record = |id: u64| record(id, "2023-03-10T01:00:00Z");
    place.page("pages/1.json", &[record(1), record(9), "no record".to_owned()]);
    let run = place.etl(&["run", "--json"]).exits(65).json();
    let status = place.etl(&["status", "--json"]).exits(0).json();
    for (shown, title) in [(run, "key of a run"), (status, "key of a status")] {
        let keys: BTreeSet<String> = shown.as_object().unwrap().keys().cloned().collect();
        let unknown: Vec<_> = keys.difference(&named(&text, title)).cloned().collect();
        assert!(keys.len() > 10 && unknown.is_empty(), "{title}: {unknown:?}");
    }
}

#[test]
fn reasons_of_the_quarantine_are_those_of_the_code() {
    let listed = named(&page("sources"), "reason");
    let of_texts = document("src/record/reason.rs");
    let codes = of_texts.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    // A compacted row is never quarantined.
    let mut expected: BTreeSet<String> = codes.filter(|code| code != "bad-row").collect();
    let decoding: String =
        sources(&root().join("src/page")).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for reason in ["wrong-key", "malformed-token", "no-token", "future"] {
        assert!(decoding.contains(&format!("\"{reason}\"")), "{reason}");
        expected.insert(reason.to_owned());
    }
    assert_eq!(listed, expected);
}

#[test]
fn state_directory_has_what_the_manual_lists() {
    let listed = named(&page("guarantees"), "name");
    let place = Place::new(FILES);
    place.page("pages/1.json", &["no record".to_owned(), record(1, "2023-03-10T01:00:00Z")]);
    place.etl(&["run"]).exits(65);
    let entries = fs::read_dir(place.path("etl-state")).unwrap().map(Result::unwrap);
    let there: BTreeSet<String> = entries
        .map(|entry| format!("{}{}", entry.file_name().to_str().unwrap(), if entry.path().is_dir() { "/" } else { "" }))
        .collect();
    assert!(there.len() > 8, "{there:?}");
    assert!(there.is_subset(&listed), "{there:?} but the manual has {listed:?}");
}
