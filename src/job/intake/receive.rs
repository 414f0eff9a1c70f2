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
use crate::source::PageSink;
use crate::state::pages::journal::{Journal, Writer};

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
}

impl<'a> Receiver<'a> {
    pub(super) fn new(journal: &'a Journal, clock: &'a dyn Clock, has_room: &'a dyn Fn(u64) -> Result<bool>) -> Self {
        Self { journal, clock, has_room, cut: RefCell::default() }
    }

    /// A sink for another try.
    pub(super) fn sink(&self) -> Incoming<'_> {
        Incoming { receiver: self, page: self.journal.begin(Vec::new()), segments: Vec::new(), bytes: 0 }
    }
}

impl Incoming<'_> {
    /// Ends the body. Returns its segments: durable, in its order.
    pub(super) fn end(mut self) -> Result<Vec<u64>> {
        self.page.end_page();
        let segment = self.receiver.journal.append(self.page, self.receiver.clock.now())?;
        self.segments.push(segment.id.number);
        Ok(self.segments)
    }

    /// Makes a page durable, unless an earlier try did. Returns its segment.
    fn put(&self, mut page: Writer) -> Result<u64> {
        let content = blake3::hash(page.open_page());
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
        let page = std::mem::replace(&mut self.page, self.receiver.journal.begin(Vec::new()));
        self.segments.push(self.put(page)?);
        Ok(true)
    }
}
