//! The dictionaries of parts → store, before the parts: whoever finds a part finds what it is read with.
//!
//! They are created, and only created, under their id; the ledger's head notes which ones the store is known to have, with the
//! next step. A crash in between repeats the create-only PUT with the same bytes, which a look finds to be there. A part
//! whose dictionaries are not in the store stays here: its hour waits, as at any failure of the store.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Output;
use super::spooled_part::Upload;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::dictionaries_key;
use crate::job::Run;
use crate::job::output::document::create_document;
use crate::record::row::Codecs;
use crate::state::status::verified;
use crate::store::dictionaries::Stored;
use crate::store::once::Outcome;

impl Output {
    /// Makes sure that the store has the dictionaries of the parts of a round, and returns the parts of which it has them.
    pub(super) fn with_dictionaries<'r>(
        &mut self,
        run: &mut Run<'_>,
        round: &'r [Upload],
    ) -> Result<Cow<'r, [Upload]>> {
        let needed: BTreeSet<&str> = round.iter().map(|upload| upload.row.dict.as_str()).collect();
        let mut missing = BTreeSet::new();
        for id in needed.into_iter().filter(|id| !id.is_empty()) {
            if !ensure_dictionaries(run, id)? {
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
}

/// Stores the dictionaries of parts that an older version uploaded, or whose object is gone.
pub(crate) fn store_missing_dictionaries(run: &mut Run<'_>) -> Result<()> {
    let mut ids = BTreeSet::new();
    run.state.hours.for_each_row(&mut |row| {
        ids.extend(row.parts.iter().map(|part| part.dict.clone()).filter(|id| !id.is_empty()));
        Ok(())
    })?;
    for id in ids {
        ensure_dictionaries(run, &id)?;
    }
    Ok(())
}

/// `false`: the store does not have them, and the reason is recorded.
pub(crate) fn ensure_dictionaries(run: &mut Run<'_>, id: &str) -> Result<bool> {
    if run.state.hours.has_stored_dictionaries(id) {
        return Ok(true);
    }
    if run.store_is_down {
        return Ok(false);
    }
    let stored = match run.dictionaries.known_without_the_store(id) {
        Some(codecs) => store_dictionaries(run, id, &codecs),
        // Nothing here knows them: another machine's parts, or a state that another configuration made.
        None => run.dictionaries.named(id).map(drop),
    };
    match stored {
        Ok(()) => {
            let key = dictionaries_key(&run.setup.prefix, id);
            verified::note_mended(run.state.dir(), &|finding| finding.key == key);
            run.state.hours.note_stored_dictionaries(id);
            Ok(true)
        }
        Err(error) => run.record_store_failure(error).map(|()| false),
    }
}

fn store_dictionaries(run: &Run<'_>, id: &str, codecs: &Codecs) -> Result<()> {
    run.dictionaries.allow(codecs)?;
    let (key, bytes) = (dictionaries_key(&run.setup.prefix, id), codecs.to_stored()?);
    // A store without metadata, or another spelling: the content says whether it is sound.
    if let Outcome::Foreign { .. } = create_document(run, &key, &bytes, ("dict", id))?
        && !matches!(run.dictionaries.stored(id)?, Stored::Sound(_))
    {
        let what = format!("the object {key} is not what its name says: no part that needs it is uploaded");
        let hint = "it was left alone: move it away, then run again; the records are kept";
        return Err(Error::new(ErrorKind::Mismatch, what).hint(hint));
    }
    Ok(())
}
