//! Records of an hour that cannot be read back: set apart, and brought back when it can be.
//!
//! Whether such a record is known, nobody can tell. It waits in [`crate::state::hours::parked`], the rest of its page is committed, and other hours
//! are not concerned. Each such hour is tried once in a while; then its records go back through the journal, whose page is
//! durable before they are let go. A crash in between finds them known, or parks them again.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::job::Job;
use crate::page::decode::{Decoded, Ended};
use crate::state::hours::parked::ParkedRecord;
use crate::state::pages::journal::Segment;

/// Records that go back in one page.
const PAGE: usize = 5_000;

/// Whether it can be told which records of an hour are known.
pub(crate) enum Memory {
    /// Its hashes are at hand.
    AtHand,
    /// Its parts are in the making, and what needs their hashes waits for them.
    Waits,
    /// Its parts cannot be read back. Why is in [`Job::unreadable`], until it is said.
    Unreadable,
}

impl Job<'_> {
    /// Makes sure that the hashes of an hour's parts are at hand: imports the hour where they are forgotten or damaged.
    pub(crate) fn recall(&mut self, hour: Hour) -> Result<Memory> {
        if self.unreadable.contains_key(&hour) {
            return Ok(Memory::Unreadable);
        }
        let row = self.state.ledger.row(hour)?;
        if row.is_sealing() && self.state.short.contains(&hour) {
            return Ok(Memory::Waits);
        }
        if !row.is_forgotten() && self.state.array(&row).is_ok() {
            return Ok(Memory::AtHand);
        }
        if row.is_sealing() {
            return Ok(Memory::Waits);
        }
        if self.state.parked.holds(hour) && !self.insists && self.state.parked.was_just_tried(hour, self.now()) {
            self.unreadable.insert(hour, None);
            return Ok(Memory::Unreadable);
        }
        if !row.is_forgotten() {
            tracing::warn!("hour {hour}: its hash array is damaged or missing: its parts are read back from the store");
        }
        let error = match self.store_is_down {
            true => Error::new(ErrorKind::Unavailable, "the store did not answer"),
            false => match self.import(&row, &[]) {
                Ok(_) => return Ok(Memory::AtHand),
                // A look that a stop cut short says nothing of the hour.
                Err(_) if self.stopped() => return Ok(Memory::Waits),
                Err(error) => error,
            },
        };
        self.cannot_be_read(hour, error).map(|()| Memory::Unreadable)
    }

    fn cannot_be_read(&mut self, hour: Hour, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::Bug || error.is_disk_full() {
            return Err(error);
        }
        let is_about_this_hour = error.concerns_one_object();
        self.store_is_down |= !is_about_this_hour;
        self.unreadable.insert(hour, Some(error));
        // A store that is away is asked by the next run anyway, and then once for all.
        if !is_about_this_hour {
            return Ok(());
        }
        let now = self.now();
        self.state.parked.note_tried(hour, now)
    }

    /// Why an hour cannot be read back, where that was not said yet.
    pub(crate) fn why_unreadable(&mut self, hour: Hour) -> Option<Error> {
        self.unreadable.get_mut(&hour).and_then(Option::take)
    }

    /// Parks the records of hours that cannot be read back, and leaves them out of their pages. `false`: the run is to stop, and
    /// nothing has changed.
    pub(crate) fn park(
        &mut self,
        segment: &Segment,
        bodies: &[&[u8]],
        pages: &mut [Decoded],
        hours: &BTreeSet<Hour>,
    ) -> Result<bool> {
        let mut apart: BTreeMap<Hour, Vec<ParkedRecord>> = BTreeMap::new();
        let received = segment.received;
        let mut each = |hour: Hour, hash, token: &str| {
            apart.entry(hour).or_default().push(ParkedRecord { hash, token: token.to_owned(), received });
            Ok(())
        };
        for body in bodies {
            let stop = || self.setup.stop.is_requested();
            match self.setup.decoder.tokens_of(body, received, &stop, hours, &mut each) {
                Ok(()) => {}
                Err(Ended::Page(_)) => return Ok(false),
                Err(Ended::Taker(error)) => return Err(error),
            }
        }
        for (hour, records) in apart {
            let was_parked = self.state.parked.holds(hour);
            let new = self.state.parked.add(segment.id.number, hour, records)?;
            self.summary.parked += new;
            if let Some(cause) = self.why_unreadable(hour) {
                self.say_parked(hour, new, &cause, was_parked)?;
            }
        }
        pages.iter_mut().for_each(|page| page.leave_out(hours));
        Ok(true)
    }

    /// Says that records were parked: in the run in which the first ones of their hour are.
    fn say_parked(&mut self, hour: Hour, new: u64, cause: &Error, was_parked: bool) -> Result<()> {
        let (records, wait) = if new == 1 { ("record", "waits") } else { ("records", "wait") };
        let what = format!(
            "hour {hour}: its parts cannot be read back, so {new} new {records} of it {wait} in parked/: {}",
            cause.chain()
        );
        if was_parked {
            tracing::info!("{what}");
            return Ok(());
        }
        self.bear(Error::new(cause.kind(), what).hint(way_out(cause)))
    }

    /// Tries the hours again whose records are parked, and brings those back of the ones that can be read.
    pub(crate) fn retry_parked(&mut self) -> Result<()> {
        for hour in self.state.parked.hours() {
            if self.stopped() {
                break;
            }
            if let Memory::AtHand = self.recall(hour)? {
                self.bring_back(hour)?;
            }
            let Some(error) = self.why_unreadable(hour) else { continue };
            let what = format!("hour {hour}: its records stay parked: {}", error.chain());
            if self.insists {
                self.bear(Error::new(error.kind(), what).hint(way_out(&error)))?;
            } else {
                tracing::info!("{what}");
            }
        }
        Ok(())
    }

    fn bring_back(&mut self, hour: Hour) -> Result<()> {
        let records = match self.state.parked.records(hour) {
            Ok(records) => records,
            Err(damaged) => {
                let hint = "restore the file from a backup, or move it away to go on without its records";
                self.problems.push(damaged.hint(hint));
                return Ok(());
            }
        };
        let mut ids = Vec::new();
        for some in records.chunks(PAGE) {
            let page = crate::job::recover::requeue::page_of(some.iter().map(|record| record.token.as_str()))?;
            if !self.is_known(&page)? {
                ids.push(self.append(&[&page], self.now())?);
            }
        }
        // The journal has them now.
        self.state.parked.release(hour)?;
        self.summary.recovered += records.len() as u64;
        tracing::info!("hour {hour} was read back: its {} parked records are taken in", records.len());
        ids.into_iter().try_for_each(|id| self.commit_segment(id))
    }

    /// Whether all records of a page are committed: a crash came before they were let go.
    fn is_known(&mut self, page: &[u8]) -> Result<bool> {
        let Ok(decoded) = self.setup.decoder.page(page, self.now()) else { return Ok(false) };
        let is_whole = decoded.records.len() as u64 == decoded.elements;
        let at_hand = self.make_ready(std::slice::from_ref(&decoded))?.is_some_and(|unreadable| unreadable.is_empty());
        Ok(is_whole && at_hand && self.buckets.know(&decoded)?)
    }
}

/// What brings parked records back.
fn way_out(cause: &Error) -> &str {
    match cause.kind() {
        ErrorKind::Mismatch => {
            "to repair it, put the object back as it was: the hour is tried again once an hour, and by `etl replay`, and its \
             records come by themselves"
        }
        _ => cause.next_step().unwrap_or("the hour is tried again once an hour: its records come by themselves"),
    }
}
