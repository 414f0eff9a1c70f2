//! Writing into pipes and devices, for as long as the run may take.
//!
//! No call blocks: it waits for room in short turns, and checks between them whether the run has to stop. Keeps nothing.
//! Invariants: what a pipe has taken is never written again; a reader that closes the pipe is not a failure.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::stop::Stop;

/// A pipe that has room takes at least so many bytes.
const PIECE: usize = 4096;
/// How long to wait for a pipe to get a reader.
const NO_READER: Duration = Duration::from_secs(5);
/// How long a reader may pause.
const STALLED: Duration = Duration::from_secs(30);
/// The same once the run has to stop.
const LAST_WORD: Duration = Duration::from_secs(1);
/// One turn of waiting.
const TURN_MS: u16 = 50;

/// A pipe, a device, or stdout.
#[derive(Debug)]
pub struct Flow {
    file: File,
    stop: Stop,
    /// How long its reader may pause.
    limit: Duration,
    /// The most bytes that are written at once.
    piece: usize,
    is_gone: bool,
}

impl Flow {
    /// Opens the pipe or the device at `path`, which is not a link. Waits a while for a pipe to get a reader.
    pub(super) fn open(path: &Path, stop: Stop) -> io::Result<Self> {
        let mut patience = Patience::new(NO_READER);
        loop {
            match open(path) {
                Err(e) if e.raw_os_error() == Some(libc::ENXIO) => {}
                opened => return opened.and_then(|file| checked(file, stop)),
            }
            if patience.is_over(&stop) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it is a pipe that nobody reads"));
            }
            std::thread::sleep(Duration::from_millis(TURN_MS.into()));
        }
    }

    /// The stdout of this process.
    pub(super) fn stdout(stop: Stop) -> io::Result<Self> {
        // What was printed before has to come first.
        io::stdout().flush()?;
        // People may read a result slowly.
        Self::of(io::stdout(), 1, Duration::MAX, stop)
    }

    /// The stderr of this process.
    pub(super) fn stderr(stop: Stop) -> io::Result<Self> {
        Self::of(io::stderr(), 2, STALLED, stop)
    }

    fn of(stream: impl AsFd, number: u32, limit: Duration, stop: Stop) -> io::Result<Self> {
        let shared = File::from(stream.as_fd().try_clone_to_owned()?);
        let kind = shared.metadata()?.file_type();
        // Other processes share the inherited descriptor: only one of our own can be made non-blocking.
        let own = (kind.is_fifo() || kind.is_char_device()).then(|| reopened(number));
        let piece = if kind.is_file() { usize::MAX } else { PIECE };
        Ok(Self { file: own.and_then(io::Result::ok).unwrap_or(shared), stop, limit, piece, is_gone: false })
    }

    /// Waits until a write would not block: there is room, or an error.
    fn wait(&self) -> io::Result<()> {
        let mut patience = Patience::new(self.limit);
        loop {
            let mut room = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut room, PollTimeout::from(TURN_MS)) {
                Ok(0) | Err(Errno::EINTR) => {}
                // What cannot be polled takes bytes at once.
                Ok(_) | Err(_) => return Ok(()),
            }
            if patience.is_over(&self.stop) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its reader takes nothing"));
            }
        }
    }
}

impl Write for Flow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_gone {
            return Ok(bytes.len());
        }
        loop {
            self.wait()?;
            match self.file.write(bytes.get(..self.piece).unwrap_or(bytes)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    self.is_gone = true;
                    return Ok(bytes.len());
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    // The name of an open file, as in /proc/self/fd, is a link.
    let flags = if path.starts_with("/proc") { flags | libc::O_APPEND } else { flags | libc::O_NOFOLLOW };
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}

fn reopened(number: u32) -> io::Result<File> {
    open(Path::new(&format!("/proc/self/fd/{number}")))
}

/// Refuses what has taken the name since [`super::place`] looked at it.
fn checked(file: File, stop: Stop) -> io::Result<Flow> {
    let kind = file.metadata()?.file_type();
    if kind.is_dir() || kind.is_block_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no longer a pipe or a device"));
    }
    Ok(Flow { file, stop, limit: STALLED, piece: PIECE, is_gone: false })
}

/// A limit for waiting.
struct Patience {
    limit: Duration,
    since: Instant,
    stopped: Option<Instant>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), stopped: None }
    }

    fn is_over(&mut self, stop: &Stop) -> bool {
        if stop.is_requested() {
            let stopped = *self.stopped.get_or_insert_with(Instant::now);
            return stopped.elapsed() >= LAST_WORD;
        }
        self.since.elapsed() >= self.limit
    }
}

/// stderr for the log: a line that cannot be written is lost, without an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stderr;

impl Stderr {
    /// Writes a whole message.
    pub fn say(self, text: &str) {
        let _ = (&self).write_all(text.as_bytes());
    }
}

impl Write for &Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = match crate::stop::installed() {
            None => io::stderr().write_all(bytes),
            Some(stop) => Flow::stderr(stop).and_then(|mut flow| flow.write_all(bytes)),
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
