//! A backfill: files → journal → records → log, as a pipeline.
//!
//! One thread reads files and makes their segments durable, one thread a processor decodes pages as they come, and the run's own
//! thread commits segments in the order of the files. A segment is handed over before its pages are decoded, and only then the
//! next is begun: so at most three are held, whatever the size of the backfill, and while one waits for its last page the pages of
//! the next are decoded. The memory of a segment goes back to the reader for another. The files share segments, so that one fsync
//! serves many records. Where the system gives fewer threads, those do it all, at worst this one alone, segment by segment.
//! Nothing is decoded before it is durable; a crash leaves whole segments in the journal, which the next run commits.

use std::path::PathBuf;
use std::slice::Iter;
use std::sync::mpsc::{Receiver, SendError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::Intake;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Clock;
use crate::job::output::Output;
use crate::job::recover::Recover;
use crate::job::{Progress, Run};
use crate::page::decode::{Decoded, Decoder};
use crate::page::parse::NotAPage;
use crate::process::parallel::{aside, threads};
use crate::source::PageShape;
use crate::source::file::{self, PageFile};
use crate::state::pages::journal::{Journal, Segment, Writer};
use crate::stop::Stop;

/// A segment is full at so many bytes, or at so many pages.
const SEGMENT_BYTES: usize = 4 << 20;
const SEGMENT_PAGES: usize = 64;

/// A segment that is durable, and where its decoded pages will come from, in no order.
type Ready = Result<(Arc<Segment>, Receiver<DecodedPage>)>;
type DecodedPage = (usize, Result<Decoded, NotAPage>);
/// Whether a segment was taken.
type Handed = std::result::Result<(), SendError<Ready>>;

/// A page to be decoded.
struct Task {
    segment: Arc<Segment>,
    page: usize,
    done: Sender<DecodedPage>,
}

impl Intake {
    /// Journals and commits all files of the glob `pattern`.
    pub(crate) fn fetch_files(
        &mut self,
        run: &mut Run<'_>,
        output: &mut Output,
        recover: &mut Recover,
        pattern: &str,
        max_page_bytes: u64,
    ) -> Result<()> {
        let listing = file::list(pattern)?;
        listing.unreadable.into_iter().try_for_each(|error| run.record_or_fail(error))?;
        if listing.files.is_empty() {
            tracing::warn!("no file matches {pattern}");
        } else {
            // The log cannot do without threads of its own: it gets them first.
            run.state.hours.prepare_log()?;
        }
        let (setup, files, journal) = (run.setup, listing.files.iter(), run.state.pages.journal().clone());
        let (give_back, spare) = channel();
        let (decode, tasks) = channel();
        let tasks = Mutex::new(tasks);
        let shape = &setup.decoder.shape;
        let (clock, stop) = (setup.clock, setup.stop);
        let reader = Reader { files, open: None, shape, max_page_bytes, journal, spare, decode, clock, stop };
        // Whoever reads takes it from here.
        let reader = Mutex::new(Some(reader));
        let take_reader = &|| reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut committer = Committer { intake: self, run, output, recover, give_back };
        std::thread::scope(|scope| {
            let (to_commit, ready) = sync_channel(1);
            let reading = aside(scope, move || take_reader().map(|reader| reader.run(|one| to_commit.send(one))));
            let decoder = || decode_pages(&setup.decoder, setup.stop, &tasks);
            let decoding = (0..threads()).map_while(|_| aside(scope, decoder)).count();
            let help = |pages| {
                if decoding == 0 {
                    decode_so_many(&setup.decoder, setup.stop, &tasks, pages)
                }
            };
            if reading.is_none()
                && let Some(reader) = take_reader()
            {
                return committer.read_and_commit(reader, &help);
            }
            // The other threads end when they can hand nothing over any more: an error here ends them all.
            ready.into_iter().try_for_each(|ready| committer.commit(ready, &help))
        })
    }
}

/// The stage that commits segments, in the order of the files.
struct Committer<'c, 'a> {
    intake: &'c mut Intake,
    run: &'c mut Run<'a>,
    output: &'c mut Output,
    recover: &'c mut Recover,
    /// The memory of committed segments, for the reader.
    give_back: Sender<Vec<u8>>,
}

impl Committer<'_, '_> {
    /// Reads, decodes and commits segment by segment, where no thread can be had to read meanwhile.
    fn read_and_commit(&mut self, mut reader: Reader<'_>, help: &dyn Fn(usize)) -> Result<()> {
        while reader.goes_on() {
            let mut ready = Vec::new();
            let journaled = reader.segment(&mut |one| {
                ready.push(one);
                Ok(())
            });
            ready.into_iter().try_for_each(|ready| self.commit(ready, help))?;
            if !matches!(journaled, Ok(true)) {
                break;
            }
        }
        Ok(())
    }

    /// Commits a segment, and gives its memory back. A file that cannot be read costs only itself. `help` decodes so many pages
    /// where nobody else does.
    fn commit(&mut self, ready: Ready, help: &dyn Fn(usize)) -> Result<()> {
        let (segment, decoded) = match ready {
            Ok(ready) => ready,
            Err(error) => return self.run.record_or_fail(error),
        };
        let pages = segment.pages().count();
        help(pages);
        let decoded = in_order(decoded, pages)?;
        self.run.summary.pages += decoded.len() as u64;
        (self.run.setup.progress)(Progress::Fetched(self.run.summary.pages));
        self.intake.commit_decoded(self.run, self.recover, &segment, decoded)?;
        if let Some(segment) = Arc::into_inner(segment) {
            // The reader may have ended: then nobody needs it.
            let _ = self.give_back.send(segment.into_memory());
        }
        self.run.state.remove_finished_pages()?;
        if self.run.is_short_of_space(0)? { self.output.make_space(self.run, self.recover) } else { Ok(()) }
    }
}

/// The stage that reads files and journals them.
struct Reader<'a> {
    files: Iter<'a, PathBuf>,
    /// The file that is being read.
    open: Option<PageFile<'a>>,
    shape: &'a PageShape,
    max_page_bytes: u64,
    journal: Journal,
    spare: Receiver<Vec<u8>>,
    decode: Sender<Task>,
    clock: &'a dyn Clock,
    stop: &'a Stop,
}

impl Reader<'_> {
    /// Ends at the last file, at a stop, at a failure of the journal, or when nobody takes segments any more.
    fn run(mut self, mut out: impl FnMut(Ready) -> Handed) {
        while self.goes_on() {
            match self.segment(&mut out) {
                Ok(true) => {}
                Ok(false) | Err(SendError(_)) => return,
            }
        }
    }

    fn goes_on(&self) -> bool {
        (self.open.is_some() || self.files.len() > 0) && !self.stop.is_requested()
    }

    /// Journals one segment and hands it over. `false`: the journal fails.
    fn segment(&mut self, out: &mut dyn FnMut(Ready) -> Handed) -> std::result::Result<bool, SendError<Ready>> {
        // Memory that a huge page made huge is not kept.
        let spare = self.spare.try_iter().find(|memory| memory.capacity() <= 4 * SEGMENT_BYTES);
        let mut writer = self.journal.begin(spare.unwrap_or_default());
        while writer.bytes() < SEGMENT_BYTES && writer.pages() < SEGMENT_PAGES {
            match self.page(&mut writer) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => out(Err(error))?,
            }
        }
        if writer.pages() == 0 {
            return Ok(true);
        }
        let (done, decoded) = channel();
        let segment = match self.journal.append(writer, self.clock.now()) {
            Ok(segment) => Arc::new(segment),
            Err(error) => return out(Err(error)).map(|()| false),
        };
        out(Ok((Arc::clone(&segment), decoded)))?;
        for page in 0..segment.pages().count() {
            // Whoever decodes waits for tasks until this sender is gone.
            let _ = self.decode.send(Task { segment: Arc::clone(&segment), page, done: done.clone() });
        }
        Ok(true)
    }
}

impl Reader<'_> {
    /// Reads the next page. `false`: there is none. A file that fails is not read on.
    fn page(&mut self, writer: &mut Writer) -> Result<bool> {
        loop {
            let mut file = match self.open.take() {
                Some(file) => file,
                None => match self.files.next() {
                    Some(path) => PageFile::open(path, self.shape, self.max_page_bytes)?,
                    None => return Ok(false),
                },
            };
            if let Some(page) = file.next(writer.page())? {
                page.end();
                self.open = Some(file);
                return Ok(true);
            }
        }
    }
}

/// Decodes pages until no more can come.
fn decode_pages(decoder: &Decoder, stop: &Stop, tasks: &Mutex<Receiver<Task>>) {
    while decode_next(decoder, stop, tasks) {}
}

/// Decodes the next pages, where no thread does.
fn decode_so_many(decoder: &Decoder, stop: &Stop, tasks: &Mutex<Receiver<Task>>, pages: usize) {
    (0..pages).all(|_| decode_next(decoder, stop, tasks));
}

/// Decodes the next page. `false`: no more can come.
fn decode_next(decoder: &Decoder, stop: &Stop, tasks: &Mutex<Receiver<Task>>) -> bool {
    let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let Ok(Task { segment, page, done }) = task else { return false };
    let Some(body) = segment.pages().nth(page) else { return true };
    let decoded = decoder.page_until(body, segment.received, &|| stop.is_requested());
    // Before its last page is done: whoever waits for that is then its only holder.
    drop(segment);
    // Nobody waits for it where the commit of another failed.
    let _ = done.send((page, decoded));
    true
}

/// The pages of a segment of `pages` as they are decoded, in their order.
fn in_order(decoded: Receiver<DecodedPage>, pages: usize) -> Result<Vec<Result<Decoded, NotAPage>>> {
    let mut ordered: Vec<DecodedPage> = decoded.into_iter().collect();
    if ordered.len() != pages {
        return Err(Error::new(ErrorKind::Bug, format!("{} of {pages} pages were decoded", ordered.len())));
    }
    ordered.sort_unstable_by_key(|(page, _)| *page);
    Ok(ordered.into_iter().map(|(_, decoded)| decoded).collect())
}
