//! Several machines that share a journal in Kafka.

pub(crate) mod chunks;
pub(crate) mod message;
