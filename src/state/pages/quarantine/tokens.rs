//! One file of odd tokens: JSON lines behind a checksum (the form of [`checked`]).
//!
//! Read and written token by token, so that a file of any size takes the memory of its longest line. Invariant: no token is
//! returned before the whole file was checked. Gives no file its final name.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::OddToken;
use crate::error::{Error, ErrorKind, Result};
use crate::output::draft::Draft;
use crate::state::files::checked::{self, DIGITS};
use crate::state::files::durable;

/// The line with the checksum.
const HEAD: usize = DIGITS + 1;
/// Bytes read or written at once.
const BUFFER: usize = 1 << 16;

/// What a name stands for.
#[derive(Debug)]
pub enum Opened {
    /// No file.
    Absent,
    /// A file whose checksum does not match.
    Damaged(Error),
    /// A file that was checked.
    Whole(Tokens),
}

/// The tokens of a file, in its order.
#[derive(Debug)]
pub struct Tokens {
    lines: BufReader<File>,
    line: Vec<u8>,
    path: PathBuf,
}

impl Tokens {
    /// Opens and checks the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Opened> {
        let file = match durable::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Opened::Absent),
            opened => opened.map_err(|e| Error::disk("read", path, e))?,
        };
        let mut lines = BufReader::with_capacity(BUFFER, file);
        if !check(&mut lines).map_err(|e| Error::disk("read", path, e))? {
            return Ok(Opened::Damaged(checked::mismatch(path)));
        }
        Ok(Opened::Whole(Self { lines, line: Vec::new(), path: path.to_owned() }))
    }

    fn read(&mut self) -> Result<Option<OddToken>> {
        loop {
            self.line.clear();
            let read = self.lines.read_until(b'\n', &mut self.line);
            if read.map_err(|e| Error::disk("read", &self.path, e))? == 0 {
                return Ok(None);
            }
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            if !line.is_empty() {
                let unreadable = format!("cannot read {}", self.path.display());
                let token = serde_json::from_slice(line);
                return token.map(Some).map_err(|e| {
                    Error::new(ErrorKind::State, unreadable)
                        .caused_by(e)
                        .hint("restore it from a backup, or move it away")
                });
            }
        }
    }
}

impl Iterator for Tokens {
    type Item = Result<OddToken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Whether the checksum matches. Leaves the file at its first token.
fn check(file: &mut BufReader<File>) -> std::io::Result<bool> {
    let mut head = [0; HEAD];
    if let Err(e) = file.read_exact(&mut head) {
        return if e.kind() == std::io::ErrorKind::UnexpectedEof { Ok(false) } else { Err(e) };
    }
    let mut hasher = blake3::Hasher::new();
    loop {
        let bytes = file.fill_buf()?;
        let length = bytes.len();
        if length == 0 {
            break;
        }
        hasher.update(bytes);
        file.consume(length);
    }
    file.seek(SeekFrom::Start(HEAD as u64))?;
    let (sum, end) = head.split_at(DIGITS);
    Ok(hasher.finalize().to_hex().as_bytes() == sum && end == b"\n")
}

/// A file of tokens that is being written.
#[derive(Debug)]
pub struct TokenWriter {
    out: BufWriter<Summed>,
    path: PathBuf,
    /// Tokens in it.
    pub tokens: u64,
    /// When the first of them comes due.
    pub due: Option<Timestamp>,
}

impl TokenWriter {
    /// Starts a draft, named after `target`.
    pub(crate) fn create(target: &Path) -> Result<Self> {
        let path = target.to_owned();
        let mut draft = Draft::private(target)?;
        draft.file().write_all(&[b'0'; HEAD]).map_err(|e| Error::disk("write", &path, e))?;
        let summed = Summed { draft, hasher: blake3::Hasher::new(), bytes: HEAD as u64 };
        Ok(Self { out: BufWriter::with_capacity(BUFFER, summed), path, tokens: 0, due: None })
    }

    /// Adds a token.
    pub(crate) fn push(&mut self, token: &OddToken) -> Result<()> {
        self.tokens += 1;
        self.due = self.due.into_iter().chain(token.due).min();
        let written = serde_json::to_writer(&mut self.out, token).map_err(std::io::Error::from);
        written.and_then(|()| self.out.write_all(b"\n")).map_err(|e| Error::disk("write", &self.path, e))
    }

    /// Its bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.out.get_ref().bytes + self.out.buffer().len() as u64
    }

    /// Writes the rest, and the checksum before it. The file has no final name yet.
    pub(crate) fn finish(self) -> Result<Draft> {
        let fail = |e| Error::disk("write", &self.path, e);
        let Summed { mut draft, hasher, .. } = self.out.into_inner().map_err(|e| fail(e.into_error()))?;
        let head = [hasher.finalize().to_hex().as_bytes(), b"\n"].concat();
        let file = draft.file();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&head)).map_err(fail)?;
        Ok(draft)
    }
}

/// A file that sums what is written into it.
#[derive(Debug)]
struct Summed {
    draft: Draft,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.draft.file().write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
