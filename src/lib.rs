//! Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron.
pub mod compact;
pub mod error;
pub mod hour;
pub mod load;
pub mod record;
