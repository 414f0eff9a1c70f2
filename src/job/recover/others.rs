//! Parts of other lanes: what the store has of an hour beyond what the ledger knows.
//!
//! The parts of an hour are one chain of numbers for all lanes and for machines that work alone, and each says which hashes it may have.
//! Invariant: a part is sent under a number only when every part before it is known to the row: as one whose range does not overlap ours,
//! so that it cannot hold a record of ours, or with its hashes. The create-only PUT under the next number then compares and swaps.
//! Parts of other ranges are passed without being read. Each step is one of the ledger; a crash leaves the row before it or after it.

use std::collections::{BTreeMap, BTreeSet};

use super::Recover;
use super::import::import_bare;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::manifest_prefix;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::job::Run;
use crate::state::files::step::Step;
use crate::store::ObjectInfo;
use crate::store::manifests::Found;

/// What was found of an hour, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// All of it is known now.
    Known,
    /// Something that is no part of ours has a part's key.
    Foreign(u32),
}

/// What the store has of an hour from some number on.
struct Beyond {
    /// The parts of other lanes, up to the first that is not.
    others: Vec<PartRow>,
    /// All numbers that are taken, one after the other.
    numbers: Vec<u32>,
    /// Those of them that have no manifest.
    bare: Vec<u32>,
}

impl Recover {
    /// Makes all parts of an hour known that other lanes have put into the store. For a state that works alone its ledger says it all.
    pub(crate) fn meet_others(&mut self, run: &mut Run<'_>, hour: Hour) -> Result<Others> {
        let row = run.state.hours.row(hour)?;
        let known = u32::try_from(row.parts.len()).unwrap_or(u32::MAX);
        if let Some(others) = self.neighbours.beyond(hour, known, run.setup.settings.range) {
            return meet(run, &row, others).map(|()| Others::Known);
        }
        let Beyond { others, numbers, bare } = look_beyond(run, hour, known)?;
        if numbers.is_empty() {
            return Ok(Others::Known);
        }
        if others.len() < numbers.len() {
            return take_over(run, &row, &numbers, &bare);
        }
        meet(run, &row, others).map(|()| Others::Known)
    }

    /// Something is where a part was to go, from the number of that part on: parts that cannot hold our records are passed, others are
    /// taken over, and our parts thawed.
    pub(crate) fn pass_others(&mut self, run: &mut Run<'_>, row: &HourRow, taken: &PartRow) -> Result<Others> {
        let Beyond { others, numbers, bare } = look_beyond(run, row.hour, taken.part)?;
        if numbers.is_empty() {
            let what = format!("hour {}: {} is taken, and a look finds nothing", row.hour, taken.key);
            return Err(Error::new(ErrorKind::Unavailable, what).hint("run again later: nothing is lost"));
        }
        if others.len() < numbers.len() {
            let taken_over = take_over(run, row, &numbers, &bare)?;
            self.note_thawed(row.hour);
            return Ok(taken_over);
        }
        let waiting = row.parts.iter().filter(|part| part.stage == PartStage::Sealing);
        let passed = u32::try_from(others.len()).unwrap_or(u32::MAX);
        let key = |part: &PartRow| run.setup.layout.key(&run.setup.prefix, row.hour, part.part.saturating_add(passed));
        let keys = waiting.map(key).collect();
        tracing::debug!("hour {}: {} parts of other lanes came before {}", row.hour, others.len(), taken.key);
        run.state.hours.apply(Step::PartsRenumbered, vec![(row.hour, Event::Renumbered { others, keys })])?;
        Ok(Others::Known)
    }
}

/// Notes parts that cannot hold a record of ours.
fn meet(run: &mut Run<'_>, row: &HourRow, others: Vec<PartRow>) -> Result<()> {
    if others.is_empty() {
        return Ok(());
    }
    let none = run.state.hours.sorter(1).finish(|_| Ok(()))?;
    let hashes = row.hashes.is_none().then(|| run.state.hours.write_array(row, &none)).transpose()?;
    run.state.hours.apply(Step::HourImported, vec![(row.hour, Event::Met { others, hashes })])
}

/// Reads parts back among which there is one that may hold our records.
fn take_over(run: &mut Run<'_>, row: &HourRow, numbers: &[u32], bare: &[u32]) -> Result<Others> {
    match import_bare(run, row, numbers, bare)? {
        true => Ok(Others::Known),
        false => Ok(Others::Foreign(numbers.first().copied().unwrap_or_default())),
    }
}

/// Looks what the store has of an hour from the number `first` on.
///
/// # Errors
/// `Mismatch`: a number is missing between others. Else, the store did not answer.
fn look_beyond(run: &mut Run<'_>, hour: Hour, first: u32) -> Result<Beyond> {
    let setup = run.setup;
    let (layout, prefix, store) = (&setup.layout, &setup.prefix, &*setup.store);
    let mut there: BTreeMap<u32, Option<ObjectInfo>> = BTreeMap::new();
    let (mut gone, mut manifested) = (BTreeMap::<u32, PartRow>::new(), BTreeSet::new());
    store.list(&layout.hour_prefix(prefix, hour), &mut |key, _| {
        let part = layout.parse_key(prefix, key).filter(|(of, part)| *of == hour && *part >= first);
        there.extend(part.map(|(_, part)| (part, None)));
        Ok(())
    })?;
    // What had a part is taken for ever, whether the part is still there or not.
    let folder = format!("{}{}/", manifest_prefix(prefix), layout.folders(hour));
    store.list(&folder, &mut |key, _| {
        let part = layout.parse_manifest_key(prefix, key).filter(|(of, part)| *of == hour && *part >= first);
        manifested.extend(part.map(|(_, part)| part));
        Ok(())
    })?;
    there.extend(manifested.iter().map(|part| (*part, None)));
    run.expired.look(store, prefix, layout, [hour])?;
    let given_up = run.expired.iter().filter(|(of, part)| *of == hour && *part >= first);
    there.extend(given_up.map(|(_, part)| (part, None)));
    // A listing of many may miss what came while it was read.
    let last = there.keys().next_back().copied();
    for part in last.map(|last| first..=last).into_iter().flatten() {
        let found = store.head(&layout.key(prefix, hour, part))?;
        let is_known = there.contains_key(&part);
        if found.is_none() && !is_known {
            let what = format!("hour {hour}: the store has parts behind number {part}, but not that one");
            return Err(Error::new(ErrorKind::Mismatch, what).hint("bring it back, or move the ones behind it away"));
        }
        if found.is_none() && !run.expired.contains(hour, part) {
            gone.insert(part, gone_by_rule(run, hour, part)?);
        }
        there.insert(part, found);
    }
    let numbers: Vec<u32> = there.keys().copied().collect();
    let bare = numbers.iter().copied().filter(|part| !manifested.contains(part)).collect();
    let ours = setup.settings.range;
    let is_other = |found: &ObjectInfo| found.meta.as_ref().is_some_and(|meta| !meta.range.overlaps(ours));
    let others = there.into_iter().map_while(|(part, found)| {
        let found = found.filter(|found| is_other(found) && !run.expired.contains(hour, part));
        let gone = || gone.remove(&part).filter(|row| !row.range.overlaps(ours));
        found.map_or_else(gone, |found| other(run, hour, part, found))
    });
    let others = others.collect();
    Ok(Beyond { others, numbers, bare })
}

/// The row of a part that is not there, although its manifest is: the lifecycle rule has deleted it.
///
/// # Errors
/// `Mismatch`: no rule has. Else, the store did not answer.
pub(super) fn gone_by_rule(run: &Run<'_>, hour: Hour, part: u32) -> Result<PartRow> {
    let setup = run.setup;
    let key = setup.layout.manifest_key(&setup.prefix, hour, part);
    let missing = || {
        let what = format!("hour {hour}: part {part} has a manifest, and is not there");
        Error::new(ErrorKind::Mismatch, what)
            .hint("bring it back; where a lifecycle rule deletes parts, load.expire_after says so")
    };
    let Found::Manifest(manifest) = Found::read(&*setup.store, &key)? else { return Err(missing()) };
    let row = PartRow {
        part,
        stage: PartStage::Expired,
        key: manifest.key,
        identity: manifest.identity,
        dict: String::new(),
        through: 0,
        first: manifest.first,
        last: manifest.last,
        frozen_at: manifest.sealed_at,
        uploaded_at: None,
        etag: None,
        expired_at: Some(run.now()),
        range: manifest.range,
        spooled_as: None,
    };
    if setup.has_expired(&row, run.now()) { Ok(row) } else { Err(missing()) }
}

/// The row of a part of another lane, from what a look says of it.
pub(super) fn other(run: &Run<'_>, hour: Hour, part: u32, found: ObjectInfo) -> Option<PartRow> {
    let (at, meta) = (run.now(), found.meta?);
    Some(PartRow {
        part,
        stage: PartStage::Uploaded,
        key: run.setup.layout.key(&run.setup.prefix, hour, part),
        identity: meta.identity,
        dict: meta.dict,
        through: 0,
        first: at,
        last: at,
        frozen_at: at,
        uploaded_at: Some(at),
        etag: found.etag,
        expired_at: None,
        range: meta.range,
        spooled_as: None,
    })
}
