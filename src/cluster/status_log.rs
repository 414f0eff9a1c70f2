//! The topic `status`: what everybody has to know, a value a key.
//!
//! Invariant: the last value of a key counts; a value that was put is durable on return. A crash in between leaves the value before.

use std::collections::BTreeMap;

use serde::Serialize;

use super::feed;
use super::kafka::{Connection, PATIENCE, Producer, Reader};
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

/// All values, as of the call.
///
/// # Errors
/// `Config`: there is no such topic.
pub fn read_all(connection: &Connection) -> Result<BTreeMap<String, Vec<u8>>> {
    let (topic, mut reader) = (Names::new(connection.name()).status(), Reader::new(connection)?);
    // Nothing stops it: the topic is small.
    let values = feed::latest(&mut reader, &topic, 0, &Stop::new())?.unwrap_or_default();
    Ok(values.into_iter().map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), value)).collect())
}
