//! Sealing: an hour's unsealed records into parts. The same set of records gives the same bytes, whoever seals it.
//!
//! Total order (event time, then content hash), cut at [`PART_BYTES`] of lines and at `part_max_records`, one gzip member
//! with no time in it. Memory is 56 bytes a record and one part's compressor: lines are gathered a few megabytes at a time.
//! Writes only spool files; a crash leaves files that no intent names, which the next run deletes.

use std::io::BufWriter;
use std::path::Path;

use jiff::Timestamp;

use super::gather::Lines;
use super::ndjson::Encoder;
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartIdentity, PartRow};
use crate::record::ContentHash;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::{Entry, HashArray, LineAt, State};
use crate::stop::Stop;

/// Lines of at most this many bytes go into one part, so that an upload's copies of it fit into memory.
pub const PART_BYTES: u64 = 64 << 20;
/// From so many records on an hour fills generations of its own, which rest until their lines are read.
pub const LARGE: usize = 100_000;

/// How hours are cut.
#[derive(Debug, Clone, Copy)]
pub struct CutRules {
    /// Records in a part at most; 0 for no limit.
    pub part_max_records: u64,
    /// Bytes of lines in a part at most, but for a single longer line.
    pub part_bytes: u64,
}

/// Bytes that are handed to the disk at once.
const BUFFER: usize = 1 << 16;

/// A part whose bytes are in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPart {
    /// Its number within the hour.
    pub part: u32,
    /// Its records and its bytes.
    pub identity: PartIdentity,
    /// The first event time in it.
    pub first: Timestamp,
    /// The last event time in it.
    pub last: Timestamp,
}

/// An hour's unsealed records, encoded.
#[derive(Debug)]
pub struct Encoded {
    /// The hour.
    pub hour: Hour,
    /// The newest commit among them.
    pub through: u64,
    /// The parts; none where an import turned out to hold all records.
    pub parts: Vec<EncodedPart>,
    /// The content hashes of the records in the parts, ascending.
    pub hashes: Vec<ContentHash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Located {
    pub(super) seconds: i64,
    pub(super) nanos: i32,
    pub(super) hash: [u8; 16],
    pub(super) length: u32,
    pub(super) generation: u32,
    pub(super) commit: u64,
    pub(super) offset: u64,
}

impl Located {
    const fn new(generation: u32, at: LineAt, entry: Entry) -> Self {
        Self {
            seconds: entry.seconds,
            nanos: entry.nanos,
            hash: entry.hash,
            length: entry.length,
            generation,
            commit: at.commit,
            offset: at.offset,
        }
    }

    /// Bytes of its line.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    fn time(&self) -> Timestamp {
        Timestamp::new(self.seconds, self.nanos).unwrap_or(Timestamp::MIN)
    }
}

/// Encodes all unsealed records of the hour of `row` into the spool, numbered on after its parts.
///
/// # Errors
/// `State`: the disk, or a damaged write-ahead log or hash array.
pub fn encode(state: &State, row: &HourRow, rules: CutRules) -> Result<Encoded> {
    encode_until(state, row, rules, &Stop::new())
}

/// The same, given up where it is time to stop: nothing names what is in the spool by then.
///
/// # Errors
/// Those of [`encode`]; `Unavailable`: the run is to stop.
pub fn encode_until(state: &State, row: &HourRow, rules: CutRules, stop: &Stop) -> Result<Encoded> {
    let (records, through) = order(state, row, stop)?;
    let mut lines = Lines::new(state, row.hour);
    let mut parts = Vec::new();
    let mut rest = records.as_slice();
    for number in row.parts.len().. {
        if rest.is_empty() {
            break;
        }
        let (part, behind) = rest.split_at(cut(rest, rules));
        let too_many = |_| Error::new(ErrorKind::Bug, format!("hour {}: too many parts", row.hour));
        let number = u32::try_from(number).map_err(too_many)?;
        parts.push(write_part(number, part, &mut lines, stop)?);
        rest = behind;
    }
    let mut hashes: Vec<ContentHash> = records.iter().map(|r| ContentHash(r.hash)).collect();
    hashes.sort_unstable();
    Ok(Encoded { hour: row.hour, through, parts, hashes })
}

/// Whether the spooled bytes of a part are those of its intent.
///
/// # Errors
/// `State`: they cannot be read.
pub fn is_whole(path: &Path, part: &PartRow) -> Result<bool> {
    let Some(bytes) = durable::read(path)? else { return Ok(false) };
    Ok(bytes.len() as u64 == part.identity.bytes && Sha256::of(&bytes).to_string() == part.identity.sha256)
}

/// Encodes a frozen part whose spooled bytes are damaged or missing once more, from the write-ahead log: the same content.
/// `None`: the log no longer gives the part's content.
///
/// # Errors
/// `State`: the disk, or a damaged write-ahead log.
pub fn encode_again(state: &State, row: &HourRow, part: &PartRow) -> Result<Option<PartRow>> {
    let mut records = Vec::new();
    state.wal.records(row.hour, row.receipted, &mut |generation, at, entry| {
        if at.commit <= row.frozen {
            records.push(Located::new(generation, at, entry));
        }
        Ok(())
    })?;
    records.sort_unstable();
    let of_this_freeze = |p: &&PartRow| p.through == part.through && p.part < part.part;
    let before: u64 = row.parts.iter().filter(of_this_freeze).map(|p| p.identity.rows).sum();
    let range = usize::try_from(before).ok().zip(usize::try_from(before + part.identity.rows).ok());
    let records = range.and_then(|(from, to)| records.get(from..to));
    let mut lines = Lines::new(state, row.hour);
    let again = records.map(|records| write_part(part.part, records, &mut lines, &Stop::new())).transpose()?;
    let again = again.filter(|again| again.identity.has_records_of(&part.identity));
    Ok(again.map(|again| PartRow { identity: again.identity, ..part.clone() }))
}

/// The unsealed records in their total order, without those that are in parts already, and the newest commit among them.
fn order(state: &State, row: &HourRow, stop: &Stop) -> Result<(Vec<Located>, u64)> {
    let array = state.array(row)?;
    let unsealed = state.wal.unsealed(row.hour, row.frozen).map_or(0, |pending| pending.records);
    let (mut records, mut through) = (Vec::with_capacity(usize::try_from(unsealed).unwrap_or(0)), 0);
    state.wal.records(row.hour, row.frozen, &mut |generation, at, entry| {
        if at.commit != through {
            go_on(row.hour, stop)?;
        }
        through = through.max(at.commit);
        if !is_in(array.as_ref(), entry.hash)? {
            records.push(Located::new(generation, at, entry));
        }
        Ok(())
    })?;
    records.sort_unstable();
    if records.len() > LARGE {
        state.wal.rest();
    }
    Ok((records, through))
}

fn go_on(hour: Hour, stop: &Stop) -> Result<()> {
    if stop.is_requested() {
        return Err(Error::new(ErrorKind::Unavailable, format!("hour {hour} is not sealed: the run was to stop")));
    }
    Ok(())
}

/// Only after an import can an unsealed record be in a part already.
fn is_in(array: Option<&HashArray>, hash: [u8; 16]) -> Result<bool> {
    array.map_or(Ok(false), |array| array.contains(ContentHash(hash)))
}

/// How many of `records` go into the next part: at least one.
pub(crate) fn cut(records: &[Located], rules: CutRules) -> usize {
    let most = match rules.part_max_records {
        0 => usize::MAX,
        n => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let mut bytes = 0;
    let fits = records.iter().take(most).take_while(|record| {
        bytes += u64::from(record.length) + 1;
        bytes <= rules.part_bytes
    });
    fits.count().max(1)
}

fn write_part(part: u32, records: &[Located], lines: &mut Lines<'_>, stop: &Stop) -> Result<EncodedPart> {
    let path = lines.state.spool.path(lines.hour, part);
    let mut spooled = lines.state.spool.begin(&path)?;
    let disk = |e| Error::disk("write", &path, e);
    let mut encoder = Encoder::new(BufWriter::with_capacity(BUFFER, spooled.file()));
    let hour = lines.hour;
    lines.read(records, |text| {
        go_on(hour, stop)?;
        encoder.write(text).map_err(disk)
    })?;
    let identity = encoder.finish(records.len() as u64).map_err(disk)?;
    durable_step(Step::PartSpooled, || spooled.publish_name(&path))?;
    Ok(EncodedPart {
        part,
        identity,
        first: records.first().map_or(Timestamp::MIN, Located::time),
        last: records.last().map_or(Timestamp::MIN, Located::time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(length: u32) -> Located {
        let entry = Entry { hash: [0; 16], seconds: 0, nanos: 0, length };
        Located::new(1, LineAt { commit: 1, offset: 0 }, entry)
    }

    #[test]
    fn parts_are_cut_at_bytes_and_at_records_and_hold_at_least_one() {
        let records = [located(9), located(9), located(9)];
        let rules = |part_max_records, part_bytes| CutRules { part_max_records, part_bytes };
        assert_eq!(cut(&records, rules(0, 1000)), 3);
        assert_eq!(cut(&records, rules(2, 1000)), 2);
        assert_eq!(cut(&records, rules(0, 20)), 2, "a line counts with its newline");
        assert_eq!(cut(&records, rules(0, 19)), 1);
        assert_eq!(cut(&records, rules(0, 1)), 1, "a line longer than a part is a part");
    }
}
