//! The topic `status`: what everybody has to know, a value a key.
//!
//! Invariant: the last value of a key counts; a value that was put is durable on return. A crash in between leaves the value before.

use std::collections::BTreeMap;

use super::kafka::{Connection, PATIENCE, Producer, Reader, Start};
use super::names::Names;
use crate::error::Result;

/// Puts a value, JSON, in place of the one before.
pub fn put(producer: &Producer, names: &Names, key: &str, json: &[u8]) -> Result<()> {
    producer.send(&names.status(), Some(0), key.as_bytes(), &[], json)?;
    producer.settle(PATIENCE)
}

/// Takes a value away.
pub fn remove(producer: &Producer, names: &Names, key: &str) -> Result<()> {
    producer.send_or_erase(&names.status(), Some(0), key.as_bytes(), &[], None)?;
    producer.settle(PATIENCE)
}

/// All values, as of the call.
///
/// # Errors
/// `Config`: there is no such topic.
pub fn read_all(connection: &Connection) -> Result<BTreeMap<String, Vec<u8>>> {
    let (topic, mut reader) = (Names::new(connection.name()).status(), Reader::new(connection)?);
    if let Start::Deleted { low, .. } = reader.start(&topic, 0, 0)? {
        reader.start(&topic, 0, low)?;
    }
    let mut values = BTreeMap::new();
    reader.each(PATIENCE, |message| {
        let key = String::from_utf8_lossy(message.key()).into_owned();
        match message.payload() {
            Some(value) => drop(values.insert(key, value.to_vec())),
            None => drop(values.remove(&key)),
        }
        Ok(())
    })?;
    Ok(values)
}
