//! Pages that cannot be read now: no key opens them, they are no pages, or routers died at them.
//!
//! They are in the topic `<name>.waiting` as they were in that of pages, with these headers besides:
//! ```text
//! reader    what could not read them: names the keys, the shape of pages and the version (see `reader_of`)
//! why       wrong-key, not-a-page, deadly
//! deaths    how many routers died at it, where why is deadly
//! ```
//! Invariant: a page is here, acknowledged, before it passes where it was. The last partition is for pages at which routers died and that
//! are still tried, one by one; all others are tried again when `reader` has changed.

use jiff::Timestamp;

use super::chunks::Outgoing;
use super::outbox::Outbox;
use crate::digest::fingerprint;
use crate::error::Result;
use crate::page::decode::Decoder;

/// A page at which so many routers died is no longer tried by itself.
pub(crate) const HOPELESS: u32 = 4;

/// Why a page waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// No key of the ring opens any of its tokens.
    WrongKey,
    /// It is no page.
    NotAPage,
    /// So many routers died at it.
    Deadly(u32),
}

impl Why {
    const fn code(self) -> &'static str {
        match self {
            Self::WrongKey => "wrong-key",
            Self::NotAPage => "not-a-page",
            Self::Deadly(_) => "deadly",
        }
    }

    /// Reads what a message says, whose headers `header` looks up. What is not understood is tried again like any other.
    pub(crate) fn read<'m>(header: impl Fn(&str) -> Option<&'m [u8]>) -> Self {
        let deaths = || std::str::from_utf8(header("deaths")?).ok()?.parse().ok();
        match header("why") {
            Some(b"deadly") => Self::Deadly(deaths().unwrap_or(HOPELESS)),
            Some(b"wrong-key") => Self::WrongKey,
            _ => Self::NotAPage,
        }
    }
}

/// A name for what decides which pages can be read. It reveals nothing of the keys.
fn reader_of(decoder: &Decoder) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("etl what reads the pages of a cluster");
    let shape = &decoder.shape;
    for part in [
        decoder.ring.fingerprint(),
        shape.items.to_string(),
        shape.token.to_string(),
        shape.is_encrypted.to_string(),
        env!("CARGO_PKG_VERSION").to_owned(),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    fingerprint(&hasher)
}

/// The topic of pages that wait, to be added to.
#[derive(Debug)]
pub(crate) struct Waiting {
    topic: String,
    partitions: u32,
    reader: String,
}

impl Waiting {
    /// The pages that wait in `topic`, which has so many `partitions`.
    pub(crate) const fn new(topic: String, partitions: u32) -> Self {
        Self { topic, partitions, reader: String::new() }
    }

    /// Notes that pages are read by `decoder` from now on.
    pub(crate) fn read_by(&mut self, decoder: &Decoder) {
        self.reader = reader_of(decoder);
    }

    /// What reads here: what cannot read a page that is put here.
    pub(crate) fn reader(&self) -> &str {
        &self.reader
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition of pages that are deadly, and tried one by one; it is behind the others.
    pub(crate) fn deadly(&self) -> i32 {
        i32::try_from(self.others()).unwrap_or(i32::MAX)
    }

    /// Partitions of other pages.
    pub(crate) const fn others(&self) -> u32 {
        self.partitions.saturating_sub(1)
    }

    /// Sends a page to where it waits.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) fn put(
        &self,
        outbox: &dyn Outbox,
        body: &[u8],
        received: Timestamp,
        source: &str,
        why: Why,
    ) -> Result<()> {
        let page = Outgoing::new(body, received, source);
        let partition = match why {
            Why::Deadly(deaths) if deaths < HOPELESS || self.others() == 0 => self.deadly(),
            _ => page.partition(self.others()),
        };
        for (headers, chunk) in page.chunks() {
            let headers = headers.with("reader", self.reader.as_str()).with("why", why.code());
            let headers = match why {
                Why::Deadly(deaths) => headers.with("deaths", deaths.to_string()),
                _ => headers,
            };
            outbox.send(&self.topic, partition, &page.id(), &headers, Some(chunk))?;
        }
        Ok(())
    }
}
