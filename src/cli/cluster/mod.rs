//! `etl cluster`: makes the topics of a cluster, and checks what its machines need.
//!
//! The flags are there in every build, what they do only with the feature `kafka`: whoever asks for a cluster of a build without it is told
//! how to get one. A crash in the middle of `init` leaves some of the topics; the next goes on.

#[cfg(feature = "kafka")]
pub(super) mod check;
#[cfg(feature = "kafka")]
mod init;
#[cfg(feature = "kafka")]
mod lanes;
#[cfg(feature = "kafka")]
mod status;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::config::{ClusterConfig, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::state::pages::quarantine::{self, OddToken};
use crate::state::status::Status;
use crate::state::status::evidence::Known;

/// The examples of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  etl cluster init                           make the topics, once, from any machine; again whenever you like
  etl cluster status                         lanes, their owners and how far they are, machines, topics
  etl cluster check                          brokers, topics, settings and prefix, with what mends them
  etl cluster check --json                   the same for programs
  etl cluster lanes 12                       more lanes, for more machines

A cluster is several machines with the same [cluster] in their etl.toml. Each of them runs `etl run`. `etl help cluster` is the manual.";

/// `etl cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct ClusterArgs {
    /// What to do.
    #[command(subcommand)]
    action: ClusterAction,
}

/// What to do with the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum ClusterAction {
    /// Make the topics that are missing, record the settings, and say in the store whose prefix it is
    Init {
        /// The source has moved: take its new address for that of the cluster
        #[arg(long)]
        new_source: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show lanes, who owns them and how far they are; machines; and what brokers lack
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Divide records into another number of lanes. All machines are stopped, and everything is sealed: see `etl run --drain`
    Lanes {
        /// How many
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
        count: u32,
        /// Give up what is in the lanes of now, and route all pages again: for brokers that have lost what they had
        #[arg(long)]
        reroute: bool,
        /// Print the new settings as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Check brokers, topics, settings and prefix; exit 78 where something has to be mended
    Check {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Does it.
pub(super) fn cluster(config: &Config, args: &ClusterArgs) -> Result<u8> {
    let Some(cluster) = &config.cluster else {
        return Err(Error::new(ErrorKind::Config, "there is no [cluster] in the configuration")
            .hint("`etl help cluster` says when one machine is not enough, and what belongs there"));
    };
    act(config, cluster, args)
}

#[cfg(feature = "kafka")]
fn act(config: &Config, cluster: &ClusterConfig, args: &ClusterArgs) -> Result<u8> {
    match args.action {
        ClusterAction::Init { new_source, json } => init::init(config, cluster, new_source, json),
        ClusterAction::Status { json } => status::print(cluster, json),
        ClusterAction::Check { json } => check::check(config, cluster, json),
        ClusterAction::Lanes { count, reroute, json } => lanes::lanes(config, cluster, count, reroute, json),
    }
}

/// One status of all lanes; `None` where this machine works alone.
pub(super) fn merged(config: &Config, now: Timestamp) -> Result<Option<Status>> {
    #[cfg(feature = "kafka")]
    if let Some(cluster) = &config.cluster {
        return status::merged(config, cluster, now).map(Some);
    }
    let _ = (config, now);
    Ok(None)
}

/// Refuses what only a machine alone does.
pub(super) fn refuse(config: &Config, what: &str, hint: &str) -> Result<()> {
    if config.cluster.is_none() {
        return Ok(());
    }
    let what = format!("{what} is for a machine alone, and this one is of a cluster");
    Err(Error::new(ErrorKind::Usage, what).hint(hint.to_owned()))
}

/// Hands the tokens of the quarantine over, oldest first: in a cluster those that all machines share.
pub(super) fn each_odd(config: &Config, each: &mut dyn FnMut(OddToken) -> Result<()>) -> Result<()> {
    #[cfg(feature = "kafka")]
    if let Some(cluster) = &config.cluster {
        return crate::cluster::tokens::each(cluster, each);
    }
    quarantine::look(&config.state.dir, each)
}

/// Drops the tokens with a reason from the quarantine that all machines share; `None` where this machine works alone.
pub(super) fn drop_odd(config: &Config, reason: &str) -> Result<Option<u64>> {
    #[cfg(feature = "kafka")]
    if let Some(cluster) = &config.cluster {
        return crate::cluster::tokens::drop_reason(cluster, reason).map(Some);
    }
    let _ = (config, reason);
    Ok(None)
}

/// What hours are judged by in a cluster; `None` where this machine works alone.
pub(super) fn known(config: &Config, now: Timestamp) -> Result<Option<Known>> {
    #[cfg(feature = "kafka")]
    if let Some(cluster) = &config.cluster {
        return status::known(config, cluster, now).map(Some);
    }
    let _ = (config, now);
    Ok(None)
}

/// A configuration with the section does not load in such a build.
#[cfg(not(feature = "kafka"))]
fn act(_: &Config, _: &ClusterConfig, _: &ClusterArgs) -> Result<u8> {
    Err(Error::new(ErrorKind::Config, "this build of etl cannot work in a cluster")
        .hint("build it with `--features kafka`"))
}
