//! What is sent for one request: the page or a fault.

use std::io::{self, Write as _};
use std::net::TcpStream;

use flate2::Compression;
use flate2::write::GzEncoder;

use jiff::Timestamp;

use super::{Seat, Server, Turn};
use crate::simulate::fault::{Fault, cut_response, html};
use crate::simulate::http::{Connection, Request, head};

impl Server<'_> {
    pub(super) fn answer(&self, stream: TcpStream, _seat: Seat<'_>) {
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
                connection.send(head("200 OK", "application/json", "Allow: GET", false, self.date()).as_bytes())?;
                connection.close()
            }
            _ => {
                let framing = "Allow: GET\r\nContent-Length: 0";
                connection
                    .send(head("405 Method Not Allowed", "text/plain", framing, false, self.date()).as_bytes())?;
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
                connection
                    .send(head(&format!("{code} {reason}"), "text/html", &framing, false, self.date()).as_bytes())?;
                connection.send(body.as_bytes())?;
                connection.close()
            }
            Fault::Cut { chunked, draw } => {
                let body = self.body(&turn, request.gzip)?;
                connection.send(&cut_response(&body, request.gzip, chunked, draw, self.date()))?;
                connection.close()
            }
            Fault::None => self.send_page(connection, &turn, request.gzip, None),
            Fault::Stall { in_body } => self.send_page(connection, &turn, request.gzip, Some(in_body)),
        }
    }

    /// Sends the page whole, after a stall where one is due, and only then moves on.
    fn send_page(&self, mut peer: Connection<'_>, turn: &Turn, gzip: bool, stall: Option<bool>) -> io::Result<()> {
        let body = self.body(turn, gzip)?;
        let framing = format!("Content-Length: {}", body.len());
        let mut answer = head("200 OK", "application/json", &framing, gzip, self.date()).into_bytes();
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

    /// The time by the server's clock.
    fn date(&self) -> Timestamp {
        self.options.now()
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
