//! From a page to the next: by a `Link` header, by what stands in the page, by counting, or not at all, as with files.
//!
//! A [`Template`] is what the configuration says, with placeholders; with [`Values`] for them and a [`Position`] it gives a
//! [`PageRequest`], and with an answer the position after it. Pure. Invariant: a trail of pages ends, because no page is asked for twice
//! and their number is bounded; and nothing is sent to a host that the configuration does not name.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::page_shape;
use crate::error::Error;

mod link;
mod next;
mod request;
mod template;

pub(in crate::source) use link::next_reference;
pub use request::PageRequest;
pub use template::{Template, Values};

/// Where a trail is: what makes the request for a page differ from that for the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Position {
    /// At the first page.
    First,
    /// At this address.
    Url(String),
    /// Behind this cursor, as the page spelled it in JSON.
    Cursor(String),
    /// At the page of this number, or behind so many elements.
    Number(u64),
}

/// The body of a page, which is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    /// Its bytes; of a body of lines, the last of them.
    pub(crate) bytes: &'a [u8],
    /// A digest of what came of it before those; `None`: nothing did.
    pub(crate) before: Option<[u8; 32]>,
    /// How many lines it has; `None`: it is none of lines.
    pub(crate) lines: Option<usize>,
}

impl Body<'_> {
    /// Of all of it.
    fn digest(self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        if let Some(before) = self.before {
            hasher.update(&before);
        }
        *hasher.update(self.bytes).finalize().as_bytes()
    }
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, before: None, lines: page_shape::lines(bytes) }
    }
}

/// What comes after a page.
#[derive(Debug)]
pub(crate) enum Next {
    /// Another page.
    Page(Position),
    /// Nothing: it was the last.
    End,
    /// Something, but it cannot be asked for.
    Lost(Error),
}

/// Whether a trail may go on to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visit {
    /// The trail has not had this page.
    New,
    /// It has: the links form a circle, and the trail ends here.
    Seen,
    /// The trail has as many pages as it may.
    TooMany,
}

/// Empty pages in a row after which a cursor or an address that keeps changing leads nowhere: some services always give one.
const EMPTY_PAGES: u32 = 3;

/// The pages that one trail has had.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Digests, because a long backfill has many long URLs.
    seen: HashSet<[u8; 16]>,
    max_pages: usize,
    /// Empty pages since the last that was not.
    empty: u32,
    /// Of the body before.
    body: Option<[u8; 32]>,
    /// How many bodies there were.
    bodies: u64,
}

impl Trail {
    /// A trail that may have `max_pages` pages.
    #[must_use]
    pub fn new(max_pages: usize) -> Self {
        Self { seen: HashSet::new(), max_pages, empty: 0, body: None, bodies: 0 }
    }

    /// Notes that `page` is fetched next, which it should be only after [`Visit::New`].
    pub(crate) fn enter(&mut self, page: &PageRequest) -> Visit {
        let digest = page.digest();
        if self.seen.contains(&digest) {
            return Visit::Seen;
        }
        if self.seen.len() >= self.max_pages {
            return Visit::TooMany;
        }
        self.seen.insert(digest);
        Visit::New
    }

    /// Notes the body of a page with so many elements. Whether nothing follows it, whatever it says.
    fn ends_with(&mut self, body: Body<'_>, elements: Option<usize>) -> bool {
        self.empty = if elements == Some(0) { self.empty.saturating_add(1) } else { 0 };
        let digest = body.digest();
        self.bodies += 1;
        // The same page again under another number: the service ignores the number, or gives the last page for each that is too high.
        let is_again = self.body.replace(digest) == Some(digest) && elements != Some(0);
        is_again || self.empty >= EMPTY_PAGES
    }

    /// Where nothing follows: whether the second page was the first again, so that what was sent to get it made no difference.
    const fn began_again(&self) -> bool {
        self.bodies == 2 && self.empty == 0
    }
}

#[cfg(test)]
mod tests;
