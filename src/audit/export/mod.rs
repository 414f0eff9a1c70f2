//! A lake as another one: each part below another prefix, in another format, with the same number and the same lines.
//!
//! Reads one store and creates objects in another; keeps nothing on this machine. A part is believed as [`super::restore`] believes it,
//! and its new object must have the same content digest. Beside the parts go the settings, the dictionaries, the markers of parts that
//! are gone for good, and the manifests, which name the new objects; digests stay behind, for they vouch for the old ones.
//!
//! Invariant: in the destination nothing is replaced, and what is there under a part's key is that part, or named. A crash leaves
//! whole objects there; the next export finds them by a look and makes the rest. One bad part costs only itself.

mod manifest;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use self::target::Numbered;
pub(crate) use self::target::{Below, Target};
use super::restore::{Hours, Range, Restorer, Seen};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::{Layout, manifest_prefix};
use crate::process::parallel::parallel_map;
use crate::stop::Stop;
use crate::store::expired::Marker;
use crate::store::settings::StoredSettings;
use crate::store::{ObjectStore, PartMeta};

/// Hours whose results are collected at once.
const AT_ONCE: usize = 256;

/// What an export did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Exported {
    pub(crate) schema: u32,
    /// Hours that were asked for and are there.
    pub(crate) hours: u64,
    /// Parts that were made.
    pub(crate) parts: u64,
    pub(crate) records: u64,
    /// Bytes of their objects, there and here.
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    /// Parts that were in the destination already.
    pub(crate) already: u64,
    /// Parts that are gone for good, and are said to be in the destination too.
    pub(crate) expired: u64,
    /// Parts that are not in the destination, and why.
    pub(crate) left: Vec<Left>,
    #[serde(skip)]
    pub(crate) problems: Vec<Error>,
}

/// A part that was left out.
#[derive(Debug, Serialize)]
pub(crate) struct Left {
    pub(crate) hour: Hour,
    pub(crate) part: u32,
    pub(crate) reason: String,
}

/// Makes the parts of one lake in another.
pub(crate) struct Exporter<'a> {
    pub(crate) source: Restorer<'a>,
    pub(crate) target: Target<'a>,
    /// Hours that are worked on at once.
    pub(crate) threads: usize,
    pub(crate) stop: &'a Stop,
    /// Held by whoever works on a large hour: an object, its new form and the hashes of the hour are in memory.
    pub(crate) large: Mutex<()>,
}

/// What there is in both places.
struct Plan {
    hours: Vec<(Hour, BTreeSet<u32>)>,
    expired: BTreeMap<Hour, BTreeSet<u32>>,
    large: BTreeSet<Hour>,
    /// In the source.
    manifests: Numbered,
}

impl Exporter<'_> {
    /// Exports the hours in `range`; `begins` is told how many they are, `each` when one is done.
    ///
    /// # Errors
    /// A store could not be read or written, or the destination has parts of another kind: the export ended there.
    pub(crate) fn export(&self, range: Range, begins: &dyn Fn(u64), each: &(dyn Fn() + Sync)) -> Result<Exported> {
        let plan = self.plan(range)?;
        let mut done = Exported { schema: 1, hours: plan.hours.len() as u64, ..Exported::default() };
        if plan.hours.iter().any(|(hour, parts)| parts.iter().any(|part| !self.target.has(*hour, *part))) {
            self.target.prepare()?;
        }
        begins(done.hours);
        self.markers(&plan, &mut done)?;
        for some in plan.hours.chunks(AT_ONCE) {
            let made = parallel_map(some, self.threads, |(hour, parts)| {
                let made = self.hour(*hour, parts, &plan);
                each();
                made
            });
            for one in made {
                done.add(one?);
            }
        }
        Ok(done)
    }

    fn plan(&self, range: Range) -> Result<Plan> {
        let Hours { parts, expired, large } = self.source.hours(range)?;
        let source = &self.source.parts;
        let manifests = manifests(source.store, source.prefix, source.layout)?;
        Ok(Plan { hours: parts.into_iter().collect(), expired, large, manifests })
    }

    /// Says in the destination which parts are gone for good, under the keys that they would have there.
    fn markers(&self, plan: &Plan, done: &mut Exported) -> Result<()> {
        let source = &self.source.parts;
        for (hour, parts) in &plan.expired {
            for part in parts.iter().filter(|_| !self.stop.is_requested()) {
                let key = source.layout.expired_key(source.prefix, *hour, *part);
                match Marker::read(source.store, &key, *hour, *part)? {
                    Some(marker) => self.target.marker(*hour, marker)?,
                    None => done.leave(*hour, *part, not_said_to_be_gone(*hour, &key)),
                }
                done.expired += 1;
            }
        }
        Ok(())
    }

    fn hour(&self, hour: Hour, parts: &BTreeSet<u32>, plan: &Plan) -> Result<Exported> {
        let _alone = plan.large.contains(&hour).then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut done, mut seen) = (Exported::default(), Seen::new());
        for part in parts.iter().filter(|_| !self.stop.is_requested()) {
            let there = self.part(hour, *part, &mut seen, &mut done);
            match there.and_then(|there| self.manifest(hour, *part, plan, &there)) {
                Ok(()) => {}
                // What fails after a signal fails because of it.
                Err(_) if self.stop.is_requested() => {}
                Err(error) if error.kind() == ErrorKind::Mismatch || error.concerns_one_object() => {
                    done.leave(hour, *part, error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Makes a part, unless it is there. Gives what is there now.
    fn part(&self, hour: Hour, part: u32, seen: &mut Seen, done: &mut Exported) -> Result<PartMeta> {
        if self.target.has(hour, part) {
            let there = self.same(hour, part)?;
            done.already += 1;
            return Ok(there);
        }
        let sound = self.source.object(hour, part, seen)?.map_err(|refused| refused.hint(HINT))?;
        let there = self.target.put(hour, part, &sound)?;
        done.parts += 1;
        done.records += sound.identity.rows;
        done.read_bytes += sound.identity.bytes;
        done.written_bytes += there.identity.bytes;
        Ok(there)
    }

    /// What is in the destination, if it has the records of the source's part.
    fn same(&self, hour: Hour, part: u32) -> Result<PartMeta> {
        let key = self.source.parts.key(hour, part);
        let of_source = self.source.parts.store.head(&key)?.and_then(|found| found.meta);
        let of_source = of_source.ok_or_else(|| {
            Error::new(ErrorKind::Mismatch, format!("hour {hour}: {key} is not there, or lacks the metadata of a part"))
                .hint("the destination has it; `etl verify --deep` says what to do about this one")
        })?;
        let there = self.target.look(hour, part)?;
        there
            .filter(|there| there.identity.has_records_of(&of_source.identity))
            .ok_or_else(|| self.target.foreign(hour, part))
    }

    /// Makes the part's manifest, if it has one, which names the object that is there now. One that is not of the part stays behind.
    fn manifest(&self, hour: Hour, part: u32, plan: &Plan, there: &PartMeta) -> Result<()> {
        if !plan.manifests.contains(&(hour, part)) || self.target.has_manifest(hour, part) {
            return Ok(());
        }
        let source = &self.source.parts;
        let key = source.layout.manifest_key(source.prefix, hour, part);
        if !self.target.manifest(hour, part, &source.store.get(&key)?, there)? {
            tracing::warn!("{key} is not the manifest of its part, and is left out");
        }
        Ok(())
    }
}

impl Exported {
    fn leave(&mut self, hour: Hour, part: u32, error: Error) {
        self.left.push(Left { hour, part, reason: error.chain() });
        self.problems.push(error);
    }

    fn add(&mut self, mut other: Self) {
        self.parts += other.parts;
        self.records += other.records;
        self.read_bytes += other.read_bytes;
        self.written_bytes += other.written_bytes;
        self.already += other.already;
        self.left.append(&mut other.left);
        self.problems.append(&mut other.problems);
    }
}

/// The parts that have a manifest.
fn manifests(store: &dyn ObjectStore, prefix: &str, layout: &Layout) -> Result<Numbered> {
    let mut manifests = Numbered::new();
    store.list(&manifest_prefix(prefix), &mut |key, _| {
        manifests.extend(layout.parse_manifest_key(prefix, key));
        Ok(())
    })?;
    Ok(manifests)
}

/// What to do about a part that is not believed.
const HINT: &str =
    "the other parts are exported; `etl verify --deep` says what to do about this one, then export again";

fn not_said_to_be_gone(hour: Hour, key: &str) -> Error {
    let what = format!("hour {hour}: only the ledger says that a part is gone for good; {key} does not");
    Error::new(ErrorKind::Mismatch, what).hint("`etl repair --accept-loss` puts it there, then export again")
}

/// Checks that the parts of the source are made under the settings `ours`.
///
/// # Errors
/// `Config`, naming both values.
pub(crate) fn check_source(store: &dyn ObjectStore, prefix: &str, ours: &StoredSettings) -> Result<()> {
    let Some(stored) = StoredSettings::read(store, prefix)? else { return Ok(()) };
    match ours.difference(&stored) {
        Some((name, ours, theirs)) => {
            let what = format!("{name} is {ours}, and the parts in {} are made with {theirs}", store.place());
            Err(Error::new(ErrorKind::Config, what).hint("export with the configuration that they were made with"))
        }
        None => Ok(()),
    }
}
