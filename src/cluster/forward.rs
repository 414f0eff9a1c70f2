//! The pages of the local journal into Kafka: each as chunks of one partition, and then out of the journal.
//!
//! Invariant: a segment leaves the journal only when the brokers have acknowledged every chunk of it, and within `SOON` of the first one:
//! whoever reads gives up an unfinished page after a multiple of that. A crash leaves the segment, and perhaps chunks: it is sent
//! again, and the pages that came whole twice are known downstream.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::chunks::Outgoing;
use super::outbox::Outbox;
use crate::error::{Error, ErrorKind, Result};
use crate::state::files::{crash_point, durable};
use crate::state::pages::journal::{Journal, Segment, SegmentId};
use crate::stop::Stop;

/// Bytes of segments that are sent before their acknowledgements are awaited.
const BATCH: u64 = 8 << 20;
/// What took longer is sent again. The reader gives up after three times this.
const SOON: Duration = Duration::from_secs(5 * 60);

/// Where pages go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The topic.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Which source they are from.
    pub source: String,
}

/// What was forwarded.
#[derive(Debug, Default)]
pub struct Forwarded {
    /// Pages that are in Kafka now, and no longer in the journal.
    pub pages: u64,
    /// Bytes of their segments.
    pub bytes: u64,
    /// Segments that cannot be read, and stay.
    pub problems: Vec<Error>,
}

/// Forwards the segments of `journal`, oldest first, until it is empty or it is time to stop.
///
/// # Errors
/// `Unavailable`: the brokers do not take them; they stay in the journal. `State`: of the disk.
pub fn forward(journal: &Journal, to: &Destination, outbox: &dyn Outbox, stop: &Stop) -> Result<Forwarded> {
    let mut forwarded = Forwarded::default();
    let segments = journal.list()?;
    let Some(newest) = segments.last().map(|id| id.number) else { return Ok(forwarded) };
    let mut batch = Batch::default();
    for id in segments {
        if stop.is_requested() {
            break;
        }
        // A damaged one costs only itself.
        match journal.read(id) {
            Ok(segment) => batch.send(&segment, journal.size(id), to, outbox)?,
            Err(damaged) => forwarded.problems.push(damaged),
        }
        if batch.bytes >= BATCH {
            std::mem::take(&mut batch).settle(journal, newest, outbox, &mut forwarded)?;
        }
    }
    batch.settle(journal, newest, outbox, &mut forwarded)?;
    Ok(forwarded)
}

/// Segments that were sent and not acknowledged yet.
#[derive(Debug, Default)]
struct Batch {
    segments: Vec<SegmentId>,
    bytes: u64,
    began: Option<(Instant, Timestamp)>,
}

impl Batch {
    fn send(&mut self, segment: &Segment, bytes: u64, to: &Destination, outbox: &dyn Outbox) -> Result<()> {
        self.began.get_or_insert_with(|| (Instant::now(), Timestamp::now()));
        for body in segment.pages() {
            let page = Outgoing::new(body, segment.received, &to.source);
            let partition = page.partition(to.partitions);
            for (headers, chunk) in page.chunks() {
                let sent = outbox.send(&to.topic, partition, &page.id(), &headers, Some(chunk));
                sent.inspect_err(|_| outbox.forget())?;
                crash_point::at("a chunk is sent");
            }
        }
        self.segments.push(segment.id);
        self.bytes += bytes;
        Ok(())
    }

    fn settle(self, journal: &Journal, newest: u64, outbox: &dyn Outbox, forwarded: &mut Forwarded) -> Result<()> {
        let Some(began) = self.began else { return Ok(()) };
        outbox.settle()?;
        crash_point::at("pages are acknowledged");
        if !was_soon(began, Instant::now(), Timestamp::now()) {
            let what = format!("{} pages took too long on their way to the brokers", pages(&self.segments));
            return Err(Error::new(ErrorKind::Unavailable, what).hint("nothing is lost: the next run sends them again"));
        }
        durable::remove_each(&journal.remove(&self.segments, newest)?)?;
        forwarded.pages += pages(&self.segments);
        forwarded.bytes += self.bytes;
        Ok(())
    }
}

fn pages(segments: &[SegmentId]) -> u64 {
    segments.iter().map(|id| u64::from(id.pages)).sum()
}

/// Whether so little time has passed that no reader has given the page up. One clock stands still while the machine sleeps, and the other
/// may be turned: both have to say so.
fn was_soon((began, at): (Instant, Timestamp), now: Instant, at_now: Timestamp) -> bool {
    let by_clock = at_now.duration_since(at).unsigned_abs();
    now.saturating_duration_since(began) <= SOON && by_clock <= SOON
}

#[cfg(test)]
mod tests {
    use super::super::chunks::{Assembler, ChunkHead, Taken};
    use super::super::outbox::tests::Kept;
    use super::*;
    use crate::source::PageSink as _;

    fn to() -> Destination {
        Destination { topic: "logs.pages".to_owned(), partitions: 3, source: "the source".to_owned() }
    }

    fn journal_of(dir: &std::path::Path, bodies: &[&[u8]]) -> Journal {
        let journal = Journal::open(dir).unwrap();
        for body in bodies {
            let mut writer = journal.begin(Vec::new());
            writer.write(body).unwrap();
            writer.end_page();
            journal.append(writer, Timestamp::from_second(1_678_412_400).unwrap()).unwrap();
        }
        journal
    }

    /// The pages that a reader of all partitions finds.
    fn read(kept: &Kept) -> Vec<Vec<u8>> {
        let mut assemblers = [(); 3].map(|()| Assembler::default());
        let mut found = Vec::new();
        for (offset, sent) in (0..).zip(&*kept.stored.borrow()) {
            let head = ChunkHead::read(|name| sent.header(name)).unwrap();
            let assembler = &mut assemblers[usize::try_from(sent.partition).unwrap()];
            if let Taken::Page(page) = assembler.take(offset, 0, head, sent.payload.as_deref().unwrap()) {
                found.push(page.body);
            }
        }
        found
    }

    #[test]
    fn pages_leave_the_journal_once_they_are_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let large = vec![b'x'; (1 << 20) + 7];
        let journal = journal_of(dir.path(), &[b"[1]", &large, b"[2]"]);
        let kept = Kept::default();
        kept.fails.set(true);
        assert_eq!(forward(&journal, &to(), &kept, &Stop::new()).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(journal.list().unwrap().len(), 3);
        kept.fails.set(false);
        let forwarded = forward(&journal, &to(), &kept, &Stop::new()).unwrap();
        assert_eq!((forwarded.pages, forwarded.problems.len(), journal.list().unwrap().len()), (3, 0, 0));
        let mut found = read(&kept);
        found.sort();
        found.dedup();
        assert_eq!(found, [b"[1]".to_vec(), b"[2]".to_vec(), large]);
        // Numbers go on above those that are gone.
        assert_eq!(
            Journal::open(dir.path()).unwrap().append(journal.begin(Vec::new()), Timestamp::now()).unwrap().id.number,
            4
        );
    }

    #[test]
    fn damaged_segment_stays_and_costs_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_of(dir.path(), &[b"[1]", b"[2]"]);
        let first = journal.list().unwrap()[0];
        std::fs::write(journal.path(first), b"etlpage2 damaged").unwrap();
        let (kept, stop) = (Kept::default(), Stop::new());
        let forwarded = forward(&journal, &to(), &kept, &stop).unwrap();
        assert_eq!((forwarded.pages, forwarded.problems.len()), (1, 1));
        assert_eq!((journal.list().unwrap(), read(&kept)), (vec![first], vec![b"[2]".to_vec()]));
    }

    #[test]
    fn stop_leaves_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let journal = journal_of(dir.path(), &[b"[1]"]);
        let stop = Stop::new();
        stop.request(crate::stop::Signal::Terminate);
        assert_eq!(forward(&journal, &to(), &Kept::default(), &stop).unwrap().pages, 0);
        assert_eq!(journal.list().unwrap().len(), 1);
    }

    #[test]
    fn what_slept_on_the_way_is_sent_again() {
        let (began, at) = (Instant::now(), Timestamp::now());
        let later = |seconds| (began + Duration::from_secs(seconds), at + Duration::from_secs(seconds));
        for (by_timer, by_clock, is_soon) in [(0, 0, true), (300, 300, true), (301, 0, false), (0, 301, false)] {
            assert_eq!(was_soon((began, at), later(by_timer).0, later(by_clock).1), is_soon);
        }
        assert!(!was_soon((began, at), began, at - Duration::from_secs(301)));
    }
}
