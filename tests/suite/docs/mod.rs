//! The documents: short, found by `etl help`, with examples that are accepted and links that lead somewhere.

mod facts;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::error::ErrorKind as Clap;
use clap::{Command, CommandFactory, Parser};
use etl::cli::Cli;

use crate::support::cli::Place;
use crate::support::documents::{blocks, inline_code, manual, rows, table};

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
        let is_a_page = words.len() == 1 && root().join(format!("src/docs/{}.md", words[0])).exists();
        if !words.is_empty() && !is_a_page {
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
        Clap::DisplayVersion,
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
        // What there is to see of a cluster, brokers know.
        if text.contains("[cluster]") {
            let (code, said) = if cfg!(feature = "kafka") { (0, "cluster.name") } else { (78, "this build of etl") };
            let shown = place.etl(&["config", "show"]).exits(code);
            assert!(shown.out.contains(said) || shown.err.contains(said), "{text}");
            continue;
        }
        assert_eq!(place.etl(&["status", "--json"]).exits(0).json()["schema"], 1, "{text}");
    }
}
