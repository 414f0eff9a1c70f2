//! Quarantine → journal: tokens that became records, because their time or their key came. And rejected bodies, read again.
//!
//! A token that became a record goes back through the journal, so that its page keeps it like any other, and leaves the
//! quarantine after the commit. A crash in between finds its record known, and only removes the token. A body goes back the
//! same way, and leaves `rejected/` when it is durable in the journal: a crash in between leaves it in both, which changes nothing.
//! Both work token by token, in the memory of a few; at a stop, what was not committed stays where it was.

use std::collections::HashSet;

use jiff::Timestamp;

use super::Recover;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Run;
use crate::job::intake::Intake;
use crate::job::intake::decoding::decode;
use crate::page::decode::{Decoded, Decoder};
use crate::page::parse::{self, NotAPage};
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

impl Recover {
    /// Tries quarantined tokens again: all of them where that is requested or the key ring has changed, else those dated ahead
    /// that are due.
    pub(crate) fn retry_quarantine(&mut self, run: &mut Run<'_>, intake: &mut Intake) -> Result<()> {
        run.state.merge_quarantine(&|| run.setup.stop.is_requested())?;
        let ring = run.setup.decoder.ring.fingerprint();
        let changed = run.state.pages.quarantine.ring_changed(&ring)?;
        let which = if run.request.quarantine || changed { Which::All } else { Which::Due(run.now()) };
        let due_by = if let Which::Due(now) = which { Some(now) } else { None };
        let mut all_tried = true;
        for segment in run.state.pages.quarantine.segments(due_by) {
            all_tried &= self.retry_segment(run, intake, segment, which)?;
            run.problems.extend(run.state.pages.quarantine.take_damaged());
            if run.is_stopped() {
                return Ok(());
            }
        }
        if changed && all_tried { run.state.pages.quarantine.record_ring(&ring) } else { Ok(()) }
    }

    /// `false`: an hour of a recovered token is not at hand, and the tokens stay until it is; or the run is to stop.
    fn retry_segment(&mut self, run: &mut Run<'_>, intake: &mut Intake, segment: u64, which: Which) -> Result<bool> {
        let now = run.now();
        let Some(tokens) = run.state.pages.quarantine.tokens(segment)? else { return Ok(true) };
        let (mut recovered, mut chunk) = (HashSet::new(), Chunk::default());
        for odd in tokens {
            if run.is_stopped() {
                return Ok(false);
            }
            let odd = odd?;
            if !which.is(&odd) {
                continue;
            }
            let Some(token) = token_of_a_record(&run.setup.decoder, &odd, now) else { continue };
            recovered.insert(odd.identity());
            chunk.push(token);
            if chunk.is_full() && !self.commit_again(run, intake, &std::mem::take(&mut chunk), now)? {
                return Ok(false);
            }
        }
        if !self.commit_again(run, intake, &chunk, now)? {
            return Ok(false);
        }
        release_recovered(run, segment, &recovered)?;
        Ok(true)
    }

    /// Commits tokens that became records. `false`: that was not possible.
    fn commit_again(&mut self, run: &mut Run<'_>, intake: &mut Intake, chunk: &Chunk, now: Timestamp) -> Result<bool> {
        if chunk.tokens.is_empty() {
            return Ok(true);
        }
        let page = page_of(run, chunk.tokens.iter().map(String::as_str))?;
        let unlike = |reason| Error::new(ErrorKind::Bug, "cannot read a page of recovered tokens").caused_by(reason);
        let decoded = run.setup.decoder.page(&page, now).map_err(unlike)?;
        let Some(unreadable) = self.open_hours(run, std::slice::from_ref(&decoded))? else { return Ok(false) };
        if unreadable.is_empty() && run.buckets.contains_all(&decoded) {
            return Ok(true);
        }
        if is_put_off(run, &page)? {
            return Ok(false);
        }
        let id = run.state.pages.append(&[&page], now)?;
        intake.commit_segment(run, self, id)?;
        Ok(run.state.hours.is_committed(id.number))
    }

    /// Reads the bodies again that were not pages: those that are pages now go back into the journal.
    pub(crate) fn retry_rejected(&mut self, run: &mut Run<'_>, intake: &mut Intake) -> Result<()> {
        let (mut left, mut why) = (0, None);
        for id in run.state.pages.journal().rejected().list()? {
            if run.is_stopped() {
                return Ok(());
            }
            match self.retry_body(run, intake, id)? {
                None => {
                    tracing::info!("rejected body {} is a page now: it is read again", id.number);
                    run.summary.reread += u64::from(id.pages);
                }
                Some(reason) => {
                    tracing::warn!("{}: {reason}", run.state.pages.journal().rejected().path(id).display());
                    left += u64::from(id.pages);
                    why.get_or_insert(reason);
                }
            }
        }
        let Some(reason) = why else { return Ok(()) };
        let dir = run.state.dir().join("rejected");
        let (noun, pages) = if left == 1 { ("body is", "a page") } else { ("bodies are", "pages") };
        let what = format!("{left} {noun} still not {pages}; the first of them: {reason}");
        let hint = format!("they stay in {} until someone moves them away", dir.display());
        run.record_or_fail(Error::new(ErrorKind::Unavailable, what).hint(hint))
    }

    /// Why the body stays. `None`: it is back in the journal.
    fn retry_body(&mut self, run: &mut Run<'_>, intake: &mut Intake, id: SegmentId) -> Result<Option<String>> {
        let segment = match run.state.pages.journal().rejected().read(id) {
            Ok(segment) => segment,
            Err(damaged) => return Ok(Some(damaged.chain())),
        };
        let decoded = decode(&run.setup.decoder, &segment, run.setup.stop);
        if decoded.iter().any(|page| matches!(page, Err(NotAPage::Interrupted))) {
            return Ok(Some(NotAPage::Interrupted.to_string()));
        }
        if decoded.iter().all(Result::is_err) {
            let reason = decoded.into_iter().find_map(Result::err);
            return Ok(Some(reason.map_or_else(|| "it is empty".to_owned(), |reason| reason.to_string())));
        }
        let bodies: Vec<&[u8]> = segment.pages().collect();
        let again = run.state.pages.append(&bodies, segment.received)?;
        run.state.pages.journal().rejected().remove(id)?;
        intake.commit_segment(run, self, again)?;
        Ok(None)
    }
}

fn release_recovered(run: &mut Run<'_>, segment: u64, recovered: &HashSet<Identity>) -> Result<()> {
    if !recovered.is_empty() {
        let mut stays = |odd: &OddToken| !recovered.contains(&odd.identity());
        let stop = || run.setup.stop.is_requested();
        run.summary.recovered += run.state.pages.quarantine.release(segment, &mut stays, &stop)?;
    }
    Ok(())
}

/// Whether one of the pages that are read last, because runs died at them, has this body: the tokens got that far in an earlier run.
fn is_put_off(run: &Run<'_>, body: &[u8]) -> Result<bool> {
    let put_off = run.state.pages.put_off();
    if put_off.is_empty() {
        return Ok(false);
    }
    let waiting = run.state.uncommitted()?.into_iter().filter(|id| put_off.contains(&id.number));
    let mut read = waiting.filter_map(|id| run.state.pages.journal().read(id).ok());
    Ok(read.any(|segment| segment.pages().any(|page| page == body)))
}

/// The token of a record: what was quarantined, or, where that is an element whose token was looked for elsewhere, what is in it.
pub(crate) fn token_of_a_record(decoder: &Decoder, odd: &OddToken, now: Timestamp) -> Option<String> {
    // Bytes that are not text are not a token.
    if odd.encoding.is_some() {
        return None;
    }
    let inner = parse::token_of(odd.token.as_bytes(), &decoder.shape);
    let candidates = [Some(odd.token.as_str()), inner.as_deref()];
    candidates.into_iter().flatten().find(|token| is_record(decoder, token, now)).map(str::to_owned)
}

fn is_record(decoder: &Decoder, token: &str, now: Timestamp) -> bool {
    let mut decoded = Decoded::default();
    decoder.token(token, now, &mut decoded);
    !decoded.records.is_empty()
}

/// Recovered tokens for a page.
#[derive(Default)]
struct Chunk {
    tokens: Vec<String>,
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, token: String) {
        self.bytes += token.len();
        self.tokens.push(token);
    }

    const fn is_full(&self) -> bool {
        self.tokens.len() >= CHUNK || self.bytes >= CHUNK_BYTES
    }
}

/// A page of these tokens.
pub(crate) fn page_of<'t>(run: &Run<'_>, tokens: impl Iterator<Item = &'t str>) -> Result<Vec<u8>> {
    parse::page_of(tokens, &run.setup.decoder.shape)
        .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a page").caused_by(e))
}
