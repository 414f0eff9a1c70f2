//! `etl cluster init`: makes what is missing, says what there is.

use serde::Serialize;

use super::check::{ours, topics};
use crate::cli::print::{print, print_json};
use crate::cli::setup;
use crate::cluster::kafka::Connection;
use crate::cluster::start::{self, Look, Topic};
use crate::cluster::topics::Finding;
use crate::config::{ClusterConfig, Config};
use crate::error::Result;
use crate::stop::Stop;
use crate::view::findings::Findings;
use crate::view::table::{Align, Table};

/// What was made, for programs.
#[derive(Debug, Serialize)]
struct Made<'a> {
    schema: u32,
    exit: u8,
    name: &'a str,
    id: &'a str,
    epoch: u32,
    lanes: u32,
    topics: Vec<MadeTopic<'a>>,
}

#[derive(Debug, Serialize)]
struct MadeTopic<'a> {
    name: &'a str,
    partitions: u32,
    replicas: u32,
    is_new: bool,
    findings: &'a [Finding],
}

/// Makes what is missing, and prints what there is. Topics that are there and wrong are left alone: who set them so had a reason.
pub(super) fn init(config: &Config, cluster: &ClusterConfig, new_source: bool, json: bool) -> Result<u8> {
    let stop = Stop::new();
    crate::stop::install(&stop)?;
    let (connection, ours) = (Connection::new(cluster)?, ours(config, cluster)?);
    let place = setup::place_until(config, config.load.destination()?, &stop)?;
    let look = Look { connection: &connection, ours: &ours, store: &*place.store, prefix: &place.prefix };
    let (settings, made) = start::init(&look, new_source, &stop)?;
    let findings = Findings::new(topics(&made));
    if json {
        let topics = made.iter().map(of_topic).collect();
        let (epoch, lanes) = (settings.epoch, settings.lanes);
        print_json(&Made {
            schema: 1,
            exit: findings.exit,
            name: &cluster.name,
            id: &settings.id,
            epoch,
            lanes,
            topics,
        })?;
    } else {
        print(&format!("{}\n{}", table(&made), findings.text()))?;
    }
    Ok(findings.exit)
}

fn of_topic(topic: &Topic) -> MadeTopic<'_> {
    let (partitions, replicas) = topic.state.as_ref().map_or((0, 0), |state| (state.partitions, state.replication));
    MadeTopic { name: &topic.wanted.name, partitions, replicas, is_new: topic.is_new, findings: &topic.findings }
}

fn table(topics: &[Topic]) -> String {
    let columns = [("topic", Align::Left), ("partitions", Align::Right), ("replicas", Align::Right), ("", Align::Left)];
    let mut table = Table::new(&columns);
    for topic in topics.iter().map(of_topic) {
        let word = if topic.is_new { "made" } else { "was there" };
        table.row(vec![
            topic.name.to_owned(),
            topic.partitions.to_string(),
            topic.replicas.to_string(),
            word.to_owned(),
        ]);
    }
    table.render()
}
