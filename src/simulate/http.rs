//! As much HTTP/1.1 as the simulator speaks: a connection carries one request and one answer, and is closed.
//!
//! Every wait is short, so that a stop is noticed soon. Every total is bounded, so that a silent peer does not hold a thread.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// How long one wait for the peer may take before a stop is looked for.
const TICK: Duration = Duration::from_millis(50);
/// How long a request may take to come, or an answer to make no progress.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the peer may take to close its side after a whole answer.
const FAREWELL: Duration = Duration::from_secs(1);
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// With any query.
    pub(super) path: String,
    /// Whether the answer may come in gzip.
    pub(super) gzip: bool,
}

/// One connection.
pub(super) struct Connection<'a> {
    stream: TcpStream,
    stop: &'a AtomicBool,
}

impl<'a> Connection<'a> {
    /// Takes over `stream`; waits on it end early once `stop` is set.
    pub(super) fn new(stream: TcpStream, stop: &'a AtomicBool) -> io::Result<Self> {
        // Some systems hand down the listener's mode.
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Self { stream, stop })
    }

    /// Reads the request's head. `None` where the peer sends something else, or nothing.
    pub(super) fn request(&mut self) -> io::Result<Option<Request>> {
        let (mut head, mut piece, began) = (Vec::new(), [0; 2048], Instant::now());
        while head.len() < MAX_HEAD {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(n) => head.extend_from_slice(piece.get(..n).unwrap_or_default()),
                Err(error) => self.may_wait(error, began)?,
            }
            match parse(&head) {
                Ok(None) => {}
                Ok(whole) => return Ok(whole),
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Sends all of `bytes`.
    pub(super) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut progress = Instant::now();
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    progress = Instant::now();
                }
                Err(error) => self.may_wait(error, progress)?,
            }
        }
        Ok(())
    }

    /// Ends the answer and waits a moment for the peer to do the same. An error means that the peer went away with
    /// bytes of the answer unread.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let (began, mut rest) = (Instant::now(), [0; 512]);
        while began.elapsed() < FAREWELL && !self.stop.load(Ordering::SeqCst) {
            match self.stream.read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => self.may_wait(error, began)?,
            }
        }
        Ok(())
    }

    /// Pauses for `time`, or until the stop.
    pub(super) fn pause(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time && !self.stop.load(Ordering::SeqCst) {
            std::thread::sleep(TICK.min(time.saturating_sub(began.elapsed())));
        }
    }

    /// Whether `error` only means "not yet".
    fn may_wait(&self, error: io::Error, since: Instant) -> io::Result<()> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        let not_yet = matches!(error.kind(), WouldBlock | TimedOut | Interrupted);
        if not_yet && since.elapsed() < PATIENCE && !self.stop.load(Ordering::SeqCst) { Ok(()) } else { Err(error) }
    }
}

fn parse(head: &[u8]) -> Result<Option<Request>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(head)?.is_partial() {
        return Ok(None);
    }
    let gzip = request.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("accept-encoding") && accepts_gzip(&String::from_utf8_lossy(header.value))
    });
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    Ok(Some(Request { method: method.to_owned(), path: path.to_owned(), gzip }))
}

fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The head of an answer that ends with the connection. `framing` is the header that says how long the body is, `date` the time
/// by the server's clock.
pub(super) fn head(status: &str, content_type: &str, framing: &str, gzip: bool, date: Timestamp) -> String {
    let encoding = if gzip { "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n" } else { "" };
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
    format!(
        "HTTP/1.1 {status}\r\nServer: etl-simulate\r\nDate: {date}\r\nContent-Type: {content_type}\r\n{encoding}{framing}\r\n\
         Connection: close\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_read_once_it_is_whole() {
        let head = b"GET /api/data/log?x=1 HTTP/1.1\r\nHost: a\r\nACCEPT-encoding: br;q=1, gzip;q=0.5\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(parse(&head[..end]).unwrap(), None);
        }
        let expected = Request { method: "GET".into(), path: "/api/data/log?x=1".into(), gzip: true };
        assert_eq!(parse(head).unwrap(), Some(expected));
        assert!(parse(b"\x16\x03\x01 this is TLS\r\n\r\n").is_err());
    }

    #[test]
    fn gzip_is_used_only_where_it_is_accepted() {
        for (value, expected) in
            [("gzip", true), ("br, gzip", true), ("gzip;q=0", false), ("gzip; q=0.0", false), ("identity", false)]
        {
            assert_eq!(accepts_gzip(value), expected, "{value}");
        }
    }
}
