//! The integration tests: one binary, one module for each subject.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests share may panic as they do; the lint's own exception is for #[test] only"
)]

#[path = "suite/backfill.rs"]
mod backfill;
#[path = "suite/bounded.rs"]
mod bounded;
#[path = "suite/clock.rs"]
mod clock;
#[path = "suite/crash.rs"]
mod crash;
#[path = "suite/damage.rs"]
mod damage;
mod fixtures;
#[path = "suite/full_disk.rs"]
mod full_disk;
#[path = "suite/gaps.rs"]
mod gaps;
#[path = "suite/many.rs"]
mod many;
#[path = "suite/nth_call.rs"]
mod nth_call;
#[path = "suite/readme.rs"]
mod readme;
#[path = "suite/s3_store.rs"]
mod s3_store;
#[path = "suite/secrets.rs"]
mod secrets;
#[path = "suite/signals.rs"]
mod signals;
#[path = "suite/source.rs"]
mod source;
#[path = "suite/steps.rs"]
mod steps;
mod support;
