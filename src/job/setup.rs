//! What a run is given: everything that the configuration says, resolved, and what it is asked to do.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::output::archive::Archive;
use crate::config::SigningKey;
use crate::hour::Clock;
use crate::hour::closing::ClosingRules;
use crate::hour::key::Layout;
use crate::hour::part::PartRow;
use crate::page::decode::Decoder;
use crate::part::codec::{Codec, Columns};
use crate::part::cut::CutRules;
use crate::state::Settings;
use crate::state::status::StatusFile;
use crate::state::status::evidence::Rules;
use crate::stop::Stop;
use crate::store::ObjectStore;

/// The configuration of a run, checked and resolved.
pub struct Setup<'a> {
    /// The state directory.
    pub state_dir: PathBuf,
    /// A copy of the status for others. `None`: there is none.
    pub status_file: Option<StatusFile>,
    /// What is recorded in it.
    pub settings: Settings,
    /// Bytes that must stay free for a run to fetch.
    pub min_free: u64,
    /// The most bytes that the quarantine may take; 0: no limit.
    pub quarantine_max_bytes: u64,
    /// Page → records.
    pub decoder: Decoder,
    /// When hours close.
    pub closing: ClosingRules,
    /// How hours are cut into parts.
    pub cut: CutRules,
    /// How long the hashes of an hour are remembered after its last receipt.
    pub dedup_window: SignedDuration,
    /// Which columns parts have, where they are of columns.
    pub columns: Columns,
    /// How object keys are spelled.
    pub layout: Layout,
    /// What they begin with.
    pub prefix: String,
    /// Where the parts go. The lanes of a machine share it, with its connections.
    pub store: Arc<dyn ObjectStore>,
    /// Where originals are kept on this machine. `None`: they are not kept.
    pub archive: Option<Archive>,
    /// The age at which the store itself deletes parts, by a lifecycle rule. `None`: it deletes none.
    pub expire_after: Option<SignedDuration>,
    /// Whether each part's certificate is published beside it, and a digest of them each day.
    pub manifest: bool,
    /// What the digests are signed with. `None`: they are not.
    pub signing: Option<SigningKey>,
    /// How many parts are uploaded at once.
    pub uploads: usize,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Whether to stop.
    pub stop: &'a Stop,
    /// Told how far the work is, for a progress display.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

impl Setup<'_> {
    /// Whether the state is that of a lane, whose journal is elsewhere.
    pub(crate) const fn is_lane(&self) -> bool {
        !self.settings.lane.is_empty()
    }

    /// What makes the objects of parts.
    pub(crate) fn codec(&self) -> Codec<'_> {
        Codec::new(self.layout.format(), &self.columns, &self.decoder.compactor)
    }

    /// Whether the lifecycle rule may have deleted the part.
    pub(crate) fn has_expired(&self, part: &PartRow, now: Timestamp) -> bool {
        has_expired(self.expire_after, part, now)
    }

    /// How hours are judged.
    pub(crate) fn judging(&self) -> Rules {
        Rules {
            closing: self.closing.clone(),
            zone: self.settings.timezone.clone(),
            sequence: self.decoder.schema.id_name(),
        }
    }
}

/// Whether a lifecycle rule that deletes after `rule` may have deleted the part.
pub(crate) fn has_expired(rule: Option<SignedDuration>, part: &PartRow, now: Timestamp) -> bool {
    let written = part.uploaded_at.unwrap_or(part.frozen_at);
    rule.is_some_and(|rule| now.duration_since(written) >= rule)
}

/// How far the work is.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// Pages received so far.
    Fetched(u64),
    /// Records committed so far, duplicates included.
    Committed(u64),
    /// Hours sealed so far, of so many.
    Sealed(u64, u64),
    /// Parts uploaded so far, and their bytes.
    Uploaded(u64, u64),
}

/// What a run is asked to do beyond the usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// Seal everything now, closed or not.
    pub drain: bool,
    /// The source is files: a replay does not wait for hours to close either.
    pub backfill: bool,
    /// Try all quarantined tokens again.
    pub quarantine: bool,
    /// Read the bodies again that were not pages.
    pub rejected: bool,
    /// Rebuild ledger and hashes from the store first.
    pub from_store: bool,
}
