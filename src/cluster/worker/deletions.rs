//! What goes from Kafka because all that became of it has receipts: pages, and what lanes have read.
//!
//! Invariant: nothing is deleted but below a checkpoint that every lane has passed, or below what the owner of a lane has released. A crash leaves
//! more than is needed, until the next time.

use std::time::{Duration, Instant};

use super::{FETCHER, Worker};
use crate::cluster::checkpoint;
use crate::error::Result;

/// Between two deletions from Kafka.
const DELETIONS: Duration = Duration::from_secs(60);

impl Worker {
    /// Whether it is time to delete from Kafka what has receipts.
    pub(super) fn is_time_to_delete(&mut self) -> bool {
        let is_time = self.last_deletion.is_none_or(|last| last.elapsed() >= DELETIONS);
        if is_time {
            self.last_deletion = Some(Instant::now());
        }
        is_time
    }

    pub(super) fn delete_pages(&self) -> Result<()> {
        if !self.route.as_ref().is_some_and(|member| member.still_owns(FETCHER)) {
            return Ok(());
        }
        checkpoint::advance(&self.connection, &self.admin, &self.status, (&self.names, &self.settings))
    }

    pub(super) fn delete_from_lanes(&self) -> Result<()> {
        let Some(member) = &self.own else { return Ok(()) };
        let topic = self.names.lanes(self.settings.epoch);
        let (ends, released) =
            (self.admin.ends(&topic)?, self.admin.committed(&self.names.own_group(self.settings.epoch), &topic)?);
        let is_there = |lane: &i32, at: i64| ends.get(lane).is_some_and(|(low, end)| at > *low && at <= *end);
        let below = released.into_iter().filter(|(lane, at)| member.still_owns(*lane) && is_there(lane, *at));
        self.admin.delete_records(&topic, &below.collect())
    }
}
