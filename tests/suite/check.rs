//! `etl check`: what is well gets a tick, what is not is named with its fix and decides the exit code; nothing is left behind
//! but the probe.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::cli::{Place, Ran, page, record};
use crate::support::proxy::{Fault, Proxy};
use crate::support::service::Service;
use crate::support::{TestS3, s3, unique_prefix};

/// How a step came out, and its text.
#[track_caller]
fn step(ran: &Ran, name: &str) -> (String, String) {
    let steps = ran.json()["steps"].as_array().unwrap().clone();
    let step = steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name}: {ran:#?}"));
    (step["result"].as_str().unwrap().to_owned(), step.to_string())
}

#[track_caller]
fn verdicts(ran: &Ran) -> Vec<(String, String)> {
    let text = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    ran.json()["steps"].as_array().unwrap().iter().map(|s| (text(s, "step"), text(s, "result"))).collect()
}

fn local(service: &Service) -> Place {
    let mut place = Place::new(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:lake\"\n", service.url));
    place.set("FERNET_KEY", &service.key);
    place
}

/// A place whose store is the S3 server.
fn remote(service: &Service, at: &TestS3, prefix: &str) -> Place {
    let mut place = Place::new(&format!("[source]\nurl = \"{}\"\n[load]\n{}", service.url, at.load(prefix)));
    place.set("FERNET_KEY", &service.key);
    place.trust(at);
    place
}

#[test]
fn all_is_well_and_nothing_is_made() {
    let service = Service::start(2, |_| {});
    let place = local(&service);
    let shown = place.etl(&["check"]).exits(0);
    assert_eq!(shown.err, "");
    for line in
        ["✓ configuration", "✓ source", "✓ key            100 of 100 logs read", "✓ state", "✓ store", "✓ create-only"]
    {
        assert!(shown.out.lines().any(|found| found.starts_with(line)), "{line}: {}", shown.out);
    }
    let left: Vec<_> = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["etl.toml"]);
}

#[test]
fn one_record_is_shown_as_it_would_be_stored_and_what_leads_nowhere_is_named() {
    let place = Place::new("");
    let configure = |record: &str| {
        place.configure(&format!(
            "[source]\nurl = \"file:pages/*\"\nkeys = [\"{}\"]\n[load]\nto = \"file:lake\"\n[record]\nmask_key = \"file:key\"\n{record}",
            place.key
        ));
    };
    place.page("pages/1", &[record(7, "2023-03-10T01:00:00Z")]);
    std::fs::write(place.path("key"), "of the masks, long enough to be a key").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.path("key"), mode).unwrap();
    configure("drop = [\"method\"]\nmask = [\"activity\"]\n");
    let (result, text) = step(&place.etl(&["check", "--json"]).exits(0), "record");
    assert!(result == "ok" && text.contains("in hour 2023-03-10T01 as {") && text.contains("record_id"), "{text}");
    assert!(!text.contains("method") && !text.contains("view\\\",\\\"url"), "{text}");
    configure("drop = [\"/detail/gone\"]\n");
    let (result, text) = step(&place.etl(&["check", "--json"]).exits(0), "record");
    assert!(result == "warning" && text.contains("record.drop") && text.contains("/detail/gone"), "{text}");
    assert!(text.contains("levelname") && text.contains("leads nowhere"), "{text}");
    configure("time = \"/at\"\n");
    let (result, text) = step(&place.etl(&["check", "--json"]).exits(0), "record");
    assert!(result == "warning" && text.contains("no-time: record.time") && text.contains("inDate"), "{text}");
    assert!(!text.contains("json_logger") && !text.contains("2023-03-10"), "no value of what cannot be read: {text}");
}

#[test]
fn wrong_key_is_told_from_one_live_page() {
    let service = Service::start(2, |_| {});
    let mut place = local(&service);
    place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    let found = place.etl(&["check", "--json"]).exits(77);
    let (result, text) = step(&found, "key");
    assert!(result == "failed" && text.contains("none of the keys opens any of 100 logs"), "{text}");
    assert!(!found.out.contains(&service.key) && !found.out.contains("gAAAA"), "{}", found.out);
    place.set("FERNET_KEY", "nonsense");
    place.etl(&["check"]).exits(78);
}

#[test]
fn source_that_is_away_costs_only_its_own_steps() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::new(&format!("[source]\nurl = \"http://127.0.0.1:{port}/x\"\n[load]\nto = \"file:lake\"\n"));
    let found = place.etl(&["check", "--json"]).exits(75);
    let expected = [
        ("configuration", "ok"),
        ("source", "failed"),
        ("key", "skipped"),
        ("clock, source", "skipped"),
        ("state", "ok"),
        ("store", "ok"),
        ("create-only", "ok"),
    ];
    assert_eq!(verdicts(&found), expected.map(|(name, result)| (name.to_owned(), result.to_owned())));
}

#[test]
fn configuration_that_cannot_be_used_is_the_only_step() {
    let place = Place::new("[hours]\ngrase = \"5m\"\n");
    let found = place.etl(&["check", "--json"]).exits(78);
    let (result, text) = step(&found, "configuration");
    assert!(result == "failed" && text.contains("grase") && verdicts(&found).len() == 1, "{text}");
}

#[test]
fn state_that_others_can_write_and_settings_that_changed_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let service = Service::start(2, |_| {});
    let place = local(&service);
    place.etl(&["run"]).exits(0);
    place.configure(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:elsewhere\"\n", service.url));
    let (result, text) = step(&place.etl(&["check", "--json"]).exits(78), "state");
    assert!(result == "failed" && text.contains("load.to has changed"), "{text}");
    std::fs::set_permissions(place.path("etl-state"), PermissionsExt::from_mode(0o777)).unwrap();
    let (_, text) = step(&place.etl(&["check", "--json"]).exits(74), "state");
    assert!(text.contains("chmod 700"), "{text}");
}

/// Answers everything with a page of one record, and a clock that is ten years behind.
fn slow_clock(key: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/log", listener.local_addr().unwrap());
    let body = page(key, &[record(1, "2023-03-10T01:00:00.000Z")]);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let body = if request[..length].starts_with(b"HEAD") { "" } else { &*body };
            let head = "HTTP/1.1 200 OK\r\nDate: Sun, 24 Jan 2016 10:00:00 GMT\r\nConnection: close\r\n";
            let _ =
                write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

#[test]
fn clock_that_is_off_is_a_warning() {
    let mut place = Place::new("");
    let key = place.key.clone();
    place.configure(&format!("[source]\nurl = \"{}\"\n[load]\nto = \"file:lake\"\n", slow_clock(&key)));
    place.set("FERNET_KEY", &key);
    let (result, text) = step(&place.etl(&["check", "--json"]).exits(0), "clock, source");
    assert!(result == "warning" && text.contains("ahead of theirs"), "{text}");
}

#[test]
fn real_store_is_found_to_honour_create_only_and_one_probe_stays() {
    let Some(at) = s3() else { return };
    let (service, prefix) = (Service::start(2, |_| {}), unique_prefix("check"));
    let place = remote(&service, &at, &prefix);
    place.etl(&["check", "--read-only"]).exits(0);
    assert_eq!(at.keys(&prefix), [] as [&str; 0], "nothing is put where nothing may be");
    for _ in 0..2 {
        let found = place.etl(&["check", "--json"]).exits(0);
        assert_eq!(step(&found, "create-only").0, "ok", "{found:?}");
        assert_eq!(step(&found, "clock, store").0, "ok", "{found:?}");
        let keys = at.keys(&prefix);
        assert!(keys.len() == 1 && keys[0].starts_with(&format!("{prefix}check/")), "{keys:?}");
    }
    // The probe is no stranger to a verification.
    place.etl(&["run", "--drain"]).exits(0);
    place.etl(&["verify", "--deep"]).exits(0);
}

#[test]
fn store_that_refuses_the_condition_is_found_out_each_time_by_one_probe() {
    let Some(at) = s3() else { return };
    let service = Service::start(2, |_| {});
    for (status, code) in [("501 Not Implemented", "NotImplemented"), ("400 Bad Request", "InvalidArgument")] {
        let (proxy, prefix) = (Proxy::start(&at.endpoint), unique_prefix("check"));
        proxy.always("PUT ", Fault::NoCondition(status, code));
        let place = remote(&service, &at.behind(&proxy.endpoint), &prefix);
        for _ in 0..2 {
            let (result, text) = step(&place.etl(&["check", "--json"]).exits(0), "create-only");
            assert!(result == "warning" && text.contains("refused here"), "{text}");
        }
        assert_eq!(at.keys(&prefix).len(), 1, "one probe, put once: {:?}", proxy.created(&prefix));
        assert_eq!(proxy.created(&prefix).into_values().collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn policy_of_the_bucket_is_found_by_a_put_that_it_refuses() {
    let Some(at) = s3() else { return };
    let service = Service::start(2, |_| {});
    for (fault, result, says) in [
        (Some(Fault::NeedsCondition("403 Forbidden", "AccessDenied")), "ok", "in force"),
        (Some(Fault::NeedsCondition("500 Oh", "InternalError")), "skipped", "cannot tell"),
        (None, "skipped", "etl init --bucket-policy"),
    ] {
        let (proxy, prefix) = (Proxy::start(&at.endpoint), unique_prefix("policy"));
        if let Some(fault) = fault {
            proxy.always("PUT ", fault);
        }
        let place = remote(&service, &at.behind(&proxy.endpoint), &prefix);
        let found = place.etl(&["check", "--json"]).exits(0);
        assert_eq!(step(&found, "create-only").0, "ok", "{found:?}");
        let (policy, text) = step(&found, "bucket policy");
        assert!(policy == result && text.contains(says), "{text}");
        let keys = at.keys(&prefix);
        assert!(keys.len() == 1 && text.contains(&keys[0]), "the probe that stays is named: {text}");
        // Under the policy all else goes on as before.
        place.etl(&["run", "--drain"]).exits(0);
    }
}

#[test]
fn wrong_secret_and_absent_bucket_are_told_apart() {
    let Some(at) = s3() else { return };
    let service = Service::start(2, |_| {});
    let mut place = remote(&service, &at, "x/");
    place.set("AWS_SECRET_ACCESS_KEY", "wr0ngwr0ng");
    let found = place.etl(&["check", "--json"]).exits(77);
    assert_eq!(step(&found, "store").0, "failed");
    assert!(!found.out.contains("wr0ngwr0ng"), "{}", found.out);
    let place = remote(&service, &TestS3 { bucket: "no-such-bucket".into(), ..at }, "x/");
    let (result, text) = step(&place.etl(&["check", "--json"]).exits(78), "store");
    assert!(result == "failed" && text.contains("no-such-bucket"), "{text}");
}
