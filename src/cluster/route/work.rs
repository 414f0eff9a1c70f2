//! Works through a partition of pages, batch by batch: assembled, decoded, sorted, acknowledged, and only then committed.
//!
//! Invariant: what is committed lies below every page that is not routed, or not whole yet. A crash leaves pages that are routed again,
//! and their records are known downstream. A page that kills its reader is found (see [`super::trying`]).

use super::sorter::{Read, Sorter};
use super::trying::Notes;
use super::{Position, Routed};
use crate::cluster::barrier;
use crate::cluster::chunks::{ChunkHead, Taken, WholePage};
use crate::cluster::feed::{Ended, Feed, Flow};
use crate::cluster::kafka::Message;
use crate::cluster::outbox::Outbox;
use crate::error::{Error, ErrorKind, Result};
use crate::page::decode::Decoder;
use crate::process::parallel::{parallel_map, threads};
use crate::state::files::crash_point;
use crate::stop::Stop;

/// Bytes of pages that are decoded and sent before their acknowledgement is awaited.
const BATCH: usize = 8 << 20;
/// Fewer pages than these are decoded on one thread.
const WORTH_A_THREAD: usize = 4;
/// What other programs wrote is not reported more often.
const MOST_PROBLEMS: usize = 16;

/// How a page is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Among others.
    Usual,
    /// Alone: so many died at it.
    Alone(u32),
    /// Not now: so many died at it.
    PutOff(u32),
    /// Neither it nor what follows.
    Stop,
}

/// What is worked through, and with what.
pub(super) struct Work<'w> {
    pub(super) decoder: &'w Decoder,
    pub(super) outbox: &'w dyn Outbox,
    pub(super) sorter: &'w mut Sorter,
    pub(super) notes: &'w mut Notes,
    pub(super) routed: &'w mut Routed,
    pub(super) stop: &'w Stop,
    /// The partition.
    pub(super) partition: i32,
    /// What it is called in notes.
    pub(super) name: String,
    /// How the page of a message is to be read.
    pub(super) manner: &'w dyn Fn(&Message<'_>) -> Manner,
    /// Commits an offset. `false`: the partition is another's.
    pub(super) commit: &'w dyn Fn(i64) -> Result<bool>,
}

/// Pages that are read together.
#[derive(Debug)]
struct Batch {
    pages: Vec<WholePage>,
    /// One that is not read with others, behind them.
    apart: Option<(WholePage, Manner)>,
    bytes: usize,
    /// Where to go on when all of these are done with.
    resume: i64,
    ended: Ended,
}

impl Work<'_> {
    /// Works through what `feed` brings. Whether its end was reached: otherwise it is time to stop, or the partition is another's.
    pub(super) fn through(&mut self, feed: &mut Feed<'_>, position: &mut Position) -> Result<bool> {
        let mut tried = 0;
        loop {
            let batch = self.read(feed, position)?;
            tried += batch.bytes;
            if batch.ended == Ended::Stopped || !self.batch(&batch, position)? {
                self.leave(position)?;
                return Ok(false);
            }
            // Whatever it was that somebody died with has been read by now.
            if position.is_suspect && (tried >= BATCH || batch.ended == Ended::AtEnd) {
                self.notes.end(self.outbox, &self.name)?;
                position.is_suspect = false;
            }
            if batch.ended == Ended::AtEnd {
                return Ok(true);
            }
        }
    }

    /// Takes the note back: nobody died. The position is not gone on from.
    fn leave(&mut self, position: &Position) -> Result<()> {
        self.sorter.forget();
        self.outbox.forget();
        if position.is_noted { self.notes.end(self.outbox, &self.name) } else { Ok(()) }
    }

    /// Reads pages of about [`BATCH`] bytes; where somebody died, one.
    fn read(&mut self, feed: &mut Feed<'_>, position: &mut Position) -> Result<Batch> {
        let (mut pages, mut apart, mut bytes, mut stopped_at) = (Vec::new(), None, 0, None);
        let (manner, problems, partition) = (self.manner, &mut self.routed.problems, self.partition);
        let (assembler, is_suspect) = (&mut position.assembler, position.is_suspect);
        let ended = feed.each(&mut |message| {
            let Some(head) = ChunkHead::read(|name| message.header(name)) else {
                if !barrier::is_one(|name| message.header(name)) && problems.len() < MOST_PROBLEMS {
                    problems.push(foreign(partition, message.offset()));
                }
                return Ok(Flow::On);
            };
            let manner = match manner(message) {
                Manner::Usual if is_suspect => Manner::Alone(1),
                manner => manner,
            };
            if manner == Manner::Stop {
                stopped_at = Some(message.offset());
                return Ok(Flow::Pause);
            }
            let page = match assembler.take(
                message.offset(),
                message.timestamp(),
                head,
                message.payload().unwrap_or_default(),
            ) {
                Taken::Page(page) => page,
                Taken::Chunk => return Ok(Flow::On),
                Taken::Damaged(first) => {
                    problems.push(damaged(partition, first));
                    return Ok(Flow::On);
                }
            };
            bytes += page.body.len();
            if manner == Manner::Usual {
                pages.push(page);
                return Ok(if bytes >= BATCH { Flow::Pause } else { Flow::On });
            }
            apart = Some((page, manner));
            Ok(Flow::Pause)
        })?;
        let resume = assembler.resume_at(stopped_at.unwrap_or_else(|| feed.next()));
        let ended = if stopped_at.is_some() { Ended::AtEnd } else { ended };
        position.next = Some(feed.next());
        Ok(Batch { pages, apart, bytes, resume, ended })
    }

    /// Routes a batch, and commits it. `false`: it is time to stop, or the partition is another's.
    fn batch(&mut self, batch: &Batch, position: &mut Position) -> Result<bool> {
        if !batch.pages.is_empty() {
            if !position.is_noted {
                self.notes.begin(self.outbox, &self.name, position.committed, None)?;
                position.is_noted = true;
            }
            if !self.route(&batch.pages)? {
                return Ok(false);
            }
        }
        if let Some((page, manner)) = &batch.apart {
            if !self.commit(position, batch.resume.min(page.first))? {
                return Ok(false);
            }
            let is_done = match manner {
                Manner::PutOff(deaths) => self.put_off(page, *deaths).map(|()| true)?,
                Manner::Alone(deaths) => self.alone(page, *deaths, position)?,
                Manner::Usual | Manner::Stop => true,
            };
            if !is_done {
                return Ok(false);
            }
        }
        self.commit(position, batch.resume)
    }

    fn commit(&self, position: &mut Position, offset: i64) -> Result<bool> {
        if offset <= position.committed {
            return Ok(true);
        }
        let is_ours = (self.commit)(offset)?;
        position.committed = offset;
        Ok(is_ours)
    }

    /// Reads a page alone, unless somebody died at it since.
    fn alone(&mut self, page: &WholePage, deaths: u32, position: &mut Position) -> Result<bool> {
        if self.notes.died_at(&self.name, page.id) {
            self.put_off(page, deaths + 1)?;
            // So that the note goes: it has been heeded.
            position.is_noted = true;
            return Ok(true);
        }
        self.notes.begin(self.outbox, &self.name, position.committed, Some(page.id))?;
        position.is_noted = true;
        self.route(std::slice::from_ref(page))
    }

    fn put_off(&mut self, page: &WholePage, deaths: u32) -> Result<()> {
        self.sorter.put_off(self.outbox, page, deaths)?;
        self.outbox.settle()
    }

    /// Decodes pages, sends what they hold, and waits until it is stored. `false`: it is time to stop.
    fn route(&mut self, pages: &[WholePage]) -> Result<bool> {
        let (decoder, stop) = (self.decoder, self.stop);
        let threads = if pages.len() < WORTH_A_THREAD { 1 } else { threads() };
        let decoded = parallel_map(pages, threads, |page| {
            crash_point::reading(&page.body);
            decoder.page_until(&page.body, page.received, &|| stop.is_requested())
        });
        let mut routed = Routed::default();
        for (page, decoded) in pages.iter().zip(decoded) {
            let read = Read { partition: self.partition, page, decoder, stop };
            if !self.sorter.take(self.outbox, &read, decoded, &mut routed)? {
                return Ok(false);
            }
        }
        self.sorter.finish(self.outbox)?;
        self.outbox.settle()?;
        crash_point::at("a batch is routed");
        self.sorter.settled();
        self.routed.add(routed);
        Ok(true)
    }
}

fn foreign(partition: i32, offset: i64) -> Error {
    let what = format!(
        "partition {partition}, offset {offset} of the topic of pages is no chunk of a page: another program writes there"
    );
    Error::new(ErrorKind::Config, what)
        .hint("give these topics to this cluster alone (`kafka-acls.sh`), or another cluster.name")
}

fn damaged(partition: i32, offset: i64) -> Error {
    let what =
        format!("partition {partition} of the topic of pages: the page that begins at offset {offset} is damaged");
    Error::new(ErrorKind::State, what)
        .hint("look at the brokers' disks and logs; what the source still has of it comes again")
}
