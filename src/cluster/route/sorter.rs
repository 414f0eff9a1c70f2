//! What becomes of a page: its records go to the lanes, its odd tokens to the quarantine, and where it cannot be read, it waits.
//!
//! Invariant: nothing of a page is dropped. All of it is sent when [`Sorter::take`] has taken it and [`Sorter::finish`] was called, and
//! stored when the outbox has settled; only then may the page pass. Keeps problems and counts; touches no disk.

use std::collections::{BTreeSet, HashSet};

use super::Routed;
use crate::cluster::chunks::WholePage;
use crate::cluster::odd::OddTokens;
use crate::cluster::outbox::Outbox;
use crate::cluster::split::{Lanes, Origin};
use crate::cluster::waiting::{HOPELESS, Waiting, Why};
use crate::error::{Error, ErrorKind, Result};
use crate::output::numbers::plural;
use crate::page::decode::{Decoded, Decoder, Ended};
use crate::page::parse::NotAPage;
use crate::state::pages::quarantine::{Identity, OddToken};
use crate::stop::Stop;

/// Sorts pages.
#[derive(Debug)]
pub(crate) struct Sorter<'d> {
    decoder: &'d Decoder,
    lanes: Lanes,
    pub(super) odd: OddTokens,
    pub(super) waiting: Waiting,
    topic: String,
    seen: Seen,
}

/// What there is to report.
#[derive(Debug, Default)]
struct Seen {
    /// Pages that no key opens.
    locked: u64,
    /// Bodies that are no pages, and why the first is none.
    rejected: u64,
    first_rejected: Option<Error>,
    /// Pages at which too many routers died.
    hopeless: u64,
}

impl<'d> Sorter<'d> {
    /// Sorts what `decoder` reads. `topic` is where pages wait.
    pub(crate) fn new(decoder: &'d Decoder, lanes: Lanes, odd: OddTokens, waiting: Waiting, topic: String) -> Self {
        Self { decoder, lanes, odd, waiting, topic, seen: Seen::default() }
    }

    /// What reads pages here.
    pub(crate) const fn decoder(&self) -> &'d Decoder {
        self.decoder
    }

    /// Takes a page. `false`: the run is to stop, and not all of it was sent.
    ///
    /// # Errors
    /// `Unavailable`: of the outbox.
    pub(crate) fn take(
        &mut self,
        outbox: &dyn Outbox,
        (partition, page): (i32, &WholePage),
        decoded: Result<Decoded, NotAPage>,
        stop: &Stop,
        routed: &mut Routed,
    ) -> Result<bool> {
        let decoded = match decoded {
            Err(NotAPage::Interrupted) => return Ok(false),
            Err(reason) => {
                self.reject(outbox, page, &reason)?;
                return Ok(true);
            }
            Ok(decoded) if decoded.key_is_wrong() => {
                self.seen.locked += 1;
                self.wait(outbox, page, Why::WrongKey)?;
                return Ok(true);
            }
            Ok(decoded) => decoded,
        };
        let mut long = HashSet::new();
        let mut hours = BTreeSet::new();
        let origin = Origin { partition, offset: page.first };
        routed.records += self.lanes.put(outbox, origin, page.received, &decoded, &mut |record| {
            hours.insert(record.hour);
            long.insert(record.entry.hash);
        })?;
        routed.elements += decoded.elements;
        routed.pages += 1;
        let is_sent = self.put_odd(outbox, page, &decoded, stop, routed)?;
        Ok(is_sent && (long.is_empty() || self.put_long(outbox, page, (&hours, &long), stop, routed)?))
    }

    /// Sends the odd tokens of a page.
    fn put_odd(
        &mut self,
        outbox: &dyn Outbox,
        page: &WholePage,
        decoded: &Decoded,
        stop: &Stop,
        routed: &mut Routed,
    ) -> Result<bool> {
        if decoded.odd_seen == 0 {
            return Ok(true);
        }
        let Self { decoder, odd: tokens, .. } = self;
        let mut put = |odd: &OddToken| {
            routed.odd += u64::from(tokens.put(outbox, odd)?);
            Ok(())
        };
        if !decoded.dropped_odd() {
            decoded.odd.iter().try_for_each(put)?;
            return Ok(true);
        }
        let again = decoder.odd_again(&page.body, page.received, &|| stop.is_requested(), &mut |odd| put(&odd));
        is_whole(again)
    }

    /// Sends the tokens of records whose lines find no room in a message: they are quarantined.
    fn put_long(
        &mut self,
        outbox: &dyn Outbox,
        page: &WholePage,
        (hours, long): (&BTreeSet<crate::hour::Hour>, &HashSet<[u8; 16]>),
        stop: &Stop,
        routed: &mut Routed,
    ) -> Result<bool> {
        let Self { decoder, odd: tokens, .. } = self;
        let again =
            decoder.tokens_of(&page.body, page.received, &|| stop.is_requested(), hours, &mut |_, hash, token| {
                if long.contains(&hash) {
                    let plaintext = decoder.ring.decrypt(token).unwrap_or_default();
                    let odd = OddToken {
                        identity: Identity::of(&plaintext).to_string(),
                        reason: "too-large".to_owned(),
                        detail: "its line is longer than the 900 KiB that a message between machines may have"
                            .to_owned(),
                        token: token.to_owned(),
                        encoding: None,
                        received: page.received,
                        due: None,
                    };
                    routed.odd += u64::from(tokens.put(outbox, &odd)?);
                }
                Ok(())
            });
        is_whole(again)
    }

    fn reject(&mut self, outbox: &dyn Outbox, page: &WholePage, reason: &NotAPage) -> Result<()> {
        self.seen.rejected += 1;
        if self.seen.first_rejected.is_none() {
            let what = format!("the source sent a body that is not a page: {reason}{}", reason.instead(&page.body));
            let way_out = reason.way_out(&page.body, &self.decoder.shape);
            let hint = format!(
                "{way_out}; it waits in the topic {}, and is tried again when the configuration or the version of etl has changed",
                self.topic
            );
            let error = Error::new(ErrorKind::Unavailable, what).hint(hint).about_the_source();
            self.seen.first_rejected = Some(error);
        }
        self.wait(outbox, page, Why::NotAPage)
    }

    /// Sends a page, unread, to where pages wait at which routers died.
    pub(crate) fn put_off(&mut self, outbox: &dyn Outbox, page: &WholePage, deaths: u32) -> Result<()> {
        tracing::warn!(
            "a page of {}: {deaths} routers died while it was read: it is read last, and alone",
            page.received
        );
        self.seen.hopeless += u64::from(deaths >= HOPELESS);
        self.wait(outbox, page, Why::Deadly(deaths))
    }

    fn wait(&self, outbox: &dyn Outbox, page: &WholePage, why: Why) -> Result<()> {
        self.waiting.put(outbox, &page.body, page.received, &page.source, why)
    }

    /// Sends the rest of what was taken.
    pub(crate) fn finish(&mut self, outbox: &dyn Outbox) -> Result<()> {
        self.lanes.finish(outbox)
    }

    /// Notes that all that was sent is stored.
    pub(crate) fn settled(&mut self) {
        self.odd.settled();
    }

    /// Forgets what was taken: its pages are routed again.
    pub(crate) fn forget(&mut self) {
        self.lanes.forget();
        self.odd.forget();
    }

    /// What there is to report since the last call.
    pub(crate) fn take_problems(&mut self) -> Vec<Error> {
        let seen = std::mem::take(&mut self.seen);
        let topic = &self.topic;
        let mut problems = Vec::new();
        if seen.locked > 0 {
            problems.push(locked(seen.locked, topic));
        }
        if seen.rejected > 1 {
            tracing::warn!("{} bodies are not pages", seen.rejected);
        }
        problems.extend(seen.first_rejected);
        if seen.hopeless > 0 {
            let what = format!("{}: {HOPELESS} runs died while each was read", plural(seen.hopeless, "page", "pages"));
            let hint = format!(
                "report it with the page, which waits in the topic {topic}: another version of etl tries it again"
            );
            problems.push(Error::new(ErrorKind::State, what).hint(hint));
        }
        problems
    }
}

/// The error where no key opens pages.
pub(super) fn locked(pages: u64, topic: &str) -> Error {
    let pages = plural(pages, "page", "pages");
    let what = format!("{pages}: no key of the ring opens any token: the key is wrong, or the origin has a new one");
    Error::new(ErrorKind::Credentials, what).hint(format!(
        "they wait in the topic {topic}: add the right key to the ring (FERNET_KEY, or what source.keys_env or source.keys_file names) \
         on each machine, and the next run reads them"
    ))
}

/// Whether a page was read to its end.
fn is_whole(ended: std::result::Result<(), Ended>) -> Result<bool> {
    match ended {
        Ok(()) => Ok(true),
        Err(Ended::Page(_)) => Ok(false),
        Err(Ended::Taker(error)) => Err(error),
    }
}
