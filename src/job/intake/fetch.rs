//! Source → journal: what is received is durable before anything reads it.
//!
//! A page of an API is a segment of its own, durable before the link to the next one is followed; files are a backfill
//! (see [`super::backfill`]). The source forgets, so it is asked before anything else of the state is opened, and a trail of linked
//! pages pauses where the disk gets full or much waits to be committed. A crash leaves whole segments, or nothing of the one that
//! was being written, and a note of where the trail was: it saves asking again for pages that are there, and nothing depends on it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::hearing::Poll;
use super::increment;
use super::notes::{self, Interrupted, Validator};
use super::receive::{Received, Receiver};
use super::windows::Window;
use crate::error::{Error, ErrorKind, Result};
use crate::job::context::has_room;
use crate::job::progress_log::took;
use crate::job::{Progress, Setup, Summary};
use crate::output::numbers::bytes;
use crate::source::paging::{Body, Next, Position, Trail, Values, Visit};
use crate::source::{Fetched, HttpSource, PageHead, PageRequest, Template};
use crate::state::pages::journal::Journal;
use crate::state::status;
use crate::state::{Front, Inbox, Reserve};

/// More linked pages than these in one fetch are a loop that the URLs do not show.
pub const MAX_LINKED: usize = 100_000;
/// A trail pauses when it has received so much: what waits is committed before more comes.
const PAUSE_BYTES: u64 = 64 << 20;
/// A run that started less than this ago asks the source itself.
const JUST_STARTED: SignedDuration = SignedDuration::from_secs(10);
/// A source that sent a page less than this ago is at work, although the run's time ends while it makes the next.
const AT_WORK: Duration = Duration::from_secs(10);

/// Where pages come from.
#[expect(clippy::large_enum_variant, reason = "there is one in a run")]
pub enum Source<'a> {
    /// An HTTP API.
    Http {
        /// The client.
        client: &'a mut HttpSource,
        /// What it is asked for, and how one page leads to the next.
        template: Template,
    },
    /// Files.
    Files {
        /// The glob.
        pattern: String,
        /// The cap on a page.
        max_page_bytes: u64,
    },
}

impl Source<'_> {
    /// Whether what it gives is of long ago, and all there at once: then no record of it is late.
    pub(crate) const fn is_backfill(&self) -> bool {
        match self {
            Self::Http { template, .. } => template.span().is_some(),
            Self::Files { .. } => true,
        }
    }
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

/// The pages of an API, from the first one to where it leads.
pub(crate) struct PageTrail {
    template: Template,
    values: Values,
    next: Option<Position>,
    passed: Trail,
    validator: Option<Validator>,
    /// Before the first request.
    asked: Timestamp,
    /// When the source began to answer it, by its own clock where it tells the time.
    began: Option<Timestamp>,
    /// The segments with what came.
    segments: Vec<u64>,
    /// How it ended, where it ended whole: what a 304 speaks of, if it was one.
    ended: Option<Option<u64>>,
    /// Whether it starts at its first page.
    is_whole: bool,
    clock_is_off: bool,
    /// Whether it starts where an earlier run was interrupted, and nothing came yet.
    resuming: bool,
    /// Whether it went back to its first page, because the place that it was at was gone.
    went_back: bool,
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
    /// The trail of `template` from its first page on, or from where it was interrupted a short time ago.
    pub(crate) fn start(template: &Template, front: &Front, now: Timestamp) -> Result<Self> {
        let values = increment::values(front.dir(), template, now)?;
        let mut trail = Self { takes_notes: true, ..Self::beside(template, values, now) };
        trail.is_noted = notes::has_place(front.dir(), template);
        if template.is_one_page() {
            trail.validator = notes::validator(front, template.request(&trail.values, &Position::First)?.url())?;
        } else if let Some(place) = notes::interrupted(front.dir(), template, now)? {
            (trail.next, trail.resuming, trail.is_whole) = (Some(place.next), true, false);
            (trail.values, trail.began) = (place.values, Some(place.began));
        }
        Ok(trail)
    }

    /// The trail from the first page on, for a run that has no lock: it leaves the notes to the one that has.
    fn beside(template: &Template, values: Values, now: Timestamp) -> Self {
        Self {
            template: template.clone(),
            values,
            next: Some(Position::First),
            passed: Trail::new(MAX_LINKED),
            validator: None,
            asked: now,
            began: None,
            segments: Vec::new(),
            ended: None,
            is_whole: true,
            clock_is_off: false,
            resuming: false,
            went_back: false,
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

    /// The fingerprint of what it asks for. `None`: it is not what is new.
    pub(crate) fn source(&self) -> Option<String> {
        self.template.span().is_none().then(|| self.template.fingerprint())
    }

    /// Whether it is a window of a bounded backfill.
    pub(crate) const fn is_window(&self) -> bool {
        self.template.span().is_some()
    }

    /// The window that it was, where all of it came.
    pub(crate) fn whole_window(&self) -> Option<(&Template, Window)> {
        let window = self.template.span().filter(|_| self.ended.is_some())?;
        Some((&self.template, window))
    }

    /// What it asked for, and when the source began to answer, where all of it came. `None`: the next trail asks for the same.
    pub(crate) fn increment(&self) -> Option<(&Template, Option<Timestamp>)> {
        let whole = self.began.filter(|_| self.ended.is_some());
        self.template.is_incremental().then_some((&self.template, whole))
    }

    /// A page of it was set aside: the next run begins with its first page.
    pub(crate) const fn leave_no_notes(&mut self) {
        self.takes_notes = false;
    }

    /// The poll that it was. `None`: not all of it came.
    pub(crate) fn poll(&self) -> Option<Poll> {
        let not_modified = self.ended.filter(|_| self.is_whole)?;
        let (asked, segments, clock_is_off) = (self.asked, self.segments.clone(), self.clock_is_off);
        Some(Poll { source: self.source()?, asked, segments, not_modified, clock_is_off })
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
        while let Some(position) = self.next.clone() {
            if client.stop().is_requested() {
                break;
            }
            if self.unsettled >= PAUSE_BYTES {
                return Ok(Halt::Full);
            }
            if !has_room(setup, waiting.saturating_add(self.unsettled))? {
                return Ok(Halt::NoSpace);
            }
            let Some(page) = self.request(&position).filter(|_| self.problems.is_empty()) else { break };
            if !self.enter(&page, setup)? {
                break;
            }
            let known = self.validator.take();
            let etag = known.as_ref().map(|known| known.etag.as_str());
            let asked = Instant::now();
            let before = waiting.saturating_add(self.unsettled);
            let has_room = |bytes: u64| has_room(setup, before.saturating_add(bytes));
            let receiver = Receiver::new(journal, setup.clock, &has_room);
            let fetched = client.fetch(&page, etag, || Ok(receiver.sink()));
            self.clock_is_off |= client.clock_is_off();
            match fetched {
                Ok(Fetched::Page { sink, head }) => {
                    tracing::info!("fetched {page}: {}, in {}", bytes(head.bytes), took(asked.elapsed()));
                    let received = sink.end()?;
                    self.receive(&received, &head, setup, summary);
                    self.go_on(&position, &page, &head, &received, setup)?;
                }
                Ok(Fetched::NotModified) => {
                    tracing::info!("{page} has nothing new (304), in {}", took(asked.elapsed()));
                    self.ended = known.map(|known| Some(known.segment));
                    summary.asked = true;
                    break;
                }
                Ok(Fetched::Stopped) => break,
                Err(error) => self.fail(error, client, position == Position::First, setup)?,
            }
        }
        self.next = None;
        Ok(Halt::Ended)
    }

    fn request(&mut self, position: &Position) -> Option<PageRequest> {
        self.template.request(&self.values, position).map_err(|error| self.problems.push(error)).ok()
    }

    /// Whether the page is one that the trail has not had.
    fn enter(&mut self, page: &PageRequest, setup: &Setup<'_>) -> Result<bool> {
        match self.passed.enter(page) {
            Visit::New => return Ok(true),
            Visit::Seen => self.ended = Some(None),
            Visit::TooMany => {
                let what = format!("{page}: more than {MAX_LINKED} pages lead one to the next");
                let hint = "look at what the source says of the next page: its Link headers, or source.paging";
                self.problems.push(Error::new(ErrorKind::Unavailable, what).hint(hint));
            }
        }
        self.forget_place(setup).map(|()| false)
    }

    fn receive(&mut self, received: &Received, head: &PageHead, setup: &Setup<'_>, summary: &mut Summary) {
        self.segments.extend(&received.segments);
        self.unsettled = self.unsettled.saturating_add(head.bytes);
        (self.resuming, self.last_page) = (false, Some(Instant::now()));
        self.began = self.began.or(Some(head.date.unwrap_or(self.asked)));
        summary.pages += received.segments.len() as u64;
        summary.asked |= !self.is_window();
        (setup.progress)(Progress::Fetched(summary.pages));
    }

    /// Finds what comes after a page, which is durable, and notes it.
    fn go_on(
        &mut self,
        position: &Position,
        page: &PageRequest,
        head: &PageHead,
        received: &Received,
        setup: &Setup<'_>,
    ) -> Result<()> {
        if self.template.is_one_page() {
            (self.next, self.ended) = (None, Some(None));
            let etag = head.etag.clone().filter(|_| self.takes_notes);
            // A tag is noted with the one segment that it speaks for.
            return match (etag, received.segments.as_slice()) {
                (Some(etag), [only]) => notes::note_validator(&setup.state_dir, page.url(), etag, *only),
                _ => Ok(()),
            };
        }
        let body = Body { bytes: received.body(), before: received.before, lines: received.lines };
        self.next = match self.template.next(position, page, head, body, &mut self.passed) {
            Next::Page(next) => Some(next),
            Next::End => {
                self.ended = Some(None);
                None
            }
            Next::Lost(error) => {
                self.problems.push(error);
                None
            }
        };
        match self.next.clone() {
            Some(_) if !self.takes_notes => Ok(()),
            Some(next) => self.note_place(next, setup),
            None => self.forget_place(setup),
        }
    }

    fn note_place(&mut self, next: Position, setup: &Setup<'_>) -> Result<()> {
        let (first, values, at) = (self.template.fingerprint(), self.values.clone(), setup.clock.now());
        let place = Interrupted { first, next, values, began: self.began.unwrap_or(self.asked), at };
        notes::note_place(&setup.state_dir, &self.template, &place).map(|()| self.is_noted = true)
    }

    /// Handles a page that did not come. The place that an earlier page or trail led to may be gone: then the source is asked from the
    /// start, once.
    fn fail(&mut self, error: Error, client: &HttpSource, is_first: bool, setup: &Setup<'_>) -> Result<()> {
        if matches!(error.kind(), ErrorKind::State | ErrorKind::Bug) {
            return Err(error);
        }
        self.next = None;
        let is_out_of_time = client.stop().is_requested();
        let is_at_work = self.last_page.is_some_and(|at| at.elapsed() < AT_WORK);
        let is_gone = client.refused_the_place() && !is_first;
        let resumed =
            std::mem::take(&mut self.resuming) && error.kind() == ErrorKind::Unavailable && !client.is_limited();
        if is_out_of_time && is_at_work {
            tracing::info!("{}: the next run goes on there", error.chain());
            return Ok(());
        }
        if is_gone || resumed && !is_out_of_time {
            self.forget_place(setup)?;
        }
        if (is_gone || resumed) && !is_out_of_time && !std::mem::replace(&mut self.went_back, true) {
            tracing::info!("{}: beginning with the first page", error.chain());
            (self.next, self.passed) = (Some(Position::First), Trail::new(MAX_LINKED));
            (self.is_whole, self.asked, self.began) = (true, setup.clock.now(), None);
        } else {
            self.problems.push(error);
        }
        Ok(())
    }

    fn forget_place(&mut self, setup: &Setup<'_>) -> Result<()> {
        match std::mem::take(&mut self.is_noted) {
            true => notes::forget_place(&setup.state_dir, &self.template),
            false => Ok(()),
        }
    }
}

/// Receives pages while another run has the lock: a run that waits for the store, or has much to do, must not cost what the source
/// has now. They go to the inbox, which that run or the next one takes over. Whatever goes wrong here, this run only reports
/// that another is at work.
pub(crate) fn receive_beside(client: &mut HttpSource, template: &Template, setup: &Setup<'_>) {
    let now = setup.clock.now();
    let started = status::read(&setup.state_dir, now).ok().and_then(|status| status.last_run).map(|run| run.started);
    if started.is_some_and(|at| (SignedDuration::ZERO..JUST_STARTED).contains(&now.duration_since(at))) {
        return;
    }
    let received = Inbox::open(&setup.state_dir, &setup.settings).and_then(|inbox| {
        let Some(inbox) = inbox else { return Ok(Vec::new()) };
        let mut trail = PageTrail::beside(template, increment::values(&setup.state_dir, template, now)?, now);
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
