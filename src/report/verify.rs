//! `etl verify`: the ledger against the store.
//!
//! Every part that has a receipt must be there, with its size and identity; nothing else may be below `data/`. Reads only.
//! A failed look ends the verification: it is no finding. With `deep` each part is downloaded, decoded and counted, and its
//! records are looked up in the hour's hash array while that is remembered.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::archive::Comparison;
use crate::compact::Compactor;
use crate::error::Result;
use crate::hour::Hour;
use crate::key::{Layout, data_prefix};
use crate::lifecycle::{HourRow, PartRow, PartStage};
use crate::load::{ObjectInfo, ObjectStore};
use crate::parts::{self, ReadPart};
use crate::state::{HashDir, Ledger};

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
    /// The ledger.
    pub ledger: &'a Ledger,
    /// The hash arrays.
    pub hashes: &'a HashDir,
    /// The store.
    pub store: &'a dyn ObjectStore,
    /// What all keys begin with.
    pub prefix: &'a str,
    /// How they are spelled.
    pub layout: &'a Layout,
    /// The compaction's inverse.
    pub compactor: &'a Compactor,
    /// The time zone of the hours.
    pub zone: &'a TimeZone,
    /// Whether to download and decode.
    pub deep: bool,
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
        self.ledger.for_each(&mut |row| {
            self.hour(row, &mut objects, &mut found)?;
            each(found.parts);
            Ok(())
        })?;
        // A part that was sealed meanwhile is no stranger.
        found.findings.extend(objects.into_iter().map(|(key, size)| self.stranger(key, size)));
        Ok(found)
    }

    /// An object that the ledger does not know. One with a part's name may be another machine's: it is taken over when its
    /// hour meets it, or when asked for.
    fn stranger(&self, key: String, size: u64) -> Finding {
        let part = self.layout.parse_key(self.prefix, &key);
        let whose = match part {
            Some(_) => ", with a part's name: if another machine put it there, `etl replay --from-s3` takes it over",
            None => "",
        };
        let detail = format!("{size} bytes that the ledger does not know{whose}");
        Finding { fault: Fault::Foreign, hour: part.map(|(hour, _)| hour), key, detail }
    }

    fn hour(&self, row: &HourRow, objects: &mut BTreeMap<String, u64>, found: &mut Verification) -> Result<()> {
        found.hours += u64::from(!row.parts.is_empty());
        for part in &row.parts {
            let listed = objects.remove(&part.key);
            if part.stage == PartStage::Sealing {
                continue;
            }
            found.parts += 1;
            found.rows += part.rows;
            found.bytes += part.bytes;
            if let Some((fault, detail)) = self.part(row, part, listed)? {
                found.findings.push(Finding { fault, hour: Some(row.hour), key: part.key.clone(), detail });
            }
        }
        Ok(())
    }

    fn part(&self, row: &HourRow, part: &PartRow, listed: Option<u64>) -> Result<Option<(Fault, String)>> {
        // A listing may lag; a look does not.
        let Some(object) = self.store.head(&part.key)? else {
            let also = if listed.is_some() { "the listing still has it, but " } else { "" };
            return Ok(Some((Fault::Missing, format!("{also}there is nothing where part {} should be", part.part))));
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
        let bytes = self.store.get(&part.key)?;
        let detail = match parts::read(&bytes, self.compactor, self.zone, row.hour) {
            Err(reason) => Some(reason.to_string()),
            Ok(read) => content_difference(part, &read).or(self.unknown_records(row, &read)?),
        };
        Ok(detail.map(|detail| (Fault::Changed, detail)))
    }

    fn unknown_records(&self, row: &HourRow, read: &ReadPart) -> Result<Option<String>> {
        let Some(named) = row.hashes else { return Ok(None) };
        let array = self.hashes.array(row.hour, named)?;
        let mut unknown = 0;
        for hash in &read.hashes {
            unknown += u64::from(!array.contains(*hash)?);
        }
        Ok((unknown > 0).then(|| format!("{unknown} records are not among the hour's hashes")))
    }
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
