//! `etl init`: a configuration that works as it stands, and never in place of another.

use crate::support::cli::Place;
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
