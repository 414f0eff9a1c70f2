//! `etl cluster status`, and what other commands know of a cluster. Takes no lock, joins nothing, and writes nothing.

use jiff::Timestamp;

use crate::audit::stored_rows::StoredRows;
use crate::cli::print::{print_bytes, print_json, styled};
use crate::cli::setup;
use crate::cluster::view::{ClusterView, Waiting};
use crate::config::{ClusterConfig, Config};
use crate::error::Result;
use crate::hour::verdict::{Evidence, Lanes, Unread};
use crate::hour::{Clock, SystemClock};
use crate::state::status::cluster::ClusterStatus;
use crate::state::status::evidence::Known;
use crate::state::status::verified;
use crate::state::status::{self, Status};
use crate::store::settings::layout_there;
use crate::view::cluster;

/// Prints how the cluster stands.
pub(super) fn print(cluster: &ClusterConfig, json: bool) -> Result<u8> {
    let now = SystemClock.now();
    let view = ClusterView::read(cluster, now)?;
    if json {
        print_json(&view.status)?;
    } else {
        print_bytes(styled(&cluster::text(&view.status, now)).as_bytes())?;
    }
    Ok(0)
}

/// One status of all lanes.
pub(super) fn merged(config: &Config, cluster: &ClusterConfig, now: Timestamp) -> Result<Status> {
    let mut status = ClusterView::read(cluster, now)?.merged(now);
    // What was verified from here, and what this machine keeps.
    status.last_verify = verified::read(&config.state.dir)?;
    status.disk = status::usage(&config.state.dir, now);
    Ok(status)
}

/// What hours are judged by.
pub(super) fn known(config: &Config, cluster: &ClusterConfig, now: Timestamp) -> Result<Known> {
    let place = setup::place(config)?;
    let layout = layout_there(&*place.store, &place.prefix, &place.layout)?;
    // The parts come first, so that what is pending is at least as new.
    let rows = StoredRows::open(place.store, place.prefix, layout, config.hours.timezone.clone())?;
    let view = ClusterView::read(cluster, now)?;
    let (status, rules) = (view.merged(now), setup::judging(config));
    let lanes = Lanes {
        closed_through: view.status.closed_through,
        slowest: slowest(&view.status),
        odd: view.odd.received.clone(),
        has_more_unread: view.waiting.has_more,
    };
    let evidence = Evidence {
        now,
        rules: rules.closing,
        zone: rules.zone,
        seen: status.ids.clone(),
        heard: crate::hour::heard::Heard::default(),
        unread: unread(&view.waiting),
        quarantined: status.quarantine.count,
        is_interrupted: false,
        lanes: Some(lanes),
    };
    Ok(Known::of_lanes(status, evidence, Box::new(rows)))
}

fn unread(waiting: &Waiting) -> Vec<Unread> {
    waiting
        .received
        .iter()
        .map(|(received, is_rejected)| Unread { received: *received, is_rejected: *is_rejected })
        .collect()
}

fn slowest(cluster: &ClusterStatus) -> String {
    let Some(lane) = cluster.slowest() else { return "a lane".to_owned() };
    match &lane.owner {
        Some(owner) => format!("lane {}, which {owner} owns,", lane.lane),
        None => format!("lane {}, which nobody owns,", lane.lane),
    }
}
