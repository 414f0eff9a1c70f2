//! The body of an answer on its way into the journal: one page, or the pages that lines are cut into.
//!
//! A page of lines is durable before the next begins, so a dump of any size needs the memory of one page. Invariant: what was cut short
//! claims nothing. Its pages up to there are in the journal and will be committed, since their records came; but only a body that came to its
//! end is handed on, and only then its segments count as what the source answered. Another try sends the same pages again: those that are
//! in the journal already are not written twice. A crash leaves whole segments.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Clock;
use crate::source::{PageSink, page_shape};
use crate::state::pages::journal::{Journal, Segment, Writer};

/// Where the pages of one address go, in all its tries.
pub(super) struct Receiver<'a> {
    journal: &'a Journal,
    clock: &'a dyn Clock,
    /// Whether there is room for so many bytes more.
    has_room: &'a dyn Fn(u64) -> Result<bool>,
    /// The segments of pages that were cut off so far, by what is in them.
    cut: RefCell<HashMap<blake3::Hash, u64>>,
}

/// The body of one try.
pub(super) struct Incoming<'r> {
    receiver: &'r Receiver<'r>,
    page: Writer,
    segments: Vec<u64>,
    bytes: u64,
    /// Lines on the pages that were cut off.
    lines: usize,
    /// A digest of those pages.
    before: Option<[u8; 32]>,
}

/// A body that is durable.
pub(super) struct Received {
    /// Its segments, in its order.
    pub(super) segments: Vec<u64>,
    /// How many lines it has; `None`: it is none of lines.
    pub(super) lines: Option<usize>,
    /// A digest of all its segments but the last; `None`: there is one.
    pub(super) before: Option<[u8; 32]>,
    /// The last of its segments, which is the whole of a body that is none of lines.
    last: Segment,
}

impl Received {
    /// The body, or what of it is on its last page.
    pub(super) fn body(&self) -> &[u8] {
        self.last.pages().last().unwrap_or_default()
    }
}

impl<'a> Receiver<'a> {
    pub(super) fn new(journal: &'a Journal, clock: &'a dyn Clock, has_room: &'a dyn Fn(u64) -> Result<bool>) -> Self {
        Self { journal, clock, has_room, cut: RefCell::default() }
    }

    /// A sink for another try.
    pub(super) fn sink(&self) -> Incoming<'_> {
        let page = self.journal.begin(Vec::new());
        Incoming { receiver: self, page, segments: Vec::new(), bytes: 0, lines: 0, before: None }
    }
}

impl Incoming<'_> {
    /// Ends the body. It is durable on return.
    pub(super) fn end(mut self) -> Result<Received> {
        self.page.end_page();
        let last = self.receiver.journal.append(self.page, self.receiver.clock.now())?;
        self.segments.push(last.id.number);
        let lines = page_shape::lines(last.pages().last().unwrap_or_default());
        let lines = lines.map(|lines| lines.saturating_add(self.lines));
        Ok(Received { segments: self.segments, lines, before: self.before, last })
    }

    /// Makes a page with this content durable, unless an earlier try did. Returns its segment.
    fn put(&self, mut page: Writer, content: blake3::Hash) -> Result<u64> {
        if let Some(segment) = self.receiver.cut.borrow().get(&content) {
            return Ok(*segment);
        }
        page.end_page();
        let segment = self.receiver.journal.append(page, self.receiver.clock.now())?.id.number;
        self.receiver.cut.borrow_mut().insert(content, segment);
        Ok(segment)
    }
}

impl PageSink for Incoming<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.page.write(bytes)
    }

    fn cut(&mut self) -> Result<bool> {
        self.bytes = self.bytes.saturating_add(self.page.open_page().len() as u64);
        if !(self.receiver.has_room)(self.bytes)? {
            let what = "the disk has no room for the rest of a body of lines: what came of it is kept";
            let hint = "free some space, or ask for less at a time; a file has no such limit, as it waits";
            return Err(Error::new(ErrorKind::Unavailable, what).hint(hint));
        }
        self.lines = self.lines.saturating_add(page_shape::lines(self.page.open_page()).unwrap_or(0));
        let page = std::mem::replace(&mut self.page, self.receiver.journal.begin(Vec::new()));
        let content = blake3::hash(page.open_page());
        let mut chain = blake3::Hasher::new();
        if let Some(before) = &self.before {
            chain.update(before);
        }
        self.before = Some(*chain.update(content.as_bytes()).finalize().as_bytes());
        self.segments.push(self.put(page, content)?);
        Ok(true)
    }
}
