//! `run` and `replay`: the order of the stages. The only place that sees all of them.
//!
//! ```text
//! settle: commit what the journal holds → retry the quarantine → upload what is left → seal what is due → upload → prune
//! run:    fetch, settle                    replay: settle
//! ```
//! The source forgets and the store does not: a run asks the source and journals what comes before it opens anything else. Files do
//! not forget: they are read after the journal is settled.
//! A crash anywhere leaves what the step's row in the crash table says ([`crate::state::files::step::Step`]), and `settle` is what
//! the next run begins with: there is no recovery beside the normal path. A failure that concerns one page, one hour or one end
//! (source, store) is kept for the outcome and costs only that; only a failing disk or state ends a run early.

mod dry_run;
pub mod intake;
pub mod output;
mod recover;
mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};

pub use dry_run::{DryRun, dry_run};
pub use intake::fetch::Source;
use intake::fetch::{self, PageTrail};
use output::{refused, seal};
pub use summary::{Summary, UploadedPart};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::gaps::Watch;
use crate::hour::key::Layout;
use crate::hour::lifecycle::ClosingRules;
use crate::hour::{Clock, Hour};
use crate::job::intake::dedup::Buckets;
use crate::job::output::archive::Archive;
use crate::page::decode::Decoder;
use crate::part::seal::CutRules;
use crate::state::files::damage::{self, is_damage};
use crate::state::status;
use crate::state::{Front, Settings, State};
use crate::stop::Stop;
use crate::store::ObjectStore;
use crate::store::dictionaries::DictionaryStore;

/// Repairs in one run, before damage counts as a failure.
const REPAIRS: u32 = 3;

/// Everything that a run is told, checked and resolved.
pub struct Setup<'a> {
    /// The state directory.
    pub state_dir: PathBuf,
    /// What is recorded in it.
    pub settings: Settings,
    /// Bytes that must stay free for a run to fetch.
    pub min_free: u64,
    /// Bytes that the quarantine may have; 0: any number.
    pub quarantine_max_bytes: u64,
    /// Page → records.
    pub decoder: Decoder,
    /// When hours close.
    pub closing: ClosingRules,
    /// How hours are cut.
    pub cut: CutRules,
    /// How long the hashes of an hour are remembered after its last receipt.
    pub dedup_window: SignedDuration,
    /// How keys are spelled.
    pub layout: Layout,
    /// What they begin with.
    pub prefix: String,
    /// Where the parts go.
    pub store: Box<dyn ObjectStore>,
    /// Where originals are kept on this machine; `None`: nowhere.
    pub archive: Option<Archive>,
    /// Whether each part's certificate is published beside it.
    pub manifest: bool,
    /// How many parts go there at once.
    pub uploads: usize,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Whether to stop.
    pub stop: &'a Stop,
    /// Hears how far the work is, for a progress display.
    pub progress: &'a (dyn Fn(Progress) + Sync),
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

/// What a run is asked to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Seal everything now, closed or not.
    pub drain: bool,
    /// Try all quarantined tokens again.
    pub quarantine: bool,
    /// Read the bodies again that were no pages.
    pub rejected: bool,
    /// Rebuild ledger and hashes from the store first.
    pub from_store: bool,
}

/// What came of a run: its summary, and what went wrong, most pressing first.
#[derive(Debug)]
pub struct Outcome {
    /// What it did.
    pub summary: Summary,
    /// Whether it got as far as to work: it had the lock, and a state directory that it could use.
    pub began: bool,
    /// What went wrong. Empty: nothing.
    pub problems: Vec<Error>,
}

impl Outcome {
    /// The exit code: that of the most pressing problem.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.problems.first().map_or(0, |problem| problem.kind().exit_code())
    }

    fn note(&self, setup: &Setup<'_>) -> Result<()> {
        let (now, so_far) = (setup.clock.now(), so_far(&self.summary));
        status::note_end(&setup.state_dir, now, self.exit_code(), so_far, &self.problems)
    }
}

/// Fetches, commits, seals, uploads, prunes; `source` is `None` for a replay.
///
/// Never fails as a whole: what went wrong is in the outcome, beside what was done.
pub fn run(setup: &Setup<'_>, mut source: Option<Source<'_>>, wish: Wish) -> Outcome {
    let started = Instant::now();
    let mut summary = Summary::default();
    let mut trail = None;
    let first = attempt_and_repair(setup, source.as_mut(), &mut trail, wish, &mut summary);
    let mut problems = match first {
        Err(full) if full.is_disk_full() => make_room(setup, wish, full, &mut summary),
        Err(error) => vec![error],
        Ok(problems) => problems,
    };
    problems.extend(trail.into_iter().flat_map(|trail| trail.problems));
    if summary.quarantined > 0 {
        problems.push(quarantined(&summary));
    }
    problems.sort_by_key(Error::kind);
    summary.seconds = started.elapsed().as_secs_f64();
    let outcome = Outcome { began: summary.began, summary, problems };
    if outcome.began
        && let Err(error) = outcome.note(setup)
    {
        tracing::debug!("cannot note the end of the run: {}", error.chain());
    }
    outcome
}

fn quarantined(summary: &Summary) -> Error {
    let count = summary.quarantined;
    let (noun, verb) = if count == 1 { ("token", "was") } else { ("tokens", "were") };
    let reasons: Vec<String> =
        summary.quarantined_reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    Error::new(ErrorKind::Quarantined, format!("{count} {noun} {verb} quarantined: {}", reasons.join(", ")))
        .hint("the others were kept as usual; `etl replay --quarantine` tries the quarantined ones again")
}

/// The disk is full: gives the reserve up, and does what frees space. The store's error stays with its process handle, so the
/// state is opened anew.
fn make_room(setup: &Setup<'_>, wish: Wish, full: Error, summary: &mut Summary) -> Vec<Error> {
    let given = crate::state::Reserve::new(&setup.state_dir).give_up();
    let mut problems = match given {
        Ok(true) => attempt(setup, None, &mut None, wish, summary).unwrap_or_else(|error| vec![error]),
        Ok(false) => Vec::new(),
        Err(error) => vec![error],
    };
    problems.push(full.hint("free some space: until then nothing is fetched; what was received is kept"));
    problems
}

/// What can be made again is not worth a failed run: the next open repairs it, so the run begins anew. What was fetched is in
/// the journal.
fn attempt_and_repair(
    setup: &Setup<'_>,
    mut source: Option<&mut Source<'_>>,
    trail: &mut Option<PageTrail>,
    wish: Wish,
    summary: &mut Summary,
) -> Result<Vec<Error>> {
    for _ in 0..REPAIRS {
        match attempt(setup, source.as_deref_mut(), trail, wish, summary) {
            Err(damage) if is_damage(&damage) => tracing::warn!("{}: beginning anew", damage.chain()),
            done => return done,
        }
        summary.begin_anew();
    }
    attempt(setup, source, trail, wish, summary)
}

fn attempt(
    setup: &Setup<'_>,
    mut source: Option<&mut Source<'_>>,
    trail: &mut Option<PageTrail>,
    wish: Wish,
    summary: &mut Summary,
) -> Result<Vec<Error>> {
    status::prepare(&setup.state_dir, setup.clock.now())?;
    let front = match Front::open(&setup.state_dir) {
        Err(busy) if busy.kind() == ErrorKind::Busy => {
            if let Some(Source::Http { client, url, follow_links }) = source {
                fetch::receive_beside(client, url, *follow_links, setup);
            }
            return Err(busy);
        }
        opened => opened?,
    };
    let status = status::Writer::open(&setup.state_dir);
    if let Some(Source::Http { client, url, follow_links }) = source.as_deref_mut()
        && trail.is_none()
    {
        let trail = trail.insert(PageTrail::start(url, *follow_links, &front, setup.clock.now())?);
        if front.can_receive(&setup.settings) {
            summary.began = true;
            status.note_start(setup.clock.now());
            trail.advance(client, setup, &front.journal, front.waiting_bytes()?, summary)?;
        }
    }
    let state = match wish.from_store {
        true => State::open_without_ledger(front, &setup.settings)?,
        false => State::open_behind(front, &setup.settings)?,
    };
    summary.began = true;
    let mut job = Job::new(setup, state, status, wish, summary);
    let worked = job.say_repairs().and_then(|()| job.work(source, trail.as_mut()));
    // The last word of status.json is true whatever happened.
    let noted = job.note_status(true).and_then(|()| job.state.call_waiting());
    if let Err(error) = &worked {
        damage::clear(error)?;
    }
    worked.and(noted)?;
    Ok(job.problems)
}

/// Gaps that a summary names.
const GAPS_LISTED: usize = 5;

/// A run at work.
struct Job<'a> {
    setup: &'a Setup<'a>,
    state: State,
    wish: Wish,
    /// Whether hours are sealed whether closed or not: asked for, or the source is a backfill.
    drain: bool,
    /// The source is a backfill: files, that are there at once.
    is_backfill: bool,
    buckets: Buckets,
    summary: &'a mut Summary,
    problems: Vec<Error>,
    /// The store did not answer: it is not asked again in this run.
    store_is_down: bool,
    /// Hours with something foreign in their way: left alone in this run.
    blocked: BTreeSet<Hour>,
    /// Hours that the store refuses a part of.
    refused: refused::Refused,
    /// Hours that cannot be read back in this run, and why, until that is said.
    unreadable: BTreeMap<Hour, Option<Error>>,
    /// Hours that could not be read back are tried at once: a person is waiting.
    insists: bool,
    /// Hours that an import thawed: due at once.
    thawed: BTreeSet<Hour>,
    /// Whether the poll overlaps with the one before. `None`: nothing to compare with.
    watch: Option<Watch>,
    /// Records of thawed hours that the journal has to bring back.
    owed: BTreeMap<Hour, u64>,
    /// The dictionaries that parts are read with.
    dictionaries: DictionaryStore<'a>,
    /// What is encoded next.
    ahead: seal::Ahead,
    status: status::Writer,
}

impl<'a> Job<'a> {
    fn new(
        setup: &'a Setup<'a>,
        mut state: State,
        status: status::Writer,
        wish: Wish,
        summary: &'a mut Summary,
    ) -> Self {
        state.quarantine.cap(setup.quarantine_max_bytes);
        let dictionaries = DictionaryStore::new(&*setup.store, &setup.prefix, &setup.decoder.compactor)
            .with_former(state.ledger.former_dictionaries());
        Self {
            setup,
            state,
            wish,
            drain: wish.drain,
            is_backfill: false,
            buckets: Buckets::default(),
            summary,
            problems: Vec::new(),
            store_is_down: false,
            blocked: BTreeSet::new(),
            refused: refused::Refused::new(&setup.state_dir),
            unreadable: BTreeMap::new(),
            insists: false,
            thawed: BTreeSet::new(),
            watch: None,
            owed: BTreeMap::new(),
            dictionaries,
            ahead: seal::Ahead::default(),
            status,
        }
    }

    fn say_repairs(&mut self) -> Result<()> {
        for repair in &self.state.repairs {
            tracing::warn!("{repair}");
        }
        if !self.state.losses.is_empty() {
            fetch::forget_seen(self.state.dir())?;
        }
        self.problems.append(&mut self.state.losses);
        Ok(())
    }

    fn work(&mut self, source: Option<&mut Source<'_>>, trail: Option<&mut PageTrail>) -> Result<()> {
        self.note_status(true)?;
        self.is_backfill = matches!(source, Some(Source::Files { .. }));
        self.insists = source.is_none();
        if self.wish.from_store {
            self.rebuild_from_store()?;
        }
        // Their pages cannot be told from known ones until their parts are in the store.
        if !self.state.short.is_empty() {
            self.upload_left()?;
        }
        self.watch = if self.is_backfill { None } else { Watch::start(self.state.wal.seen()) };
        if self.wish.rejected {
            self.retry_rejected()?;
        }
        match (source, trail) {
            (Some(Source::Http { client, .. }), Some(trail)) => self.settle_trail(client, trail)?,
            (Some(Source::Files { pattern, max_page_bytes }), _) => self.backfill(pattern, *max_page_bytes)?,
            _ => self.settle(true)?,
        }
        self.upload_refused()?;
        self.keep_house()?;
        if self.commit_put_off()? {
            self.retry_quarantine()?;
            self.seal_and_upload()?;
            self.keep_house()?;
        }
        Ok(())
    }

    /// Files: what an interrupted run left waits for the rest, so that an hour is one part and not two.
    fn backfill(&mut self, pattern: &str, max_page_bytes: u64) -> Result<()> {
        self.settle(false)?;
        self.fetch_files_where_there_is_room(pattern, max_page_bytes)?;
        self.drain = true;
        if self.stopped() { Ok(()) } else { self.seal_and_upload() }
    }

    /// Commits what the journal holds, tries again what was put off, uploads what is left; seals and uploads what is due.
    fn settle(&mut self, seal: bool) -> Result<()> {
        self.commit_journal()?;
        self.retry_quarantine()?;
        self.retry_parked()?;
        self.upload_left()?;
        if !self.owed.is_empty() {
            // Hours were thawed: their pages, which waited, bring their records back.
            self.commit_journal()?;
            self.say_what_is_owed();
        }
        if seal && !self.stopped() { self.seal_and_upload() } else { Ok(()) }
    }

    fn stopped(&self) -> bool {
        self.setup.stop.is_requested()
    }

    fn now(&self) -> Timestamp {
        self.setup.clock.now()
    }

    /// Keeps a failure that costs only what it is about. Others end the run.
    fn bear(&mut self, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Bug | ErrorKind::State => Err(error),
            _ => {
                self.problems.push(error);
                Ok(())
            }
        }
    }

    fn keep_house(&mut self) -> Result<()> {
        self.state.prune()?;
        self.state.wal.tidy()?;
        if self.summary.uploaded_parts > 0 || self.state.after_a_crash() {
            self.state.forget_hashes(self.now(), self.setup.dedup_window)?;
        }
        if self.summary.uploaded_parts > 0 {
            if let Some(archive) = &self.setup.archive {
                self.problems.extend(archive.prune(SystemTime::now()).err());
            }
            // The hours that leave the ledger's head are noted while they are in it.
            self.note_status(true)?;
            let wal = &self.state.wal;
            self.state.ledger.archive(|hour| wal.has_pending(hour))?;
        }
        self.state.reserve.fill(self.setup.min_free)?;
        self.note_gaps();
        self.summary.pending_hours = self.state.hours_at_work().len() as u64;
        Ok(())
    }

    fn note_gaps(&mut self) {
        let seen = self.state.wal.seen();
        let gaps = seen.gaps();
        self.summary.gaps = gaps.len() as u64;
        self.summary.missing = seen.missing();
        self.summary.newest_gaps = gaps.into_iter().rev().take(GAPS_LISTED).collect();
        self.summary.polled_too_rarely = self.watch.as_ref().and_then(|watch| watch.verdict(seen));
    }

    /// Writes `status.json`: not too often, unless `now`.
    fn note_status(&mut self, now: bool) -> Result<()> {
        if now || self.status.is_stale() {
            let at = self.now();
            let so_far = so_far(self.summary);
            self.status.write(&mut self.state, &self.setup.closing, &so_far, at)?;
            self.problems.extend(self.state.quarantine.take_damaged());
        }
        Ok(())
    }
}

const fn so_far(summary: &Summary) -> status::RunSoFar {
    status::RunSoFar {
        fetched: summary.fetched,
        new: summary.new,
        duplicates: summary.duplicates,
        quarantined: summary.quarantined,
    }
}
