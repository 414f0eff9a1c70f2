//! A segment that is being written: filled in memory, where its pages have to be anyway when they are decoded, and appended to
//! the journal as a whole.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use crc32fast::Hasher;
use jiff::Timestamp;

use super::segment::{Directory, HEAD, MAGIC, Segment, SegmentId};
use crate::error::{Error, ErrorKind, Result};
use crate::output::draft::{Draft, Replaces, Survives};
use crate::source::{FileSink, PageSink};
use crate::state::files::direct_io;

/// A segment that is being filled, in memory.
#[derive(Debug)]
pub struct Writer {
    number: u64,
    /// From `start` on: room for the head, the ended pages, and what came so far of the page at hand.
    bytes: Vec<u8>,
    /// Aligned so that a device can take the bytes without a copy, as long as they do not move.
    start: usize,
    pages: Vec<Range<usize>>,
    /// Of the ended pages: each is summed when it ends, while its bytes are in the processor's cache.
    sum: Hasher,
}

impl Writer {
    /// Starts a segment in `bytes`, the memory of one that is no longer needed: see [`Segment::into_memory`].
    pub(super) fn new(number: u64, mut bytes: Vec<u8>) -> Self {
        let start = direct_io::aligned_start(&bytes);
        bytes.clear();
        bytes.resize(start + HEAD, 0);
        Self { number, bytes, start, pages: Vec::new(), sum: Hasher::new() }
    }

    /// Starts a page that may still turn out to be none: dropping it removes its bytes.
    pub(crate) const fn page(&mut self) -> OpenPage<'_> {
        OpenPage { writer: self, ended: false }
    }

    /// Where the last page ends.
    fn end(&self) -> usize {
        self.pages.last().map_or(self.start + HEAD, |page| page.end)
    }

    /// What came so far of the page at hand.
    pub(crate) fn open_page(&self) -> &[u8] {
        self.bytes.get(self.end()..).unwrap_or_default()
    }

    /// Bytes of pages so far.
    pub(crate) fn bytes(&self) -> usize {
        self.end() - self.start - HEAD
    }

    /// Ends the page at hand.
    pub fn end_page(&mut self) {
        let page = self.end()..self.bytes.len();
        self.sum.update(self.bytes.get(page.clone()).unwrap_or_default());
        self.pages.push(page);
    }

    /// Pages ended so far.
    pub(crate) const fn pages(&self) -> usize {
        self.pages.len()
    }

    pub(super) fn append(mut self, dir: &Path, received: Timestamp) -> Result<Segment> {
        let id = SegmentId { number: self.number, pages: u32::try_from(self.pages.len()).unwrap_or(u32::MAX) };
        let end = self.end();
        self.close(received)?;
        let path = dir.join(id.file_name());
        let mut draft = Draft::private(&path)?;
        direct_io::write(draft.file(), self.bytes.get(self.start..).unwrap_or_default())
            .map_err(|e| Error::disk("write", &path, e))?;
        draft.publish(&path, Replaces::AnyFile, Survives::Everything)?;
        self.bytes.truncate(end);
        Ok(Segment { id, received, bytes: self.bytes, pages: self.pages })
    }

    /// Puts the directory behind the pages, and the head before them.
    fn close(&mut self, received: Timestamp) -> Result<()> {
        let end = self.end();
        self.bytes.truncate(end);
        let lengths = self.pages.iter().map(|page| page.len() as u64).collect();
        let directory = Directory { received: received.as_nanosecond(), lengths };
        bincode::serialize_into(&mut self.bytes, &directory)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a segment's directory").caused_by(e))?;
        self.sum.update(self.bytes.get(end..).unwrap_or_default());
        let sum = std::mem::take(&mut self.sum).finalize();
        let head = self.bytes.get_mut(self.start..).and_then(|file| file.first_chunk_mut::<HEAD>());
        if let Some(head) = head {
            let directory = (end - self.start) as u64;
            head.copy_from_slice(&[&MAGIC[..], &directory.to_le_bytes(), &sum.to_le_bytes()].concat());
        }
        Ok(())
    }
}

impl PageSink for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// A page that is being received. It stays in its segment only when it is ended.
#[derive(Debug)]
pub struct OpenPage<'w> {
    writer: &'w mut Writer,
    ended: bool,
}

impl OpenPage<'_> {
    /// Ends the page: it stays in the segment.
    pub(crate) fn end(mut self) {
        self.writer.end_page();
        self.ended = true;
    }
}

impl PageSink for OpenPage<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write(bytes)
    }
}

impl FileSink for OpenPage<'_> {
    fn take_all(&mut self, source: &mut dyn Read) -> io::Result<&[u8]> {
        self.writer.bytes.take_all(source)
    }
}

impl Drop for OpenPage<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let end = self.writer.end();
            self.writer.bytes.truncate(end);
        }
    }
}
