//! What a segment brings: its new records by hour, and what is counted of them. In memory only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::hour::Hour;
use crate::hour::gaps::ArrivedId;
use crate::hour::tally::Tally;
use crate::state::HourRecords;

/// What a segment brings, hour by hour; its lines are those of its decoded pages.
#[derive(Debug, Default)]
pub struct NewRecords<'p> {
    /// Its new records.
    pub records: BTreeMap<Hour, HourRecords<'p>>,
    /// Records that were known.
    pub duplicates: u64,
    /// The ids that came, of new and known records.
    pub ids: Vec<ArrivedId>,
    /// What is counted of each hour.
    pub tallies: BTreeMap<Hour, Tally>,
    /// The first and the last time of the new records of an hour that have no id.
    pub(crate) unnumbered: BTreeMap<Hour, (Timestamp, Timestamp)>,
}

impl NewRecords<'_> {
    /// Counts quarantined tokens of a page with the hours of its new records; `before`: how many records each hour had before it.
    pub(crate) fn quarantined(&mut self, tokens: u64, before: &BTreeMap<Hour, usize>) {
        for (hour, new) in &self.records {
            if new.entries.len() > before.get(hour).copied().unwrap_or(0) {
                self.tallies.entry(*hour).or_default().quarantined += tokens;
            }
        }
    }

    /// Takes ids that are not part of the source's count out of what was counted of hours.
    pub(crate) fn leave_strays_out(&mut self, zone: &TimeZone, is_stray: impl Fn(i64) -> bool) {
        if !self.ids.iter().any(|arrived| arrived.is_new && is_stray(arrived.id)) {
            return;
        }
        self.tallies.values_mut().for_each(|tally| tally.ids = None);
        for arrived in self.ids.iter().filter(|arrived| arrived.is_new && !is_stray(arrived.id)) {
            let tally = Hour::of(arrived.at, zone).and_then(|hour| self.tallies.get_mut(&hour));
            tally.into_iter().for_each(|tally| tally.saw(arrived.id));
        }
    }

    /// How many records are new so far, by hour.
    pub(crate) fn lengths(&self) -> BTreeMap<Hour, usize> {
        self.records.iter().map(|(hour, new)| (*hour, new.entries.len())).collect()
    }

    /// How many records are new.
    pub(crate) fn count(&self) -> u64 {
        self.records.values().map(|new| new.entries.len() as u64).sum()
    }
}

/// Notes a time of an hour.
pub(super) fn note(spans: &mut BTreeMap<Hour, (Timestamp, Timestamp)>, hour: Hour, at: Timestamp) {
    let span = spans.entry(hour).or_insert((at, at));
    *span = (span.0.min(at), span.1.max(at));
}
