//! The settings that move records, said in the store: whoever writes there under others is stopped before its first part.
//!
//! Owns `<prefix>settings.json`, which is created before the first part of a destination and never changed. A state that has no
//! receipt there reads it first, and where there is none, the first part that it finds, as far as that tells. A state with receipts
//! only creates it. A failed look says nothing: no part is sent then. Only a state with receipts, whose parts are there already,
//! sends them without the right to look. Where the object alone is refused, it is offered again in the next run. A crash in between
//! leaves the object, or nothing; the next run looks again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::{data_prefix, settings_key};
use crate::job::Run;
use crate::job::output::document::create_document;
use crate::part::read::{NotAPart, read_part};
use crate::record::Profile;
use crate::record::row::Codecs;
use crate::store::once::Outcome;

/// What a hint says about a setting that must not be another.
const WAY_OUT: &str = "change it back, or use another state.dir and another prefix in load.to for the new setting";

/// What the object says. Members that are not known here are another version's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredSettings {
    schema: u32,
    timezone: String,
    layout: String,
    format: String,
    compression: String,
    /// What a record is there. The origin's is not written, as it was not before there were others.
    #[serde(default, skip_serializing_if = "Profile::is_of_the_origin")]
    record: Profile,
    /// The codecs of fields, if they are not those of the origin's: an entry that is added later is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codecs: Option<BTreeMap<String, String>>,
}

impl StoredSettings {
    fn of(run: &Run<'_>) -> Self {
        let settings = &run.setup.settings;
        Self {
            schema: 1,
            timezone: settings.timezone.clone(),
            layout: settings.layout.clone(),
            format: "ndjson".to_owned(),
            compression: "gzip".to_owned(),
            record: settings.record.clone(),
            codecs: codecs_said(&settings.codecs),
        }
    }

    /// The first setting that differs, with both values.
    fn difference(&self, stored: &Self) -> Option<(String, String, String)> {
        let all = [
            ("hours.timezone", &self.timezone, &stored.timezone),
            ("load.layout", &self.layout, &stored.layout),
            ("load.format", &self.format, &stored.format),
            ("load.compression", &self.compression, &stored.compression),
        ];
        let differs = all.into_iter().find(|(_, ours, theirs)| ours != theirs);
        let differs = differs.map(|(name, ours, theirs)| (name.to_owned(), format!("{ours:?}"), format!("{theirs:?}")));
        let record =
            || self.record.difference(&stored.record).map(|found| (found.key.to_owned(), found.now, found.before));
        differs.or_else(record).or_else(|| self.other_codec(stored))
    }

    /// The first field whose codec is another there. Parts are read with their own; a table over both would not be.
    fn other_codec(&self, stored: &Self) -> Option<(String, String, String)> {
        let usual = codecs_by_name(&Codecs::default());
        let [ours, theirs] = [self, stored].map(|settings| settings.codecs.as_ref().unwrap_or(&usual));
        let fields: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let of = |codecs: &BTreeMap<String, String>, field| {
            format!("{:?}", codecs.get(field).map_or("none", String::as_str))
        };
        let field = fields.into_iter().find(|field| ours.get(*field) != theirs.get(*field))?;
        Some((format!("compact.{field}"), of(ours, field), of(theirs, field)))
    }
}

/// The name of each field's codec.
fn codecs_by_name(codecs: &Codecs) -> BTreeMap<String, String> {
    codecs.iter().map(|(field, codec)| (field.to_owned(), codec.name().to_owned())).collect()
}

/// The same, where they are not the origin's.
fn codecs_said(codecs: &Codecs) -> Option<BTreeMap<String, String>> {
    let names = codecs_by_name(codecs);
    (names != codecs_by_name(&Codecs::default())).then_some(names)
}

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
    if let Some(stored) = stored(run)? {
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

/// A state that has parts there already goes on with its own settings.
fn compare(run: &Run<'_>, stored: &StoredSettings) -> Result<()> {
    let Some((name, ours, theirs)) = StoredSettings::of(run).difference(stored) else { return Ok(()) };
    let error = differs(run, &name, &ours, &theirs);
    if !has_receipts(run) {
        return Err(error);
    }
    tracing::warn!("{}: another state wrote that there", error.chain());
    Ok(())
}

fn differs(run: &Run<'_>, name: &str, ours: &str, theirs: &str) -> Error {
    let what = format!("{name} is {ours}, and the parts in {} are made with {theirs}", run.setup.store.place());
    Error::new(ErrorKind::Config, what).hint(WAY_OUT)
}

fn stored(run: &Run<'_>) -> Result<Option<StoredSettings>> {
    let (store, key) = (&run.setup.store, settings_key(&run.setup.prefix));
    if store.head(&key)?.is_none() {
        return Ok(None);
    }
    serde_json::from_slice(&store.get(&key)?).map(Some).map_err(|cause| {
        let what = format!("the object {key} is not what its name says: no part is sent");
        Error::new(ErrorKind::Mismatch, what).caused_by(cause).hint("it was left alone: move it away, then run again")
    })
}

/// Looks at the first part that is there: its key tells the layout, its records the time zone.
fn judge_by_a_part(run: &Run<'_>) -> Result<()> {
    let (setup, mut first) = (run.setup, None);
    let listed = setup.store.list(&data_prefix(&setup.prefix), &mut |key, _| {
        if !key.rsplit('/').next().is_some_and(|name| name.starts_with("part-") && name.ends_with(".gz")) {
            return Ok(());
        }
        first = Some(key.to_owned());
        Err(Error::new(ErrorKind::Mismatch, "one is enough"))
    });
    let Some(key) = first else { return listed };
    let Some((hour, _)) = setup.layout.parse_key(&setup.prefix, &key) else {
        let what = format!(
            "load.layout is {:?}, and {} has parts under another one: {key}",
            setup.settings.layout,
            setup.store.place()
        );
        return Err(Error::new(ErrorKind::Config, what).hint(WAY_OUT));
    };
    let meta = setup.store.head(&key)?.and_then(|found| found.meta);
    // What it cannot be read with, or does not hold, tells nothing about the zone.
    let Ok(compactor) = run.dictionaries.for_part(meta.as_ref()) else { return Ok(()) };
    match read_part(&setup.store.get(&key)?, &compactor, &setup.decoder.schema.dating, hour) {
        Err(NotAPart::OtherHour { found, .. }) => {
            let what = format!(
                "hours.timezone is {:?}, and the parts in {} are made in another: {key} has a record that would be of hour {found}",
                setup.settings.timezone,
                setup.store.place()
            );
            Err(Error::new(ErrorKind::Config, what).hint(WAY_OUT))
        }
        _ => Ok(()),
    }
}

fn create(run: &Run<'_>) -> Result<()> {
    let mut bytes = serde_json::to_vec(&StoredSettings::of(run))
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the settings for the store").caused_by(e))?;
    bytes.push(b'\n');
    let put = create_document(run, &settings_key(&run.setup.prefix), &bytes, ("settings", ""))?;
    // Another machine was faster, or the store keeps no metadata: what it says counts.
    if let Outcome::Foreign { .. } = put
        && let Some(stored) = stored(run)?
    {
        return compare(run, &stored);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_pinned_and_what_a_newer_version_adds_is_no_difference() {
        let text = r#"{"schema":1,"timezone":"UTC","layout":"l","format":"ndjson","compression":"gzip"}"#;
        let settings: StoredSettings = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&settings).unwrap(), text);
        let more: StoredSettings = serde_json::from_str(&text.replace('}', r#","another":{"time":"/at"}}"#)).unwrap();
        assert_eq!(settings.difference(&more), None);
        let with = |more: &str| serde_json::from_str::<StoredSettings>(&text.replace('}', more)).unwrap();
        let other = with(r#","record":{"time":"/at","time_format":"epoch-s"},"codecs":{"at":"digits"}}"#);
        assert_eq!(settings.difference(&other), Some(("record.time".into(), "\"/inDate\"".into(), "\"/at\"".into())));
        let other = with(r#","codecs":{"inDate":"digits","method":"dictionary","url":"dictionary","user_id":"hex"}}"#);
        let expected = Some(("compact.user_id".into(), "\"uuid-pair\"".into(), "\"hex\"".into()));
        assert_eq!(settings.difference(&other), expected);
        let other = StoredSettings { layout: "m".into(), ..more };
        assert_eq!(settings.difference(&other), Some(("load.layout".into(), "\"l\"".into(), "\"m\"".into())));
    }
}
