//! Stores messages.
//!
//! Invariant: [`Producer::settle`] succeeds only when the brokers have acknowledged each message that was sent since it last did. A time
//! that is over, or a failed message, says nothing about whether it is stored: whoever sends it again may store it twice. A crash leaves
//! any of the unsettled messages stored.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};

use super::Connection;
use super::failure::{Failures, Heard, Told};
use crate::error::{Error, ErrorKind, Result};

/// How long a wait for reports is at a time. Slept, and not handed to `poll`: that asks again and again until a time under 2 ms is over,
/// and takes a whole core for it.
const MOMENT: Duration = Duration::from_millis(1);
/// How long a full queue may stay full.
const FULL_QUEUE: Duration = super::PATIENCE;

/// What became of the messages of one batch. A report of a message of an earlier one counts for nothing.
#[derive(Debug, Default)]
struct Reports {
    batch: AtomicUsize,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    first_failure: Mutex<Option<KafkaError>>,
    /// The offset of the message in each partition, where somebody wants to know.
    offsets: Mutex<Option<BTreeMap<i32, i64>>>,
}

impl Reports {
    /// The offsets of the messages of this batch are wanted, or not any more. Returns those that were noted.
    fn want_offsets(&self, wanted: bool) -> BTreeMap<i32, i64> {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *offsets, wanted.then(BTreeMap::new)).unwrap_or_default()
    }
}

struct Context {
    heard: Heard,
    reports: Arc<Reports>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        super::failure::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.note(&error, reason);
    }
}

impl ProducerContext for Context {
    /// The batch.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: usize) {
        if batch != self.reports.batch.load(Ordering::Acquire) {
            return;
        }
        match result {
            Ok(message) => {
                if let Some(offsets) = &mut *self.reports.offsets.lock().unwrap_or_else(PoisonError::into_inner) {
                    offsets.insert(message.partition(), message.offset());
                }
                self.reports.acknowledged.fetch_add(1, Ordering::Release)
            }
            Err((cause, _)) => {
                self.reports
                    .first_failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert_with(|| cause.clone());
                self.reports.failed.fetch_add(1, Ordering::Release)
            }
        };
    }
}

/// A client that stores, for one thread. One is enough for all topics.
pub struct Producer {
    client: BaseProducer<Context>,
    told: Arc<Told>,
    reports: Arc<Reports>,
    failures: Failures,
    sent: Cell<u64>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("sent", &self.sent).field("reports", &self.reports).finish_non_exhaustive()
    }
}

impl Producer {
    /// A client that stores, and compresses what it sends.
    pub fn new(connection: &Connection) -> Result<Self> {
        Self::with_codec(connection, "lz4")
    }

    /// The same for what is encrypted, which gets no smaller.
    pub fn of_encrypted(connection: &Connection) -> Result<Self> {
        Self::with_codec(connection, "none")
    }

    fn with_codec(connection: &Connection, codec: &str) -> Result<Self> {
        let config = connection.config_with(&[
            ("acks", "all"),
            // Exactly once comes from content hashes; idempotence costs a client's CPU several times over.
            ("enable.idempotence", "false"),
            ("linger.ms", "5"),
            ("compression.codec", codec),
            ("message.max.bytes", "1000000"),
            ("queue.buffering.max.kbytes", "32768"),
            ("message.timeout.ms", "60000"),
            // A topic that is not there is said, and not hoped for.
            ("topic.metadata.propagation.max.ms", "3000"),
        ]);
        let (heard, reports) = (Heard::default(), Arc::new(Reports::default()));
        let (told, context) = (heard.told(), Context { heard, reports: Arc::clone(&reports) });
        let client =
            config.create_with_context(context).map_err(|cause| connection.failures.of_configuration(&cause))?;
        Ok(Self { client, told, reports, failures: connection.failures.clone(), sent: Cell::new(0) })
    }

    /// Hands a message over. `partition`: `None` = by the key. Where the queue is full, waits until there is room.
    ///
    /// # Errors
    /// `Unavailable`: the brokers have taken nothing for a long time; `Config`: the message is too large, or the topic is not there.
    pub fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: &[u8],
        headers: &[(&str, &[u8])],
        payload: &[u8],
    ) -> Result<()> {
        self.send_or_erase(topic, partition, key, headers, Some(payload))
    }

    /// Notes in a compacted topic that nothing stands under this key any more.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn erase(&self, topic: &str, key: &[u8]) -> Result<()> {
        self.send_or_erase(topic, None, key, &[], None)
    }

    /// The same for a compacted topic, where no payload means that what has this key is gone.
    pub fn send_or_erase(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: &[u8],
        headers: &[(&str, &[u8])],
        payload: Option<&[u8]>,
    ) -> Result<()> {
        let mut own = OwnedHeaders::new_with_capacity(headers.len());
        for (name, value) in headers {
            own = own.insert(Header { key: name, value: Some(*value) });
        }
        let batch = self.reports.batch.load(Ordering::Acquire);
        let mut record: BaseRecord<'_, [u8], [u8], _> =
            BaseRecord { partition, payload, ..BaseRecord::with_opaque_to(topic, batch).key(key).headers(own) };
        let began = Instant::now();
        loop {
            record = match self.client.send(record) {
                Ok(()) => {
                    self.sent.set(self.sent.get() + 1);
                    return Ok(());
                }
                Err((cause, record)) if is_full(&cause) && began.elapsed() < FULL_QUEUE => record,
                Err((cause, _)) => {
                    let cause =
                        if is_full(&cause) { KafkaError::MessageProduction(Code::MessageTimedOut) } else { cause };
                    return Err(self.failures.of(&format!("cannot write to the topic {topic}"), &cause, &self.told));
                }
            };
            self.hear();
        }
    }

    /// Waits until each message that was sent since the last call is acknowledged.
    ///
    /// # Errors
    /// One was not, or time is over: whether what was sent is stored is not known. What was sent must be sent again; the queue is empty.
    pub fn settle(&self, within: Duration) -> Result<()> {
        let began = Instant::now();
        while self.pending() > 0 && began.elapsed() < within {
            self.hear();
        }
        let pending = self.pending();
        if pending > 0 {
            self.drop_the_queue();
        }
        let (failed, cause) = self.begin_batch();
        if pending == 0 && failed == 0 {
            self.told.clear();
            return Ok(());
        }
        Err(self.not_known(failed.max(pending), cause))
    }

    /// Stores a message in each of these partitions, and returns its offset there. All that was acknowledged before lies below: offsets are
    /// given by who leads, and a broker that was cut off gets no acknowledgement.
    ///
    /// # Errors
    /// As [`Producer::send`] and [`Producer::settle`]; what was sent before and is not settled counts, too.
    pub fn offsets_of(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
        key: &[u8],
        headers: &[(&str, &[u8])],
        payload: Option<&[u8]>,
    ) -> Result<BTreeMap<i32, i64>> {
        self.settle(super::PATIENCE)?;
        self.reports.want_offsets(true);
        let sent = partitions
            .into_iter()
            .try_for_each(|partition| self.send_or_erase(topic, Some(partition), key, headers, payload));
        let settled = sent.and_then(|()| self.settle(super::PATIENCE));
        let offsets = self.reports.want_offsets(false);
        settled.map(|()| offsets)
    }

    /// Waits a moment, and takes the reports that are there.
    fn hear(&self) {
        std::thread::sleep(MOMENT);
        let mut before = u64::MAX;
        while self.pending() < before {
            before = self.pending();
            self.client.poll(Duration::ZERO);
        }
    }

    /// What failed of the batch, which ends.
    fn begin_batch(&self) -> (u64, Option<KafkaError>) {
        self.reports.batch.fetch_add(1, Ordering::AcqRel);
        self.sent.set(0);
        self.reports.acknowledged.store(0, Ordering::Release);
        let cause = self.reports.first_failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        (self.reports.failed.swap(0, Ordering::AcqRel), cause)
    }

    /// Takes back what is not acknowledged: it would still be sent, long after somebody has sent it again.
    fn drop_the_queue(&self) {
        self.client.purge(PurgeConfig::default().queue().inflight());
        let began = Instant::now();
        while self.pending() > 0 && began.elapsed() < Duration::from_secs(2) {
            self.hear();
        }
    }

    fn not_known(&self, messages: u64, cause: Option<KafkaError>) -> Error {
        let what = format!("{messages} messages are not known to be stored");
        match cause.as_ref().and_then(KafkaError::rdkafka_error_code) {
            None | Some(Code::PurgeQueue | Code::PurgeInflight) => {
                self.failures.of_code(&what, Code::MessageTimedOut, &self.told)
            }
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                Error::new(ErrorKind::Config, format!("{what}: a topic or partition is not there"))
                    .hint("make what is missing with `etl cluster init`, or correct cluster.name and cluster.lanes")
            }
            Some(code) => self.failures.of_code(&what, code, &self.told),
        }
    }

    /// The messages without a report.
    fn pending(&self) -> u64 {
        let reported = self.reports.acknowledged.load(Ordering::Acquire) + self.reports.failed.load(Ordering::Acquire);
        self.sent.get().saturating_sub(reported)
    }
}

fn is_full(cause: &KafkaError) -> bool {
    cause.rdkafka_error_code() == Some(Code::QueueFull)
}
