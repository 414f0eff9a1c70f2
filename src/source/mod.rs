//! Extract: bodies from an HTTP API or from files, streamed to a sink of the caller's.
//!
//! Owns the seam between what fetches pages and what makes them durable. Invariant: a body that is not a complete JSON
//! array within the size caps never leaves here as a page: its sink is dropped unfinished, which discards what came. The
//! caller makes a handed-back sink durable, and only then follows [`PageHead::next`]. A crash in the middle leaves what a
//! dropped sink leaves: nothing. Whether the array's elements are tokens is for the page parser to say, afterwards.

use std::collections::HashSet;
use std::io::{self, Read};

use jiff::Timestamp;

use crate::error::Result;

pub mod file;
pub mod http;
mod link;
mod page_check;
mod page_url;

pub use http::{Headers, HttpSettings, HttpSource};
pub use page_url::PageUrl;

/// Where a page's bytes go while they arrive. Dropped before [`Fetched::Page`] hands it back, it discards what came.
pub trait PageSink {
    /// Takes the next bytes, uncompressed.
    ///
    /// # Errors
    /// What the sink says: the fetch ends with this very error and is not retried.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A sink that takes a file as it is, without a copy on the way.
pub trait FileSink: PageSink {
    /// Takes all that `source` gives, and shows it.
    ///
    /// # Errors
    /// Those of `source`; then some of it may have been taken.
    fn take_all(&mut self, source: &mut dyn Read) -> io::Result<&[u8]>;
}

/// In memory, for one that is looked at and not kept.
impl PageSink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl FileSink for Vec<u8> {
    fn take_all(&mut self, source: &mut dyn Read) -> io::Result<&[u8]> {
        let start = self.len();
        source.read_to_end(self)?;
        Ok(self.get(start..).unwrap_or_default())
    }
}

/// What a page came with.
#[derive(Debug)]
pub struct PageHead {
    /// Where it came from, for people: the URL without query and userinfo, or the file's path.
    pub source: String,
    /// The entity tag, as the source spelled it (with quotes), to send along the next time.
    pub etag: Option<String>,
    /// The page after this one (`Link: rel="next"`). An error where the link leads to another host: the page itself is
    /// good, but what comes after it cannot be had.
    pub next: Option<Result<PageUrl>>,
    /// When the source says that it answered, by its own clock.
    pub date: Option<Timestamp>,
    /// The body's length in bytes, uncompressed.
    pub bytes: u64,
}

/// What a fetch came to.
#[derive(Debug)]
pub enum Fetched<S> {
    /// A complete body, written to `sink` and not yet durable.
    Page {
        /// The sink that took the body.
        sink: S,
        /// What it came with.
        head: PageHead,
    },
    /// 304: nothing new since the entity tag that was sent.
    NotModified,
    /// A stop came first: a signal, or the deadline where the source is not to blame.
    Stopped,
}

/// What the next link of a chain of pages leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A page that this chain has not had.
    New,
    /// A page that it has had: the links go round in a circle, and the chain ends here.
    Seen,
    /// One page more than a chain may have.
    TooMany,
}

/// The pages of one chain of `next` links, so that it ends.
#[derive(Debug)]
pub struct Trail {
    /// Digests, because a long backfill has many URLs, and long ones.
    seen: HashSet<[u8; 16]>,
    max_pages: usize,
}

impl Trail {
    /// A chain that may have `max_pages` pages.
    #[must_use]
    pub fn new(max_pages: usize) -> Self {
        Self { seen: HashSet::new(), max_pages }
    }

    /// Notes that `url` is about to be fetched. Only after [`Step::New`] it should be.
    pub fn enter(&mut self, url: &PageUrl) -> Step {
        let digest = url.digest();
        if self.seen.contains(&digest) {
            return Step::Seen;
        }
        if self.seen.len() >= self.max_pages {
            return Step::TooMany;
        }
        self.seen.insert(digest);
        Step::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_pages_ends_at_a_circle_or_at_its_limit() {
        let url = |page: u32| PageUrl::parse(&format!("http://h/log?page={page}")).unwrap();
        let mut trail = Trail::new(2);
        let steps = [1, 2, 1, 3, 2].map(|page| trail.enter(&url(page)));
        assert_eq!(steps, [Step::New, Step::New, Step::Seen, Step::TooMany, Step::Seen]);
    }
}
