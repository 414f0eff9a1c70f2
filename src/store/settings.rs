//! The settings that all parts below a prefix are made under, as an object there says them.
//!
//! Owns the shape of `<prefix>settings.json`, which `job/output/guard.rs` creates before the first part of a destination, and which is never
//! changed. Who reads a prefix that is not the configured one finds in it how the parts there are spelled. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::format::{Encoding, Format};
use crate::hour::key::{Layout, settings_key};
use crate::record::Profile;
use crate::record::row::Codecs;
use crate::store::ObjectStore;

/// What the object says. Members that are not known here are another version's.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSettings {
    schema: u32,
    timezone: String,
    layout: String,
    #[serde(flatten)]
    format: Format,
    /// What a record is there. The origin's is not written, as it was not before there were others.
    #[serde(default, skip_serializing_if = "Profile::is_of_the_origin")]
    record: Profile,
    /// The name of each field's codec, if they are not those of the origin's: an entry of a dictionary may be added later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    codecs: Option<BTreeMap<String, String>>,
}

/// A setting that differs: its key, what the configuration says, what the object says.
pub(crate) type Difference = (String, String, String);

impl StoredSettings {
    /// What it has to say where parts are made so.
    pub(crate) fn new(timezone: &str, layout: &Layout) -> Self {
        let (layout, format) = (layout.template().to_owned(), layout.format());
        Self { schema: 1, timezone: timezone.to_owned(), layout, format, record: Profile::default(), codecs: None }
    }

    /// The same where the parts hold records of this kind, with these codecs.
    pub(crate) fn of_records(self, record: &Profile, codecs: &Codecs) -> Self {
        let (names, usual) = (codecs.names(), Codecs::default().names());
        Self { record: record.clone(), codecs: (names != usual).then_some(names), ..self }
    }

    /// Reads the object. `None`: there is none.
    ///
    /// # Errors
    /// Those of the store; `Mismatch` where it says nothing of the kind.
    pub(crate) fn read(store: &dyn ObjectStore, prefix: &str) -> Result<Option<Self>> {
        let key = settings_key(prefix);
        if store.head(&key)?.is_none() {
            return Ok(None);
        }
        serde_json::from_slice(&store.get(&key)?).map(Some).map_err(|cause| {
            let what = format!("the object {key} is not what its name says");
            Error::new(ErrorKind::Mismatch, what)
                .caused_by(cause)
                .hint("it was left alone: move it away, then run again")
        })
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the settings for the store").caused_by(e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The first setting that differs. The format comes before the layout: it brings a layout of its own.
    pub(crate) fn difference(&self, stored: &Self) -> Option<Difference> {
        let all = [
            ("hours.timezone", &*self.timezone, &*stored.timezone),
            ("load.format", self.format.encoding.name(), stored.format.encoding.name()),
            ("load.compression", self.format.compression.name(), stored.format.compression.name()),
            ("load.layout", &self.layout, &stored.layout),
        ];
        let differs = all.into_iter().find(|(_, ours, theirs)| ours != theirs);
        let differs = differs.map(|(name, ours, theirs)| (name.to_owned(), format!("{ours:?}"), format!("{theirs:?}")));
        let record =
            || self.record.difference(&stored.record).map(|found| (found.key.to_owned(), found.now, found.before));
        differs.or_else(record).or_else(|| self.other_codec(stored))
    }

    /// The first field whose codec is another there. Each part is read with its own, but no table over both would be.
    fn other_codec(&self, stored: &Self) -> Option<Difference> {
        let usual = Codecs::default().names();
        let [ours, theirs] = [self, stored].map(|settings| settings.codecs.as_ref().unwrap_or(&usual));
        let fields: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let name = |codecs: &BTreeMap<String, String>, field| {
            format!("{:?}", codecs.get(field).map_or("none", String::as_str))
        };
        let field = fields.into_iter().find(|field| ours.get(*field) != theirs.get(*field))?;
        Some((format!("compact.{field}"), name(ours, field), name(theirs, field)))
    }
}

/// The key of the first part below `prefix`, whatever its layout and its format. `None`: there is none.
pub(crate) fn first_part(store: &dyn ObjectStore, prefix: &str) -> Result<Option<(String, Format)>> {
    for encoding in Encoding::ALL {
        let mut first = None;
        let listed = store.list(&format!("{prefix}{}", encoding.root()), &mut |key, _| {
            let is_named = key.rsplit('/').next().is_some_and(|name| name.starts_with("part-"));
            match Format::of_name(key).filter(|format| is_named && format.encoding == encoding) {
                None => Ok(()),
                Some(format) => {
                    first = Some((key.to_owned(), format));
                    Err(Error::new(ErrorKind::Mismatch, "one is enough"))
                }
            }
        });
        match first {
            Some(_) => return Ok(first),
            None => listed?,
        }
    }
    Ok(None)
}

/// How the parts below `prefix` are spelled: as the object there says, else as the first part's name does, else as configured.
///
/// # Errors
/// The store could not be read.
pub(crate) fn layout_there(store: &dyn ObjectStore, prefix: &str, configured: &Layout) -> Result<Layout> {
    let stored = match StoredSettings::read(store, prefix) {
        Err(error) if error.kind() == ErrorKind::Mismatch => {
            tracing::warn!("{}: the configured layout is used", error.chain());
            None
        }
        stored => stored?,
    };
    if let Some(stored) = stored {
        return Ok(Layout::parse(&stored.layout)?.of_format(stored.format));
    }
    let format = first_part(store, prefix)?.map_or(configured.format(), |(_, format)| format);
    Ok(configured.clone().of_format(format))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hour::format::Compression;
    use crate::store::lake::FileStore;

    const TEXT: &str = r#"{"schema":1,"timezone":"UTC","layout":"l","format":"ndjson","compression":"gzip"}"#;

    #[test]
    fn object_is_pinned_and_what_a_newer_version_adds_is_no_difference() {
        let settings: StoredSettings = serde_json::from_str(TEXT).unwrap();
        assert_eq!(serde_json::to_string(&settings).unwrap(), TEXT);
        let more: StoredSettings = serde_json::from_str(&TEXT.replace('}', r#","another":{"time":"/at"}}"#)).unwrap();
        assert_eq!(settings.difference(&more), None);
        let other = StoredSettings { layout: "m".into(), ..more };
        assert_eq!(settings.difference(&other), Some(("load.layout".into(), "\"l\"".into(), "\"m\"".into())));
        let other = StoredSettings { format: Format::ndjson(Compression::Zstd), ..other };
        assert_eq!(
            settings.difference(&other),
            Some(("load.compression".into(), "\"gzip\"".into(), "\"zstd\"".into()))
        );
    }

    #[test]
    fn other_records_and_codecs_are_said_and_told_apart() {
        let usual = || StoredSettings::new("UTC", &Layout::default());
        assert_eq!(usual().of_records(&Profile::default(), &Codecs::default()), usual());
        let more = Codecs::of_dictionaries([("/b".to_owned(), 7)].into(), BTreeMap::new()).unwrap();
        assert_eq!(usual().of_records(&Profile::default(), &more), usual(), "entries are not said");
        let with = |more: &str| serde_json::from_str::<StoredSettings>(&TEXT.replace('}', more)).unwrap();
        let ours: StoredSettings = serde_json::from_str(TEXT).unwrap();
        let other = with(r#","record":{"time":"/at","time_format":"epoch-s"},"codecs":{"at":"digits"}}"#);
        assert_eq!(ours.difference(&other), Some(("record.time".into(), "\"/inDate\"".into(), "\"/at\"".into())));
        let other = with(r#","codecs":{"inDate":"digits","method":"dictionary","url":"dictionary","user_id":"hex"}}"#);
        let expected = ("compact.user_id".into(), "\"uuid-pair\"".into(), "\"hex\"".into());
        assert_eq!(ours.difference(&other), Some(expected));
    }

    #[test]
    fn place_says_how_its_parts_are_spelled() {
        let dir = tempfile::tempdir().unwrap();
        let (store, configured) = (FileStore::new(dir.path()), Layout::default());
        assert_eq!(layout_there(&store, "", &configured).unwrap(), configured);
        let zstd = configured.clone().of_format(Format::ndjson(Compression::Zstd));
        let key = zstd.key("", "2023-03-10T01".parse().unwrap(), 0);
        std::fs::create_dir_all(dir.path().join(&key).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(&key), "x").unwrap();
        assert_eq!(layout_there(&store, "", &configured).unwrap(), zstd, "as its first part is named");
        let columns = Format { encoding: Encoding::Parquet, compression: Compression::Zstd };
        let hive = Layout::parse("hive").unwrap().of_format(columns);
        std::fs::write(dir.path().join("settings.json"), StoredSettings::new("UTC", &hive).to_bytes().unwrap())
            .unwrap();
        assert_eq!(layout_there(&store, "", &configured).unwrap(), hive);
        std::fs::write(dir.path().join("settings.json"), "{").unwrap();
        assert_eq!(layout_there(&store, "", &configured).unwrap(), zstd, "a damaged one says nothing");
    }
}
