//! `etl init`: a configuration that works as it stands, and never in place of another.

use std::path::Path;
use std::process::Command;

use crate::support::cli::{Place, Ran};
use crate::support::service::Service;

fn empty() -> Place {
    let place = Place::new("");
    std::fs::remove_file(place.path("etl.toml")).unwrap();
    place
}

#[test]
fn written_configuration_takes_a_first_run_to_its_lake() {
    let (mut place, service) = (empty(), Service::start(5, |_| {}));
    place.set("FERNET_KEY", &service.key);
    let said = place.etl(&["init", "--url", &service.url]).exits(0);
    assert_eq!(said.err, "");
    let file = place.path("etl.toml").canonicalize().unwrap();
    let (file, binary) = (file.to_str().unwrap(), env!("CARGO_BIN_EXE_etl"));
    assert!(
        said.out.contains(&format!("&& {binary} --config {file} run --max-runtime 10m >> run.log")),
        "{}",
        said.out
    );
    assert!(said.out.contains(&format!("ExecStart={binary} --config {file} run")), "{}", said.out);
    assert!(said.out.contains("OnCalendar=*:0/3"), "{}", said.out);
    place.etl(&["run", "--drain"]).exits(0);
    assert!(!place.lake("lake").is_empty());
}

#[test]
fn nothing_is_overwritten() {
    let place = Place::new("# mine\n");
    let refused = place.etl(&["init"]).exits(2);
    assert!(refused.err.contains("etl.toml is there already"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(place.path("etl.toml")).unwrap(), "# mine\n");
    place.etl(&["init", "other.toml"]).exits(0);
    let left: Vec<_> = std::fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn secrets_and_nonsense_do_not_get_into_the_file() {
    let place = empty();
    for (args, word) in [
        (["--url", "https://me:secret@h/log"], "API_URL"),
        (["--url", "https://h/log?token=secret"], "API_URL"),
        (["--to", "somewhere"], "load.to"),
    ] {
        let refused = place.etl(&[&["init"][..], &args].concat()).exits(2);
        assert!(refused.err.contains(word) && !refused.err.contains("secret@"), "{}", refused.err);
        assert!(!refused.err.contains("token=secret"), "{}", refused.err);
        assert!(!place.path("etl.toml").exists());
    }
}

#[test]
fn bucket_policy_is_for_the_configured_place_or_the_named_one_and_nothing_is_written() {
    let place = Place::new("[load]\nto = \"s3://my-logs/prefix\"\nregion = \"eu-west-1\"\n");
    for (args, resource) in [
        (&["init", "--bucket-policy"][..], "arn:aws:s3:::my-logs/prefix/*"),
        (&["init", "--bucket-policy", "--to", "s3://others/"], "arn:aws:s3:::others/*"),
        (&["init", "--bucket-policy", "--region", "cn-north-1"], "arn:aws-cn:s3:::my-logs/prefix/*"),
    ] {
        let printed = place.etl(args).exits(0);
        let policy = printed.json();
        for statement in policy["Statement"].as_array().unwrap() {
            assert_eq!((&statement["Effect"], &statement["Resource"]), (&"Deny".into(), &resource.into()), "{args:?}");
        }
    }
    let refused = place.etl(&["init", "--bucket-policy", "--to", "file:lake"]).exits(2);
    assert!(refused.err.contains("--to s3://bucket/prefix/"), "{}", refused.err);
    let left: Vec<_> = std::fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["etl.toml"]);
}

/// The units of a text, written as files: from the line with the name of one to that of the next.
fn write_units(text: &str, folder: &Path) -> Vec<std::path::PathBuf> {
    let mut written = Vec::new();
    for unit in text.split("# /etc/systemd/system/").skip(1) {
        let (name, rest) = unit.split_once('\n').unwrap();
        let path = folder.join(name);
        std::fs::write(&path, rest.split("\n   and: ").next().unwrap()).unwrap();
        written.push(path);
    }
    written
}

/// What `systemd-analyze` says; `None` where it is not on this machine.
fn analyze(args: &[&str], units: &[&Path]) -> Option<String> {
    let ran: Ran = Command::new("systemd-analyze").args(args).args(units).output().ok()?.into();
    Some(ran.out + &ran.err)
}

fn has_nothing_to_say(units: &[&Path]) {
    let Some(said) = analyze(&["verify"], units) else {
        return crate::support::tally::skipped("systemd-analyze is not there: nobody judged the units");
    };
    assert_eq!(said, "", "{units:?}");
    let said = analyze(&["security", "--offline=true"], &units[..1]).unwrap();
    let level = said.split("Overall exposure level for ").nth(1).and_then(|rest| rest.split(": ").nth(1)).unwrap();
    let level: f64 = level.split(' ').next().unwrap().parse().unwrap();
    assert!(level <= 2.0, "{said}");
}

#[test]
fn units_are_read_as_they_are_meant_and_give_a_run_little() {
    for name in ["plain", "it's", "a b", "50%", "q\"u$o\\te"] {
        let place = empty();
        let folder = place.path(name);
        std::fs::create_dir(&folder).unwrap();
        let said: Ran = place.command(&["init"]).current_dir(&folder).output().unwrap().into();
        let units = write_units(&said.out, &place.path(""));
        assert_eq!(units.len(), 2, "{}", said.out);
        for line in ["User=", "StateDirectory=etl", "ProtectSystem=strict", "Persistent=true"] {
            assert!(said.out.contains(&format!("\n{line}")), "{line}: {}", said.out);
        }
        has_nothing_to_say(&[&units[0], &units[1]]);
    }
}

#[test]
fn units_for_several_pipelines_are_read_for_any_of_them() {
    let place = empty();
    let said = place.etl(&["init", "--systemd-template"]).exits(0).out;
    assert!(!place.path("etl.toml").exists() && said.contains("--config /etc/etl/%i.toml run"), "{said}");
    let units = write_units(&said, &place.path(""));
    let names: Vec<_> = units.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["etl@.service", "etl@.timer"]);
    has_nothing_to_say(&[&units[0], &units[1]]);
}

#[test]
fn version_names_what_it_was_built_from_and_for() {
    let said = empty().etl(&["--version"]).exits(0).out;
    let built = said.strip_prefix(&format!("etl {} (", env!("CARGO_PKG_VERSION"))).unwrap().trim_end();
    let (commit, target) = built.trim_end_matches(')').rsplit_once(", ").unwrap_or(("", built.trim_end_matches(')')));
    assert!(target.matches('-').count() >= 2, "{said}");
    // A source archive has no commit.
    assert!(commit.is_empty() || commit.len() == 12 || option_env!("ETL_COMMIT").is_some(), "{said}");
}
