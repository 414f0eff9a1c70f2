//! Parts back into the original logs. Only what verifies is believed.
//!
//! Needs read access to the store and nothing else. A part is checked against what the store says about it (the digests in its
//! metadata), against itself (every line a record of its hour, in the order in which parts are sealed, none of them in an
//! earlier part) and, where one is at hand, against the ledger. It is read with its own dictionaries
//! ([`crate::store::dictionaries`]). A `file:` lake has no metadata: there only the ledger or a manifest tells a part from
//! another sound one in its place.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::StoredParts;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::Format;
use crate::hour::part::PartIdentity;
use crate::hour::range::HashRange;
use crate::part::read::{ReadPart, fields_of, read_part_and_fields};
use crate::record::row::Compactor;
use crate::record::{ContentHash, Fields, json};
use crate::state::Ledger;
use crate::state::files::hash_array::spilled::Spilled;
use crate::store::PartMeta;
use crate::store::expired::ExpiredParts;

/// Missing parts of an hour that are named: a key may have any number.
const MISSING_NAMED: usize = 100;
/// Original logs of a part, in bytes, that are kept while it is checked. Of more, they are made again when it has proved sound.
const KEPT: usize = 16 << 20;
/// Bytes of original logs that are handed over at once.
const AT_ONCE: usize = 1 << 20;
/// A large object, in bytes. Few hours have one.
const LARGE: u64 = 4 << 20;
/// Hashes of an hour's parts in memory before they go to the disk.
const HASHES: usize = 440_000;

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
    /// Those with an object of more than [`LARGE`] bytes.
    pub(crate) large: BTreeSet<Hour>,
}

/// Reads parts, and their original logs.
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
        let (mut hours, mut large): (BTreeMap<Hour, BTreeSet<u32>>, _) = (BTreeMap::new(), BTreeSet::new());
        store.list(&layout.data_prefix(prefix), &mut |key, size| {
            if let Some((hour, part)) = layout.parse_key(prefix, key)
                && range.contains(hour)
            {
                hours.entry(hour).or_default().insert(part);
                large.extend((size > LARGE).then_some(hour));
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
        Ok(Hours { parts: hours, expired, large })
    }

    /// Gives the original logs of an hour's parts to `each`, one sound part after the other, in pieces. Returns why others were refused.
    pub(crate) fn hour(
        &self,
        hour: Hour,
        parts: &BTreeSet<u32>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Vec<Error>> {
        let (mut seen, mut refused) = (Seen::new(), Vec::new());
        for part in parts {
            match self.part(hour, *part, &mut seen)? {
                Ok(sound) => sound.originals(each)?,
                Err(error) => refused.push(error),
            }
        }
        Ok(refused)
    }

    /// A part that proves sound, or why it is refused: that names the part. `seen`: the records of the hour's other parts; those of
    /// this one are added.
    ///
    /// # Errors
    /// The store could not be read.
    pub(crate) fn part(&self, hour: Hour, part: u32, seen: &mut Seen) -> Result<Result<SoundPart>> {
        self.checked(hour, part, seen, Some(Vec::new()))
    }

    /// The same, and its original logs are not wanted.
    pub(super) fn object(&self, hour: Hour, part: u32, seen: &mut Seen) -> Result<Result<SoundPart>> {
        self.checked(hour, part, seen, None)
    }

    /// `kept`: where the original logs are kept.
    fn checked(&self, hour: Hour, part: u32, seen: &mut Seen, kept: Option<Vec<u8>>) -> Result<Result<SoundPart>> {
        let key = self.parts.key(hour, part);
        let checked = self.read(hour, &key, kept).and_then(|(meta, read, sound)| {
            match self.doubt(hour, part, &meta, &read, seen)? {
                Some(why) => Err(refused(hour, &key, why)),
                None => {
                    seen.add(read);
                    Ok(sound)
                }
            }
        });
        match checked {
            Err(error) if error.kind() != ErrorKind::Mismatch => Err(error),
            checked => Ok(checked),
        }
    }

    /// What the store says of a part, what it holds, and the part itself.
    fn read(&self, hour: Hour, key: &str, mut kept: Option<Vec<u8>>) -> Result<(PartMeta, ReadPart, SoundPart)> {
        let refuse = |why: &str| refused(hour, key, why);
        let StoredParts { store, layout, dictionaries, dating, .. } = self.parts;
        let found = store.head(key)?.ok_or_else(|| refuse("it is not there"))?;
        let meta = found.meta.ok_or_else(|| refuse("it lacks the metadata of a part"))?;
        if !meta.hour.is_empty() && meta.hour != hour.to_string() {
            return Err(refuse(&format!("it was made as a part of hour {}", meta.hour)));
        }
        let compactor = dictionaries.for_part(Some(&meta)).map_err(|error| match error.kind() {
            ErrorKind::Mismatch => refuse(&error.to_string()).hint(error.next_step().unwrap_or_default()),
            _ => error,
        })?;
        let object = store.get(key)?;
        let format = layout.format_of(key);
        let read = read_part_and_fields(format, &object, &compactor, dating, hour, &mut |fields| {
            if let Some(originals) = &mut kept {
                write_original(fields, originals);
            }
            kept.take_if(|originals| originals.len() > KEPT);
        });
        let read = read.map_err(|why| refuse(&why.to_string()))?;
        let (dict, identity, range) = (meta.dict.clone(), read.identity.clone(), meta.range);
        Ok((meta, read, SoundPart { format, object, compactor, dict, identity, range, kept }))
    }

    /// Why a part that can be read is not believed.
    fn doubt(
        &self,
        hour: Hour,
        part: u32,
        meta: &PartMeta,
        read: &ReadPart,
        seen: &mut Seen,
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
        } else if seen.has_any(read)? {
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

/// A part that may be believed.
pub(crate) struct SoundPart {
    pub(super) format: Format,
    pub(super) object: Vec<u8>,
    pub(super) compactor: Arc<Compactor>,
    /// The id of its dictionaries; empty where the store does not say it.
    pub(super) dict: String,
    pub(super) identity: PartIdentity,
    /// Which hashes its records may have.
    pub(super) range: HashRange,
    /// Its original logs, where they are few.
    kept: Option<Vec<u8>>,
}

impl SoundPart {
    /// Gives its original logs to `each`, in pieces.
    pub(crate) fn originals(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if let Some(originals) = &self.kept {
            return each(originals);
        }
        let (mut piece, mut given) = (Vec::new(), Ok(()));
        let again = fields_of(self.format, &self.object, &self.compactor, &mut |fields| {
            if given.is_ok() {
                write_original(fields, &mut piece);
            }
            if piece.len() >= AT_ONCE {
                given = each(&piece);
                piece.clear();
            }
        });
        given?;
        again.map_err(|why| Error::new(ErrorKind::Bug, "a part that was read cannot be read again").caused_by(why))?;
        each(&piece)
    }
}

fn write_original(fields: &Fields<'_>, to: &mut Vec<u8>) {
    json::write_fields(fields, to);
    to.push(b'\n');
}

/// The records of an hour's parts so far.
pub(crate) struct Seen {
    held: HashSet<ContentHash>,
    /// So many are held.
    most: usize,
    /// More of them, in a file without a name.
    spilled: Spilled,
    /// The first and the last time in each part.
    spans: Vec<(Timestamp, Timestamp)>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { held: HashSet::new(), most: HASHES, spilled: Spilled::new(&std::env::temp_dir()), spans: Vec::new() }
    }

    /// Whether any record of a part is in one of those before. An hour is mostly sealed at once, into parts of which one ends where the
    /// next begins: these cost no look.
    pub(super) fn has_any(&mut self, read: &ReadPart) -> Result<bool> {
        if self.spans.iter().all(|(first, last)| *last < read.first || *first > read.last) {
            return Ok(false);
        }
        if read.hashes.iter().any(|hash| self.held.contains(hash)) {
            return Ok(true);
        }
        let mut perhaps: Vec<ContentHash> =
            read.hashes.iter().copied().filter(|hash| self.spilled.may_have(*hash)).collect();
        perhaps.sort_unstable();
        let mut is_there = false;
        self.spilled.find(&perhaps, &mut |_| is_there = true)?;
        Ok(is_there)
    }

    pub(super) fn add(&mut self, read: ReadPart) {
        self.spans.push((read.first, read.last));
        self.held.extend(read.hashes);
        if self.held.len() > self.most {
            match self.spilled.add(self.held.iter().copied().collect()) {
                Ok(()) => self.held = HashSet::new(),
                // What cannot be put there is kept here.
                Err(error) => {
                    tracing::debug!("hashes of a large hour stay in memory: {}", error.chain());
                    self.most = usize::MAX;
                }
            }
        }
    }
}

fn refused(hour: Hour, key: &str, why: &str) -> Error {
    Error::new(ErrorKind::Mismatch, format!("hour {hour}: {key} is refused: {why}"))
        .hint("the other parts are restored; `etl verify --deep` says what to do about this one")
}
