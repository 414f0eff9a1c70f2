//! Journal → buckets: every page that was received and not committed yet, oldest first.
//!
//! The live path and the recovery path are this one: a fetch only appends to the journal. A segment is read, decoded (its
//! pages side by side), sorted against what is known, and committed in one atomic step; its odd tokens are in the
//! quarantine before. A crash leaves the segment in the journal; committing it twice changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::parallel::{side_by_side, threads};
use super::{Job, Progress};
use crate::bucket::News;
use crate::certificate::Tally;
use crate::decode::{Decoded, Decoder};
use crate::error::{Error, ErrorKind, Result};
use crate::extract::PageSink;
use crate::gaps::{Seen, Sighting};
use crate::hour::Hour;
use crate::journal::{Segment, SegmentId};
use crate::page::NotAPage;

/// Fewer pages than these are decoded on one thread.
const WORTH_A_THREAD: usize = 4;

impl Job<'_> {
    /// Commits all that the journal holds.
    pub(super) fn commit_journal(&mut self) -> Result<()> {
        let segments = self.state.uncommitted()?;
        let mut waiting: u64 = segments.iter().map(|id| self.state.journal.size(*id)).sum();
        for id in segments {
            if self.stopped() {
                break;
            }
            if self.is_short_of_space(waiting)? {
                self.make_space()?;
            }
            waiting = waiting.saturating_sub(self.state.journal.size(id));
            self.commit_segment(id)?;
        }
        self.state.remove_finished_pages()?;
        self.note_status(false)
    }

    /// Commits one segment, or says why it stays in the journal.
    pub(super) fn commit_segment(&mut self, id: SegmentId) -> Result<()> {
        let segment = match self.state.journal.read(id) {
            Ok(segment) => segment,
            Err(damaged) => {
                // It costs only itself: the others go on, and it is named in each run until someone acts.
                self.state.release_damaged(id.number)?;
                super::fetch::forget_seen(self.state.dir())?;
                self.problems.push(damaged);
                return Ok(());
            }
        };
        let decoded = decode(&self.setup.decoder, &segment);
        self.commit_decoded(&segment, decoded)
    }

    /// Commits a segment that was decoded, or says why it stays in the journal.
    pub(super) fn commit_decoded(&mut self, segment: &Segment, decoded: Vec<Result<Decoded, NotAPage>>) -> Result<()> {
        if decoded.iter().all(Result::is_err) && !decoded.is_empty() {
            return self.reject(segment, decoded);
        }
        let pages = self.split(segment, decoded)?;
        if pages.is_empty() {
            let what = "no key of the ring opens any token: the key is wrong, or the origin has a new one";
            let error = Error::new(
                ErrorKind::Credentials,
                format!("page {}: {what}", self.state.journal.path(segment.id).display()),
            );
            return self.bear(error.hint("the page waits in the journal; run again with the right key in the ring"));
        }
        if !self.make_ready(&pages)? {
            return Ok(());
        }
        self.commit_pages(segment, &pages)
    }

    fn commit_pages(&mut self, segment: &Segment, pages: &[Decoded]) -> Result<()> {
        let received = segment.received;
        let odd = pages.iter().flat_map(|page| page.odd.iter().cloned()).collect();
        self.state.release_waiting(segment.id.number)?;
        let quarantined = self.state.quarantine.add(segment.id.number, odd)?;
        self.problems.extend(self.state.quarantine.take_damaged());
        let mut news = News::default();
        for page in pages {
            // Which hour a token is of that cannot be read, nobody knows: each that the page is about may miss it.
            let odd = quarantined.min(page.odd.len() as u64);
            let before = if odd > 0 { news.lengths() } else { BTreeMap::new() };
            self.buckets.sort(page, received, &mut news)?;
            if odd > 0 {
                news.quarantined(odd, &before);
            }
        }
        let late = self.count_late(&news, received);
        let seen = self.see(&news.ids, segment);
        let tallies = self.sums(&news.tallies)?;
        self.state.wal.commit(segment.id, received, &news.records, news.duplicates, seen, tallies)?;
        self.buckets.shrink();
        self.state.wal.rest();
        self.summary.fetched += pages.iter().map(|page| page.elements).sum::<u64>();
        self.summary.new += news.count();
        self.summary.duplicates += news.duplicates;
        self.summary.quarantined += quarantined;
        self.summary.late += late;
        (self.setup.progress)(Progress::Committed(self.summary.new + self.summary.duplicates));
        self.note_status(false)
    }

    /// What was counted of hours so far, `since` included: after what the log knows, else the ledger.
    fn sums(&mut self, since: &BTreeMap<Hour, Tally>) -> Result<BTreeMap<Hour, Tally>> {
        let mut sums = BTreeMap::new();
        for (hour, since) in since {
            let mut sum = self.tally(*hour)?;
            sum.add(since);
            sums.insert(*hour, sum);
        }
        Ok(sums)
    }

    /// What was counted of an hour so far.
    pub(super) fn tally(&mut self, hour: Hour) -> Result<Tally> {
        if let Some(tally) = self.state.wal.tally(hour) {
            return Ok(tally);
        }
        Ok(self.state.ledger.row(hour)?.certified.map(|certified| certified.tally).unwrap_or_default())
    }

    /// The ids that came so far, those of a segment included.
    fn see(&mut self, ids: &[Sighting], segment: &Segment) -> Seen {
        if let Some(watch) = &mut self.watch {
            ids.iter().for_each(|id| watch.saw(id));
        }
        let seen = self.state.wal.seen().for_field(&self.setup.decoder.sequence);
        seen.with(ids, segment.id.number, segment.received)
    }

    /// New records whose hour has a part already or, but for a backfill, had closed before its first record came.
    fn count_late(&self, news: &News, received: Timestamp) -> u64 {
        let late = news.records.iter().filter(|(hour, _)| {
            let (has_parts, first) = self.buckets.history(**hour);
            let closed = self.setup.closing.is_late(**hour, has_parts, first.unwrap_or(received));
            has_parts || (closed && !self.is_backfill)
        });
        late.map(|(_, new)| new.entries.len() as u64).sum()
    }

    /// Puts aside what is no page, and into a segment of their own the pages that no key opens; gives the others.
    fn split(&mut self, segment: &Segment, decoded: Vec<Result<Decoded, NotAPage>>) -> Result<Vec<Decoded>> {
        let (mut good, mut locked) = (Vec::new(), Vec::new());
        for (body, decoded) in segment.pages().zip(decoded) {
            match decoded {
                Ok(page) if page.key_is_wrong() => locked.push(body),
                Ok(page) => good.push(page),
                Err(reason) => self.reject_body(body, segment.received, &reason)?,
            }
        }
        if !good.is_empty() && !locked.is_empty() {
            let id = self.append(&locked, segment.received)?;
            let what = format!("no key of the ring opens any token of {} pages", locked.len());
            let path = self.state.journal.path(id);
            let error = Error::new(ErrorKind::Credentials, format!("page {}: {what}", path.display()));
            self.bear(error.hint("they wait in the journal; run again with their key in the ring"))?;
        }
        Ok(good)
    }

    /// Appends bodies that were received before as a segment of their own.
    pub(super) fn append(&mut self, bodies: &[&[u8]], received: Timestamp) -> Result<SegmentId> {
        let mut writer = self.state.journal.begin();
        for body in bodies {
            writer.write(body)?;
            writer.end_page();
        }
        Ok(self.state.journal.publish(writer, received)?.id)
    }

    fn reject(&mut self, segment: &Segment, decoded: Vec<Result<Decoded, NotAPage>>) -> Result<()> {
        let reason = decoded.into_iter().find_map(Result::err);
        super::fetch::forget_seen(self.state.dir())?;
        self.state.release_waiting(segment.id.number)?;
        let path = self.state.journal.reject(segment.id)?;
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        self.bear(rejected(&path, &reason))
    }

    fn reject_body(&mut self, body: &[u8], received: Timestamp, reason: &NotAPage) -> Result<()> {
        let id = self.append(&[body], received)?;
        let path = self.state.journal.reject(id)?;
        self.bear(rejected(&path, &format!(": {reason}")))
    }

    /// Gets all hours of the pages ready. `false`: one is not, and the segment waits in the journal.
    pub(super) fn make_ready(&mut self, pages: &[Decoded]) -> Result<bool> {
        let hours: BTreeSet<Hour> = pages.iter().flat_map(|page| page.records.iter().map(|r| r.hour)).collect();
        for hour in hours {
            if !self.remember(hour)? {
                return Ok(false);
            }
            self.buckets.touch(&mut self.state, hour)?;
        }
        Ok(true)
    }
}

fn rejected(path: &std::path::Path, reason: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the source sent a body that is no page{reason}"))
        .hint(format!("it was set aside as {}; the next run asks again", path.display()))
}

/// Decodes a segment's pages, side by side where there are several.
pub(super) fn decode(decoder: &Decoder, segment: &Segment) -> Vec<Result<Decoded, NotAPage>> {
    let pages: Vec<&[u8]> = segment.pages().collect();
    let threads = if pages.len() < WORTH_A_THREAD { 1 } else { threads() };
    side_by_side(&pages, threads, |body| decoder.page(body, segment.received))
}
