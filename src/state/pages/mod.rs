//! Pages: as received (`journal`), which of them runs died at (`tries`), and their tokens that are not records (`quarantine`). Nothing
//! here knows hours' logs or ledgers.

pub mod journal;
pub mod quarantine;
pub(crate) mod tries;
