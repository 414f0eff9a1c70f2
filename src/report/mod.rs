//! What people and machines are told: the status, the verification of the store, summaries.
//!
//! Reports read; nothing here changes the state, but for `status.json`, which a run replaces as it goes.

pub mod findings;
pub mod metrics;
pub mod status;
pub mod table;
pub mod text;
pub mod verify;
