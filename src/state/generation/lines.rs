//! The lines of a commit in the pieces that a generation holds them in, compressed: the log writes each value about twice and
//! reads it once more, so a third of the bytes is worth the compression, which is of the fastest kind.
//!
//! Owns the form of the values under `"l"`. Invariant: a piece stands for the same [`PIECE`] bytes of the commit's lines
//! whatever it compresses to, so that a line is found by its offset, and no value is longer than [`VALUE`] and a byte. A
//! value begins with its form: what does not compress well enough is there as it is, in two halves.

use std::sync::Arc;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::guard::{Open, guarded};
use super::rows::{cannot_encode, record_key};
use super::{Generation, LineAt};
use crate::error::Result;
use crate::hour::Hour;

/// Bytes of lines in a piece.
const PIECE: usize = 12_000;
/// Bytes of lines in a value that is not compressed.
pub(super) const VALUE: usize = PIECE / 2;
/// How a value begins.
const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;

/// Hands the values of a commit's lines over, each with the number that its key ends with.
pub(super) fn pack(lines: &[u8], mut put: impl FnMut(u32, &[u8])) -> Result<()> {
    let mut table = CompressTable::small();
    let mut value = vec![COMPRESSED; 1 + get_maximum_output_size(PIECE)];
    for (number, piece) in (0..).step_by(2).zip(lines.chunks(PIECE)) {
        let room = value.get_mut(1..).unwrap_or_default();
        let length = compress_into_with_table(piece, room, &mut table).map_err(cannot_encode)?;
        if length < piece.len().min(VALUE) {
            put(number, value.get(..=length).unwrap_or_default());
            continue;
        }
        for (half, bytes) in (0..).zip(piece.chunks(VALUE)) {
            put(number + half, &[&[PLAIN], bytes].concat());
        }
    }
    Ok(())
}

/// Reads lines, keeping the piece at hand: lines in order of arrival cost one look for a piece.
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

    /// Appends the line of `length` bytes at `at` to `out`.
    ///
    /// # Errors
    /// `State`: damaged; a line that should be there is not.
    pub fn read(&mut self, at: LineAt, length: u32, out: &mut Vec<u8>) -> Result<()> {
        let mut offset = usize::try_from(at.offset).map_err(|_| self.generation.damaged())?;
        let end = offset + usize::try_from(length).map_err(|_| self.generation.damaged())?;
        while offset < end {
            let (number, start) = (offset / PIECE, offset % PIECE);
            let stop = PIECE.min(start + end - offset);
            let number = u32::try_from(number * 2).map_err(|_| self.generation.damaged())?;
            if self.at_hand != Some((at.commit, number)) {
                self.fetch(at.commit, number)?;
            }
            out.extend_from_slice(self.piece.get(start..stop).ok_or_else(|| self.generation.damaged())?);
            offset += stop - start;
        }
        Ok(())
    }

    /// Takes the piece whose first value has that number to hand.
    fn fetch(&mut self, commit: u64, number: u32) -> Result<()> {
        self.at_hand = None;
        self.piece.clear();
        let damaged = || self.generation.damaged();
        let first = self.value(commit, number)?.ok_or_else(damaged)?;
        match first.split_first() {
            Some((&COMPRESSED, packed)) => {
                self.piece.resize(PIECE, 0);
                let length = lz4_flex::block::decompress_into(packed, &mut self.piece).map_err(|_| damaged())?;
                self.piece.truncate(length);
            }
            Some((&PLAIN, bytes)) => {
                self.piece.extend_from_slice(bytes);
                let second = self.value(commit, number + 1)?;
                self.piece.extend(second.iter().flat_map(|value| value.iter().skip(1)));
            }
            _ => return Err(damaged()),
        }
        self.at_hand = Some((commit, number));
        Ok(())
    }

    fn value(&self, commit: u64, number: u32) -> Result<Option<sled::IVec>> {
        let key = record_key(b'l', self.hour, commit, number);
        guarded(&self.generation.dir, || self.open.db.store()?.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Entry};
    use super::*;

    /// Lines that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn lines_come_back_whatever_they_compress_to() {
        let hour: Hour = "2023-03-10T01".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let generation = Generation::open(&dir.path().join("1"), 1).unwrap();
        let mixed = [noise(PIECE), vec![b'x'; PIECE], noise(VALUE), vec![b'y'; 3 * PIECE], noise(PIECE - 1)].concat();
        let cases = [vec![], vec![b'z'], noise(1), noise(VALUE), noise(VALUE + 1), noise(PIECE + VALUE), mixed];
        for (commit, lines) in (1..).zip(cases) {
            let mut batch = Batch::default();
            let length = u32::try_from(lines.len()).unwrap();
            let entry = Entry { hash: [7; 16], seconds: 0, nanos: 0, length };
            batch.put_records(hour, commit, &[entry], &lines).unwrap();
            generation.write(batch).unwrap();
            let mut reader = generation.lines(hour).unwrap();
            let mut whole = Vec::new();
            reader.read(LineAt { commit, offset: 0 }, length, &mut whole).unwrap();
            assert!(whole == lines, "commit {commit}, {length} bytes");
            for offset in (0..length).step_by(997).rev() {
                let mut rest = Vec::new();
                reader.read(LineAt { commit, offset: offset.into() }, length - offset, &mut rest).unwrap();
                assert!(rest == lines[offset as usize..], "commit {commit} from {offset} on");
            }
            let behind = LineAt { commit, offset: length.into() };
            assert!(reader.read(behind, 1, &mut Vec::new()).is_err(), "there is no byte behind the last");
        }
    }

    #[test]
    fn no_value_is_longer_than_the_log_takes_in_line() {
        for lines in [noise(5 * PIECE + 1), vec![b'x'; 5 * PIECE], noise(VALUE + 1)] {
            pack(&lines, |_, value| assert!(value.len() <= VALUE + 1)).unwrap();
        }
    }
}
