//! Journal → buckets: every page that was received and not committed yet, oldest first.
//!
//! The live path and the recovery path are this one: a fetch only appends to the journal. A segment is read, decoded (its
//! pages side by side), sorted against what is known, and committed in one atomic step; its odd tokens are in the
//! quarantine before. A crash leaves the segment in the journal; committing it twice changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::{Seen, Sighting};
use crate::hour::tally::Tally;
use crate::job::intake::dedup::News;
use crate::job::recover::thaw::Memory;
use crate::job::{Job, Progress};
use crate::page::decode::{Decoded, Decoder, Ended};
use crate::page::parse::NotAPage;
use crate::process::parallel::{parallel_map, threads};
use crate::source::PageSink;
use crate::state::files::crash_point;
use crate::state::pages::journal::{Segment, SegmentId};
use crate::state::pages::quarantine::{Added, OddToken, share_bits};
use crate::stop::Stop;

/// Fewer pages than these are decoded on one thread.
const WORTH_A_THREAD: usize = 4;

impl Job<'_> {
    /// Commits all that the journal holds.
    pub(crate) fn commit_journal(&mut self) -> Result<()> {
        self.state.journal.adopt()?;
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
            if self.state.tries.begin(id.number)? {
                self.commit_segment(id)?;
            }
        }
        // A page that a stop interrupted was not survived.
        if !self.stopped() {
            self.state.tries.end()?;
        }
        self.quarantine_held()?;
        self.state.remove_finished_pages()?;
        self.note_status(false)
    }

    /// Commits the pages at which runs died, one by one, when everything else is done. Whether there was one.
    pub(crate) fn commit_put_off(&mut self) -> Result<bool> {
        let put_off = self.state.tries.put_off();
        for number in &put_off {
            let waiting = self.state.uncommitted()?.into_iter().find(|id| id.number == *number);
            let Some(id) = waiting.filter(|_| !self.stopped()) else { continue };
            let path = self.state.journal.path(id);
            tracing::warn!("page {}: two runs died while it was read: it is read last, and alone", path.display());
            self.state.tries.read(*number)?;
            self.commit_segment(id)?;
        }
        if !self.stopped() {
            self.state.tries.end()?;
        }
        self.state.remove_finished_pages()?;
        Ok(!put_off.is_empty())
    }

    /// Commits one segment, or says why it stays in the journal.
    pub(crate) fn commit_segment(&mut self, id: SegmentId) -> Result<()> {
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
        let decoded = decode(&self.setup.decoder, &segment, self.setup.stop);
        self.commit_decoded(&segment, decoded)
    }

    /// Commits a segment that was decoded, or says why it stays in the journal.
    pub(crate) fn commit_decoded(&mut self, segment: &Segment, decoded: Vec<Result<Decoded, NotAPage>>) -> Result<()> {
        if decoded.iter().any(|page| matches!(page, Err(NotAPage::Interrupted))) {
            return Ok(());
        }
        if decoded.iter().all(Result::is_err) && !decoded.is_empty() {
            return self.reject(segment, decoded);
        }
        let (bodies, mut pages) = self.split(segment, decoded)?;
        if pages.is_empty() {
            let what = "no key of the ring opens any token: the key is wrong, or the origin has a new one";
            let error = Error::new(
                ErrorKind::Credentials,
                format!("page {}: {what}", self.state.journal.path(segment.id).display()),
            );
            return self.bear(error.hint("the page waits in the journal; run again with the right key in the ring"));
        }
        let Some(unreadable) = self.make_ready(&pages)? else { return Ok(()) };
        if !unreadable.is_empty() && !self.park(segment, &bodies, &mut pages, &unreadable)? {
            return Ok(());
        }
        let Some(added) = self.quarantine(segment, &bodies, &pages)? else { return Ok(()) };
        if added.is_full {
            self.hold(segment)?;
        }
        self.commit_pages(segment, &pages, &added)
    }

    fn commit_pages(&mut self, segment: &Segment, pages: &[Decoded], added: &Added) -> Result<()> {
        let received = segment.received;
        self.state.release_waiting(segment.id.number)?;
        let quarantined = added.count();
        let mut news = News::default();
        for page in pages {
            // Which hour a token is of that cannot be read, nobody knows: each that the page is about may miss it.
            let odd = quarantined.min(page.odd_seen);
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
        self.summary.quarantined(added);
        self.summary.late += late;
        (self.setup.progress)(Progress::Committed(self.summary.new + self.summary.duplicates));
        self.note_status(false)
    }

    /// Keeps the odd tokens of a segment's pages. `None`: the run is to stop, and nothing was kept.
    ///
    /// Where they are too many to be held, they are found again in the pages, a share of them at a time: then which came before
    /// is known in bounded memory.
    pub(crate) fn quarantine(
        &mut self,
        segment: &Segment,
        bodies: &[&[u8]],
        pages: &[Decoded],
    ) -> Result<Option<Added>> {
        let (decoder, stop) = (&self.setup.decoder, || self.setup.stop.is_requested());
        let bits = share_bits(pages.iter().map(Decoded::distinct_odd).sum());
        let mut adding = self.state.quarantine.begin(segment.id.number);
        for share in 0..1 << bits {
            for (body, page) in bodies.iter().zip(pages) {
                let mut each = |odd: &OddToken| if odd_share(odd, bits) == share { adding.push(odd) } else { Ok(()) };
                if !page.dropped_odd() {
                    page.odd.iter().try_for_each(&mut each)?;
                    continue;
                }
                match decoder.odd_again(body, segment.received, &stop, &mut |odd| each(&odd)) {
                    Ok(()) => {}
                    Err(Ended::Page(_)) => return Ok(None),
                    Err(Ended::Taker(error)) => return Err(error),
                }
            }
            adding.forget();
        }
        let added = adding.finish()?;
        self.problems.extend(self.state.quarantine.take_damaged());
        Ok(Some(added))
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
    pub(crate) fn tally(&mut self, hour: Hour) -> Result<Tally> {
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
    fn split<'s>(
        &mut self,
        segment: &'s Segment,
        decoded: Vec<Result<Decoded, NotAPage>>,
    ) -> Result<(Vec<&'s [u8]>, Vec<Decoded>)> {
        let (mut bodies, mut good, mut locked) = (Vec::new(), Vec::new(), Vec::new());
        for (body, decoded) in segment.pages().zip(decoded) {
            match decoded {
                Ok(page) if page.key_is_wrong() => locked.push(body),
                Ok(page) => {
                    bodies.push(body);
                    good.push(page);
                }
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
        Ok((bodies, good))
    }

    /// Appends bodies that were received before as a segment of their own.
    pub(crate) fn append(&mut self, bodies: &[&[u8]], received: Timestamp) -> Result<SegmentId> {
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

    /// Gets all hours of the pages ready, and gives those that cannot be read back. `None`: one waits for its own parts, and
    /// what is about it waits in the journal.
    pub(crate) fn make_ready(&mut self, pages: &[Decoded]) -> Result<Option<BTreeSet<Hour>>> {
        let hours: BTreeSet<Hour> = pages.iter().flat_map(|page| page.records.iter().map(|r| r.hour)).collect();
        let mut unreadable = BTreeSet::new();
        for hour in hours {
            match self.recall(hour)? {
                Memory::AtHand => self.buckets.touch(&mut self.state, hour)?,
                Memory::Waits => return self.postpone(hour).map(|_| None),
                Memory::Unreadable => {
                    unreadable.insert(hour);
                }
            }
        }
        Ok(Some(unreadable))
    }
}

/// Which of 2^`bits` shares an odd token belongs to.
fn odd_share(odd: &OddToken, bits: u32) -> u64 {
    if bits == 0 { 0 } else { odd.identity().share(bits) }
}

fn rejected(path: &std::path::Path, reason: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the source sent a body that is no page{reason}")).hint(format!(
        "it was set aside as {}, and the next run asks again; `etl replay --rejected` reads what was set aside again",
        path.display()
    ))
}

/// Decodes a segment's pages, side by side where there are several.
pub(crate) fn decode(decoder: &Decoder, segment: &Segment, stop: &Stop) -> Vec<Result<Decoded, NotAPage>> {
    let pages: Vec<&[u8]> = segment.pages().collect();
    let threads = if pages.len() < WORTH_A_THREAD { 1 } else { threads() };
    parallel_map(&pages, threads, |body| {
        crash_point::reading(body);
        decoder.page_until(body, segment.received, &|| stop.is_requested())
    })
}
