//! What hours are judged by, for those who only look: read without a lock and beside a run, from files that are replaced as a whole.
//!
//! The order matters: the ledger's head comes first, then `status.json`, so that what is pending is at least as new as the parts. What
//! cannot be read is an error, or claims less.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::writer::WAITING;
use super::{HourState, Status, read};
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::closing::ClosingRules;
use crate::hour::lifecycle::HourRow;
use crate::hour::verdict::{Evidence, Judgement, OfHour, Unread, Verdict};
use crate::state::hours::heard;
use crate::state::hours::parked::Parked;
use crate::state::pages::journal::Journal;
use crate::state::{Ledger, Lock, State};

/// How often a run that seems not to have ended is looked at again, and how long after the last look.
const LOOKS: u32 = 4;
const MOMENT: Duration = Duration::from_millis(50);

/// What is known of the hours of a state directory.
pub(crate) struct Known {
    pub(crate) status: Status,
    pub(crate) evidence: Evidence,
    rows: Box<dyn Rows>,
    parked: BTreeSet<Hour>,
}

/// What is known of the parts of hours: by a ledger, or by the store itself.
pub(crate) trait Rows {
    /// The first hour with parts.
    fn first(&self) -> Result<Option<Hour>>;

    /// The row of an hour. `None`: it has no parts.
    fn row(&mut self, hour: Hour) -> Result<Option<HourRow>>;
}

impl Rows for Option<Ledger> {
    fn first(&self) -> Result<Option<Hour>> {
        Ok(self.as_ref().map(Ledger::first).transpose()?.flatten())
    }

    fn row(&mut self, hour: Hour) -> Result<Option<HourRow>> {
        let Some(ledger) = self else { return Ok(None) };
        let range = ledger.settings().range;
        Ok(Some(ledger.row(hour)?.within(range).into_owned()).filter(|row| !row.parts.is_empty()))
    }
}

/// How hours are judged.
pub(crate) struct Rules {
    pub(crate) closing: ClosingRules,
    /// The name of the zone.
    pub(crate) zone: String,
    /// The field with the source's rising number. Empty: none.
    pub(crate) sequence: String,
}

impl Known {
    /// Reads what the state directory `dir` knows as of `now`.
    pub(crate) fn read(dir: &Path, rules: Rules, now: Timestamp) -> Result<Self> {
        let ledger = Ledger::open(dir)?;
        let (status, is_interrupted) = settled(dir, now)?;
        let quarantined = status.quarantine.count + status.quarantine.held_pages;
        let evidence = Evidence {
            now,
            rules: rules.closing,
            zone: rules.zone,
            seen: status.ids.for_field(&rules.sequence),
            heard: heard::read(dir)?,
            unread: unread(&Journal::at(dir), &|number| waits(&status, number))?,
            quarantined,
            is_interrupted,
            lanes: None,
        };
        Ok(Self { parked: Parked::hours_in(dir)?, status, evidence, rows: Box::new(ledger) })
    }

    /// What the lanes of a cluster know together, and the store has.
    #[cfg(feature = "kafka")]
    pub(crate) fn of_lanes(status: Status, evidence: Evidence, rows: Box<dyn Rows>) -> Self {
        Self { parked: status.parked.hours.iter().copied().collect(), status, evidence, rows }
    }

    /// The first hour of which something is known.
    pub(crate) fn first(&self) -> Result<Option<Hour>> {
        let pending = self.status.hours.iter().map(|hour| hour.hour).min();
        Ok(pending.into_iter().chain(self.rows.first()?).min())
    }

    /// The row of an hour, and the verdict on it. No row: it has no parts.
    pub(crate) fn judge(&mut self, hour: Hour) -> Result<(Option<HourRow>, u64, Judgement)> {
        let row = self.rows.row(hour)?;
        let pending = self.pending(hour);
        let of = OfHour { hour, row: row.as_ref(), pending, is_parked: self.parked.contains(&hour) };
        let judged = self.evidence.judge(of);
        Ok((row, pending.unwrap_or(0), judged))
    }

    /// The records of an hour without a receipt. `None`: it may have some that are not listed.
    fn pending(&self, hour: Hour) -> Option<u64> {
        if let Some(listed) = self.status.hours.iter().find(|listed| listed.hour == hour) {
            return Some(listed.pending_records);
        }
        let at_work = self.status.hours.iter().filter(|listed| listed.state != HourState::Uploaded);
        let is_left_out = self.status.hours_left_out > 0 && at_work.map(|listed| listed.hour).max() < Some(hour);
        (!is_left_out).then_some(0)
    }
}

/// The verdicts on the hours from `since` to `until`, each with its reason.
///
/// # Errors
/// `State`, naming the path.
pub fn verdicts(
    dir: &Path,
    closing: &ClosingRules,
    sequence: &str,
    now: Timestamp,
    (since, until): (Hour, Hour),
) -> Result<Vec<(Hour, Verdict, String)>> {
    let zone = closing.zone.iana_name().unwrap_or_default().to_owned();
    let rules = Rules { closing: closing.clone(), zone, sequence: sequence.to_owned() };
    let mut known = Known::read(dir, rules, now)?;
    let hours = std::iter::successors(Some(since), |hour| hour.next()).take_while(|hour| *hour <= until);
    hours.map(|hour| known.judge(hour).map(|(_, _, judged)| (hour, judged.verdict, judged.reason))).collect()
}

/// The status, and whether the last run did not end. One that ends lets go of its lock just before it notes that: it is given a
/// moment.
fn settled(dir: &Path, now: Timestamp) -> Result<(Status, bool)> {
    for _ in 0..LOOKS {
        let status = read(dir, now)?;
        if !is_interrupted(&status, dir) {
            return Ok((status, false));
        }
        std::thread::sleep(MOMENT);
    }
    let status = read(dir, now)?;
    let is_interrupted = is_interrupted(&status, dir);
    Ok((status, is_interrupted))
}

fn is_interrupted(status: &Status, dir: &Path) -> bool {
    let is_unended = !status.running && status.last_run.as_ref().is_some_and(|run| run.ended.is_none());
    is_unended || (status.last_run.is_some() && Lock::was_left(dir))
}

/// Whether a page of the journal may not be committed.
fn waits(status: &Status, number: u64) -> bool {
    let listed = &status.journal.waiting;
    let is_behind_the_list = listed.len() >= WAITING && listed.last().is_some_and(|last| number > *last);
    number > status.journal.newest || listed.contains(&number) || is_behind_the_list
}

/// What was received and is not read: pages that wait in the journal, and what was set aside.
fn unread(journal: &Journal, waits: &dyn Fn(u64) -> bool) -> Result<Vec<Unread>> {
    let mut unread = Vec::new();
    if journal.exists() {
        for id in journal.list()?.into_iter().filter(|id| waits(id.number)) {
            unread.extend(journal.received(id).map(|received| Unread { received, is_rejected: false }));
        }
    }
    for id in journal.rejected().list_if_any()? {
        unread.extend(journal.rejected().received(id).map(|received| Unread { received, is_rejected: true }));
    }
    Ok(unread)
}

/// What an open state knows, for what is sealed in it: the same as of now.
pub(crate) fn of_state(state: &State, rules: Rules, now: Timestamp) -> Result<Evidence> {
    Ok(Evidence {
        now,
        rules: rules.closing,
        zone: rules.zone,
        seen: state.hours.seen().for_field(&rules.sequence),
        heard: heard::read(state.dir())?,
        unread: unread(state.pages.journal(), &|number| !state.hours.is_committed(number))?,
        quarantined: state.pages.quarantine.count() + state.pages.held_pages(),
        is_interrupted: false,
        lanes: None,
    })
}
