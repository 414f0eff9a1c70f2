//! The server on loopback, as a client sees it.

use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Instant;

use super::*;
use crate::hour::{Clock, SystemClock};

/// Runs `client` against a server; stops it afterwards. Returns the lines that the server gave for stdout.
fn with_server(options: &Options, client: impl FnOnce(u16)) -> Vec<String> {
    let (stop, (send, lines)) = (AtomicBool::new(false), mpsc::channel::<String>());
    thread::scope(|scope| {
        let stop = &stop;
        let serving = scope.spawn(move || {
            serve(options, &|| stop.load(Ordering::SeqCst), &mut |line| send.send(line.to_owned()).unwrap())
        });
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.starts_with("listening")) {
            said.push(lines.recv().unwrap());
        }
        let url = said.last().unwrap().strip_prefix("listening on http://127.0.0.1:").unwrap();
        let port = url.strip_suffix("/api/data/log").unwrap().parse().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client(port)));
        stop.store(true, Ordering::SeqCst);
        serving.join().unwrap().unwrap();
        outcome.unwrap();
        said
    })
}

fn ask(port: u16, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn answer_to(port: u16, head: &str) -> (String, Vec<u8>) {
    let mut answer = Vec::new();
    ask(port, head).read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
}

fn get(port: u16) -> (String, Vec<u8>) {
    answer_to(port, "GET /api/data/log HTTP/1.1")
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok())
}

#[test]
fn whole_answer_moves_the_window_on() {
    let options = Options::default();
    let generator = Generator::new(&options).unwrap();
    let said = with_server(&options, |port| {
        for (request, end) in [(1, 100), (2, 160), (3, 220)] {
            let (head, body) = get(port);
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("application/json"), "{head}");
            assert_eq!(content_length(&head), Some(body.len()));
            assert_eq!(body, generator.page(end, request));
        }
        assert_eq!(answer_to(port, "GET /any/path?x=1 HTTP/1.0").1, generator.page(280, 4));
    });
    assert_eq!(said.len(), 2);
    assert_eq!(Some(&said[0]), options.key_line().as_ref());
}

#[test]
fn failed_answers_change_nothing_and_truth_has_what_came_whole_once() {
    let dir = tempfile::tempdir().unwrap();
    let truth = dir.path().join("truth.ndjson");
    let options = Options { errors: 40.0, cut: 30.0, truth: Some(truth.clone()), ..Options::default() };
    let generator = Generator::new(&options).unwrap();
    let (mut end, mut whole) = (100, 0);
    with_server(&options, |port| {
        for request in 1..=40 {
            let (head, body) = get(port);
            let page = generator.page(end, request);
            if head.starts_with("HTTP/1.1 50") {
                assert!(head.contains("text/html") && body.starts_with(b"<html>"), "{head}");
            } else if content_length(&head) == Some(body.len()) {
                assert_eq!(body, page);
                (end, whole) = (end + 60, whole + 1);
            } else if let Some(length) = content_length(&head) {
                assert!(length == page.len() && !body.is_empty() && page.starts_with(&body));
            } else {
                assert!(head.contains("chunked") && !body.ends_with(b"0\r\n\r\n"), "{head}");
                let data = body.splitn(2, |b| *b == b'\n').nth(1).unwrap().strip_suffix(b"\r\n").unwrap();
                assert!(!data.is_empty() && data.len() < page.len() && page.starts_with(data));
            }
        }
    });
    assert!((5..30).contains(&whole), "{whole}");
    let written = std::fs::read_to_string(truth).unwrap();
    assert_eq!(
        written.lines().collect::<Vec<_>>(),
        (0..end - 60).map(|index| generator.record(index).json()).collect::<Vec<_>>()
    );
}

#[test]
fn abandoned_answer_does_not_move_the_window() {
    let options = Options::default();
    let generator = Generator::new(&options).unwrap();
    with_server(&options, |port| {
        let mut byte = [0];
        ask(port, "GET / HTTP/1.1").read_exact(&mut byte).unwrap();
        assert_eq!(get(port).1, generator.page(100, 2));
    });
}

#[test]
fn next_request_sees_the_answer_before_it_even_while_that_connection_lingers() {
    let options = Options::default();
    let generator = Generator::new(&options).unwrap();
    with_server(&options, |port| {
        let mut first = ask(port, "GET / HTTP/1.1");
        first.read_to_end(&mut Vec::new()).unwrap();
        // Read whole, but not closed yet.
        assert_eq!(get(port).1, generator.page(160, 2));
        drop(first);
    });
}

#[test]
fn stalled_answer_comes_late_but_whole() {
    let stall_for = Duration::from_millis(150);
    let options = Options { stall: 100.0, stall_for, ..Options::default() };
    let generator = Generator::new(&options).unwrap();
    with_server(&options, |port| {
        for (request, end) in [(1, 100), (2, 160), (3, 220), (4, 280)] {
            let began = Instant::now();
            assert_eq!(get(port).1, generator.page(end, request));
            assert!(began.elapsed() >= stall_for);
        }
    });
}

#[test]
fn window_stands_still_after_the_last_record() {
    let options = Options { records: Some(130), ..Options::default() };
    let generator = Generator::new(&options).unwrap();
    with_server(&options, |port| {
        for (request, end) in [(1, 100), (2, 130), (3, 130)] {
            assert_eq!(get(port).1, generator.page(end, request));
        }
    });
}

#[test]
fn gzip_is_sent_where_it_is_accepted() {
    let options = Options::default();
    let generator = Generator::new(&options).unwrap();
    with_server(&options, |port| {
        let (head, body) = answer_to(port, "GET / HTTP/1.1\r\nAccept-Encoding: gzip");
        assert!(head.contains("Content-Encoding: gzip"), "{head}");
        let mut page = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut page).unwrap();
        assert_eq!(page, generator.page(100, 1));
    });
}

#[test]
fn other_methods_and_other_protocols_get_no_page() {
    with_server(&Options::default(), |port| {
        assert!(answer_to(port, "POST / HTTP/1.1").0.starts_with("HTTP/1.1 405 "));
        assert_eq!(answer_to(port, "HEAD / HTTP/1.1").1, b"");
        let mut answer = Vec::new();
        ask(port, "\u{16}\u{3}\u{1}").read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"");
    });
}

#[test]
fn live_window_follows_the_clock() {
    let options = Options { live: true, interval: Duration::from_millis(20), ..Options::default() };
    let generator = Generator::new(&options).unwrap();
    with_server(&options, |port| {
        let before = generator.count_at(SystemClock.now());
        let body = get(port).1;
        let after = generator.count_at(SystemClock.now());
        assert!((before..=after).any(|end| generator.page(end, 1) == body));
    });
}

#[test]
fn stop_does_not_wait_for_idle_connections_or_stalls() {
    let options = Options { stall: 100.0, stall_for: Duration::from_secs(60), ..Options::default() };
    let mut idle = Vec::new();
    let began = Instant::now();
    with_server(&options, |port| {
        idle.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
        idle.push(ask(port, "GET / HTTP/1.1"));
        thread::sleep(Duration::from_millis(50));
    });
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn port_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = serve(&Options { port, ..Options::default() }, &|| true, &mut |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.chain().contains(&port.to_string()));
}
