//! Several machines that share their work: Apache Kafka is their journal, and S3's create-only PUT decides between them.
//!
//! ```text
//! fetch (one machine)   route (any)                               own (one owner a lane)
//! source ─► page ─► topic pages ─► decrypt, split by content hash ─► topic lanes ─► job, a State a lane ─► part 0, 1, 2 …
//! ```
//! A record's lane follows from its content hash: every copy of it meets the same owner, whose job drops duplicates as that of one
//! machine does. Who owns a lane is Kafka's answer ([`kafka::Member`]) and only saves work: it can be stale, and then two owners meet at a
//! create-only PUT, which one of them loses.
//!
//! Invariants: what Kafka acknowledged is durable on the brokers' in-sync replicas, because [`topics`] refuses topics that promise less;
//! nothing is deleted from a topic before what became of it has receipts; a time-out never means "not stored".

mod barrier;
mod checkpoint;
pub mod chunks;
pub(crate) mod feed;
pub mod forward;
pub mod kafka;
mod lane_log;
pub mod lanes;
pub mod mark;
pub mod message;
pub mod names;
pub(crate) mod odd;
pub mod outbox;
pub mod report;
pub mod route;
pub mod settings;
pub(crate) mod split;
pub mod start;
pub mod status_log;
pub(crate) mod tokens;
pub mod topics;
pub mod view;
pub(crate) mod waiting;
mod worker;

pub use names::Names;
pub(crate) use tokens::retry as retry_quarantine;
pub use worker::{Tick, Worker};
