//! Parts back into the original logs. Only what verifies is believed.
//!
//! Needs read access to the store and nothing else. A part is checked against what the store says about it (the digests in its
//! metadata), against itself (every line a record of its hour, in the order in which parts are sealed, none of them in an
//! earlier part) and, where one is at hand, against the ledger. It is read with its own dictionaries
//! ([`crate::store::dictionaries`]). A `file:` lake has no metadata: there only the ledger or a manifest tells a part from
//! another sound one in its place.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::StoredParts;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::data_prefix;
use crate::hour::part::PartIdentity;
use crate::part::read::{ReadPart, read_part_and_fields};
use crate::record::{ContentHash, json};
use crate::state::Ledger;
use crate::store::PartMeta;
use crate::store::expired::ExpiredParts;

/// Missing parts of an hour that are named: a key may have any number.
const MISSING_NAMED: usize = 100;

/// Which hours are meant; both ends are included.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) since: Option<Hour>,
    pub(crate) until: Option<Hour>,
}

impl Range {
    fn contains(&self, hour: Hour) -> bool {
        self.since.is_none_or(|first| hour >= first) && self.until.is_none_or(|last| hour <= last)
    }
}

/// The parts to restore, by hour and number.
pub(crate) struct Hours {
    /// Those that there are, and those that there should be.
    pub(crate) parts: BTreeMap<Hour, BTreeSet<u32>>,
    /// Those that are gone for good.
    pub(crate) expired: BTreeMap<Hour, BTreeSet<u32>>,
}

/// Reads the original logs of parts.
pub(crate) struct Restorer<'a> {
    pub(crate) parts: StoredParts<'a>,
    /// What a ledger says of each part, where there is one of this store.
    pub(crate) known: Known,
}

/// The parts with a receipt that a ledger knows, by hour and number.
#[derive(Debug, Default)]
pub(crate) struct Known {
    parts: BTreeMap<Hour, BTreeMap<u32, PartIdentity>>,
    /// Those that are gone for good.
    expired: BTreeSet<(Hour, u32)>,
}

impl Known {
    /// What `ledger` knows of the hours in `range`.
    pub(crate) fn of(ledger: &Ledger, range: Range) -> Result<Self> {
        let mut known = Self::default();
        ledger.for_each(&mut |row| {
            if !range.contains(row.hour) {
                return Ok(());
            }
            if row.uploaded().next().is_some() {
                let parts = row.uploaded().map(|part| (part.part, part.identity.clone())).collect();
                known.parts.insert(row.hour, parts);
            }
            known.expired.extend(row.expired().map(|part| (row.hour, part.part)));
            Ok(())
        })?;
        Ok(known)
    }

    fn part(&self, hour: Hour, part: u32) -> Option<&PartIdentity> {
        self.parts.get(&hour)?.get(&part)
    }

    /// Whether the part is known to be gone for good.
    pub(super) fn is_gone(&self, hour: Hour, part: u32) -> bool {
        self.expired.contains(&(hour, part))
    }
}

impl Restorer<'_> {
    /// The parts that there are of the hours in `range`, and those that there should be.
    pub(crate) fn hours(&self, range: Range) -> Result<Hours> {
        let StoredParts { store, prefix, layout, .. } = self.parts;
        let mut hours: BTreeMap<Hour, BTreeSet<u32>> = BTreeMap::new();
        store.list(&data_prefix(prefix), &mut |key, _| {
            if let Some((hour, part)) = layout.parse_key(prefix, key)
                && range.contains(hour)
            {
                hours.entry(hour).or_default().insert(part);
            }
            Ok(())
        })?;
        for (hour, parts) in self.known.parts.iter().filter(|(hour, _)| range.contains(**hour)) {
            hours.entry(*hour).or_default().extend(parts.keys());
        }
        let mut gone = ExpiredParts::default();
        gone.look_for_all(store, prefix, layout)?;
        let mut expired: BTreeMap<Hour, BTreeSet<u32>> = BTreeMap::new();
        for (hour, part) in
            gone.iter().chain(self.known.expired.iter().copied()).filter(|(hour, _)| range.contains(*hour))
        {
            expired.entry(hour).or_default().insert(part);
            hours.entry(hour).or_default().insert(part);
        }
        // They are numbered from 0: one that is not there is missing, even if no ledger knows of it.
        for parts in hours.values_mut() {
            let last = parts.last().copied().unwrap_or(0);
            let missing: Vec<u32> = (0..last).filter(|part| !parts.contains(part)).take(MISSING_NAMED).collect();
            parts.extend(missing);
        }
        for (hour, parts) in &expired {
            let there = hours.entry(*hour).or_default();
            there.retain(|part| !parts.contains(part));
            if there.is_empty() {
                hours.remove(hour);
            }
        }
        Ok(Hours { parts: hours, expired })
    }

    /// Gives the original logs of an hour's parts to `each`, a sound part at a time. Returns why others were refused.
    pub(crate) fn hour(
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
    /// `Mismatch`, naming the part: it does not verify. Others: the store could not be read.
    pub(crate) fn part(&self, hour: Hour, part: u32, seen: &mut HashSet<ContentHash>) -> Result<Vec<u8>> {
        let key = self.parts.key(hour, part);
        let (meta, read, originals) = self.read(hour, &key)?;
        if let Some(why) = self.doubt(hour, part, &meta, &read, seen)? {
            return Err(refused(hour, &key, why));
        }
        seen.extend(read.hashes);
        Ok(originals)
    }

    /// What the store says of a part, what it holds, and its original logs.
    fn read(&self, hour: Hour, key: &str) -> Result<(PartMeta, ReadPart, Vec<u8>)> {
        let refuse = |why: &str| refused(hour, key, why);
        let StoredParts { store, dictionaries, zone, .. } = self.parts;
        let found = store.head(key)?.ok_or_else(|| refuse("it is not there"))?;
        let meta = found.meta.ok_or_else(|| refuse("it lacks the metadata of a part"))?;
        if !meta.hour.is_empty() && meta.hour != hour.to_string() {
            return Err(refuse(&format!("it was made as a part of hour {}", meta.hour)));
        }
        let compactor = dictionaries.for_part(Some(&meta)).map_err(|error| match error.kind() {
            ErrorKind::Mismatch => refuse(&error.to_string()).hint(error.next_step().unwrap_or_default()),
            _ => error,
        })?;
        let mut originals = Vec::new();
        let read = read_part_and_fields(&store.get(key)?, &compactor, zone, hour, &mut |fields| {
            json::write_fields(fields, &mut originals);
            originals.push(b'\n');
        });
        Ok((meta, read.map_err(|why| refuse(&why.to_string()))?, originals))
    }

    /// Why a part that can be read is not believed.
    fn doubt(
        &self,
        hour: Hour,
        part: u32,
        meta: &PartMeta,
        read: &ReadPart,
        seen: &HashSet<ContentHash>,
    ) -> Result<Option<&'static str>> {
        let differs = |known: &PartIdentity| !read.identity.has_records_of(known);
        Ok(if read.identity.sha256 != meta.identity.sha256 {
            Some("its bytes do not match its checksum")
        } else if differs(&meta.identity) {
            Some("its content does not match its checksum")
        } else if self.known.part(hour, part).is_some_and(differs) {
            Some("the ledger says that its content is another")
        } else if meta.hour.is_empty() && self.manifest(hour, part)?.as_ref().is_some_and(differs) {
            Some("its manifest says that its content is another")
        } else if !read.is_in_order {
            Some("its records are not in the order of a part")
        } else if read.hashes.iter().any(|hash| seen.contains(hash)) {
            Some("it has records of an earlier part of the hour")
        } else {
            None
        })
    }

    /// What the part's manifest says of it. A lake has no metadata, but it may have manifests. `None`: there is none of ours.
    fn manifest(&self, hour: Hour, part: u32) -> Result<Option<PartIdentity>> {
        let StoredParts { store, prefix, layout, .. } = self.parts;
        let key = layout.manifest_key(prefix, hour, part);
        if store.head(&key)?.is_none() {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&store.get(&key)?).ok())
    }
}

fn refused(hour: Hour, key: &str, why: &str) -> Error {
    Error::new(ErrorKind::Mismatch, format!("hour {hour}: {key} is refused: {why}"))
}
