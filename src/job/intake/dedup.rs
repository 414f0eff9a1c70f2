//! Buckets: which records of an hour are known, so that each is committed once.
//!
//! Exact, and O(1) a record. The hashes of the unsealed records of open hours are held in memory; those of their parts are looked up
//! in the hours' arrays, for all records of a segment together and in the order of the arrays. Beside its hashes an hour costs
//! little, so it does not matter of how many hours the records are. Nothing here is durable: an hour is read from the state when it is
//! opened, and dropped when too much is held.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::ArrivedId;
use crate::hour::tally::Tally;
use crate::page::decode::Decoded;
use crate::record::ContentHash;
use crate::state::{HashArray, HourRecords, Hours};
use crate::stop::Stop;

/// Hashes held in memory before hours are dropped: 12 MB, or twice that where a segment brings more.
const HELD: usize = 440_000;
/// Open hours before some are dropped.
const HOURS: usize = 1 << 17;
/// Arrays that stay open, and their hashes in memory.
const ARRAYS: usize = 64;
/// See [`ARRAYS`].
const ARRAY_HASHES: usize = 1 << 18;

/// Content hashes are as good as random already.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

type Build = BuildHasherDefault<FirstBytes>;

/// What is known of an open hour.
#[derive(Debug)]
struct Known {
    /// Its hashes among [`Buckets::unsealed`].
    unsealed: usize,
    has_parts: bool,
    first_received: Option<Timestamp>,
    /// By [`Buckets::clock`].
    last_used: u64,
}

/// Notes a time of an hour.
fn note(spans: &mut BTreeMap<Hour, (Timestamp, Timestamp)>, hour: Hour, at: Timestamp) {
    let span = spans.entry(hour).or_insert((at, at));
    *span = (span.0.min(at), span.1.max(at));
}

fn not_open(hour: Hour) -> Error {
    Error::new(ErrorKind::Bug, format!("hour {hour} was not opened before its records were compared"))
}

/// What a segment brings, hour by hour; its lines are those of its decoded pages.
#[derive(Debug, Default)]
pub struct NewRecords<'p> {
    /// Its new records.
    pub records: BTreeMap<Hour, HourRecords<'p>>,
    /// Records that were known.
    pub duplicates: u64,
    /// The ids that came, of new and known records.
    pub ids: Vec<ArrivedId>,
    /// What is counted of each hour.
    pub tallies: BTreeMap<Hour, Tally>,
    /// The first and the last time of the new records of an hour that have no id.
    pub(crate) unnumbered: BTreeMap<Hour, (Timestamp, Timestamp)>,
}

impl NewRecords<'_> {
    /// Counts quarantined tokens of a page with the hours of its new records; `before`: how many records each hour had before it.
    pub(crate) fn quarantined(&mut self, tokens: u64, before: &BTreeMap<Hour, usize>) {
        for (hour, new) in &self.records {
            if new.entries.len() > before.get(hour).copied().unwrap_or(0) {
                self.tallies.entry(*hour).or_default().quarantined += tokens;
            }
        }
    }

    /// Takes ids that are not part of the source's count out of what was counted of hours.
    pub(crate) fn leave_strays_out(&mut self, zone: &TimeZone, is_stray: impl Fn(i64) -> bool) {
        if !self.ids.iter().any(|arrived| arrived.is_new && is_stray(arrived.id)) {
            return;
        }
        self.tallies.values_mut().for_each(|tally| tally.ids = None);
        for arrived in self.ids.iter().filter(|arrived| arrived.is_new && !is_stray(arrived.id)) {
            let tally = Hour::of(arrived.at, zone).and_then(|hour| self.tallies.get_mut(&hour));
            tally.into_iter().for_each(|tally| tally.saw(arrived.id));
        }
    }

    /// How many records are new so far, by hour.
    pub(crate) fn lengths(&self) -> BTreeMap<Hour, usize> {
        self.records.iter().map(|(hour, new)| (*hour, new.entries.len())).collect()
    }

    /// How many records are new.
    pub(crate) fn count(&self) -> u64 {
        self.records.values().map(|new| new.entries.len() as u64).sum()
    }
}

/// The open hours.
#[derive(Debug, Default)]
pub struct Buckets {
    hours: HashMap<Hour, Known>,
    /// The unsealed records of these hours.
    unsealed: HashMap<[u8; 16], Hour, Build>,
    /// Of the records at hand, those that are in parts.
    sealed: HashSet<[u8; 16], Build>,
    arrays: BTreeMap<Hour, (u64, HashArray)>,
    /// Hours whose unsealed records are yet to be read, and after which commit.
    unread: BTreeMap<Hour, u64>,
    clock: u64,
    /// The clock when it was last asked whether too much is held.
    looked: u64,
}

impl Buckets {
    /// Forgets an hour: its parts have changed.
    pub(crate) fn forget(&mut self, hour: Hour) {
        self.arrays.remove(&hour);
        self.unread.remove(&hour);
        let held = self.hours.remove(&hour).map_or(0, |known| known.unsealed);
        if held > 0 {
            self.unsealed.retain(|_, of| *of != hour);
        }
    }

    /// Forgets all hours.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the hash array of an hour is open.
    pub(crate) fn has_array(&self, hour: Hour) -> bool {
        self.arrays.contains_key(&hour)
    }

    /// Keeps the hash array of an hour open: it was found to be sound.
    pub(crate) fn keep_array(&mut self, hour: Hour, array: HashArray) {
        self.clock += 1;
        self.arrays.insert(hour, (self.clock, array));
        let held = |arrays: &BTreeMap<Hour, (u64, HashArray)>| arrays.values().map(|(_, a)| a.held()).sum::<usize>();
        while self.arrays.len() > 1 && (self.arrays.len() > ARRAYS || held(&self.arrays) > ARRAY_HASHES) {
            let oldest = self.arrays.iter().min_by_key(|(_, (last_used, _))| *last_used).map(|(hour, _)| *hour);
            oldest.into_iter().for_each(|hour| drop(self.arrays.remove(&hour)));
        }
    }

    /// Opens an hour of which records come. The caller has made sure that its hashes are not forgotten.
    ///
    /// # Errors
    /// `State`: its row is damaged.
    pub fn open(&mut self, state: &mut Hours, hour: Hour) -> Result<()> {
        self.clock += 1;
        if let Some(known) = self.hours.get_mut(&hour) {
            known.last_used = self.clock;
            return Ok(());
        }
        let row = state.row(hour)?;
        self.unread.insert(hour, row.frozen);
        let known = Known {
            unsealed: 0,
            has_parts: !row.parts.is_empty(),
            first_received: state.pending(hour).map(|p| p.first_received),
            last_used: self.clock,
        };
        self.hours.insert(hour, known);
        Ok(())
    }

    /// Loads what is known of the records of pages, whose hours are open. `false`: the run is to stop, and not all is loaded.
    ///
    /// # Errors
    /// `State`: a hash array, or the write-ahead log, is damaged.
    pub fn load(&mut self, state: &mut Hours, pages: &[Decoded], stop: &Stop) -> Result<bool> {
        if !self.read_unsealed(state, stop)? {
            self.clear();
            return Ok(false);
        }
        self.sealed.clear();
        let mut wanted: BTreeMap<Hour, Vec<ContentHash>> = BTreeMap::new();
        for run in pages.iter().flat_map(|page| page.records.chunk_by(|a, b| a.hour == b.hour)) {
            let hour = run.first().map(|record| record.hour);
            let hour = hour.filter(|hour| self.hours.get(hour).is_some_and(|known| known.has_parts));
            if let Some(hour) = hour {
                wanted.entry(hour).or_default().extend(run.iter().map(|record| ContentHash(record.entry.hash)));
            }
        }
        for (hour, mut hashes) in wanted {
            if stop.is_requested() {
                return Ok(false);
            }
            hashes.sort_unstable();
            if !self.has_array(hour) {
                let row = state.row(hour)?;
                let Some(array) = state.array(&row)? else { continue };
                self.keep_array(hour, array);
            }
            if let Some((_, array)) = self.arrays.get_mut(&hour) {
                array.find(&hashes, &mut |hash| {
                    self.sealed.insert(hash.0);
                })?;
            }
        }
        Ok(true)
    }

    /// Reads the unsealed hashes of the hours that were opened since the last time, all in one go. `false`: the run is to stop.
    fn read_unsealed(&mut self, state: &Hours, stop: &Stop) -> Result<bool> {
        let wanted: Vec<(Hour, u64)> = std::mem::take(&mut self.unread).into_iter().collect();
        let (unsealed, hours) = (&mut self.unsealed, &mut self.hours);
        state.entries(&wanted, stop, &mut |hour, _, entry| {
            unsealed.insert(entry.hash, hour);
            hours.get_mut(&hour).into_iter().for_each(|known| known.unsealed += 1);
            Ok(())
        })
    }

    fn contains(&self, hash: [u8; 16]) -> bool {
        self.unsealed.contains_key(&hash) || self.sealed.contains(&hash)
    }

    /// Whether an open hour has a part, and when the first of its pending records was received.
    pub(crate) fn history(&self, hour: Hour) -> (bool, Option<Timestamp>) {
        self.hours.get(&hour).map_or((false, None), |known| (known.has_parts, known.first_received))
    }

    /// Moves the records of a decoded page, which are loaded, apart: new ones to `new`, the first of equal ones; the others are counted.
    pub fn partition<'p>(&mut self, page: &'p Decoded, received: Timestamp, new: &mut NewRecords<'p>) -> Result<()> {
        let mut at: usize = 0;
        // Records of one hour mostly come together, so that their hour is looked up once.
        for run in page.records.chunk_by(|a, b| a.hour == b.hour) {
            let Some(hour) = run.first().map(|record| record.hour) else { continue };
            let known = self.hours.get_mut(&hour).ok_or_else(|| not_open(hour))?;
            let tally = new.tallies.entry(hour).or_default();
            let of_hour = new.records.entry(hour).or_default();
            // The lines of new records without a known one between them.
            let mut lines = at..at;
            for record in run {
                at = at.saturating_add(usize::try_from(record.entry.length).unwrap_or(usize::MAX));
                let hash = record.entry.hash;
                let is_new = !self.sealed.contains(&hash) && self.unsealed.insert(hash, hour).is_none();
                new.ids.extend(record.id.map(|id| ArrivedId { id, at: record.entry.at(), is_new }));
                if is_new {
                    known.unsealed += 1;
                    known.first_received.get_or_insert(received);
                    match record.id {
                        Some(id) => tally.saw(id),
                        None => note(&mut new.unnumbered, hour, record.entry.at()),
                    }
                    of_hour.entries.push(record.entry);
                    lines.end = at;
                } else {
                    of_hour.take(page.lines.get(std::mem::replace(&mut lines, at..at)));
                    tally.duplicates += 1;
                    new.duplicates += 1;
                }
            }
            of_hour.take(page.lines.get(lines));
            if of_hour.entries.is_empty() {
                new.records.remove(&hour);
            }
        }
        Ok(())
    }

    /// Whether all records of a decoded page, which are loaded, are known.
    pub(crate) fn contains_all(&self, page: &Decoded) -> bool {
        page.records.iter().all(|record| self.contains(record.entry.hash))
    }

    /// Drops the hours that were not opened for longest, where too much is held; none that was opened since the last time: it would
    /// be read again at once, and each time it would be more.
    pub(crate) fn shrink(&mut self) {
        self.sealed.clear();
        let idle_until = std::mem::replace(&mut self.looked, self.clock);
        if self.unsealed.len() <= HELD && self.hours.len() <= HOURS {
            return;
        }
        let idle = self.hours.iter().filter(|(_, known)| known.last_used <= idle_until);
        let mut ages: Vec<(u64, Hour, usize)> =
            idle.map(|(hour, known)| (known.last_used, *hour, known.unsealed)).collect();
        ages.sort_unstable();
        let (mut held, mut hours, mut dropped) = (self.unsealed.len(), self.hours.len(), BTreeSet::new());
        for (_, hour, unsealed) in ages {
            if held <= HELD / 2 && hours <= HOURS / 2 {
                break;
            }
            (held, hours) = (held.saturating_sub(unsealed), hours.saturating_sub(1));
            self.hours.remove(&hour);
            dropped.insert(hour);
        }
        self.unsealed.retain(|_, hour| !dropped.contains(hour));
    }
}
