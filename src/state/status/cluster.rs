//! The shape of `etl cluster status --json`, which is also in the status of a machine of a cluster.
//!
//! Additions are free; what is here stays. Made from what Kafka says and from what machines said of themselves; keeps nothing on the disk.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hour::Hour;

/// A cluster, as seen from any machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The version of this shape.
    pub schema: u32,
    /// When it was true.
    pub as_of: Timestamp,
    /// What its topics begin with.
    pub name: String,
    /// Which topic of lanes is in use.
    pub epoch: u32,
    /// How many brokers there are.
    pub brokers: u64,
    /// All that was received before an hour closed has receipts, for every hour that closed until then. `null`: a lane has not said yet.
    pub closed_through: Option<Timestamp>,
    /// Chunks of pages.
    pub pages: PagesStatus,
    /// Its lanes, in their order.
    pub lanes: Vec<LaneStatus>,
    /// Its machines, by name: those that are at work, and those that said something once.
    pub machines: Vec<MachineStatus>,
    /// Its topics.
    pub topics: Vec<TopicStatus>,
}

/// How far pages are. A page of more than 512 KiB counts as several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagesStatus {
    /// In Kafka: of some the records have no receipts yet.
    pub kept: u64,
    /// Not routed to the lanes yet.
    pub unrouted: u64,
    /// Pages that no key opens, that are no pages, or at which machines died.
    pub waiting: u64,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// Its number, from 0.
    pub lane: i32,
    /// Who owns it; `null`: nobody does.
    pub owner: Option<String>,
    /// Messages that its owner has not read yet.
    pub unread: u64,
    /// Messages in Kafka whose records are not all in the store: read or not.
    pub unfinished: u64,
    /// The hour whose missing receipts keep the oldest of them.
    pub oldest: Option<Hour>,
    /// Records that were read, and have no receipt.
    pub pending: u64,
    /// See [`ClusterStatus::closed_through`].
    pub closed_through: Option<Timestamp>,
    /// When an owner last said something of it.
    pub reported: Option<Timestamp>,
    /// Who that was.
    pub reported_by: Option<String>,
    /// What was wrong then.
    pub problems: Vec<String>,
}

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// What it is called.
    pub machine: String,
    /// Whether Kafka counts it among those who are at work.
    pub is_member: bool,
    /// Where it is.
    pub host: Option<String>,
    /// The lanes that it owns.
    pub lanes: Vec<i32>,
    /// The partitions of pages that it routes.
    pub pages: Vec<i32>,
    /// Whether it asked the source in its last tick.
    pub fetches: bool,
    /// When its last tick began.
    pub started: Option<Timestamp>,
    /// When it last said something.
    pub reported: Option<Timestamp>,
    /// How that tick ended, as an exit code.
    pub exit: Option<u8>,
    /// What was wrong with it.
    pub problems: Vec<String>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// How many partitions; 0: it is not there.
    pub partitions: u32,
    /// How many of them are on fewer brokers than they should be.
    pub under_replicated: u32,
    /// How many of them nobody can read or write.
    pub without_leader: u32,
}

impl ClusterStatus {
    /// The lanes that nobody owns.
    pub(crate) fn unowned(&self) -> impl Iterator<Item = &LaneStatus> {
        self.lanes.iter().filter(|lane| lane.owner.is_none())
    }

    /// The lane that holds hours back from closing: one that has never said anything, else the one that is the least far.
    #[cfg(feature = "kafka")]
    pub(crate) fn slowest(&self) -> Option<&LaneStatus> {
        self.lanes.iter().min_by_key(|lane| lane.closed_through)
    }

    /// Partitions on fewer brokers than they should be, and those without a leader.
    pub(crate) fn lacking(&self) -> (u32, u32) {
        let sum = |of: fn(&TopicStatus) -> u32| self.topics.iter().map(of).sum();
        (sum(|topic| topic.under_replicated), sum(|topic| topic.without_leader))
    }
}
