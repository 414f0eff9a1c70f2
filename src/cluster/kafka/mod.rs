//! The client of Kafka: the only place that names rdkafka.
//!
//! Owns how brokers are reached and what every client is told. [`Producer`] stores, [`Reader`] reads from an offset, [`Member`] knows what
//! this process owns, [`Admin`] looks after topics and offsets.
//!
//! Invariants: acknowledged means on all in-sync replicas (`acks = all`); nothing is committed but by a call; every call ends, at the
//! latest after its time; no error holds a secret. Nothing here touches the disk.

mod admin;
mod failure;
mod group;
mod member;
mod producer;
mod reader;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};

pub use admin::{Admin, TopicSpec, TopicState};
pub use group::GroupMember;
pub use member::Member;
pub use producer::Producer;
pub use reader::{Message, Next, Reader, Start};

use crate::config::{ClusterConfig, Security};
use crate::error::Result;
use failure::{Failures, Heard};

/// How long a request to the brokers may take, a broker that is just being replaced included.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How brokers are reached: cheap to make and to clone, connects to nobody by itself.
#[derive(Clone)]
pub struct Connection {
    config: ClientConfig,
    name: String,
    instance: String,
    session: Duration,
    failures: Failures,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Connection {
    /// The connection that the configuration describes.
    ///
    /// # Errors
    /// `Config`: a secret is not set or cannot be read, or a property is none.
    pub fn new(cluster: &ClusterConfig) -> Result<Self> {
        let mut config = ClientConfig::new();
        // A broker that hangs, and does not say so, is left for the next leader after this long, and not after a minute.
        config.set("socket.timeout.ms", "10000").set("socket.connection.setup.timeout.ms", "10000");
        for (key, value) in &cluster.properties {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &cluster.brokers)
            .set("client.id", format!("etl-{}-{}", cluster.name, cluster.instance()))
            // A broker that comes back is found within a second, also after a long time without it.
            .set("reconnect.backoff.max.ms", "1000")
            .set("allow.auto.create.topics", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        secure(&mut config, cluster)?;
        let connection = Self {
            config,
            name: cluster.name.clone(),
            instance: cluster.instance(),
            session: cluster.session,
            failures: Failures::new(cluster.security()),
        };
        connection.config.create_native_config().map_err(|cause| connection.failures.of_configuration(&cause))?;
        Ok(connection)
    }

    /// What this machine is called in groups.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// What topics and groups begin with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long brokers wait for a member that is silent.
    #[must_use]
    pub const fn session(&self) -> Duration {
        self.session
    }

    /// A client with these further settings, and what it hears of failures.
    fn client<T: FromClientConfigAndContext<Heard>>(
        &self,
        settings: &[(&str, &str)],
    ) -> Result<(T, Arc<failure::Told>)> {
        let heard = Heard::default();
        let told = heard.told();
        let client = self.config_with(settings).create_with_context(heard);
        Ok((client.map_err(|cause| self.failures.of_configuration(&cause))?, told))
    }

    fn config_with(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.config.clone();
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config
    }
}

/// Asks again while a group is between two coordinators or a partition between two leaders, as they are for seconds after a broker has died or
/// come back.
fn patiently<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let began = Instant::now();
    loop {
        let answer = ask();
        let code = answer.as_ref().err().and_then(KafkaError::rdkafka_error_code);
        let moves = matches!(
            code,
            Some(
                Code::NotCoordinator
                    | Code::CoordinatorNotAvailable
                    | Code::CoordinatorLoadInProgress
                    | Code::WaitingForCoordinator
                    | Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable
                    | Code::DestroyBroker
            )
        );
        if !moves || began.elapsed() >= PATIENCE {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// How long a broker that was cut off from the others may go on to answer for partitions that another one leads by now.
const OUTDATED: Duration = Duration::from_secs(10);

/// The first offset of a partition, and the one after the last. `known` is the end that it had before: an answer that is below comes from a
/// broker that has not heard yet who leads now, and is only believed if it stays so until `deadline`.
fn ends_from(
    known: i64,
    deadline: Instant,
    mut ask: impl FnMut() -> KafkaResult<(i64, i64)>,
) -> KafkaResult<(i64, i64)> {
    loop {
        let (low, end) = patiently(&mut ask)?;
        if end >= known || Instant::now() >= deadline {
            return Ok((low, end));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Notes every failure of a connection that the client has reported so far. It reports only while it is polled, and a poll with a time of
/// zero returns after one line of its log: the failure comes behind several. Takes messages away where a partition is assigned.
fn hear(client: &BaseConsumer<Heard>) {
    while client.poll(Duration::from_millis(20)).is_some() {}
}

/// TLS and the login.
fn secure(config: &mut ClientConfig, cluster: &ClusterConfig) -> Result<()> {
    let protocol = match cluster.security() {
        Security::Plaintext => return Ok(()),
        Security::Tls => "ssl",
        Security::Scram => "sasl_ssl",
    };
    config.set("security.protocol", protocol).set("ssl.endpoint.identification.algorithm", "https");
    if let Some(ca) = cluster.ca_file() {
        config.set("ssl.ca.location", ca.to_string_lossy());
    }
    if let Some((certificate, key)) = cluster.identity()? {
        config.set("ssl.certificate.pem", certificate).set("ssl.key.pem", key.expose());
    }
    if let Some((user, password)) = cluster.login()? {
        if config.get("sasl.mechanisms").or_else(|| config.get("sasl.mechanism")).is_none() {
            config.set("sasl.mechanisms", "SCRAM-SHA-512");
        }
        config.set("sasl.username", user.expose()).set("sasl.password", password.expose());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_below_what_was_there_is_asked_for_again() {
        let soon = || Instant::now() + 2 * PATIENCE;
        let mut answers =
            [Ok((0, 300)), Err(KafkaError::MetadataFetch(Code::NotLeaderForPartition)), Ok((2, 400))].into_iter();
        assert_eq!(ends_from(400, soon(), || answers.next().unwrap()), Ok((2, 400)));
        assert_eq!(answers.next(), None);
        assert_eq!(ends_from(400, Instant::now(), || Ok((0, 300))), Ok((0, 300)), "it stays so");
        let refused = KafkaError::MetadataFetch(Code::TopicAuthorizationFailed);
        assert_eq!(ends_from(400, soon(), || Err(refused.clone())), Err(refused.clone()));
    }
}
