//! Sealing: an hour's unsealed records into parts. The same set of records gives the same bytes, whoever seals it.
//!
//! Total order (event time, then content hash), cut at [`PART_BYTES`] of lines and at `part_max_records`, one gzip member
//! with no time in it. Small hours are read together, in the order of the log, and then encoded each by itself. Memory is 48 bytes a
//! record and one part's compressor; the lines of a set of small hours are held, those of a large one gathered a few megabytes at a time.
//! Writes only spool files; a crash leaves files that no intent names, which the next run deletes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::gather::Lines;
use super::gzip::{Compressors, Gzip};
use super::ndjson::{LEVEL, PartWriter};
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartIdentity, PartRow};
use crate::output::draft::{Replaces, Survives};
use crate::record::ContentHash;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::{Entry, Hours, LineAt};
use crate::stop::Stop;

/// Lines of at most this many bytes go into one part, so that an upload's copies of it fit into memory.
pub const PART_BYTES: u64 = 64 << 20;
/// An hour with more records, or more bytes of lines, is large: its lines are not held while it is encoded.
pub const LARGE: u64 = 100_000;
/// See [`LARGE`].
pub const LARGE_BYTES: u64 = 16 << 20;

/// How hours are cut.
#[derive(Debug, Clone, Copy)]
pub struct CutRules {
    /// Records in a part at most; 0 for no limit.
    pub part_max_records: u64,
    /// Bytes of lines in a part at most, but for a single longer line.
    pub part_bytes: u64,
}

/// Bytes of lines that are compressed between two looks at whether the run is to stop.
const AT_ONCE: usize = 1 << 18;

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

/// A record in the total order, and where its line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Located {
    seconds: i64,
    nanos: i32,
    hash: [u8; 16],
    length: u32,
    pub(super) at: LineAt,
}

impl Located {
    const fn new(at: LineAt, entry: Entry) -> Self {
        Self { seconds: entry.seconds, nanos: entry.nanos, hash: entry.hash, length: entry.length, at }
    }

    /// Bytes of its line.
    pub(super) fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }

    fn time(&self) -> Timestamp {
        Timestamp::new(self.seconds, self.nanos).unwrap_or(Timestamp::MIN)
    }
}

/// The unsealed records of an hour in their total order, without those that are in parts already.
#[derive(Debug, Default)]
pub struct Ordered {
    /// The records.
    pub records: Vec<Located>,
    /// The newest commit among them, those in parts included.
    pub through: u64,
}

/// Encodes hours into the spool.
pub struct Encoder<'s> {
    state: &'s Hours,
    rules: CutRules,
    stop: &'s Stop,
    compressors: Compressors,
}

impl<'s> Encoder<'s> {
    /// Hours of `state`, cut by `rules`.
    #[must_use]
    pub const fn new(state: &'s Hours, rules: CutRules, stop: &'s Stop) -> Self {
        Self { state, rules, stop, compressors: Compressors::new(LEVEL) }
    }

    /// Encodes an hour's records, numbered on after the parts of `row`. `text`: their lines, each with its newline, where they were
    /// gathered. `None`: the run is to stop, and what is in the spool is not all of it.
    ///
    /// # Errors
    /// `State`: the disk, or a damaged write-ahead log.
    pub fn encode(&self, row: &HourRow, ordered: &Ordered, text: Option<&[u8]>) -> Result<Option<Encoded>> {
        let mut gzip = self.compressors.take();
        let parts = self.parts(row, ordered, &mut Lines::new(self.state, text, self.stop), &mut gzip)?;
        self.compressors.give_back(gzip);
        let Some(parts) = parts else { return Ok(None) };
        let mut hashes: Vec<ContentHash> = ordered.records.iter().map(|r| ContentHash(r.hash)).collect();
        hashes.sort_unstable();
        Ok(Some(Encoded { hour: row.hour, through: ordered.through, parts, hashes }))
    }

    fn parts(
        &self,
        row: &HourRow,
        ordered: &Ordered,
        lines: &mut Lines<'_>,
        gzip: &mut Gzip,
    ) -> Result<Option<Vec<EncodedPart>>> {
        let mut parts = Vec::new();
        let mut rest = ordered.records.as_slice();
        for number in row.parts.len().. {
            if rest.is_empty() {
                break;
            }
            let (part, behind) = rest.split_at(cut(rest, self.rules));
            let too_many = |_| Error::new(ErrorKind::Bug, format!("hour {}: too many parts", row.hour));
            let number = u32::try_from(number).map_err(too_many)?;
            let Some(part) = write_part(row.hour, number, part, lines, gzip)? else { return Ok(None) };
            parts.push(part);
            rest = behind;
        }
        Ok(Some(parts))
    }
}

/// Whether the spooled bytes of a part are those of its intent.
///
/// # Errors
/// `State`: they cannot be read.
pub(crate) fn is_whole(path: &Path, part: &PartRow) -> Result<bool> {
    let Some(bytes) = durable::read(path)? else { return Ok(false) };
    Ok(bytes.len() as u64 == part.identity.bytes && Sha256::of(&bytes).to_string() == part.identity.sha256)
}

/// Encodes a frozen part whose spooled bytes are damaged or missing once more, from the write-ahead log: the same content.
/// `None`: the log no longer gives the part's content.
///
/// # Errors
/// `State`: the disk, or a damaged write-ahead log.
pub fn encode_again(state: &Hours, row: &HourRow, part: &PartRow) -> Result<Option<PartRow>> {
    // One part is done in good time: it is not left half done.
    let stop = Stop::new();
    let mut records = Vec::new();
    state.entries(&[(row.hour, row.receipted)], &stop, &mut |_, at, entry| {
        if at.commit <= row.frozen {
            records.push(Located::new(at, entry));
        }
        Ok(())
    })?;
    records.sort_unstable();
    let of_this_freeze = |p: &&PartRow| p.through == part.through && p.part < part.part;
    let before: u64 = row.parts.iter().filter(of_this_freeze).map(|p| p.identity.rows).sum();
    let range = usize::try_from(before).ok().zip(usize::try_from(before + part.identity.rows).ok());
    let records = range.and_then(|(from, to)| records.get(from..to));
    let mut lines = Lines::new(state, None, &stop);
    let gzip = &mut Gzip::new(LEVEL);
    let again = records.map(|records| write_part(row.hour, part.part, records, &mut lines, gzip)).transpose()?;
    let again = again.flatten().filter(|again| again.identity.has_records_of(&part.identity));
    Ok(again.map(|again| PartRow { identity: again.identity, ..part.clone() }))
}

/// The unsealed records of the hours of `rows`, each hour's in their total order: the log is read once for all of them. `None`: the run is to
/// stop.
pub fn order(state: &Hours, rows: &[HourRow], stop: &Stop) -> Result<Option<Vec<Ordered>>> {
    let mut by_hour: BTreeMap<Hour, Ordered> = BTreeMap::new();
    for row in rows {
        let records = state.unsealed(row).map_or(0, |pending| pending.records);
        let records = Vec::with_capacity(usize::try_from(records).unwrap_or(0));
        by_hour.insert(row.hour, Ordered { records, through: 0 });
    }
    let mut wanted: Vec<(Hour, u64)> = rows.iter().map(|row| (row.hour, row.frozen)).collect();
    wanted.sort_unstable();
    let is_whole = state.entries(&wanted, stop, &mut |hour, at, entry| {
        if let Some(ordered) = by_hour.get_mut(&hour) {
            ordered.through = ordered.through.max(at.commit);
            ordered.records.push(Located::new(at, entry));
        }
        Ok(())
    })?;
    if !is_whole {
        return Ok(None);
    }
    let finish = |row: &HourRow| {
        let mut ordered = by_hour.remove(&row.hour).unwrap_or_default();
        leave_out_known(state, row, &mut ordered.records)?;
        ordered.records.sort_unstable();
        Ok(ordered)
    };
    rows.iter().map(finish).collect::<Result<_>>().map(Some)
}

/// Only after an import can an unsealed record be in a part already.
fn leave_out_known(state: &Hours, row: &HourRow, records: &mut Vec<Located>) -> Result<()> {
    let Some(mut array) = state.array(row)? else { return Ok(()) };
    records.sort_unstable_by_key(|record| record.hash);
    let hashes: Vec<ContentHash> = records.iter().map(|record| ContentHash(record.hash)).collect();
    let mut known = BTreeSet::new();
    array.find(&hashes, &mut |hash| {
        known.insert(hash.0);
    })?;
    records.retain(|record| !known.contains(&record.hash));
    Ok(())
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

/// `None`: the run is to stop, and there is no part.
fn write_part(
    hour: Hour,
    part: u32,
    records: &[Located],
    lines: &mut Lines<'_>,
    gzip: &mut Gzip,
) -> Result<Option<EncodedPart>> {
    let path = lines.state.spool_path(hour, part);
    let mut spooled = lines.state.begin_spooling(&path)?;
    let disk = |e| Error::disk("write", &path, e);
    let mut encoder = PartWriter::begin(gzip, spooled.file());
    let stop = lines.stop;
    let is_whole = lines.read(records, |text| {
        for some in text.chunks(AT_ONCE) {
            if stop.is_requested() {
                return Ok(false);
            }
            encoder.write(some).map_err(disk)?;
        }
        Ok(true)
    })?;
    if !is_whole {
        return Ok(None);
    }
    let identity = encoder.finish(records.len() as u64).map_err(disk)?;
    durable_step(Step::PartSpooled, || spooled.publish(&path, Replaces::AnyFile, Survives::Bytes))?;
    Ok(Some(EncodedPart {
        part,
        identity,
        first: records.first().map_or(Timestamp::MIN, Located::time),
        last: records.last().map_or(Timestamp::MIN, Located::time),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(length: u32) -> Located {
        let entry = Entry { hash: [0; 16], seconds: 0, nanos: 0, length };
        Located::new(LineAt { commit: 1, offset: 0 }, entry)
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
