//! `etl init --from`: a page of another shape becomes a configuration that reads it, and nothing of the page is in it.

use std::fs;

use serde_json::json;

use crate::support::cli::{Place, record};
use crate::support::service::Service;

fn empty() -> Place {
    let place = Place::new("");
    fs::remove_file(place.path("etl.toml")).unwrap();
    fs::create_dir(place.path("pages")).unwrap();
    place
}

fn written(place: &Place) -> String {
    fs::read_to_string(place.path("etl.toml")).unwrap()
}

#[test]
fn plain_logs_of_another_shape_are_read_by_what_was_written() {
    let place = empty();
    let log = |n: u64| {
        let meta = json!({"ts": 1_678_412_891_818_u64 + n, "updated_at": "2023-03-10T01:00:00Z"});
        json!({"seq": n, "meta": meta, "trace": format!("{n:032x}"), "secret": "s3cret"})
    };
    let logs: Vec<_> = (7..20).map(log).collect();
    let page = json!({"result": {"logs": logs}, "paging": {"next_cursor": "s3cret"}});
    fs::write(place.path("pages/1.json"), page.to_string()).unwrap();
    let said = place.etl(&["init", "--from", "file:pages/*.json"]).exits(0);
    assert!(said.out.starts_with("With it 13 of 13 logs on the page are read.\n"), "{said:#?}");
    let text = written(&place);
    for line in [
        "items = \"/result/logs\"",
        "token = \"\"",
        "encryption = \"none\"",
        "time = \"/meta/ts\"",
        "time_format = \"epoch-ms\"",
        "id = \"/seq\"",
        "trace = \"hex\"",
        "paging = { style = \"cursor\", next = \"/paging/next_cursor\", param = \"cursor\" }",
        "# found also: /meta/updated_at (auto)",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(!text.contains("s3cret") && !said.out.contains("s3cret"), "no value gets into it");
    let made: Vec<_> = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made.len(), 2, "the configuration beside the pages, and no state: {made:?}");
    place.etl(&["check"]).exits(0);
    place.etl(&["run"]).exits(0);
    assert_eq!(place.etl(&["restore"]).exits(0).out.lines().count(), 13);
}

#[test]
fn origin_over_http_is_recognised_with_its_key_and_without() {
    let service = Service::start(5, |_| {});
    let mut place = empty();
    place.set("FERNET_KEY", &service.key);
    let said = place.etl(&["init", "--from", &service.url]).exits(0);
    assert!(said.out.starts_with("With it 100 of 100 logs on the page are read.\n"), "{said:#?}");
    let text = written(&place);
    assert!(
        text.contains(&service.url) && text.contains("time = \"/inDate\"") && text.contains("token = \"/data\""),
        "{text}"
    );
    place.etl(&["check"]).exits(0);

    let mut place = empty();
    place.set("FERNET_KEY", &fernet::Fernet::generate_key());
    place.etl(&["init", "--from", &service.url]).exits(0);
    assert!(written(&place).contains("# found: Fernet tokens; NO KEY opens any"), "{}", written(&place));
    let mut place = empty();
    place.set("FERNET_KEY", "");
    place.etl(&["init", "--from", &service.url]).exits(0);
    let text = written(&place);
    assert!(text.contains("FERNET_KEY is not set") && text.contains("run `etl init --from` again"), "{text}");
}

#[test]
fn address_in_the_variable_is_asked_and_not_written() {
    let service = Service::start(5, |_| {});
    let mut place = empty();
    place.set("FERNET_KEY", &service.key);
    place.set("API_URL", &service.url);
    place.etl(&["init", "--from", "env:API_URL"]).exits(0);
    assert!(!written(&place).contains(&service.url));
    place.etl(&["check"]).exits(0);
    // What the command line names goes before the variable.
    let named = place.etl(&["init", "other.toml", "--from", "file:pages/*.json"]).exits(2);
    assert!(named.err.contains("no file matches --from"), "{named:#?}");
}

#[test]
fn what_is_not_recognised_is_said_with_its_key() {
    let place = empty();
    fs::write(place.path("pages/1.json"), json!([{"a": 5, "b": "x"}, {"a": 9, "b": "y"}]).to_string()).unwrap();
    let said = place.etl(&["init", "--from", "file:pages/*.json"]).exits(0);
    assert!(said.out.starts_with("With it 0 of 2 logs on the page are read, the others not"), "{said:#?}");
    let text = written(&place);
    assert!(text.contains("# NOT FOUND: no field looks like a time; set time and time_format\ntime = "), "{text}");
    assert!(text.contains("id = \"\"\n") && text.contains("nothing on the page leads to the next"), "{text}");
}

#[test]
fn nothing_is_overwritten_nor_asked_and_secrets_stay_off_the_command_line() {
    let place = empty();
    place.page("pages/1.json", &[record(1, "2023-03-10T01:00:00Z")]);
    for (args, word) in [
        (&["--from", "https://h/log?key=s3cret"][..], "API_URL"),
        (&["--from", "file:pages/*.json", "--header", "Authorization=s3cret"], "env:API_TOKEN"),
        (&["--from", "file:pages/*.json", "--url", "https://h/l"], "cannot be used with"),
        (&["--header", "A=env:B"], "--from"),
    ] {
        let refused = place.etl(&[&["init"][..], args].concat()).exits(2);
        assert!(refused.err.contains(word) && !refused.err.contains("s3cret"), "{refused:#?}");
        assert!(!place.path("etl.toml").exists());
    }
    fs::write(place.path("etl.toml"), "# mine\n").unwrap();
    // Refused before the source is asked: nobody listens there.
    let refused = place.etl(&["init", "--from", "http://127.0.0.1:9/l"]).exits(2);
    assert!(refused.err.contains("is there already") && written(&place) == "# mine\n", "{refused:#?}");
}

#[test]
fn header_is_sent_and_written_by_the_name_of_its_variable() {
    let service = Service::start(5, |_| {});
    let mut place = empty();
    place.set("FERNET_KEY", &service.key);
    place.set("API_TOKEN", "Bearer s3cret");
    place.etl(&["init", "--from", &service.url, "--header", "Authorization=env:API_TOKEN"]).exits(0);
    let text = written(&place);
    assert!(text.contains("headers = { Authorization = \"env:API_TOKEN\" }") && !text.contains("s3cret"), "{text}");
    place.etl(&["check"]).exits(0);
}
