//! The lines of hours, from the log.
//!
//! Invariant: they are read in the order in which they lie, whatever the order they are wanted in: a chunk of the log is read once for
//! all the lines in it that are wanted together, and not once for each. Reads only; a crash leaves nothing.

use crate::error::{Error, ErrorKind, Result};
use crate::part::seal::{CutRules, Located, Ordered, cut};
use crate::state::{Hours, LineReader};
use crate::stop::Stop;

/// Bytes of lines that are gathered at once. Of a large hour in no order each time nearly all is read.
const TOGETHER: u64 = 4 << 20;
/// Lines that are read between two looks at whether the run is to stop.
const AT_ONCE: usize = 1_024;

/// The lines of several hours, each hour's in the order of its records and each with a newline behind it: the log is read once.
///
/// `None`: the run is to stop.
pub(crate) fn gather(state: &Hours, hours: &[Ordered], stop: &Stop) -> Result<Option<Vec<Vec<u8>>>> {
    let mut texts: Vec<Vec<u8>> = hours.iter().map(|hour| room_for(&hour.records)).collect();
    let mut lines = Vec::with_capacity(hours.iter().map(|hour| hour.records.len()).sum());
    for (hour, text) in hours.iter().zip(&mut texts) {
        place(&hour.records, text, &mut lines)?;
    }
    let is_whole = fill(&mut state.lines(), lines, stop)?;
    Ok(is_whole.then_some(texts))
}

/// A record and the room for its line.
type Line<'r, 't> = (&'r Located, &'t mut [u8]);

fn room_for(records: &[Located]) -> Vec<u8> {
    vec![b'\n'; records.iter().map(|record| record.length() + 1).sum()]
}

/// Cuts `text` into the lines of `records`.
fn place<'r, 't>(records: &'r [Located], text: &'t mut [u8], lines: &mut Vec<Line<'r, 't>>) -> Result<()> {
    let mut rest = text;
    for record in records {
        let line = rest.split_off_mut(..=record.length()).and_then(|line| line.split_last_mut());
        let (_, line) = line.ok_or_else(|| Error::new(ErrorKind::Bug, "lines take more room than they should"))?;
        lines.push((record, line));
    }
    Ok(())
}

/// `false`: the run is to stop.
fn fill(reader: &mut LineReader<'_>, mut lines: Vec<Line<'_, '_>>, stop: &Stop) -> Result<bool> {
    // They mostly are in this order: then it costs one look at each.
    lines.sort_by_key(|(record, _)| record.at);
    for some in lines.chunks_mut(AT_ONCE) {
        if stop.is_requested() {
            return Ok(false);
        }
        some.iter_mut().try_for_each(|(record, line)| reader.read(record.at, line))?;
    }
    Ok(true)
}

/// Where the lines of an hour come from.
pub(super) struct Lines<'s> {
    pub(super) state: &'s Hours,
    /// Those that were gathered and not handed out yet.
    gathered: Option<&'s [u8]>,
    reader: LineReader<'s>,
    pub(super) stop: &'s Stop,
    text: Vec<u8>,
}

impl<'s> Lines<'s> {
    pub(super) fn new(state: &'s Hours, gathered: Option<&'s [u8]>, stop: &'s Stop) -> Self {
        Self { state, gathered, reader: state.lines(), stop, text: Vec::new() }
    }

    /// Hands the lines of `records` to `each`, in their order and each with a newline behind it: some of them at a time. What was
    /// gathered is asked for in its order. `false`: `each` said so, as the run is to stop, and not all were handed over.
    pub(super) fn read(&mut self, records: &[Located], mut each: impl FnMut(&[u8]) -> Result<bool>) -> Result<bool> {
        if let Some(gathered) = &mut self.gathered {
            let length = records.iter().map(|record| record.length() + 1).sum();
            let text = gathered.split_off(..length);
            let text = text.ok_or_else(|| Error::new(ErrorKind::Bug, "fewer lines were gathered than are wanted"))?;
            return each(text);
        }
        let mut rest = records;
        while !rest.is_empty() {
            let (some, behind) = rest.split_at(cut(rest, CutRules { part_max_records: 0, part_bytes: TOGETHER }));
            self.text.clear();
            self.text.resize(some.iter().map(|record| record.length() + 1).sum(), b'\n');
            let mut lines = Vec::with_capacity(some.len());
            place(some, &mut self.text, &mut lines)?;
            if !fill(&mut self.reader, lines, self.stop)? {
                return Ok(false);
            }
            if !each(&self.text)? {
                return Ok(false);
            }
            rest = behind;
        }
        Ok(true)
    }
}
