//! The integration tests: one binary, one module for each subject.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share may panic as they do; the lint's own exception is for #[test] only"
)]

mod airflow;
mod archive;
mod auth;
mod backfill;
mod beside;
mod bounded;
mod certificate;
mod chain;
mod check;
mod clock;
#[cfg(feature = "kafka")]
mod cluster;
mod connection;
mod coverage;
mod crash;
mod credentials;
mod cron;
mod damage;
mod ddl;
mod dictionaries;
mod digests;
mod docs;
mod escapes;
mod export;
mod fetch_first;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod forms;
mod from;
mod full_disk;
mod fuzz;
mod gaps;
mod guard;
mod history;
mod house;
mod iceberg;
mod init;
mod lanes;
mod lenient;
#[cfg(target_os = "linux")]
mod limits;
mod manual;
mod many;
mod model;
#[cfg(target_os = "linux")]
mod nth_call;
mod oddities;
mod output;
mod page;
mod paging;
mod parked;
#[cfg(target_os = "linux")]
mod power;
mod private;
mod profiles;
mod progress;
mod quarantine;
mod readme;
mod record;
mod repair;
mod restore;
mod s3_store;
mod secrets;
mod seen;
mod settings;
mod several;
mod shapes;
mod signals;
mod source;
mod status;
mod steps;
mod stories;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod test_command;
mod upgrade;
mod watchers;
mod wire_source;
mod wire_store;
