//! `etl cluster lanes N`: another number of lanes.

use super::check::ours;
use crate::cli::print::{print, print_json};
use crate::cli::setup;
use crate::cluster::kafka::Connection;
use crate::cluster::lanes;
use crate::cluster::start::Look;
use crate::config::{ClusterConfig, Config};
use crate::error::Result;
use crate::stop::Stop;

/// Changes the number of lanes to `count`, and prints what to do next.
pub(super) fn lanes(config: &Config, cluster: &ClusterConfig, count: u32, reroute: bool, json: bool) -> Result<u8> {
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let (connection, ours) = (Connection::new(cluster)?, ours(config, cluster)?);
    let place = setup::place_until(config, config.load.destination()?, &stop)?;
    let look = Look { connection: &connection, ours: &ours, store: &*place.store, prefix: &place.prefix };
    let settings = lanes::change(&look, count, reroute)?;
    if json {
        print_json(&settings)?;
    } else {
        print(&format!(
            "the cluster {} has {} lanes from now on, in {}.lanes-{}\n\
             next: set cluster.lanes = {} on every machine, and start the service again\n",
            cluster.name, settings.lanes, cluster.name, settings.epoch, settings.lanes
        ))?;
    }
    Ok(0)
}
