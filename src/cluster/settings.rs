//! What all machines of a cluster have to agree on, as the topic `status` records it.
//!
//! Owns its value `settings`. Invariant: a machine whose configuration differs does nothing: records of one hour would get two forms, or
//! change their lanes. Written by `etl cluster init`; a crash leaves the value before, or none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kafka::{Connection, Producer};
use super::status_log::{self, StatusLog};
use crate::error::{Error, ErrorKind, Result};
use crate::state::Settings;

/// The key of the value.
pub const KEY: &str = "settings";
/// The version of what lies in the topics.
const FORMAT: u32 = 1;

/// What the value says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// The version of what lies in the topics.
    pub format: u32,
    /// What tells this cluster from another of its name.
    pub id: String,
    /// Which topic of lanes is in use.
    pub epoch: u32,
    /// Into how many lanes records are divided there.
    pub lanes: u32,
    /// The change of lanes that is at work, by a name of its own: nobody begins to work in these lanes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
    /// The address that is fetched, without what may be secret of it; `None`: no machine with an address has begun yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What parts depend on, as a state directory records it.
    pub settings: Settings,
}

/// What a machine's configuration says of the same.
#[derive(Debug, Clone)]
pub struct Ours {
    /// `cluster.lanes`.
    pub lanes: u32,
    /// The address of its source; `None`: files, or none.
    pub source: Option<String>,
    /// What parts depend on.
    pub settings: Settings,
}

impl ClusterSettings {
    /// Those of a new cluster.
    #[must_use]
    pub fn new(ours: &Ours, id: String) -> Self {
        Self {
            format: FORMAT,
            id,
            epoch: 1,
            lanes: ours.lanes,
            leaving: None,
            source: ours.source.clone(),
            settings: ours.settings.clone(),
        }
    }

    /// Those among the values of `status`; `None`: `etl cluster init` has not been here.
    ///
    /// # Errors
    /// `State`: what is there is none of ours.
    pub fn read(values: &BTreeMap<String, Vec<u8>>) -> Result<Option<Self>> {
        let Some(bytes) = values.get(KEY) else { return Ok(None) };
        serde_json::from_slice(bytes).map(Some).map_err(|cause| {
            Error::new(ErrorKind::State, "the topic of the cluster's status does not hold its settings")
                .caused_by(cause)
                .hint("look whether something else writes to it, or a newer version of etl: every machine needs that version then")
        })
    }

    /// Records them.
    pub fn write(&self, log: &StatusLog) -> Result<()> {
        log.put(KEY, self)
    }

    /// Checks that the lanes of `epoch` are those of the cluster, now: a machine that was stopped for long may have missed that they were left.
    ///
    /// # Errors
    /// `Unavailable`: they are left, or somebody is about to.
    pub(super) fn check_epoch(connection: &Connection, producer: &Producer, epoch: u32) -> Result<()> {
        match Self::read(&status_log::read_settled(connection, producer)?)? {
            Some(now) if now.epoch == epoch => now.check_stays(connection.name()),
            _ => Err(Error::new(ErrorKind::Unavailable, format!("the lanes of the cluster {} are others by now", connection.name()))
                .hint("nothing is lost: what was not done yet comes to the new lanes; run again, with cluster.lanes as `etl cluster status` has it")),
        }
    }

    /// Checks that nobody is about to leave these lanes.
    ///
    /// # Errors
    /// `Unavailable`: somebody is.
    pub fn check_stays(&self, name: &str) -> Result<()> {
        if self.leaving.is_none() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, format!("the number of lanes of the cluster {name} is being changed"))
            .hint("wait until `etl cluster lanes` has ended; where it was stopped before its end, run it again"))
    }

    /// Checks that a machine of this configuration belongs to the cluster `name`.
    ///
    /// # Errors
    /// `Config`, naming the key.
    pub fn check(&self, ours: &Ours, name: &str) -> Result<()> {
        if self.format != FORMAT {
            let what = format!(
                "the topics of the cluster {name} have the format {}, and this version of etl knows {FORMAT}",
                self.format
            );
            return Err(Error::new(ErrorKind::Config, what).hint("run the same version of etl on all machines"));
        }
        if self.lanes != ours.lanes {
            let what = format!("cluster.lanes is {}, and the cluster {name} has {} lanes", ours.lanes, self.lanes);
            return Err(Error::new(ErrorKind::Config, what).hint(format!(
                "set cluster.lanes = {}; `etl cluster lanes` changes the number for all machines",
                self.lanes
            )));
        }
        if let Some((key, what)) = self.settings.difference(&ours.settings) {
            return Err(Error::new(ErrorKind::Config, format!("{key} differs from that of the cluster {name}, which was made with {what}"))
                .hint("use the same configuration on all machines; for another one, choose another cluster.name and another prefix in load.to"));
        }
        match (&self.source, &ours.source) {
            (Some(theirs), Some(ours)) if theirs != ours => {
                let what = format!("source.url is {ours}, and the cluster {name} reads from {theirs}");
                Err(Error::new(ErrorKind::Config, what).hint(
                    "a cluster has one source: choose another cluster.name and another prefix in load.to; if the source itself has moved, \
                     `etl cluster init --new-source` says so",
                ))
            }
            _ => Ok(()),
        }
    }
}
