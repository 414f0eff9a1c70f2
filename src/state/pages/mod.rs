//! Pages: as received, and what of them is not a record. Nothing here knows hours' logs or ledgers.

pub mod journal;
pub mod quarantine;
pub(crate) mod tries;
pub(crate) mod watch_list;
