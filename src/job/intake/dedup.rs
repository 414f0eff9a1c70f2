//! Buckets: which records of an hour are known, so that each is committed once.
//!
//! Exact and O(1) a record: the hashes of an hour's unsealed records are held in memory while the hour is touched, those of its
//! parts are looked up in its hash array. Nothing here is durable: it is read from the state when an hour is first touched, and
//! is dropped when too many hours are held.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::Sighting;
use crate::hour::tally::Tally;
use crate::page::decode::Decoded;
use crate::record::ContentHash;
use crate::state::{HashArray, NewRecords, State};

/// Hashes held in memory before hours are dropped: about 9 MB. Of 2 000 records an hour these are the hours of five days.
const HELD: usize = 1 << 18;

/// Content hashes are as good as random already.
#[derive(Debug, Default)]
struct Leading(u64);

impl Hasher for Leading {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

type Hashes = HashSet<[u8; 16], BuildHasherDefault<Leading>>;

#[derive(Debug)]
struct Known {
    unsealed: Hashes,
    sealed: Option<HashArray>,
    has_parts: bool,
    first_received: Option<Timestamp>,
    touched: u64,
}

impl Known {
    /// Hashes of it that are in memory.
    fn held(&self) -> usize {
        self.unsealed.len() + self.sealed.as_ref().map_or(0, HashArray::held)
    }

    fn holds(&self, hash: [u8; 16]) -> Result<bool> {
        if self.unsealed.contains(&hash) {
            return Ok(true);
        }
        self.sealed.as_ref().map_or(Ok(false), |sealed| sealed.contains(ContentHash(hash)))
    }

    /// Whether a record that was received at `received` is new; from now on it is known.
    fn learns(&mut self, hash: [u8; 16], received: Timestamp) -> Result<bool> {
        if self.holds(hash)? {
            return Ok(false);
        }
        self.unsealed.insert(hash);
        self.first_received.get_or_insert(received);
        Ok(true)
    }
}

fn not_ready(hour: Hour) -> Error {
    Error::new(ErrorKind::Bug, format!("hour {hour} was not made ready before its records were looked up"))
}

/// What a segment brings, hour by hour; its lines are those of its decoded pages.
#[derive(Debug, Default)]
pub struct News<'p> {
    /// Its new records.
    pub records: BTreeMap<Hour, NewRecords<'p>>,
    /// Records that were known.
    pub duplicates: u64,
    /// The ids that came, of new and known records.
    pub ids: Vec<Sighting>,
    /// What is counted of each hour.
    pub tallies: BTreeMap<Hour, Tally>,
}

impl News<'_> {
    /// Counts tokens of a page that were quarantined with the hours of its new records; `before`: what there was of the
    /// hours before it.
    pub fn quarantined(&mut self, tokens: u64, before: &BTreeMap<Hour, usize>) {
        for (hour, new) in &self.records {
            if new.entries.len() > before.get(hour).copied().unwrap_or(0) {
                self.tallies.entry(*hour).or_default().quarantined += tokens;
            }
        }
    }

    /// How many records are new so far, by hour.
    #[must_use]
    pub fn lengths(&self) -> BTreeMap<Hour, usize> {
        self.records.iter().map(|(hour, new)| (*hour, new.entries.len())).collect()
    }

    /// How many records are new.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.records.values().map(|new| new.entries.len() as u64).sum()
    }
}

/// The hours at hand.
#[derive(Debug, Default)]
pub struct Buckets {
    hours: HashMap<Hour, Known>,
    held: usize,
    clock: u64,
    /// The clock when it was last asked whether too much is held.
    looked: u64,
}

impl Buckets {
    /// Forgets what is held of an hour, or of all: its parts have changed.
    pub fn forget(&mut self, hour: Hour) {
        if let Some(known) = self.hours.remove(&hour) {
            self.held -= known.held();
        }
    }

    /// Forgets all that is held.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gets an hour ready. The caller has made sure that its hashes are not forgotten.
    ///
    /// # Errors
    /// `State`: its hash array, or the write-ahead log, is damaged.
    pub fn touch(&mut self, state: &mut State, hour: Hour) -> Result<()> {
        self.clock += 1;
        if let Some(known) = self.hours.get_mut(&hour) {
            known.touched = self.clock;
            return Ok(());
        }
        let row = state.ledger.row(hour)?;
        let mut unsealed = Hashes::default();
        state.wal.records(hour, row.frozen, &mut |_, _, entry| {
            unsealed.insert(entry.hash);
            Ok(())
        })?;
        let known = Known {
            unsealed,
            sealed: state.array(&row)?,
            has_parts: !row.parts.is_empty(),
            first_received: state.wal.pending(hour).map(|p| p.first_received),
            touched: self.clock,
        };
        self.held += known.held();
        self.hours.insert(hour, known);
        Ok(())
    }

    /// Whether an hour that was touched has a part, and when the first of its pending records was received.
    #[must_use]
    pub fn history(&self, hour: Hour) -> (bool, Option<Timestamp>) {
        self.hours.get(&hour).map_or((false, None), |known| (known.has_parts, known.first_received))
    }

    /// Sorts the records of a decoded page into `news`: the first of equal records is kept. All its hours were touched.
    ///
    /// # Errors
    /// `State`: a hash array is damaged.
    pub fn sort<'p>(&mut self, page: &'p Decoded, received: Timestamp, news: &mut News<'p>) -> Result<()> {
        let mut at: usize = 0;
        // Records of one hour mostly come together, so that their hour is looked up once.
        for run in page.records.chunk_by(|a, b| a.hour == b.hour) {
            let Some(hour) = run.first().map(|record| record.hour) else { continue };
            let known = self.hours.get_mut(&hour).ok_or_else(|| not_ready(hour))?;
            let tally = news.tallies.entry(hour).or_default();
            let new = news.records.entry(hour).or_default();
            // The lines of new records without a known one between them.
            let mut lines = at..at;
            for record in run {
                at = at.saturating_add(usize::try_from(record.entry.length).unwrap_or(usize::MAX));
                let is_new = known.learns(record.entry.hash, received)?;
                news.ids.extend(record.id.map(|id| Sighting { id, at: record.entry.at(), is_new }));
                if is_new {
                    self.held += 1;
                    record.id.into_iter().for_each(|id| tally.saw(id));
                    new.entries.push(record.entry);
                    lines.end = at;
                } else {
                    new.take(page.lines.get(std::mem::replace(&mut lines, at..at)));
                    tally.duplicates += 1;
                    news.duplicates += 1;
                }
            }
            new.take(page.lines.get(lines));
            if new.entries.is_empty() {
                news.records.remove(&hour);
            }
        }
        Ok(())
    }

    /// Whether all records of a decoded page are known. All its hours were touched.
    ///
    /// # Errors
    /// `State`: a hash array is damaged.
    pub fn know(&self, page: &Decoded) -> Result<bool> {
        for record in &page.records {
            let known = match self.hours.get(&record.hour) {
                Some(hour) => hour.holds(record.entry.hash)?,
                None => false,
            };
            if !known {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops the hours that were not touched for longest, where too much is held; none that was touched since the last
    /// time: what is at work would be read again at once, each time as much as it has grown to.
    pub fn shrink(&mut self) {
        let idle_until = std::mem::replace(&mut self.looked, self.clock);
        if self.held <= HELD {
            return;
        }
        let idle = self.hours.iter().filter(|(_, known)| known.touched <= idle_until);
        let mut ages: Vec<(u64, Hour)> = idle.map(|(hour, known)| (known.touched, *hour)).collect();
        ages.sort_unstable();
        for (_, hour) in ages {
            if self.held <= HELD / 2 {
                break;
            }
            self.forget(hour);
        }
    }
}
