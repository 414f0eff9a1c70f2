//! What people and machines are told: the status, the verification of the store, summaries.
//!
//! Reports read; nothing here changes the state, but for `status.json`, which a run replaces as it goes.

pub mod archive;
pub mod certificate;
pub mod days;
pub mod findings;
pub mod heat;
pub mod html;
pub mod metrics;
pub mod monitor;
pub mod screen;
pub mod status;
pub mod table;
pub mod text;
pub mod verify;
