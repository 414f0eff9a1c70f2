//! The settings that move records, said in the store: whoever writes there under others is stopped before its first part.
//!
//! Owns `<prefix>settings.json`, which is created before the first part of a destination and never changed. A state that has no
//! receipt there reads it first, and where there is none, the first part that it finds, as far as that tells. A state with receipts
//! only creates it. A failed look says nothing: no part is sent then. Only a state with receipts, whose parts are there already,
//! sends them without the right to look. Where the object alone is refused, it is offered again in the next run. A crash in between
//! leaves the object, or nothing; the next run looks again.

use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::settings_key;
use crate::job::Run;
use crate::job::output::document::create_document;
use crate::part::read::{NotAPart, read_part};
use crate::state::way_out;
use crate::store::once::Outcome;
use crate::store::settings::{StoredSettings, first_part};

/// Makes sure that the store says under which settings its parts are made, and that they are these. `false`: no part may be sent, and
/// the reason is recorded.
pub(crate) fn ensure_settings(run: &mut Run<'_>) -> Result<bool> {
    if run.state.hours.has_stored_settings() || run.settings_are_refused {
        return Ok(true);
    }
    let is_there = match check(run) {
        // Without the right to look, creating it tells whether the place is taken.
        Err(error) if error.kind() == ErrorKind::Credentials && has_receipts(run) => {
            tracing::warn!("the settings in the store are not looked at: {}", error.chain());
            false
        }
        Err(error) => return run.record_store_failure(error).map(|()| false),
        Ok(is_there) => is_there,
    };
    match if is_there { Ok(()) } else { create(run) } {
        Ok(()) => {
            run.state.hours.note_stored_settings();
            Ok(true)
        }
        Err(error) => {
            // The parts fit there, as was seen: that this object alone is refused keeps none of them from the store.
            run.settings_are_refused = error.concerns_one_object() && error.kind() != ErrorKind::Mismatch;
            run.record_store_failure(error)?;
            Ok(run.settings_are_refused)
        }
    }
}

/// Whether the object is there, and says what the configuration says.
///
/// # Errors
/// `Config`, naming both values: the parts there are made under another setting.
pub(crate) fn check(run: &Run<'_>) -> Result<bool> {
    if let Some(stored) = StoredSettings::read(&*run.setup.store, &run.setup.prefix)? {
        return compare(run, &stored).map(|()| true);
    }
    if !has_receipts(run) {
        judge_by_a_part(run)?;
    }
    Ok(false)
}

const fn has_receipts(run: &Run<'_>) -> bool {
    run.state.hours.uploaded_parts() > 0
}

fn ours(run: &Run<'_>) -> StoredSettings {
    let settings = &run.setup.settings;
    StoredSettings::new(&settings.timezone, &run.setup.layout).of_records(&settings.record, &settings.codecs)
}

/// A state that has parts there already goes on with its own settings.
fn compare(run: &Run<'_>, stored: &StoredSettings) -> Result<()> {
    let Some((name, ours, theirs)) = ours(run).difference(stored) else { return Ok(()) };
    let error = differs(run, &name, &ours, &theirs);
    if !has_receipts(run) {
        return Err(error);
    }
    tracing::warn!("{}: another state wrote that there", error.chain());
    Ok(())
}

fn differs(run: &Run<'_>, name: &str, ours: &str, theirs: &str) -> Error {
    let what = format!("{name} is {ours}, and the parts in {} are made with {theirs}", run.setup.store.place());
    Error::new(ErrorKind::Config, what).hint(way_out(name))
}

/// Looks at the first part that is there: its key tells the format and the layout, its records the time zone.
fn judge_by_a_part(run: &Run<'_>) -> Result<()> {
    let setup = run.setup;
    let Some((key, format)) = first_part(&*setup.store, &setup.prefix)? else { return Ok(()) };
    let ours = setup.layout.format();
    if !ours.has_names_of(format) {
        let (name, ours, theirs) = match ours.encoding == format.encoding {
            true => ("load.compression", ours.compression.name(), format.compression.name()),
            false => ("load.format", ours.encoding.name(), format.encoding.name()),
        };
        return Err(differs(run, name, &format!("{ours:?}"), &format!("{theirs:?}")));
    }
    let Some((hour, _)) = setup.layout.parse_key(&setup.prefix, &key) else {
        let what = format!(
            "load.layout is {:?}, and {} has parts under another one: {key}",
            setup.settings.layout,
            setup.store.place()
        );
        return Err(Error::new(ErrorKind::Config, what).hint(way_out("load.layout")));
    };
    let meta = setup.store.head(&key)?.and_then(|found| found.meta);
    // What it cannot be read with, or does not hold, tells nothing about the zone.
    let Ok(compactor) = run.dictionaries.for_part(meta.as_ref()) else { return Ok(()) };
    match read_part(format, &setup.store.get(&key)?, &compactor, &setup.decoder.schema.dating, hour) {
        Err(NotAPart::OtherHour { found, .. }) => {
            let what = format!(
                "hours.timezone is {:?}, and the parts in {} are made in another: {key} has a record that would be of hour {found}",
                setup.settings.timezone,
                setup.store.place()
            );
            Err(Error::new(ErrorKind::Config, what).hint(way_out("hours.timezone")))
        }
        _ => Ok(()),
    }
}

fn create(run: &Run<'_>) -> Result<()> {
    let bytes = ours(run).to_bytes()?;
    let put = create_document(run, &settings_key(&run.setup.prefix), &bytes, ("settings", ""))?;
    // Another machine was faster, or the store keeps no metadata: what it says counts.
    if let Outcome::Foreign { .. } = put
        && let Some(stored) = StoredSettings::read(&*run.setup.store, &run.setup.prefix)?
    {
        return compare(run, &stored);
    }
    Ok(())
}
