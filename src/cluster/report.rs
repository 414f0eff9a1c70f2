//! What machines and lanes say of themselves in the topic `status`, for everybody who looks.
//!
//! ```text
//! lane-<epoch>-<lane>    how far the lane is, and the status of its state as its owner saw it last
//! machine-<instance>     what the machine owns, and what was wrong with its last tick
//! ```
//! A view: nothing depends on it but what is shown. A crash leaves what was said before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::kafka::Admin;
use super::status_log::StatusLog;
use crate::error::{Error, ErrorKind, Result};
use crate::job::lane::LanePlace;
use crate::state::files::durable;
use crate::state::status::RunSoFar;

/// What is said of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneReport {
    /// Its number.
    pub lane: i32,
    /// The epoch that it is of.
    pub epoch: u32,
    /// Who owned it.
    pub machine: String,
    /// How far it is.
    pub place: LanePlace,
    /// Below which offset everything has receipts, as the group knows it.
    pub released: Option<u64>,
    /// What was wrong.
    pub problems: Vec<String>,
}

/// What is said of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReport {
    /// What it is called.
    pub machine: String,
    /// The lanes that it owned.
    pub lanes: BTreeSet<i32>,
    /// The partitions of pages that it routed.
    pub pages: BTreeSet<i32>,
    /// Whether it asks the source.
    pub fetches: bool,
    /// What was wrong with its last tick.
    pub problems: Vec<String>,
    /// When that tick began.
    #[serde(default)]
    pub started: Timestamp,
    /// How it ended, as an exit code.
    #[serde(default)]
    pub exit: u8,
    /// What it brought.
    #[serde(default)]
    pub so_far: RunSoFar,
}

/// A report with its time; for a lane also the status of its state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reported<T> {
    /// The version of this shape.
    pub schema: u32,
    /// When it was said.
    pub at: Timestamp,
    /// What was said.
    pub report: T,
    /// The state's `status.json`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<Box<serde_json::value::RawValue>>,
}

/// The key of a lane's report.
#[must_use]
pub fn lane_key(epoch: u32, lane: i32) -> String {
    format!("lane-{epoch}-{lane}")
}

/// The key of a machine's report.
#[must_use]
pub fn machine_key(machine: &str) -> String {
    format!("machine-{machine}")
}

/// Says how a lane is, whose state is in `dir`.
pub(super) fn lane(log: &StatusLog, report: LaneReport, dir: &Path) -> Result<()> {
    let text = durable::read(&dir.join("status.json"))?;
    let status = text.and_then(|text| serde_json::from_slice(&text).ok());
    log.put(&lane_key(report.epoch, report.lane), &Reported { schema: 1, at: Timestamp::now(), report, status })
}

/// Says how this machine is.
pub(super) fn machine(log: &StatusLog, report: MachineReport) -> Result<()> {
    log.put(&machine_key(&report.machine), &Reported { schema: 1, at: Timestamp::now(), report, status: None })
}

/// The number behind everything that owners had read of each lane of an epoch, as the values of the status topic say.
pub(super) fn read_up_to(values: &BTreeMap<String, Vec<u8>>, epoch: u32) -> BTreeMap<i32, u64> {
    let reports = values.values().filter_map(|value| serde_json::from_slice::<Reported<LaneReport>>(value).ok());
    let of_epoch = reports.filter(|reported| reported.report.epoch == epoch);
    of_epoch.map(|reported| (reported.report.lane, reported.report.place.newest)).collect()
}

/// Checks that lanes still have what owners had read of them.
///
/// # Errors
/// As [`check_is_whole`].
pub(super) fn check_are_whole(admin: &Admin, topic: &str, read_up_to: &BTreeMap<i32, u64>) -> Result<()> {
    let ends = ends_from(admin, topic, read_up_to)?;
    read_up_to
        .iter()
        .try_for_each(|(lane, read)| check_is_whole(topic, *lane, *read, ends.get(lane).copied().unwrap_or(0)))
}

/// Where each lane ends; they were read so far before.
pub(super) fn ends_from(admin: &Admin, topic: &str, read_up_to: &BTreeMap<i32, u64>) -> Result<BTreeMap<i32, u64>> {
    let known = read_up_to.iter().map(|(lane, read)| (*lane, i64::try_from(*read).unwrap_or(i64::MAX))).collect();
    let ends = admin.ends_from(topic, &known)?;
    Ok(ends.into_iter().map(|(lane, (_, end))| (lane, u64::try_from(end).unwrap_or(0))).collect())
}

/// Checks that a lane still has what owners had read of it: its partition ends at `end`.
///
/// # Errors
/// `State`: the brokers lost it, or somebody made the topic again.
pub(super) fn check_is_whole(topic: &str, lane: i32, read_up_to: u64, end: u64) -> Result<()> {
    if read_up_to <= end {
        return Ok(());
    }
    let what = format!(
        "partition {lane} of the topic {topic} ends at offset {end}, and was read up to {read_up_to}: the brokers have lost what they \
         acknowledged, or one answers that is cut off from the others"
    );
    Err(Error::new(ErrorKind::State, what).hint(
        "look at the brokers; then stop all machines, and `etl cluster lanes N --reroute` begins another topic, into which all pages are \
         routed again",
    ))
}
