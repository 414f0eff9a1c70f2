//! Hours: their records without a receipt (`log`), their parts (`ledger`, `spool`), and the hashes of what they hold.

pub(crate) mod hashes;
pub(crate) mod ledger;
pub(crate) mod log;
pub mod parked;
pub(crate) mod spool;
