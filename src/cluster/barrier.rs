//! Messages that say nothing, written to know where partitions end.
//!
//! A broker that was cut off from the others answers with the end of before until it hears that another one leads by now: a look alone can miss
//! what is acknowledged. A message that all in-sync replicas have taken lies behind all of it. So before somebody concludes from an end that
//! everything is done, he writes a barrier, and takes its offset for the end. Invariant: a barrier never becomes a page or a record. A crash
//! leaves a barrier for which nobody waits; readers pass over it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::kafka::Producer;
use super::message::Outgoing;
use super::names::Names;
use super::settings::ClusterSettings;
use crate::error::Result;

/// The header of a barrier among pages.
const HEADER: &str = "barrier";

/// Offsets by partition: everything that was acknowledged before lies below.
pub(super) type Ends = BTreeMap<i32, i64>;

/// Where the lanes end.
pub(super) fn lanes(producer: &Producer, names: &Names, settings: &ClusterSettings) -> Result<Ends> {
    let nothing = Outgoing::nothing(Timestamp::now())?;
    let lanes = 0..i32::try_from(settings.lanes).unwrap_or(i32::MAX);
    producer.offsets_of(&names.lanes(settings.epoch), lanes, b"", &[], Some(&nothing))
}

/// Where the pages end.
pub(super) fn pages(producer: &Producer, names: &Names, partitions: u32) -> Result<Ends> {
    let partitions = 0..i32::try_from(partitions).unwrap_or(i32::MAX);
    producer.offsets_of(&names.pages(), partitions, b"", &[(HEADER, b"")], Some(b""))
}

/// Whether a message among pages is a barrier.
pub(super) fn is_one<'m>(header: impl Fn(&str) -> Option<&'m [u8]>) -> bool {
    header(HEADER).is_some()
}
