//! Parked records: those of an hour that cannot be read back from the store, so that nobody can tell whether they are known.
//!
//! Such an hour costs only itself: its records wait here, durably, the rest of their pages is committed and needed no more. The hour is
//! tried again once in a while, and then its records go back through the journal. A record is in here once, by its content hash.
//! A crash leaves records here whose page is committed again: they are parked once all the same. A file that vanishes is missed at the
//! next start.
//!
//! ```text
//! parked/<hour>.<segment, 16 digits>.<records>    JSON lines behind a line with their checksum
//! parked/tried                                    when each hour was tried last; a view, made again where it is lost
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::files::watch_list::WatchList;
use crate::state::files::{checked, durable};

/// How long an hour is left alone after a try.
const PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// A record that waits for its hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedRecord {
    /// Its content hash.
    pub hash: [u8; 16],
    /// The token that it came in.
    pub token: String,
    /// When it was received.
    pub received: Timestamp,
}

/// A file of parked records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Batch {
    segment: u64,
    records: u64,
}

/// The parked records of a state directory.
#[derive(Debug)]
pub struct Parked {
    dir: PathBuf,
    hours: BTreeMap<Hour, Vec<Batch>>,
    tried: BTreeMap<Hour, Timestamp>,
    /// How many records each segment must have here at the next start.
    watch_list: WatchList,
    /// The hashes of the hours that were added to.
    known: BTreeMap<Hour, HashSet<[u8; 16]>>,
}

impl Parked {
    /// Opens what is parked below the state directory: lists names, reads no record.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path) -> Result<Self> {
        let dir = state.join("parked");
        let (mut hours, mut tried) = (BTreeMap::<Hour, Vec<Batch>>::new(), BTreeMap::new());
        if dir.is_dir() {
            durable::remove_leftovers(&dir)?;
            for (hour, batch) in durable::names(&dir)?.iter().filter_map(|name| parse_name(name)) {
                hours.entry(hour).or_default().push(batch);
            }
            let text = durable::read(&dir.join("tried"))?.unwrap_or_default();
            tried = serde_json::from_slice(&text).unwrap_or_default();
        }
        Ok(Self { dir, hours, tried, watch_list: WatchList::open(state, "parked-records")?, known: BTreeMap::new() })
    }

    /// The hours of which records are parked below the state directory, for those who only look.
    pub(crate) fn hours_in(state: &Path) -> Result<BTreeSet<Hour>> {
        let dir = state.join("parked");
        let names = if dir.is_dir() { durable::names(&dir)? } else { Vec::new() };
        Ok(names.iter().filter_map(|name| parse_name(name)).map(|(hour, _)| hour).collect())
    }

    /// What was here at the end of the last run and is gone, said once.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn vanished(&mut self) -> Result<Option<Error>> {
        self.watch_list.check(self.by_segment(), "parked records", &self.dir)
    }

    fn by_segment(&self) -> BTreeMap<u64, u64> {
        let mut there = BTreeMap::new();
        for batch in self.hours.values().flatten() {
            *there.entry(batch.segment).or_default() += batch.records;
        }
        there
    }

    /// How many records are parked.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.hours.values().flatten().map(|batch| batch.records).sum()
    }

    /// The hours that they are of, oldest first.
    #[must_use]
    pub fn hours(&self) -> Vec<Hour> {
        self.hours.keys().copied().collect()
    }

    /// Whether records of the hour are parked.
    #[must_use]
    pub fn holds(&self, hour: Hour) -> bool {
        self.hours.contains_key(&hour)
    }

    /// The newest segment that has records here.
    #[must_use]
    pub fn newest_segment(&self) -> u64 {
        self.hours.values().flatten().map(|batch| batch.segment).max().unwrap_or_default()
    }

    /// Whether the hour was tried a short time ago.
    #[must_use]
    pub fn was_just_tried(&self, hour: Hour, now: Timestamp) -> bool {
        self.tried.get(&hour).is_some_and(|at| (SignedDuration::ZERO..PAUSE).contains(&now.duration_since(*at)))
    }

    /// Notes that the hour was tried in vain. Not fsynced: where it is lost, the hour is tried once more.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn note_tried(&mut self, hour: Hour, now: Timestamp) -> Result<()> {
        self.tried.insert(hour, now);
        self.tried.retain(|tried, _| *tried == hour || self.hours.contains_key(tried));
        self.save_tried()
    }

    fn save_tried(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.tried)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the tried hours").caused_by(e))?;
        durable::make_dir(&self.dir)?;
        durable::replace_unsynced(&self.dir.join("tried"), &text)
    }

    /// Has the next run try the hour at once.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn forget_tried(&mut self, hour: Hour) -> Result<()> {
        if self.tried.remove(&hour).is_none() {
            return Ok(());
        }
        self.save_tried()
    }

    /// Parks records of an hour that came in `segment`; gives how many of them were not parked yet. Durable on return.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn add(&mut self, segment: u64, hour: Hour, records: Vec<ParkedRecord>) -> Result<u64> {
        self.load(hour)?;
        let known = self.known.entry(hour).or_default();
        let fresh: Vec<ParkedRecord> = records.into_iter().filter(|record| known.insert(record.hash)).collect();
        if fresh.is_empty() {
            return Ok(0);
        }
        let batch = Batch { segment, records: fresh.len() as u64 };
        durable::make_dir(&self.dir)?;
        durable_step(Step::RecordsParked, || durable::replace(&self.path(hour, batch), &encode(&fresh)?))?;
        let batches = self.hours.entry(hour).or_default();
        batches.push(batch);
        batches.sort_unstable();
        self.watch_list.set(self.by_segment())?;
        Ok(batch.records)
    }

    fn load(&mut self, hour: Hour) -> Result<()> {
        if !self.known.contains_key(&hour) {
            let hashes = self.records(hour)?.into_iter().map(|record| record.hash).collect();
            self.known.insert(hour, hashes);
        }
        Ok(())
    }

    /// The parked records of an hour, in the order of their arrival.
    ///
    /// # Errors
    /// `State`, naming the path: unreadable or damaged.
    pub fn records(&self, hour: Hour) -> Result<Vec<ParkedRecord>> {
        let mut records = Vec::new();
        for batch in self.hours.get(&hour).into_iter().flatten() {
            let path = self.path(hour, *batch);
            let gone = || Error::disk("read", &path, std::io::ErrorKind::NotFound.into());
            let text = durable::read(&path)?.ok_or_else(gone)?;
            let unreadable = |e| {
                Error::new(ErrorKind::State, format!("cannot read {}", path.display()))
                    .caused_by(e)
                    .hint("restore it from a backup: the records in it are parked nowhere else")
            };
            for line in checked::verified(&path, &text)?.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                records.push(serde_json::from_slice(line).map_err(unreadable)?);
            }
        }
        Ok(records)
    }

    /// Lets the records of an hour go: they are committed.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn release(&mut self, hour: Hour) -> Result<()> {
        let batches = self.hours.remove(&hour).unwrap_or_default();
        self.known.remove(&hour);
        // A crash on the way must not make anyone miss what was let go.
        self.watch_list.set(self.by_segment())?;
        durable_step(Step::ParkedReleased, || {
            batches.iter().try_for_each(|batch| durable::remove(&self.path(hour, *batch)))?;
            durable::sync_dir(&self.dir)
        })
    }

    fn path(&self, hour: Hour, batch: Batch) -> PathBuf {
        self.dir.join(format!("{hour}.{:016}.{}", batch.segment, batch.records))
    }
}

fn parse_name(name: &str) -> Option<(Hour, Batch)> {
    let mut fields = name.splitn(3, '.');
    let hour = fields.next()?.parse().ok()?;
    Some((hour, Batch { segment: fields.next()?.parse().ok()?, records: fields.next()?.parse().ok()? }))
}

fn encode(records: &[ParkedRecord]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a parked record").caused_by(e))?;
        lines.push(b'\n');
    }
    Ok(checked::with_checksum(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u8) -> ParkedRecord {
        ParkedRecord { hash: [n; 16], token: format!("t{n}"), received: "2023-03-10T01:00:00Z".parse().unwrap() }
    }

    #[test]
    fn record_is_parked_once_and_comes_back_in_the_order_of_arrival() {
        let dir = tempfile::tempdir().unwrap();
        let hour: Hour = "2023-01-01T01".parse().unwrap();
        let mut parked = Parked::open(dir.path()).unwrap();
        assert_eq!(parked.add(9, hour, vec![record(1), record(2), record(1)]).unwrap(), 2);
        let mut parked = Parked::open(dir.path()).unwrap();
        assert_eq!(parked.add(12, hour, vec![record(2), record(3)]).unwrap(), 1);
        let mut parked = Parked::open(dir.path()).unwrap();
        assert_eq!((parked.count(), parked.hours(), parked.newest_segment()), (3, vec![hour], 12));
        assert_eq!(parked.records(hour).unwrap(), [record(1), record(2), record(3)]);
        parked.release(hour).unwrap();
        assert_eq!(Parked::open(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn hour_is_left_alone_for_a_while_after_a_try() {
        let dir = tempfile::tempdir().unwrap();
        let hour: Hour = "2023-01-01T01".parse().unwrap();
        let at = |text: &str| format!("2023-03-10T{text}:00Z").parse().unwrap();
        let mut parked = Parked::open(dir.path()).unwrap();
        parked.note_tried(hour, at("01:00")).unwrap();
        let parked = Parked::open(dir.path()).unwrap();
        assert!(parked.was_just_tried(hour, at("01:59")));
        assert!(!parked.was_just_tried(hour, at("02:00")));
        assert!(!parked.was_just_tried(hour, at("00:59")), "a clock that was wrong keeps nobody waiting");
    }

    #[test]
    fn file_that_vanishes_is_missed_once() {
        let dir = tempfile::tempdir().unwrap();
        let hour: Hour = "2023-01-01T01".parse().unwrap();
        let mut parked = Parked::open(dir.path()).unwrap();
        parked.add(9, hour, vec![record(1), record(2)]).unwrap();
        assert!(Parked::open(dir.path()).unwrap().vanished().unwrap().is_none());
        std::fs::remove_file(parked.path(hour, Batch { segment: 9, records: 2 })).unwrap();
        let said = Parked::open(dir.path()).unwrap().vanished().unwrap().unwrap();
        assert!(said.to_string().contains("2 parked records are gone"), "{said}");
        assert!(Parked::open(dir.path()).unwrap().vanished().unwrap().is_none());
    }

    #[test]
    fn damaged_file_is_named_and_not_taken_for_empty() {
        let dir = tempfile::tempdir().unwrap();
        let hour: Hour = "2023-01-01T01".parse().unwrap();
        let mut parked = Parked::open(dir.path()).unwrap();
        parked.add(9, hour, vec![record(1)]).unwrap();
        let path = parked.path(hour, Batch { segment: 9, records: 1 });
        std::fs::write(&path, b"x").unwrap();
        let error = Parked::open(dir.path()).unwrap().records(hour).unwrap_err();
        assert!(error.chain().contains(&path.display().to_string()), "{error}");
    }
}
