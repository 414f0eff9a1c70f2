//! Topics, offsets and groups, looked at and changed from outside.
//!
//! Invariant: each call changes only what its arguments name. A topic that exists is never created again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Runtime;

use super::failure::{Failures, Heard, Told};
use super::{Connection, OUTDATED, PATIENCE, ends_from, hear, patiently};
use crate::error::{Error, ErrorKind, Result};

/// How long brokers that do not answer are asked whether they are there.
const REACH: Duration = Duration::from_secs(10);
/// How long one of these tries waits.
const ONE_TRY: Duration = Duration::from_secs(2);

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// On how many brokers each is.
    pub replication: u32,
    /// Its settings.
    pub settings: Vec<(&'static str, &'static str)>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicState {
    /// How many partitions.
    pub partitions: u32,
    /// On how many brokers the least replicated one is.
    pub replication: u32,
    /// How many partitions have replicas that lag behind.
    pub under_replicated: u32,
    /// How many have no leader, so that nobody can read or write them.
    pub without_leader: u32,
    /// All its settings, those of the brokers' defaults included.
    pub settings: BTreeMap<String, String>,
}

/// A client that looks after topics.
pub struct Admin {
    connection: Connection,
    client: AdminClient<Heard>,
    /// Metadata and offsets: a client that never stores does not create topics by asking for them.
    pub(super) reader: BaseConsumer<Heard>,
    told: Arc<Told>,
    failures: Failures,
    runtime: Runtime,
    of_groups: RefCell<BTreeMap<String, Rc<OfGroup>>>,
}

/// A client with the offsets of a group, which it does not join.
type OfGroup = (BaseConsumer<Heard>, Arc<Told>);

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Admin {
    /// A client of brokers that answer.
    ///
    /// # Errors
    /// `Unavailable`: none does; `Credentials`, `Config`: they do, and refuse this user or this machine's TLS.
    pub fn new(connection: &Connection) -> Result<Self> {
        let (reader, told): (BaseConsumer<Heard>, _) = connection.client(&[("isolation.level", "read_uncommitted")])?;
        let (client, _) = connection.client(&[])?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|cause| {
            Error::new(ErrorKind::State, "cannot prepare requests to Kafka")
                .caused_by(cause)
                .hint("look at the limits of this user (`ulimit -a`)")
        })?;
        let admin = Self {
            connection: connection.clone(),
            client,
            reader,
            told,
            failures: connection.failures.clone(),
            runtime,
            of_groups: RefCell::default(),
        };
        admin.reach()?;
        Ok(admin)
    }

    /// Waits until a broker answers. Ends early where one answers that it does not let us in.
    fn reach(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let Err(cause) = self.reader.fetch_metadata(Some(&format!("{}.status", self.connection.name())), ONE_TRY)
            else {
                self.told.clear();
                return Ok(());
            };
            let error = self.failure("cannot ask the brokers", &cause);
            if error.kind() != ErrorKind::Unavailable || began.elapsed() >= REACH {
                return Err(error);
            }
        }
    }

    /// How many brokers there are.
    pub fn brokers(&self) -> Result<usize> {
        Ok(self.metadata(&format!("{}.status", self.connection.name()))?.brokers().len())
    }

    /// The id that these brokers have together.
    pub fn cluster_id(&self) -> Result<String> {
        self.reader.client().fetch_cluster_id(PATIENCE).ok_or_else(|| {
            self.failures.of_code("cannot ask the brokers for their id", Code::OperationTimedOut, &self.told)
        })
    }

    /// A setting of the brokers, as the first of them has it.
    pub fn broker_setting(&self, name: &str) -> Result<Option<String>> {
        let metadata = self.metadata(&format!("{}.status", self.connection.name()))?;
        let Some(broker) = metadata.brokers().first() else { return Ok(None) };
        let settings = self.settings(ResourceSpecifier::Broker(broker.id()), "cannot read the brokers' settings")?;
        Ok(settings.into_iter().find(|(key, _, _)| key == name).map(|(_, value, _)| value))
    }

    /// These topics; `None` for one that is not there.
    pub fn topics(&self, names: &[String]) -> Result<Vec<Option<TopicState>>> {
        names.iter().map(|name| self.topic(name)).collect()
    }

    fn topic(&self, name: &str) -> Result<Option<TopicState>> {
        let metadata = self.metadata(name)?;
        let what = format!("cannot look at the topic {name}");
        let Some(topic) = metadata.topics().first() else { return Ok(None) };
        match topic.error() {
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => return Ok(None),
            // Its leaders are not chosen yet.
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) | None => {}
            Some(code) => return Err(self.failures.of_code(&what, code.into(), &self.told)),
        }
        let partitions = topic.partitions();
        let count =
            |is: fn(&&rdkafka::metadata::MetadataPartition) -> bool| number(partitions.iter().filter(is).count());
        let settings = self.settings(ResourceSpecifier::Topic(name), &what)?;
        Ok(Some(TopicState {
            partitions: number(partitions.len()),
            replication: number(partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0)),
            under_replicated: count(|partition| partition.isr().len() < partition.replicas().len()),
            without_leader: count(|partition| partition.leader() < 0),
            settings: settings.into_iter().map(|(key, value, _)| (key, value)).collect(),
        }))
    }

    /// Makes a topic, and waits until it can be used. `false`: it is there already.
    pub fn create(&self, topic: &TopicSpec) -> Result<bool> {
        let what = format!("cannot make the topic {}", topic.name);
        let [partitions, replication] =
            [topic.partitions, topic.replication].map(|number| i32::try_from(number).unwrap_or(i32::MAX));
        let mut new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(replication));
        for (key, value) in &topic.settings {
            new = new.set(key, value);
        }
        let answer = self.runtime.block_on(self.client.create_topics([&new], &options()));
        match answer.map_err(|cause| self.failure(&what, &cause))?.into_iter().next() {
            Some(Err((_, Code::TopicAlreadyExists))) => return Ok(false),
            Some(Err((_, code))) => return Err(self.failures.of_code(&what, code, &self.told)),
            Some(Ok(_)) | None => {}
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self
                .topic(&topic.name)?
                .is_some_and(|state| state.partitions == topic.partitions && state.without_leader == 0)
            {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(self.failures.of_code(&what, Code::OperationTimedOut, &self.told))
    }

    /// Gives a topic these settings; those that it has beside them stay.
    pub fn set(&self, topic: &str, settings: &[(&str, &str)]) -> Result<()> {
        let what = format!("cannot change the topic {topic}");
        // The request replaces all settings of its own that a topic has.
        let own: BTreeMap<String, String> = self
            .settings(ResourceSpecifier::Topic(topic), &what)?
            .into_iter()
            .filter(|(_, _, is_own)| *is_own)
            .map(|(key, value, _)| (key, value))
            .chain(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
            .collect();
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (key, value) in &own {
            change = change.set(key, value);
        }
        let answer = self.runtime.block_on(self.client.alter_configs([&change], &options()));
        match answer.map_err(|cause| self.failure(&what, &cause))?.into_iter().next() {
            Some(Err((_, code))) => Err(self.failures.of_code(&what, code, &self.told)),
            _ => Ok(()),
        }
    }

    /// The settings of something: key, value, and whether it is one of its own.
    fn settings(&self, of: ResourceSpecifier<'_>, what: &str) -> Result<Vec<(String, String, bool)>> {
        let answer = self.runtime.block_on(self.client.describe_configs([&of], &options()));
        match answer.map_err(|cause| self.failure(what, &cause))?.into_iter().next() {
            Some(Ok(found)) => {
                let entries = found.entries.into_iter().filter(|entry| !entry.is_sensitive);
                let text = |entry: rdkafka::admin::ConfigEntry| {
                    Some((entry.name, entry.value?, entry.source == ConfigSource::DynamicTopic))
                };
                Ok(entries.filter_map(text).collect())
            }
            Some(Err(code)) => Err(self.failures.of_code(what, code, &self.told)),
            None => Ok(Vec::new()),
        }
    }

    /// Of each partition of a topic, the first offset that is there, and the one after the last: as a broker knows them that may have been cut
    /// off from the others for a while. What is acknowledged by now can lie behind.
    pub fn ends(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>> {
        self.ends_from(topic, &BTreeMap::new())
    }

    /// The same, for who knows how far partitions went before. Waits a while before it says that one ends below.
    pub fn ends_from(&self, topic: &str, known: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, (i64, i64)>> {
        let (what, deadline) = (format!("cannot read the offsets of the topic {topic}"), Instant::now() + OUTDATED);
        self.partitions(topic)?
            .into_iter()
            .map(|partition| {
                let known = known.get(&partition).copied().unwrap_or(0);
                let ends = ends_from(known, deadline, || self.reader.fetch_watermarks(topic, partition, PATIENCE));
                Ok((partition, ends.map_err(|cause| self.failure(&what, &cause))?))
            })
            .collect()
    }

    /// What a group has committed of a topic; a partition of which it has committed nothing is not among it.
    pub fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>> {
        let of_group = self.of_group(group)?;
        let (client, told) = &*of_group;
        let mut list = TopicPartitionList::new();
        for partition in self.partitions(topic)? {
            list.add_partition(topic, partition);
        }
        let found = patiently(|| client.committed_offsets(list.clone(), PATIENCE)).map_err(|cause| {
            hear(client);
            self.failures.of(&format!("cannot read the offsets of the group {group}"), &cause, told)
        })?;
        Ok(offsets_of(&found))
    }

    /// Commits offsets for a group that has no members.
    ///
    /// # Errors
    /// It has some: their offsets are theirs.
    pub fn commit_outside(&self, group: &str, topic: &str, offsets: &BTreeMap<i32, i64>) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let what = format!("cannot commit offsets of the group {group}");
        let of_group = self.of_group(group)?;
        let (client, told) = &*of_group;
        let list = list_of(topic, offsets).map_err(|cause| self.failure(&what, &cause))?;
        patiently(|| client.commit(&list, CommitMode::Sync)).map_err(|cause| match cause.rdkafka_error_code() {
            Some(Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress) => {
                Error::new(ErrorKind::Busy, format!("{what}: it has members"))
                    .hint("stop the machines of this cluster first")
            }
            _ => self.failures.of(&what, &cause, told),
        })
    }

    /// Deletes what lies below these offsets.
    pub fn delete_records(&self, topic: &str, below: &BTreeMap<i32, i64>) -> Result<()> {
        if below.is_empty() {
            return Ok(());
        }
        let what = format!("cannot delete from the topic {topic}");
        let list = list_of(topic, below).map_err(|cause| self.failure(&what, &cause))?;
        let answer = self.runtime.block_on(self.client.delete_records(&list, &options()));
        let answer = answer.map_err(|cause| self.failure(&what, &cause))?;
        for element in answer.elements() {
            element.error().map_err(|cause| self.failure(&what, &cause))?;
        }
        Ok(())
    }

    /// The partitions of a topic that is there.
    fn partitions(&self, topic: &str) -> Result<Vec<i32>> {
        let metadata = self.metadata(topic)?;
        let what = format!("cannot look at the topic {topic}");
        match metadata.topics().first().map(|topic| (topic.error(), topic)) {
            Some((None, topic)) => {
                Ok(topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
            }
            Some((Some(code), _)) => Err(self.failures.of_code(&what, code.into(), &self.told)),
            None => Err(self.failures.of_code(&what, Code::UnknownTopicOrPartition, &self.told)),
        }
    }

    fn metadata(&self, topic: &str) -> Result<Metadata> {
        let found = self.reader.fetch_metadata(Some(topic), PATIENCE);
        found.map_err(|cause| self.failure(&format!("cannot look at the topic {topic}"), &cause))
    }

    /// A client with the offsets of a group, which it does not join.
    /// They are kept: to end one takes a tenth of a second.
    fn of_group(&self, group: &str) -> Result<Rc<OfGroup>> {
        if let Some(known) = self.of_groups.borrow().get(group) {
            return Ok(Rc::clone(known));
        }
        let made = Rc::new(self.connection.client(&[
            ("group.id", group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
        ])?);
        self.of_groups.borrow_mut().insert(group.to_owned(), Rc::clone(&made));
        Ok(made)
    }

    pub(super) fn failure(&self, what: &str, cause: &KafkaError) -> Error {
        hear(&self.reader);
        self.failures.of(what, cause, &self.told)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn list_of(topic: &str, offsets: &BTreeMap<i32, i64>) -> rdkafka::error::KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

fn offsets_of(list: &TopicPartitionList) -> BTreeMap<i32, i64> {
    let offset = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    };
    list.elements().into_iter().filter_map(offset).collect()
}
