//! The lines of an hour, from the generations of the write-ahead log that hold them.
//!
//! Invariant: they are read in the order of their arrival, whatever the order they are wanted in: a piece of the log is read once
//! for all the lines in it that are wanted together, and not once for each. Reads only; a crash leaves nothing.

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::part::seal::{CutRules, Located, cut};
use crate::state::{LineAt, LineReader, State};

/// Bytes of lines that are gathered at once. Of an hour in no order each time nearly all is read.
const TOGETHER: u64 = 4 << 20;
/// Generations that stay open while the lines of an hour are read, and how often one of them is closed for another.
const OPEN_READERS: usize = 3;
const WORTH_CLOSING: usize = 200;

/// The readers of an hour's lines, one a generation.
pub(crate) struct Lines<'s> {
    pub(crate) state: &'s State,
    pub(crate) hour: Hour,
    readers: Vec<(u32, LineReader<'s>)>,
    closed: usize,
    text: Vec<u8>,
}

impl<'s> Lines<'s> {
    pub(crate) const fn new(state: &'s State, hour: Hour) -> Self {
        Self { state, hour, readers: Vec::new(), closed: 0, text: Vec::new() }
    }

    /// Hands the lines of `records` to `each`, in their order and each with a newline behind it: some of them at a time.
    pub(crate) fn read(&mut self, records: &[Located], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut text = std::mem::take(&mut self.text);
        let mut rest = records;
        while !rest.is_empty() {
            let (some, behind) = rest.split_at(cut(rest, CutRules { part_max_records: 0, part_bytes: TOGETHER }));
            self.gather(some, &mut text)?;
            each(&text)?;
            rest = behind;
        }
        self.text = text;
        Ok(())
    }

    /// Puts the lines of `records` into `text`.
    fn gather(&mut self, records: &[Located], text: &mut Vec<u8>) -> Result<()> {
        text.clear();
        text.resize(records.iter().map(|record| record.length() + 1).sum(), b'\n');
        let mut lines = Vec::with_capacity(records.len());
        let mut rest = text.as_mut_slice();
        for record in records {
            let line = rest.split_off_mut(..=record.length()).and_then(|line| line.split_last_mut());
            let (_, line) = line.ok_or_else(|| Error::new(ErrorKind::Bug, "lines take more room than they should"))?;
            lines.push((record, line));
        }
        // They mostly are in this order: then it costs one look at each.
        lines.sort_by_key(|(record, _)| (record.generation, record.commit, record.offset));
        lines.into_iter().try_for_each(|(record, line)| self.read_line(record, line))
    }

    fn read_line(&mut self, record: &Located, line: &mut [u8]) -> Result<()> {
        let known = self.readers.iter().position(|(generation, _)| *generation == record.generation);
        let index = match known {
            Some(index) => index,
            None => self.open(record.generation)?,
        };
        let at = LineAt { commit: record.commit, offset: record.offset };
        match self.readers.get_mut(index) {
            Some((_, reader)) => reader.read(at, line),
            None => Ok(()),
        }
    }

    /// Opens a generation's reader. Each holds its generation in memory: where records come about in the order of arrival, as
    /// they do, the one that was opened first is done with. Where they come in none, all stay open after some time.
    fn open(&mut self, generation: u32) -> Result<usize> {
        if self.readers.len() >= OPEN_READERS && self.closed < WORTH_CLOSING {
            self.readers.remove(0);
            self.closed += 1;
            self.state.wal.rest();
        }
        self.readers.push((generation, self.state.wal.lines(generation, self.hour)?));
        Ok(self.readers.len() - 1)
    }
}
