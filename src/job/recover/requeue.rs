//! Quarantine → journal: tokens whose time has come, or whose key. And bodies that were no pages, for another look.
//!
//! A token that became a record goes back through the journal, so that its page pins it like any other, and leaves the
//! quarantine after the commit. A crash in between finds its record known, and only lets the token go. A body goes back the
//! same way, and leaves `rejected/` when it is durable in the journal: a crash in between has it twice, which changes nothing.
//! Both go on token by token, in the memory of a few, and end at a stop with all that was not committed in its place.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::job::intake::commit::decode;
use crate::page::decode::Decoded;
use crate::page::parse::NotAPage;
use crate::state::pages::journal::SegmentId;
use crate::state::pages::quarantine::{Identity, OddToken};

/// So many recovered tokens, or bytes of them, make a page.
const CHUNK: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;

/// Which tokens of a file are tried.
#[derive(Clone, Copy)]
enum Which {
    All,
    /// Those whose time has come.
    Due(Timestamp),
}

impl Which {
    fn is(self, odd: &OddToken) -> bool {
        match self {
            Self::All => true,
            Self::Due(now) => odd.due.is_some_and(|due| due <= now),
        }
    }
}

impl Job<'_> {
    /// Tries quarantined tokens again: all of them where asked to or where the key ring has changed, else those of
    /// the future that are due.
    pub(crate) fn retry_quarantine(&mut self) -> Result<()> {
        self.merge_quarantine()?;
        let ring = self.setup.decoder.ring.fingerprint();
        let changed = self.state.quarantine.ring_changed(&ring)?;
        let which = if self.wish.quarantine || changed { Which::All } else { Which::Due(self.now()) };
        let due_by = if let Which::Due(now) = which { Some(now) } else { None };
        let mut all_tried = true;
        for segment in self.state.quarantine.segments(due_by) {
            all_tried &= self.retry_segment(segment, which)?;
            self.problems.extend(self.state.quarantine.take_damaged());
            if self.stopped() {
                return Ok(());
            }
        }
        if changed && all_tried { self.state.quarantine.record_ring(&ring) } else { Ok(()) }
    }

    /// Keeps the number of the quarantine's files bounded.
    fn merge_quarantine(&mut self) -> Result<()> {
        if !self.state.quarantine.has_many() {
            return Ok(());
        }
        let waiting: BTreeSet<u64> = self.state.uncommitted()?.iter().map(|id| id.number).collect();
        let stop = || self.setup.stop.is_requested();
        self.state.quarantine.merge(&|segment| !waiting.contains(&segment), &stop)
    }

    /// `false`: an hour of a recovered token is not at hand, and the tokens stay until it is; or the run is to stop.
    fn retry_segment(&mut self, segment: u64, which: Which) -> Result<bool> {
        let now = self.now();
        let Some(tokens) = self.state.quarantine.tokens(segment)? else { return Ok(true) };
        let (mut recovered, mut chunk) = (HashSet::new(), Chunk::default());
        for odd in tokens {
            if self.stopped() {
                return Ok(false);
            }
            let odd = odd?;
            if !which.is(&odd) || !self.is_record(&odd, now) {
                continue;
            }
            recovered.insert(odd.identity());
            chunk.push(odd);
            if chunk.is_full() && !self.recover(&std::mem::take(&mut chunk), now)? {
                return Ok(false);
            }
        }
        if !self.recover(&chunk, now)? {
            return Ok(false);
        }
        self.let_recovered_go(segment, &recovered)?;
        Ok(true)
    }

    fn let_recovered_go(&mut self, segment: u64, recovered: &HashSet<Identity>) -> Result<()> {
        if !recovered.is_empty() {
            let mut stays = |odd: &OddToken| !recovered.contains(&odd.identity());
            let stop = || self.setup.stop.is_requested();
            self.summary.recovered += self.state.quarantine.release(segment, &mut stays, &stop)?;
        }
        Ok(())
    }

    /// Commits tokens that became records. `false`: that was not possible.
    fn recover(&mut self, chunk: &Chunk, now: Timestamp) -> Result<bool> {
        if chunk.tokens.is_empty() {
            return Ok(true);
        }
        let page = page_of(chunk.tokens.iter().map(|odd| odd.token.as_str()))?;
        let unlike = |reason| Error::new(ErrorKind::Bug, "cannot read a page of recovered tokens").caused_by(reason);
        let decoded = self.setup.decoder.page(&page, now).map_err(unlike)?;
        let Some(unreadable) = self.make_ready(std::slice::from_ref(&decoded))? else { return Ok(false) };
        if unreadable.is_empty() && self.buckets.know(&decoded)? {
            return Ok(true);
        }
        if self.is_put_off(&page)? {
            return Ok(false);
        }
        let id = self.append(&[&page], now)?;
        self.commit_segment(id)?;
        Ok(self.state.wal.is_committed(id.number))
    }

    /// Whether a page of the journal that is read last, because runs died at it, has this body: the tokens came so far before.
    fn is_put_off(&self, body: &[u8]) -> Result<bool> {
        let put_off = self.state.tries.put_off();
        if put_off.is_empty() {
            return Ok(false);
        }
        let waiting = self.state.uncommitted()?.into_iter().filter(|id| put_off.contains(&id.number));
        let mut read = waiting.filter_map(|id| self.state.journal.read(id).ok());
        Ok(read.any(|segment| segment.pages().any(|page| page == body)))
    }

    fn is_record(&self, odd: &OddToken, now: Timestamp) -> bool {
        // Bytes that are no text are no token.
        if odd.encoding.is_some() {
            return false;
        }
        let mut decoded = Decoded::default();
        self.setup.decoder.token(&odd.token, now, &mut decoded);
        !decoded.records.is_empty()
    }

    /// Reads the bodies again that were no pages: those that are now go back into the journal.
    pub(crate) fn retry_rejected(&mut self) -> Result<()> {
        let (mut left, mut why) = (0, None);
        for id in self.state.journal.rejected()? {
            if self.stopped() {
                return Ok(());
            }
            match self.retry_body(id)? {
                None => self.summary.reread += u64::from(id.pages),
                Some(reason) => {
                    left += u64::from(id.pages);
                    why.get_or_insert(reason);
                }
            }
        }
        let Some(reason) = why else { return Ok(()) };
        let dir = self.state.dir().join("rejected");
        let (noun, verb) = if left == 1 { ("body is", "no page") } else { ("bodies are", "no pages") };
        let what = format!("{left} {noun} still {verb}; the first of them: {reason}");
        let hint = format!("they stay in {} until someone moves them away", dir.display());
        self.bear(Error::new(ErrorKind::Unavailable, what).hint(hint))
    }

    /// Why the body stays. `None`: it is back in the journal.
    fn retry_body(&mut self, id: SegmentId) -> Result<Option<String>> {
        let segment = match self.state.journal.read_rejected(id) {
            Ok(segment) => segment,
            Err(damaged) => return Ok(Some(damaged.chain())),
        };
        let decoded = decode(&self.setup.decoder, &segment, self.setup.stop);
        if decoded.iter().any(|page| matches!(page, Err(NotAPage::Interrupted))) {
            return Ok(Some(NotAPage::Interrupted.to_string()));
        }
        if decoded.iter().all(Result::is_err) {
            let reason = decoded.into_iter().find_map(Result::err);
            return Ok(Some(reason.map_or_else(|| "it is empty".to_owned(), |reason| reason.to_string())));
        }
        let bodies: Vec<&[u8]> = segment.pages().collect();
        let again = self.append(&bodies, segment.received)?;
        self.state.journal.remove_rejected(id)?;
        self.commit_segment(again)?;
        Ok(None)
    }
}

/// Recovered tokens for a page.
#[derive(Default)]
struct Chunk {
    tokens: Vec<OddToken>,
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, odd: OddToken) {
        self.bytes += odd.token.len();
        self.tokens.push(odd);
    }

    const fn is_full(&self) -> bool {
        self.tokens.len() >= CHUNK || self.bytes >= CHUNK_BYTES
    }
}

/// A page as the origin would send it.
pub(crate) fn page_of<'t>(tokens: impl Iterator<Item = &'t str>) -> Result<Vec<u8>> {
    let elements: Vec<_> = tokens.map(|token| serde_json::json!({ "data": token })).collect();
    serde_json::to_vec(&elements).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a page").caused_by(e))
}
