//! The ledger's days: the rows of hours without work, in a gzipped file a day. A tick that touches none reads none.
//!
//! Invariant: a row is in its day's file, under a durable name, before the head forgets it. A crash in between leaves it in both, and
//! the head's counts.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::civil::Date;

use super::{Ledger, SHOWN, body, json, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;
use crate::output::draft::Survives;
use crate::state::files::step::{Step, durable_step};
use crate::state::files::{checked, durable};

/// How many more may gather there before they move, so that not each run moves one.
const SLACK: usize = 24;
/// With more rows the head is a burden to each step that writes it.
const CROWD: usize = 512;
/// Days' files kept in memory: more than a page of old records has of them.
const CACHED_DAYS: usize = 128;

impl Ledger {
    /// Whether more rows have gathered in the head than each step should write.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.head.hours.len() > CROWD
    }

    /// Moves rows without work, beyond the newest ones, to the files of their days, and shows them to `leaving` before. `busy`: hours
    /// that must stay.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn archive(&mut self, busy: impl Fn(Hour) -> bool, leaving: &mut dyn FnMut(&HourRow)) -> Result<()> {
        let idle = |row: &&HourRow| !row.is_sealing() && !busy(row.hour);
        let idle: Vec<Hour> = self.head.hours.values().filter(idle).map(|row| row.hour).collect();
        let surplus = idle.len().saturating_sub(SHOWN);
        if surplus <= SLACK {
            return Ok(());
        }
        let mut head = self.head.clone();
        let mut moved: BTreeMap<Date, Vec<HourRow>> = BTreeMap::new();
        for hour in idle.into_iter().take(surplus) {
            if let Some(row) = head.hours.remove(&hour) {
                leaving(&row);
                moved.entry(hour.date()).or_default().push(row);
            }
        }
        for (date, rows) in moved {
            self.archive_day(date, rows)?;
        }
        durable::sync_dir(&self.dir)?;
        self.replace(Step::LedgerArchived, head)
    }

    fn archive_day(&mut self, date: Date, rows: Vec<HourRow>) -> Result<()> {
        let path = self.day_path(date);
        // Nobody asks for its rows again soon, and kept between the buffers of this they would split the heap.
        let mut day = match self.days.remove(&date) {
            Some(day) => day,
            None => self.read_day(date)?,
        };
        day.extend(rows.into_iter().map(|row| (row.hour, row)));
        let rows: Vec<&HourRow> = day.values().collect();
        let text = checked::with_checksum(&gzipped(&json(&rows)?)?);
        // Their names are made durable together, before the head forgets the rows.
        durable_step(Step::DayArchived, || durable::write(&path, &text, Survives::Bytes))
    }

    /// Every row, by hour. For `verify` and the like: reads all days.
    ///
    /// # Errors
    /// `State`: a file is damaged. And whatever `each` returns.
    pub fn for_each(&self, each: &mut dyn FnMut(&HourRow) -> Result<()>) -> Result<()> {
        let mut head = self.head.hours.values().peekable();
        for name in durable::names(&self.dir)? {
            let Ok(date) = name.parse::<Date>() else { continue };
            for row in self.read_day(date)?.values() {
                while let Some(newer) = head.next_if(|newer| newer.hour < row.hour) {
                    each(newer)?;
                }
                if let Some(newer) = head.next_if(|newer| newer.hour == row.hour) {
                    each(newer)?;
                } else {
                    each(row)?;
                }
            }
        }
        head.try_for_each(each)
    }

    /// The first hour of which there is a row: in the head, or in the file of the first day.
    pub(crate) fn first(&self) -> Result<Option<Hour>> {
        let names = durable::names(&self.dir)?;
        let day = names.iter().filter_map(|name| name.parse::<Date>().ok()).min();
        let archived = day.map(|date| self.read_day(date)).transpose()?.and_then(|day| day.into_keys().next());
        Ok(archived.into_iter().chain(self.head.hours.keys().next().copied()).min())
    }

    /// The rows in the files of the newest days, of as many as there are up to `days`. A damaged file is left out: this is
    /// for views.
    #[must_use]
    pub fn newest_archived(&self, days: usize) -> Vec<HourRow> {
        let names = durable::names(&self.dir).unwrap_or_default();
        let dates = names.iter().filter_map(|name| name.parse::<Date>().ok()).rev().take(days);
        dates.filter_map(|date| self.read_day(date).ok()).flat_map(BTreeMap::into_values).collect()
    }

    fn day_path(&self, date: Date) -> PathBuf {
        self.dir.join(format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()))
    }

    pub(super) fn day(&mut self, date: Date) -> Result<&BTreeMap<Hour, HourRow>> {
        if !self.days.contains_key(&date) {
            while self.days.len() >= CACHED_DAYS {
                // Hours are gone through in their order: the day furthest from this one is needed last.
                let (first, last) = (self.days.keys().next(), self.days.keys().next_back());
                let is_before = first
                    .zip(last)
                    .is_some_and(|(first, last)| date.duration_since(*first) > last.duration_since(date));
                drop(if is_before { self.days.pop_first() } else { self.days.pop_last() });
            }
            let day = self.read_day(date)?;
            self.days.insert(date, day);
        }
        Ok(self.days.entry(date).or_default())
    }

    fn read_day(&self, date: Date) -> Result<BTreeMap<Hour, HourRow>> {
        let path = self.day_path(date);
        let Some(text) = durable::read(&path)? else {
            return Ok(BTreeMap::new());
        };
        let mut json = Vec::new();
        let read = GzDecoder::new(body(&path, &text)?).read_to_end(&mut json);
        read.map_err(|e| unreadable(&path, serde_json::Error::io(e)))?;
        let rows: Vec<HourRow> = serde_json::from_slice(&json).map_err(|e| unreadable(&path, e))?;
        Ok(rows.into_iter().map(|row| (row.hour, row)).collect())
    }
}

fn gzipped(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let finished = gzip.write_all(bytes).and_then(|()| gzip.finish());
    finished.map_err(|e| Error::new(ErrorKind::Bug, "cannot compress the ledger").caused_by(e))
}
