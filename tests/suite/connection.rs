//! Connections to the source: those that hang, those that die between two requests, and those that cannot be made. Each ends
//! in time with an exit code and a message that say what it was.
//!
//! Planted bugs that turn one red each: a deadline that ends a wait as "nothing new" (`…_hangs_…`), connections that are used
//! again (`…_reaches_…`, `…_left_over_…`).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::cli::{Place, page, record};
use crate::support::tls::{self, pem};

const AT: &str = "2023-03-10T01:00:00.000Z";
const CLOSE: &str = "Connection: close\r\n";

fn config(url: &str, source: &str) -> String {
    format!("[source]\nurl = \"{url}\"\n{source}\n[hours]\nlate_hold = \"0s\"\n[load]\nto = \"file:lake\"\n")
}

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// A server on loopback, and how often it was asked. `serve` gets a connection, and the head of each request on it, until it
/// says that this was the last one.
fn server(serve: impl Fn(&TcpStream, &str) -> bool + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/l", listener.local_addr().unwrap());
    let (serve, asked) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (serve, count) = (Arc::clone(&serve), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if !reader.read_line(&mut head).is_ok_and(|n| n > 0) {
                            return;
                        }
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    if !serve(&stream, &head) {
                        return;
                    }
                }
            });
        }
    });
    (url, asked)
}

fn write(mut stream: &TcpStream, text: &str) {
    // What the client thinks of it is its own business.
    drop(stream.write_all(text.as_bytes()));
}

/// Writes `first`, then `again` every tenth of a second for as long as somebody reads.
fn drip(first: &'static str, again: &'static str) -> String {
    let (url, _) = server(move |mut stream, _| {
        let mut sent = stream.write_all(first.as_bytes());
        while sent.is_ok() {
            std::thread::sleep(Duration::from_millis(100));
            sent = stream.write_all(again.as_bytes());
        }
        false
    });
    url
}

/// The sources that never come to an end, and what a run says of each.
fn endless() -> Vec<(&'static str, String, &'static str)> {
    let silent = server(|_, _| {
        std::thread::sleep(Duration::from_secs(30));
        false
    });
    let begun = server(|stream, _| {
        write(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[ ");
        std::thread::sleep(Duration::from_secs(30));
        false
    });
    // The system accepts for it, and nobody ever looks.
    let listener = Box::leak(Box::new(TcpListener::bind("127.0.0.1:0").unwrap()));
    let deaf = format!("http://{}/l", listener.local_addr().unwrap());
    vec![
        ("silent", silent.0, "no answer"),
        ("deaf to TLS", deaf.replace("http:", "https:"), "no answer"),
        ("deaf", deaf, "no answer"),
        ("a head that drips", drip("HTTP/1.1 200 OK\r\nX: ", "x"), "no answer"),
        ("interim answers", drip("", "HTTP/1.1 102 Processing\r\n\r\n"), "no answer"),
        ("a body that stalls", begun.0, "after 2 bytes"),
        ("a body that drips", drip("HTTP/1.1 200 OK\r\n\r\n[", " "), "the body was not complete after"),
    ]
}

#[test]
fn source_that_hangs_past_the_run_s_time_is_75_run_after_run_and_the_check_sees_it() {
    for (what, url, says) in endless() {
        let place = Place::new(&config(&url, "timeout = \"20s\""));
        for _ in 0..2 {
            let began = Instant::now();
            let ran = place.etl(&["run", "--max-runtime", "700ms"]).exits(75);
            assert!(began.elapsed() < Duration::from_secs(3), "{what}: {:?}", began.elapsed());
            assert!(ran.err.contains(says) && ran.err.contains("--max-runtime"), "{what}: {}", ran.err);
            assert_eq!(place.status()["last_run"]["exit"], 75, "{what}");
        }
        assert_ne!(place.etl(&["status", "--check"]).code, 0, "{what}");
    }
}

#[test]
fn signal_ends_a_wait_for_the_source_within_two_seconds() {
    for (what, url, _) in endless() {
        let place = Place::new(&config(&url, "timeout = \"20s\""));
        for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
            let mut child = place.spawn(&["run", "--max-runtime", "30s"]);
            std::thread::sleep(Duration::from_millis(600));
            let began = Instant::now();
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            assert_eq!(child.wait().unwrap().code(), Some(code), "{what}");
            assert!(began.elapsed() < Duration::from_secs(2), "{what}: {:?}", began.elapsed());
        }
    }
}

#[test]
fn each_try_reaches_a_server_that_closes_unsaid_and_the_message_is_its_answer() {
    let html = "<html>login</html>";
    for (what, answer, says) in [
        ("503", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(), "503"),
        ("429", "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n".to_owned(), "429"),
        ("HTML", ok("", html), "HTML"),
        ("cut", ok("", "[{}, "), "cut short"),
    ] {
        for lingers in [0, 20, 100] {
            let answer = answer.clone();
            let (url, asked) = server(move |stream, _| {
                write(stream, &answer);
                std::thread::sleep(Duration::from_millis(lingers));
                false
            });
            let ran = Place::new(&config(&url, "retries = 1")).etl(&["run"]).exits(75);
            assert!(ran.err.contains(says), "{what}: {}", ran.err);
            assert_eq!(asked.load(Ordering::SeqCst), 2, "{what} after {lingers} ms: {}", ran.err);
        }
    }
}

const PAGES: u64 = 6;

/// The answer to page `n` of a trail.
fn linked(key: &str, n: u64, headers: &str) -> String {
    let link = if n < PAGES { format!("Link: <?page={}>; rel=\"next\"\r\n", n + 1) } else { String::new() };
    ok(&format!("{link}{headers}"), &page(key, &[record(n, AT)]))
}

fn page_of(head: &str) -> u64 {
    let page = head.split_once("page=").and_then(|(_, rest)| rest.split(' ').next());
    page.map_or(1, |n| n.parse().unwrap())
}

#[test]
fn answer_left_over_in_a_connection_is_never_taken_for_the_next_page() {
    type Serve = Box<dyn Fn(&TcpStream, &str, &str) -> bool + Send + Sync>;
    let stale = |key: &str| ok("", &page(key, &[record(99, AT)]));
    let cases: Vec<(&str, Serve)> = vec![
        (
            "twice at once",
            Box::new(move |stream, key, answer| {
                write(stream, &format!("{answer}{}", stale(key)));
                true
            }),
        ),
        (
            "twice, later",
            Box::new(move |stream, key, answer| {
                write(stream, answer);
                std::thread::sleep(Duration::from_millis(5));
                write(stream, &stale(key));
                true
            }),
        ),
        (
            "bytes behind the body",
            Box::new(|stream, _, answer| {
                write(stream, &format!("{answer}\r\n\r\nPHP Notice: x"));
                true
            }),
        ),
        (
            "408 when idle",
            Box::new(|stream, _, answer| {
                write(stream, answer);
                std::thread::sleep(Duration::from_millis(3));
                write(stream, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                false
            }),
        ),
        (
            "closed when idle",
            Box::new(|stream, _, answer| {
                write(stream, answer);
                std::thread::sleep(Duration::from_millis(4));
                false
            }),
        ),
        (
            "closed at once",
            Box::new(|stream, _, answer| {
                write(stream, answer);
                false
            }),
        ),
        (
            "kept open",
            Box::new(|stream, _, answer| {
                write(stream, answer);
                true
            }),
        ),
    ];
    for (what, serve) in cases {
        let place = Place::new("");
        let key = place.key.clone();
        let (url, asked) = server(move |stream, head| serve(stream, &key, &linked(&key, page_of(head), "")));
        place.configure(&config(&url, "retries = 0"));
        let ran = place.etl(&["run", "--drain", "--json"]).exits(0);
        let summary = ran.json();
        assert_eq!((&summary["pages"], &summary["new"]), (&PAGES.into(), &PAGES.into()), "{what}: {ran:#?}");
        assert_eq!(asked.load(Ordering::SeqCst) as u64, PAGES, "{what}");
    }
}

#[test]
fn answer_204_ends_0_and_an_empty_body_does_not() {
    for (answer, code) in [
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 0),
        (format!("HTTP/1.1 204 No Content\r\n{CLOSE}Content-Type: application/json\r\n\r\n"), 0),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".to_owned(), 0),
        ("HTTP/1.1 204 No Content\r\nETag: \"x\"\r\n\r\n".to_owned(), 0),
        ("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n".to_owned(), 75),
        (ok("", ""), 75),
    ] {
        let (url, _) = server({
            let answer = answer.clone();
            move |stream, _| {
                write(stream, &answer);
                true
            }
        });
        let place = Place::new(&config(&url, "retries = 0"));
        let ran = place.etl(&["run", "--json"]);
        assert_eq!(ran.code, code, "{answer}: {ran:#?}");
        if code == 0 {
            assert_eq!((&ran.json()["fetched"], ran.err.as_str()), (&0.into(), ""), "{answer}");
            assert_eq!(place.status()["journal"]["pages"], 0, "{answer}");
            place.etl(&["status", "--check"]).exits(0);
        }
    }
}

#[test]
fn answer_and_the_beginning_of_an_error_are_shown_to_who_looks_closely() {
    let (url, asked) = server(|stream, head| {
        let body = format!("quota \u{1b}[31mexceeded\r\nfor {head}");
        write(stream, &format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        false
    });
    let url = url.replace("http://", "http://me:passwordSECRET@") + "?key=querySECRET";
    let mut place = Place::new(&config(&url, "headers = { Authorization = \"env:TOKEN\" }"));
    place.set("TOKEN", "Bearer tokenSECRET");
    let plain = place.etl(&["run"]).exits(75);
    assert!(!plain.err.contains("exceeded"), "{}", plain.err);
    let close = place.etl(&["run", "-vv"]).exits(75);
    assert!(close.err.contains("400") && close.err.contains("quota [31mexceeded for GET"), "{}", close.err);
    assert!(!close.err.contains("SECRET") && !close.err.contains('\u{1b}'), "{}", close.err);
    assert_eq!(asked.load(Ordering::SeqCst), 2, "{}", close.err);
}

fn http_date(from_now: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(from_now);
    at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn clock_that_differs_from_the_source_s_is_said_once() {
    for (seconds, age, said) in [
        (0, "", 0),
        (-90, "", 0),
        (90, "", 0),
        (-130, "", 1),
        (7200, "", 1),
        (-86_400, "Age: 86400\r\n", 0),
        (0, "Age: 600\r\n", 1),
    ] {
        let place = Place::new("");
        let key = place.key.clone();
        let (url, _) = server(move |stream, head| {
            write(stream, &linked(&key, page_of(head), &format!("Date: {}\r\n{age}", http_date(seconds))));
            true
        });
        place.configure(&config(&url, ""));
        let ran = place.etl(&["run"]).exits(0);
        assert_eq!(ran.err.matches("clock").count(), said, "{seconds} {age}: {}", ran.err);
    }
    // Also of an answer that is not a page; and one without a date says nothing.
    for (headers, said) in
        [(format!("Date: {}\r\n", http_date(300)), true), ("Date: soon\r\n".into(), false), (String::new(), false)]
    {
        let (url, _) = server(move |stream, _| {
            write(stream, &format!("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n{headers}\r\n"));
            true
        });
        let ran = Place::new(&config(&url, "retries = 0")).etl(&["run"]).exits(75);
        assert_eq!(ran.err.contains("clock"), said, "{}", ran.err);
    }
}

/// What a run says to do about `url`, with `SSL_CERT_FILE` and `SSL_CERT_DIR` as given.
fn hint_of(place: &mut Place, url: &str, roots: &[(&str, String)]) -> String {
    place.env.retain(|(name, _)| !name.starts_with("SSL_"));
    roots.iter().for_each(|(name, value)| place.set(name, value));
    place.configure(&config(url, "retries = 0\ntimeout = \"5s\""));
    let ran = place.etl(&["run"]).exits(75);
    assert!(!ran.err.contains("SECRET"), "{}", ran.err);
    ran.err
}

#[test]
fn each_cause_of_a_failed_connection_has_its_own_hint() {
    let mut place = Place::new("");
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    let file = |place: &Place, name: &str, text: &str| {
        std::fs::write(place.path(name), text).unwrap();
        ("SSL_CERT_FILE", place.path(name).to_str().unwrap().to_owned())
    };
    let empty = file(&place, "empty.pem", "");
    let rubbish = file(&place, "rubbish.pem", "no certificate\n");
    let missing = ("SSL_CERT_FILE", place.path("missing.pem").to_str().unwrap().to_owned());
    let folder = ("SSL_CERT_DIR", place.path("none").to_str().unwrap().to_owned());
    std::fs::create_dir(place.path("none")).unwrap();

    let (expired, of_expired) = tls::serve(&["localhost"], Vec::new(), |params| params.not_after = year(2001));
    let (early, of_early) = tls::serve(&["localhost"], Vec::new(), |params| params.not_before = year(3000));
    let (other, of_other) = tls::serve(&["elsewhere.example"], Vec::new(), |_| {});
    let (private, _) = tls::serve(&["localhost"], Vec::new(), |_| {});
    let (modern, of_modern) = tls::serve_picky(&[&rustls::version::TLS13], true, &[]);
    let (older, of_older) = tls::serve_picky(&[&rustls::version::TLS12], true, &[]);
    let (h2, of_h2) = tls::serve_picky(rustls::ALL_VERSIONS, false, &["h2"]);
    let named = |place: &Place, name: &str, certificate: &[u8]| vec![file(place, name, &pem(certificate))];
    let cases = [
        ("expired", expired, named(&place, "1.pem", &of_expired), "has to renew"),
        ("not valid yet", early, named(&place, "2.pem", &of_early), "this machine's clock"),
        ("of another host", other, named(&place, "3.pem", &of_other), "for another host"),
        ("private", private.clone(), vec![], "private authority"),
        ("private, another named", private.clone(), named(&place, "4.pem", &of_other), "to it"),
        ("an empty file", private.clone(), vec![empty], "has no certificate in it"),
        ("a file of something else", private.clone(), vec![rubbish], "has no certificate in it"),
        ("a missing file", private.clone(), vec![missing], "has no certificate in it"),
        ("no roots", private, vec![folder], "no root certificates"),
        ("client certificate, TLS 1.3", modern, named(&place, "5.pem", &of_modern), "wants a certificate"),
        ("client certificate, TLS 1.2", older, named(&place, "6.pem", &of_older), "wants a certificate"),
        ("HTTP/2 only", h2, named(&place, "7.pem", &of_h2), "HTTP/2"),
    ];
    for (what, url, roots, says) in cases {
        let url = url.replace("https://", "https://me:SECRET@") + "?key=SECRET";
        let heard = hint_of(&mut place, &url, &roots);
        assert!(heard.contains(says), "{what}: {heard}");
    }
    for (what, url, says) in [
        ("no such name", "http://me:SECRET@no-such-host.invalid/l?key=SECRET".to_owned(), "no-such-host.invalid"),
        ("no such name, hint", "http://me:SECRET@no-such-host.invalid/l?key=SECRET".to_owned(), "resolver"),
        ("no TLS", greeter("https", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "no TLS"),
        (
            "TLS that was not expected",
            tls::serve(&["localhost"], Vec::new(), |_| {}).0.replace("https", "http"),
            "no HTTP/1.1",
        ),
        ("HTTP/2 from the start", greeter("http", b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"), "no HTTP/1.1"),
        ("SSH", greeter("http", b"SSH-2.0-OpenSSH_9.6\r\n"), "no HTTP/1.1"),
        ("nobody there", "http://127.0.0.1:1/l".to_owned(), "source.url"),
    ] {
        let heard = hint_of(&mut place, &url, &[]);
        assert!(heard.contains(says), "{what}: {heard}");
    }
}

/// A server that says this, and no more, to whoever connects.
fn greeter(scheme: &str, greeting: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("{scheme}://localhost:{}/l", listener.local_addr().unwrap().port());
    let kept = Mutex::new(Vec::new());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(greeting));
            kept.lock().unwrap().push(stream);
        }
    });
    url
}
