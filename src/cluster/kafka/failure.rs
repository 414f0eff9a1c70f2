//! What a failure of the client means, and what the operator does about it.
//!
//! librdkafka says what went wrong in two places: as a code of the call, which is often only that time was over, and aside, as a text
//! about a connection. Both are looked at here. Invariant: no message holds a value of the configuration.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::config::Security;
use crate::error::{Error, ErrorKind};

/// What was last said about connections.
#[derive(Debug, Default)]
pub(super) struct Told {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    /// The brokers refused who we are.
    refused: Option<String>,
    /// TLS failed.
    tls: Option<String>,
    /// Nobody answers.
    all_down: bool,
    /// The last of anything else.
    other: Option<String>,
}

impl Told {
    fn note(&self, code: Option<Code>, reason: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match code {
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => last.refused = Some(reason.to_owned()),
            Some(Code::SSL) => last.tls = Some(reason.to_owned()),
            Some(Code::AllBrokersDown) => last.all_down = true,
            _ => last.other = Some(reason.to_owned()),
        }
    }

    /// Somebody has answered: what was said before explains nothing any more.
    pub(super) fn clear(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last::default();
    }
}

/// The ears of a client: what librdkafka logs and what it says of connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    told: Arc<Told>,
}

impl Heard {
    /// What is heard.
    pub(super) fn told(&self) -> Arc<Told> {
        Arc::clone(&self.told)
    }

    /// Notes a failure of a connection.
    pub(super) fn note(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", "{reason}");
        self.told.note(error.rdkafka_error_code(), reason);
    }
}

/// Where everything goes that librdkafka logs.
pub(super) fn log(facility: &str, message: &str) {
    tracing::debug!(target: "kafka", "{facility}: {message}");
}

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Heard {}

/// Makes errors of what the client says.
#[derive(Debug, Clone)]
pub(super) struct Failures {
    security: Security,
}

const AGAIN: &str = "nothing is lost: etl goes on where it was once they answer; look whether they run, and whether this machine reaches them";

impl Failures {
    pub(super) const fn new(security: Security) -> Self {
        Self { security }
    }

    /// A client could not be made. Its values may be secrets: only the key is named.
    pub(super) fn of_configuration(&self, cause: &KafkaError) -> Error {
        let what = match cause {
            KafkaError::ClientConfig(_, _, key, _) if key.starts_with("ssl.") || key.starts_with("sasl.") => {
                format!("cluster: the client of Kafka does not accept what {key} is set to")
            }
            KafkaError::ClientConfig(_, _, key, _) => {
                format!("cluster.properties: the client of Kafka does not accept {key:?}")
            }
            KafkaError::ClientCreation(why) => {
                format!("cluster: the client of Kafka cannot be made: {}", first_line(why))
            }
            _ => "cluster: the client of Kafka cannot be made".to_owned(),
        };
        Error::new(ErrorKind::Config, what)
            .hint("correct [cluster]; the keys of librdkafka are in its CONFIGURATION.md")
    }

    /// `what` failed, as in "cannot read the topic logs.pages".
    pub(super) fn of(&self, what: &str, cause: &KafkaError, told: &Told) -> Error {
        match cause.rdkafka_error_code() {
            Some(code) => self.of_code(what, code, told),
            None => Error::new(ErrorKind::Unavailable, format!("{what}: {cause}")).hint(AGAIN),
        }
    }

    /// The same of a code.
    pub(super) fn of_code(&self, what: &str, code: Code, told: &Told) -> Error {
        if let Some(error) = self.of_connection(what, code, told) {
            return error;
        }
        let (kind, hint) = meaning(code);
        Error::new(kind, format!("{what}: {code}")).hint(hint)
    }

    /// What a call that waited in vain has to do with connections. What was said of a connection before counts only where nothing answered.
    fn of_connection(&self, what: &str, code: Code, told: &Told) -> Option<Error> {
        let last = told.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Code::Authentication | Code::SaslAuthenticationFailed = code {
            return Some(refused(last.refused.as_deref()));
        }
        if !is_silence(code) {
            return None;
        }
        if last.refused.is_some() {
            return Some(refused(last.refused.as_deref()));
        }
        if let Some(why) = &last.tls {
            return Some(self.of_tls(why));
        }
        let seen = last.other.as_deref().map_or_else(String::new, |why| format!(" ({})", first_line(why)));
        let why =
            if last.all_down { "no broker of cluster.brokers answers" } else { "the brokers did not answer in time" };
        Some(Error::new(ErrorKind::Unavailable, format!("{what}: {why}{seen}")).hint(AGAIN))
    }

    fn of_tls(&self, why: &str) -> Error {
        let hint = match self.security {
            _ if why.contains("certificate verify failed") => {
                "name the authority that signed the brokers' certificates in cluster.ca_file"
            }
            _ => "look whether that listener speaks TLS, and at cluster.ca_file, cert_file and key_file",
        };
        Error::new(ErrorKind::Config, format!("TLS to cluster.brokers fails ({})", first_line(why))).hint(hint)
    }
}

fn refused(why: Option<&str>) -> Error {
    let why = why.map_or_else(String::new, |why| format!(" ({})", first_line(why)));
    Error::new(ErrorKind::Credentials, format!("the brokers refuse this user or its password{why}"))
        .hint("check what cluster.user_env and cluster.password_env lead to; `kafka-configs.sh --alter --entity-type users` sets a password")
}

/// Whether a call got no answer.
const fn is_silence(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::SSL
            | Code::WaitingForCoordinator
    )
}

/// What to do about an answer.
const fn meaning(code: Code) -> (ErrorKind, &'static str) {
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            (ErrorKind::Config, "make what is missing with `etl cluster init`, or correct cluster.name")
        }
        Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed => (
            ErrorKind::Credentials,
            "give this user the rights that the manual lists (`etl help cluster`) with `kafka-acls.sh`",
        ),
        // A process of this machine that is dead by now may still be let in after its successor, when a broker takes over.
        Code::FencedInstanceId => (
            ErrorKind::Unavailable,
            "run again; where it comes back, another machine of this cluster has the same name: set cluster.instance, another on each",
        ),
        Code::InvalidSessionTimeout => (
            ErrorKind::Config,
            "set cluster.session to what the brokers allow (group.min.session.timeout.ms, group.max.session.timeout.ms)",
        ),
        Code::PolicyViolation | Code::InvalidConfig | Code::InvalidReplicationFactor | Code::InvalidPartitions => {
            (ErrorKind::Config, "look at the brokers' own settings and policies")
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => (
            ErrorKind::Config,
            "raise max.message.bytes of the topic to 1048588 at least: `etl cluster check` says how",
        ),
        _ => (ErrorKind::Unavailable, AGAIN),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: Code, reason: &str) -> Told {
        let told = Told::default();
        told.note(Some(code), reason);
        told
    }

    #[test]
    fn silence_is_what_was_said_of_connections() {
        let failures = Failures::new(Security::Scram);
        let of = |told: &Told| failures.of_code("cannot read", Code::OperationTimedOut, told).kind();
        assert_eq!(of(&Told::default()), ErrorKind::Unavailable);
        assert_eq!(of(&told(Code::Authentication, "SASL …")), ErrorKind::Credentials);
        assert_eq!(of(&told(Code::SSL, "certificate verify failed")), ErrorKind::Config);
        let answered = failures.of_code("cannot read", Code::UnknownTopicOrPartition, &told(Code::Resolve, "x"));
        assert!(answered.chain().starts_with("cannot read: ") && answered.kind() == ErrorKind::Config);
    }

    #[test]
    fn value_of_a_property_is_never_shown() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("socket.timeout.ms", "s3cret");
        let cause = config.create_native_config().err().unwrap();
        let error = Failures::new(Security::Tls).of_configuration(&cause);
        assert!(
            !format!("{} {error:?}", error.chain()).contains("s3cret") && error.chain().contains("socket.timeout.ms")
        );
    }
}
