//! Sealing: an hour's unsealed records into parts. The same set of records gives the same bytes, whoever seals it.
//!
//! Small hours are read together, in the order of the log, and then encoded each by itself. Memory is 48 bytes for each of at most 262 144
//! records and one compressor a thread. The lines of a set of small hours are held; those of a large one are gathered a few megabytes at
//! a time, and its order and its hashes are on the disk. Writes only spool files; a crash leaves files that no intent names, which the
//! next run deletes.

use std::iter::Peekable;
use std::path::Path;

use jiff::Timestamp;

use super::codec::Codec;
use super::cut::{CutRules, Room};
use super::gather::Lines;
use super::order::{AT_ONCE, LoggedRecord, Ordered};
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartIdentity, PartRow};
use crate::output::draft::{Replaces, Survives};
use crate::record::ContentHash;
use crate::state::Hours;
use crate::state::files::durable;
use crate::state::files::sorted_runs::Sorted;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::stop::Stop;

/// An hour with more records, or more bytes of lines, is large: its lines are not held while it is encoded.
pub const LARGE: u64 = 100_000;
/// See [`LARGE`].
pub const LARGE_BYTES: u64 = 16 << 20;
/// Bytes of lines that are gathered at once. Each time nearly all of a large, unordered hour is read.
const TOGETHER: CutRules = CutRules { part_max_records: 0, part_bytes: 4 << 20 };
/// Bytes of lines that are compressed between two checks for a stop.
const COMPRESSED: usize = 1 << 18;
/// Hashes of an hour that are put in order in memory.
const HASHES: usize = 4 * AT_ONCE;

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
    pub(crate) hashes: Sorted<ContentHash>,
}

/// Encodes hours into the spool.
pub struct Encoder<'s> {
    state: &'s Hours,
    rules: CutRules,
    codec: Codec<'s>,
    stop: &'s Stop,
}

impl<'s> Encoder<'s> {
    /// Hours of `state`, cut by `rules`, into objects that `codec` makes.
    #[must_use]
    pub const fn new(state: &'s Hours, rules: CutRules, codec: Codec<'s>, stop: &'s Stop) -> Self {
        Self { state, rules, codec, stop }
    }

    /// Encodes an hour's records, numbered on after the parts of `row`. `text`: their lines, each with its newline, where they were
    /// gathered. `None`: the run is to stop, and what is in the spool is not all of it.
    pub fn encode(&self, row: &HourRow, ordered: &Ordered, text: Option<&[u8]>) -> Result<Option<Encoded>> {
        let parts = self.parts(row, ordered, &mut Lines::new(self.state, text, self.stop))?;
        let Some(parts) = parts else { return Ok(None) };
        Ok(Some(Encoded { hour: row.hour, through: ordered.through, parts, hashes: self.hashes(ordered)? }))
    }

    fn hashes(&self, ordered: &Ordered) -> Result<Sorted<ContentHash>> {
        let mut sorter = self.state.sorter(HASHES);
        sorter.reserve(usize::try_from(ordered.records.len()).unwrap_or(usize::MAX));
        for record in ordered.records.iter() {
            sorter.push(ContentHash(record?.hash))?;
        }
        sorter.finish(|_| Ok(()))
    }

    fn parts(&self, row: &HourRow, ordered: &Ordered, lines: &mut Lines<'_>) -> Result<Option<Vec<EncodedPart>>> {
        let mut parts = Vec::new();
        let mut records = ordered.records.iter().peekable();
        for number in row.parts.len().. {
            if records.peek().is_none() {
                break;
            }
            let too_many = |_| Error::new(ErrorKind::Bug, format!("hour {}: too many parts", row.hour));
            let number = u32::try_from(number).map_err(too_many)?;
            let Some(part) = write_part((row.hour, number), &mut records, self.rules, lines, &self.codec)? else {
                return Ok(None);
            };
            parts.push(part);
        }
        Ok(Some(parts))
    }
}

/// Whether the spooled bytes of a part are those of its intent.
pub fn is_whole(path: &Path, part: &PartRow) -> Result<bool> {
    let Some(bytes) = durable::read(path)? else { return Ok(false) };
    Ok(bytes.len() as u64 == part.identity.bytes && Sha256::of(&bytes).to_string() == part.identity.sha256)
}

/// Encodes a frozen part again, from the write-ahead log, because its spooled bytes are damaged or missing: the same content.
/// `None`: the log no longer gives the part's content.
pub fn encode_again(state: &Hours, codec: &Codec<'_>, row: &HourRow, part: &PartRow) -> Result<Option<PartRow>> {
    // One part does not take long: it is always finished.
    let stop = Stop::new();
    let mut sorter = state.sorter(AT_ONCE);
    state.entries(&[(row.hour, row.receipted)], &stop, &mut |_, at, entry| {
        if at.commit <= row.frozen { sorter.push(LoggedRecord::new(at, entry)) } else { Ok(()) }
    })?;
    let records = sorter.finish(|_| Ok(()))?;
    let of_this_freeze = |p: &&PartRow| p.through == part.through && p.part < part.part;
    let before: u64 = row.parts.iter().filter(of_this_freeze).map(|p| p.identity.rows).sum();
    let is_there = part.identity.rows > 0 && before + part.identity.rows <= records.len();
    let mut records = records.iter().skip(usize::try_from(before).unwrap_or(usize::MAX)).peekable();
    let rules = CutRules { part_max_records: part.identity.rows, part_bytes: u64::MAX };
    let mut lines = Lines::new(state, None, &stop);
    let mut again = None;
    if is_there {
        again = write_part((row.hour, part.spool_number()), &mut records, rules, &mut lines, codec)?;
    }
    let again = again.filter(|again| again.identity.has_records_of(&part.identity));
    Ok(again.map(|again| PartRow { identity: again.identity, ..part.clone() }))
}

/// Writes as many of `records` as go into one part. `None`: the run is to stop, and there is not a part.
fn write_part(
    (hour, part): (Hour, u32),
    records: &mut Peekable<impl Iterator<Item = Result<LoggedRecord>>>,
    rules: CutRules,
    lines: &mut Lines<'_>,
    codec: &Codec<'_>,
) -> Result<Option<EncodedPart>> {
    let path = lines.state.spool_path(hour, part);
    let mut spooled = lines.state.begin_spooling(&path)?;
    let disk = |e| Error::disk("write", &path, e);
    let mut encoder = codec.begin(spooled.file()).map_err(disk)?;
    let stop = lines.stop;
    let (mut room, mut some, mut rows) = (Room::of_a_part(rules), Vec::new(), 0);
    let (mut first, mut last) = (Timestamp::MIN, Timestamp::MIN);
    loop {
        take(records, &mut room, &mut some)?;
        let (Some(least), Some(most)) = (some.first(), some.last()) else { break };
        (first, last) = (if rows == 0 { least.time() } else { first }, most.time());
        rows += some.len() as u64;
        let is_whole = lines.read(&some, |text| {
            for some in text.chunks(COMPRESSED) {
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
    }
    let identity = encoder.finish(rows).map_err(disk)?;
    durable_step(Step::PartSpooled, || spooled.publish(&path, Replaces::AnyFile, Survives::Bytes))?;
    Ok(Some(EncodedPart { part, identity, first, last }))
}

/// Takes the records whose lines are gathered next, as far as there is room for them in the part.
fn take(
    records: &mut Peekable<impl Iterator<Item = Result<LoggedRecord>>>,
    room: &mut Room,
    some: &mut Vec<LoggedRecord>,
) -> Result<()> {
    some.clear();
    let mut together = Room::of_a_part(TOGETHER);
    let mut fits = |record: &Result<LoggedRecord>| match record {
        // The part's room is taken only by what is gathered now.
        Ok(record) => together.takes(record) && room.takes(record),
        Err(_) => true,
    };
    while let Some(record) = records.next_if(&mut fits) {
        some.push(record?);
    }
    Ok(())
}
