//! The lines of records: in a file beside the database, whose rows say where they are.
//!
//! sled writes each value about twice and reads it once more, and holds in memory what it has touched: for the lines, which are
//! nine tenths of a record, that costs more than all else that is done to them. So they are appended to a file of their own, in
//! pieces, and the database keeps of each piece its place and checksum.
//!
//! Owns `lines` in a generation's directory. Invariant: the bytes that a row names are durable before the row is written, and are
//! never written again. A crash leaves bytes behind [`END`] that no row names: the next batch is written over them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher;
use nix::libc;
use serde::{Deserialize, Serialize};

use super::guard::{Open, decode, guarded};
use super::rows::{Batch, encode, record_key};
use super::{Generation, LineAt};
use crate::error::{Error, Result};
use crate::hour::Hour;

/// The file's name.
pub(super) const NAME: &str = "lines";
/// The key of its end.
pub(super) const END: &[u8] = b"e";
/// Bytes of lines in a piece, but for the last of a commit's hour: what is read at once.
const PIECE: usize = 1 << 16;
/// Bytes that are handed to the file at once, where hours bring less than that.
const BUFFER: usize = 1 << 16;

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    /// Its offset in the file.
    offset: u64,
    /// Its bytes.
    length: u32,
    /// CRC-32 of them.
    sum: u32,
}

/// The open file.
#[derive(Debug)]
pub(super) struct LineFile {
    file: File,
    /// Where the next batch is written. Rises even where the batch's rows fail: they may be there all the same.
    end: Mutex<u64>,
}

impl LineFile {
    /// Makes the empty file of a new generation. Durable it is with the generation.
    pub(super) fn create(path: &Path) -> io::Result<()> {
        options().create_new(true).mode(0o600).open(path)?.sync_all()
    }

    /// Opens the file of which the database names the bytes up to `end`. `None`: it is not there, or is shorter than that.
    pub(super) fn open(path: &Path, end: u64) -> io::Result<Option<Self>> {
        let file = match options().open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let is_whole = file.metadata()?.len() >= end;
        Ok(is_whole.then_some(Self { file, end: Mutex::new(end) }))
    }

    /// Writes the lines of a batch, durable on return, and adds the rows that name them to it.
    pub(super) fn append(&self, path: &Path, batch: &mut Batch<'_>) -> Result<()> {
        let lines = std::mem::take(&mut batch.lines);
        if lines.iter().flat_map(|(_, _, lines)| lines).all(|lines| lines.is_empty()) {
            return Ok(());
        }
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cutter = Cutter { offset: *end, ..Cutter::default() };
        let written = self.write(*end, lines.iter().flat_map(|(_, _, lines)| lines));
        written.map_err(|e| Error::disk("write", path, e))?;
        for (hour, commit, lines) in lines {
            for (number, piece) in (0..).zip(cutter.cut(&lines)) {
                batch.rows.insert(record_key(b'p', hour, commit, number).as_slice(), encode(&piece)?);
            }
        }
        batch.rows.insert(END, encode(&cutter.offset)?);
        *end = cutter.offset;
        Ok(())
    }

    fn write<'l>(&self, at: u64, lines: impl Iterator<Item = &'l &'l [u8]>) -> io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        for lines in lines {
            out.write_all(lines)?;
        }
        out.flush()?;
        self.file.sync_data()
    }

    /// Reads a piece into `out`. `false`: its bytes are not those that were written.
    fn read(&self, piece: Piece, out: &mut Vec<u8>) -> io::Result<bool> {
        out.resize(PIECE.min(usize::try_from(piece.length).unwrap_or(PIECE)), 0);
        match self.file.read_exact_at(out, piece.offset) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| crc32fast::hash(out) == piece.sum),
        }
    }
}

/// Cuts lines into pieces, one commit's hour after the other.
#[derive(Default)]
struct Cutter {
    pieces: Vec<Piece>,
    /// Where the piece at hand begins in the file, its bytes so far, and their sum.
    offset: u64,
    length: usize,
    sum: Hasher,
}

impl Cutter {
    /// The pieces of `lines`, which begin where the lines before them ended.
    fn cut(&mut self, lines: &[&[u8]]) -> Vec<Piece> {
        lines.iter().for_each(|lines| self.take(lines));
        self.end_piece();
        std::mem::take(&mut self.pieces)
    }

    fn take(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let (bytes, behind) = lines.split_at(lines.len().min(PIECE - self.length));
            self.sum.update(bytes);
            self.length += bytes.len();
            lines = behind;
            if self.length == PIECE {
                self.end_piece();
            }
        }
    }

    fn end_piece(&mut self) {
        let length = u32::try_from(std::mem::take(&mut self.length)).unwrap_or(u32::MAX);
        let sum = std::mem::take(&mut self.sum).finalize();
        if length > 0 {
            self.pieces.push(Piece { offset: self.offset, length, sum });
            self.offset += u64::from(length);
        }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Reads lines, keeping the piece at hand: lines in order of arrival cost one read a piece.
#[derive(Debug)]
pub struct LineReader<'g> {
    generation: &'g Generation,
    open: Arc<Open>,
    hour: Hour,
    at_hand: Option<(u64, u32)>,
    piece: Vec<u8>,
}

impl<'g> LineReader<'g> {
    pub(super) fn new(generation: &'g Generation, hour: Hour) -> Result<Self> {
        Ok(Self { generation, open: generation.opened()?, hour, at_hand: None, piece: Vec::new() })
    }

    /// Reads the line at `at` into `line`, which is as long.
    ///
    /// # Errors
    /// `State`: damaged; a line that should be there is not.
    pub fn read(&mut self, at: LineAt, mut line: &mut [u8]) -> Result<()> {
        let mut offset = usize::try_from(at.offset).map_err(|_| self.generation.damaged())?;
        while !line.is_empty() {
            let (number, start) = (offset / PIECE, offset % PIECE);
            let number = u32::try_from(number).map_err(|_| self.generation.damaged())?;
            if self.at_hand != Some((at.commit, number)) {
                self.fetch(at.commit, number)?;
            }
            let (some, rest) = line.split_at_mut(line.len().min(PIECE - start));
            let piece = self.piece.get(start..start + some.len());
            some.copy_from_slice(piece.ok_or_else(|| self.generation.damaged())?);
            offset += some.len();
            line = rest;
        }
        Ok(())
    }

    /// Takes a piece to hand.
    fn fetch(&mut self, commit: u64, number: u32) -> Result<()> {
        self.at_hand = None;
        let generation = self.generation;
        let key = record_key(b'p', self.hour, commit, number);
        let row = guarded(&generation.dir, || self.open.db.store()?.get(key))?;
        let piece = decode(&generation.dir, &row.ok_or_else(|| generation.damaged())?)?;
        match self.open.lines.read(piece, &mut self.piece) {
            Ok(true) => self.at_hand = Some((commit, number)),
            Ok(false) => return Err(generation.damaged()),
            Err(e) => return Err(Error::disk("read", &generation.dir.join(NAME), e)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Entry};
    use super::*;
    use crate::error::ErrorKind;

    fn hour() -> Hour {
        "2023-03-10T01".parse().unwrap()
    }

    /// Lines like no others.
    fn noise(commit: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&commit.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn write(generation: &Generation, commit: u64, lines: &[u8]) -> Result<()> {
        let entry = Entry { hash: [7; 16], seconds: 0, nanos: 0, length: u32::try_from(lines.len()).unwrap() };
        let mut batch = Batch::default();
        let (some, others) = lines.split_at(lines.len() / 3);
        batch.put_records(hour(), commit, &[entry], &[some, b"", others]).unwrap();
        generation.write(batch)
    }

    fn read(generation: &Generation, commit: u64, length: usize) -> Result<Vec<u8>> {
        let mut found = vec![0; length];
        generation.lines(hour())?.read(LineAt { commit, offset: 0 }, &mut found)?;
        Ok(found)
    }

    #[test]
    fn lines_come_back_from_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let lengths = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17, BUFFER + 5];
        for (commit, length) in (1..).zip(lengths) {
            // Opened anew for each, so that the end is read back.
            let generation = Generation::open(&path, 1).unwrap();
            write(&generation, commit, &noise(commit, length)).unwrap();
            let mut reader = generation.lines(hour()).unwrap();
            for offset in (0..length).step_by(997).rev() {
                let mut rest = vec![0; length - offset];
                reader.read(LineAt { commit, offset: offset as u64 }, &mut rest).unwrap();
                assert!(rest == noise(commit, length)[offset..], "commit {commit} from {offset} on");
            }
            let behind = LineAt { commit, offset: length as u64 };
            assert!(reader.read(behind, &mut [0]).is_err(), "there is no byte behind the last");
        }
        let generation = Generation::open(&path, 1).unwrap();
        for (commit, length) in (1..).zip(lengths) {
            assert!(read(&generation, commit, length).unwrap() == noise(commit, length), "commit {commit}");
        }
    }

    #[test]
    fn what_a_crash_left_behind_the_end_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        write(&Generation::open(&path, 1).unwrap(), 1, b"first").unwrap();
        let mut file = OpenOptions::new().append(true).open(path.join(NAME)).unwrap();
        file.write_all(&noise(1, 100)).unwrap();
        let generation = Generation::open(&path, 1).unwrap();
        write(&generation, 2, b"second").unwrap();
        assert_eq!(read(&generation, 1, 5).unwrap(), b"first");
        assert_eq!(read(&generation, 2, 6).unwrap(), b"second");
        assert!(std::fs::read(path.join(NAME)).unwrap().starts_with(b"firstsecond"));
    }

    #[test]
    fn any_changed_byte_any_cut_and_no_file_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        write(&Generation::open(&path, 1).unwrap(), 1, b"a line").unwrap();
        let found = || Generation::open(&path, 1).and_then(|generation| read(&generation, 1, 6)).map_err(|e| e.kind());
        assert_eq!(found().unwrap(), b"a line");
        for at in 0..6 {
            let mut bad = b"a line".to_vec();
            bad[at] ^= 0x10;
            std::fs::write(path.join(NAME), bad).unwrap();
            assert_eq!(found(), Err(ErrorKind::State), "byte {at}");
        }
        std::fs::write(path.join(NAME), b"a lin").unwrap();
        assert_eq!(
            Generation::open(&path, 1).unwrap_err().kind(),
            ErrorKind::State,
            "shorter than the database has it"
        );
        std::fs::remove_file(path.join(NAME)).unwrap();
        assert_eq!(Generation::open(&path, 1).unwrap_err().kind(), ErrorKind::State, "no file");
    }

    #[test]
    fn layout_of_a_piece_is_pinned() {
        let piece = Piece { offset: 1, length: 2, sum: 3 };
        assert_eq!(encode(&piece).unwrap(), [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    }
}
