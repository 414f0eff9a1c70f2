//! What all machines of a cluster have to agree on, as the topic `status` records it.
//!
//! Owns its value `settings`. Invariant: a machine whose configuration differs does nothing: records of one hour would get two forms, or
//! change their lanes. Written by `etl cluster init`; a crash leaves the value before, or none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::kafka::Producer;
use super::names::Names;
use super::status_log;
use crate::config::ClusterConfig;
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
    /// The address that is fetched, without what may be secret of it; empty: no machine with an address has begun yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// What parts depend on, as a state directory records it.
    pub settings: Settings,
}

/// What a machine's configuration says of the same.
#[derive(Debug, Clone)]
pub struct Ours {
    /// `cluster.lanes`.
    pub lanes: u32,
    /// The address of its source; empty: files, or none.
    pub source: String,
    /// What parts depend on.
    pub settings: Settings,
}

impl Ours {
    /// What a machine's configuration says, whose parts depend on these settings.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, settings: Settings) -> Self {
        Self { lanes: cluster.lanes, source: cluster.source.clone(), settings }
    }
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
    pub fn write(&self, producer: &Producer, names: &Names) -> Result<()> {
        let json = serde_json::to_vec(self).map_err(|cause| {
            Error::new(ErrorKind::Bug, "cannot encode the settings of the cluster").caused_by(cause)
        })?;
        status_log::put(producer, names, KEY, &json)
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
        let is_known = !self.source.is_empty() && !ours.source.is_empty();
        if is_known && self.source != ours.source {
            let what = format!("source.url is {}, and the cluster {name} reads from {}", ours.source, self.source);
            return Err(Error::new(ErrorKind::Config, what).hint(
                "a cluster has one source: choose another cluster.name and another prefix in load.to; if the source itself has moved, \
                 `etl cluster init --new-source` says so",
            ));
        }
        Ok(())
    }
}
