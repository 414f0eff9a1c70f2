//! Fetching alone: from the source into the journal, and from there to whoever takes it.
//!
//! ```text
//! hand on what is left ► ask the source ► durable in the journal ► hand on ► ask for the next page
//! ```
//! Invariant: a page is durable before it is handed on, and stays in the journal until whoever took it has it; what has been asked for is noted
//! after that. A crash leaves pages in the journal, which the next run hands on, some of them a second time.

use std::time::Instant;

use jiff::Timestamp;

use super::intake::fetch::{Halt, PageTrail, no_space};
use super::intake::{address, increment};
use super::{Outcome, Setup, Source, Summary};
use crate::error::{Error, Result};
use crate::source::{HttpSource, Template};
use crate::state::Front;
use crate::state::pages::journal::{Journal, Segment, SegmentId};

/// Takes a segment of pages. It has them on return.
pub type HandOn<'a> = &'a mut dyn FnMut(&Segment) -> Result<()>;

/// Asks an HTTP source for what it has, and hands each page on once it is durable.
///
/// Never fails as a whole: what went wrong is in the outcome, beside what was done.
pub fn receive(setup: &Setup<'_>, source: &mut Source<'_>, hand_on: HandOn<'_>) -> Outcome {
    let (started, mut summary) = (Instant::now(), Summary::default());
    let mut problems = Vec::new();
    if let Err(error) = attempt(setup, source, hand_on, &mut summary, &mut problems) {
        problems.push(error);
    }
    problems.sort_by_key(Error::kind);
    summary.seconds = started.elapsed().as_secs_f64();
    Outcome { began: summary.began, summary, problems }
}

fn attempt(
    setup: &Setup<'_>,
    source: &mut Source<'_>,
    hand_on: HandOn<'_>,
    summary: &mut Summary,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let mut front = Front::open(&setup.state_dir)?;
    front.journal.number_above(0)?;
    summary.began = true;
    address::note(&setup.state_dir, source)?;
    let is_incremental = matches!(source, Source::Http { template, .. } if template.is_incremental());
    let mut newest = Newest { wanted: is_incremental, at: None };
    let handed_on = hand_on_all(setup, &front.journal, hand_on, &mut newest);
    if let Source::Http { client, template } = source {
        let mut trail = PageTrail::start(template, &front, setup.clock.now())?;
        // Pages that are not handed on are safe here, and the source is asked all the same: it forgets.
        let trailed = follow(setup, client, &front.journal, &mut trail, (hand_on, &mut newest), summary, handed_on);
        problems.extend(std::mem::take(&mut trail.problems).into_iter().map(Error::about_the_source));
        trailed?;
        note_increment(setup, template, &trail, newest.at)?;
    } else {
        handed_on?;
    }
    front.finish();
    Ok(())
}

/// Follows a trail to its end. Fails with what kept its pages from being handed on.
fn follow(
    setup: &Setup<'_>,
    client: &mut HttpSource,
    journal: &Journal,
    trail: &mut PageTrail,
    (hand_on, newest): (HandOn<'_>, &mut Newest),
    summary: &mut Summary,
    mut handed_on: Result<()>,
) -> Result<()> {
    while !trail.is_over() {
        let waiting = journal.list()?.into_iter().map(|id| journal.size(id)).sum();
        let halt = trail.advance(client, setup, journal, waiting, summary)?;
        if handed_on.is_ok() {
            handed_on = hand_on_all(setup, journal, hand_on, newest);
        }
        trail.settled();
        if halt == Halt::NoSpace {
            trail.leave_no_notes();
            trail.problems.push(no_space(setup)?);
            break;
        }
    }
    handed_on
}

/// Hands all segments on, oldest first, and lets go of those that are taken. One that is damaged costs only itself.
fn hand_on_all(setup: &Setup<'_>, journal: &Journal, hand_on: HandOn<'_>, newest: &mut Newest) -> Result<()> {
    journal.adopt()?;
    let segments = journal.list()?;
    let last = segments.last().map_or(0, |id| id.number);
    let mut damaged = None;
    for id in segments {
        let segment = match journal.read(id) {
            Ok(segment) => segment,
            Err(error) => {
                damaged.get_or_insert(error);
                continue;
            }
        };
        hand_on(&segment)?;
        newest.look(setup, &segment);
        remove(journal, id, last)?;
    }
    damaged.map_or(Ok(()), Err)
}

fn remove(journal: &Journal, id: SegmentId, newest: u64) -> Result<()> {
    let left = journal.remove(&[id], newest)?;
    crate::state::files::durable::remove_each(&left)
}

/// The time of the newest record that is not of the future: what a source that is asked for increments is asked by.
struct Newest {
    /// Whether anybody wants to know: pages are decoded for it.
    wanted: bool,
    at: Option<Timestamp>,
}

impl Newest {
    fn look(&mut self, setup: &Setup<'_>, segment: &Segment) {
        if !self.wanted {
            return;
        }
        for page in segment.pages().filter_map(|body| setup.decoder.page(body, segment.received).ok()) {
            let times = page.records.iter().map(|record| record.entry.at());
            self.at = self.at.max(times.filter(|at| *at <= segment.received).max());
        }
    }
}

fn note_increment(setup: &Setup<'_>, template: &Template, trail: &PageTrail, newest: Option<Timestamp>) -> Result<()> {
    let whole = trail.increment().and_then(|(_, asked)| asked);
    match whole {
        Some(asked) if template.is_incremental() => increment::note_received(&setup.state_dir, template, asked, newest),
        _ => Ok(()),
    }
}
