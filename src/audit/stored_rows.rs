//! The rows of hours as the store itself has them: for a cluster, of which no ledger knows all parts.
//!
//! What is there is listed once, when it is made; what a part is, its manifest says, and where there is none its metadata. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::Layout;
use crate::hour::lifecycle::HourRow;
use crate::hour::part::{PartRow, PartStage};
use crate::process::parallel::parallel_map;
use crate::state::status::evidence::Rows;
use crate::store::expired::{ExpiredParts, Marker};
use crate::store::manifests::{Found, StoredManifest};
use crate::store::{ObjectInfo, ObjectStore};

/// Parts that are looked at at once.
const AT_ONCE: usize = 8;

/// The rows of the hours in a store.
pub(crate) struct StoredRows {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    layout: Layout,
    zone: TimeZone,
    hours: BTreeMap<Hour, BTreeSet<u32>>,
    expired: ExpiredParts,
}

impl StoredRows {
    /// Lists what there is.
    ///
    /// # Errors
    /// The store could not be read.
    pub(crate) fn open(store: Arc<dyn ObjectStore>, prefix: String, layout: Layout, zone: TimeZone) -> Result<Self> {
        let mut hours: BTreeMap<Hour, BTreeSet<u32>> = BTreeMap::new();
        store.list(&layout.data_prefix(&prefix), &mut |key, _| {
            if let Some((hour, part)) = layout.parse_key(&prefix, key) {
                hours.entry(hour).or_default().insert(part);
            }
            Ok(())
        })?;
        let mut expired = ExpiredParts::default();
        expired.look_for_all(&*store, &prefix, &layout)?;
        for (hour, part) in expired.iter() {
            hours.entry(hour).or_default().insert(part);
        }
        Ok(Self { store, prefix, layout, zone, hours, expired })
    }

    fn part(&self, hour: Hour, part: u32) -> Result<Option<PartRow>> {
        let key = self.layout.key(&self.prefix, hour, part);
        let Some(object) = self.store.head(&key)? else {
            let marker = self.layout.expired_key(&self.prefix, hour, part);
            let is_expired = self.expired.contains(hour, part);
            let marker = if is_expired { Marker::read(&*self.store, &marker, hour, part)? } else { None };
            return Ok(marker.map(Marker::into_row));
        };
        let manifest = Found::read(&*self.store, &self.layout.manifest_key(&self.prefix, hour, part))?;
        let manifest = match manifest {
            Found::Manifest(manifest) if (manifest.hour, manifest.part) == (hour, part) => Some(*manifest),
            _ => None,
        };
        self.row_of(hour, part, key, object, manifest).map(Some)
    }

    fn row_of(
        &self,
        hour: Hour,
        part: u32,
        key: String,
        object: ObjectInfo,
        manifest: Option<StoredManifest>,
    ) -> Result<PartRow> {
        let (dict, meta) = (object.meta.as_ref().map_or_else(String::new, |meta| meta.dict.clone()), object.meta);
        let (starts, ends) = (hour.starts_at(&self.zone), hour.ends_at(&self.zone));
        let said = manifest.map(|said| (said.identity, said.range, said.first, said.last, said.sealed_at));
        // Without its manifest the times are those of the hour.
        let said = said.or_else(|| meta.map(|meta| (meta.identity, meta.range, starts, ends, ends)));
        let Some((identity, range, first, last, sealed)) = said else {
            let what = format!("hour {hour}: {key} says nothing of itself, and has no manifest");
            return Err(Error::new(ErrorKind::Mismatch, what).hint("`etl verify --deep` says what to do about it"));
        };
        Ok(PartRow {
            part,
            stage: PartStage::Uploaded,
            key,
            identity,
            dict,
            through: 0,
            first,
            last,
            frozen_at: sealed,
            uploaded_at: Some(sealed),
            etag: object.etag,
            expired_at: None,
            range,
            spooled_as: None,
        })
    }
}

impl Rows for StoredRows {
    fn first(&self) -> Result<Option<Hour>> {
        Ok(self.hours.keys().next().copied())
    }

    fn row(&mut self, hour: Hour) -> Result<Option<HourRow>> {
        let Some(numbers) = self.hours.get(&hour) else { return Ok(None) };
        let numbers: Vec<u32> = numbers.iter().copied().collect();
        let found = parallel_map(&numbers, AT_ONCE, |part| self.part(hour, *part));
        let parts: Vec<PartRow> = found.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
        let last_receipt: Option<Timestamp> = parts.iter().filter_map(|part| part.uploaded_at).max();
        Ok((!parts.is_empty()).then(|| HourRow { parts, last_receipt, ..HourRow::new(hour) }))
    }
}
