//! Sealing: an hour's unsealed records into parts. The same set of records gives the same bytes, whoever seals it.
//!
//! Small hours are read together, in the order of the log, and then encoded each by itself. Memory is 48 bytes a record and one
//! compressor a thread. The lines of a set of small hours are held; those of a large one are gathered a few megabytes at a time. Writes
//! only spool files; a crash leaves files that no intent names, which the next run deletes.

use std::path::Path;

use jiff::Timestamp;

use super::cut::{CutRules, cut};
use super::gather::Lines;
use super::gzip::{Compressors, Gzip};
use super::ndjson;
use super::order::{LoggedRecord, Ordered};
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartIdentity, PartRow};
use crate::output::draft::{Replaces, Survives};
use crate::record::ContentHash;
use crate::state::Hours;
use crate::state::files::durable;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::stop::Stop;

/// An hour with more records, or more bytes of lines, is large: its lines are not held while it is encoded.
pub const LARGE: u64 = 100_000;
/// See [`LARGE`].
pub const LARGE_BYTES: u64 = 16 << 20;
/// Bytes of lines that are compressed between two checks for a stop.
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
        Self { state, rules, stop, compressors: Compressors::new(ndjson::LEVEL) }
    }

    /// Encodes an hour's records, numbered on after the parts of `row`. `text`: their lines, each with its newline, where they were
    /// gathered. `None`: the run is to stop, and what is in the spool is not all of it.
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
            let (part, after) = rest.split_at(cut(rest, self.rules));
            let too_many = |_| Error::new(ErrorKind::Bug, format!("hour {}: too many parts", row.hour));
            let number = u32::try_from(number).map_err(too_many)?;
            let Some(part) = write_part(row.hour, number, part, lines, gzip)? else { return Ok(None) };
            parts.push(part);
            rest = after;
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
pub fn encode_again(state: &Hours, row: &HourRow, part: &PartRow) -> Result<Option<PartRow>> {
    // One part does not take long: it is always finished.
    let stop = Stop::new();
    let mut records = Vec::new();
    state.entries(&[(row.hour, row.receipted)], &stop, &mut |_, at, entry| {
        if at.commit <= row.frozen {
            records.push(LoggedRecord::new(at, entry));
        }
        Ok(())
    })?;
    records.sort_unstable();
    let of_this_freeze = |p: &&PartRow| p.through == part.through && p.part < part.part;
    let before: u64 = row.parts.iter().filter(of_this_freeze).map(|p| p.identity.rows).sum();
    let range = usize::try_from(before).ok().zip(usize::try_from(before + part.identity.rows).ok());
    let records = range.and_then(|(from, to)| records.get(from..to));
    let mut lines = Lines::new(state, None, &stop);
    let mut gzip = Gzip::new(ndjson::LEVEL);
    let again = records.map(|records| write_part(row.hour, part.part, records, &mut lines, &mut gzip)).transpose()?;
    let again = again.flatten().filter(|again| again.identity.has_records_of(&part.identity));
    Ok(again.map(|again| PartRow { identity: again.identity, ..part.clone() }))
}

/// `None`: the run is to stop, and there is not a part.
fn write_part(
    hour: Hour,
    part: u32,
    records: &[LoggedRecord],
    lines: &mut Lines<'_>,
    gzip: &mut Gzip,
) -> Result<Option<EncodedPart>> {
    let path = lines.state.spool_path(hour, part);
    let mut spooled = lines.state.begin_spooling(&path)?;
    let disk = |e| Error::disk("write", &path, e);
    let mut encoder = ndjson::PartWriter::begin(gzip, spooled.file());
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
        first: records.first().map_or(Timestamp::MIN, LoggedRecord::time),
        last: records.last().map_or(Timestamp::MIN, LoggedRecord::time),
    }))
}
