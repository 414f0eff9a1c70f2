//! The server: one thread a connection, on 127.0.0.1 only.
//!
//! Owns the window and its progress. Invariant: the window moves on, and the truth grows, only by an answer that was sent
//! whole to a peer that stayed for it; a failed, cut or abandoned one changes nothing. A request that comes while another
//! answer is at its very end waits for that, so that one client sees its own progress.

mod answer;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::truth::Truth;
use super::{Generator, Options};
use crate::error::{Error, ErrorKind, Result};

/// The path of the real service. Every other path gets the same answer.
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

    /// Waits for answers that are about to end, and takes the next number and the window that is due.
    fn turn(&self) -> Turn {
        let waited = self.ended.wait_timeout_while(self.progress(), TURN, |progress| progress.ending > 0);
        let (mut progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        progress.requests += 1;
        let due = if self.options.live { self.generator.count_at(self.options.now()) } else { progress.end };
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
}

#[cfg(test)]
mod tests;
