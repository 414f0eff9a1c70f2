//! Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron.
pub mod cli;
pub mod config;
pub mod decrypt;
pub mod error;
pub mod hour;
pub mod load;
