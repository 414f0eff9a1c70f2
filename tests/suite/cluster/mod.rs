//! Several machines that share their work through Kafka, against real brokers.

mod client;
mod deaths;
mod files;
mod moves;
mod route;
mod setup;

mod storm;
mod team;
mod view;

use etl::cluster::kafka::Connection;
use etl::config::{Config, Overrides};

use crate::support::kafka::Kafka;

/// The connection of a configuration with this `[cluster]`.
pub fn connection(cluster: &str) -> Connection {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("etl.toml"), cluster).unwrap();
    let config = Config::load(&Overrides::default(), &|_| None, dir.path()).unwrap();
    Connection::new(&config.cluster.unwrap()).unwrap()
}

/// The same for shared brokers.
pub fn connected(kafka: &Kafka, name: &str) -> Connection {
    connection(&kafka.cluster(name, 2))
}
