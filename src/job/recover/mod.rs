//! Records that are not where they should be: read back from the store, parked until that works, or sent through the journal
//! again; the ledger rebuilt from the store, and parts whose freeze is undone; missing parts put back, or given up.

mod expire;
pub(super) mod import;
pub(super) mod neighbours;
pub(super) mod others;
mod park;
mod rebuild;
mod recall;
mod recut;
pub(super) mod repair;
mod requeue;
mod thaw;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use self::neighbours::Neighbours;
pub(super) use self::rebuild::rebuild_from_store;
#[cfg(feature = "kafka")]
pub(crate) use self::requeue::token_of_a_record;
use crate::error::Error;
use crate::hour::Hour;

/// The part of a run that brings records back.
pub(super) struct Recover {
    /// Whether hours that could not be read back are tried at once, because a person waits: a replay.
    is_replay: bool,
    /// Hours that cannot be read back in this run, and why, until that is reported.
    unreadable: BTreeMap<Hour, Option<Error>>,
    /// Hours that were thawed: due at once.
    thawed: BTreeSet<Hour>,
    /// How many records each thawed hour has when the journal has brought them back.
    expected: BTreeMap<Hour, u64>,
    /// What the lanes before this one have told. For a machine that works alone, nothing.
    pub(super) neighbours: Rc<Neighbours>,
}

impl Recover {
    pub(super) fn new(is_replay: bool) -> Self {
        Self {
            is_replay,
            unreadable: BTreeMap::new(),
            thawed: BTreeSet::new(),
            expected: BTreeMap::new(),
            neighbours: Rc::default(),
        }
    }
}
