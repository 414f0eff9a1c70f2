//! `etl verify`: the ledger against the store.
//!
//! Every part that has a receipt must be there, with its size and identity; nothing else may be below `data/`. Reads only.
//! A failed look ends the verification: it is no finding. With `deep` each part is downloaded, decoded and counted, and its
//! records are looked up in the hour's hash array while that is remembered.
//!
//! It takes no lock: a run may go on beside it. Objects are listed before the ledger is read, because an intent is older than
//! its object. Whatever looks wrong is judged again for as long as the ledger's row of the hour changed meanwhile.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::audit::compare::Comparison;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::{Layout, data_prefix, dictionaries_key};
use crate::hour::lifecycle::{HourRow, PartRow};
use crate::part::read::{self, ReadPart};
use crate::state::{HashArray, HashDir, Ledger};
use crate::store::dictionaries::{Shelf, Stored};
use crate::store::{ObjectInfo, ObjectStore};
use crate::view::table::plural;

/// How often an hour is judged again that changed while it was looked at.
const LOOKS: usize = 5;

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The ledger has a receipt for it, and it is not there.
    Missing,
    /// It is not what the ledger says.
    Changed,
    /// The ledger does not know it.
    Foreign,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// The hour, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<Hour>,
    /// The object's key.
    pub key: String,
    /// How it differs.
    pub detail: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The version of this shape.
    pub schema: u32,
    /// Hours with parts.
    pub hours: u64,
    /// Parts that were looked at.
    pub parts: u64,
    /// Records in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether they were downloaded and decoded.
    pub deep: bool,
    /// What is not as it should be. Empty: all is well.
    pub findings: Vec<Finding>,
    /// What a comparison with the archive found, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Comparison>,
}

impl Verification {
    /// Nothing looked at yet.
    #[must_use]
    pub const fn new(deep: bool) -> Self {
        Self { schema: 1, hours: 0, parts: 0, rows: 0, bytes: 0, deep, findings: Vec::new(), archive: None }
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.is_empty() && self.archive.as_ref().is_none_or(|archive| archive.findings.is_empty())
    }
}

/// What a verification looks with.
pub struct Verifier<'a> {
    /// The state directory, with the ledger and the hash arrays.
    pub state: &'a Path,
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
    /// Whether to download and decode.
    pub deep: bool,
}

/// An hour that does not look as it should, and the row that this was judged by.
struct Doubt {
    row: HourRow,
    judged: Result<Vec<Finding>>,
}

impl Verifier<'_> {
    /// Looks at every part, then for strangers.
    ///
    /// # Errors
    /// The store could not be read, or the ledger.
    pub fn verify(&self, each: &mut dyn FnMut(u64)) -> Result<Verification> {
        let mut found = Verification::new(self.deep);
        let mut objects = BTreeMap::new();
        self.store.list(&data_prefix(self.prefix), &mut |key, size| {
            objects.insert(key.to_owned(), size);
            Ok(())
        })?;
        let ledger = self.ledger()?;
        let (mut doubts, mut dictionaries) = (Vec::new(), BTreeMap::new());
        ledger.for_each(&mut |row| {
            for part in &row.parts {
                objects.remove(&part.key);
            }
            found.count(row);
            for part in row.uploaded().filter(|part| !part.dict.is_empty()) {
                *dictionaries.entry(part.dict.clone()).or_default() += 1;
            }
            doubts.extend(self.doubt(row.clone())?);
            each(found.parts);
            Ok(())
        })?;
        self.settle(doubts, &mut found)?;
        found.findings.sort_by_key(|finding| finding.hour);
        self.strangers(objects, &mut found)?;
        for (id, parts) in dictionaries {
            found.findings.extend(self.dictionaries(&ledger, &id, parts)?);
        }
        Ok(found)
    }

    /// The ledger as it is now.
    fn ledger(&self) -> Result<Ledger> {
        let gone = || Error::new(ErrorKind::State, format!("{} no longer holds a ledger", self.state.display()));
        Ledger::open(self.state)?.ok_or_else(gone)
    }

    /// `None`: the hour is as it should be. A failure of the state is a doubt too: a run may have replaced what was read.
    fn doubt(&self, row: HourRow) -> Result<Option<Doubt>> {
        match self.hour(&row) {
            Ok(findings) if findings.is_empty() => Ok(None),
            Err(error) if error.kind() != ErrorKind::State => Err(error),
            judged => Ok(Some(Doubt { row, judged })),
        }
    }

    /// Judges doubtful hours again until their rows stand still.
    fn settle(&self, mut doubts: Vec<Doubt>, found: &mut Verification) -> Result<()> {
        for look in 0..=LOOKS {
            if doubts.is_empty() {
                break;
            }
            let mut ledger = self.ledger()?;
            let mut again = Vec::new();
            for doubt in doubts {
                let row = ledger.row(doubt.row.hour)?;
                if row == doubt.row || look == LOOKS {
                    found.findings.extend(doubt.judged?);
                } else {
                    again.extend(self.doubt(row)?);
                }
            }
            doubts = again;
        }
        Ok(())
    }

    /// Objects that the ledger did not know: those that it knows by now are judged with their hours, others are findings if
    /// they are still there.
    fn strangers(&self, objects: BTreeMap<String, u64>, found: &mut Verification) -> Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let mut ledger = self.ledger()?;
        let mut doubts = BTreeMap::new();
        for (key, size) in objects {
            let part = self.layout.parse_key(self.prefix, &key);
            let row = part.map(|(hour, _)| ledger.row(hour)).transpose()?;
            match row.filter(|row| row.parts.iter().any(|part| part.key == key)) {
                Some(row) => {
                    doubts.insert(row.hour, self.doubt(row)?);
                }
                None if self.is_there(&key) => found.findings.push(stranger(part, key, size)),
                None => {}
            }
        }
        self.settle(doubts.into_values().flatten().collect(), found)
    }

    /// Whether a listed object is still there. Not every store can be asked for a name that no key of ours has: then the
    /// listing counts.
    fn is_there(&self, key: &str) -> bool {
        self.store.head(key).map_or(true, |object| object.is_some())
    }

    fn hour(&self, row: &HourRow) -> Result<Vec<Finding>> {
        // Opened before the parts are looked at: an open array can be read also when a run has replaced it.
        let named = row.hashes.filter(|_| self.deep || !self.store.keeps_metadata());
        let hashes = named.map(|named| HashDir::at(self.state).array(row.hour, named)).transpose()?;
        let mut findings = Vec::new();
        for part in row.uploaded() {
            if let Some((fault, detail)) = self.part(row, part, hashes.as_ref())? {
                findings.push(Finding { fault, hour: Some(row.hour), key: part.key.clone(), detail });
            }
        }
        Ok(findings)
    }

    fn part(&self, row: &HourRow, part: &PartRow, hashes: Option<&HashArray>) -> Result<Option<(Fault, String)>> {
        let Some(object) = self.store.head(&part.key)? else {
            return Ok(Some((Fault::Missing, format!("there is nothing where part {} should be", part.part))));
        };
        if let Some(difference) = difference(part, &object) {
            return Ok(Some((Fault::Changed, difference)));
        }
        // A tag is no identity, but another tag than the receipt's says that the object was written again.
        let is_as_written = part.etag.is_none() || object.etag == part.etag;
        if object.meta.is_some() && is_as_written && !self.deep {
            return Ok(None);
        }
        // Without its metadata an object is known by its content alone.
        let detail = self.content(row, part, &object, hashes)?;
        Ok(detail.map(|detail| (Fault::Changed, detail)))
    }

    /// How the content of a part differs from what is known of it.
    fn content(
        &self,
        row: &HourRow,
        part: &PartRow,
        object: &ObjectInfo,
        hashes: Option<&HashArray>,
    ) -> Result<Option<String>> {
        let compactor = match self.shelf.for_part(object.meta.as_ref()) {
            Ok(compactor) => compactor,
            Err(error) if error.kind() == ErrorKind::Mismatch => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        let read = match read::read(&self.store.get(&part.key)?, &compactor, self.zone, row.hour) {
            Ok(read) => read,
            Err(reason) => return Ok(Some(reason.to_string())),
        };
        let difference = content_difference(part, &read);
        if difference.is_some() { Ok(difference) } else { unknown_records(&read, hashes) }
    }

    /// What is wrong with the object of the dictionaries that `parts` parts were written with. One that was never stored is
    /// no finding while the configuration gives the same dictionaries: an older version wrote the parts.
    fn dictionaries(&self, ledger: &Ledger, id: &str, parts: u64) -> Result<Option<Finding>> {
        let was_stored = ledger.has_stored_dictionaries(id);
        let parts = plural(parts, "part", "parts");
        let (fault, what) = match self.shelf.stored(id)? {
            Stored::Sound(_) => return Ok(None),
            Stored::Missing if !was_stored && self.shelf.known_without_the_store(id).is_some() => return Ok(None),
            Stored::Missing => {
                (Fault::Missing, format!("there is nothing where the dictionaries of {parts} should be:"))
            }
            Stored::Damaged => (
                Fault::Changed,
                format!("it is not what its name says, the dictionaries of {parts}: move it away, then"),
            ),
        };
        let detail = format!("{what} `etl replay --from-s3` stores them again if [compact] still has them");
        Ok(Some(Finding { fault, hour: None, key: dictionaries_key(self.prefix, id), detail }))
    }
}

impl Verification {
    fn count(&mut self, row: &HourRow) {
        self.hours += u64::from(!row.parts.is_empty());
        for part in row.uploaded() {
            self.parts += 1;
            self.rows += part.rows;
            self.bytes += part.bytes;
        }
    }
}

/// An object that the ledger does not know. One with a part's name may be another machine's: it is taken over when its hour
/// meets it, or when asked for.
fn stranger(part: Option<(Hour, u32)>, key: String, size: u64) -> Finding {
    let whose = match part {
        Some(_) => ", with a part's name: if another machine put it there, `etl replay --from-s3` takes it over",
        None => "",
    };
    let detail = format!("{size} bytes that the ledger does not know{whose}");
    Finding { fault: Fault::Foreign, hour: part.map(|(hour, _)| hour), key, detail }
}

fn unknown_records(read: &ReadPart, hashes: Option<&HashArray>) -> Result<Option<String>> {
    let Some(array) = hashes else { return Ok(None) };
    let mut unknown = 0;
    for hash in &read.hashes {
        unknown += u64::from(!array.contains(*hash)?);
    }
    Ok((unknown > 0).then(|| format!("{unknown} records are not among the hour's hashes")))
}

fn difference(part: &PartRow, object: &ObjectInfo) -> Option<String> {
    if let Some(meta) = &object.meta {
        if meta.content_sha256 != part.content_sha256 {
            return Some("its content is another than the ledger's".to_owned());
        }
        if meta.rows != part.rows {
            return Some(format!("it has {} records, the ledger {}", meta.rows, part.rows));
        }
    }
    (object.size != part.bytes).then(|| format!("it has {} bytes, the ledger {}", object.size, part.bytes))
}

fn content_difference(part: &PartRow, read: &ReadPart) -> Option<String> {
    if read.content_sha256 != part.content_sha256 {
        return Some("its content is another than the ledger's".to_owned());
    }
    (read.rows() != part.rows).then(|| format!("it has {} records, the ledger {}", read.rows(), part.rows))
}
