//! Source → journal: what is received is durable before anything reads it.
//!
//! A page of an API is a segment of its own, durable before the link to the next one is followed; files are a backfill
//! (see [`super::backfill`]). The source forgets, so it is asked before anything else of the state is opened, and a trail of linked
//! pages pauses where the disk gets full or much waits to be committed. A crash leaves whole segments, or nothing of the one that
//! was being written, and a note of where the trail was: it saves asking again for pages that are there, and nothing depends on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::hearing::Poll;
use super::receive::Receiver;
use crate::error::{Error, ErrorKind, Result};
use crate::job::context::has_room;
use crate::job::progress_log::took;
use crate::job::{Progress, Setup, Summary};
use crate::output::numbers::bytes;
use crate::source::paging::{Trail, Visit};
use crate::source::{Fetched, HttpSource, PageHead, PageUrl};
use crate::state::files::durable;
use crate::state::pages::journal::Journal;
use crate::state::status;
use crate::state::{Front, Inbox, Reserve};

/// More linked pages than these in one fetch are a loop that the URLs do not show.
pub const MAX_LINKED: usize = 100_000;
/// A trail pauses when it has received so much: what waits is committed before more comes.
const PAUSE_BYTES: u64 = 64 << 20;
/// A trail that was interrupted longer ago than this starts at its first page: its next page may have changed.
const RESUMED_WITHIN: SignedDuration = SignedDuration::from_hours(1);
/// A run that started less than this ago asks the source itself.
const JUST_STARTED: SignedDuration = SignedDuration::from_secs(10);
/// A source that sent a page less than this ago is at work, although the run's time ends while it makes the next.
const AT_WORK: Duration = Duration::from_secs(10);

/// Where pages come from.
pub enum Source<'a> {
    /// An HTTP API.
    Http {
        /// The client.
        client: &'a mut HttpSource,
        /// The first page.
        url: PageUrl,
        /// Whether `Link: rel="next"` leads to more pages.
        follow_links: bool,
    },
    /// Files.
    Files {
        /// The glob.
        pattern: String,
        /// The cap on a page.
        max_page_bytes: u64,
    },
}

/// The entity tag of a page that is durable. Only where a source has one page: a 304 for the first of several says nothing about
/// those after it.
#[derive(Debug, Serialize, Deserialize)]
struct Validator {
    /// Of the whole address, its query included.
    url: String,
    etag: String,
    /// The segment that holds the page.
    segment: u64,
}

/// Where a trail was interrupted.
#[derive(Debug, Serialize, Deserialize)]
struct Interrupted {
    /// Of the address of its first page.
    first: String,
    next: String,
    at: Timestamp,
}

/// Why a trail does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Nothing more comes in this run.
    Ended,
    /// Much was received: it is committed first.
    Full,
    /// The disk is short of space.
    NoSpace,
}

/// The pages of an API, from the first one along its links.
pub(crate) struct PageTrail {
    first: PageUrl,
    follow_links: bool,
    next: Option<PageUrl>,
    passed: Trail,
    validator: Option<Validator>,
    /// Before the first request.
    asked: Timestamp,
    /// The segments with what came.
    segments: Vec<u64>,
    /// How it ended, where it ended whole: what a 304 speaks of, if it was one.
    ended: Option<Option<u64>>,
    /// Whether it starts at its first page.
    is_whole: bool,
    clock_is_off: bool,
    /// Whether it starts where an earlier run was interrupted, and nothing came yet.
    resuming: bool,
    is_noted: bool,
    /// Whether it leaves notes for the next run.
    takes_notes: bool,
    last_page: Option<Instant>,
    /// Bytes that were received and are not settled yet.
    unsettled: u64,
    /// Recoverable errors.
    pub(crate) problems: Vec<Error>,
}

impl PageTrail {
    /// The trail from `first` on, or from where it was interrupted a short time ago.
    pub(crate) fn start(first: &PageUrl, follow_links: bool, front: &Front, now: Timestamp) -> Result<Self> {
        let mut trail = Self { takes_notes: true, ..Self::beside(first, follow_links, now) };
        trail.is_noted = trail_path(front.dir()).exists();
        if !follow_links {
            trail.validator = validator(front, first)?;
        } else if let Some(next) = interrupted(front.dir(), first, now)? {
            (trail.next, trail.resuming, trail.is_whole) = (Some(next), true, false);
        }
        Ok(trail)
    }

    /// The trail from `first` on, for a run that has no lock: it leaves the notes to the one that has.
    fn beside(first: &PageUrl, follow_links: bool, now: Timestamp) -> Self {
        Self {
            first: first.clone(),
            follow_links,
            next: Some(first.clone()),
            passed: Trail::new(MAX_LINKED),
            validator: None,
            asked: now,
            segments: Vec::new(),
            ended: None,
            is_whole: true,
            clock_is_off: false,
            resuming: false,
            is_noted: false,
            takes_notes: false,
            last_page: None,
            unsettled: 0,
            problems: Vec::new(),
        }
    }

    /// Whether nothing more comes in this run.
    pub(crate) const fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// The fingerprint of its first address.
    pub(crate) fn source(&self) -> String {
        self.first.fingerprint()
    }

    /// The poll that it was. `None`: not all of it came.
    pub(crate) fn poll(&self) -> Option<Poll> {
        let not_modified = self.ended.filter(|_| self.is_whole)?;
        let (asked, segments, clock_is_off) = (self.asked, self.segments.clone(), self.clock_is_off);
        Some(Poll { source: self.source(), asked, segments, not_modified, clock_is_off })
    }

    /// Notes that what was received so far is committed, or waits for its key.
    pub(crate) const fn settled(&mut self) {
        self.unsettled = 0;
    }

    /// Receives pages until the trail ends or has to pause. `waiting`: bytes of pages that are not committed, of before.
    pub(crate) fn advance(
        &mut self,
        client: &mut HttpSource,
        setup: &Setup<'_>,
        journal: &Journal,
        waiting: u64,
        summary: &mut Summary,
    ) -> Result<Halt> {
        while let Some(url) = self.next.clone() {
            if client.stop().is_requested() {
                break;
            }
            if self.unsettled >= PAUSE_BYTES {
                return Ok(Halt::Full);
            }
            if !has_room(setup, waiting.saturating_add(self.unsettled))? {
                return Ok(Halt::NoSpace);
            }
            if !self.enter(&url, setup)? {
                break;
            }
            let known = self.validator.take();
            let etag = known.as_ref().map(|known| known.etag.as_str());
            let asked = Instant::now();
            let before = waiting.saturating_add(self.unsettled);
            let has_room = |bytes: u64| has_room(setup, before.saturating_add(bytes));
            let receiver = Receiver::new(journal, setup.clock, &has_room);
            let fetched = client.fetch(&url, etag, || Ok(receiver.sink()));
            self.clock_is_off |= client.clock_is_off();
            match fetched {
                Ok(Fetched::Page { sink, head }) => {
                    tracing::info!("fetched {url}: {}, in {}", bytes(head.bytes), took(asked.elapsed()));
                    self.receive(sink.end()?, head, setup, summary)?;
                }
                Ok(Fetched::NotModified) => {
                    tracing::info!("{url} has nothing new (304), in {}", took(asked.elapsed()));
                    self.ended = known.map(|known| Some(known.segment));
                    summary.asked = true;
                    break;
                }
                Ok(Fetched::Stopped) => break,
                Err(error) => self.fail(error, client.stop().is_requested(), setup)?,
            }
        }
        self.next = None;
        Ok(Halt::Ended)
    }

    /// Whether the page at `url` is one that the trail has not had.
    fn enter(&mut self, url: &PageUrl, setup: &Setup<'_>) -> Result<bool> {
        match self.passed.enter(url) {
            Visit::New => return Ok(true),
            Visit::Seen => self.ended = Some(None),
            Visit::TooMany => {
                let what = format!("{url}: more than {MAX_LINKED} pages are linked one to the next");
                let error = Error::new(ErrorKind::Unavailable, what).hint("look at the source's Link headers");
                self.problems.push(error);
            }
        }
        self.forget_place(setup).map(|()| false)
    }

    fn receive(&mut self, segments: Vec<u64>, head: PageHead, setup: &Setup<'_>, summary: &mut Summary) -> Result<()> {
        summary.pages += segments.len() as u64;
        self.unsettled = self.unsettled.saturating_add(head.bytes);
        (self.resuming, self.last_page) = (false, Some(Instant::now()));
        summary.asked = true;
        (setup.progress)(Progress::Fetched(summary.pages));
        if !self.follow_links {
            (self.next, self.ended) = (None, Some(None));
            // A tag is noted with the one segment that it speaks for.
            let only = if let [only] = segments.as_slice() { Some(*only) } else { None };
            self.segments.extend(segments);
            return match (head.etag.filter(|_| self.takes_notes), only) {
                (Some(etag), Some(segment)) => note_validator(setup, &self.first, etag, segment),
                _ => Ok(()),
            };
        }
        self.segments.extend(segments);
        self.next = match head.next.transpose() {
            Ok(next) => {
                self.ended = next.is_none().then_some(None);
                next
            }
            Err(error) => {
                self.problems.push(error);
                None
            }
        };
        match &self.next {
            Some(_) if !self.takes_notes => Ok(()),
            Some(next) => note_place(setup, &self.first, next).map(|()| self.is_noted = true),
            None => self.forget_place(setup),
        }
    }

    /// Handles a page that did not come. One that an earlier trail led to may be gone: then the source is asked from the start.
    fn fail(&mut self, error: Error, is_out_of_time: bool, setup: &Setup<'_>) -> Result<()> {
        if matches!(error.kind(), ErrorKind::State | ErrorKind::Bug) {
            return Err(error);
        }
        self.next = None;
        let is_at_work = self.last_page.is_some_and(|at| at.elapsed() < AT_WORK);
        if is_out_of_time && is_at_work {
            tracing::info!("{}: the next run goes on there", error.chain());
        } else if std::mem::take(&mut self.resuming) && !is_out_of_time && error.kind() == ErrorKind::Unavailable {
            tracing::info!("{}: beginning with the first page", error.chain());
            self.forget_place(setup)?;
            (self.next, self.passed) = (Some(self.first.clone()), Trail::new(MAX_LINKED));
            (self.is_whole, self.asked) = (true, setup.clock.now());
        } else {
            self.problems.push(error);
        }
        Ok(())
    }

    fn forget_place(&mut self, setup: &Setup<'_>) -> Result<()> {
        match std::mem::take(&mut self.is_noted) {
            true => durable::remove(&trail_path(&setup.state_dir)),
            false => Ok(()),
        }
    }
}

/// Receives pages while another run has the lock: a run that waits for the store, or has much to do, must not cost what the source
/// has now. They go to the inbox, which that run or the next one takes over. Whatever goes wrong here, this run only reports
/// that another is at work.
pub(crate) fn receive_beside(client: &mut HttpSource, first: &PageUrl, follow_links: bool, setup: &Setup<'_>) {
    let now = setup.clock.now();
    let started = status::read(&setup.state_dir, now).ok().and_then(|status| status.last_run).map(|run| run.started);
    if started.is_some_and(|at| (SignedDuration::ZERO..JUST_STARTED).contains(&now.duration_since(at))) {
        return;
    }
    let received = Inbox::open(&setup.state_dir, &setup.settings).and_then(|inbox| {
        let Some(inbox) = inbox else { return Ok(Vec::new()) };
        let mut trail = PageTrail::beside(first, follow_links, now);
        trail.advance(client, setup, &inbox.journal, 0, &mut Summary::default())?;
        Ok(trail.problems)
    });
    match received {
        Ok(problems) => problems.iter().for_each(|problem| tracing::info!("{}", problem.chain())),
        Err(error) => tracing::info!("nothing was received beside the run at work: {}", error.chain()),
    }
}

/// The error that says why nothing is fetched.
pub(crate) fn no_space(setup: &Setup<'_>) -> Result<Error> {
    let (free, dir) = (Reserve::new(&setup.state_dir).free_bytes()?, setup.state_dir.display());
    let (free, least) = (bytes(free), bytes(setup.min_free));
    let what = format!("only {free} are free at {dir}: less than state.min_free ({least}), so nothing is fetched");
    Ok(Error::new(ErrorKind::State, what).hint("free some space; sealing and uploading go on meanwhile"))
}

/// Where the trail from `first` was interrupted, if that is not long ago. A damaged note counts as none.
fn interrupted(dir: &Path, first: &PageUrl, now: Timestamp) -> Result<Option<PageUrl>> {
    let text = durable::read(&trail_path(dir))?;
    let Some(note) = text.and_then(|text| serde_json::from_slice::<Interrupted>(&text).ok()) else { return Ok(None) };
    let age = now.duration_since(note.at);
    let is_ours = note.first == first.fingerprint() && (SignedDuration::ZERO..RESUMED_WITHIN).contains(&age);
    Ok(if is_ours { first.on_same_host(&note.next) } else { None })
}

/// Notes where the trail goes on. Not fsynced: after a power cut it goes on earlier, or from its start.
fn note_place(setup: &Setup<'_>, first: &PageUrl, next: &PageUrl) -> Result<()> {
    let note = Interrupted { first: first.fingerprint(), next: next.secret_text().to_owned(), at: setup.clock.now() };
    write_note(&trail_path(&setup.state_dir), &note)
}

/// The entity tag of the newest page of `url`, where that page is known to be safe: still whole in the journal, or removed from there
/// in the usual way. In doubt there is none: receiving a known page again costs little.
fn validator(front: &Front, url: &PageUrl) -> Result<Option<Validator>> {
    let text = durable::read(&validator_path(front.dir()))?;
    let seen = text.and_then(|text| serde_json::from_slice::<Validator>(&text).ok());
    let Some(seen) = seen.filter(|seen| seen.url == url.fingerprint()) else { return Ok(None) };
    let id = front.journal.list()?.into_iter().find(|id| id.number == seen.segment);
    let is_safe = match id {
        Some(id) => front.journal.read(id).is_ok(),
        None => !front.after_a_crash() && !front.is_missed(seen.segment)?,
    };
    Ok(is_safe.then_some(seen))
}

fn note_validator(setup: &Setup<'_>, url: &PageUrl, etag: String, segment: u64) -> Result<()> {
    write_note(&validator_path(&setup.state_dir), &Validator { url: url.fingerprint(), etag, segment })
}

fn write_note(path: &Path, note: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(note).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a note").caused_by(e))?;
    durable::replace_unsynced(path, &text)
}

/// Forgets the entity tag: its page was rejected, damaged or lost, so the source has to send it again.
pub(crate) fn forget_seen(state: &Path) -> Result<()> {
    durable::remove(&validator_path(state))
}

fn validator_path(state: &Path) -> PathBuf {
    state.join("validator.json")
}

fn trail_path(state: &Path) -> PathBuf {
    state.join("trail.json")
}
