//! What becomes of a page: its records go to the lanes, its odd tokens to the quarantine, and where it cannot be read, it waits.
//!
//! Invariant: nothing of a page is dropped. All of it is sent when [`Sorter::take`] has taken it and [`Sorter::finish`] was called, and
//! stored when the outbox has settled; only then may the page pass. Keeps problems and counts; touches no disk.

use std::collections::{BTreeSet, HashSet};

use super::Routed;
use crate::cluster::chunks::WholePage;
use crate::cluster::kafka::Connection;
use crate::cluster::odd::OddTokens;
use crate::cluster::outbox::Outbox;
use crate::cluster::split::{Lanes, Origin};
use crate::cluster::waiting::{HOPELESS, Waiting, Why};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::output::numbers::plural;
use crate::page::decode::{Decoded, DecodedRecord, Decoder, Ended};
use crate::page::parse::NotAPage;
use crate::state::pages::quarantine::{Identity, OddToken};
use crate::stop::Stop;

/// Sorts pages.
#[derive(Debug)]
pub(crate) struct Sorter {
    connection: Connection,
    pub(super) lanes: Lanes,
    pub(super) odd: OddTokens,
    pub(super) waiting: Waiting,
    seen: Seen,
}

/// A page that is to be sorted.
#[derive(Debug)]
pub(super) struct Read<'p> {
    /// Where it is.
    pub(super) partition: i32,
    pub(super) page: &'p WholePage,
    /// What decoded it, to find again what was too much to keep.
    pub(super) decoder: &'p Decoder,
    pub(super) stop: &'p Stop,
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

impl Sorter {
    /// Sorts into these places.
    pub(crate) fn new(connection: &Connection, lanes: Lanes, odd: OddTokens, waiting: Waiting) -> Self {
        Self { connection: connection.clone(), lanes, odd, waiting, seen: Seen::default() }
    }

    /// Takes a page. `false`: the run is to stop, and not all of it was sent.
    ///
    /// # Errors
    /// `Unavailable`: of the outbox.
    pub(super) fn take(
        &mut self,
        outbox: &dyn Outbox,
        read: &Read<'_>,
        decoded: Result<Decoded, NotAPage>,
        routed: &mut Routed,
    ) -> Result<bool> {
        let page = read.page;
        let decoded = match decoded {
            Err(NotAPage::Interrupted) => return Ok(false),
            Err(reason) => return self.reject(outbox, read, &reason).map(|()| true),
            Ok(decoded) if decoded.key_is_wrong() => {
                self.seen.locked += 1;
                return self.wait(outbox, page, Why::WrongKey).map(|()| true);
            }
            Ok(decoded) => decoded,
        };
        let mut long = Long::default();
        let origin = Origin { partition: read.partition, offset: page.first };
        routed.records += self.lanes.put(outbox, origin, page.received, &decoded, &mut |record| long.push(record))?;
        routed.elements += decoded.elements;
        routed.pages += 1;
        if decoded.odd_seen == 0 && long.hashes.is_empty() {
            return Ok(true);
        }
        Ok(self.odd.load(&self.connection, read.stop)?
            && self.put_odd(outbox, read, &decoded, routed)?
            && (long.hashes.is_empty() || self.put_long(outbox, read, &long, routed)?))
    }

    /// Sends the odd tokens of a page.
    fn put_odd(
        &mut self,
        outbox: &dyn Outbox,
        read: &Read<'_>,
        decoded: &Decoded,
        routed: &mut Routed,
    ) -> Result<bool> {
        let tokens = &mut self.odd;
        let mut put = |odd: &OddToken| {
            if tokens.put(outbox, odd)? {
                routed.odd(odd);
            }
            Ok(())
        };
        if !decoded.dropped_odd() {
            decoded.odd.iter().try_for_each(put)?;
            return Ok(true);
        }
        let Read { page, decoder, stop, .. } = read;
        is_whole(decoder.odd_again(&page.body, page.received, &|| stop.is_requested(), &mut |odd| put(&odd)))
    }

    /// Sends the tokens of records whose lines find no room in a message: they are quarantined.
    fn put_long(&mut self, outbox: &dyn Outbox, read: &Read<'_>, long: &Long, routed: &mut Routed) -> Result<bool> {
        let Read { page, decoder, stop, .. } = read;
        let mut put = |hash: [u8; 16], token: &str| {
            if long.hashes.contains(&hash) {
                let odd = too_long(token, read);
                if self.odd.put(outbox, &odd)? {
                    routed.odd(&odd);
                }
            }
            Ok(())
        };
        let stops = || stop.is_requested();
        let mut each = |_, hash, token: &str| put(hash, token);
        is_whole(decoder.tokens_of(&page.body, page.received, &stops, &long.hours, &mut each))
    }

    fn reject(&mut self, outbox: &dyn Outbox, read: &Read<'_>, reason: &NotAPage) -> Result<()> {
        self.seen.rejected += 1;
        if self.seen.first_rejected.is_none() {
            let body = &read.page.body;
            let what = format!("the source sent a body that is not a page: {reason}{}", reason.instead(body));
            let hint = format!(
                "{}; it waits in the topic {}, and is tried again when the configuration or the version of etl has changed",
                reason.way_out(body, &read.decoder.shape),
                self.waiting.topic()
            );
            self.seen.first_rejected = Some(Error::new(ErrorKind::Unavailable, what).hint(hint).about_the_source());
        }
        self.wait(outbox, read.page, Why::NotAPage)
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
        let topic = self.waiting.topic();
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

/// The records of a page whose lines find no room in a message.
#[derive(Debug, Default)]
struct Long {
    hours: BTreeSet<Hour>,
    hashes: HashSet<[u8; 16]>,
}

impl Long {
    fn push(&mut self, record: &DecodedRecord) {
        self.hours.insert(record.hour);
        self.hashes.insert(record.entry.hash);
    }
}

fn too_long(token: &str, read: &Read<'_>) -> OddToken {
    let plaintext = read.decoder.ring.decrypt(token).unwrap_or_default();
    OddToken {
        identity: Identity::of(&plaintext).to_string(),
        reason: "too-large".to_owned(),
        detail: "its line is longer than the 900 KiB that a message between machines may have".to_owned(),
        token: token.to_owned(),
        encoding: None,
        received: read.page.received,
        due: None,
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
