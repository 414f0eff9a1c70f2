//! From the log into the store: sealed, uploaded, and pruned once there is a receipt.

pub mod archive;
pub(super) mod dictionaries;
mod digest;
pub(super) mod document;
pub(super) mod guard;
pub(super) mod manifest;
mod refused;
mod seal;
mod spooled_part;
mod upload;

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;

use self::refused::Refused;
use self::seal::EncodeAhead;
use self::spooled_part::SpooledBy;
use super::context::Run;
use super::recover::Recover;
use crate::error::Result;
use crate::hour::Hour;

/// The half of a run that puts records out.
pub(super) struct Output {
    /// Whether hours are sealed whether closed or not.
    pub(super) drain: bool,
    /// Whether hours that are over are sealed without waiting for more late records.
    pub(super) drain_closed: bool,
    /// Up to when all is committed that was received, where that is not simply now: for a lane.
    pub(super) caught_up: Option<Timestamp>,
    /// Hours with something foreign in their way, or that the store refuses: left alone for the rest of this run.
    blocked: BTreeSet<Hour>,
    /// Hours with a part that the store refuses.
    refused: Refused,
    /// What is encoded while parts are uploaded.
    ahead: EncodeAhead,
}

impl Output {
    pub(super) fn new(drain: bool, state_dir: &Path) -> Self {
        Self {
            drain,
            drain_closed: false,
            caught_up: None,
            blocked: BTreeSet::new(),
            refused: Refused::new(state_dir),
            ahead: EncodeAhead::default(),
        }
    }

    /// Uploads the parts that an earlier run left.
    pub(super) fn upload_left(&mut self, run: &mut Run<'_>, recover: &mut Recover) -> Result<()> {
        let left = run.state.hours.sealing().collect();
        self.upload(run, recover, left, SpooledBy::AnEarlierRun)
    }

    /// Seals, uploads and prunes all that is committed, closed or not: what makes space where there is little.
    pub(super) fn make_space(&mut self, run: &mut Run<'_>, recover: &mut Recover) -> Result<()> {
        let drain = std::mem::replace(&mut self.drain, true);
        let made = self.upload_left(run, recover).and_then(|()| self.seal_and_upload(run, recover));
        self.drain = drain;
        made
    }

    /// Leaves an hour alone for the rest of this run.
    pub(crate) fn block(&mut self, hour: Hour) {
        self.blocked.insert(hour);
    }
}
