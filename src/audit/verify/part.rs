//! One hour's parts against the store: first what a HEAD says, then their content where that is asked for or needed.

use super::Verifier;
use crate::audit::finding::{Fault, Finding, hint};
use crate::error::{ErrorKind, Result};
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartIdentity, PartRow};
use crate::hour::range::HashRange;
use crate::job::has_expired;
use crate::part::read::{ReadPart, read_part};
use crate::state::{HashArray, HashDir};
use crate::store::ObjectInfo;

/// What is wrong with a part's object.
struct Wrong {
    fault: Fault,
    detail: String,
    /// Whether only its content shows it.
    only_deep: bool,
}

impl Verifier<'_> {
    /// What is wrong with the parts of an hour, for a state of the records in `range`.
    pub(super) fn hour(&self, row: &HourRow, range: HashRange) -> Result<Vec<Finding>> {
        // Opened before the parts are looked at: an open array can be read even after a run has replaced it.
        let named = row.hashes.filter(|_| self.deep || !self.parts.store.keeps_metadata());
        let mut hashes = named.map(|named| HashDir::at(self.state).array(row.hour, named)).transpose()?;
        let mut findings = Vec::new();
        for part in row.uploaded() {
            // The array of a lane has its own records only.
            let hashes = hashes.as_mut().filter(|_| part.range.overlaps(range));
            if let Some(Wrong { fault, detail, only_deep }) = self.part(row, part, hashes)? {
                let (hint, key) = (hint(fault, row.hour), part.key.clone());
                findings.push(Finding { fault, hour: Some(row.hour), key, detail, hint, only_deep });
            }
        }
        Ok(findings)
    }

    fn part(&self, row: &HourRow, part: &PartRow, hashes: Option<&mut HashArray>) -> Result<Option<Wrong>> {
        let wrong = |fault, detail, only_deep| Ok(Some(Wrong { fault, detail, only_deep }));
        let Some(object) = self.parts.store.head(&part.key)? else {
            if self.expire_after.is_some_and(|(rule, now)| has_expired(Some(rule), part, now)) {
                return Ok(None);
            }
            return wrong(Fault::Missing, format!("there is nothing where part {} should be", part.part), false);
        };
        if let Some(difference) = difference(part, &object) {
            return wrong(Fault::Changed, difference, false);
        }
        // An equal tag proves nothing, but one that differs from the receipt's says that the object was written again.
        let is_as_written = part.etag.is_none() || object.etag == part.etag;
        let is_believed = object.meta.is_some() && is_as_written;
        if is_believed && !self.deep {
            return Ok(None);
        }
        // Without metadata only its content identifies an object.
        match self.content(row, part, &object, hashes)? {
            Some(detail) => wrong(Fault::Changed, detail, is_believed),
            None => Ok(None),
        }
    }

    /// How the content of a part differs from what is known of it.
    fn content(
        &self,
        row: &HourRow,
        part: &PartRow,
        object: &ObjectInfo,
        hashes: Option<&mut HashArray>,
    ) -> Result<Option<String>> {
        let compactor = match self.parts.dictionaries.for_part(object.meta.as_ref()) {
            Ok(compactor) => compactor,
            Err(error) if error.kind() == ErrorKind::Mismatch => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        let format = self.parts.layout.format_of(&part.key);
        let read = match read_part(format, &self.parts.store.get(&part.key)?, &compactor, self.parts.dating, row.hour) {
            Ok(read) => read,
            Err(reason) => return Ok(Some(reason.to_string())),
        };
        match records_difference(part, &read.identity).or_else(|| other_bytes(part, &read.identity)) {
            None => unknown_records(read, hashes),
            difference => Ok(difference),
        }
    }
}

fn unknown_records(read: ReadPart, hashes: Option<&mut HashArray>) -> Result<Option<String>> {
    let Some(array) = hashes else { return Ok(None) };
    let mut hashes = read.hashes;
    hashes.sort_unstable();
    let mut unknown = hashes.len();
    // Each block of the array is read once a part.
    array.find(&hashes, &mut |_| unknown = unknown.saturating_sub(1))?;
    Ok((unknown > 0).then(|| format!("{unknown} records are not among the hour's hashes")))
}

/// How an object differs from the ledger, as far as a HEAD tells.
fn difference(part: &PartRow, object: &ObjectInfo) -> Option<String> {
    let other_records = object.meta.as_ref().and_then(|meta| records_difference(part, &meta.identity));
    let other_size = || format!("it has {} bytes, the ledger {}", object.size, part.identity.bytes);
    let other_size = other_records.or_else(|| (object.size != part.identity.bytes).then(other_size));
    other_size.or_else(|| object.meta.as_ref().and_then(|meta| other_bytes(part, &meta.identity)))
}

/// A receipt has the digest of the object that it is for. Where it is another, the records may be the same all the same, and the statistics
/// and indexes by which engines find them not.
fn other_bytes(part: &PartRow, found: &PartIdentity) -> Option<String> {
    (found.sha256 != part.identity.sha256).then(|| "its bytes differ from the ledger's".to_owned())
}

fn records_difference(part: &PartRow, found: &PartIdentity) -> Option<String> {
    if found.content_sha256 != part.identity.content_sha256 {
        return Some("its content differs from the ledger's".to_owned());
    }
    let (found, ours) = (found.rows, part.identity.rows);
    (found != ours).then(|| format!("it has {found} records, the ledger {ours}"))
}
