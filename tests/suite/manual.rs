//! `etl completions` and `etl man`: what a shell and `man` make of them.

use std::path::Path;
use std::process::Command;

use crate::support::cli::Place;

/// Whether a program is on this machine.
fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status().unwrap().success()
}

#[test]
fn bash_takes_the_completions_and_completes_a_command() {
    let place = Place::new("not even = a [configuration");
    std::fs::write(place.path("etl.bash"), place.etl(&["completions", "bash"]).exits(0).out).unwrap();
    let script = "source etl.bash; COMP_WORDS=(etl quar); COMP_CWORD=1; _etl etl quar etl; echo \"${COMPREPLY[@]}\"";
    let ran = Command::new("bash").args(["-euc", script]).current_dir(place.path("")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "quarantine\n", "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn every_shell_has_completions_that_know_every_command() {
    let place = Place::new("");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.etl(&["completions", shell]).exits(0).out;
        for command in ["run", "replay", "status", "verify", "restore", "quarantine", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let place = Place::new("");
    let page = place.etl(&["man"]).exits(0).out;
    assert!(page.contains(".TH etl 1") && page.contains("another run is at work"), "{page}");
    place.etl(&["man", "--out", "man1"]).exits(0);
    for (file, text) in [("etl.1", "etl\\-run(1)"), ("etl-run.1", "max\\-runtime"), ("etl-quarantine-drop.1", "reason")]
    {
        let page = std::fs::read_to_string(place.path("man1").join(file)).unwrap();
        assert!(page.contains(text), "{file}: {page}");
    }
    let pages: Vec<_> = std::fs::read_dir(place.path("man1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 15 && !place.path("man1/etl-quarantine-help.1").exists(), "{pages:?}");
    pages.iter().for_each(|page| assert_is_set(page));
}

/// `groff`, called as `man` does, has nothing to say about a page, where it is there.
fn assert_is_set(page: &Path) {
    if has("groff") {
        let ran = Command::new("groff").args(["-Kutf8", "-man", "-Tutf8", "-ww", "-z"]).arg(page).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "", "{}", page.display());
    }
}

/// The sections of a page, in order.
fn sections(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|title| title.trim_matches('"')).collect()
}

#[test]
fn manual_page_has_the_sections_that_people_look_for() {
    let place = Place::new("");
    let page = place.etl(&["man"]).exits(0).out;
    let wanted =
        ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"];
    let found = sections(&page);
    let found: Vec<&str> = wanted.into_iter().filter(|title| found.contains(title)).collect();
    assert_eq!(found, wanted);
    for word in ["\n\\fB65\\fR\n", "AWS_SECRET_ACCESS_KEY", "status.json", "etl restore \\-\\-hour", "etl.toml"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let run = place.etl(&["man", "etl-run"]).exits(0).out;
    assert!(sections(&run).ends_with(&["EXIT STATUS", "EXAMPLES", "SEE ALSO"]), "{:?}", sections(&run));
}

#[test]
fn configuration_has_a_page_with_every_key() {
    let place = Place::new("");
    let page = place.etl(&["man", "etl.toml"]).exits(0).out;
    assert!(page.contains(".TH etl.toml 5"), "{page}");
    std::fs::write(place.path("etl.toml.5"), &page).unwrap();
    assert_is_set(&place.path("etl.toml.5"));
    let keys = page.matches("\n.TP\n\\fB").count();
    for key in ["source.keys_file", "hours.grace", "load.layout", "quarantine.max_bytes", "AWS_PROFILE"] {
        assert!(page.contains(&format!("\\fB{key}\\fR")), "{key}: {page}");
    }
    assert!(keys > 45, "{keys}");
}
