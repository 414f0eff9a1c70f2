//! `etl completions` and `etl man`: what a shell and `man` make of them.

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
    assert!(page.contains(".TH etl 1") && page.contains("another run holds the lock"), "{page}");
    place.etl(&["man", "--out", "man1"]).exits(0);
    for (file, text) in [("etl.1", "etl\\-run(1)"), ("etl-run.1", "max\\-runtime"), ("etl-quarantine-drop.1", "reason")]
    {
        let page = std::fs::read_to_string(place.path("man1").join(file)).unwrap();
        assert!(page.contains(text), "{file}: {page}");
    }
    assert!(!place.path("man1/etl-help.1").exists(), "help of help is of no help");
    if has("groff") {
        let ran =
            Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(place.path("man1/etl-run.1")).output();
        let ran = ran.unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "");
    }
}
