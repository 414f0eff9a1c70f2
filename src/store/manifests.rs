//! Manifests read back: what the writer of a part said of it, for those who have the store and no ledger.
//!
//! A manifest that cannot be read says nothing; it is never taken for one that is not there.

use jiff::Timestamp;
use serde::Deserialize;

use crate::error::Result;
use crate::hour::Hour;
use crate::hour::part::PartIdentity;
use crate::hour::range::HashRange;
use crate::store::ObjectStore;

/// What a manifest says of its part.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct StoredManifest {
    pub(crate) hour: Hour,
    pub(crate) part: u32,
    pub(crate) key: String,
    #[serde(flatten)]
    pub(crate) identity: PartIdentity,
    /// The first and the last event time in it.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) sealed_at: Timestamp,
    /// Which hashes its records may have.
    #[serde(default)]
    pub(crate) range: HashRange,
}

/// What lies under a manifest's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A manifest.
    Manifest(Box<StoredManifest>),
    /// Something else.
    Unreadable,
    /// Nothing.
    Nothing,
}

impl Found {
    /// Looks for a manifest.
    ///
    /// # Errors
    /// The store could not be read.
    pub(crate) fn read(store: &dyn ObjectStore, key: &str) -> Result<Self> {
        if store.head(key)?.is_none() {
            return Ok(Self::Nothing);
        }
        let read = serde_json::from_slice(&store.get(key)?);
        Ok(read.map_or(Self::Unreadable, |manifest| Self::Manifest(Box::new(manifest))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifest_is_read_as_lanes_and_machines_that_work_alone_write_it() {
        let text = r#"{"schema":1,"hour":"2023-03-10T01","part":3,"key":"k","rows":2,"bytes":9,"sha256":"s","content_sha256":"c","first":"2023-03-10T01:00:00Z","last":"2023-03-10T01:59:00Z","sealed_at":"2023-03-10T02:10:00Z","verdict":"unproven","reason":"r","witness":null,"hour_so_far":{}}"#;
        let alone: StoredManifest = serde_json::from_str(text).unwrap();
        assert_eq!((alone.part, alone.identity.rows, alone.range), (3, 2, HashRange::ALL));
        let range = r#""range":"0000000000000000-7fffffffffffffff","verdict""#;
        let of_lane: StoredManifest = serde_json::from_str(&text.replace("\"verdict\"", range)).unwrap();
        assert_eq!(of_lane.range, HashRange::of_lane(0, 2));
    }
}
