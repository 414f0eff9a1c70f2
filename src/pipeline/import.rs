//! Import: an hour's parts read back from the store. The one primitive behind every recovery from there.
//!
//! Each part is downloaded, checked against what the ledger knows of it, restored and hashed; then, in one atomic step, the
//! ledger takes the parts over and names a hash array made from them. It serves hours whose hashes were forgotten or are
//! damaged, and foreign objects that turn out to be parts of ours. A crash before that step leaves a stray array.

use jiff::Timestamp;

use super::Job;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::lifecycle::{Event, HourRow, PartRow, PartStage, Step};
use crate::parts::{self, ReadPart};
use crate::record::ContentHash;

impl Job<'_> {
    /// Makes sure that the hashes of an hour's parts are at hand: imports the hour where they are forgotten or damaged.
    /// `false`: the store did not answer; what needs them waits.
    pub(super) fn remember(&mut self, hour: Hour) -> Result<bool> {
        let row = self.state.ledger.row(hour)?;
        if row.is_sealing() && self.state.short.contains(&hour) {
            return self.postpone(hour);
        }
        if !row.is_forgotten() && self.state.array(&row).is_ok() {
            return Ok(true);
        }
        if row.is_sealing() || self.store_is_down {
            return self.postpone(hour);
        }
        if !row.is_forgotten() {
            tracing::warn!("hour {hour}: its hash array is damaged or missing: its parts are read back from the store");
        }
        match self.import(&row, &[]) {
            Ok(_) => Ok(true),
            Err(error) => {
                self.store_failed(error)?;
                self.postpone(hour)
            }
        }
    }

    fn postpone(&mut self, hour: Hour) -> Result<bool> {
        let what = format!("hour {hour}: its hashes are not at hand, and the store was not read");
        let error = Error::new(ErrorKind::Unavailable, what);
        self.bear(error.hint("a page with records of the hour waits in the journal; run again")).map(|()| false)
    }

    /// Imports the hour of `row`: its parts with receipts and the objects at the numbers `foreign`.
    /// `false`: a foreign object is no part of ours.
    pub(super) fn import(&mut self, row: &HourRow, foreign: &[u32]) -> Result<bool> {
        let now = self.now();
        let Some((parts, hashes)) = self.read_back(row, foreign, now)? else { return Ok(false) };
        self.summary.imported_parts += foreign.len() as u64;
        self.take_over(row, parts, hashes, now)?;
        Ok(true)
    }

    fn read_back(
        &self,
        row: &HourRow,
        foreign: &[u32],
        now: Timestamp,
    ) -> Result<Option<(Vec<PartRow>, Vec<ContentHash>)>> {
        let (mut parts, mut hashes) = (Vec::new(), Vec::new());
        for part in row.uploaded() {
            self.go_on(row.hour)?;
            let read = self.read_part(&part.key, row.hour)?;
            let read = read.filter(|read| read.content_sha256 == part.content_sha256 && read.rows() == part.rows);
            let read = read.ok_or_else(|| changed(&part.key, row.hour))?;
            hashes.extend(read.hashes);
            parts.push(part.clone());
        }
        for number in foreign {
            self.go_on(row.hour)?;
            let key = self.setup.layout.key(&self.setup.prefix, row.hour, *number);
            let Some(read) = self.read_part(&key, row.hour)? else {
                return Ok(None);
            };
            parts.push(imported(*number, key, &read, now));
            hashes.extend(read.hashes);
        }
        Ok(Some((parts, hashes)))
    }

    fn go_on(&self, hour: Hour) -> Result<()> {
        if self.stopped() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("hour {hour} is not read back: the run was to stop"),
            ));
        }
        Ok(())
    }

    fn take_over(
        &mut self,
        row: &HourRow,
        parts: Vec<PartRow>,
        mut hashes: Vec<ContentHash>,
        at: Timestamp,
    ) -> Result<()> {
        hashes.sort_unstable();
        hashes.dedup();
        let hashes = self.state.hashes.write(row.hour, row.next_hashes, None, &hashes)?;
        let imported = Event::Imported { parts, hashes, at };
        self.state.apply(Step::HourImported, vec![(row.hour, imported)])?;
        self.buckets.forget(row.hour);
        Ok(())
    }

    /// `None`: it is no part of ours for that hour.
    fn read_part(&self, key: &str, hour: Hour) -> Result<Option<ReadPart>> {
        let object = self.setup.store.get(key)?;
        let decoder = &self.setup.decoder;
        Ok(parts::read(&object, &decoder.compactor, &decoder.zone, hour).ok())
    }
}

fn imported(part: u32, key: String, read: &ReadPart, at: Timestamp) -> PartRow {
    PartRow {
        part,
        stage: PartStage::Uploaded,
        key,
        rows: read.rows(),
        bytes: read.bytes,
        sha256: read.sha256.clone(),
        content_sha256: read.content_sha256.clone(),
        dict: String::new(),
        through: 0,
        first: read.first,
        last: read.last,
        frozen_at: at,
        uploaded_at: Some(at),
        etag: None,
    }
}

fn changed(key: &str, hour: Hour) -> Error {
    Error::new(ErrorKind::Mismatch, format!("hour {hour}: the object {key} is not what the ledger says"))
        .hint("look at it with `etl verify --deep`; records of the hour wait in the journal")
}
