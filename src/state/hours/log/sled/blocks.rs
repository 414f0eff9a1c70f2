//! The records themselves: in a file beside the database, one block a commit, whose row says where it is.
//!
//! sled writes each value about twice, reads it once more, and holds in memory what it has touched: so it has only what is to
//! change in one step. A block is the index entries of a commit's new records, hour by hour, and then their lines in the same order:
//! what is read of neighbouring hours lies together, and a commit costs the same whether its records are of one hour or each of another.
//!
//! Owns `records` in a generation's directory. Invariant: the bytes that a row names are durable before the row is written, and are
//! never written again; each chunk is checked before it is believed. A crash leaves bytes behind [`END`] that no row names: the next
//! batch is written over them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crc32fast::Hasher;
use nix::libc;

use super::guard::damaged;
use super::rows::{Batch, Block, CommitRow, NewBlock, encode};
use crate::error::{Error, Result};
use crate::state::files::durable;

/// The file's name.
pub(super) const NAME: &str = "records";
/// The key of its end.
pub(super) const END: &[u8] = b"e";
/// Bytes of a block under one checksum.
const CHUNK: u64 = 1 << 14;
/// Chunks that are read at once.
const AT_ONCE: u64 = 16;
/// Bytes that are handed to the file at once, where hours bring less than that.
const BUFFER: usize = 1 << 16;

/// The open file.
#[derive(Debug)]
pub(super) struct BlockFile {
    file: File,
    /// Where the next batch is written. Rises even where the batch's rows fail: they may be there all the same.
    end: Mutex<u64>,
}

impl BlockFile {
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

    /// Writes the new blocks of a batch, durable on return, and adds the rows that name them to it. Gives these, each with the number
    /// of its pieces.
    pub(super) fn append(&self, path: &Path, batch: &mut Batch<'_>) -> Result<Vec<(u64, CommitRow, u32)>> {
        let blocks = std::mem::take(&mut batch.blocks);
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.write(*end, blocks).map_err(|e| Error::disk("write", path, e))?;
        let written: u64 = rows.iter().map(|(_, row)| row.bytes()).sum();
        if written > 0 {
            *end += written;
            batch.rows.insert(END, encode(&*end)?);
        }
        let put = |(commit, row): (u64, CommitRow)| Ok((commit, batch.put_commit(commit, &row, 0)?, row));
        rows.into_iter().map(put).map(|put| put.map(|(commit, pieces, row)| (commit, row, pieces))).collect()
    }

    fn write(&self, mut at: u64, blocks: Vec<NewBlock<'_>>) -> io::Result<Vec<(u64, CommitRow)>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at))?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        let (mut rows, start) = (Vec::with_capacity(blocks.len()), at);
        for mut block in blocks {
            let mut sums = Sums::new(block.commit);
            for bytes in std::iter::once(block.entries.as_slice()).chain(block.lines) {
                sums.take(bytes);
                out.write_all(bytes)?;
            }
            block.row.block = Block { offset: at, sums: sums.finish() };
            at += block.row.bytes();
            rows.push((block.commit, block.row));
        }
        out.flush()?;
        if at > start {
            self.file.sync_data()?;
        }
        Ok(rows)
    }
}

/// The checksums of a block's chunks: each speaks for its bytes, its commit and its place.
struct Sums {
    commit: u64,
    sums: Vec<u32>,
    left: u64,
    sum: Hasher,
}

impl Sums {
    fn new(commit: u64) -> Self {
        Self { commit, sums: Vec::new(), left: CHUNK, sum: hasher(commit, 0) }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.end_chunk();
            }
            let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (some, behind) = bytes.split_at(fits);
            self.sum.update(some);
            self.left -= fits as u64;
            bytes = behind;
        }
    }

    fn end_chunk(&mut self) {
        let next = hasher(self.commit, self.sums.len() as u64 + 1);
        self.sums.push(std::mem::replace(&mut self.sum, next).finalize());
        self.left = CHUNK;
    }

    fn finish(mut self) -> Vec<u32> {
        if self.left < CHUNK {
            self.end_chunk();
        }
        self.sums
    }
}

fn hasher(commit: u64, chunk: u64) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.update(&commit.to_le_bytes());
    hasher.update(&chunk.to_le_bytes());
    hasher
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
    options
}

/// Reads blocks, keeping the chunks at hand: what is read in order costs one read of each.
#[derive(Debug)]
pub struct BlockReader<'g> {
    dir: &'g Path,
    file: File,
    /// The commit and the chunks that are at hand.
    at_hand: Option<(u64, Range<u64>)>,
    chunks: Vec<u8>,
}

impl<'g> BlockReader<'g> {
    pub(super) fn open(dir: &'g Path) -> Result<Self> {
        let path = dir.join(NAME);
        match durable::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(damaged(dir)),
            Err(e) => Err(Error::disk("open", &path, e)),
            Ok(file) => Ok(Self { dir, file, at_hand: None, chunks: Vec::new() }),
        }
    }

    /// Reads as many bytes of the block of `commit`, which is `length` long, from `offset` on, as `out` has.
    ///
    /// # Errors
    /// `State`: damaged; bytes that should be there are not, or not those that were written.
    pub fn read(&mut self, commit: u64, block: &Block, length: u64, offset: u64, out: &mut [u8]) -> Result<()> {
        let (mut at, end) = (offset, offset.saturating_add(out.len() as u64));
        if end > length {
            return Err(damaged(self.dir));
        }
        let mut out = out;
        while !out.is_empty() {
            self.have(commit, block, length, at / CHUNK..end.div_ceil(CHUNK))?;
            let first = self.at_hand.as_ref().map_or(0, |(_, chunks)| chunks.start * CHUNK);
            let found = usize::try_from(at - first).ok().and_then(|from| self.chunks.get(from..));
            let found = found.filter(|found| !found.is_empty()).ok_or_else(|| damaged(self.dir))?;
            let count = found.len().min(out.len());
            let (some, rest) = out.split_at_mut(count);
            some.copy_from_slice(found.get(..count).unwrap_or_default());
            (out, at) = (rest, at + count as u64);
        }
        Ok(())
    }

    /// Takes the first of `wanted` to hand, and some of those behind it.
    fn have(&mut self, commit: u64, block: &Block, length: u64, wanted: Range<u64>) -> Result<()> {
        let is_there = |(of, chunks): &(u64, Range<u64>)| *of == commit && chunks.contains(&wanted.start);
        if self.at_hand.as_ref().is_some_and(is_there) {
            return Ok(());
        }
        self.at_hand = None;
        let chunks = wanted.start..wanted.end.min(wanted.start + AT_ONCE);
        let bytes = chunks.start * CHUNK..(chunks.end * CHUNK).min(length);
        self.chunks.resize(usize::try_from(bytes.end - bytes.start).unwrap_or(0), 0);
        match self.file.read_exact_at(&mut self.chunks, block.offset + bytes.start) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged(self.dir)),
            Err(e) => return Err(Error::disk("read", &self.dir.join(NAME), e)),
            Ok(()) => {}
        }
        let size = usize::try_from(CHUNK).unwrap_or(usize::MAX);
        for (number, chunk) in chunks.clone().zip(self.chunks.chunks(size)) {
            let mut sum = hasher(commit, number);
            sum.update(chunk);
            let expected = usize::try_from(number).ok().and_then(|number| block.sums.get(number));
            if expected != Some(&sum.finalize()) {
                return Err(damaged(self.dir));
            }
        }
        self.at_hand = Some((commit, chunks));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Entry, Generation};
    use super::*;
    use crate::error::ErrorKind;
    use crate::hour::Hour;

    const SIZE: usize = CHUNK as usize;

    fn hour() -> Hour {
        "2023-03-10T01".parse().unwrap()
    }

    /// Lines like no others.
    fn noise(commit: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&commit.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn write(generation: &Generation, commit: u64, lines: &[u8]) -> Result<CommitRow> {
        let entry = Entry { hash: [7; 16], seconds: 0, nanos: 0, length: u32::try_from(lines.len()).unwrap() };
        let mut batch = Batch::default();
        let (some, others) = lines.split_at(lines.len() / 3);
        batch.begin_commit(commit, CommitRow::default());
        batch.put_records(hour(), &[entry], &[some, b"", others]).unwrap();
        Ok(generation.write(batch)?.remove(0).1)
    }

    fn row(generation: &Generation, commit: u64) -> CommitRow {
        generation.commits().unwrap().into_iter().find(|(number, _, _)| *number == commit).unwrap().1
    }

    fn read(generation: &Generation, commit: u64, row: &CommitRow, length: usize) -> Result<Vec<u8>> {
        let mut found = vec![0; length];
        generation.reader()?.read(commit, &row.block, row.bytes(), 32, &mut found)?;
        Ok(found)
    }

    #[test]
    fn lines_come_back_from_any_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let lengths = [0, 1, SIZE - 33, SIZE - 32, SIZE, SIZE + 1, 40 * SIZE + 17, BUFFER + 5];
        for (commit, length) in (1..).zip(lengths) {
            // Opened again for each, so that the end is read back.
            let generation = Generation::open(&path, 1).unwrap();
            write(&generation, commit, &noise(commit, length)).unwrap();
            let row = row(&generation, commit);
            let mut reader = generation.reader().unwrap();
            for offset in (0..length).step_by(997).rev() {
                let mut rest = vec![0; length - offset];
                reader.read(commit, &row.block, row.bytes(), 32 + offset as u64, &mut rest).unwrap();
                assert!(rest == noise(commit, length)[offset..], "commit {commit} from {offset} on");
            }
            let behind = reader.read(commit, &row.block, row.bytes(), row.bytes(), &mut [0]);
            assert!(behind.is_err(), "there is no byte behind the last");
        }
        let generation = Generation::open(&path, 1).unwrap();
        for (commit, length) in (1..).zip(lengths) {
            let row = row(&generation, commit);
            assert!(read(&generation, commit, &row, length).unwrap() == noise(commit, length), "commit {commit}");
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
        let second = write(&generation, 2, b"second").unwrap();
        assert_eq!(read(&generation, 1, &row(&generation, 1), 5).unwrap(), b"first");
        assert_eq!(read(&generation, 2, &second, 6).unwrap(), b"second");
        assert_eq!(second.block.offset, 32 + 5);
    }

    #[test]
    fn any_changed_byte_any_cut_another_commit_s_block_and_no_file_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let written = write(&Generation::open(&path, 1).unwrap(), 1, b"a line").unwrap();
        let found = |commit| {
            Generation::open(&path, 1)
                .and_then(|generation| read(&generation, commit, &written, 6))
                .map_err(|e| e.kind())
        };
        assert_eq!(found(1).unwrap(), b"a line");
        assert_eq!(found(2), Err(ErrorKind::State), "the sum speaks for its commit");
        let good = std::fs::read(path.join(NAME)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(path.join(NAME), bad).unwrap();
            assert_eq!(found(1), Err(ErrorKind::State), "byte {at}");
        }
        std::fs::write(path.join(NAME), &good[1..]).unwrap();
        assert_eq!(Generation::open(&path, 1).unwrap_err().kind(), ErrorKind::State, "shorter than it should be");
        std::fs::remove_file(path.join(NAME)).unwrap();
        assert_eq!(Generation::open(&path, 1).unwrap_err().kind(), ErrorKind::State, "no file");
    }
}
