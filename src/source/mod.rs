//! Pages from an HTTP API or from files, streamed to a sink of the caller's.
//!
//! Owns the seam between what fetches pages and what makes them durable. Invariant: only a complete body within the size caps, a JSON array or an object that may hold one or lines of JSON,
//! leaves here as a page; the sink of any other body is dropped unfinished, which discards its bytes. The caller makes the returned
//! sink durable, and only then follows `PageHead::next`; of a body of lines, a sink that can be cut may make page after page durable while
//! it comes. A crash leaves what a dropped sink leaves: nothing of the page at hand. Whether the array's
//! elements are tokens is checked later, by the page parser.

use std::io::{self, Read};

use crate::error::Result;

mod body;
pub(crate) mod file;
pub(crate) mod http;
pub(crate) mod page_shape;
mod page_url;
pub(crate) mod paging;
pub(crate) mod shape;

pub use http::{Headers, HttpSettings, HttpSource};
pub use page_shape::PageShape;
pub use page_url::PageUrl;

/// Some writers begin a UTF-8 text with it. JSON has none; a reader may skip it.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a page's bytes go while they arrive. Dropped before `Fetched::Page` returns it, it discards them.
pub trait PageSink {
    /// Takes the next bytes, uncompressed.
    ///
    /// # Errors
    /// The fetch ends with the sink's error as it is, and is not retried.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Ends a page of lines: what comes belongs to another. `false`: the sink takes one page only.
    ///
    /// # Errors
    /// As for [`PageSink::write`].
    fn cut(&mut self) -> Result<bool> {
        Ok(false)
    }
}

/// A sink that reads a file directly, without a copy in between.
pub trait FileSink: PageSink {
    /// Takes all of `source`, and returns what it took.
    fn take_all(&mut self, source: &mut dyn Read) -> io::Result<&[u8]>;
}

/// In memory, for a page that is not kept.
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

/// What is known of a page besides its body.
#[derive(Debug)]
pub(crate) struct PageHead {
    /// The entity tag, as the source spelled it (with quotes), to send along the next time.
    pub etag: Option<String>,
    /// The page after this one. An error where the link leads to another host: this page is good, but the next one is not fetched.
    pub next: Option<Result<PageUrl>>,
    /// The body's length in bytes, uncompressed.
    pub bytes: u64,
}

/// The result of a fetch.
#[derive(Debug)]
pub(crate) enum Fetched<S> {
    /// A complete body, written to `sink` and not yet durable.
    Page {
        /// The sink that took the body.
        sink: S,
        /// What else is known of it.
        head: PageHead,
    },
    /// 304: nothing new since the entity tag that was sent.
    NotModified,
    /// A stop came first: a signal, or the deadline where the source is not to blame.
    Stopped,
}
