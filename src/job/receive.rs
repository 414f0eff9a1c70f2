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
use crate::source::HttpSource;
use crate::state::Front;
use crate::state::pages::journal::Journal;

/// Takes the pages of the journal, and removes those that it has. Gives what is wrong with others.
pub type HandOn<'a> = &'a mut dyn FnMut(&Journal) -> Result<Vec<Error>>;

/// Asks an HTTP source for what it has, and hands each page on once it is durable. Without a source, only what is left is handed on.
///
/// Never fails as a whole: what went wrong is in the outcome, beside what was done.
pub fn receive(setup: &Setup<'_>, source: Option<&mut Source<'_>>, hand_on: HandOn<'_>) -> Outcome {
    let started = Instant::now();
    let mut receiver = Receiver {
        setup,
        hand_on,
        is_incremental: false,
        newest: None,
        summary: Summary::default(),
        problems: Vec::new(),
    };
    if let Err(error) = receiver.work(source) {
        receiver.problems.push(error);
    }
    let Receiver { mut summary, mut problems, .. } = receiver;
    problems.sort_by_key(Error::kind);
    summary.seconds = started.elapsed().as_secs_f64();
    Outcome { began: summary.began, summary, problems }
}

struct Receiver<'r, 'a> {
    setup: &'r Setup<'a>,
    hand_on: HandOn<'r>,
    /// Whether the source is asked by the time of the newest record: then pages are decoded to know it.
    is_incremental: bool,
    /// The time of the newest record that is not of the future.
    newest: Option<Timestamp>,
    summary: Summary,
    problems: Vec<Error>,
}

impl Receiver<'_, '_> {
    fn work(&mut self, source: Option<&mut Source<'_>>) -> Result<()> {
        let mut front = Front::open(&self.setup.state_dir)?;
        front.journal.number_above(0)?;
        self.summary.began = true;
        if let Some(source) = &source {
            address::note(&self.setup.state_dir, source)?;
        }
        match source {
            Some(Source::Http { client, template }) => {
                self.is_incremental = template.is_incremental();
                let mut trail = PageTrail::start(template, &front, self.setup.clock.now())?;
                let followed = self.follow(client, &front.journal, &mut trail);
                let problems = std::mem::take(&mut trail.problems);
                self.problems.extend(problems.into_iter().map(Error::about_the_source));
                followed?;
                self.note_increment(&trail)?;
            }
            _ => self.hand_all_on(&front.journal)?,
        }
        front.finish();
        Ok(())
    }

    /// Follows a trail to its end. Fails with what kept pages from being handed on: they are safe here, and the source is asked all the same,
    /// since it forgets.
    fn follow(&mut self, client: &mut HttpSource, journal: &Journal, trail: &mut PageTrail) -> Result<()> {
        let mut handed_on = self.hand_all_on(journal);
        while !trail.is_over() {
            let waiting = journal.list()?.into_iter().map(|id| journal.size(id)).sum();
            let halt = trail.advance(client, self.setup, journal, waiting, &mut self.summary)?;
            if handed_on.is_ok() {
                handed_on = self.hand_all_on(journal);
            }
            trail.settled();
            if halt == Halt::NoSpace {
                self.problems.push(no_space(self.setup)?);
                break;
            }
        }
        handed_on
    }

    fn hand_all_on(&mut self, journal: &Journal) -> Result<()> {
        journal.adopt()?;
        if self.is_incremental {
            self.look_for_the_newest(journal)?;
        }
        self.problems.extend((self.hand_on)(journal)?);
        Ok(())
    }

    fn look_for_the_newest(&mut self, journal: &Journal) -> Result<()> {
        for segment in journal.list()?.into_iter().filter_map(|id| journal.read(id).ok()) {
            let decode = |body| self.setup.decoder.page(body, segment.received).ok();
            for page in segment.pages().filter_map(decode) {
                let times = page.records.iter().map(|record| record.entry.at());
                self.newest = self.newest.max(times.filter(|at| *at <= segment.received).max());
            }
        }
        Ok(())
    }

    /// What a whole trail brought is as safe with whoever took it as what is committed.
    fn note_increment(&self, trail: &PageTrail) -> Result<()> {
        match trail.increment() {
            Some((template, Some(asked))) => {
                increment::note_received(&self.setup.state_dir, template, asked, self.newest)
            }
            _ => Ok(()),
        }
    }
}
