//! The server: one thread a connection, on 127.0.0.1 only.
//!
//! Owns the window and its progress. Invariant: the window moves on, and the truth grows, only by an answer that was sent
//! whole and that the peer did not walk away from; a failed, cut or abandoned one changes nothing. A request that comes
//! while another answer is at its very end waits for that, so that one client sees its own progress.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Options;
use super::fault::{Fault, cut_response, html};
use super::generate::Generator;
use super::http::{Connection, Request, head};
use super::truth::Truth;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};

/// Where the logs are, as the origin had it. Every other path answers the same.
const PATH: &str = "/api/data/log";
const MAX_CONNECTIONS: usize = 32;
/// How long to wait for a connection before looking for a stop.
const POLL: Duration = Duration::from_millis(5);
/// How long a request waits for answers that are at their end.
const TURN: Duration = Duration::from_secs(2);

/// Serves until `should_stop`. `ready` gets the lines for stdout, in order, once connections are accepted: where the
/// key is the seed's, `export FERNET_KEY=…`; then `listening on http://127.0.0.1:PORT/api/data/log`.
///
/// # Errors
/// [`ErrorKind::Usage`] for an option out of its range or a port in use, [`ErrorKind::State`] where the truth cannot be
/// written.
pub fn serve(options: &Options, should_stop: &dyn Fn() -> bool, ready: &mut dyn FnMut(&str)) -> Result<()> {
    let server = Server::new(options)?;
    let (listener, port) = listen(options.port)?;
    if let Some(line) = options.key_line() {
        ready(&line);
    }
    ready(&format!("listening on http://{}:{port}{PATH}", Ipv4Addr::LOCALHOST));
    thread::scope(|scope| {
        while !should_stop() && !server.has_failed() {
            match server.seat().map(|seat| (seat, listener.accept())) {
                Some((seat, Ok((stream, _)))) => {
                    let server = &server;
                    let answering = thread::Builder::new().spawn_scoped(scope, move || server.answer(stream, seat));
                    if let Err(cause) = answering {
                        tracing::warn!(%cause, "simulate: no thread for a connection, dropped it");
                    }
                }
                None | Some((_, Err(_))) => thread::sleep(POLL),
            }
        }
        server.stop.store(true, Ordering::SeqCst);
    });
    server.failure()
}

fn listen(port: u16) -> Result<(TcpListener, u16)> {
    let open = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    open().map_err(|cause: io::Error| {
        Error::new(ErrorKind::Usage, format!("simulate: cannot listen on 127.0.0.1:{port}"))
            .hint("give another --port, or 0 for any free one")
            .caused_by(cause)
    })
}

struct Server<'a> {
    options: &'a Options,
    generator: Generator,
    limit: Option<u64>,
    progress: Mutex<Progress>,
    /// Told whenever `Progress::ending` falls.
    ended: Condvar,
    stop: AtomicBool,
    connections: AtomicUsize,
}

struct Progress {
    requests: u64,
    /// Where the next window ends, unless it follows the clock.
    end: u64,
    /// Answers whose last bytes are being sent.
    ending: usize,
    truth: Truth,
    failure: Option<Error>,
}

/// The right to one connection.
struct Seat<'a>(&'a AtomicUsize);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One request's turn: its number, and the window that it gets.
struct Turn {
    request: u64,
    window: Range<u64>,
}

impl<'a> Server<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let generator = Generator::new(options)?;
        let limit = options.limit(&generator);
        let end = options.first_end(&generator, limit);
        let truth = Truth::begin(options.truth.as_deref())?;
        Ok(Self {
            options,
            generator,
            limit,
            progress: Mutex::new(Progress { requests: 0, end, ending: 0, truth, failure: None }),
            ended: Condvar::new(),
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_failed(&self) -> bool {
        self.progress().failure.is_some()
    }

    fn failure(self) -> Result<()> {
        let progress = self.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        progress.failure.map_or(Ok(()), Err)
    }

    fn seat(&self) -> Option<Seat<'_>> {
        // Only the accepting thread takes seats, so the count cannot rise in between.
        let free = self.connections.load(Ordering::SeqCst) < MAX_CONNECTIONS;
        free.then(|| {
            self.connections.fetch_add(1, Ordering::SeqCst);
            Seat(&self.connections)
        })
    }

    fn answer(&self, stream: TcpStream, _seat: Seat<'_>) {
        let answered = Connection::new(stream, &self.stop).and_then(|mut connection| match connection.request()? {
            Some(request) => self.respond(connection, &request),
            None => Ok(()),
        });
        if let Err(cause) = answered {
            tracing::debug!(%cause, "simulate: a connection ended early");
        }
    }

    fn respond(&self, mut connection: Connection<'_>, request: &Request) -> io::Result<()> {
        match request.method.as_str() {
            "GET" => self.respond_with_page(connection, request),
            "HEAD" => {
                connection.send(head("200 OK", "application/json", "Allow: GET", false).as_bytes())?;
                connection.close()
            }
            _ => {
                let framing = "Allow: GET\r\nContent-Length: 0";
                connection.send(head("405 Method Not Allowed", "text/plain", framing, false).as_bytes())?;
                connection.close()
            }
        }
    }

    fn respond_with_page(&self, mut connection: Connection<'_>, request: &Request) -> io::Result<()> {
        let turn = self.turn();
        let fault = Fault::of(self.options, turn.request);
        let (number, from, to) = (turn.request, turn.window.start, turn.window.end);
        tracing::debug!(number, path = path_only(&request.path), ?fault, from, to, "simulate: request");
        match fault {
            Fault::Status { code, reason } => {
                let body = html(code, reason);
                let framing = format!("Content-Length: {}", body.len());
                connection.send(head(&format!("{code} {reason}"), "text/html", &framing, false).as_bytes())?;
                connection.send(body.as_bytes())?;
                connection.close()
            }
            Fault::Cut { chunked, draw } => {
                let body = self.body(&turn, request.gzip)?;
                connection.send(&cut_response(&body, request.gzip, chunked, draw))?;
                connection.close()
            }
            Fault::None => self.send_page(connection, &turn, request.gzip, None),
            Fault::Stall { in_body } => self.send_page(connection, &turn, request.gzip, Some(in_body)),
        }
    }

    /// Sends the page whole, after a stall where one is due, and only then moves on.
    fn send_page(&self, mut peer: Connection<'_>, turn: &Turn, gzip: bool, stall: Option<bool>) -> io::Result<()> {
        let body = self.body(turn, gzip)?;
        let mut answer =
            head("200 OK", "application/json", &format!("Content-Length: {}", body.len()), gzip).into_bytes();
        let before_stall = if stall == Some(true) { answer.len() + body.len() / 2 } else { 0 };
        answer.extend_from_slice(&body);
        let (first, rest) = answer.split_at_checked(before_stall).unwrap_or((&[], &answer));
        if stall.is_some() {
            peer.send(first)?;
            peer.pause(self.options.stall_for);
        }
        self.progress().ending += 1;
        let sent = peer.send(rest).and_then(|()| peer.close());
        let mut progress = self.progress();
        if sent.is_ok() {
            self.move_on(&mut progress, turn);
        }
        progress.ending -= 1;
        self.ended.notify_all();
        sent
    }

    /// Waits for answers that are about to end, and takes the next number and the window that is due.
    fn turn(&self) -> Turn {
        let waited = self.ended.wait_timeout_while(self.progress(), TURN, |progress| progress.ending > 0);
        let (mut progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        progress.requests += 1;
        let due = if self.options.live { self.generator.count_at(SystemClock.now()) } else { progress.end };
        let window = self.generator.window(due.min(self.limit.unwrap_or(u64::MAX)));
        Turn { request: progress.requests, window }
    }

    fn move_on(&self, progress: &mut Progress, turn: &Turn) {
        // Two answers with the same window move it on once, so that nothing is skipped.
        progress.end = progress.end.max(turn.window.end.saturating_add(self.options.advance));
        if let Err(failure) = progress.truth.add(&self.generator, turn.window.clone()) {
            progress.failure.get_or_insert(failure);
        }
    }

    fn body(&self, turn: &Turn, gzip: bool) -> io::Result<Vec<u8>> {
        let page = self.generator.page(turn.window.end, turn.request);
        if !gzip {
            return Ok(page);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&page)?;
        encoder.finish()
    }
}

/// A path for the log: a query may hold a secret.
fn path_only(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

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
        assert_eq!(written.lines().collect::<Vec<_>>(), generator.originals(0..end - 60).collect::<Vec<_>>());
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
}
