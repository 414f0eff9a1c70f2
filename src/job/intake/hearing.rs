//! Whether a poll of the source joins the one before, so that nothing was lost in between: noted for the certificates of hours.
//!
//! Invariant: what is noted as heard was received whole, and is committed. The note is a file of its own ([`crate::state::hours::heard`]),
//! written after the commit and before anything is sealed; a crash before that loses the link, and less is claimed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::fetch::PageTrail;
use crate::error::Result;
use crate::hour::heard::{Heard, Told};
use crate::job::context::Run;
use crate::page::decode::Decoded;
use crate::state::hours::heard;
use crate::state::pages::journal::Segment;

/// A poll that came to its end.
pub(crate) struct Poll {
    /// The fingerprint of the address that was asked.
    pub(crate) source: String,
    /// Before its first request was sent.
    pub(crate) asked: Timestamp,
    /// The segments with its pages.
    pub(crate) segments: Vec<u64>,
    /// The answer was 304, for the page in this segment.
    pub(crate) not_modified: Option<u64>,
    /// The source's clock and this machine's are too far apart.
    pub(crate) clock_is_off: bool,
}

/// What the pages of this run's poll tell.
#[derive(Default)]
pub(super) struct Hearing {
    heard: Heard,
    /// The address that is asked now.
    source: Option<String>,
    /// Bodies that were set aside before this run.
    rejected: u64,
    took: Vec<Took>,
}

/// What a committed segment holds.
struct Took {
    segment: u64,
    elements: u64,
    has_odd: bool,
    /// The newest record that was not of the future, and its content hash.
    newest: Option<(Timestamp, [u8; 16])>,
    holds_the_newest: bool,
}

impl Hearing {
    pub(super) fn start(run: &Run<'_>, source: Option<String>) -> Result<Self> {
        let rejected = run.state.pages.journal().rejected().sum().count;
        Ok(Self { heard: heard::read(run.state.dir())?, source, rejected, took: Vec::new() })
    }

    /// Whether the source's address is another than that of the poll before.
    pub(super) fn asks_another(&self) -> bool {
        self.source.as_deref().is_some_and(|source| self.heard.is_of_another(source))
    }

    /// Notes the pages of a segment that is about to be committed.
    pub(super) fn took(&mut self, segment: &Segment, pages: &[Decoded]) {
        if self.source.is_none() {
            return;
        }
        let records =
            || pages.iter().flat_map(|page| &page.records).map(|record| (record.entry.at(), record.entry.hash));
        self.took.push(Took {
            segment: segment.id.number,
            elements: pages.iter().map(|page| page.elements).sum(),
            has_odd: pages.iter().any(|page| page.odd_seen > 0),
            newest: records().filter(|(at, _)| *at <= segment.received).max(),
            holds_the_newest: self.heard.newest().is_some_and(|newest| records().any(|(_, hash)| hash == newest)),
        });
    }

    /// Notes whether the poll joins the one before.
    pub(super) fn hear(&mut self, run: &Run<'_>, poll: &Poll) {
        let Some(told) = self.told(run, poll) else { return };
        self.heard.hear(&poll.source, poll.asked, told);
        self.source = None;
        if let Err(error) = heard::write(run.state.dir(), &self.heard) {
            tracing::info!("certificates will claim less: {}", error.chain());
        }
    }

    /// What the poll tells. `None`: not all of it is committed.
    fn told(&self, run: &Run<'_>, poll: &Poll) -> Option<Told> {
        let is_rejected = run.state.pages.journal().rejected().sum().count > self.rejected;
        if is_rejected || poll.clock_is_off {
            return Some(Told::Doubt);
        }
        if let Some(segment) = poll.not_modified.filter(|_| poll.segments.is_empty()) {
            return Some(Told::NotModified { segment });
        }
        let wanted: BTreeSet<u64> = poll.segments.iter().copied().collect();
        let took: Vec<&Took> = self.took.iter().filter(|took| wanted.contains(&took.segment)).collect();
        let segment = *wanted.last()?;
        if !wanted
            .iter()
            .all(|segment| run.state.hours.is_committed(*segment) && took.iter().any(|took| took.segment == *segment))
        {
            return None;
        }
        if took.iter().all(|took| took.elements == 0) {
            return Some(Told::Nothing);
        }
        // Nothing to hold on to: tokens that are no records, or records that are all dated ahead.
        let Some((_, hash)) = took.iter().filter_map(|took| took.newest).max() else { return Some(Told::Doubt) };
        Some(Told::Records {
            newest: hash,
            has_odd: took.iter().any(|took| took.has_odd),
            holds_the_newest: took.iter().any(|took| took.holds_the_newest),
            segment,
        })
    }
}

impl super::Intake {
    /// Notes whether the poll joins the one before, once its pages are committed.
    pub(in crate::job) fn hear(&mut self, run: &Run<'_>, trail: Option<&PageTrail>) {
        if let Some(poll) = trail.and_then(PageTrail::poll) {
            self.hearing.hear(run, &poll);
        }
    }
}
