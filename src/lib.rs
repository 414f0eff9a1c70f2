//! Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron.
//!
//! # The way of a record
//! The modules are listed in its order, from what stands below to what uses it.
//! ```text
//! source ─► state::pages ─► page ─► job::intake ─► state::hours ─► part ─► store
//!  HTTP,     the journal:    decrypt  each record    the log,       order,   create-only
//!  files     durable first   parse    once           hour by hour   gzip     PUT, receipt
//!        about pages ◄──────────────────┴──────────────────► about hours
//! ```
//! - A page is durable in the journal ([`state::pages::journal`]) before anyone looks at it, and stays until all records that it
//!   introduced have receipts.
//! - [`page::decode`] turns a page into records ([`page::decrypt`], [`record`], [`record::row`]) or odd tokens
//!   ([`state::pages::quarantine`]).
//! - [`job::intake::dedup`] keeps each distinct record once, and the [`state`] makes it durable in the write-ahead log.
//!   `hour::gaps` knows which ids never came.
//! - [`part::seal`] turns an hour's records into parts. The ledger names them before the first PUT: intent, PUT, receipt
//!   ([`store::once`]), then prune. [`hour::lifecycle`] has the table of what can happen to an hour.
//! - [`job`] is one run, in order. Recovery after a crash is its normal path.
//!
//! # What holds at every moment
//! 1. A record that was received is in the journal, or in a part with a receipt.
//! 2. A content hash is in at most one part; an object is created once and never changed.
//! 3. Flush before every outside effect: journal before decrypt, intent before PUT, receipt before prune.
//! 4. A failed look is not an absence; missing or damaged state is never taken for empty.
//!
//! What a crash leaves is a table in code: [`state::files::step::Step::after_a_crash`].
//!
//! `src/README.md` has the architecture on a page, the words, and where to change what; [`docs`] is the manual.

pub mod digest;
pub mod error;
pub mod net;
pub mod output;
pub mod pointer;
pub mod process;
pub mod secret;
pub mod stop;

pub mod hour;

pub mod record;

pub mod config;

pub mod source;

pub mod query;

pub mod state;

pub mod page;

pub mod part;

pub mod store;

pub mod job;

#[cfg(feature = "kafka")]
pub mod cluster;

pub mod view;

pub mod audit;

pub mod simulate;

pub mod docs;

pub mod cli;
