//! From the source into the log: fetched, made durable, decoded, and each distinct record committed once.

pub(crate) mod address;
mod backfill;
pub(super) mod commit;
pub(super) mod decoding;
pub mod dedup;
pub(super) mod fetch;
pub(super) mod hearing;
pub(crate) mod increment;
pub mod lane;
pub(super) mod notes;
mod quarantine;
mod receive;
pub(super) mod windows;

use self::hearing::Hearing;
use jiff::Timestamp;

use super::context::Run;
use crate::error::Result;
use crate::hour::gaps::{PolledTooRarely, Watch};

/// The half of a run that takes records in.
pub(super) struct Intake {
    /// The source is files, which are there at once: their records are not late.
    is_backfill: bool,
    /// Whether this poll overlaps with the one before. `None`: there is nothing to compare with.
    watch: Option<Watch>,
    /// Whether it joins the one before.
    hearing: Hearing,
    /// Bodies that were set aside before this run.
    rejected: u64,
    /// The time of the newest record that was committed, if that was not of the future.
    newest: Option<Timestamp>,
}

impl Intake {
    pub(super) fn new(is_backfill: bool) -> Self {
        Self { is_backfill, watch: None, hearing: Hearing::default(), rejected: 0, newest: None }
    }

    /// Watches from now on whether what comes overlaps with what came before. `source`: the fingerprint of the address that is asked.
    pub(super) fn watch_ids(&mut self, run: &Run<'_>, source: Option<String>) -> Result<()> {
        self.hearing = Hearing::start(run, source)?;
        self.rejected = run.state.pages.journal().rejected().sum().count;
        self.watch = if self.is_backfill { None } else { Watch::start(run.state.hours.seen()) };
        Ok(())
    }

    pub(super) fn polled_too_rarely(&self, run: &Run<'_>) -> Option<PolledTooRarely> {
        self.watch.as_ref().and_then(|watch| watch.lost(run.state.hours.seen()))
    }
}
