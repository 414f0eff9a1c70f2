//! Digests: once a day is over, one small object names the manifests of its parts with their SHA-256, and the digest before.
//!
//! Made at the end of a run, where manifests are published. The content of a digest is fixed durably before its first PUT, which is
//! create-only; then comes its signature, then its receipt. A crash at any of these steps leaves what the next run goes on with: the
//! same bytes, which a look finds to be there. Whatever fails here costs the digest alone: it is made by a later run.
//!
//! Two machines on one prefix make one chain: the names of digests are its order, and who finds the next name taken takes that digest
//! over if it follows his newest, and goes on after it.

mod chain;
mod plan;

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use self::chain::head_of;
use self::plan::{Outlook, Planned};
use super::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::closing::ClosingRules;
use crate::job::Run;
use crate::job::output::document::create_document;
use crate::state::files::step::{Step, durable_step};
use crate::state::{Chain, Fixed, Undigested};
use crate::store::digests::{Digest, Link, Name};
use crate::store::minisign::Signer;
use crate::store::once::Outcome;

/// How long a day waits for what is on its way, from when its late records are due: a part may be refused for ever.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);
/// How often the digests of others are taken over in one run.
const TAKEN_OVER: u32 = 8;

impl Output {
    /// Publishes the digests that are due.
    pub(crate) fn publish_digests(&self, run: &mut Run<'_>) -> Result<()> {
        if !run.setup.manifest || run.store_is_down || run.is_stopped() {
            return Ok(());
        }
        let failed = match Maker::new(run, self.drain).publish_due() {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        match failed.kind() {
            // They cost the digests alone: the store is asked for everything else.
            ErrorKind::Mismatch | ErrorKind::Config | ErrorKind::Credentials => run.record_or_fail(failed),
            _ => run.record_store_failure(failed),
        }
    }
}

/// Makes digests.
struct Maker<'m, 'r> {
    run: &'m mut Run<'r>,
    /// Whether nothing waits for more to come.
    drain: bool,
    /// Read where there is something to sign, or to check.
    signer: Option<Signer>,
    /// The days of which something is on its way.
    at_work: BTreeSet<Date>,
}

/// What became of a digest.
#[derive(Debug, PartialEq, Eq)]
enum Put {
    Ours,
    /// Another one has its name.
    Taken,
}

impl<'m, 'r> Maker<'m, 'r> {
    fn new(run: &'m mut Run<'r>, drain: bool) -> Self {
        let hours = &run.state.hours;
        let at_work = hours.pending_hours().chain(hours.sealing()).map(Hour::date).collect();
        Self { run, drain, signer: None, at_work }
    }

    fn publish_due(&mut self) -> Result<()> {
        let Some(mut chain) = self.chain()? else { return Ok(()) };
        let waiting = self.run.state.hours.digests.undigested(Some(&chain))?;
        let left = self.left_by_a_crash(&chain)?;
        let may_backfill = self.drain || is_due(&chain, &self.run.setup.closing, self.run.now());
        if left.is_none() && self.plan(&chain, &waiting, may_backfill).is_none() {
            return Ok(());
        }
        self.read_signer()?;
        if let Some(fixed) = left {
            self.publish(&mut chain, fixed)?;
        }
        for _ in 0..TAKEN_OVER {
            self.catch_up(&mut chain)?;
            if self.publish_all(&mut chain, may_backfill)? == Put::Ours {
                // Takes what is covered now off the list.
                return self.run.state.hours.digests.undigested(Some(&chain)).map(drop);
            }
        }
        let what = "the digests wait: another machine makes digests at the same time";
        Err(Error::new(ErrorKind::Unavailable, what).hint("run again later: nothing is lost").about_one_object())
    }

    fn read_signer(&mut self) -> Result<()> {
        if let (None, Some(key)) = (&self.signer, &self.run.setup.signing) {
            self.signer = Some(Signer::read(key)?);
        }
        Ok(())
    }

    /// The digest that an earlier run fixed, and that has no receipt yet.
    fn left_by_a_crash(&self, chain: &Chain) -> Result<Option<Fixed>> {
        let fixed = self.run.state.hours.digests.fixed()?;
        let previous = chain.head.as_ref().map(|head| self.link(head));
        let follows = |fixed: &Fixed| {
            let name = Name { day: fixed.head.day, number: fixed.head.number };
            Digest::parse(fixed.text.as_bytes(), name).is_some_and(|digest| digest.previous == previous)
        };
        Ok(fixed.filter(follows))
    }

    /// Publishes all digests that are due. A digest that another machine made ends it.
    fn publish_all(&mut self, chain: &mut Chain, may_backfill: bool) -> Result<Put> {
        let waiting = self.run.state.hours.digests.undigested(Some(chain))?;
        let mut waiting = &*waiting;
        while !self.run.is_stopped()
            && let Some(planned) = self.plan(chain, waiting, may_backfill)
        {
            let (named, rest) = waiting.split_at(planned.count.min(waiting.len()));
            let fixed = self.fix(chain, planned.name, named)?;
            self.run.state.hours.digests.fix(&fixed)?;
            if self.publish(chain, fixed)? == Put::Taken {
                return Ok(Put::Taken);
            }
            waiting = rest;
        }
        Ok(Put::Ours)
    }

    fn plan(&self, chain: &Chain, waiting: &[Undigested], may_backfill: bool) -> Option<Planned> {
        let (closing, now) = (&self.run.setup.closing, self.run.now());
        let is_settled = |day: Date| {
            let due = closes_at(closing, day).and_then(|at| at.checked_add(closing.late_hold).ok());
            let patient = due.and_then(|at| at.checked_add(PATIENCE).ok()).is_none_or(|at| now < at);
            !patient || !self.at_work.contains(&day)
        };
        let outlook = Outlook {
            head: chain.head.as_ref().map(|head| Name { day: head.day, number: head.number }),
            live_since: chain.live_since,
            newest_over: newest_over(closing, now)?,
            waiting,
            is_settled: &is_settled,
            may_backfill,
        };
        outlook.next()
    }

    /// The digest `name`, which names these manifests.
    fn fix(&mut self, chain: &Chain, name: Name, named: &[Undigested]) -> Result<Fixed> {
        let setup = self.run.setup;
        let link = |one: &Undigested| Link {
            key: setup.layout.manifest_key(&setup.prefix, one.hour, one.part),
            sha256: one.sha256.to_string(),
        };
        let digest = Digest {
            schema: 1,
            day: name.day,
            number: name.number,
            serial: chain.head.as_ref().map_or(0, |head| head.serial + 1),
            timezone: setup.settings.timezone.clone(),
            signed: self.signer.is_some(),
            previous: chain.head.as_ref().map(|head| self.link(head)),
            manifests: named.iter().map(link).collect(),
        };
        let text = digest.text()?;
        let covers = match named.last() {
            Some(last) => Some(self.run.state.hours.digests.position(last)?),
            None => chain.covered,
        };
        Ok(Fixed { head: head_of(&digest, text.as_bytes()), covers, text })
    }

    /// Puts a fixed digest and its signature into the store, and records that.
    fn publish(&mut self, chain: &mut Chain, fixed: Fixed) -> Result<Put> {
        let name = Name { day: fixed.head.day, number: fixed.head.number };
        let (key, bytes) = (name.key(&self.run.setup.prefix), fixed.text.as_bytes());
        let is_signed = Digest::parse(bytes, name).is_some_and(|digest| digest.signed);
        if is_signed && self.signer.is_none() {
            let what = format!("{key} says that it is signed, and load.sign_key names no key any more");
            return Err(
                Error::new(ErrorKind::Config, what).hint("set load.sign_key again until that digest is published")
            );
        }
        let put = durable_step(Step::DigestPut, || self.create(&key, bytes))?;
        if put.is_some_and(|there| there != bytes) {
            return Ok(Put::Taken);
        }
        if let Some(signer) = self.signer.as_ref().filter(|_| is_signed) {
            let signature = signer.sign(bytes, &format!("{key} sha256:{}", fixed.head.sha256))?;
            let key = name.signature_key(&self.run.setup.prefix);
            // Each signing gives other bytes: one that an earlier run made is as good.
            let there = self.create(&key, &signature)?;
            if there.is_some_and(|there| signer.public().check(bytes, &there).is_err()) {
                return Err(broken(&key, "the object is not a signature of its digest by load.sign_key"));
            }
        }
        tracing::info!("{key}: published");
        (chain.head, chain.covered, chain.made_at) = (Some(fixed.head), fixed.covers, self.run.now());
        self.run.state.hours.digests.record(chain)?;
        self.run.state.hours.digests.forget_fixed()?;
        Ok(Put::Ours)
    }

    /// Creates a small object. `Some`: something is there already, and this is it.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        match create_document(self.run, key, bytes, ("digest", "digest"))? {
            Outcome::Uploaded { .. } => Ok(None),
            // A lake keeps no metadata: there the bytes say what it is.
            Outcome::Foreign { .. } => self.run.setup.store.get(key).map(Some),
        }
    }
}

/// Reports what keeps the chain from going on.
fn broken(key: &str, what: &str) -> Error {
    let hint = "it was left alone, and no digest is made: look at it with `etl verify --digests`, move it away, then run again";
    Error::new(ErrorKind::Mismatch, format!("{key}: {what}")).hint(hint)
}

/// Whether it is time for what came late.
fn is_due(chain: &Chain, closing: &ClosingRules, now: Timestamp) -> bool {
    chain.made_at.checked_add(closing.late_hold).is_ok_and(|at| at <= now)
}

/// When the last hour of a day closes.
fn closes_at(closing: &ClosingRules, day: Date) -> Option<Timestamp> {
    Some(closing.closes_at(Hour::new(day, 23).ok()?))
}

/// The newest day of which all hours are closed.
fn newest_over(closing: &ClosingRules, now: Timestamp) -> Option<Date> {
    let today = closing.zone.to_datetime(now).date();
    let before = std::iter::successors(today.yesterday().ok(), |day| day.yesterday().ok());
    before.take(MOST_GRACE).find(|day| closes_at(closing, *day).is_some_and(|at| at <= now))
}

/// Days that `hours.grace` may keep open: more is no use.
const MOST_GRACE: usize = 366;
