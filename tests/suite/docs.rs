//! The documents as facts: what they say of keys, variables, flags, exit codes and tables is what the code says, their examples are
//! accepted, and their links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::error::ErrorKind as Clap;
use clap::{Command, CommandFactory, Parser};
use etl::cli::Cli;
use etl::error::ErrorKind;

use crate::support::cli::{Place, record};
use crate::support::documents::{blocks, inline_code, manual, page, rows, table};

/// Pages from files into a folder.
const FILES: &str = "[source]\nurl = \"file:pages/*.json\"\n[load]\nto = \"file:lake\"\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All documents that people read, by their paths.
fn documents() -> Vec<PathBuf> {
    let fixed =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "src/README.md", "benches/README.md", "fixtures/README.md"];
    let pages = fs::read_dir(root().join("src/docs")).unwrap().map(|entry| entry.unwrap().path());
    fixed
        .iter()
        .map(|path| root().join(path))
        .chain(pages.filter(|path| path.extension().is_some_and(|e| e == "md")))
        .collect()
}

/// The command, and all those below it, but for clap's own `help`.
fn commands(command: &Command) -> Vec<Command> {
    let below = command.get_subcommands().filter(|below| command.get_name() == "etl" || below.get_name() != "help");
    std::iter::once(command.clone()).chain(below.flat_map(commands)).collect()
}

fn all_commands() -> Vec<Command> {
    let mut root = Cli::command();
    root.build();
    commands(&root)
}

#[test]
fn documents_that_are_to_be_short_are() {
    for (name, most) in [("README.md", 150), ("CONTRIBUTING.md", 60)] {
        let lines = fs::read_to_string(root().join(name)).unwrap().lines().count();
        assert!(lines <= most, "{name} has {lines} lines");
    }
}

#[test]
fn every_page_is_a_topic_and_is_named_in_the_readme() {
    let place = Place::new("not even = a [configuration");
    let listed = place.etl(&["help"]).exits(0).out;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for path in documents().iter().filter(|path| path.parent().unwrap().ends_with("src/docs")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(listed.contains(&format!("\n  {name} ")), "{name}: {listed}");
        assert!(readme.contains(&format!("| [{name}](src/docs/{name}.md) |")), "{name}");
        assert_eq!(
            place.etl(&["help", name]).exits(0).out,
            fs::read_to_string(path).unwrap(),
            "a pipe gets it as it is"
        );
    }
}

#[test]
fn help_of_a_command_is_what_its_flag_prints() {
    let place = Place::new("");
    for command in all_commands() {
        let name = command.get_bin_name().unwrap_or("etl").to_owned();
        let words: Vec<&str> = name.split(' ').skip(1).collect();
        if !words.is_empty() {
            let flag = place.etl(&[&words[..], &["--help"]].concat()).exits(0);
            assert_eq!(place.etl(&[&["help"], &words[..]].concat()).exits(0).out, flag.out, "{name}");
        }
    }
}

#[test]
fn unknown_topic_is_told_the_nearest() {
    let place = Place::new("");
    for (asked, nearest) in [("confguration", "configuration"), ("statsu", "status"), ("guarantee", "guarantees")] {
        let refused = place.etl(&["--log-format", "text", "help", asked]).exits(2);
        assert!(refused.err.contains(&format!("did you mean {nearest:?}?")), "{}", refused.err);
    }
    assert!(place.etl(&["--log-format", "text", "help", "xyz"]).exits(2).err.contains("`etl help` lists them all"));
    assert!(place.etl(&["--log-format", "text", "man", "etl-rn"]).exits(2).err.contains("did you mean \"etl-run\"?"));
}

/// The anchors of a page: its headings as a forge spells them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let headings = page.lines().filter(|line| {
        in_code ^= line.starts_with("```");
        !in_code && line.starts_with('#')
    });
    let anchor = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_and_anchors_lead_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let what = format!("{}: {target}", path.display());
            assert!(there.exists(), "{what}");
            if !anchor.is_empty() {
                assert!(anchors(&fs::read_to_string(&there).unwrap()).contains(anchor), "{what}");
            }
        }
    }
}

#[test]
fn files_that_the_architecture_names_are_there() {
    let text = fs::read_to_string(root().join("src/README.md")).unwrap();
    let paths =
        inline_code(&text).into_iter().filter(|code| code.trim_end_matches('/').contains('/') || code.ends_with(".rs"));
    let paths: Vec<String> =
        paths.filter(|path| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._".contains(c))).collect();
    assert!(paths.len() > 60, "{paths:?}");
    for path in paths {
        assert!(root().join("src").join(&path).exists() || root().join(&path).exists(), "{path}");
    }
}

#[test]
fn rooms_of_the_architecture_are_those_in_src() {
    let listed = rows(&fs::read_to_string(root().join("src/README.md")).unwrap(), "room");
    let mut listed: Vec<String> =
        listed.iter().flat_map(|row| row[0].split(", ")).map(|room| room.replace(['`', '/'], "")).collect();
    let names =
        fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut there: Vec<String> =
        names.filter(|name| !["README.md", "lib.rs", "main.rs"].contains(&name.as_str())).collect();
    listed.sort_unstable();
    there.sort_unstable();
    assert_eq!(listed, there);
}

#[test]
fn tables_have_as_many_cells_in_each_row() {
    for path in documents() {
        for table in table(&fs::read_to_string(&path).unwrap()) {
            let widths: BTreeSet<usize> = table.iter().map(Vec::len).collect();
            assert_eq!(widths.len(), 1, "{}: {table:?}", path.display());
        }
    }
}

/// Whether the parser knows every word of the command line; values may be missing, or stand for others.
#[track_caller]
fn assert_parses(line: &str, place: &str) {
    let Err(error) = Cli::try_parse_from(line.split_whitespace()) else { return };
    let incomplete = [
        Clap::MissingRequiredArgument,
        Clap::MissingSubcommand,
        Clap::DisplayHelp,
        Clap::DisplayHelpOnMissingArgumentOrSubcommand,
        Clap::ValueValidation,
    ];
    let lacks_value = error.to_string().contains("a value is required");
    assert!(incomplete.contains(&error.kind()) || lacks_value, "{place}: {line}: {error}");
}

/// The `etl` command lines of a script.
fn lines_of_etl(script: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in script.lines() {
        let line =
            line.split(" #").next().unwrap_or_default().replace("&&", ";").replace('|', ";").replace("ExecStart=", ";");
        for command in line.split(';') {
            let command = command.split('>').next().unwrap_or_default().trim();
            let (program, rest) = command.split_once(' ').unwrap_or((command, ""));
            if program == "etl" || program.ends_with("/etl") {
                found.push(format!("etl {rest}"));
            }
        }
    }
    found
}

#[test]
fn every_command_line_in_a_document_is_one() {
    let mut seen = 0;
    for path in documents() {
        let (text, place) = (fs::read_to_string(&path).unwrap(), path.display().to_string());
        let scripts = ["sh", "cron", "ini"].into_iter().flat_map(|language| blocks(&text, language));
        let inline =
            inline_code(&text).into_iter().filter(|code| code.starts_with("etl ") && !code.contains(['|', '…']));
        for line in scripts.flat_map(|script| lines_of_etl(&script)).chain(inline) {
            assert_parses(&line, &place);
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn every_script_and_every_json_in_a_document_is_one() {
    for path in documents() {
        let (text, place) = (fs::read_to_string(&path).unwrap(), path.display().to_string());
        for script in ["sh", "bash"].into_iter().flat_map(|language| blocks(&text, language)) {
            let ran = Process::new("bash").args(["-n", "-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{place}: {script}");
        }
        for json in blocks(&text, "json") {
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{place}: {json}");
        }
    }
}

#[test]
fn every_configuration_in_the_manual_is_accepted() {
    let configurations = manual().iter().flat_map(|text| blocks(text, "toml")).collect::<Vec<_>>();
    assert!(!configurations.is_empty());
    for text in configurations {
        let place = Place::new(&text);
        assert_eq!(place.etl(&["status", "--json"]).exits(0).json()["schema"], 1, "{text}");
    }
}

/// Every key that there is, with its table, and its default where the template has one.
fn keys() -> Vec<(String, String, Option<toml::Value>)> {
    let template = Place::new("").etl(&["init", "-"]).exits(0).out;
    let defaults: toml::Table = template.parse().unwrap();
    let (mut keys, mut table) = (Vec::new(), String::new());
    for line in template.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            let default = defaults[&table].get(key).cloned();
            keys.push((table.clone(), key.to_owned(), default));
        }
    }
    keys
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
        let more = if key == "keys" { "url = \"file:pages/*.json\"\n" } else { "" };
        Place::new(&format!("[{table}]\n{more}{example}\n")).etl(&["status"]).exits(0);
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
    let known =
        [page("configuration"), page("operations"), fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap()]
            .concat();
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
    seen.retain(|name| !name.starts_with("ETL_SHIM_") && !["ETL_TEST_TALLY", "ETL_TEST_S3_"].contains(&&**name));
    assert!(seen.len() > 20, "{seen:?}");
    for name in seen {
        assert!(known.contains(&format!("`{name}")) || known.contains(&name), "{name} is in no document");
    }
}

#[test]
fn every_command_and_every_flag_is_in_the_manual() {
    let text = manual().concat() + &fs::read_to_string(root().join("README.md")).unwrap();
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
    let kinds = [
        ErrorKind::Bug,
        ErrorKind::Usage,
        ErrorKind::Busy,
        ErrorKind::State,
        ErrorKind::Config,
        ErrorKind::Credentials,
        ErrorKind::Mismatch,
        ErrorKind::Unavailable,
        ErrorKind::Quarantined,
    ];
    assert!(kinds.is_sorted(), "in the order of precedence");
    let order: Vec<String> = kinds.iter().map(|kind| kind.exit_code().to_string()).collect();
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
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let of_texts = read("src/record/reason.rs");
    let codes = of_texts.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    // A compacted row is never quarantined.
    let mut expected: BTreeSet<String> = codes.filter(|code| code != "bad-row").collect();
    let decode = read("src/page/decode/mod.rs");
    for reason in ["wrong-key", "malformed-token", "no-token", "future"] {
        assert!(decode.contains(&format!("\"{reason}\"")), "{reason}");
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
