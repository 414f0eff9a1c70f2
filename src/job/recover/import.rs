//! Import: an hour's parts read back from the store. The one primitive behind every recovery from there.
//!
//! Each part is downloaded, checked against what the ledger knows of it, restored and hashed; then, in one atomic step, the
//! ledger takes the parts over and names a hash array made from them. For hours whose hashes were forgotten or are damaged, and for
//! foreign objects that turn out to be parts of ours. A crash before that step leaves a stray array.

use jiff::Timestamp;

use super::expire::gone_for_good;
use super::others::{gone_by_rule, other};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::job::Run;
use crate::job::output::manifest::publish_for;
use crate::part::read::{ReadPart, read_part};
use crate::record::ContentHash;
use crate::state::files::sorted_runs::Sorted;
use crate::state::files::step::Step;
use crate::state::status::verified;
use crate::store::ObjectInfo;
use crate::store::expired::Marker;

/// Hashes of an hour that are put in order in memory.
const HASHES: usize = 1 << 20;

/// Imports the hour of `row`: its parts with receipts and the objects at the numbers `foreign`.
/// `false`: a foreign object is not a part of ours.
pub(crate) fn import(run: &mut Run<'_>, row: &HourRow, foreign: &[u32]) -> Result<bool> {
    import_bare(run, row, foreign, &[])
}

/// Imports as [`import`] does, and puts the missing manifests of the parts with the numbers `bare`: their writer died before it could.
/// Manifests go first, because a part that the ledger knows is not looked at again. A crash between the two leaves a part with its
/// manifest, which the next run imports.
pub(super) fn import_bare(run: &mut Run<'_>, row: &HourRow, foreign: &[u32], bare: &[u32]) -> Result<bool> {
    let now = run.now();
    let Some((parts, hashes)) = read_back(run, row, foreign, now)? else { return Ok(false) };
    let imported = HourRow { parts, ..row.clone() };
    publish_for(run, &imported, bare)?;
    let parts = imported.parts;
    run.summary.imported_parts += foreign.len() as u64;
    take_over(run, row, parts, hashes, now)?;
    Ok(true)
}

fn read_back(
    run: &Run<'_>,
    row: &HourRow,
    foreign: &[u32],
    now: Timestamp,
) -> Result<Option<(Vec<PartRow>, Sorted<ContentHash>)>> {
    let (mut parts, mut hashes) = (Vec::new(), run.state.hours.sorter(HASHES));
    let ours = run.setup.settings.range;
    for part in row.receipts() {
        check_stop(run, row.hour)?;
        if part.stage == PartStage::Expired || !part.range.overlaps(ours) {
            parts.push(part.clone());
            continue;
        }
        match read_from_store(run, &part.key, row.hour)? {
            Found::Part(read, ..) if read.identity.has_records_of(&part.identity) => {
                read.hashes.into_iter().try_for_each(|hash| hashes.push(hash))?;
                parts.push(part.clone());
            }
            Found::Part(..) | Found::Other => return Err(changed(&part.key, row.hour)),
            Found::Nothing => parts.push(gone_for_good(run, row.hour, part, now)?),
        }
    }
    for number in foreign {
        check_stop(run, row.hour)?;
        if let Some(marker) = given_up_by_another(run, row.hour, *number)? {
            parts.push(marker.into_row());
            continue;
        }
        let key = run.setup.layout.key(&run.setup.prefix, row.hour, *number);
        if let Some(other) = of_another_lane(run, row.hour, *number, &key)? {
            parts.push(other);
            continue;
        }
        match read_from_store(run, &key, row.hour)? {
            Found::Part(read, dict, range) => {
                parts.push(PartRow { range, ..imported(*number, key, dict, &read, now) });
                read.hashes.into_iter().try_for_each(|hash| hashes.push(hash))?;
            }
            Found::Other => return Ok(None),
            Found::Nothing if run.setup.is_lane() => parts.push(gone_by_rule(run, row.hour, *number)?),
            Found::Nothing => {
                let what = format!("hour {}: {key} is not there any more", row.hour);
                return Err(Error::new(ErrorKind::Mismatch, what).hint("run again"));
            }
        }
    }
    Ok(Some((parts, hashes.finish(|_| Ok(()))?)))
}

/// The part under `key`, if it cannot hold a record of this state: it is not read.
fn of_another_lane(run: &Run<'_>, hour: Hour, number: u32, key: &str) -> Result<Option<PartRow>> {
    let ours = run.setup.settings.range;
    if ours.is_all() {
        return Ok(None);
    }
    let is_other = |found: &ObjectInfo| found.meta.as_ref().is_some_and(|meta| !meta.range.overlaps(ours));
    let found = run.setup.store.head(key)?.filter(is_other);
    Ok(found.and_then(|found| other(run, hour, number, found)))
}

/// What says that a part that the ledger does not know was there, and is gone for good.
fn given_up_by_another(run: &Run<'_>, hour: Hour, part: u32) -> Result<Option<Marker>> {
    if !run.expired.contains(hour, part) {
        return Ok(None);
    }
    let key = run.setup.layout.expired_key(&run.setup.prefix, hour, part);
    Marker::read(&*run.setup.store, &key, hour, part)
}

fn check_stop(run: &Run<'_>, hour: Hour) -> Result<()> {
    if run.is_stopped() {
        return Err(Error::new(ErrorKind::Unavailable, format!("hour {hour} is not read back: the run was to stop")));
    }
    Ok(())
}

fn take_over(
    run: &mut Run<'_>,
    row: &HourRow,
    parts: Vec<PartRow>,
    hashes: Sorted<ContentHash>,
    at: Timestamp,
) -> Result<()> {
    let hashes = run.state.hours.write_array(row, &hashes)?;
    let sound: Vec<String> = parts.iter().map(|part| part.key.clone()).collect();
    let imported = Event::Imported { parts, hashes, at };
    run.state.hours.apply(Step::HourImported, vec![(row.hour, imported)])?;
    run.buckets.forget(row.hour);
    verified::note_mended(run.state.dir(), &|finding| sound.contains(&finding.key));
    Ok(())
}

/// What is under a part's key.
enum Found {
    Nothing,
    /// Not a part of ours for that hour.
    Other,
    /// A part, and what the store says of it: the id of its dictionaries, and its range.
    Part(ReadPart, String, HashRange),
}

fn read_from_store(run: &Run<'_>, key: &str, hour: Hour) -> Result<Found> {
    let store = &run.setup.store;
    // A store without metadata would read the whole object for a look that says nothing of the dictionaries.
    let meta = match store.keeps_metadata() {
        true => match store.head(key)? {
            Some(found) => found.meta,
            None => return Ok(Found::Nothing),
        },
        false => None,
    };
    let compactor = run.dictionaries.for_part(meta.as_ref()).map_err(|error| unreadable(key, hour, error))?;
    let object = match store.get(key) {
        Err(error) if error.kind() == ErrorKind::Mismatch && store.head(key)?.is_none() => return Ok(Found::Nothing),
        object => object?,
    };
    Ok(match read_part(run.setup.layout.format_of(key), &object, &compactor, &run.setup.decoder.schema.dating, hour) {
        Ok(read) => {
            let (dict, range) = meta.map(|meta| (meta.dict, meta.range)).unwrap_or_default();
            Found::Part(read, dict, range)
        }
        Err(_) => Found::Other,
    })
}

/// Reports a part that cannot be read without its dictionaries. A failure of the store stays what it is.
fn unreadable(key: &str, hour: Hour, error: Error) -> Error {
    if error.kind() != ErrorKind::Mismatch {
        return error;
    }
    let hint = error.next_step().unwrap_or_default().to_owned();
    Error::new(ErrorKind::Mismatch, format!("hour {hour}: {key} is not read")).caused_by(error).hint(hint)
}

fn imported(part: u32, key: String, dict: String, read: &ReadPart, at: Timestamp) -> PartRow {
    PartRow {
        part,
        stage: PartStage::Uploaded,
        key,
        identity: read.identity.clone(),
        dict,
        through: 0,
        first: read.first,
        last: read.last,
        frozen_at: at,
        uploaded_at: Some(at),
        etag: None,
        expired_at: None,
        range: HashRange::ALL,
        spooled_as: None,
    }
}

fn changed(key: &str, hour: Hour) -> Error {
    Error::new(ErrorKind::Mismatch, format!("hour {hour}: the object {key} is not what the ledger says"))
        .hint("look at it with `etl verify --deep`; bring its earlier version back, or move it away, then `etl repair`")
}
