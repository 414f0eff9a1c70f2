//! The dictionaries in the store: every part is read with those that it was written with.
//!
//! Owns `<prefix>dict/<id>.json`, where `<id>` is the fingerprint of the dictionaries in it, and the `etl-dict` of the parts that were
//! written with them. A run creates the object before the first part that needs it, and never changes it; after a crash in between
//! the next run repeats that with the same bytes. Invariant: a part is read with dictionaries that have its id, or not at all.
//!
//! | the part's id | read with |
//! |---|---|
//! | is that of the configured dictionaries | these; the store is not asked |
//! | has an object | the dictionaries in it, if they have the id |
//! | has no object, or a damaged one | those that the state recorded, or a subset of the configured entries, if they have the id |
//! | is unknown: the store keeps no metadata | the longest in `dict/`, which must extend all others; without any, the configured |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::{dictionaries_key, dictionaries_prefix, is_dictionaries_id, parse_dictionaries_key};
use crate::record::row::{Codecs, Compactor};
use crate::store::{ObjectStore, PartMeta};

/// The dictionaries of one store, with those of the configuration.
pub struct DictionaryStore<'a> {
    store: &'a dyn ObjectStore,
    prefix: &'a str,
    configured: &'a Codecs,
    /// Those that the state recorded before the configuration gained entries.
    former: Vec<Codecs>,
    /// What earlier look-ups found, by id.
    found: Mutex<BTreeMap<String, Found>>,
    longest: Mutex<Option<Arc<Compactor>>>,
}

/// The result of looking for the dictionaries with one id.
#[derive(Debug, Clone)]
enum Found {
    Here(Arc<Compactor>),
    /// They are nowhere, and why.
    Nowhere(String),
}

/// The state of an object with dictionaries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It holds the dictionaries that its name says.
    Sound(Codecs),
    /// Its content is not what its name says.
    Damaged,
    /// There is no object.
    Missing,
}

impl<'a> DictionaryStore<'a> {
    /// The dictionaries below `prefix` in `store`. Nothing is asked yet.
    #[must_use]
    pub fn new(store: &'a dyn ObjectStore, prefix: &'a str, configured: &'a Compactor) -> Self {
        let configured = configured.codecs();
        let (found, longest) = Default::default();
        Self { store, prefix, configured, former: Vec::new(), found, longest }
    }

    /// Adds dictionaries that a state recorded earlier.
    #[must_use]
    pub(crate) fn with_former(mut self, former: &[Codecs]) -> Self {
        self.former = former.to_vec();
        self
    }

    /// The compactor that reads a part with this metadata.
    ///
    /// # Errors
    /// `Mismatch`, naming the id: its dictionaries are nowhere, or (without metadata) those in the store contradict each other.
    pub(crate) fn for_part(&self, meta: Option<&PartMeta>) -> Result<Arc<Compactor>> {
        match meta.map(|meta| meta.dict.as_str()).filter(|id| !id.is_empty()) {
            Some(id) => self.named(id),
            None => self.longest(),
        }
    }

    /// The dictionaries with the id `id`.
    pub(crate) fn named(&self, id: &str) -> Result<Arc<Compactor>> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let found = match known {
            Some(found) => found,
            None => self.find(id)?,
        };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), found.clone());
        match found {
            Found::Here(compactor) => Ok(compactor),
            Found::Nowhere(why) => {
                let hint = "put the object back, or configure [compact] as it was when the part was written";
                Err(Error::new(ErrorKind::Mismatch, why).hint(hint))
            }
        }
    }

    fn find(&self, id: &str) -> Result<Found> {
        let here = |codecs: &Codecs| Ok(Found::Here(Arc::new(Compactor::new(codecs))));
        if self.configured.fingerprint() == id {
            return here(self.configured);
        }
        if !is_dictionaries_id(id) {
            return Ok(Found::Nowhere(format!("{id:?} is no id of dictionaries")));
        }
        let fault = match self.stored(id)? {
            Stored::Sound(dictionaries) => return here(&dictionaries),
            Stored::Missing => "is not there",
            Stored::Damaged => "is not what its name says",
        };
        match self.known_without_the_store(id) {
            Some(dictionaries) => here(&dictionaries),
            None => {
                let key = dictionaries_key(self.prefix, id);
                Ok(Found::Nowhere(format!(
                    "its dictionaries {id} are not the configured ones, and their object {key} {fault}"
                )))
            }
        }
    }

    /// The dictionaries with the id `id`, if the configuration or the state knows them.
    #[must_use]
    pub(crate) fn known_without_the_store(&self, id: &str) -> Option<Codecs> {
        let mut whole = std::iter::once(self.configured).chain(&self.former);
        let found = whole.find(|dictionaries| dictionaries.fingerprint() == id).cloned();
        found.or_else(|| self.configured.subset_with(id))
    }

    /// What the store has under the id `id`.
    pub(crate) fn stored(&self, id: &str) -> Result<Stored> {
        let key = dictionaries_key(self.prefix, id);
        if self.store.head(&key)?.is_none() {
            return Ok(Stored::Missing);
        }
        Ok(match self.store.get(&key) {
            Ok(bytes) => Codecs::from_stored(&bytes, id).map_or(Stored::Damaged, Stored::Sound),
            // Larger than any object of ours, or gone since the look.
            Err(error) if error.kind() == ErrorKind::Mismatch => Stored::Damaged,
            Err(error) => return Err(error),
        })
    }

    /// The dictionaries that read every part of a store without metadata.
    fn longest(&self) -> Result<Arc<Compactor>> {
        let known = self.longest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(longest) = known {
            return Ok(longest);
        }
        let chain = self.chain(None)?;
        let longest = chain.last().cloned().unwrap_or_else(|| Arc::new(Compactor::new(self.configured)));
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner) = Some(longest.clone());
        Ok(longest)
    }

    /// All dictionaries in the store and the `new` ones, sorted so that each extends the one before.
    fn chain(&self, new: Option<&Codecs>) -> Result<Vec<Arc<Compactor>>> {
        let mut ids = Vec::new();
        self.store.list(&dictionaries_prefix(self.prefix), &mut |key, _| {
            ids.extend(parse_dictionaries_key(self.prefix, key).map(str::to_owned));
            Ok(())
        })?;
        let mut all = ids.iter().map(|id| self.named(id)).collect::<Result<Vec<_>>>()?;
        all.extend(new.map(|new| Arc::new(Compactor::new(new))));
        all.sort_by_key(|compactor| compactor.codecs().len());
        for (older, newer) in all.iter().zip(all.iter().skip(1)) {
            let [older, newer] = [older, newer].map(|compactor| compactor.codecs());
            if !newer.extends(older) {
                return Err(self.no_chain(older, newer));
            }
        }
        Ok(all)
    }

    fn no_chain(&self, older: &Codecs, newer: &Codecs) -> Error {
        let [older, newer] = [older, newer].map(|one| dictionaries_key(self.prefix, &one.fingerprint()));
        let what = format!(
            "{} has parts of two sets of dictionaries that contradict each other, {older} and {newer}, and does not say \
             which part was written with which",
            self.store.place()
        );
        Error::new(ErrorKind::Mismatch, what)
            .hint("read the parts where their metadata is, or keep parts of different [compact] sections apart")
    }

    /// Checks that `new` dictionaries may be stored: in a store without metadata they must extend those that are there, or be extended
    /// by them.
    ///
    /// # Errors
    /// `Mismatch`, naming both.
    pub(crate) fn allow(&self, new: &Codecs) -> Result<()> {
        if self.store.keeps_metadata() { Ok(()) } else { self.chain(Some(new)).map(|_| ()) }
    }
}
