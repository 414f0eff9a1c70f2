//! The journal: pages as received, still encrypted, durable before anyone looks at them.
//!
//! A *segment* is one file: one page of the API, or a batch of pages of a backfill. It is there whole or not at all (see
//! [`durable`]), so a checksum that does not match is damage and never a torn tail. A segment is removed when every
//! record that it introduced has a receipt. A crash while one is written leaves a `.tmp` file that goes at the next open. It
//! is filled in memory, where its pages have to be anyway when they are decoded, and written as a whole.
//!
//! ```text
//! journal/<segment, 16 digits>-<pages>.page
//!   0  8  magic "etlpage2"
//!   8  8  offset of the directory, little endian
//!  16  4  CRC-32 of everything behind the head, little endian
//!  20     the bodies, one behind the other
//!   …     the directory: bincode of `Directory`
//! ```
//! The checksum finds what a disk does to a file; the tokens in it are signed, each by itself. Segments of the form before,
//! "etlpage1", with 32 bytes of BLAKE3 as their checksum, are read as well.
//!
//! A number is never used again, or a new page would pass for a committed one. So the newest segment does not just go: it is
//! renamed, in one step, to `<number>.floor`, an empty file above which numbers go on. That makes the journal know its numbers by
//! itself, and a run can append to it before it opens anything else.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::source::{FileSink, PageSink};
use crate::state::files::direct_io;
use crate::state::files::durable::{self, Unfinished};
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;

const MAGIC: &[u8; 8] = b"etlpage2";
const MAGIC_BEFORE: &[u8; 8] = b"etlpage1";
const HEAD: usize = 20;

/// What is behind the bodies of a segment. Times are nanoseconds since 1970.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Directory {
    received: i128,
    lengths: Vec<u64>,
}

/// A segment by its number; `pages` stands in the file's name, so that counting needs no reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// Rises by one with each segment and is never used again.
    pub number: u64,
    /// Pages in it.
    pub pages: u32,
}

impl SegmentId {
    fn file_name(self) -> String {
        format!("{:016}-{}.page", self.number, self.pages)
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, pages) = name.strip_suffix(".page")?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, pages: pages.parse().ok()? })
    }
}

/// A segment in memory.
#[derive(Debug)]
pub struct Segment {
    /// Which one.
    pub id: SegmentId,
    /// When its pages were received: the time that every later decision counts from.
    pub received: Timestamp,
    bytes: Vec<u8>,
    pages: Vec<Range<usize>>,
}

impl Segment {
    /// The segment in the `bytes` of its file; `None` where they are damaged.
    #[must_use]
    pub fn parse(id: SegmentId, bytes: Vec<u8>) -> Option<Self> {
        parse(id, bytes)
    }

    /// The bodies of its pages, in the order of arrival.
    pub fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.pages.iter().filter_map(|range| self.bytes.get(range.clone()))
    }

    /// What its bytes were in, for the next segment.
    #[must_use]
    pub fn into_memory(self) -> Vec<u8> {
        self.bytes
    }
}

/// The journal's directory. Clones share the numbers, so that one thread can append while another commits.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: PathBuf,
    rejected: PathBuf,
    inbox: PathBuf,
    next: Arc<AtomicU64>,
    /// One more than the number of the floor that is there; 0: there is none.
    floor: Arc<AtomicU64>,
    /// What is in `rejected`.
    set_aside: Arc<Mutex<Rejected>>,
}

/// How much there is of bodies that were no pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Bodies.
    pub count: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl Journal {
    /// Opens the journal below the state directory `state`; numbers go on above all that is there.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path) -> Result<Self> {
        let journal = Self::at(state);
        for each in [&journal.dir, &journal.rejected] {
            durable::make_dir(each)?;
            durable::remove_leftovers(each)?;
        }
        let floor = journal.take_floor()?;
        let newest = journal.list()?.last().map_or(0, |id| id.number);
        let newest_rejected = journal.rejected()?.last().map_or(0, |id| id.number);
        journal.count_rejected()?;
        journal.next.store(newest.max(newest_rejected).max(floor) + 1, Ordering::Relaxed);
        Ok(journal)
    }

    /// The inbox of the journal below `state`: where a run puts pages while another one is at work there. The caller is the only one
    /// that does. Its numbers order pages among themselves, until [`Journal::adopt`] gives them others.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn inbox(state: &Path) -> Result<Self> {
        let at = Self::at(state);
        let inbox = Self { dir: at.inbox.clone(), ..at };
        durable::remove_leftovers(&inbox.dir)?;
        let newest = inbox.list()?.last().map_or(0, |id| id.number);
        inbox.next.store(newest + 1, Ordering::Relaxed);
        Ok(inbox)
    }

    /// Takes the pages in the inbox into the journal. A page is in one or the other at every moment.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn adopt(&self) -> Result<()> {
        let pages = self.in_inbox()?;
        if pages.is_empty() {
            return Ok(());
        }
        durable_step(Step::PageJournaled, || {
            for id in pages {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let adopted = SegmentId { number, ..id };
                durable::rename_soon(&self.inbox.join(id.file_name()), &self.path(adopted))?;
            }
            durable::sync_dir(&self.dir)?;
            durable::sync_dir(&self.inbox)
        })
    }

    /// The segments in the inbox, oldest first.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn in_inbox(&self) -> Result<Vec<SegmentId>> {
        if self.inbox.is_dir() { list(&self.inbox) } else { Ok(Vec::new()) }
    }

    /// The highest floor that is there; lower ones are deleted.
    fn take_floor(&self) -> Result<u64> {
        let names = durable::names(&self.dir)?;
        let mut floors: Vec<u64> = names.iter().filter_map(|name| parse_floor(name)).collect();
        floors.sort_unstable();
        let Some(highest) = floors.pop() else { return Ok(0) };
        floors.into_iter().try_for_each(|lower| durable::remove(&self.floor_path(lower)))?;
        self.floor.store(highest + 1, Ordering::Relaxed);
        Ok(highest)
    }

    /// Whether the journal tells by itself which numbers were used. One made by etl 0.1.0 does not, before [`Journal::raise`].
    #[must_use]
    pub fn knows_its_numbers(&self) -> bool {
        self.floor.load(Ordering::Relaxed) > 0
    }

    /// Makes numbers go on above `used`, now and after any crash.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn raise(&self, used: u64) -> Result<()> {
        let newest = self.next.fetch_max(used + 1, Ordering::Relaxed).saturating_sub(1);
        if self.knows_its_numbers() && used <= newest {
            return Ok(());
        }
        durable_step(Step::FloorRaised, || durable::replace(&self.floor_path(used), b""))?;
        self.replace_floor(used)
    }

    /// Makes `floor`, which is durable, the one that counts.
    fn replace_floor(&self, floor: u64) -> Result<()> {
        match self.floor.swap(floor + 1, Ordering::Relaxed).checked_sub(1) {
            Some(old) if old != floor => durable::remove(&self.floor_path(old)),
            _ => Ok(()),
        }
    }

    fn floor_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016}.floor"))
    }

    /// The journal below `state`, for reading only: it need not be there.
    #[must_use]
    pub fn at(state: &Path) -> Self {
        Self {
            dir: state.join("journal"),
            rejected: state.join("rejected"),
            inbox: state.join("inbox"),
            next: Arc::default(),
            floor: Arc::default(),
            set_aside: Arc::default(),
        }
    }

    /// The segments that are there, oldest first.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn list(&self) -> Result<Vec<SegmentId>> {
        list(&self.dir)
    }

    /// Whether a segment was set aside as no page.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn is_rejected(&self, number: u64) -> Result<bool> {
        Ok(list(&self.rejected)?.iter().any(|id| id.number == number))
    }

    /// The size of a segment's file in bytes.
    #[must_use]
    pub fn size(&self, id: SegmentId) -> u64 {
        fs::metadata(self.path(id)).map_or(0, |m| m.len())
    }

    /// Where a segment is, for messages.
    #[must_use]
    pub fn path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    /// Starts a segment. Nothing of it is on the disk before [`Journal::publish`].
    #[must_use]
    pub fn begin(&self) -> Writer {
        self.begin_in(Vec::new())
    }

    /// Starts a segment in the memory of one that is done with: see [`Segment::into_memory`].
    #[must_use]
    pub fn begin_in(&self, mut bytes: Vec<u8>) -> Writer {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let start = direct_io::aligned_start(&bytes);
        bytes.clear();
        bytes.resize(start + HEAD, 0);
        Writer { number, bytes, start, pages: Vec::new(), sum: Hasher::new() }
    }

    /// Makes what was written a segment, received at `received`: durable on return, and given back, so that nobody
    /// has to read it.
    ///
    /// # Errors
    /// `State`, naming the path; then the segment is not there, or whole.
    pub fn publish(&self, writer: Writer, received: Timestamp) -> Result<Segment> {
        durable_step(Step::PageJournaled, || writer.publish(&self.dir, received))
    }

    /// Reads a segment and checks it.
    ///
    /// # Errors
    /// `State`, naming the path: unreadable, or damaged.
    pub fn read(&self, id: SegmentId) -> Result<Segment> {
        read(&self.path(id), id)
    }

    /// Takes segments out whose records all have receipts; gives the files that are left to delete, under names that the next open
    /// deletes. `newest` is the newest segment that is there: it becomes the floor.
    ///
    /// # Errors
    /// `State`, naming the path; what was not removed is looked at again by the next run.
    pub fn remove(&self, ids: &[SegmentId], newest: u64) -> Result<Vec<PathBuf>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // A floor only rises: of what is below it the name tells nothing more.
        let is_floor = |id: &SegmentId| id.number == newest && newest >= self.floor.load(Ordering::Relaxed);
        let raises = ids.iter().any(is_floor);
        durable_step(Step::PagesRemoved, || {
            let mut left = Vec::with_capacity(ids.len());
            for id in ids {
                let path = self.path(*id);
                if is_floor(id) {
                    durable::rename_soon(&path, &self.floor_path(newest))?;
                } else {
                    left.push(durable::set_unfinished(&path, &path)?);
                }
            }
            durable::sync_dir(&self.dir)?;
            if raises {
                self.empty_floor(newest)?;
            }
            Ok(left)
        })
    }

    /// The newest segment has become the floor: its bytes go, and the floor before it.
    fn empty_floor(&self, number: u64) -> Result<()> {
        let path = self.floor_path(number);
        let emptied = fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0));
        emptied.map_err(|e| Error::disk("cut", &path, e))?;
        self.replace_floor(number)
    }

    /// Sets a body that is no page aside. It stays until someone acts.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn reject(&self, id: SegmentId) -> Result<PathBuf> {
        let aside = self.rejected.join(id.file_name());
        durable_step(Step::PageRejected, || {
            fs::rename(self.path(id), &aside).map_err(|e| Error::disk("set aside", &self.path(id), e))?;
            durable::sync_dir(&self.rejected)?;
            durable::sync_dir(&self.dir)
        })?;
        let bytes = fs::metadata(&aside).map_or(0, |meta| meta.len());
        self.with_sum(|sum| {
            sum.count = sum.count.saturating_add(u64::from(id.pages));
            sum.bytes = sum.bytes.saturating_add(bytes);
        });
        Ok(aside)
    }

    /// The segments of bodies that were no pages, oldest first.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn rejected(&self) -> Result<Vec<SegmentId>> {
        list(&self.rejected)
    }

    /// How much there is of them.
    #[must_use]
    pub fn rejected_sum(&self) -> Rejected {
        self.with_sum(|sum| *sum)
    }

    fn with_sum<T>(&self, change: impl FnOnce(&mut Rejected) -> T) -> T {
        change(&mut self.set_aside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a segment of bodies that were no pages, and checks it.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read_rejected(&self, id: SegmentId) -> Result<Segment> {
        read(&self.rejected.join(id.file_name()), id)
    }

    /// Removes a segment of bodies that were no pages, and are in the journal again.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn remove_rejected(&self, id: SegmentId) -> Result<()> {
        let path = self.rejected.join(id.file_name());
        let bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        durable::remove(&path)?;
        durable::sync_dir(&self.rejected)?;
        self.with_sum(|sum| {
            sum.count = sum.count.saturating_sub(u64::from(id.pages));
            sum.bytes = sum.bytes.saturating_sub(bytes);
        });
        Ok(())
    }

    fn count_rejected(&self) -> Result<()> {
        let mut sum = Rejected::default();
        for id in self.rejected()? {
            sum.count += u64::from(id.pages);
            sum.bytes += fs::metadata(self.rejected.join(id.file_name())).map_or(0, |meta| meta.len());
        }
        self.with_sum(|known| *known = sum);
        Ok(())
    }
}

fn read(path: &Path, id: SegmentId) -> Result<Segment> {
    let gone = || Error::disk("read", path, std::io::ErrorKind::NotFound.into());
    let bytes = durable::read(path)?.ok_or_else(gone)?;
    parse(id, bytes).ok_or_else(|| {
        Error::new(ErrorKind::State, format!("the journal's page {} is damaged", path.display()))
            .hint("its logs may still be at the source: move the file away to go on without it")
    })
}

fn parse_floor(name: &str) -> Option<u64> {
    name.strip_suffix(".floor")?.parse().ok()
}

fn list(dir: &Path) -> Result<Vec<SegmentId>> {
    Ok(durable::names(dir)?.iter().filter_map(|name| SegmentId::parse(name)).collect())
}

fn parse(id: SegmentId, bytes: Vec<u8>) -> Option<Segment> {
    let (mut start, at) = whole(&bytes)?;
    let directory: Directory = bincode::deserialize(bytes.get(at..)?).ok()?;
    let mut pages = Vec::with_capacity(directory.lengths.len());
    for length in directory.lengths {
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        pages.push(start..end);
        start = end;
    }
    let received = Timestamp::from_nanosecond(directory.received).ok()?;
    (start == at).then_some(Segment { id, received, bytes, pages })
}

/// Where the bodies of a segment start and end; `None` where its checksum does not hold.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let behind = match magic {
        MAGIC => rest.split_first_chunk().filter(|(sum, behind)| crc32fast::hash(behind).to_le_bytes() == **sum)?.1,
        MAGIC_BEFORE => rest.split_first_chunk().filter(|(sum, behind)| blake3::hash(behind).as_bytes() == *sum)?.1,
        _ => return None,
    };
    Some((bytes.len() - behind.len(), usize::try_from(u64::from_le_bytes(*offset)).ok()?))
}

/// A segment that is being filled, in memory.
#[derive(Debug)]
pub struct Writer {
    number: u64,
    /// From `start` on: room for the head, the pages, and behind them what came of the page at hand.
    bytes: Vec<u8>,
    /// Where a device can take the bytes from without a copy, as long as they do not move.
    start: usize,
    pages: Vec<Range<usize>>,
    /// Of the pages that were ended: summed one by one, while the processor still has their bytes at hand.
    sum: Hasher,
}

impl Writer {
    /// Starts a page that may still turn out to be none: dropping it takes its bytes back.
    pub const fn page(&mut self) -> OpenPage<'_> {
        OpenPage { writer: self, ended: false }
    }

    /// Where the last page ends.
    fn end(&self) -> usize {
        self.pages.last().map_or(self.start + HEAD, |page| page.end)
    }

    /// Bytes of pages so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.end() - self.start - HEAD
    }

    /// Ends the page at hand.
    pub fn end_page(&mut self) {
        let page = self.end()..self.bytes.len();
        self.sum.update(self.bytes.get(page.clone()).unwrap_or_default());
        self.pages.push(page);
    }

    /// Pages ended so far.
    #[must_use]
    pub const fn pages(&self) -> usize {
        self.pages.len()
    }

    fn publish(mut self, dir: &Path, received: Timestamp) -> Result<Segment> {
        let id = SegmentId { number: self.number, pages: u32::try_from(self.pages.len()).unwrap_or(u32::MAX) };
        let end = self.end();
        self.close(received)?;
        let path = dir.join(id.file_name());
        let mut unfinished = Unfinished::create(&path)?;
        direct_io::write(unfinished.file(), self.bytes.get(self.start..).unwrap_or_default())
            .map_err(|e| Error::disk("write", &path, e))?;
        unfinished.publish(&path)?;
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

/// A page of a segment of several: it stays in it only when it was ended.
#[derive(Debug)]
pub struct OpenPage<'w> {
    writer: &'w mut Writer,
    ended: bool,
}

impl OpenPage<'_> {
    /// Ends the page: it stays.
    pub fn end(mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn append(journal: &Journal, bodies: &[&str]) -> SegmentId {
        let mut writer = journal.begin();
        for body in bodies {
            writer.write(body.as_bytes()).unwrap();
            writer.end_page();
        }
        journal.publish(writer, at("2023-03-10T01:02:03.000000004Z")).unwrap().id
    }

    #[test]
    fn pages_come_back_as_they_were_received() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let id = append(&journal, &["[1]", "", "[2,3]"]);
        assert_eq!(journal.list().unwrap(), [id]);
        let segment = journal.read(id).unwrap();
        assert_eq!(segment.received, at("2023-03-10T01:02:03.000000004Z"));
        assert_eq!(segment.pages().collect::<Vec<_>>(), [&b"[1]"[..], b"", b"[2,3]"]);
    }

    #[test]
    fn layout_of_a_segment_is_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.raise(41).unwrap();
        let id = append(&journal, &["[]"]);
        assert_eq!(id.file_name(), "0000000000000042-1.page");
        let bytes = fs::read(journal.path(id)).unwrap();
        assert_eq!(&bytes[..16], b"etlpage2\x16\0\0\0\0\0\0\0");
        assert_eq!(&bytes[16..20], crc32fast::hash(&bytes[20..]).to_le_bytes());
        assert_eq!(&bytes[20..22], b"[]");
        assert_eq!(bytes.len(), 22 + 16 + 8 + 8);
    }

    /// The segment `bytes` in the form before.
    fn as_before(bytes: &[u8]) -> Vec<u8> {
        let behind = &bytes[HEAD..];
        let at = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) + 28;
        [&MAGIC_BEFORE[..], &at.to_le_bytes(), blake3::hash(behind).as_bytes(), behind].concat()
    }

    #[test]
    fn segment_of_the_form_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let id = append(&journal, &["[1]", "", "[2,3]"]);
        let before = as_before(&fs::read(journal.path(id)).unwrap());
        fs::write(journal.path(id), &before).unwrap();
        let segment = journal.read(id).unwrap();
        assert_eq!(segment.pages().collect::<Vec<_>>(), [&b"[1]"[..], b"", b"[2,3]"]);
    }

    #[test]
    fn page_that_is_dropped_leaves_nothing_in_its_segment() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut writer = journal.begin();
        for (body, good) in [("[1]", true), ("<html>", false), ("[2]", true)] {
            let mut page = writer.page();
            page.write(body.as_bytes()).unwrap();
            if good { page.end() } else { drop(page) }
        }
        let given = journal.publish(writer, at("2023-03-10T01:02:03Z")).unwrap();
        for segment in [journal.read(given.id).unwrap(), given] {
            assert_eq!(segment.pages().collect::<Vec<_>>(), [&b"[1]"[..], b"[2]"]);
        }
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let id = append(&journal, &["[\"a\"]", "[]"]);
        let good = fs::read(journal.path(id)).unwrap();
        for good in [as_before(&good), good] {
            for i in 0..good.len() {
                let mut bad = good.clone();
                bad[i] ^= 0x10;
                assert!(parse(id, bad).is_none(), "byte {i}");
                assert!(parse(id, good[..i].to_vec()).is_none(), "cut at {i}");
            }
            assert!(parse(id, [&good[..], b"x"].concat()).is_none());
        }
    }

    #[test]
    fn number_is_not_used_again_after_removal_or_rejection() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let first = append(&journal, &["{}"]);
        journal.reject(first).unwrap();
        let (second, third) = (append(&journal, &["[]"]), append(&journal, &["[]"]));
        journal.remove(&[second, third], third.number).unwrap();
        let again = Journal::open(dir.path()).unwrap();
        assert!(again.knows_its_numbers() && again.list().unwrap().is_empty());
        let (fourth, fifth) = (append(&again, &["[]"]), append(&again, &["[]"]));
        assert!(fourth.number > third.number);
        again.remove(&[fifth], fifth.number).unwrap();
        again.remove(&[fourth], fourth.number).unwrap();
        let floors: Vec<String> = durable::names(&dir.path().join("journal")).unwrap();
        assert_eq!(floors, [format!("{:016}.floor", fifth.number)], "one floor, and empty");
        assert_eq!(fs::metadata(dir.path().join("journal").join(&floors[0])).unwrap().len(), 0);
    }

    #[test]
    fn pages_of_the_inbox_are_taken_over_in_their_order_and_numbered_on() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.raise(7).unwrap();
        journal.adopt().unwrap();
        durable::make_dir(&dir.path().join("inbox")).unwrap();
        let inbox = Journal::inbox(dir.path()).unwrap();
        append(&inbox, &["[1]"]);
        append(&Journal::inbox(dir.path()).unwrap(), &["[2]"]);
        assert_eq!(journal.list().unwrap(), []);
        journal.adopt().unwrap();
        let bodies: Vec<Vec<u8>> = journal
            .list()
            .unwrap()
            .into_iter()
            .map(|id| journal.read(id).unwrap().pages().next().unwrap().to_vec())
            .collect();
        assert_eq!(bodies, [b"[1]", b"[2]"]);
        assert_eq!(journal.list().unwrap().iter().map(|id| id.number).collect::<Vec<_>>(), [8, 9]);
        assert_eq!(journal.in_inbox().unwrap(), []);
    }

    #[test]
    fn journal_that_did_not_know_its_numbers_learns_them_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        assert!(!journal.knows_its_numbers());
        journal.raise(0).unwrap();
        journal.raise(7).unwrap();
        journal.raise(3).unwrap();
        drop(journal);
        assert_eq!(append(&Journal::open(dir.path()).unwrap(), &["[]"]).number, 8);
    }
}
