//! What several integration tests need: the command, a source that answers as told, a real S3 server.

pub mod cli;
pub mod desk;
pub mod origin;
#[cfg(feature = "failpoints")]
pub mod proxy;
pub mod python;
pub mod service;
pub mod state_dir;
mod weed;

pub use weed::{TestS3, s3, unique_prefix};
