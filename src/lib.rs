//! Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron.
pub mod cli;
pub mod config;
pub mod decrypt;
pub mod error;
pub mod hour;
pub mod lifecycle;

pub mod extract;
pub mod page;

pub mod journal;

pub mod decrypt;

pub mod record;

pub mod compact;

pub mod decode;
pub mod quarantine;

pub mod bucket;

pub mod seal;

pub mod parts;

pub mod key;
pub mod load;

pub mod state;

pub mod pipeline;

pub mod report;

pub mod simulate;

pub mod cli;
pub mod commands;
pub mod config;

mod crash;
pub mod panics;
