//! Parts that are gone for good: an object outside `data/` says so, for whoever reads or writes the store without this state.
//!
//! Owns `<prefix>expired/<folders>/part-n.json`, which is created before a ledger gives a part up, and never changed. A reader that finds
//! no object under a part's key, and this one, knows that the part was there and is not missing; a writer does not use its number
//! again. A crash after it leaves the part in the ledger as it was: the next giving up finds the same part in it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::{Layout, expired_prefix};
use crate::hour::part::{PartIdentity, PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::store::ObjectStore;

/// With more hours than these, all markers are listed at once.
const FEW_HOURS: usize = 8;
/// So many keys come with one answer to a listing.
const ONE_ANSWER: usize = 1_000;

/// What such an object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    schema: u32,
    hour: Hour,
    part: u32,
    key: String,
    #[serde(flatten)]
    identity: PartIdentity,
    dict: String,
    first: Timestamp,
    last: Timestamp,
    /// When the part was given up.
    at: Timestamp,
}

impl Marker {
    /// Of a part that is given up at `at`.
    pub(crate) fn new(hour: Hour, part: &PartRow, at: Timestamp) -> Self {
        Self {
            schema: 1,
            hour,
            part: part.part,
            key: part.key.clone(),
            identity: part.identity.clone(),
            dict: part.dict.clone(),
            first: part.first,
            last: part.last,
            at,
        }
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode what is gone for good").caused_by(e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads the marker of a part. `None`: there is none, or it is not ours.
    pub(crate) fn read(store: &dyn ObjectStore, key: &str, hour: Hour, part: u32) -> Result<Option<Self>> {
        if store.head(key)?.is_none() {
            return Ok(None);
        }
        let marker: Option<Self> = serde_json::from_slice(&store.get(key)?).ok();
        Ok(marker.filter(|marker| (marker.schema, marker.hour, marker.part) == (1, hour, part)))
    }

    /// Whether it is about a part with these records.
    pub(crate) fn is_of(&self, identity: &PartIdentity) -> bool {
        self.identity.has_records_of(identity)
    }

    /// The ledger's row of the part.
    pub(crate) fn into_row(self) -> PartRow {
        PartRow {
            part: self.part,
            stage: PartStage::Expired,
            key: self.key,
            identity: self.identity,
            dict: self.dict,
            through: 0,
            first: self.first,
            last: self.last,
            frozen_at: self.at,
            uploaded_at: None,
            etag: None,
            expired_at: Some(self.at),
            range: HashRange::ALL,
            spooled_as: None,
        }
    }
}

/// Which parts are gone for good, as far as the store was asked.
#[derive(Debug, Default)]
pub(crate) struct ExpiredParts {
    parts: BTreeSet<(Hour, u32)>,
    looked_at: BTreeSet<Hour>,
    has_all: bool,
    are_many: bool,
}

impl ExpiredParts {
    /// Asks the store about some hours. The first time for all of them, which is one request where there are no more markers than one
    /// answer names, as is usual: then nothing is asked again. Else hour by hour, or once more where there are many.
    pub(crate) fn look(
        &mut self,
        store: &dyn ObjectStore,
        prefix: &str,
        layout: &Layout,
        hours: impl IntoIterator<Item = Hour>,
    ) -> Result<()> {
        if self.has_all {
            return Ok(());
        }
        let new: Vec<Hour> = hours.into_iter().filter(|hour| !self.looked_at.contains(hour)).collect();
        if new.is_empty() || self.has_few(store, prefix, layout)? {
            return Ok(());
        }
        if new.len() > FEW_HOURS {
            return self.look_for_all(store, prefix, layout);
        }
        for hour in new {
            self.list(store, &format!("{}{}/", expired_prefix(prefix), layout.folders(hour)), prefix, layout)?;
            self.looked_at.insert(hour);
        }
        Ok(())
    }

    /// Asks no more: the store refuses to be listed.
    pub(crate) const fn give_up(&mut self) {
        self.has_all = true;
    }

    /// Whether one answer of the store names all markers, which are then known.
    fn has_few(&mut self, store: &dyn ObjectStore, prefix: &str, layout: &Layout) -> Result<bool> {
        if self.are_many {
            return Ok(false);
        }
        let mut left = ONE_ANSWER;
        let listed = store.list(&expired_prefix(prefix), &mut |key, _| {
            self.parts.extend(layout.parse_expired_key(prefix, key));
            left = left.saturating_sub(1);
            if left > 0 { Ok(()) } else { Err(Error::new(ErrorKind::Mismatch, "they are many")) }
        });
        self.are_many = left == 0;
        if !self.are_many {
            listed?;
            self.has_all = true;
        }
        Ok(self.has_all)
    }

    /// Asks the store about all hours.
    pub(crate) fn look_for_all(&mut self, store: &dyn ObjectStore, prefix: &str, layout: &Layout) -> Result<()> {
        self.list(store, &expired_prefix(prefix), prefix, layout)?;
        self.has_all = true;
        Ok(())
    }

    fn list(&mut self, store: &dyn ObjectStore, below: &str, prefix: &str, layout: &Layout) -> Result<()> {
        store.list(below, &mut |key, _| {
            self.parts.extend(layout.parse_expired_key(prefix, key));
            Ok(())
        })
    }

    /// Whether the part is gone for good, as far as was asked.
    pub(crate) fn contains(&self, hour: Hour, part: u32) -> bool {
        self.parts.contains(&(hour, part))
    }

    /// Those that are known of, by hour and number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Hour, u32)> {
        self.parts.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hour::key::DEFAULT_LAYOUT;
    use crate::store::lake::FileStore;

    fn put(dir: &std::path::Path, key: &str, bytes: &[u8]) {
        let path = dir.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn marker_gives_the_part_back_and_nothing_else_passes_for_one() {
        let (dir, layout) = (tempfile::tempdir().unwrap(), Layout::parse(DEFAULT_LAYOUT).unwrap());
        let store = FileStore::new(dir.path());
        let hour: Hour = "2023-03-10T01".parse().unwrap();
        let identity = PartIdentity { rows: 3, bytes: 9, sha256: "s".into(), content_sha256: "c".into() };
        let row = Marker {
            schema: 1,
            hour,
            part: 2,
            key: layout.key("", hour, 2),
            identity,
            dict: "d".into(),
            first: Timestamp::UNIX_EPOCH,
            last: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
        }
        .into_row();
        let key = layout.expired_key("", hour, 2);
        assert_eq!(key, "expired/2023_y/03_m/10_d/01_h/part-00002.json");
        put(dir.path(), &key, &Marker::new(hour, &row, Timestamp::UNIX_EPOCH).to_bytes().unwrap());
        let read = Marker::read(&store, &key, hour, 2).unwrap().unwrap();
        assert!(read.is_of(&row.identity));
        assert_eq!(read.into_row(), row);
        assert_eq!(Marker::read(&store, &key, hour, 3).unwrap(), None);
        put(dir.path(), &key, b"{}");
        assert_eq!(Marker::read(&store, &key, hour, 2).unwrap(), None);
        assert_eq!(Marker::read(&store, "expired/none", hour, 2).unwrap(), None);
    }

    #[test]
    fn few_markers_are_listed_at_once_and_of_many_those_of_the_hours_at_hand() {
        let (dir, layout) = (tempfile::tempdir().unwrap(), Layout::parse(DEFAULT_LAYOUT).unwrap());
        let store = FileStore::new(dir.path());
        let hour = |n: u32| -> Hour { format!("2023-03-10T{n:02}").parse().unwrap() };
        put(dir.path(), &layout.expired_key("", hour(1), 0), b"");
        put(dir.path(), &layout.expired_key("", hour(9), 4), b"");
        let mut few = ExpiredParts::default();
        few.look(&store, "", &layout, [hour(1)]).unwrap();
        assert_eq!(few.iter().collect::<Vec<_>>(), [(hour(1), 0), (hour(9), 4)]);
        // What comes later is not asked for in the same run.
        put(dir.path(), &layout.expired_key("", hour(2), 0), b"");
        few.look(&store, "", &layout, [hour(2)]).unwrap();
        assert!(!few.contains(hour(2), 0));

        for part in 0..u32::try_from(ONE_ANSWER).unwrap() {
            put(dir.path(), &layout.expired_key("", hour(0), part), b"");
        }
        let mut many = ExpiredParts::default();
        many.look(&store, "", &layout, [hour(1), hour(2)]).unwrap();
        assert!(many.contains(hour(1), 0) && many.contains(hour(2), 0) && !many.contains(hour(9), 4));
        many.look(&store, "", &layout, (0..24).map(hour)).unwrap();
        assert!(many.contains(hour(9), 4) && !many.contains(hour(9), 3));
    }
}
