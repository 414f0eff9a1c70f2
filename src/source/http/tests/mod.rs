//! Against a scripted server on 127.0.0.1: one reply a connection.

mod waits;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use super::*;
use crate::source::PageHead;
use crate::source::body::tests::gzip;
use crate::source::paging::{Next, Position, Template, Trail};
use crate::stop::Signal;

const PAGE: &str = "[{\"data\":\"gAAAAA\"}]";

/// What one connection gets: bytes, then a pause, then the connection's end.
struct Reply(Vec<u8>, Duration);

fn raw(text: impl AsRef<[u8]>) -> Reply {
    Reply(text.as_ref().to_vec(), Duration::ZERO)
}

fn reply(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    raw([head.as_bytes(), body].concat())
}

fn page() -> Reply {
    reply("200 OK", "", PAGE)
}

/// Ends when its script does; then nobody answers on its port.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let thread = std::thread::spawn(move || {
            for Reply(bytes, pause) in script {
                let (mut stream, _) = listener.accept().unwrap();
                log.lock().unwrap().push(read_request(&mut stream));
                // The client may have seen enough already.
                let _ = stream.write_all(&bytes);
                std::thread::sleep(pause);
            }
        });
        Self { port, requests, thread }
    }

    fn url(&self, path: &str) -> PageUrl {
        PageUrl::parse(&format!("http://127.0.0.1:{}{path}", self.port)).unwrap()
    }

    /// The requests, once the whole script was played.
    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap();
        Arc::try_unwrap(self.requests).unwrap().into_inner().unwrap()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap()
}

fn settings() -> HttpSettings {
    HttpSettings {
        shape: PageShape::default(),
        headers: Headers::default(),
        timeout: Duration::from_secs(5),
        retries: 2,
        max_page_bytes: 10_000,
        backoff: Backoff { base: Duration::from_millis(2), factor: 2, max: Duration::from_millis(10) },
    }
}

fn source(settings: HttpSettings, stop: &Stop) -> HttpSource {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    HttpSource::new(settings, stop.clone())
}

fn fetch(url: &PageUrl) -> Result<Fetched<Vec<u8>>> {
    source(settings(), &Stop::new()).fetch(&PageRequest::get(url.clone()), None, || Ok(Vec::new()))
}

fn body_and_head(fetched: Result<Fetched<Vec<u8>>>) -> (String, PageHead) {
    match fetched.unwrap() {
        Fetched::Page { sink, head } => (String::from_utf8(sink).unwrap(), head),
        other => panic!("no page: {other:?}"),
    }
}

/// The failure of a fetch from a server that plays the whole of `script` and is asked no more.
fn failure(script: Vec<Reply>, path: &str) -> Error {
    let expected = script.len();
    let server = Server::start(script);
    let error = fetch(&server.url(path)).unwrap_err();
    assert_eq!(server.requests().len(), expected, "{error}");
    error
}

#[test]
fn page_comes_with_its_etag_and_length() {
    let server = Server::start(vec![reply("200 OK", "ETag: W/\"v1\"\r\n", PAGE)]);
    let (body, head) = body_and_head(fetch(&server.url("/logs?key=s3cret")));
    assert_eq!((body.as_str(), head.bytes), (PAGE, 19));
    assert_eq!((head.etag.as_deref(), head.link.is_none()), (Some("W/\"v1\""), true));
}

#[test]
fn request_carries_our_headers_and_the_configured_ones() {
    let server = Server::start(vec![page()]);
    let headers = Headers::new([("Authorization", "Bearer s3cret"), ("x-tenant", "7")]).unwrap();
    assert!(!format!("{headers:?}").contains("s3cret"));
    let mut source = source(HttpSettings { headers, ..settings() }, &Stop::new());
    source.fetch(&PageRequest::get(server.url("/logs?page=1")), Some("\"v1\""), || Ok(Vec::new())).unwrap();
    let request = &server.requests()[0].to_ascii_lowercase();
    assert!(request.starts_with("get /logs?page=1 http/1.1\r\n"));
    let user_agent = concat!("user-agent: etl/", env!("CARGO_PKG_VERSION"));
    for line in
        ["authorization: bearer s3cret", "x-tenant: 7", "accept-encoding: gzip", "if-none-match: \"v1\"", user_agent]
    {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
    }
}

#[test]
fn header_that_cannot_be_sent_is_named_without_its_value() {
    for (name, value) in [("Authorization", "s3cret\n"), ("bad name", "s3cret")] {
        let error = Headers::new([(name, value)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.chain().contains(name) && !error.chain().contains("s3cret"), "{error}");
    }
}

#[test]
fn unchanged_page_is_not_modified_only_where_a_tag_was_sent() {
    let server = Server::start(vec![raw("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")]);
    let fetched =
        source(settings(), &Stop::new()).fetch(&PageRequest::get(server.url("/")), Some("\"v1\""), || Ok(Vec::new()));
    assert!(matches!(fetched, Ok(Fetched::NotModified)));
    let error = failure(vec![raw("HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")], "/");
    assert!(error.to_string().contains("304"));
}

#[test]
fn gzipped_page_is_unpacked() {
    let server = Server::start(vec![reply("200 OK", "Content-Encoding: gzip\r\n", gzip(PAGE.as_bytes()))]);
    let (body, head) = body_and_head(fetch(&server.url("/")));
    assert_eq!((body.as_str(), head.bytes), (PAGE, 19));
}

#[test]
fn body_over_the_cap_is_final_and_names_the_setting() {
    let large = format!("[{}]", " ".repeat(20_000));
    let chunked =
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for script in [
        reply("200 OK", "Content-Encoding: gzip\r\n", gzip(large.as_bytes())),
        reply("200 OK", "", &large),
        raw(chunked),
    ] {
        let error = failure(vec![script], "/");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("source.max_page_bytes (10.0 kB)"), "{error}");
    }
}

#[test]
fn every_passing_failure_is_followed_by_another_try_with_a_fresh_sink() {
    let cut_gzip = gzip(PAGE.as_bytes());
    for bad in [
        reply("502 Bad Gateway", "Content-Type: text/html\r\n", "<html>502</html>"),
        reply("429 Too Many Requests", "", ""),
        reply("408 Request Timeout", "", ""),
        reply("200 OK", "Content-Type: text/html\r\n", "<html>sorry</html>"),
        reply("200 OK", "", ""),
        reply("200 OK", "", "[{\"data\":\"gAAAAA\"},"),
        reply("200 OK", "Content-Encoding: gzip\r\n", &cut_gzip[..cut_gzip.len() - 9]),
        raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{\"data\":\"x\"}]"),
        raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n"),
        raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[{\"data\":\"x\"}"),
        raw("HTTP/1.1 200 OK\r\nContent-Le"),
        raw(""),
    ] {
        let what = String::from_utf8_lossy(&bad.0).into_owned();
        let server = Server::start(vec![bad, page()]);
        let (body, _) = body_and_head(fetch(&server.url("/")));
        assert_eq!((body.as_str(), server.requests().len()), (PAGE, 2), "{what}");
    }
}

#[test]
fn json_that_is_called_html_is_a_page() {
    let server = Server::start(vec![reply("200 OK", "Content-Type: text/html\r\n", PAGE)]);
    assert_eq!(body_and_head(fetch(&server.url("/"))).0, PAGE);
}

#[test]
fn error_after_the_last_try_says_what_happened_and_no_secret() {
    let html = || reply("200 OK", "Content-Type: text/html; charset=x\r\n", "<p>s3cret");
    let cut = || raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[\"s3cret\"");
    for (script, what) in [
        (vec![html(), html(), reply("503 Service Unavailable", "", "s3cret")], "in 3 tries, at the last: answered 503"),
        (vec![html(), html(), html()], "but the body is HTML or XML, not a JSON array (text/html)"),
        (vec![cut(), cut(), cut()], "the body was cut short after 9 bytes"),
        (vec![], "no connection"),
    ] {
        let nobody = script.is_empty();
        let server = Server::start(script);
        let url = PageUrl::parse(&format!("http://me:s3cret@127.0.0.1:{}/logs?key=s3cret", server.port)).unwrap();
        if nobody {
            server.requests();
        }
        let mut source = source(settings(), &Stop::new());
        let error = source.fetch(&PageRequest::get(url.clone()), None, || Ok(Vec::new())).unwrap_err();
        let text = format!("{} {error:?} {:?}", error.chain(), error.next_step());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(text.contains(what) && text.contains("/logs gave no page"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[test]
fn answer_204_is_an_empty_page_with_its_tag_and_link() {
    for (headers, sent) in [
        ("ETag: \"v2\"\r\nLink: <?page=2>; rel=next\r\n", ""),
        ("Content-Length: 0\r\n", ""),
        ("Content-Length: 5\r\n", "x[1]y"),
        ("Content-Encoding: gzip\r\n", ""),
    ] {
        let server = Server::start(vec![raw(format!("HTTP/1.1 204 No Content\r\n{headers}\r\n{sent}"))]);
        let (body, head) = body_and_head(fetch(&server.url("/logs")));
        assert_eq!((body.as_str(), head.bytes), ("[]", 2), "{headers}");
        if headers.contains("ETag") {
            assert_eq!((head.etag.as_deref(), head.link.is_some()), (Some("\"v2\""), true));
        }
    }
}

#[test]
fn refused_credentials_and_wrong_addresses_are_final() {
    for (status, kind, hint) in [
        ("401 Unauthorized", ErrorKind::Credentials, "source.headers"),
        ("403 Forbidden", ErrorKind::Credentials, "source.headers"),
        ("404 Not Found", ErrorKind::Unavailable, "source.url"),
        ("205 Reset Content", ErrorKind::Unavailable, "source.url"),
    ] {
        let error = failure(vec![raw(format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n"))], "/l?key=s3cret");
        assert_eq!(error.kind(), kind, "{status}");
        assert!(error.to_string().contains(status) && error.next_step().unwrap().contains(hint), "{error}");
        assert!(!error.chain().contains("s3cret"));
    }
}

#[test]
fn no_request_waits_for_a_connection_that_was_used() {
    // One at a time, and each is served until its client closes it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream);
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE}", PAGE.len()).as_bytes())
                .unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "asked on a connection that was used");
        }
    });
    let mut source = source(settings(), &Stop::new());
    for n in 0..3 {
        let url = PageUrl::parse(&format!("{url}?page={n}")).unwrap();
        assert_eq!(body_and_head(source.fetch(&PageRequest::get(url.clone()), None, || Ok(Vec::new()))).0, PAGE);
    }
    // The last one is closed although the source lives on.
    serving.join().unwrap();
}

#[test]
fn redirects_stay_on_the_host() {
    let moved = |to: &str| reply("302 Found", &format!("Location: {to}\r\n"), "");
    let server = Server::start(vec![moved("/v2?t=1"), page()]);
    assert_eq!(body_and_head(fetch(&server.url("/"))).0, PAGE);
    let requests = server.requests();
    assert!(requests[1].starts_with("GET /v2?t=1 ") && !requests[1].to_ascii_lowercase().contains("referer"));

    let error = failure(vec![moved("http://localhost:1/in?t=s3cret")], "/");
    assert!(error.to_string().ends_with("another host, which is not followed: http://localhost:1/in"), "{error}");
    let error = failure((0..6).map(|_| moved("/again")).collect(), "/");
    assert!(error.to_string().contains("redirects more than 5 times"), "{error}");
}

fn next(url: &PageUrl, head: &PageHead) -> Next {
    let request = PageRequest::get(url.clone());
    Template::of_links(url.clone()).next(&Position::First, &request, head, (&b"[]"[..]).into(), &mut Trail::new(1))
}

#[test]
fn next_page_is_found_relative_to_where_the_answer_came_from() {
    let linked = reply("200 OK", "Link: </x>; rel=\"prev\", <?page=2>; rel=\"next\"\r\n", PAGE);
    let server = Server::start(vec![reply("307 Moved", "Location: /v2/logs\r\n", ""), linked]);
    let head = body_and_head(fetch(&server.url("/logs"))).1;
    let Next::Page(Position::Url(found)) = next(&server.url("/logs"), &head) else { panic!("it leads nowhere") };
    assert_eq!(found, server.url("/v2/logs?page=2").secret_text());

    let server = Server::start(vec![reply("200 OK", "Link: <http://evil.example/?t=s3cret>; rel=next\r\n", PAGE)]);
    let (body, head) = body_and_head(fetch(&server.url("/logs")));
    let Next::Lost(refused) = next(&server.url("/logs"), &head) else { panic!("it leads on") };
    assert_eq!((body.as_str(), refused.kind()), (PAGE, ErrorKind::Unavailable));
    assert!(!refused.chain().contains("s3cret"));
}

#[test]
fn failing_sink_ends_the_fetch_with_its_own_error() {
    struct Full;
    impl PageSink for Full {
        fn write(&mut self, _: &[u8]) -> Result<()> {
            Err(Error::new(ErrorKind::State, "disk full"))
        }
    }
    for can_open in [true, false] {
        let server = Server::start(vec![page()]);
        let open = || if can_open { Ok(Full) } else { Err(Error::new(ErrorKind::State, "disk full")) };
        let failed = source(settings(), &Stop::new()).fetch(&PageRequest::get(server.url("/")), None, open);
        assert!(matches!(failed, Err(error) if error.kind() == ErrorKind::State));
        assert_eq!(server.requests().len(), 1);
    }
}
