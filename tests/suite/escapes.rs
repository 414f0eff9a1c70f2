//! Nothing from outside acts on a terminal, or begins a line of its own in what is printed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use etl::output::plain_text::acts;
use serde_json::Value;

use crate::support::cli::{Place, Ran, record};
use crate::support::intruder::Intruder;
use crate::support::{s3, unique_prefix};

/// Sets a title, hides and colours what follows, turns it round, and begins lines that look like ours.
const ACTING: &str = "\u{1b}]0;pwned\u{7}\u{1b}[8m\u{9b}31m\u{202e}\r\nerror: all is lost\nquarantine  7 tokens\n";

/// What was printed acts on nothing, and `line` tells every line of the log that is ours.
#[track_caller]
fn is_plain(ran: &Ran) {
    for text in [&ran.out, &ran.err] {
        let acting = text.chars().find(|c| acts(*c) && *c != '\n');
        assert!(acting.is_none(), "{acting:?} in {ran:?}");
        assert!(!text.lines().any(|line| ["error: all is lost", "quarantine  7 tokens"].contains(&line)), "{ran:?}");
    }
    assert!(!ran.err.contains("panicked"), "{ran:?}");
}

/// The command says the same in each form, and never acts. Returns what it said as text.
#[track_caller]
fn in_each_form(place: &Place, args: &[&str], code: i32) -> Ran {
    let json = place.etl(&[args, &["--log-format", "json", "-vv"]].concat()).exits(code);
    is_plain(&json);
    for line in json.err.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    let text = place.etl(&[args, &["--log-format", "text"]].concat()).exits(code);
    is_plain(&text);
    text
}

const LAKE: &str = "[load]\nto = \"file:lake\"\n";

#[test]
fn name_of_a_file_acts_nowhere() {
    let place = Place::new(&format!("[source]\nurl = \"file:pages/*\"\n{LAKE}"));
    place.page("pages/1", &[record(1, "2023-03-10T01:00:00.000Z")]);
    fs::write(place.path("pages").join(ACTING), "<html>").unwrap();
    let ran = in_each_form(&place, &["run"], 75);
    assert!(ran.err.contains(r"pages/\u{1b}]0;pwned\u{7}\u{1b}[8m\u{9b}31m\u{202e}\r\nerror: all"), "{ran:?}");
    let problem = place.status()["last_run"]["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains(ACTING), "a program is told the name as it is: {problem:?}");
    for args in
        [&["status"][..], &["status", "--json"], &["check"], &["check", "--json"], &["status", "--html", "page"]]
    {
        is_plain(&place.etl(args));
    }
    assert!(!fs::read_to_string(place.path("page")).unwrap().contains(|c| acts(c) && c != '\n'));
    // With styles, on what says that it is a terminal.
    let mut coloured = place.command(&["status"]);
    let coloured: Ran = coloured.env("CLICOLOR_FORCE", "1").output().unwrap().into();
    assert!(coloured.out.contains("\u{1b}[") && !coloured.out.contains("\u{1b}[8m"), "{coloured:?}");
    assert!(!coloured.out.contains(['\u{7}', '\u{9b}', '\u{202e}', '\r']), "{coloured:?}");
}

#[test]
fn name_of_an_object_acts_nowhere() {
    let lake = (Place::new(""), LAKE.to_owned(), String::new());
    let bucket = s3().map(|at| {
        let (mut place, prefix) = (Place::new(""), unique_prefix("escapes"));
        place.trust(&at);
        (place, format!("[load]\n{}", at.load(&prefix)), prefix)
    });
    for (place, load, prefix) in [lake].into_iter().chain(bucket) {
        place.configure(&format!("[source]\nurl = \"file:pages/*\"\n{load}\n"));
        place.page("pages/1", &[record(1, "2023-03-10T01:00:00.000Z")]);
        place.etl(&["run"]).exits(0);
        let intruder = s3().filter(|_| !prefix.is_empty()).map(|at| Intruder::in_bucket(&at));
        let intruder = intruder.unwrap_or_else(|| Intruder::Lake(place.path("lake")));
        // A store in XML cannot list what is no character of XML.
        let name = if prefix.is_empty() { ACTING } else { "\u{202e}stranger\u{9b}31m\n" };
        intruder.write(&format!("{prefix}data/{name}"), b"x", None);
        let ran = in_each_form(&place, &["verify"], 76);
        assert!(ran.out.starts_with("foreign  ") && ran.out.lines().count() == 3, "{ran:?}");
        is_plain(&place.etl(&["verify", "--json"]).exits(76));
    }
}

#[test]
fn text_of_a_record_acts_nowhere() {
    let place = Place::new(&format!("[source]\nurl = \"file:pages/*\"\n{LAKE}"));
    let escaped: String = ACTING.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let date = |text: &str| format!("{{'record_id': 7, 'inDate': '{text}'}}");
    place.page("pages/1", &[ACTING.to_owned(), date(&escaped), format!("{{'k{escaped}': }}"), format!("{{{ACTING}}}")]);
    is_plain(&place.etl(&["run", "-vv", "--log-format", "text"]).exits(65));
    for args in [&["quarantine", "list"][..], &["quarantine", "list", "--json"], &["quarantine", "export"], &["status"]]
    {
        is_plain(&place.etl(args).exits(0));
    }
    is_plain(&place.etl(&["quarantine", "drop", "--reason", ACTING, "--yes"]).exits(2));
}

#[test]
fn argument_acts_nowhere() {
    let place = Place::new(LAKE);
    let flag = format!("--hour={ACTING}");
    for args in [
        &["restore", ACTING][..],
        &[ACTING],
        &["restore", "--hour", ACTING],
        &["restore", &flag],
        &["--config", ACTING, "run"],
    ] {
        let ran = place.etl(args);
        is_plain(&ran);
        assert!([2, 78].contains(&ran.code) && ran.err.contains(r"pwned"), "{ran:?}");
    }
    is_plain(&place.etl(&["--help"]).exits(0));
}

#[test]
fn value_of_the_configuration_acts_nowhere() {
    let quoted = serde_json::to_string(ACTING).unwrap().replace('\u{9b}', "\\u009b").replace('\u{202e}', "\\u202e");
    for config in [
        format!("[source]\nurl = {quoted}\n{LAKE}"),
        format!("[source]\nurl = \"file:pages/*\"\n[load]\nto = {quoted}\n"),
        format!("[source]\nurl = \"file:pages/*\"\n{quoted} = 1\n{LAKE}"),
        format!("[source]\nurl = \"file:pages/*\"\n{LAKE}[hours]\ntimezone = {quoted}\n"),
        format!("[source]\nurl = \"file:pages/*\"\n{LAKE}layout = {quoted}\n"),
        format!("[source]\nurl = \"file:pages/*\"\n{LAKE}[compact]\nurl = {{ {quoted} = 0 }}\n"),
        format!("[source]\nurl = \"file:pages/*\"\n{LAKE}[state]\ndir = {quoted}\nmin_free = 0\n"),
        format!("[source]\nurl = \"http://127.0.0.1:1/\"\nheaders = {{ {quoted} = \"x\" }}\n{LAKE}"),
    ] {
        let place = Place::new(&config);
        place.page("pages/1", &["odd".to_owned()]);
        for args in [&["run"][..], &["status"], &["check"], &["verify"], &["restore"], &["ddl"]] {
            for form in ["json", "text"] {
                is_plain(&place.etl(&[args, &["--log-format", form]].concat()));
            }
        }
    }
}

#[test]
fn warning_in_the_log_is_one_line_in_which_nothing_acts() {
    let quoted = serde_json::to_string(ACTING).unwrap().replace('\u{9b}', "\\u009b").replace('\u{202e}', "\\u202e");
    let place = Place::new(&format!("[source]\nurl = \"file:pages/*\"\n{LAKE}[state]\ndir = {quoted}\n"));
    place.page("pages/1", &[record(1, "2023-03-10T01:00:00.000Z")]);
    place.etl(&["run"]).exits(0);
    let entries = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap());
    let state = entries.into_iter().find(|entry| entry.file_name().to_string_lossy().contains("pwned")).unwrap();
    fs::write(state.path().join("ledger/head"), "damaged").unwrap();
    let ran = in_each_form(&place, &["restore"], 0);
    assert!(ran.err.trim_start().starts_with("WARN ") && ran.err.lines().count() == 1, "{ran:?}");
    assert!(ran.err.contains(r"\u{1b}]0;pwned"), "{ran:?}");
}

/// A server that answers every request with these bytes.
fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1 << 16]);
            let _ = stream.write_all(&answer);
        }
    });
    url
}

#[test]
fn answer_of_a_server_acts_nowhere() {
    // What a header may hold by the letter of HTTP, and what it may not.
    for value in ["\u{9b}31m\u{202e}x", ACTING, "\u{1b}[31m"] {
        for (status, header) in [
            ("200 OK", "Content-Type"),
            ("200 OK", "Content-Encoding"),
            ("200 OK", "ETag"),
            ("200 OK", "Link"),
            ("302 Found", "Location"),
            ("503 Busy", "Retry-After"),
            ("403 \u{9b}31m\u{202e}", "WWW-Authenticate"),
        ] {
            let value = if header == "Link" { format!("<http://{value}/>; rel=\"next\"") } else { value.to_owned() };
            let head = format!("HTTP/1.1 {status}\r\n{header}: {value}\r\nConnection: close\r\n");
            let body = format!("<Error><Code>{value}</Code><Message>{value}</Message></Error>");
            let url = answering(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
            let mut place = Place::new(&format!("[source]\nurl = \"{url}/log\"\nretries = 0\n{LAKE}"));
            for (form, more) in [("json", "-vv"), ("text", "-vv")] {
                is_plain(&place.etl(&["run", "--log-format", form, more, "--max-runtime", "5s"]));
            }
            is_plain(&place.etl(&["status"]));
            if header == "WWW-Authenticate" {
                for (name, value) in [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")] {
                    place.set(name, value);
                }
                place.configure(&format!("[load]\nto = \"s3://b/\"\nendpoint = \"{url}\"\nregion = \"x\"\n"));
                is_plain(&place.etl(&["restore", "--log-format", "text"]));
            }
        }
    }
}
