//! The messages of one partition, from an offset to the end that it had at the start.
//!
//! Invariant: none is left out but those that are deleted, which only happens to what has receipts. Waits are bounded. Writes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::kafka::{Message, Next, PATIENCE, Reader, Start};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// How long a stop goes unnoticed, at most.
const MOMENT: Duration = Duration::from_millis(100);

/// Whether to go on after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next one, please.
    On,
    /// Not now: [`Feed::each`] is called again for the rest.
    Pause,
}

/// Why there are no more messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Whoever took them has enough for now.
    Paused,
    /// The end is reached.
    AtEnd,
    /// It is time to stop.
    Stopped,
}

/// Takes a message.
pub(crate) type Take<'t> = &'t mut dyn FnMut(&Message<'_>) -> Result<Flow>;

/// A partition that is being read.
#[derive(Debug)]
pub(crate) struct Feed<'r> {
    reader: &'r mut Reader,
    stop: &'r Stop,
    topic: String,
    partition: i32,
    next: i64,
}

/// What a step of the reader was.
enum Step {
    Flow(Flow),
    Nothing,
    Ended,
    Deleted(i64),
}

impl<'r> Feed<'r> {
    /// Starts at offset `from`, or at the first message that is there.
    ///
    /// # Errors
    /// `State`: the partition ends before `from`, so it is not the one that was read before.
    pub(crate) fn open(
        reader: &'r mut Reader,
        topic: &str,
        partition: i32,
        from: Option<i64>,
        stop: &'r Stop,
    ) -> Result<Self> {
        let mut feed = Self { reader, stop, topic: topic.to_owned(), partition, next: 0 };
        feed.start(from.unwrap_or(0))?;
        Ok(feed)
    }

    fn start(&mut self, from: i64) -> Result<()> {
        self.next = from;
        loop {
            match self.reader.start(&self.topic, self.partition, self.next)? {
                Start::At { .. } => return Ok(()),
                // What is deleted has been dealt with. It may go on while we look.
                Start::Deleted { low, .. } => self.next = low,
                Start::Beyond { end } => return Err(self.is_another(end)),
            }
        }
    }

    fn is_another(&self, end: i64) -> Error {
        let (topic, partition, next) = (&self.topic, self.partition, self.next);
        let what =
            format!("partition {partition} of the topic {topic} ends at {end}, and was read up to {next} before");
        Error::new(ErrorKind::State, what).hint(
            "the topic was made anew, or the brokers lost what they had acknowledged: look there first; to go on from its beginning, \
             reset the group's offsets (`kafka-consumer-groups.sh --reset-offsets --to-earliest`)",
        )
    }

    /// The offset behind the last message that was taken.
    pub(crate) const fn next(&self) -> i64 {
        self.next
    }

    /// Hands message after message to `take`.
    pub(crate) fn each(&mut self, take: Take<'_>) -> Result<Ended> {
        let mut heard = Instant::now();
        loop {
            if self.stop.is_requested() {
                return Ok(Ended::Stopped);
            }
            let step = match self.reader.next(MOMENT)? {
                Next::Message(message) => {
                    heard = Instant::now();
                    self.next = message.offset() + 1;
                    Step::Flow(take(&message)?)
                }
                Next::Nothing => Step::Nothing,
                Next::Ended => Step::Ended,
                Next::Deleted(low) => Step::Deleted(low),
            };
            match step {
                Step::Flow(Flow::On) => {}
                Step::Flow(Flow::Pause) => return Ok(Ended::Paused),
                Step::Nothing if heard.elapsed() > PATIENCE => return Err(self.reader.silence()),
                Step::Nothing => {}
                Step::Ended => {
                    self.next = self.next.max(self.reader.position().unwrap_or(self.next));
                    return Ok(Ended::AtEnd);
                }
                Step::Deleted(low) => self.start(low.max(self.next))?,
            }
        }
    }
}

/// The last value of each key of a partition of a compacted topic. `None`: it is time to stop.
pub(crate) fn latest(
    reader: &mut Reader,
    topic: &str,
    partition: i32,
    stop: &Stop,
) -> Result<Option<BTreeMap<Vec<u8>, Vec<u8>>>> {
    let mut values = BTreeMap::new();
    let ended = Feed::open(reader, topic, partition, None, stop)?.each(&mut |message| {
        match message.payload().filter(|payload| !payload.is_empty()) {
            Some(payload) => values.insert(message.key().to_vec(), payload.to_vec()),
            None => values.remove(message.key()),
        };
        Ok(Flow::On)
    })?;
    Ok((ended != Ended::Stopped).then_some(values))
}
