//! Parts back into the original logs: nothing that does not verify is believed.
//!
//! Needs read access to the store and nothing else. A part is checked against what the store says about it (the digests in its
//! metadata), against itself (every line a record of its hour, in the order in which parts are sealed, none of them in an
//! earlier part) and, where one is at hand, against the ledger. It is read with its own dictionaries ([`crate::store::dictionaries`]). A `file:` lake has no metadata: there the ledger is what
//! tells a part that was replaced by another sound one. Reads only; a failed look ends the work, it refuses nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::{Layout, data_prefix};
use crate::hour::lifecycle::PartRow;
use crate::part::read;
use crate::record::ContentHash;
use crate::state::Ledger;
use crate::store::ObjectStore;
use crate::store::dictionaries::Shelf;

/// Missing parts of an hour that are named, of a number that cannot be that of a part.
const MISSING_NAMED: usize = 100;

/// Which hours are meant.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// From this hour on.
    pub since: Option<Hour>,
    /// Up to this hour, it included.
    pub until: Option<Hour>,
}

impl Range {
    /// Whether `hour` is meant.
    #[must_use]
    pub fn holds(&self, hour: Hour) -> bool {
        self.since.is_none_or(|first| hour >= first) && self.until.is_none_or(|last| hour <= last)
    }
}

/// What parts are restored with.
pub struct Restorer<'a> {
    /// The store.
    pub store: &'a dyn ObjectStore,
    /// What all keys begin with.
    pub prefix: &'a str,
    /// How they are spelled.
    pub layout: &'a Layout,
    /// The dictionaries that parts are read with.
    pub shelf: &'a Shelf<'a>,
    /// The time zone of the hours.
    pub zone: &'a TimeZone,
    /// What a ledger says of each part, where there is one of this store.
    pub known: Known,
}

/// The parts with a receipt that a ledger knows, by hour and number.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<Hour, BTreeMap<u32, KnownPart>>);

#[derive(Debug, Deserialize)]
struct KnownPart {
    content_sha256: String,
    rows: u64,
}

impl Known {
    /// What `ledger` knows of the hours in `range`.
    ///
    /// # Errors
    /// `State`: it cannot be read.
    pub fn of(ledger: &Ledger, range: Range) -> Result<Self> {
        let part =
            |part: &PartRow| (part.part, KnownPart { content_sha256: part.content_sha256.clone(), rows: part.rows });
        let mut hours = BTreeMap::new();
        ledger.for_each(&mut |row| {
            if range.holds(row.hour) && row.uploaded().next().is_some() {
                hours.insert(row.hour, row.uploaded().map(part).collect());
            }
            Ok(())
        })?;
        Ok(Self(hours))
    }

    fn part(&self, hour: Hour, part: u32) -> Option<&KnownPart> {
        self.0.get(&hour)?.get(&part)
    }
}

impl Restorer<'_> {
    /// The parts that there are of the hours in `range`, and those that there should be.
    ///
    /// # Errors
    /// The store could not be listed.
    pub fn hours(&self, range: Range) -> Result<BTreeMap<Hour, BTreeSet<u32>>> {
        let mut hours: BTreeMap<Hour, BTreeSet<u32>> = BTreeMap::new();
        self.store.list(&data_prefix(self.prefix), &mut |key, _| {
            if let Some((hour, part)) = self.layout.parse_key(self.prefix, key)
                && range.holds(hour)
            {
                hours.entry(hour).or_default().insert(part);
            }
            Ok(())
        })?;
        for (hour, parts) in self.known.0.iter().filter(|(hour, _)| range.holds(**hour)) {
            hours.entry(*hour).or_default().extend(parts.keys());
        }
        // They are numbered from 0: one that is not there is missing, whoever knows of it.
        for parts in hours.values_mut() {
            let last = parts.last().copied().unwrap_or(0);
            let missing: Vec<u32> = (0..last).filter(|part| !parts.contains(part)).take(MISSING_NAMED).collect();
            parts.extend(missing);
        }
        Ok(hours)
    }

    /// Gives the original logs of an hour's parts to `each`, a sound part at a time; returns what was refused, and why.
    ///
    /// # Errors
    /// The store could not be read, or whatever `each` returns.
    pub fn hour(
        &self,
        hour: Hour,
        parts: &BTreeSet<u32>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Vec<Error>> {
        let (mut seen, mut refused) = (HashSet::new(), Vec::new());
        for part in parts {
            match self.part(hour, *part, &mut seen) {
                Ok(originals) => each(&originals)?,
                Err(error) if error.kind() == ErrorKind::Mismatch => refused.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// The original logs of one part. `seen`: the records of the hour's other parts; those of this one are added.
    ///
    /// # Errors
    /// `Mismatch`, naming the part: it does not verify. The store could not be read.
    pub fn part(&self, hour: Hour, part: u32, seen: &mut HashSet<ContentHash>) -> Result<Vec<u8>> {
        let key = self.layout.key(self.prefix, hour, part);
        let refuse = |why: &str| Err(Error::new(ErrorKind::Mismatch, format!("hour {hour}: {key} is refused: {why}")));
        let Some(found) = self.store.head(&key)? else { return refuse("it is not there") };
        let Some(meta) = found.meta else { return refuse("it has no metadata of a part of ours") };
        if !meta.hour.is_empty() && meta.hour != hour.to_string() {
            return refuse(&format!("it was made as a part of hour {}", meta.hour));
        }
        let compactor = match self.shelf.for_part(Some(&meta)) {
            Ok(compactor) => compactor,
            Err(error) if error.kind() == ErrorKind::Mismatch => {
                let hint = error.next_step().unwrap_or_default().to_owned();
                return refuse(&error.to_string()).map_err(|refused| refused.hint(hint));
            }
            Err(error) => return Err(error),
        };
        let mut originals = Vec::new();
        let read = read::read_each(&self.store.get(&key)?, &compactor, self.zone, hour, &mut |fields| {
            crate::record::json::write_fields(fields, &mut originals);
            originals.push(b'\n');
        });
        let read = match read {
            Ok(read) => read,
            Err(why) => return refuse(&why.to_string()),
        };
        let rows = read.rows();
        if read.sha256 != meta.sha256 {
            return refuse("its bytes are not those of its checksum");
        }
        if (&read.content_sha256, rows) != (&meta.content_sha256, meta.rows) {
            return refuse("its content is not that of its checksum");
        }
        if let Some(known) = self.known.part(hour, part)
            && (&read.content_sha256, rows) != (&known.content_sha256, known.rows)
        {
            return refuse("the ledger knows it with another content");
        }
        // A lake keeps no metadata, but perhaps a manifest.
        if meta.hour.is_empty()
            && let Some(told) = self.manifest(hour, part)?
            && (&read.content_sha256, rows) != (&told.content_sha256, told.rows)
        {
            return refuse("its manifest tells of another content");
        }
        if !read.is_in_order {
            return refuse("its records are not in the order of a part");
        }
        if read.hashes.iter().any(|hash| seen.contains(hash)) {
            return refuse("it holds records that an earlier part of the hour has");
        }
        seen.extend(read.hashes);
        Ok(originals)
    }
    /// What the part's manifest tells of it. `None`: there is none, or it is no manifest of ours.
    fn manifest(&self, hour: Hour, part: u32) -> Result<Option<KnownPart>> {
        let key = self.layout.manifest_key(self.prefix, hour, part);
        if self.store.head(&key)?.is_none() {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&self.store.get(&key)?).ok())
    }
}
