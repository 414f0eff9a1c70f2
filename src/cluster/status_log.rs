//! The topic `status`: what everybody has to know, a value a key.
//!
//! Invariant: the last value of a key counts; a value that was put is durable on return. A crash in between leaves the value before.

use std::collections::BTreeMap;

use serde::Serialize;

use super::feed;
use super::kafka::{Connection, PATIENCE, Producer, Reader, Start};
use super::names::Names;
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// Writes to the topic.
#[derive(Debug)]
pub struct StatusLog {
    producer: Producer,
    topic: String,
}

impl StatusLog {
    /// Of the cluster of this connection.
    pub fn new(connection: &Connection) -> Result<Self> {
        Ok(Self { producer: Producer::new(connection)?, topic: Names::new(connection.name()).status() })
    }

    /// What it writes with.
    pub(super) const fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Puts a value in place of the one before.
    pub fn put(&self, key: &str, value: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(value).map_err(|cause| {
            Error::new(ErrorKind::Bug, format!("cannot encode {key} for {}", self.topic)).caused_by(cause)
        })?;
        self.producer.send(&self.topic, Some(0), key.as_bytes(), &[], &bytes)?;
        self.producer.settle(PATIENCE)
    }

    /// Takes a value away.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.producer.erase(&self.topic, key.as_bytes())?;
        self.producer.settle(PATIENCE)
    }
}

/// All values, with all that was acknowledged before the call: [`read_all`] may not have the newest yet.
///
/// # Errors
/// `Unavailable`: the brokers do not take a message, or do not give it back.
pub(super) fn read_settled(connection: &Connection, producer: &Producer) -> Result<BTreeMap<String, Vec<u8>>> {
    let topic = Names::new(connection.name()).status();
    // A key without a value is no key of the topic.
    let ours = producer.offsets_of(&topic, [0], b"look", &[], None)?.into_values().next().unwrap_or(0);
    let mut reader = Reader::new(connection)?;
    match reader.start(&topic, 0, ours + 1)? {
        Start::At { .. } | Start::Deleted { .. } => values(&mut reader, &topic),
        Start::Beyond { end } => {
            let what =
                format!("the topic {topic} ends at {end}, although the brokers have taken a message behind that");
            Err(Error::new(ErrorKind::Unavailable, what)
                .hint("a broker answers that is cut off from the others: look at the brokers"))
        }
    }
}

/// All values, as a broker knows them that may have been cut off from the others for a while.
///
/// # Errors
/// `Config`: there is no such topic.
pub fn read_all(connection: &Connection) -> Result<BTreeMap<String, Vec<u8>>> {
    values(&mut Reader::new(connection)?, &Names::new(connection.name()).status())
}

fn values(reader: &mut Reader, topic: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    // Nothing stops it: the topic is small.
    let values = feed::latest(reader, topic, 0, &Stop::new())?.unwrap_or_default();
    Ok(values.into_iter().map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), value)).collect())
}
