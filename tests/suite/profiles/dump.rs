//! A dump of lines in gzip, over HTTP and as files.

use std::io::Write;

use serde_json::{Value, json};

use super::server::Server;
use super::{Truth, profile, second};
use crate::support::cli::Place;

/// A line, dated in Seoul.
fn line(n: u64) -> Value {
    let at = second(n * 97).to_zoned(jiff::tz::TimeZone::get("Asia/Seoul").unwrap());
    let time = at.strftime("%Y-%m-%dT%H:%M:%S.250%z").to_string();
    match n % 2 {
        0 => json!({"time": time, "level": "info", "message": format!("user {n} signed in")}),
        _ => json!({"level": "error", "context": {"n": n, "of": [1, {"x": null}]}, "time": time}),
    }
}

fn packed(lines: &[Value]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    lines.iter().for_each(|line| writeln!(encoder, "{line}").unwrap());
    encoder.finish().unwrap()
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/gzip\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn truth(lines: impl IntoIterator<Item = u64>) -> Truth {
    let lines: Vec<(u64, Value)> = lines.into_iter().map(|n| (n, line(n))).collect();
    Truth::of(lines.iter().map(|(n, line)| (second(n * 97), line)))
}

#[test]
fn dump_in_gzip_brings_each_line_once_also_where_it_breaks_off() {
    let server = Server::start((1..=90).map(line).collect::<Vec<Value>>(), |request, lines| {
        let tag = format!("\"{}\"", lines.len());
        match request.headers.get("if-none-match") {
            Some(known) if *known == tag => answer("304 Not Modified", &format!("ETag: {tag}\r\n"), b""),
            _ => answer("200 OK", &format!("ETag: {tag}\r\n"), &packed(lines)),
        }
    });
    let place = Place::new("");
    let shown = "https://logs.example.com";
    place.configure(&profile("A dump of lines in gzip", &[(shown, &server.host())]));

    // Cut on the way, and then cut where it was made.
    let whole = packed(&(1..=90).map(line).collect::<Vec<_>>());
    let cut = answer("200 OK", "ETag: \"cut\"\r\n", &whole);
    server.trouble(0, &cut[..cut.len() - whole.len() / 3]);
    place.etl(&["run"]).exits(75);
    server.trouble(0, answer("200 OK", "ETag: \"cut\"\r\n", &whole[..whole.len() / 2]));
    place.etl(&["run"]).exits(75);
    server.trouble(0, answer("502 Bad Gateway", "", b"<html>"));
    place.etl(&["run"]).exits(75);
    place.etl(&["run"]).exits(0);
    place.etl(&["run", "--drain"]).exits(0);
    let tags: Vec<_> =
        server.api.take_asked().iter().map(|asked| asked.headers.get("if-none-match").cloned()).collect();
    assert_eq!(tags, [None, None, None, None, Some("\"90\"".into())], "a tag is sent for what came whole");
    truth(1..=90).is_all(&place);

    // The next dump has other lines before, between and after, and most of them again in another order.
    server.change(|lines| {
        *lines = (40..=120).rev().map(line).chain([line(0), line(41)]).collect();
    });
    place.etl(&["run", "--drain"]).exits(0);
    truth(0..=120).is_all(&place);
    assert_eq!(place.status()["gaps"], json!([]));
}

#[test]
fn dumps_in_a_folder_are_read_as_the_manual_says() {
    let place = Place::new("");
    let (http, files) =
        ("url = \"https://logs.example.com/dumps/latest.ndjson.gz\"", "url = \"file:dumps/*.ndjson.gz\"");
    let paging = ("paging = { style = \"none\" }\n", "");
    place.configure(&profile("A dump of lines in gzip", &[(http, files), paging]));
    std::fs::create_dir(place.path("dumps")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(place.path("dumps").join(name), bytes).unwrap();
    let second_half = packed(&(30..=80).rev().map(line).collect::<Vec<_>>());
    write("a.ndjson.gz", &packed(&(1..=50).map(line).collect::<Vec<_>>()));
    write("b.ndjson.gz", &second_half[..second_half.len() / 2]);
    let ran = place.etl(&["run"]).exits(75);
    assert!(ran.err.contains("b.ndjson.gz"), "{}", ran.err);
    truth(1..=50).is_in(&place);
    write("b.ndjson.gz", &second_half);
    place.etl(&["run", "--drain"]).exits(0);
    truth(1..=80).is_all(&place);
}
