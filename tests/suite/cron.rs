//! cron, which mails whatever is printed: silent while all is well, and no more than the news of an outage.
//!
//! Its environment is made as it makes it: these four variables and no other, a shell, and a `%` that ends a line.

use std::path::Path;
use std::process::Command;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::origin::{Answer, Origin};

/// Runs the command of a crontab's line as cron would. A `%` that is not escaped ends it.
fn cron(command: &str, home: &Path) -> Ran {
    assert!(!command.replace("\\%", "").contains('%'), "cron cuts it there: {command}");
    let command = command.replace("\\%", "%");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &command]).current_dir(home).env_clear();
    shell.envs([("HOME", home.to_str().unwrap()), ("LOGNAME", "etl"), ("SHELL", "/bin/sh"), ("PATH", "/usr/bin:/bin")]);
    shell.output().unwrap().into()
}

/// The command of the line for crontab in a text.
fn command_in(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| line.starts_with("*/3 * * * *")).unwrap();
    line.trim_start_matches("*/3 * * * *").trim().to_owned()
}

fn origin_and_place(more: &str) -> (Place, Origin) {
    let origin = Origin::start(vec![]);
    let config =
        format!("[source]\nurl = \"{}\"\nretries = 0\n[load]\nto = \"file:lake\"\n[run]\n{more}\n", origin.url);
    let place = Place::new(&config);
    std::fs::write(place.path(".env"), format!("FERNET_KEY={}\n", place.key)).unwrap();
    Command::new("chmod").args(["600", place.path(".env").to_str().unwrap()]).status().unwrap();
    (place, origin)
}

/// `etl run` as in the help's line, with the files of this place.
fn line_of_the_help(place: &Place) -> String {
    let help = place.etl(&["help", "run"]).exits(0).out;
    let command = command_in(&help);
    let config = place.path("etl.toml");
    assert!(command.starts_with("/usr/local/bin/etl --config /etc/etl/etl.toml run"), "{command}");
    command
        .replace("/usr/local/bin/etl", env!("CARGO_BIN_EXE_etl"))
        .replace("/etc/etl/etl.toml", config.to_str().unwrap())
}

#[test]
fn line_of_the_help_runs_and_is_silent() {
    let (place, origin) = origin_and_place("");
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, "2023-03-10T01:00:00Z")]))]);
    let ran = cron(&line_of_the_help(&place), Path::new("/")).exits(0);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    assert_eq!(place.status()["totals"]["records"], 1, "the .env beside the configuration has the key");
}

#[test]
fn line_that_init_prints_works_in_folders_of_any_name() {
    for name in ["plain", "it's", "a b", "50%", "q\"u$o\\te"] {
        let place = Place::new("");
        let folder = place.path(name);
        std::fs::create_dir(&folder).unwrap();
        let url = "file:pages/*.json";
        let said: Ran = place.command(&["init", "--url", url]).current_dir(&folder).output().unwrap().into();
        place.page(&format!("{name}/pages/1.json"), &[record(1, "2023-03-10T01:00:00Z")]);
        std::fs::write(folder.join(".env"), format!("FERNET_KEY={}\n", place.key)).unwrap();
        Command::new("chmod").arg("600").arg(folder.join(".env")).status().unwrap();
        let ran = cron(&command_in(&said.out), Path::new("/")).exits(0);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""), "{name}");
        let log = std::fs::read_to_string(folder.join("run.log")).unwrap();
        assert!(log.contains("uploaded  1 part"), "{name}: {log}");
        let is_time = |line: &str| line.split(' ').next().unwrap().parse::<jiff::Timestamp>().is_ok();
        assert!(log.lines().next().is_some_and(is_time), "a summary begins with its time: {log}");
    }
}

#[test]
fn outage_is_said_when_it_begins_after_each_reminder_and_when_it_ends() {
    let (place, origin) = origin_and_place("remind = \"1s\"");
    let good = Answer::Page(page(&place.key, &[record(1, "2023-03-10T01:00:00Z")]));
    let line = line_of_the_help(&place);
    let run = |answer: Answer| {
        origin.script(vec![answer]);
        cron(&line, Path::new("/"))
    };
    let down = || Answer::Status(502, "<html>".into());
    let began = run(down()).exits(75);
    assert!(began.err.starts_with("error: ") && began.err.contains("answered 502"), "text, once: {began:?}");
    assert_eq!(began.err.lines().count(), 2, "{began:?}");
    assert_eq!(run(down()).exits(75).err, "", "it is known");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = run(down()).exits(75).err;
    assert!(again.contains("has been away for") && again.contains("in 3 runs"), "{again}");
    let ended = run(good.clone()).exits(0).err;
    assert!(ended.contains("the source answers again") && !ended.contains("error"), "{ended}");
    assert_eq!(run(good).exits(0).err, "");
    assert!(!place.path("etl-state/outage.json").exists());
    // Another end that is away is news, and so is everything that is no outage.
    run(down()).exits(75);
    let odd = Answer::Page(page(&place.key, &["no record".to_owned()]));
    assert!(run(odd).exits(65).err.contains("quarantined"));
}

#[test]
fn only_cron_is_spared_what_it_knows() {
    let (place, origin) = origin_and_place("");
    origin.script(vec![Answer::Status(502, "<html>".into())]);
    let line = line_of_the_help(&place);
    cron(&line, Path::new("/")).exits(75);
    for _ in 0..2 {
        assert!(place.etl(&["run"]).exits(75).err.contains("\"level\":\"ERROR\""), "a log has every run");
    }
    let verbose = line.replace(" run ", " run -v ");
    assert!(cron(&verbose, Path::new("/")).exits(75).err.contains("error: "));
    let json = line.replace(" run ", " run --log-format json --json ").replace("> /dev/null", "");
    let ran = cron(&json, Path::new("/")).exits(75);
    assert_eq!((ran.err.as_str(), ran.json()["exit"].as_u64()), ("", Some(75)), "stdout has it for programs");
}

#[test]
fn run_beside_another_one_is_silent() {
    let (place, origin) = origin_and_place("");
    origin.script(vec![Answer::Page(page(&place.key, &[record(1, "2023-03-10T01:00:00Z")]))]);
    let line = line_of_the_help(&place);
    cron(&line, Path::new("/")).exits(0);
    let _lock = etl::state::Lock::take(&place.path("etl-state")).unwrap();
    let ran = cron(&line, Path::new("/")).exits(11);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    assert!(place.etl(&["run"]).exits(11).err.contains("another etl is at work"), "elsewhere it is said");
}
