//! Journal → log: every page that was received and not committed yet, oldest first.
//!
//! The live path and the recovery path are this one: a fetch only appends to the journal. A segment is read, decoded (its
//! pages in parallel), compared with what is known, and committed in one atomic step; its odd tokens are in the
//! quarantine before. A crash leaves the segment in the journal; committing it twice changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Intake;
use super::decoding::decode;
use super::dedup::NewRecords;
use super::notes::forget_seen;
use super::quarantine::{hold, quarantine, quarantine_held};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::gaps::Seen;
use crate::hour::tally::Tally;
use crate::job::output::Output;
use crate::job::recover::Recover;
use crate::job::{Progress, Run};
use crate::output::numbers::plural;
use crate::page::decode::Decoded;
use crate::page::parse::NotAPage;
use crate::process::memory::give_back_idle_memory;
use crate::source::PageShape;
use crate::state::NewCommit;
use crate::state::pages::journal::Segment;
use crate::state::pages::journal::SegmentId;
use crate::state::pages::quarantine::Added;

/// With records of more hours than these, a segment leaves much idle memory in small pieces.
const MANY_HOURS: usize = 4_096;

impl Intake {
    /// Commits all that the journal holds.
    pub(crate) fn commit_journal(
        &mut self,
        run: &mut Run<'_>,
        output: &mut Output,
        recover: &mut Recover,
    ) -> Result<()> {
        run.state.pages.journal().adopt()?;
        let segments = run.state.uncommitted()?;
        let mut waiting: u64 = segments.iter().map(|id| run.state.pages.journal().size(*id)).sum();
        for id in segments {
            if run.is_stopped() {
                break;
            }
            if run.is_short_of_space(waiting)? {
                output.make_space(run, recover)?;
            }
            waiting = waiting.saturating_sub(run.state.pages.journal().size(id));
            if run.state.pages.begin_reading(id.number)? {
                self.commit_segment(run, recover, id)?;
            }
        }
        // A page that a stop interrupted was not read to its end.
        if !run.is_stopped() {
            run.state.pages.end_reading()?;
        }
        quarantine_held(run)?;
        run.state.remove_finished_pages()?;
        run.note_status(false)
    }

    /// Commits the pages at which runs died, one by one, when everything else is done. Returns whether there was one.
    pub(crate) fn commit_put_off(&mut self, run: &mut Run<'_>, recover: &mut Recover) -> Result<bool> {
        let put_off = run.state.pages.put_off();
        for number in &put_off {
            let waiting = run.state.uncommitted()?.into_iter().find(|id| id.number == *number);
            let Some(id) = waiting.filter(|_| !run.is_stopped()) else { continue };
            let path = run.state.pages.journal().path(id);
            tracing::warn!("page {}: two runs died while it was read: it is read last, and alone", path.display());
            run.state.pages.begin_reading_put_off(*number)?;
            self.commit_segment(run, recover, id)?;
        }
        if !run.is_stopped() {
            run.state.pages.end_reading()?;
        }
        run.state.remove_finished_pages()?;
        Ok(!put_off.is_empty())
    }

    /// Commits one segment, or reports why it stays in the journal.
    pub(crate) fn commit_segment(&mut self, run: &mut Run<'_>, recover: &mut Recover, id: SegmentId) -> Result<()> {
        let segment = match run.state.pages.journal().read(id) {
            Ok(segment) => segment,
            Err(damaged) => {
                // It costs only itself: the others are committed, and each run reports it until someone acts.
                run.state.pages.unwatch_damaged(id.number)?;
                forget_seen(run.state.dir())?;
                run.problems.push(damaged);
                return Ok(());
            }
        };
        let decoded = decode(&run.setup.decoder, &segment, run.setup.stop);
        self.commit_decoded(run, recover, &segment, decoded)
    }

    /// Commits a decoded segment, or reports why it stays in the journal.
    pub(crate) fn commit_decoded(
        &mut self,
        run: &mut Run<'_>,
        recover: &mut Recover,
        segment: &Segment,
        decoded: Vec<Result<Decoded, NotAPage>>,
    ) -> Result<()> {
        if decoded.iter().any(|page| matches!(page, Err(NotAPage::Interrupted))) {
            return Ok(());
        }
        if decoded.iter().all(Result::is_err) && !decoded.is_empty() {
            return reject(run, segment, decoded);
        }
        let (bodies, mut pages) = split(run, segment, decoded)?;
        if pages.is_empty() {
            let what = "no key of the ring opens any token: the key is wrong, or the origin has a new one";
            let error = Error::new(
                ErrorKind::Credentials,
                format!("page {}: {what}", run.state.pages.journal().path(segment.id).display()),
            );
            let hint = "the page waits in the journal: add the right key to the ring (FERNET_KEY, or what source.keys_env or \
                        source.keys_file names) and run again";
            return run.record_or_fail(error.hint(hint));
        }
        let Some(unreadable) = recover.open_hours(run, &pages)? else { return Ok(()) };
        if !unreadable.is_empty() && !recover.park(run, segment, &bodies, &mut pages, &unreadable)? {
            return Ok(());
        }
        let Some(added) = quarantine(run, segment, &bodies, &pages)? else { return Ok(()) };
        if added.is_full {
            hold(run, segment)?;
        }
        pages.iter().filter(|page| page.is_all_future()).for_each(|page| warn_of_the_clock(run, segment, page));
        self.commit_pages(run, segment, &pages, &added)
    }

    fn commit_pages(&mut self, run: &mut Run<'_>, segment: &Segment, pages: &[Decoded], added: &Added) -> Result<()> {
        let received = segment.received;
        run.state.pages.unwatch(segment.id.number)?;
        let quarantined = added.count();
        let mut new = NewRecords::default();
        for page in pages {
            // Nobody knows of which hour an unreadable token is: each hour of the page may miss it.
            let odd = quarantined.min(page.odd_seen);
            let before = if odd > 0 { new.lengths() } else { BTreeMap::new() };
            run.buckets.partition(page, received, &mut new)?;
            if odd > 0 {
                new.quarantined(odd, &before);
            }
        }
        let late = self.count_late(run, &new, received);
        let seen = self.see(run, &new, segment);
        new.leave_strays_out(run.setup.decoder.schema.dating.zone(), |id| seen.is_stray(id));
        self.hearing.took(segment, pages);
        let times = pages.iter().flat_map(|page| &page.records).map(|record| record.entry.at());
        self.newest = self.newest.max(times.filter(|at| *at <= received).max());
        let tallies = totals(run, &new.tallies)?;
        let SegmentId { number, pages: count } = segment.id;
        run.state.hours.commit(NewCommit {
            segment: number,
            pages: count,
            received,
            records: &new.records,
            duplicates: new.duplicates,
            seen,
            tallies,
        })?;
        run.buckets.shrink(&run.state.hours)?;
        if new.tallies.len() > MANY_HOURS {
            give_back_idle_memory();
        }
        run.summary.fetched += pages.iter().map(|page| page.elements).sum::<u64>();
        run.summary.new += new.count();
        run.summary.duplicates += new.duplicates;
        run.summary.quarantined(added);
        run.summary.late += late;
        (run.setup.progress)(Progress::Committed(run.summary.new + run.summary.duplicates));
        run.note_status(false)
    }

    /// The ids that came so far, those of a segment included.
    fn see(&mut self, run: &Run<'_>, new: &NewRecords<'_>, segment: &Segment) -> Seen {
        if let Some(watch) = &mut self.watch {
            new.ids.iter().for_each(|id| watch.saw(id));
        }
        let mut seen = run.state.hours.seen().for_field(&run.setup.decoder.schema.id_name());
        let newest = new.ids.iter().map(|id| id.at).max();
        if let Some(newest) = newest.filter(|_| self.hearing.asks_another()) {
            seen = seen.with_another_source(newest);
        }
        let seen = seen.with(&new.ids, segment.id.number, segment.received);
        seen.with_unnumbered(new.unnumbered.values().copied())
    }

    /// Counts new records whose hour has a part already or, unless this is a backfill, had closed before its first record came.
    fn count_late(&self, run: &Run<'_>, new: &NewRecords<'_>, received: Timestamp) -> u64 {
        let late = new.records.iter().filter(|(hour, _)| {
            let (has_parts, first) = run.buckets.history(**hour);
            let closed = run.setup.closing.is_late(**hour, has_parts, first.unwrap_or(received));
            has_parts || (closed && !self.is_backfill)
        });
        late.map(|(_, records)| records.entries.len() as u64).sum()
    }
}

/// A page of which nothing is of the present: it is likelier that this machine's clock is behind.
fn warn_of_the_clock(run: &Run<'_>, segment: &Segment, page: &Decoded) {
    let (logs, path) = (plural(page.elements, "log", "logs"), run.state.pages.journal().path(segment.id));
    tracing::warn!(
        "page {}: all of its {logs} are dated more than hours.max_future ahead of this machine's clock, which said {:.0}: \
         look at the clock (timedatectl); they are tried again by themselves",
        path.display(),
        segment.received,
    );
}

/// What was counted of hours so far, `since` included.
pub(super) fn totals(run: &mut Run<'_>, since: &BTreeMap<Hour, Tally>) -> Result<BTreeMap<Hour, Tally>> {
    let mut totals = BTreeMap::new();
    for (hour, since) in since {
        let mut sum = run.state.hours.tally(*hour)?;
        sum.add(since);
        totals.insert(*hour, sum);
    }
    Ok(totals)
}

/// Sets bodies aside that are not pages, and moves the pages that no key opens into a segment of their own. Returns the others.
fn split<'s>(
    run: &mut Run<'_>,
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
            Err(reason) => reject_body(run, body, segment.received, &reason)?,
        }
    }
    if !good.is_empty() && !locked.is_empty() {
        let id = run.state.pages.append(&locked, segment.received)?;
        let what = format!("no key of the ring opens any token of {} pages", locked.len());
        let path = run.state.pages.journal().path(id);
        let error = Error::new(ErrorKind::Credentials, format!("page {}: {what}", path.display()));
        run.record_or_fail(error.hint("they wait in the journal: add their key to the ring (FERNET_KEY, or what source.keys_env or source.keys_file names) and run again"))?;
    }
    Ok((bodies, good))
}

fn reject(run: &mut Run<'_>, segment: &Segment, decoded: Vec<Result<Decoded, NotAPage>>) -> Result<()> {
    let reason = decoded.into_iter().find_map(Result::err);
    forget_seen(run.state.dir())?;
    let path = run.state.pages.reject(segment.id)?;
    let body = segment.pages().next().unwrap_or_default();
    let error = rejected(&path, reason.as_ref(), body, &run.setup.decoder.shape);
    run.record_or_fail(error)
}

fn reject_body(run: &mut Run<'_>, body: &[u8], received: Timestamp, reason: &NotAPage) -> Result<()> {
    let id = run.state.pages.append(&[body], received)?;
    let path = run.state.pages.reject(id)?;
    let error = rejected(&path, Some(reason), body, &run.setup.decoder.shape);
    run.record_or_fail(error)
}

fn rejected(path: &std::path::Path, reason: Option<&NotAPage>, body: &[u8], shape: &PageShape) -> Error {
    let why = reason.map_or_else(String::new, |reason| format!(": {reason}{}", reason.instead(body)));
    let way_out = reason.map_or_else(String::new, |reason| format!("{}; ", reason.way_out(body, shape)));
    let hint = format!(
        "{way_out}it was set aside as {}, and the next run asks again; `etl replay --rejected` reads what was set aside again",
        path.display()
    );
    let what = format!("the source sent a body that is not a page{why}");
    Error::new(ErrorKind::Unavailable, what).hint(hint).about_the_source()
}
