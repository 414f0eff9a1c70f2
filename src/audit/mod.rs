//! The store against what is known of it: verified, restored, compared, and exported into another one. Nothing of it is written.
//!
//! A failed look ends the work: it says nothing about a part.

pub(crate) mod compare;
pub(crate) mod digests;
pub(crate) mod export;
pub mod finding;
pub(crate) mod restore;
#[cfg(feature = "kafka")]
pub(crate) mod stored_rows;
pub mod verify;

use crate::hour::Hour;
use crate::hour::key::Layout;
use crate::record::Dating;
use crate::store::ObjectStore;
use crate::store::dictionaries::DictionaryStore;

/// The parts in a store, and what they are read with.
#[derive(Clone, Copy)]
pub struct StoredParts<'a> {
    /// Where they are.
    pub store: &'a dyn ObjectStore,
    /// What all keys begin with.
    pub prefix: &'a str,
    /// How they are spelled.
    pub layout: &'a Layout,
    /// The dictionaries that they were written with.
    pub dictionaries: &'a DictionaryStore<'a>,
    /// How their records are dated.
    pub dating: &'a Dating,
}

impl StoredParts<'_> {
    fn key(&self, hour: Hour, part: u32) -> String {
        self.layout.key(self.prefix, hour, part)
    }
}
