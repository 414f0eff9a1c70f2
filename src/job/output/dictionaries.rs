//! The dictionaries of parts → store, before the parts: whoever finds a part finds what reads it.
//!
//! They are created, and only created, under their id; the ledger's head notes which ones the store is known to have, with the
//! next step. A crash in between repeats the create-only PUT with the same bytes, which a look finds to be there. A part
//! whose dictionaries are not in the store stays here: its hour waits, as at any failure of the store.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::upload::Upload;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::dictionaries_key;
use crate::job::Job;
use crate::record::row::Dictionaries;
use crate::state::files::durable;
use crate::store::PartMeta;
use crate::store::dictionaries::Stored;
use crate::store::once::{self, Outcome, Sealed};

impl Job<'_> {
    /// Makes sure that the store has the dictionaries of the parts of a round, and returns the parts of which it has them.
    pub(crate) fn with_dictionaries<'r>(&mut self, round: &'r [Upload]) -> Result<Cow<'r, [Upload]>> {
        let needed: BTreeSet<&str> = round.iter().map(|upload| upload.row.dict.as_str()).collect();
        let mut missing = BTreeSet::new();
        for id in needed.into_iter().filter(|id| !id.is_empty()) {
            if !self.ensure_dictionaries(id)? {
                missing.insert(id);
            }
        }
        if missing.is_empty() {
            return Ok(Cow::Borrowed(round));
        }
        let is_ready = |upload: &&Upload| !missing.contains(upload.row.dict.as_str());
        self.blocked.extend(round.iter().filter(|upload| !is_ready(upload)).map(|upload| upload.hour));
        Ok(round.iter().filter(is_ready).cloned().collect())
    }

    /// Stores the dictionaries of parts that an older version uploaded, or whose object is gone.
    pub(crate) fn store_missing_dictionaries(&mut self) -> Result<()> {
        let mut ids = BTreeSet::new();
        self.state.ledger.for_each(&mut |row| {
            ids.extend(row.parts.iter().map(|part| part.dict.clone()).filter(|id| !id.is_empty()));
            Ok(())
        })?;
        for id in ids {
            self.ensure_dictionaries(&id)?;
        }
        Ok(())
    }

    /// `false`: the store does not have them, which is a recorded problem by now.
    fn ensure_dictionaries(&mut self, id: &str) -> Result<bool> {
        if self.state.ledger.has_stored_dictionaries(id) {
            return Ok(true);
        }
        if self.store_is_down {
            return Ok(false);
        }
        let stored = match self.dictionaries.known_without_the_store(id) {
            Some(dictionaries) => self.store_dictionaries(id, &dictionaries),
            None => self.find_dictionaries(id),
        };
        match stored {
            Ok(()) => {
                self.state.ledger.note_stored_dictionaries(id);
                Ok(true)
            }
            Err(error) => self.store_failed(error).map(|()| false),
        }
    }

    /// Nothing here knows these dictionaries: another machine's parts, or a state that another configuration made.
    fn find_dictionaries(&self, id: &str) -> Result<()> {
        self.dictionaries.named(id).map(|_| ())
    }

    fn store_dictionaries(&self, id: &str, dictionaries: &Dictionaries) -> Result<()> {
        self.dictionaries.allow(dictionaries)?;
        let (store, prefix) = (&*self.setup.store, &self.setup.prefix);
        let (key, bytes) = (dictionaries_key(prefix, id), dictionaries.to_stored()?);
        // No intent names it: what a crash leaves of it goes with the next clearing of the spool.
        let body = self.state.spool.beside(id);
        durable::replace(&body, &bytes)?;
        let meta = PartMeta::of_document(&bytes, "dict", id);
        let sealed = Sealed { key: &key, body: &body, meta: &meta };
        let stored = once::upload(store, &sealed, self.create_only(), self.setup.stop);
        durable::remove(&body)?;
        // A store without metadata, or another spelling: the content says whether it is sound.
        if let Outcome::Foreign { .. } = stored?
            && !matches!(self.dictionaries.stored(id)?, Stored::Sound(_))
        {
            let what = format!("the object {key} is not what its name says: no part that needs it is uploaded");
            let hint = "it was left alone: move it away, then run again; the records are kept";
            return Err(Error::new(ErrorKind::Mismatch, what).hint(hint));
        }
        Ok(())
    }
}
