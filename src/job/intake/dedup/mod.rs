//! Buckets: which records of an hour are known, so that each is committed once.
//!
//! Exact, and O(1) a record. The hashes of the unsealed records of open hours are held in memory; where that is too much, they are on the
//! disk, and those of parts always are: they are looked up for all records of a segment together, in the order of the arrays. Beside its
//! hashes an hour costs little, so it does not matter of how many hours the records are, nor how many an hour has. Nothing here is
//! durable: an hour is read from the state when it is opened, and dropped when too much is held.

mod new_records;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use jiff::Timestamp;

pub use self::new_records::NewRecords;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::ArrivedId;
use crate::page::decode::Decoded;
use crate::record::ContentHash;
use crate::state::files::hash_array::spilled::Spilled;
use crate::state::{HashArray, Hours};
use crate::stop::Stop;

/// Hashes held in memory before hours are dropped, or else go to the disk: 6 MB, or twice that where a segment brings more.
const HELD: usize = 220_000;
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

/// For hours, which nobody chooses so that they collide: there are too few of them.
#[derive(Debug, Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
}

/// What is known of an open hour.
#[derive(Debug)]
struct Known {
    /// Its hashes among [`Buckets::unsealed`].
    unsealed: usize,
    has_parts: bool,
    first_received: Option<Timestamp>,
    /// By [`Buckets::clock`].
    last_used: u64,
    /// The newest commit with a record of it in a part.
    frozen: u64,
    /// Whether others of its hashes are among [`Buckets::spilled`].
    is_spilled: bool,
}

/// Unsealed hashes that are on the disk.
#[derive(Debug)]
struct OnDisk {
    hashes: Spilled,
    /// The hours of which there are some: also of those that are no longer open.
    hours: BTreeSet<Hour>,
}

fn not_open(hour: Hour) -> Error {
    Error::new(ErrorKind::Bug, format!("hour {hour} was not opened before its records were compared"))
}

/// The open hours.
#[derive(Debug)]
pub struct Buckets {
    /// See [`HELD`].
    most: usize,
    hours: HashMap<Hour, Known, BuildHasherDefault<Mixed>>,
    /// The unsealed records of these hours.
    unsealed: HashMap<[u8; 16], Hour, Build>,
    /// More of them.
    spilled: Option<OnDisk>,
    /// Of the records at hand, those that the disk has: in parts, or unsealed.
    on_disk: HashSet<[u8; 16], Build>,
    arrays: BTreeMap<Hour, (u64, HashArray)>,
    /// Hours whose unsealed records are yet to be read, and after which commit.
    unread: BTreeMap<Hour, u64>,
    /// Hashes that were read from the log since hours were dropped.
    read: usize,
    clock: u64,
    /// The clock when it was last asked whether too much is held.
    looked: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self::holding(HELD)
    }
}

impl Buckets {
    fn holding(most: usize) -> Self {
        Self {
            most,
            hours: HashMap::default(),
            unsealed: HashMap::default(),
            spilled: None,
            on_disk: HashSet::default(),
            arrays: BTreeMap::new(),
            unread: BTreeMap::new(),
            read: 0,
            clock: 0,
            looked: 0,
        }
    }

    /// Forgets an hour: its parts have changed.
    pub(crate) fn forget(&mut self, hour: Hour) {
        self.arrays.remove(&hour);
        self.unread.remove(&hour);
        let held = self.hours.remove(&hour).map_or(0, |known| known.unsealed);
        if held > 0 {
            self.unsealed.retain(|_, of| *of != hour);
        }
        if self.spilled.as_ref().is_some_and(|spilled| spilled.hours.contains(&hour)) {
            // Nothing is taken out of what is there: the other hours are read again.
            self.spilled = None;
            for (hour, known) in self.hours.iter_mut().filter(|(_, known)| known.is_spilled) {
                known.is_spilled = false;
                self.unread.insert(*hour, known.frozen);
            }
        }
    }

    /// Forgets all hours.
    pub(crate) fn clear(&mut self) {
        *self = Self::holding(self.most);
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
            frozen: row.frozen,
            is_spilled: false,
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
        self.on_disk.clear();
        let mut wanted: BTreeMap<Hour, Vec<ContentHash>> = BTreeMap::new();
        let mut perhaps_spilled = Vec::new();
        for run in pages.iter().flat_map(|page| page.records.chunk_by(|a, b| a.hour == b.hour)) {
            let Some((hour, known)) = run.first().and_then(|record| self.hours.get_key_value(&record.hour)) else {
                continue;
            };
            let hashes = || run.iter().map(|record| ContentHash(record.entry.hash));
            if let Some(spilled) = self.spilled.as_ref().filter(|_| known.is_spilled) {
                perhaps_spilled.extend(hashes().filter(|hash| spilled.hashes.may_have(*hash)));
            }
            if known.has_parts {
                wanted.entry(*hour).or_default().extend(hashes());
            }
        }
        perhaps_spilled.sort_unstable();
        if let Some(spilled) = &mut self.spilled {
            spilled.hashes.find(&perhaps_spilled, &mut |hash| {
                self.on_disk.insert(hash.0);
            })?;
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
                    self.on_disk.insert(hash.0);
                })?;
            }
        }
        Ok(true)
    }

    /// Reads the unsealed hashes of the hours that were opened since the last time, all in one go. `false`: the run is to stop.
    fn read_unsealed(&mut self, state: &Hours, stop: &Stop) -> Result<bool> {
        let wanted: Vec<(Hour, u64)> = std::mem::take(&mut self.unread).into_iter().collect();
        state.entries(&wanted, stop, &mut |hour, _, entry| {
            if self.unsealed.len() >= 2 * self.most {
                self.spill(state)?;
            }
            self.read += 1;
            if self.unsealed.insert(entry.hash, hour).is_none() {
                self.hours.get_mut(&hour).into_iter().for_each(|known| known.unsealed += 1);
            }
            Ok(())
        })
    }

    /// Moves the unsealed hashes to the disk.
    fn spill(&mut self, state: &Hours) -> Result<()> {
        let spilled =
            self.spilled.get_or_insert_with(|| OnDisk { hashes: state.spilled_hashes(), hours: BTreeSet::new() });
        let unsealed = std::mem::take(&mut self.unsealed);
        spilled.hashes.add(unsealed.into_keys().map(ContentHash).collect())?;
        for (hour, known) in self.hours.iter_mut().filter(|(_, known)| known.unsealed > 0) {
            (known.unsealed, known.is_spilled) = (0, true);
            spilled.hours.insert(*hour);
        }
        Ok(())
    }

    fn contains(&self, hash: [u8; 16]) -> bool {
        self.unsealed.contains_key(&hash) || self.on_disk.contains(&hash)
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
                let is_new = !self.on_disk.contains(&hash) && self.unsealed.insert(hash, hour).is_none();
                new.ids.extend(record.id.map(|id| ArrivedId { id, at: record.entry.at(), is_new }));
                if is_new {
                    known.unsealed += 1;
                    known.first_received.get_or_insert(received);
                    match record.id {
                        Some(id) => tally.saw(id),
                        None => new_records::note(&mut new.unnumbered, hour, record.entry.at()),
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
    /// be read again at once, and each time it would be more. What is too much then goes to the disk, and so does all where dropped hours
    /// come again and again.
    pub(crate) fn shrink(&mut self, state: &Hours) -> Result<()> {
        self.on_disk.clear();
        let idle_until = std::mem::replace(&mut self.looked, self.clock);
        if self.unsealed.len() <= self.most && self.hours.len() <= HOURS {
            return Ok(());
        }
        if std::mem::take(&mut self.read) > self.most / 4 && self.hours.len() <= HOURS {
            return self.spill(state);
        }
        let idle = self.hours.iter().filter(|(_, known)| known.last_used <= idle_until);
        let mut ages: Vec<(u64, Hour, usize)> =
            idle.map(|(hour, known)| (known.last_used, *hour, known.unsealed)).collect();
        ages.sort_unstable();
        let (mut held, mut hours, mut dropped) = (self.unsealed.len(), self.hours.len(), BTreeSet::new());
        for (_, hour, unsealed) in ages {
            if held <= self.most / 2 && hours <= HOURS / 2 {
                break;
            }
            (held, hours) = (held.saturating_sub(unsealed), hours.saturating_sub(1));
            self.hours.remove(&hour);
            dropped.insert(hour);
        }
        self.unsealed.retain(|_, hour| !dropped.contains(hour));
        if self.unsealed.len() > self.most { self.spill(state) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
