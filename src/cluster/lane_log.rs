//! A partition of the lanes' topic as the log of a lane.
//!
//! Invariant: the number of a batch is the offset behind its last message, so that what is committed is never read as new; a batch is whole or
//! an error. What is released is committed to the group: a lower offset than the truth only means that more is read again. A crash leaves
//! the offset of before.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::kafka::{Member, Next, PATIENCE, Reader, Start};
use super::{message, report};
use crate::error::Result;
use crate::job::intake::lane::{LaneBatch, LaneLog};
use crate::page::decode::Decoded;
use crate::stop::Stop;

/// A batch is full at so many records, or bytes of their lines.
const RECORDS: usize = 32_000;
const BYTES: usize = 8 << 20;
/// How long one look for a message waits.
const MOMENT: Duration = Duration::from_millis(100);

/// The log of one lane, as long as this process owns it.
pub(super) struct KafkaLane<'a> {
    reader: &'a mut Reader,
    member: &'a Member,
    topic: &'a str,
    partition: i32,
    stop: &'a Stop,
    /// Everything below has receipts, as the group knows it.
    released: Option<u64>,
    /// Where the reader stands, if it was this lane that brought it there, and there may be more.
    next: Option<u64>,
}

impl<'a> KafkaLane<'a> {
    /// The lane of a partition that `member` owns.
    pub(super) fn open(
        reader: &'a mut Reader,
        member: &'a Member,
        (topic, partition): (&'a str, i32),
        stop: &'a Stop,
    ) -> Result<Self> {
        let released = member.committed(partition)?.and_then(|offset| u64::try_from(offset).ok());
        Ok(Self { reader, member, topic, partition, stop, released, next: None })
    }

    /// Below which offset everything has receipts.
    pub(super) const fn released(&self) -> Option<u64> {
        self.released
    }

    /// Goes to the first message at `after` or behind it that can still be needed.
    fn go_to(&mut self, after: u64) -> Result<()> {
        let from = after.max(self.released.unwrap_or(0));
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let end = match self.reader.start(self.topic, self.partition, from)? {
            Start::At { .. } => return Ok(()),
            // What is deleted was released before, by us or by another owner.
            Start::Deleted { low, .. } => match self.reader.start(self.topic, self.partition, low)? {
                Start::At { .. } => return Ok(()),
                Start::Deleted { end, .. } | Start::Beyond { end } => end,
            },
            Start::Beyond { end } => end,
        };
        let number = |offset: i64| u64::try_from(offset).unwrap_or(0);
        report::check_is_whole(self.topic, self.partition, number(from), number(end))
    }

    fn gather(&mut self) -> Result<Option<LaneBatch>> {
        let mut gathered = Gathered::default();
        let mut heard = Instant::now();
        while !gathered.is_full() {
            match self.reader.next(MOMENT)? {
                Next::Message(message) => {
                    heard = Instant::now();
                    let (offset, payload) = (message.offset(), message.payload().unwrap_or_default());
                    gathered.take(offset, message::read(payload, self.topic, self.partition, offset)?);
                }
                Next::Nothing if self.stop.is_requested() => break,
                Next::Nothing if heard.elapsed() < PATIENCE => {}
                Next::Nothing => return Err(self.reader.silence()),
                Next::Ended => break,
                Next::Deleted(low) => {
                    if gathered.first.is_some() {
                        break;
                    }
                    self.go_to(u64::try_from(low).unwrap_or(0))?;
                }
            }
        }
        Ok(gathered.finish())
    }
}

impl LaneLog for KafkaLane<'_> {
    fn next(&mut self, after: u64) -> Result<Option<LaneBatch>> {
        if !self.member.still_owns(self.partition) || self.stop.is_requested() {
            return Ok(None);
        }
        // The reader may stand at the same number of another partition, or at what was the end a while ago.
        if self.next != Some(after) {
            self.go_to(after)?;
        }
        self.next = None;
        let batch = self.gather()?;
        self.next = batch.as_ref().map(|batch| batch.number);
        Ok(batch)
    }

    fn passed(&self) -> u64 {
        self.released.unwrap_or(0)
    }

    fn release(&mut self, needed: u64) -> Result<()> {
        if self.released.is_some_and(|released| released >= needed) || !self.member.still_owns(self.partition) {
            return Ok(());
        }
        match self.member.commit(self.partition, i64::try_from(needed).unwrap_or(i64::MAX)) {
            Ok(()) => self.released = Some(needed),
            // The next owner finds out by itself; here the next run says it again.
            Err(error) => tracing::info!("{}", error.chain()),
        }
        Ok(())
    }
}

/// Messages that become one batch.
#[derive(Default)]
struct Gathered {
    first: Option<i64>,
    last: i64,
    received: Option<Timestamp>,
    records: Decoded,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.records.records.len() >= RECORDS || self.records.lines.len() >= BYTES
    }

    fn take(&mut self, offset: i64, message: message::Incoming) {
        self.first.get_or_insert(offset);
        self.last = offset;
        self.received = Some(self.received.map_or(message.received, |before| before.min(message.received)));
        self.records.records.extend(message.decoded.records);
        self.records.lines.extend(message.decoded.lines);
    }

    fn finish(self) -> Option<LaneBatch> {
        let (first, number) = (self.first?, self.last.saturating_add(1));
        let number = u64::try_from(number).ok()?;
        let entries = number.saturating_sub(u64::try_from(first).ok()?);
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        Some(LaneBatch { number, entries, received: self.received?, records: self.records })
    }
}
