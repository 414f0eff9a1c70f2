//! From the source into the log: fetched, made durable, decoded, and each distinct record committed once.

pub(super) mod backfill;
pub(super) mod commit;
pub mod dedup;
pub(super) mod fetch;
pub(super) mod held;
