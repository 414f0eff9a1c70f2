//! The place that an export makes parts in.
//!
//! Invariant: nothing is sent before the place was found to honour create-only and its settings are those of the export. Each object
//! is written to a file in the folder for temporary files first, which goes with it; a crash leaves that file.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::manifest::moved;
use crate::audit::restore::SoundPart;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::Encoding;
use crate::hour::key::{Layout, dictionaries_key, settings_key};
use crate::part::codec::{Codec, Columns};
use crate::part::rewrite::rewrite;
use crate::record::row::Codecs;
use crate::stop::Stop;
use crate::store::dictionaries::{DictionaryStore, Stored};
use crate::store::expired::Marker;
use crate::store::once::{self, CreateOnly, Outcome, Sealed};
use crate::store::settings::{StoredSettings, first_part};
use crate::store::{ObjectStore, PartMeta, probe};

/// Parts by hour and number.
pub(super) type Numbered = BTreeSet<(Hour, u32)>;

/// Where the parts go, and what is there already.
pub(crate) struct Target<'a> {
    place: Below<'a>,
    settings: StoredSettings,
    has_settings: bool,
    stop: &'a Stop,
    /// Makes parts of lines; one of columns depends on a part's dictionaries.
    lines: Codec<'static>,
    columns: &'a Columns,
    parts: Numbered,
    manifests: Numbered,
    /// Ids of dictionaries that are there.
    stored: Mutex<BTreeSet<String>>,
}

/// A place below a prefix of a store.
#[derive(Clone, Copy)]
pub(crate) struct Below<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) prefix: &'a str,
    pub(crate) layout: &'a Layout,
    pub(crate) dictionaries: &'a DictionaryStore<'a>,
}

impl<'a> Target<'a> {
    /// The place, for parts under these `settings`. Only looks.
    ///
    /// # Errors
    /// `Config`, naming both values: the parts there are made under other settings. Else those of the store.
    pub(crate) fn open(
        place: Below<'a>,
        columns: &'a Columns,
        settings: StoredSettings,
        stop: &'a Stop,
    ) -> Result<Self> {
        let Below { store, prefix, layout, .. } = place;
        let stored = StoredSettings::read(store, prefix)?;
        match &stored {
            Some(stored) => check_settings(store, &settings, stored)?,
            None => check_first_part(place)?,
        }
        Ok(Self {
            place,
            settings,
            has_settings: stored.is_some(),
            stop,
            lines: Codec::lines(layout.format().compression),
            columns,
            parts: listed(place)?,
            manifests: super::manifests(store, prefix, layout)?,
            stored: Mutex::default(),
        })
    }

    /// Whether the part, or another object under its key, was there at the beginning.
    pub(super) fn has(&self, hour: Hour, part: u32) -> bool {
        self.parts.contains(&(hour, part))
    }

    /// Whether the part had a manifest at the beginning.
    pub(super) fn has_manifest(&self, hour: Hour, part: u32) -> bool {
        self.manifests.contains(&(hour, part))
    }

    /// Makes sure, before the first part, that nothing can be replaced there, and that the settings are there.
    pub(super) fn prepare(&self) -> Result<()> {
        let Below { store, prefix, .. } = self.place;
        if probe::ask(store, prefix)?.create_only != CreateOnly::Proven {
            let what = format!("{} does not show that it refuses to replace an object", store.place());
            return Err(Error::new(ErrorKind::Config, what)
                .hint("export to a store that honours If-None-Match, as AWS S3 does, or to a folder"));
        }
        if self.has_settings {
            return Ok(());
        }
        let (key, bytes) = (settings_key(prefix), self.settings.to_bytes()?);
        if self.document(&key, &bytes, ("settings", ""))? {
            return Ok(());
        }
        // Another export was faster, or the store keeps no metadata: what it says counts.
        match StoredSettings::read(store, prefix)? {
            Some(stored) => check_settings(store, &self.settings, &stored),
            None => Ok(()),
        }
    }

    /// Makes a part, with its dictionaries before it. Gives what is there then.
    pub(super) fn put(&self, hour: Hour, part: u32, sound: &SoundPart) -> Result<PartMeta> {
        let key = self.place.layout.key(self.place.prefix, hour, part);
        let dict = self.ensure_dictionaries(sound)?;
        let mut body = draft()?;
        let format = self.place.layout.format();
        let of_columns = Codec::new(format, self.columns, &sound.compactor);
        let codec = if format.encoding == Encoding::Parquet { &of_columns } else { &self.lines };
        let identity = rewrite(sound.format, &sound.object, codec, body.as_file_mut())
            .and_then(|identity| body.flush().map(|()| identity))
            .map_err(|e| Error::disk("write", body.path(), e).hint("free space, or name another folder in TMPDIR"))?;
        if !identity.has_records_of(&sound.identity) {
            let what = format!("hour {hour}: the lines of {key} do not end as those of a part do");
            return Err(Error::new(ErrorKind::Mismatch, what).hint(super::HINT));
        }
        let mut meta = PartMeta { identity, hour: hour.to_string(), dict, range: sound.range };
        let sealed = Sealed { key: &key, body: body.path(), meta: &meta };
        match once::upload(self.place.store, &sealed, CreateOnly::Proven, self.stop)? {
            Outcome::Uploaded { sha256, size, .. } => {
                (meta.identity.sha256, meta.identity.bytes) = (sha256, size);
                Ok(meta)
            }
            Outcome::Foreign { .. } => Err(self.foreign(hour, part)),
        }
    }

    /// What is under a part's key. `None`: nothing, or no part.
    pub(super) fn look(&self, hour: Hour, part: u32) -> Result<Option<PartMeta>> {
        Ok(self.place.store.head(&self.place.layout.key(self.place.prefix, hour, part))?.and_then(|found| found.meta))
    }

    /// Says that something else has the key of a part.
    pub(super) fn foreign(&self, hour: Hour, part: u32) -> Error {
        let key = self.place.layout.key(self.place.prefix, hour, part);
        let what = format!("hour {hour}: {key} in {} is not this part", self.place.store.place());
        Error::new(ErrorKind::Mismatch, what)
            .hint("it was left alone: find out who put it there, or export to another prefix")
    }

    /// Says that a part is gone for good.
    pub(super) fn marker(&self, hour: Hour, marker: Marker) -> Result<()> {
        let mut row = marker.into_row();
        let at = row.expired_at.unwrap_or(row.frozen_at);
        row.key = self.place.layout.key(self.place.prefix, hour, row.part);
        let key = self.place.layout.expired_key(self.place.prefix, hour, row.part);
        if Marker::read(self.place.store, &key, hour, row.part)?.is_some_and(|there| there.is_of(&row.identity)) {
            return Ok(());
        }
        let bytes = Marker::new(hour, &row, at).to_bytes()?;
        self.ours_or_left_alone(&key, &bytes, (&hour.to_string(), &row.dict))
    }

    /// Makes the manifest of the part that `there` describes, from the one of its source. `false`: that is of another part.
    pub(super) fn manifest(&self, hour: Hour, part: u32, source: &[u8], there: &PartMeta) -> Result<bool> {
        let Below { prefix, layout, .. } = self.place;
        let Some(bytes) = moved(source, &layout.key(prefix, hour, part), &there.identity) else { return Ok(false) };
        let key = layout.manifest_key(prefix, hour, part);
        self.ours_or_left_alone(&key, &bytes, (&hour.to_string(), &there.dict)).map(|()| true)
    }

    /// Makes sure that the dictionaries of a part are there. Gives their id.
    fn ensure_dictionaries(&self, sound: &SoundPart) -> Result<String> {
        let dictionaries = sound.compactor.codecs();
        let id = if sound.dict.is_empty() { dictionaries.fingerprint() } else { sound.dict.clone() };
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if !stored.contains(&id) {
            self.store_dictionaries(&id, dictionaries)?;
            stored.insert(id.clone());
        }
        Ok(id)
    }

    fn store_dictionaries(&self, id: &str, dictionaries: &Codecs) -> Result<()> {
        match self.place.dictionaries.stored(id)? {
            Stored::Sound(_) => return Ok(()),
            Stored::Missing => self.place.dictionaries.allow(dictionaries)?,
            Stored::Damaged => {}
        }
        let key = dictionaries_key(self.place.prefix, id);
        self.document(&key, &dictionaries.to_stored()?, ("dict", id))?;
        // A store without metadata, or another spelling: the content says whether it is sound.
        if matches!(self.place.dictionaries.stored(id)?, Stored::Sound(_)) {
            return Ok(());
        }
        let what = format!("the object {key} in {} is not what its name says", self.place.store.place());
        Err(Error::new(ErrorKind::Mismatch, what).hint("it was left alone: move it away, then export again"))
    }

    fn ours_or_left_alone(&self, key: &str, bytes: &[u8], names: (&str, &str)) -> Result<()> {
        if !self.document(key, bytes, names)? && self.place.store.get(key)? != bytes {
            tracing::warn!("{key} in {} is another one already: left alone", self.place.store.place());
        }
        Ok(())
    }

    /// Creates a small object. `false`: something is there, which a store without metadata says of the same bytes, too.
    fn document(&self, key: &str, bytes: &[u8], (hour, dict): (&str, &str)) -> Result<bool> {
        let mut body = draft()?;
        body.write_all(bytes).and_then(|()| body.flush()).map_err(|e| Error::disk("write", body.path(), e))?;
        let meta = PartMeta::of_document(bytes, hour, dict);
        let sealed = Sealed { key, body: body.path(), meta: &meta };
        let put = once::upload(self.place.store, &sealed, CreateOnly::Proven, self.stop)?;
        Ok(matches!(put, Outcome::Uploaded { .. }))
    }
}

/// A file for the bytes of an object, which goes when it is dropped.
fn draft() -> Result<NamedTempFile> {
    let folder = std::env::temp_dir();
    tempfile::Builder::new()
        .prefix("etl-export-")
        .tempfile_in(&folder)
        .map_err(|e| Error::disk("write into", &folder, e).hint("name a folder that can be written in TMPDIR"))
}

/// A lake of before there were settings in the store tells them by its first part.
fn check_first_part(place: Below<'_>) -> Result<()> {
    let Below { store, prefix, layout, .. } = place;
    let Some((key, format)) = first_part(store, prefix)? else { return Ok(()) };
    if !format.has_names_of(layout.format()) {
        return Err(other_settings(store, "load.format", &layout.format().to_string(), &format.to_string()));
    }
    match layout.parse_key(prefix, &key) {
        Some(_) => Ok(()),
        None => Err(other_settings(store, "load.layout", layout.template(), &key)),
    }
}

/// The parts that are there.
fn listed(place: Below<'_>) -> Result<Numbered> {
    let mut parts = Numbered::new();
    place.store.list(&place.layout.data_prefix(place.prefix), &mut |key, _| {
        parts.extend(place.layout.parse_key(place.prefix, key));
        Ok(())
    })?;
    Ok(parts)
}

fn check_settings(store: &dyn ObjectStore, ours: &StoredSettings, stored: &StoredSettings) -> Result<()> {
    ours.difference(stored).map_or(Ok(()), |(name, ours, theirs)| Err(other_settings(store, &name, &ours, &theirs)))
}

fn other_settings(store: &dyn ObjectStore, name: &str, ours: &str, theirs: &str) -> Error {
    let what = format!("{} has parts of {name} {theirs}, and this export makes {ours}", store.place());
    Error::new(ErrorKind::Config, what)
        .hint("export to another prefix: a prefix has one format, one layout, one time zone")
}
