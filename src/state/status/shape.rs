//! The shape of `status.json` and of `etl status --json`: what a view is made of.
//!
//! Additions are free; what is here stays. Keeps nothing on the disk.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cluster::ClusterStatus;
use super::days::Day;
use super::run::{Command, LastRun};
use super::verified::LastVerify;
use crate::hour::Hour;
use crate::hour::gaps::{Gap, Seen};
use crate::hour::part::PartStage;
use crate::state::pages::journal::Rejected;

/// The version of the shape.
pub(super) const SCHEMA: u32 = 1;

/// The shape of `etl status --json`. Additions are free; what is here stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this shape.
    pub schema: u32,
    /// When it was true.
    pub as_of: Timestamp,
    /// How often it was written in this run.
    pub step: u64,
    /// Whether a run is at work.
    pub running: bool,
    /// The last run, or the one at work.
    pub last_run: Option<LastRun>,
    /// The last run that was to ask its source and is over: not a replay, and not one at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fetching_run: Option<LastRun>,
    /// When a run last asked its source and did all it should: exit 0, or 65.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Timestamp>,
    /// Pages that are needed.
    pub journal: JournalStatus,
    /// The oldest hours with work left, and the newest others.
    pub hours: Vec<HourStatus>,
    /// Further hours with work left. The totals count them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hours_left_out: u64,
    /// The newest days with records, hour by hour.
    #[serde(default)]
    pub days: Vec<Day>,
    /// Since the state directory was made.
    pub totals: Totals,
    /// Ranges of record ids that were never seen.
    pub gaps: Vec<Gap>,
    /// When the newest of them was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_found: Option<Timestamp>,
    /// Ids in gaps that are no longer listed, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gaps_given_up: u64,
    /// Which ids came: what `etl hours` judges by.
    #[serde(default)]
    pub ids: Seen,
    /// Tokens that hold no record.
    pub quarantine: QuarantineStatus,
    /// Bodies that are not pages, until someone acts.
    #[serde(default)]
    pub rejected: Rejected,
    /// Records of hours that cannot be read back.
    #[serde(default)]
    pub parked: ParkedStatus,
    /// What the last verification found; `null` where there was none.
    #[serde(default)]
    pub last_verify: Option<LastVerify>,
    /// What the state directory takes on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskUse>,
    /// The cluster whose lanes these are together; absent where a machine works alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStatus>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
pub(super) const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Pages that are needed.
    pub pages: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Pages that were received and not committed: of another key, or of an interrupted run.
    pub uncommitted: u64,
    /// The numbers of the first of them, and the highest number in the journal: later ones came since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<u64>,
    /// See `waiting`.
    #[serde(default)]
    pub newest: u64,
    /// Those of them that runs died on: they are read last, each alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub put_off: u64,
    /// The hours whose missing receipts keep the oldest page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned_by: Vec<Hour>,
}

/// The state of an hour: that of its least advanced work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HourState {
    /// Unsealed records, and not due.
    Open,
    /// Unsealed records, and due.
    Closed,
    /// Parts without a receipt.
    Sealing,
    /// Nothing left to do.
    Uploaded,
}

/// An hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourStatus {
    /// Which.
    pub hour: Hour,
    /// Its state.
    pub state: HourState,
    /// Records without a receipt.
    pub pending_records: u64,
    /// When it closes or closed; for late records when they are due.
    pub closes_at: Timestamp,
    /// Records that came late: after the hour's first records were sealed.
    #[serde(default)]
    pub late_records: u64,
    /// When its last receipt was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_at: Option<Timestamp>,
    /// Its parts.
    pub parts: Vec<PartStatus>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Its number.
    pub part: u32,
    /// Where it is in its life.
    pub state: PartStage,
    /// The object's key.
    pub key: String,
    /// Records in it.
    pub rows: u64,
    /// Size of the object.
    pub bytes: u64,
    /// SHA-256 of the object.
    pub sha256: String,
}

/// Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Distinct records.
    pub records: u64,
    /// Records received again.
    pub duplicates: u64,
    /// Records with a receipt.
    pub uploaded: u64,
    /// Records without one.
    pub pending: u64,
    /// Tokens in the quarantine.
    pub quarantined: u64,
    /// Parts with a receipt.
    pub parts: u64,
}

/// The quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineStatus {
    /// Tokens in it.
    pub count: u64,
    /// The same by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// Bytes of its files.
    #[serde(default)]
    pub bytes: u64,
    /// Pages that stay in the journal because it had no room for their odd tokens.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_pages: u64,
}

/// Records of hours that cannot be read back from the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedStatus {
    /// Records.
    pub count: u64,
    /// Their hours, oldest first: as many as [`crate::state::SHOWN`].
    pub hours: Vec<Hour>,
}

/// What the state directory takes on its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// Bytes of its blocks.
    pub bytes: u64,
    /// When they were counted.
    pub as_of: Timestamp,
}

/// Hours that are due and not uploaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overdue {
    /// How many.
    pub(crate) hours: u64,
    /// How long the first of them has been due, in seconds.
    pub(crate) oldest: u64,
}

impl Status {
    /// The status of a state directory that no run has used yet.
    pub(crate) fn empty(now: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            as_of: now,
            step: 0,
            running: false,
            last_run: None,
            last_fetching_run: None,
            last_success: None,
            journal: JournalStatus::default(),
            hours: Vec::new(),
            hours_left_out: 0,
            days: Vec::new(),
            totals: Totals::default(),
            gaps: Vec::new(),
            gap_found: None,
            gaps_given_up: 0,
            ids: Seen::default(),
            quarantine: QuarantineStatus::default(),
            rejected: Rejected::default(),
            parked: ParkedStatus::default(),
            last_verify: None,
            disk: None,
            cluster: None,
        }
    }

    /// Marks the hours that have closed by `now`: time goes on while no run does.
    pub(crate) fn close_hours(&mut self, now: Timestamp) {
        for hour in &mut self.hours {
            if hour.state == HourState::Open && hour.closes_at <= now {
                hour.state = HourState::Closed;
            }
        }
    }

    /// The runs by which it is judged, the most recent last: the last that was to ask its source; and a replay after it, the failure
    /// of which counts too. A run at work is not judged; one that was killed is.
    pub(crate) fn judged(&self) -> impl Iterator<Item = &LastRun> {
        let last = self.last_run.as_ref().filter(|run| run.ended.is_some() || !self.running);
        let asks = |run: &&LastRun| run.command == Command::Run;
        let asking = last.filter(asks).or(self.last_fetching_run.as_ref());
        asking.into_iter().chain(last.filter(|run| !asks(run)))
    }

    /// The hours that are due and not uploaded.
    pub(crate) fn overdue(&self, now: Timestamp) -> Overdue {
        let due = self.hours.iter().filter(|hour| matches!(hour.state, HourState::Closed | HourState::Sealing));
        let age = |hour: &HourStatus| u64::try_from(now.duration_since(hour.closes_at).as_secs()).unwrap_or(0);
        Overdue { hours: due.clone().count() as u64, oldest: due.map(age).max().unwrap_or(0) }
    }

    /// Ids in the gaps that are listed.
    pub(crate) fn missing_ids(&self) -> u64 {
        self.gaps.iter().map(Gap::ids).fold(0, u64::saturating_add)
    }
}

impl HourStatus {
    /// Its distinct records.
    pub(crate) fn records(&self) -> u64 {
        let uploaded = self.parts.iter().filter(|part| part.state == PartStage::Uploaded).map(|part| part.rows);
        uploaded.sum::<u64>().saturating_add(self.pending_records)
    }

    /// The size of its parts.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}
