//! Encrypted logs from an HTTP API into hourly files in S3: exactly once, from cron.
//!
//! # The way of a record
//! The modules below are listed in its order.
//! ```text
//! extract ─► journal ─► decrypt ─► record ─► bucket ─► seal ─► load ─► prune
//!  HTTP/file  raw page   Fernet     parse,    per hour,  order,   create-   keep only hashes
//!  retries    durable    key ring   hash      dedup      compact, only PUT  + the ledger
//!             first                                      gzip
//! ```
//! - A page is durable in the [`journal`] before anyone looks at it, and stays until all that it introduced has receipts.
//! - [`decode`] turns a page into records ([`decrypt`], [`record`], [`compact`]) or odd tokens ([`quarantine`]).
//! - [`bucket`] keeps each distinct record once; the [`state`] makes it durable in the write-ahead log. [`gaps`] knows which
//!   ids never came.
//! - [`seal`] turns an hour's records into parts, and the ledger names them before the first PUT: intent, PUT, receipt
//!   ([`load::protocol`]), then prune. [`lifecycle`] has the table of what can happen to an hour.
//! - [`pipeline`] is the only place that sees all stages; recovery after a crash is its normal path.
//!
//! # What holds at every moment
//! 1. A record that was received is in the journal, or in a part with a receipt.
//! 2. A content hash is in at most one part; an object is created once and never changed.
//! 3. Flush before every outside effect: journal before decrypt, intent before PUT, receipt before prune.
//! 4. A failed look is not an absence; missing or damaged state is never taken for empty.
//!
//! What a crash leaves is a table in code: [`lifecycle::Step::after_a_crash`].

pub mod stop;

pub mod error;
pub mod hour;
pub mod lifecycle;
pub mod limits;
pub mod plain_text;

pub mod extract;
pub mod page;

pub mod journal;

pub mod decrypt;

pub mod record;

pub mod compact;

pub mod decode;
pub mod parked;
pub mod quarantine;

pub mod bucket;
pub mod certificate;
pub mod gaps;

pub mod seal;

pub mod parts;

pub mod restore;

pub mod shelf;

pub mod archive;

pub mod key;
pub mod load;

pub mod state;

pub mod pipeline;

pub mod output;
pub mod report;

pub mod ddl;

pub mod net;
pub mod web;

pub mod simulate;

pub mod cli;
pub mod commands;
pub mod config;

mod crash;
pub mod memory;
pub mod panics;
