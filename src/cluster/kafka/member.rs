//! What this process owns: a member of a consumer group, whose partitions stay paused for ever.
//!
//! Owns the membership, and the offsets that the group has committed. A thread of its own polls, so that a long upload does not look like
//! death. Invariant: what [`Member::owned`] says can be out of date, and only saves work; a commit is refused by the brokers where it is.
//! A crash leaves the membership until the session ends, and the same instance finds it again before that.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::failure::{Failures, Heard, Told};
use super::{Connection, PATIENCE, patiently};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// How long the thread waits for an event at a time: as long as it takes to end it.
const MOMENT: Duration = Duration::from_millis(50);
/// How long a member takes at most to say that it goes.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the group has told this member.
#[derive(Debug, Default)]
struct Standing {
    partitions: BTreeSet<i32>,
    /// Assignments and revocations so far.
    changes: u64,
    /// What was last wrong; an assignment ends it.
    trouble: Option<Code>,
    /// The client has ended.
    is_fatal: bool,
}

#[derive(Debug, Default)]
struct Shared {
    standing: Mutex<Standing>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

struct Context {
    heard: Heard,
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        super::failure::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.note(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let is_cooperative = matches!(client.rebalance_protocol(), RebalanceProtocol::Cooperative);
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let assigned = if is_cooperative { client.incremental_assign(list) } else { client.assign(list) };
            // Before anything is fetched, and once more for what the client takes for a new assignment.
            let paused = client.pause(list);
            note_failure(assigned.and(paused));
            self.heard.told().clear();
            self.shared.change(|standing| {
                standing.partitions.extend(partitions);
                standing.trouble = None;
                standing.changes += 1;
            });
        } else {
            // Nobody here may believe to own it once the others may.
            self.shared.change(|standing| {
                standing.partitions.retain(|own| !partitions.contains(own));
                standing.changes += 1;
            });
            note_failure(if is_cooperative { client.incremental_unassign(list) } else { client.unassign() });
        }
    }
}

fn note_failure(result: rdkafka::error::KafkaResult<()>) {
    if let Err(cause) = result {
        tracing::debug!(target: "kafka", "rebalance: {cause}");
    }
}

/// A member of a group.
pub struct Member {
    client: Arc<BaseConsumer<Context>>,
    told: Arc<Told>,
    failures: Failures,
    shared: Arc<Shared>,
    group: String,
    topic: String,
    ends: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("group", &self.group).field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Member {
    /// Joins `group`, whose members share the partitions of `topic`. `role` tells the groups of one machine apart.
    pub fn join(connection: &Connection, group: &str, topic: &str, role: &str) -> Result<Self> {
        let session = connection.session().as_millis();
        let config = connection.config_with(&[
            ("group.id", group),
            // Of the same name and within the session, a new process goes on where the old one was, and nobody else notices.
            ("group.instance.id", &format!("{}-{role}", connection.instance())),
            ("session.timeout.ms", &session.to_string()),
            ("heartbeat.interval.ms", &(session / 5).clamp(100, 3000).to_string()),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "earliest"),
            // Nothing is fetched: let nothing be prepared for it either.
            ("queued.min.messages", "1"),
            ("queued.max.messages.kbytes", "1"),
        ]);
        let (heard, shared) = (Heard::default(), Arc::new(Shared::default()));
        let (told, context) = (heard.told(), Context { heard, shared: Arc::clone(&shared) });
        let client: BaseConsumer<Context> =
            config.create_with_context(context).map_err(|cause| connection.failures.of_configuration(&cause))?;
        let client = Arc::new(client);
        client
            .subscribe(&[topic])
            .map_err(|cause| connection.failures.of(&format!("cannot join the group {group}"), &cause, &told))?;
        let ends = Arc::new(AtomicBool::new(false));
        let poller = poll_until(Arc::clone(&ends), Arc::clone(&client), Arc::clone(&shared))?;
        let failures = connection.failures.clone();
        Ok(Self {
            client,
            told,
            failures,
            shared,
            group: group.to_owned(),
            topic: topic.to_owned(),
            ends,
            poller: Some(poller),
        })
    }

    /// The partitions that are this member's, as far as it has heard.
    #[must_use]
    pub fn owned(&self) -> BTreeSet<i32> {
        let standing = self.shared.lock();
        if standing.is_fatal { BTreeSet::new() } else { standing.partitions.clone() }
    }

    /// Whether this partition is this member's, as far as it has heard.
    #[must_use]
    pub fn still_owns(&self, partition: i32) -> bool {
        let standing = self.shared.lock();
        !standing.is_fatal && standing.partitions.contains(&partition)
    }

    /// How often what it owns has changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.shared.lock().changes
    }

    /// Waits until the group has said, for the first time, what is this member's: perhaps nothing. `false`: it is time to stop.
    ///
    /// # Errors
    /// It has not said so in this time, or refuses this member.
    pub fn wait_for_assignment(&self, within: Duration, stop: &Stop) -> Result<bool> {
        let began = Instant::now();
        let mut standing = self.shared.lock();
        loop {
            if stop.is_requested() {
                return Ok(false);
            }
            if standing.is_fatal || (standing.changes == 0 && began.elapsed() >= within) {
                let code = standing.trouble.unwrap_or(Code::OperationTimedOut);
                return Err(self.failures.of_code(&format!("cannot join the group {}", self.group), code, &self.told));
            }
            if standing.changes > 0 {
                return Ok(true);
            }
            standing = self.shared.changed.wait_timeout(standing, MOMENT).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What is wrong with the membership for good: the client has ended, and only another [`Member::join`] helps.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        let standing = self.shared.lock();
        let code = standing.trouble.filter(|_| standing.is_fatal)?;
        Some(self.failures.of_code(&format!("the group {} takes this member no more", self.group), code, &self.told))
    }

    /// Commits that everything of `partition` below `offset` is done. Durable on return.
    ///
    /// # Errors
    /// The partition is another's by now, or the brokers do not answer. Then it is not known whether it is committed.
    pub fn commit(&self, partition: i32, offset: i64) -> Result<()> {
        if !self.still_owns(partition) {
            return Err(self.is_lost(partition));
        }
        let list = self.list(partition, Offset::Offset(offset));
        let committed = list.and_then(|list| patiently(|| self.client.commit(&list, CommitMode::Sync)));
        committed.map_err(|cause| match cause.rdkafka_error_code() {
            Some(
                Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::FencedInstanceId
                | Code::RebalanceInProgress
                | Code::AssignmentLost,
            ) => self.is_lost(partition),
            _ => self.failures.of(
                &format!("cannot commit partition {partition} of the group {}", self.group),
                &cause,
                &self.told,
            ),
        })
    }

    /// What the group has committed of `partition`; `None`: nothing.
    pub fn committed(&self, partition: i32) -> Result<Option<i64>> {
        let list = self.list(partition, Offset::Invalid);
        let found = list.and_then(|list| patiently(|| self.client.committed_offsets(list.clone(), PATIENCE))).map_err(
            |cause| {
                self.failures.of(&format!("cannot read the offsets of the group {}", self.group), &cause, &self.told)
            },
        )?;
        let offset = found.find_partition(&self.topic, partition).map(|element| element.offset());
        Ok(match offset {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }

    /// Leaves the group, so that others take over at once. Dropped without it, a member keeps what it owns until its session ends.
    pub fn leave(mut self) {
        self.client.unsubscribe();
        let began = Instant::now();
        while !self.owned().is_empty() && began.elapsed() < FAREWELL {
            std::thread::sleep(MOMENT);
        }
        self.end();
    }

    fn end(&mut self) {
        self.ends.store(true, Ordering::Release);
        if let Some(poller) = self.poller.take()
            && poller.join().is_err()
        {
            tracing::debug!(target: "kafka", "the thread of the group {} had panicked", self.group);
        }
    }

    fn list(&self, partition: i32, offset: Offset) -> rdkafka::error::KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, offset)?;
        Ok(list)
    }

    fn is_lost(&self, partition: i32) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!("partition {partition} of the group {} is another member's by now", self.group),
        )
        .hint("nothing is lost: who owns it goes on from what is committed")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread that keeps the membership.
fn poll_until(
    ends: Arc<AtomicBool>,
    client: Arc<BaseConsumer<Context>>,
    shared: Arc<Shared>,
) -> Result<JoinHandle<()>> {
    let poll = move || {
        while !ends.load(Ordering::Acquire) {
            // A message is none of our business: it was fetched before its partition was paused.
            if let Some(Err(cause)) = client.poll(MOMENT) {
                tracing::debug!(target: "kafka", "{cause}");
                let is_fatal =
                    matches!(cause, KafkaError::MessageConsumptionFatal(_)) || client.client().fatal_error().is_some();
                let code = client.client().fatal_error().map_or(cause.rdkafka_error_code(), |(code, _)| Some(code));
                shared.change(|standing| {
                    standing.trouble = code;
                    standing.is_fatal |= is_fatal;
                });
            }
        }
    };
    std::thread::Builder::new().name("kafka-member".to_owned()).spawn(poll).map_err(|cause| {
        Error::new(ErrorKind::State, "cannot start a thread for the group")
            .caused_by(cause)
            .hint("look at the limits of this user (`ulimit -u`)")
    })
}
