//! Import: an hour's parts read back from the store. The one primitive behind every recovery from there.
//!
//! Each part is downloaded, checked against what the ledger knows of it, restored and hashed; then, in one atomic step, the
//! ledger takes the parts over and names a hash array made from them. It serves hours whose hashes were forgotten or are
//! damaged, and foreign objects that turn out to be parts of ours. A crash before that step leaves a stray array.

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::{Event, HourRow};
use crate::hour::part::{PartRow, PartStage};
use crate::job::Job;
use crate::job::recover::thaw::Memory;
use crate::part::read::{ReadPart, read_part};
use crate::record::ContentHash;
use crate::state::files::step::Step;

impl Job<'_> {
    /// Makes sure that the hashes of an hour that is to be sealed are at hand. `false`: they are not, and that was said.
    pub(crate) fn remember(&mut self, hour: Hour) -> Result<bool> {
        if let Memory::AtHand = self.recall(hour)? {
            return Ok(true);
        }
        match self.why_unreadable(hour) {
            Some(error) => self.bear(error).and_then(|()| self.postpone(hour)),
            None => self.postpone(hour),
        }
    }

    pub(crate) fn postpone(&mut self, hour: Hour) -> Result<bool> {
        if self.stopped() {
            return Ok(false);
        }
        let what = format!("hour {hour}: its hashes are not at hand, and the store was not read");
        let error = Error::new(ErrorKind::Unavailable, what);
        self.bear(error.hint("its records wait here; run again")).map(|()| false)
    }

    /// Imports the hour of `row`: its parts with receipts and the objects at the numbers `foreign`.
    /// `false`: a foreign object is no part of ours.
    pub(crate) fn import(&mut self, row: &HourRow, foreign: &[u32]) -> Result<bool> {
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
            let read = self.read_part(&part.key, row.hour)?.map(|(read, _)| read);
            let read = read.filter(|read| read.identity.has_records_of(&part.identity));
            let read = read.ok_or_else(|| changed(&part.key, row.hour))?;
            hashes.extend(read.hashes);
            parts.push(part.clone());
        }
        for number in foreign {
            self.go_on(row.hour)?;
            let key = self.setup.layout.key(&self.setup.prefix, row.hour, *number);
            let Some((read, dict)) = self.read_part(&key, row.hour)? else {
                return Ok(None);
            };
            parts.push(imported(*number, key, dict, &read, now));
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

    /// The part, and the id of its dictionaries where the store says it. `None`: it is no part of ours for that hour.
    fn read_part(&self, key: &str, hour: Hour) -> Result<Option<(ReadPart, String)>> {
        let store = &self.setup.store;
        // A store without metadata would read the whole object for a look that says nothing of the dictionaries.
        let meta = if store.keeps_metadata() { store.head(key)?.and_then(|found| found.meta) } else { None };
        let compactor = self.dictionaries.for_part(meta.as_ref()).map_err(|error| unreadable(key, hour, error))?;
        let read = read_part(&store.get(key)?, &compactor, &self.setup.decoder.zone, hour).ok();
        Ok(read.map(|read| (read, meta.map(|meta| meta.dict).unwrap_or_default())))
    }
}

/// A part that cannot be read without its dictionaries. What the store failed at stays what it is.
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
    }
}

fn changed(key: &str, hour: Hour) -> Error {
    Error::new(ErrorKind::Mismatch, format!("hour {hour}: the object {key} is not what the ledger says"))
        .hint("look at it with `etl verify --deep`; records of the hour wait in the journal")
}
