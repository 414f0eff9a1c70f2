//! Reads a partition from an offset to the end that it had at the start. No group has a say in it.
//!
//! Invariant: the messages come in the order of their offsets, each once, and none is left out: what is deleted below the offset is said,
//! and never skipped in silence.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::failure::{Failures, Heard, Told};
use super::{Connection, OUTDATED, PATIENCE, ends_from, hear};
use crate::error::Result;

/// Where a reader stands once it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the offset that was asked for; the end is the offset after the last message.
    At {
        /// The offset after the last message.
        end: i64,
    },
    /// Nowhere: what was asked for is deleted. The first message that is still there has the offset `low`.
    Deleted {
        /// The first offset that is still there.
        low: i64,
        /// The offset after the last message.
        end: i64,
    },
    /// Nowhere: the partition ends before what was asked for. It is not the partition that it was.
    Beyond {
        /// The offset after the last message.
        end: i64,
    },
}

/// What comes next.
#[derive(Debug)]
pub enum Next<'a> {
    /// A message.
    Message(Message<'a>),
    /// Nothing yet.
    Nothing,
    /// No more: the end at the start is reached.
    Ended,
    /// The next message is deleted. The first one that is still there has this offset: start there, knowing what is left out.
    Deleted(i64),
}

/// A message, in the client's memory.
#[derive(Debug)]
pub struct Message<'a>(BorrowedMessage<'a>);

impl Message<'_> {
    /// Its offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.0.offset()
    }

    /// When it was made, in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.0.timestamp().to_millis().unwrap_or_default()
    }

    /// Its key; empty where it has none.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.key().unwrap_or_default()
    }

    /// The header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.headers()?.iter().find(|header| header.key == name).and_then(|header| header.value)
    }

    /// Its payload; `None` where a compacted topic notes that the key is gone.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        self.0.payload()
    }
}

/// A client that reads one partition at a time.
pub struct Reader {
    client: BaseConsumer<Heard>,
    told: Arc<Told>,
    failures: Failures,
    at: Option<Place>,
}

/// What is being read.
#[derive(Debug)]
struct Place {
    topic: String,
    partition: i32,
    /// The next offset that is wanted.
    next: i64,
    end: i64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Reader {
    /// A client that reads.
    pub fn new(connection: &Connection) -> Result<Self> {
        let (client, told) = connection.client(&[
            // Nobody joins it, and nothing is committed to it: the client wants one to be assigned anything.
            ("group.id", &format!("{}-read", connection.name())),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_uncommitted"),
            ("enable.partition.eof", "true"),
            ("check.crcs", "true"),
            // Bounded memory; and without a wait of a second whenever that much is read ahead.
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.message.max.bytes", "4194304"),
            ("fetch.wait.max.ms", "100"),
        ])?;
        Ok(Self { client, told, failures: connection.failures.clone(), at: None })
    }

    /// Goes to `offset` of a partition, whatever was being read before. Waits a while before it says that the partition ends before that.
    pub fn start(&mut self, topic: &str, partition: i32, offset: i64) -> Result<Start> {
        self.at = None;
        self.client.unassign().map_err(|cause| self.failure("cannot end reading a partition", &cause))?;
        let what = || format!("cannot read partition {partition} of the topic {topic}");
        let ends =
            ends_from(offset, Instant::now() + OUTDATED, || self.client.fetch_watermarks(topic, partition, PATIENCE));
        let (low, end) = ends.map_err(|cause| {
            // Nothing is assigned, so that this takes no message away.
            hear(&self.client);
            self.failure(&what(), &cause)
        })?;
        if offset > end {
            return Ok(Start::Beyond { end });
        }
        if offset < low {
            return Ok(Start::Deleted { low, end });
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .and_then(|()| self.client.assign(&list))
            .map_err(|cause| self.failure(&what(), &cause))?;
        self.at = Some(Place { topic: topic.to_owned(), partition, next: offset, end });
        Ok(Start::At { end })
    }

    /// The next message, or what there is instead. Waits at most this long for one.
    pub fn next(&mut self, wait: Duration) -> Result<Next<'_>> {
        let Some(place) = &mut self.at else { return Ok(Next::Ended) };
        if place.next >= place.end {
            return Ok(Next::Ended);
        }
        match self.client.poll(wait) {
            None => Ok(Next::Nothing),
            Some(Ok(message)) => {
                let is_of_now = message.partition() == place.partition && message.topic() == place.topic;
                if !is_of_now || message.offset() < place.next {
                    return Ok(Next::Nothing);
                }
                if message.offset() >= place.end {
                    place.next = place.end;
                    return Ok(Next::Ended);
                }
                place.next = message.offset() + 1;
                Ok(Next::Message(Message(message)))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) if partition == place.partition => {
                place.next = place.end;
                Ok(Next::Ended)
            }
            Some(Err(cause)) => self.of_error(&cause),
        }
    }

    /// Errors of connections pass by themselves: whoever waits too long ends it. All others are answers.
    fn of_error(&self, cause: &KafkaError) -> Result<Next<'static>> {
        let Some(place) = &self.at else { return Ok(Next::Ended) };
        let what = format!("cannot read partition {} of the topic {}", place.partition, place.topic);
        match cause.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                let marks = self.client.fetch_watermarks(&place.topic, place.partition, PATIENCE);
                let (low, _) = marks.map_err(|cause| self.failure(&what, &cause))?;
                // It can be about what was read before, and comes late.
                Ok(if low > place.next { Next::Deleted(low) } else { Next::Nothing })
            }
            Some(
                Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut | Code::NotLeaderForPartition,
            ) => Ok(Next::Nothing),
            _ => Err(self.failure(&what, cause)),
        }
    }

    /// The error for whoever has waited in vain for as long as he wants to.
    #[must_use]
    pub fn silence(&self) -> crate::error::Error {
        let what = self.at.as_ref().map_or_else(String::new, |at| {
            format!("partition {} of the topic {} does not come", at.partition, at.topic)
        });
        self.failures.of_code(&what, Code::OperationTimedOut, &self.told)
    }

    /// The next offset that is wanted.
    #[must_use]
    pub fn position(&self) -> Option<i64> {
        self.at.as_ref().map(|place| place.next)
    }

    fn failure(&self, what: &str, cause: &KafkaError) -> crate::error::Error {
        self.failures.of(what, cause, &self.told)
    }
}
