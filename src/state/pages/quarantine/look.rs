//! Reading the quarantine beside a run. Changes nothing.

use std::path::Path;

use super::batch::Batch;
use super::tokens::{Opened, Tokens};
use super::{OddToken, Quarantine};
use crate::error::{Error, Result};
use crate::state::files::durable;
use crate::state::files::watch_list::WatchList;

/// Hands every token below the state directory to `each`, oldest page first. Takes no lock: of the changes of a run that is going
/// on, it may see a part.
///
/// # Errors
/// `State`, naming the path: unreadable or damaged; and whatever `each` returns.
pub(crate) fn look(state: &Path, each: &mut dyn FnMut(OddToken) -> Result<()>) -> Result<()> {
    let mut quarantine = Quarantine::at(state, WatchList::default());
    if !quarantine.dir.try_exists().map_err(|e| Error::disk("look at", &quarantine.dir, e))? {
        return Ok(());
    }
    quarantine.list_files()?;
    for segment in quarantine.segments(None) {
        if let Some(tokens) = quarantine.peek(segment)? {
            tokens.into_iter().try_for_each(|token| each(token?))?;
        }
    }
    Ok(())
}

impl Quarantine {
    /// Lists the files, and changes none.
    fn list_files(&mut self) -> Result<()> {
        let names = durable::names(&self.dir)?;
        self.batches.clear();
        for (segment, batch) in names.iter().filter_map(|name| Batch::parse(name)) {
            let known = self.batches.entry(segment).or_insert(batch);
            if batch.tokens < known.tokens {
                *known = batch;
            }
        }
        Ok(())
    }

    /// The tokens of a segment; `None` where they were released meanwhile.
    fn peek(&mut self, segment: u64) -> Result<Option<Tokens>> {
        while let Some(batch) = self.batches.get(&segment).copied() {
            match Tokens::open(&self.path(segment, batch))? {
                Opened::Whole(tokens) => return Ok(Some(tokens)),
                Opened::Damaged(damage) => return Err(damage),
                Opened::Absent => self.list_files()?,
            }
        }
        Ok(None)
    }
}
