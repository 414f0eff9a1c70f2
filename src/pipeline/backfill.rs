//! A backfill: files → journal → records → buckets, three stages side by side.
//!
//! One thread reads files and makes their segments durable, one decodes them (its pages side by side), and the run's own
//! commits them in the order of the files. A stage hands a segment over and only then begins the next, so at most one
//! segment is held a stage, whatever the size of the backfill; the memory of one goes back to the reader for another. The
//! files share segments, so that one fsync serves many records. Nothing is decoded before it is durable; a crash leaves
//! whole segments in the journal, which the next run commits.

use std::path::PathBuf;
use std::slice::Iter;
use std::sync::mpsc::{Receiver, SendError, Sender, SyncSender, channel, sync_channel};

use super::commit::decode;
use super::{Job, Progress};
use crate::decode::{Decoded, Decoder};
use crate::error::Result;
use crate::extract::{self, Fetched};
use crate::hour::Clock;
use crate::journal::{Journal, Segment};
use crate::page::NotAPage;
use crate::stop::Stop;

/// A segment is full at so many bytes, or at so many pages.
const SEGMENT_BYTES: usize = 4 << 20;
const SEGMENT_PAGES: usize = 64;

type Read = Result<Segment>;
type Ready = Result<(Segment, Vec<Result<Decoded, NotAPage>>)>;

impl Job<'_> {
    /// Journals and commits all files of the glob `pattern`.
    pub(super) fn fetch_files(&mut self, pattern: &str, max_page_bytes: u64) -> Result<()> {
        let listing = extract::file::list(pattern)?;
        listing.unreadable.into_iter().try_for_each(|error| self.bear(error))?;
        if listing.files.is_empty() {
            tracing::warn!("no file matches {pattern}");
        }
        let setup = self.setup;
        let files = listing.files.iter();
        let journal = self.state.journal.clone();
        let (give_back, spare) = channel();
        let reader = Reader { files, max_page_bytes, journal, spare, clock: setup.clock, stop: setup.stop };
        std::thread::scope(|scope| {
            let (to_decode, read) = sync_channel(1);
            let (to_commit, ready) = sync_channel(1);
            scope.spawn(move || reader.run(&to_decode));
            scope.spawn(move || decode_all(&setup.decoder, read, &to_commit));
            // A stage that can hand nothing over any more ends: an error here ends them all.
            ready.into_iter().try_for_each(|ready| self.take(ready, &give_back))
        })
    }

    /// Commits a segment, and gives its memory back. A file that cannot be read costs only itself.
    fn take(&mut self, ready: Ready, give_back: &Sender<Vec<u8>>) -> Result<()> {
        let (segment, decoded) = match ready {
            Ok(ready) => ready,
            Err(error) => return self.bear(error),
        };
        self.summary.pages += segment.pages().count() as u64;
        (self.setup.progress)(Progress::Fetched(self.summary.pages));
        self.commit_decoded(&segment, decoded)?;
        // The reader may have ended: then nobody needs it.
        let _ = give_back.send(segment.into_memory());
        self.state.remove_finished_pages()
    }
}

/// The stage that reads files and journals them.
struct Reader<'a> {
    files: Iter<'a, PathBuf>,
    max_page_bytes: u64,
    journal: Journal,
    spare: Receiver<Vec<u8>>,
    clock: &'a dyn Clock,
    stop: &'a Stop,
}

impl Reader<'_> {
    /// Ends at the last file, at a stop, at a journal that fails, or when nobody takes segments any more.
    fn run(mut self, out: &SyncSender<Read>) {
        while self.files.len() > 0 && !self.stop.is_requested() {
            match self.segment(out) {
                Ok(true) => {}
                Ok(false) | Err(SendError(_)) => return,
            }
        }
    }

    /// Journals one segment and hands it over. `false`: the journal fails.
    fn segment(&mut self, out: &SyncSender<Read>) -> std::result::Result<bool, SendError<Read>> {
        // What a huge page made huge is not kept.
        let spare = self.spare.try_iter().find(|memory| memory.capacity() <= 4 * SEGMENT_BYTES);
        let mut writer = self.journal.begin_in(spare.unwrap_or_default());
        while writer.bytes() < SEGMENT_BYTES && writer.pages() < SEGMENT_PAGES {
            let Some(path) = self.files.next() else { break };
            match extract::file::read(path, self.max_page_bytes, writer.page()) {
                Ok(Fetched::Page { sink, .. }) => sink.end(),
                Ok(_) => {}
                Err(error) => out.send(Err(error))?,
            }
        }
        if writer.pages() == 0 {
            return Ok(true);
        }
        let segment = self.journal.publish(writer, self.clock.now());
        let goes_on = segment.is_ok();
        out.send(segment).map(|()| goes_on)
    }
}

/// The stage that decodes.
fn decode_all(decoder: &Decoder, read: Receiver<Read>, out: &SyncSender<Ready>) {
    for segment in read {
        let ready = segment.map(|segment| {
            let decoded = decode(decoder, &segment);
            (segment, decoded)
        });
        if out.send(ready).is_err() {
            return;
        }
    }
}
