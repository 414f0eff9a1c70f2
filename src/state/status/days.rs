//! The newest days of `status.json`: records hour by hour, for the heat map.
//!
//! At most [`KEPT`] days, carried from one status to the next: a run changes only the hours that the ledger's head and the
//! write-ahead log know, so it costs the same however old the ledger is. Where the earlier status is
//! lost, or older than a receipt, the days are counted from the ledger's files of these days.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::hour::Hour;
use crate::hour::lifecycle::HourRow;

/// Days that are kept: the newest with records.
pub(crate) const KEPT: usize = 31;

/// A number for each hour of a day.
type Hours = [u64; 24];

/// A day, hour by hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// The date.
    pub day: Date,
    /// Records with a receipt.
    pub uploaded: Hours,
    /// Records without one.
    pub pending: Hours,
    /// Records that came late: after the hour's first records were sealed.
    pub late: Hours,
}

impl Day {
    /// The distinct records of an hour of the day.
    pub(crate) fn records(&self, hour: usize) -> u64 {
        let of = |hours: &Hours| hours.get(hour).copied().unwrap_or(0);
        of(&self.uploaded).saturating_add(of(&self.pending))
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Days(BTreeMap<Date, Day>);

impl Days {
    /// The days of an earlier status. What was pending is not kept: it is noted again.
    pub(crate) fn carried(days: Vec<Day>) -> Self {
        let days = days.into_iter().map(|day| (day.day, Day { pending: [0; 24], ..day }));
        Self(days.collect())
    }

    /// Forgets what is pending: it is noted again.
    pub(crate) fn clear_pending(&mut self) {
        self.0.values_mut().for_each(|day| day.pending = [0; 24]);
    }

    /// Notes the records of an hour: `pending` without a receipt; of all, those that came `late`.
    pub(crate) fn note(&mut self, row: &HourRow, pending: u64, late: u64) {
        let hour = row.hour;
        let uploaded: u64 = row.receipts().map(|part| part.identity.rows).sum();
        if uploaded == 0 && pending == 0 && !self.0.contains_key(&hour.date()) {
            return;
        }
        let new = || Day { day: hour.date(), uploaded: [0; 24], pending: [0; 24], late: [0; 24] };
        let day = self.0.entry(hour.date()).or_insert_with(new);
        set(&mut day.uploaded, hour, uploaded);
        set(&mut day.pending, hour, pending);
        set(&mut day.late, hour, late);
        while self.0.len() > KEPT {
            self.0.pop_first();
        }
    }

    /// Oldest first.
    pub(crate) fn to_vec(&self) -> Vec<Day> {
        self.0.values().cloned().collect()
    }
}

/// Records that came late: in parts after those of the first sealing, and unsealed beside parts.
pub(crate) fn late(row: &HourRow, unsealed: u64) -> u64 {
    let Some(first) = row.parts.first() else { return 0 };
    let later = row.parts.iter().filter(|part| part.through != first.through);
    later.map(|part| part.identity.rows).sum::<u64>().saturating_add(unsealed)
}

fn set(hours: &mut Hours, hour: Hour, count: u64) {
    let index = usize::try_from(hour.hour_of_day()).unwrap_or(0);
    hours.get_mut(index).into_iter().for_each(|cell| *cell = count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(hour: &str) -> HourRow {
        HourRow::new(hour.parse().unwrap())
    }

    #[test]
    fn newest_days_are_kept_and_pending_records_are_noted_again() {
        let mut days = Days::default();
        for day in 1..=28 {
            days.note(&row(&format!("2023-02-{day:02}T05")), 7, 7);
        }
        for day in 1..=10 {
            days.note(&row(&format!("2023-03-{day:02}T23")), 2, 2);
        }
        days.note(&row("2023-01-01T00"), 1, 1);
        let kept = days.to_vec();
        assert_eq!((kept.len(), kept[0].day.to_string(), kept[0].records(5)), (KEPT, "2023-02-08".to_owned(), 7));
        assert_eq!(kept[30].records(23), 2);
        assert!(Days::carried(kept).to_vec().iter().all(|day| (0..24).all(|hour| day.records(hour) == 0)));
    }

    #[test]
    fn hour_without_records_makes_no_day() {
        let mut days = Days::default();
        days.note(&row("2023-03-10T05"), 0, 0);
        assert!(days.to_vec().is_empty());
    }
}
