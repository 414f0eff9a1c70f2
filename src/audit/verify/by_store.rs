//! `etl verify` for a cluster: the store against itself, because no ledger knows all parts.
//!
//! Each part says what it is in its metadata, and its writer in its manifest: both have to say the same. The parts of an hour are one chain
//! of numbers, whoever wrote them. With `deep` each part is downloaded and decoded: it has to hold what it says, records of its hour and
//! of its range, and none that another part of the hour has.
//!
//! It takes no lock. Manifests are listed before parts, because a part is older than its manifest: of one that is listed, the part has to be
//! there. A part without a manifest is not reported as damage: its writer is about to put it, or died before it could.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::stranger;
use crate::audit::StoredParts;
use crate::audit::finding::{Fault, Finding, Verification};
use crate::audit::restore::Seen;
use crate::error::{ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::{dictionaries_key, manifest_prefix};
use crate::part::read::read_part;
use crate::process::parallel::parallel_map;
use crate::store::dictionaries::Stored;
use crate::store::expired::ExpiredParts;
use crate::store::manifests::{Found, StoredManifest};
use crate::store::{ObjectInfo, PartMeta};
use crate::view::table::plural;

/// Parts that are looked at at once.
const AT_ONCE: usize = 8;
/// Parts whose answers are kept at a time.
const ROUND: usize = 64;

/// Compares the parts in a store with what is said of them there.
pub(crate) struct StoreVerifier<'a> {
    /// The parts.
    pub(crate) parts: StoredParts<'a>,
    /// Whether to download and decode.
    pub(crate) deep: bool,
    /// The age at which the store itself deletes parts, and the time now. `None`: it deletes none.
    pub(crate) expire_after: Option<(SignedDuration, Timestamp)>,
}

type Numbers = BTreeMap<Hour, BTreeSet<u32>>;

/// What the store has.
#[derive(Default)]
struct There {
    parts: Numbers,
    manifests: Numbers,
    expired: ExpiredParts,
    /// What is below `data/` and has no name of a part.
    strangers: Vec<(String, u64)>,
}

/// What a look at a part found.
struct Looked {
    hour: Hour,
    part: u32,
    object: Option<ObjectInfo>,
    manifest: Found,
}

impl StoreVerifier<'_> {
    /// Looks at every part.
    ///
    /// # Errors
    /// The store could not be read.
    pub(crate) fn verify(&self, each: &mut dyn FnMut(u64)) -> Result<Verification> {
        let there = self.list()?;
        let mut found = Verification { by_manifests: true, ..Verification::new(self.deep) };
        found.hours = there.parts.len() as u64;
        found.expired = there.expired.iter().count() as u64;
        found.findings.extend(there.strangers.iter().map(|(key, size)| foreign(key, *size)));
        self.look_for_missing(&there, &mut found)?;
        let all: Vec<(Hour, u32)> =
            there.parts.iter().flat_map(|(hour, parts)| parts.iter().map(|part| (*hour, *part))).collect();
        let (mut dictionaries, mut seen) = (BTreeMap::<String, u64>::new(), None);
        for round in all.chunks(ROUND) {
            for looked in parallel_map(round, AT_ONCE, |(hour, part)| self.look(*hour, *part)) {
                let looked = looked?;
                let mut hour = seen.take().filter(|(hour, _)| *hour == looked.hour);
                let (_, records) = hour.get_or_insert_with(|| (looked.hour, Seen::new()));
                self.judge(&looked, records, &mut found, &mut dictionaries)?;
                seen = hour;
                each(found.parts);
            }
        }
        found.objects = found.parts + dictionaries.len() as u64 + there.strangers.len() as u64;
        for (id, parts) in dictionaries {
            found.findings.extend(self.dictionaries(&id, parts)?);
        }
        found.findings.sort_by(|a, b| (a.hour, &a.key).cmp(&(b.hour, &b.key)));
        Ok(found)
    }

    fn list(&self) -> Result<There> {
        let StoredParts { store, prefix, layout, .. } = self.parts;
        let mut there = There::default();
        store.list(&manifest_prefix(prefix), &mut |key, _| {
            if let Some((hour, part)) = layout.parse_manifest_key(prefix, key) {
                there.manifests.entry(hour).or_default().insert(part);
            }
            Ok(())
        })?;
        store.list(&layout.data_prefix(prefix), &mut |key, size| {
            match layout.parse_key(prefix, key) {
                Some((hour, part)) => {
                    there.parts.entry(hour).or_default().insert(part);
                }
                None => there.strangers.push((key.to_owned(), size)),
            }
            Ok(())
        })?;
        there.expired.look_for_all(store, prefix, layout)?;
        Ok(there)
    }

    /// Numbers before others, and manifests, that have no part.
    fn look_for_missing(&self, there: &There, found: &mut Verification) -> Result<()> {
        let hours: BTreeSet<Hour> = there.parts.keys().chain(there.manifests.keys()).copied().collect();
        for hour in hours {
            let none = BTreeSet::new();
            let parts = there.parts.get(&hour).unwrap_or(&none);
            let manifests = there.manifests.get(&hour).unwrap_or(&none);
            let last = parts.last().copied().unwrap_or(0);
            let wanted: BTreeSet<u32> = (0..last).chain(manifests.iter().copied()).collect();
            for part in wanted.difference(parts).filter(|part| !there.expired.contains(hour, **part)) {
                match self.missing(hour, *part, manifests.contains(part))? {
                    Some(finding) => found.findings.push(finding),
                    None => found.expired += 1,
                }
            }
        }
        Ok(())
    }

    /// `None`: a lifecycle rule may have deleted it.
    fn missing(&self, hour: Hour, part: u32, has_manifest: bool) -> Result<Option<Finding>> {
        let StoredParts { store, prefix, layout, .. } = self.parts;
        let manifest = match has_manifest {
            true => Found::read(store, &layout.manifest_key(prefix, hour, part))?,
            false => Found::Nothing,
        };
        let is_lapsed = |(rule, now): (SignedDuration, Timestamp)| match &manifest {
            Found::Manifest(manifest) => now.duration_since(manifest.sealed_at) >= rule,
            _ => false,
        };
        if self.expire_after.is_some_and(is_lapsed) {
            return Ok(None);
        }
        let detail = match has_manifest {
            true => format!("there is nothing where part {part} should be, of which its manifest speaks"),
            false => format!("there is no part {part}, and there are parts after it"),
        };
        let hint = "bring its earlier version back, where the bucket keeps versions; what Kafka still has of it comes again by itself";
        Ok(Some(finding(Fault::Missing, hour, layout.key(prefix, hour, part), detail, hint)))
    }

    fn look(&self, hour: Hour, part: u32) -> Result<Looked> {
        let StoredParts { store, prefix, layout, .. } = self.parts;
        let object = store.head(&layout.key(prefix, hour, part))?;
        let manifest = Found::read(store, &layout.manifest_key(prefix, hour, part))?;
        Ok(Looked { hour, part, object, manifest })
    }

    fn judge(
        &self,
        looked: &Looked,
        seen: &mut Seen,
        found: &mut Verification,
        dictionaries: &mut BTreeMap<String, u64>,
    ) -> Result<()> {
        let Looked { hour, part, object, manifest } = looked;
        let key = self.parts.key(*hour, *part);
        // Deleted between the listing and this look: what is missing is said by the next one.
        let Some(object) = object else { return Ok(()) };
        found.parts += 1;
        found.bytes += object.size;
        let hint = "look at it, and bring its earlier version back, where the bucket keeps versions";
        let Some(meta) = &object.meta else {
            let detail = "it lacks the metadata of a part".to_owned();
            found.findings.push(finding(Fault::Changed, *hour, key, detail, hint));
            return Ok(());
        };
        found.rows += meta.identity.rows;
        *dictionaries.entry(meta.dict.clone()).or_default() += 1;
        if matches!(manifest, Found::Nothing) && !meta.range.is_all() {
            found.without_manifest += 1;
        }
        if let Some(detail) = difference(*hour, *part, &key, object, meta, manifest) {
            found.findings.push(finding(Fault::Changed, *hour, key, detail, hint));
            return Ok(());
        }
        if self.deep
            && let Some(detail) = self.content(*hour, &key, meta, seen)?
        {
            let deep = Finding { only_deep: true, ..finding(Fault::Changed, *hour, key, detail, hint) };
            found.findings.push(deep);
        }
        Ok(())
    }

    /// How the content of a part differs from what it says of itself.
    fn content(&self, hour: Hour, key: &str, meta: &PartMeta, seen: &mut Seen) -> Result<Option<String>> {
        let StoredParts { store, layout, dictionaries, dating, .. } = self.parts;
        let compactor = match dictionaries.for_part(Some(meta)) {
            Ok(compactor) => compactor,
            Err(error) if error.kind() == ErrorKind::Mismatch => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        };
        let read = match read_part(layout.format_of(key), &store.get(key)?, &compactor, dating, hour) {
            Ok(read) => read,
            Err(reason) => return Ok(Some(reason.to_string())),
        };
        if read.identity != meta.identity {
            return Ok(Some("its content is another than its metadata says".to_owned()));
        }
        if !read.is_in_order {
            return Ok(Some("its records are not in the order of a part".to_owned()));
        }
        let strays = read.hashes.iter().filter(|hash| !meta.range.contains(hash.0)).count() as u64;
        if strays > 0 {
            return Ok(Some(format!("{} outside of its range", plural(strays, "record lies", "records lie"))));
        }
        if seen.has_any(&read)? {
            return Ok(Some("it has records of an earlier part of the hour".to_owned()));
        }
        seen.add(read);
        Ok(None)
    }

    /// What is wrong with the dictionaries `id`, which `parts` parts name. `None`: they are sound.
    fn dictionaries(&self, id: &str, parts: u64) -> Result<Option<Finding>> {
        if id.is_empty() {
            return Ok(None);
        }
        let parts = plural(parts, "part", "parts");
        let (fault, detail) = match self.parts.dictionaries.stored(id)? {
            Stored::Sound(_) => return Ok(None),
            Stored::Missing if self.parts.dictionaries.known_without_the_store(id).is_some() => return Ok(None),
            Stored::Missing => {
                (Fault::Missing, format!("there is nothing where the dictionaries of {parts} should be"))
            }
            Stored::Damaged => (Fault::Changed, format!("it is not the dictionaries of {parts}, as its name says")),
        };
        let hint =
            "bring its earlier version back; a machine whose [compact] still has them stores them again".to_owned();
        let key = dictionaries_key(self.parts.prefix, id);
        Ok(Some(Finding { fault, hour: None, key, detail, hint, only_deep: false }))
    }
}

/// How what a part says of itself differs from its key, and from what its manifest says.
fn difference(
    hour: Hour,
    part: u32,
    key: &str,
    object: &ObjectInfo,
    meta: &PartMeta,
    manifest: &Found,
) -> Option<String> {
    if meta.hour != hour.to_string() && !meta.hour.is_empty() {
        return Some(format!("it was made as a part of hour {}", meta.hour));
    }
    if object.size != meta.identity.bytes {
        return Some(format!("it has {} bytes, its metadata says {}", object.size, meta.identity.bytes));
    }
    let manifest: &StoredManifest = match manifest {
        Found::Nothing => return None,
        Found::Unreadable => return Some("its manifest is none".to_owned()),
        Found::Manifest(manifest) => manifest,
    };
    if (manifest.hour, manifest.part, manifest.key.as_str()) != (hour, part, key) {
        return Some(format!("its manifest is that of {}", manifest.key));
    }
    if !manifest.identity.has_records_of(&meta.identity) {
        return Some(format!(
            "it has {} records, and not those of its manifest: {}",
            meta.identity.rows, manifest.identity.rows
        ));
    }
    if manifest.range != meta.range {
        return Some(format!("its range is {}, its manifest says {}", meta.range, manifest.range));
    }
    (manifest.identity != meta.identity).then(|| "its bytes differ from those that its manifest names".to_owned())
}

fn finding(fault: Fault, hour: Hour, key: String, detail: String, hint: &str) -> Finding {
    Finding { fault, hour: Some(hour), key, detail, hint: hint.to_owned(), only_deep: false }
}

fn foreign(key: &str, size: u64) -> Finding {
    let detail = format!("{size} bytes that are no part{}", stranger(key));
    let hint = "move it away: tables read everything there, and nothing but parts belongs there".to_owned();
    Finding { fault: Fault::Foreign, hour: None, key: key.to_owned(), detail, hint, only_deep: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hour::part::PartIdentity;
    use crate::hour::range::HashRange;

    fn identity(rows: u64) -> PartIdentity {
        PartIdentity { rows, bytes: 9, sha256: format!("s{rows}"), content_sha256: format!("c{rows}") }
    }

    #[test]
    fn part_and_manifest_have_to_say_the_same() {
        let hour: Hour = "2023-03-10T01".parse().unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let range = HashRange::of_lane(0, 2);
        let meta = PartMeta { identity: identity(3), hour: hour.to_string(), dict: String::new(), range };
        let object = ObjectInfo { size: 9, etag: None, meta: Some(meta.clone()) };
        let manifest = StoredManifest {
            hour,
            part: 1,
            key: "k".into(),
            identity: identity(3),
            first: at,
            last: at,
            sealed_at: at,
            range,
        };
        let said = |manifest: StoredManifest, meta: &PartMeta, size: u64| {
            let object = ObjectInfo { size, ..object.clone() };
            difference(hour, 1, "k", &object, meta, &Found::Manifest(Box::new(manifest)))
        };
        assert_eq!(said(manifest.clone(), &meta, 9), None);
        assert_eq!(difference(hour, 1, "k", &object, &meta, &Found::Nothing), None);
        for (what, wrong) in [
            ("none", difference(hour, 1, "k", &object, &meta, &Found::Unreadable)),
            ("bytes", said(manifest.clone(), &meta, 8)),
            ("another hour", said(manifest.clone(), &PartMeta { hour: "2023-03-10T02".into(), ..meta.clone() }, 9)),
            ("another part", said(StoredManifest { part: 2, ..manifest.clone() }, &meta, 9)),
            ("records", said(StoredManifest { identity: identity(4), ..manifest.clone() }, &meta, 9)),
            ("range", said(StoredManifest { range: HashRange::ALL, ..manifest.clone() }, &meta, 9)),
            (
                "digest",
                said(
                    StoredManifest { identity: PartIdentity { sha256: "x".into(), ..identity(3) }, ..manifest },
                    &meta,
                    9,
                ),
            ),
        ] {
            assert!(wrong.is_some(), "{what}");
        }
    }
}
