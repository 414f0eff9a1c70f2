//! A run that seals everything: what it says by its exit code has to be so.
//!
//! Invariant: without a problem it ends only when everything is read that was acknowledged before it began, and has gone through the lanes. A
//! crash leaves what a tick leaves, and barriers, which nobody takes for anything.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::done::Done;
use super::{Tick, Worker};
use crate::cluster::barrier;
use crate::cluster::kafka::Member;
use crate::error::{Error, ErrorKind, Result};
use crate::job::lane::Seals;
use crate::page::decode::Decoder;
use crate::stop::Stop;

/// How long a run that seals everything waits for the partitions of machines that died, beyond a session.
const TAKEOVER: Duration = Duration::from_secs(45);
/// Between two tries.
const MOMENT: Duration = Duration::from_millis(100);

impl Worker {
    /// Waits until everything is this machine's. `false`: it is time to stop.
    pub(super) fn wait_for_all(&self, stop: &Stop) -> Result<bool> {
        let began = Instant::now();
        let lanes: BTreeSet<i32> = (0..i32::try_from(self.settings.lanes).unwrap_or(i32::MAX)).collect();
        let pages: BTreeSet<i32> = self.admin.ends(&self.names.pages())?.into_keys().collect();
        let owned = |member: &Option<Member>| member.as_ref().map(Member::owned).unwrap_or_default();
        while owned(&self.own) != lanes || owned(&self.route) != pages {
            if began.elapsed() > self.config.session + TAKEOVER {
                return Err(self.others_are_at_work());
            }
            if stop.sleep(MOMENT) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn others_are_at_work(&self) -> Error {
        let group = self.names.own_group(self.settings.epoch);
        let members = self.admin.members(&group).unwrap_or_default();
        let ours = format!("etl-{}-{}", self.config.name, self.connection.instance());
        let others: BTreeSet<String> = members
            .into_iter()
            .filter(|member| member.client != ours)
            .map(|member| format!("{} ({})", member.client, member.host))
            .collect();
        let others = others.into_iter().collect::<Vec<_>>().join(", ");
        Error::new(ErrorKind::Unavailable, format!("not every lane is this machine's: others are at work: {others}"))
            .hint("stop them, and run again; what they have is sealed as its hours close in any case")
    }

    /// Routes all pages that are there by now.
    pub(super) fn route_through(&mut self, decoder: &Decoder, stop: &Stop, done: &mut Done) -> Result<()> {
        let ends = barrier::pages(self.status.producer(), &self.names, self.page_partitions)?;
        self.until(stop, done, "pages", &mut |this, done| {
            this.route(decoder, stop, done)?;
            Ok(this.router.as_ref().is_some_and(|router| router.has_read(&ends)))
        })
    }

    /// Works lanes until all is read that is in them by now.
    pub(super) fn own_through(
        &mut self,
        decoder: &Decoder,
        (tick, seals): (&Tick<'_, '_, '_>, Seals),
        done: &mut Done,
    ) -> Result<()> {
        let ends = barrier::lanes(self.status.producer(), &self.names, &self.settings)?;
        self.until(tick.stop, done, "lanes", &mut |this, done| {
            this.rounds(decoder, (tick, seals), done)?;
            Ok(this.owner.has_read(&ends))
        })
    }

    /// Does a step until it says that it is done, or something is wrong that explains why it is not.
    fn until(
        &mut self,
        stop: &Stop,
        done: &mut Done,
        what: &str,
        step: &mut dyn FnMut(&mut Self, &mut Done) -> Result<bool>,
    ) -> Result<()> {
        let began = Instant::now();
        while !step(self, done)? && done.problems.is_empty() && !stop.sleep(MOMENT) {
            if began.elapsed() > TAKEOVER {
                let what = format!("not all {what} could be read to where they ended");
                return Err(Error::new(ErrorKind::Unavailable, what)
                    .hint("another machine took some over, or a broker answers that is cut off from the others: look at both, and run again"));
            }
        }
        Ok(())
    }
}
