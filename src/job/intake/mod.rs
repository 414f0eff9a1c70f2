//! From the source into the log: fetched, made durable, decoded, and each distinct record committed once.

pub(crate) mod address;
mod backfill;
pub(super) mod commit;
pub(super) mod decoding;
pub mod dedup;
pub(super) mod fetch;
mod quarantine;

use super::context::Run;
use crate::hour::gaps::{PolledTooRarely, Watch};

/// The half of a run that takes records in.
pub(super) struct Intake {
    /// The source is files, which are there at once: their records are not late.
    is_backfill: bool,
    /// Whether this poll overlaps with the one before. `None`: there is nothing to compare with.
    watch: Option<Watch>,
}

impl Intake {
    pub(super) const fn new(is_backfill: bool) -> Self {
        Self { is_backfill, watch: None }
    }

    /// Watches from now on whether the ids that come overlap with those that came before.
    pub(super) fn watch_ids(&mut self, run: &Run<'_>) {
        self.watch = if self.is_backfill { None } else { Watch::start(run.state.hours.seen()) };
    }

    pub(super) fn polled_too_rarely(&self, run: &Run<'_>) -> Option<PolledTooRarely> {
        self.watch.as_ref().and_then(|watch| watch.lost(run.state.hours.seen()))
    }
}
