//! Quarantine → journal: tokens whose time has come, or whose key.
//!
//! A token that became a record goes back through the journal, so that its page pins it like any other, and leaves the
//! quarantine after the commit. A crash in between finds its record known, and only lets the token go.

use jiff::Timestamp;

use super::Job;
use crate::decode::Decoded;
use crate::error::{Error, ErrorKind, Result};
use crate::quarantine::OddToken;

impl Job<'_> {
    /// Tries quarantined tokens again: all of them where asked to or where the key ring has changed, else those of
    /// the future that are due.
    pub(super) fn retry_quarantine(&mut self) -> Result<()> {
        let ring = self.setup.decoder.ring.fingerprint();
        let changed = self.state.quarantine.ring_changed(&ring)?;
        let due_by = if self.wish.quarantine || changed { None } else { Some(self.now()) };
        let mut all_tried = true;
        for segment in self.state.quarantine.segments(due_by) {
            if self.stopped() {
                return Ok(());
            }
            all_tried &= self.retry_segment(segment)?;
        }
        if changed && all_tried { self.state.quarantine.record_ring(&ring) } else { Ok(()) }
    }

    /// `false`: an hour of a recovered token is not at hand, and the tokens stay until it is.
    fn retry_segment(&mut self, segment: u64) -> Result<bool> {
        let now = self.now();
        let tokens = self.state.quarantine.tokens(segment)?;
        self.problems.extend(self.state.quarantine.take_damaged());
        let (recovered, rest): (Vec<OddToken>, Vec<OddToken>) =
            tokens.into_iter().partition(|odd| self.is_record(odd, now));
        if recovered.is_empty() {
            return Ok(true);
        }
        let page = page_of(&recovered)?;
        let unlike = |reason| Error::new(ErrorKind::Bug, "cannot read a page of recovered tokens").caused_by(reason);
        let decoded = self.setup.decoder.page(&page, now).map_err(unlike)?;
        if !self.make_ready(std::slice::from_ref(&decoded))? {
            return Ok(false);
        }
        if !self.buckets.know(&decoded)? {
            let id = self.append(&[&page], now)?;
            self.commit_segment(id)?;
            if !self.state.wal.is_committed(id.number) {
                return Ok(false);
            }
        }
        self.state.quarantine.release(segment, &rest)?;
        self.summary.recovered += recovered.len() as u64;
        Ok(true)
    }

    fn is_record(&self, odd: &OddToken, now: Timestamp) -> bool {
        let mut decoded = Decoded::default();
        self.setup.decoder.token(&odd.token, now, &mut decoded);
        !decoded.records.is_empty()
    }
}

/// A page as the origin would send it.
fn page_of(tokens: &[OddToken]) -> Result<Vec<u8>> {
    let elements: Vec<_> = tokens.iter().map(|odd| serde_json::json!({ "data": odd.token })).collect();
    serde_json::to_vec(&elements).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a page").caused_by(e))
}
