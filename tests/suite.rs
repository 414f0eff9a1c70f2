//! The integration tests: one binary, one module for each subject.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share may panic as they do; the lint's own exception is for #[test] only"
)]

#[path = "suite/airflow.rs"]
mod airflow;
#[path = "suite/archive.rs"]
mod archive;
#[path = "suite/backfill.rs"]
mod backfill;
#[path = "suite/beside.rs"]
mod beside;
#[path = "suite/bounded.rs"]
mod bounded;
#[path = "suite/certificate.rs"]
mod certificate;
#[path = "suite/chain.rs"]
mod chain;
#[path = "suite/check.rs"]
mod check;
#[path = "suite/clock.rs"]
mod clock;
#[path = "suite/connection.rs"]
mod connection;
#[path = "suite/coverage.rs"]
mod coverage;
#[path = "suite/crash.rs"]
mod crash;
#[path = "suite/damage.rs"]
mod damage;
#[path = "suite/ddl.rs"]
mod ddl;
#[path = "suite/dictionaries.rs"]
mod dictionaries;
#[path = "suite/escapes.rs"]
mod escapes;
#[path = "suite/fetch_first.rs"]
mod fetch_first;
mod fixtures;
#[path = "suite/full_disk.rs"]
mod full_disk;
#[path = "suite/fuzz.rs"]
mod fuzz;
#[path = "suite/gaps.rs"]
mod gaps;
#[path = "suite/init.rs"]
mod init;
#[path = "suite/lenient.rs"]
mod lenient;
#[cfg(target_os = "linux")]
#[path = "suite/limits.rs"]
mod limits;
#[path = "suite/manual.rs"]
mod manual;
#[path = "suite/many.rs"]
mod many;
#[path = "suite/model.rs"]
mod model;
#[cfg(target_os = "linux")]
#[path = "suite/nth_call.rs"]
mod nth_call;
#[path = "suite/oddities.rs"]
mod oddities;
#[path = "suite/output.rs"]
mod output;
#[path = "suite/page.rs"]
mod page;
#[path = "suite/parked.rs"]
mod parked;
#[cfg(target_os = "linux")]
#[path = "suite/power.rs"]
mod power;
#[path = "suite/private.rs"]
mod private;
#[path = "suite/progress.rs"]
mod progress;
#[path = "suite/quarantine.rs"]
mod quarantine;
#[path = "suite/readme.rs"]
mod readme;
#[path = "suite/restore.rs"]
mod restore;
#[path = "suite/s3_store.rs"]
mod s3_store;
#[path = "suite/secrets.rs"]
mod secrets;
#[path = "suite/signals.rs"]
mod signals;
#[path = "suite/source.rs"]
mod source;
#[path = "suite/status.rs"]
mod status;
#[path = "suite/steps.rs"]
mod steps;
#[path = "suite/storm.rs"]
mod storm;
mod support;
#[path = "suite/upgrade.rs"]
mod upgrade;
#[path = "suite/watchers.rs"]
mod watchers;
#[path = "suite/wire_source.rs"]
mod wire_source;
#[path = "suite/wire_store.rs"]
mod wire_store;
