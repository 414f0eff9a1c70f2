//! What several integration tests need: the command, a source that answers as told, a real S3 server.

pub mod api;
pub mod chromium;
pub mod cli;
pub mod desk;
pub mod documents;
pub mod form;
#[cfg(feature = "kafka")]
pub mod gate;
pub mod intruder;
pub mod java;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod minisign;
pub mod origin;
#[cfg(target_os = "linux")]
pub mod power;
pub mod proxy;
pub mod python;
pub mod service;
pub mod setup;
#[cfg(target_os = "linux")]
pub mod shim;
pub mod state_dir;
pub mod tally;
pub mod tls;
pub mod trino;
mod weed;

pub use weed::{TestS3, s3, unique_prefix};
