//! `cluster.properties`: keys of librdkafka beyond those that have a key of their own, or decide whether anything is lost.
//!
//! Invariant: no key is accepted that etl sets itself, that would hold a secret, or that takes the checks of TLS away.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::super::layers::Layers;
use crate::error::Result;

/// What etl decides, and why another value is refused.
const OWNED: [(&str, &str); 38] = [
    ("bootstrap.servers", BY_KEY),
    ("metadata.broker.list", BY_KEY),
    ("security.protocol", BY_KEY),
    ("sasl.username", BY_KEY),
    ("sasl.password", BY_KEY),
    ("ssl.ca.location", BY_KEY),
    ("ssl.ca.pem", BY_KEY),
    ("ssl.certificate.location", BY_KEY),
    ("ssl.certificate.pem", BY_KEY),
    ("ssl.key.location", BY_KEY),
    ("ssl.key.pem", BY_KEY),
    ("session.timeout.ms", BY_KEY),
    ("group.instance.id", BY_KEY),
    ("ssl.key.password", SECRET),
    ("ssl.keystore.location", SECRET),
    ("ssl.keystore.password", SECRET),
    ("sasl.oauthbearer.client.secret", SECRET),
    ("sasl.oauthbearer.config", SECRET),
    ("enable.ssl.certificate.verification", CHECKED),
    ("ssl.endpoint.identification.algorithm", CHECKED),
    ("acks", CORRECT),
    ("request.required.acks", CORRECT),
    ("enable.idempotence", CORRECT),
    ("transactional.id", CORRECT),
    ("isolation.level", CORRECT),
    ("group.id", CORRECT),
    ("group.protocol", CORRECT),
    ("partition.assignment.strategy", CORRECT),
    ("enable.auto.commit", CORRECT),
    ("auto.commit.enable", CORRECT),
    ("enable.auto.offset.store", CORRECT),
    ("auto.offset.reset", CORRECT),
    ("enable.partition.eof", CORRECT),
    ("allow.auto.create.topics", CORRECT),
    ("compression.codec", CORRECT),
    ("compression.type", CORRECT),
    ("log.queue", CORRECT),
    ("check.crcs", CORRECT),
];

const BY_KEY: &str = "[cluster] has a key of its own for it";
const SECRET: &str = "a secret does not belong in the file";
const CHECKED: &str = "without it TLS does not say who answers";
const CORRECT: &str = "etl relies on the value that it gives it";

/// A dictionary of texts; numbers and truth values are taken for their text.
pub(super) fn properties<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let given = BTreeMap::<String, toml::Value>::deserialize(from)?;
    let text = |(key, value): (String, toml::Value)| match value {
        toml::Value::String(text) => Ok((key, text)),
        toml::Value::Integer(number) => Ok((key, number.to_string())),
        toml::Value::Boolean(truth) => Ok((key, truth.to_string())),
        _ => Err(serde::de::Error::custom("a property is a text, a number, true or false")),
    };
    given.into_iter().map(text).collect()
}

/// Refuses what etl decides.
pub(super) fn check(properties: &BTreeMap<String, String>, layers: &Layers<'_>) -> Result<()> {
    for key in properties.keys() {
        if let Some((_, why)) = OWNED.iter().find(|(owned, _)| owned == key) {
            return Err(layers
                .error(&["cluster", "properties"], format!("{key:?} cannot be set here: {why}"))
                .hint("take it out of cluster.properties"));
        }
    }
    Ok(())
}
