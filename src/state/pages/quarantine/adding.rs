//! Adding odd tokens: only new ones, all of a segment's or none. A crash before the end leaves a file without its name.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::identity::{self, Identity};
use super::tokens::TokenWriter;
use super::{OddToken, Quarantine};
use crate::error::Result;
use crate::output::draft::{Replaces, Survives};
use crate::state::files::step::{Step, durable_step};

/// The most identities of a file that are held until it is written: of a file with more they are read back from it.
const HELD: usize = 1 << 22;

/// What came of adding tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Tokens that are new here, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// There is no room for them: none was added.
    pub is_full: bool,
}

impl Added {
    /// Tokens that are new here.
    pub(crate) fn count(&self) -> u64 {
        self.reasons.values().sum()
    }
}

/// A file of tokens that is being written; it is made with the first token.
#[derive(Debug)]
pub(super) struct NewFile {
    /// The file's temporary name is made of this.
    target: PathBuf,
    file: Option<TokenWriter>,
    /// Those of the first tokens.
    identities: Vec<Identity>,
}

impl NewFile {
    pub(super) fn of_segment(dir: &Path, segment: u64) -> Self {
        Self::named(dir.join(format!("{segment:016}")))
    }

    pub(super) const fn named(target: PathBuf) -> Self {
        Self { target, file: None, identities: Vec::new() }
    }

    /// What it holds. `None`: no token.
    pub(super) fn batch(&self) -> Option<Batch> {
        self.file.as_ref().map(Batch::of)
    }

    /// Adds a token, and returns the bytes of the file so far.
    pub(super) fn push(&mut self, token: &OddToken) -> Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(TokenWriter::create(&self.target)?),
        };
        if self.identities.len() < HELD {
            self.identities.push(token.identity());
        }
        file.push(token)?;
        Ok(file.bytes())
    }

    /// Gives the file its name, durably, and writes its array.
    pub(super) fn publish(self, path: &Path) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let tokens = file.tokens;
        file.finish()?.publish(path, Replaces::AnyFile, Survives::Everything)?;
        // Where there are more, the array is made when it is first needed.
        if self.identities.len() as u64 == tokens { identity::write(path, self.identities) } else { Ok(()) }
    }
}

/// Odd tokens of a segment that are being added. None of them is in the quarantine before `Adding::finish`.
#[derive(Debug)]
pub struct Adding<'q> {
    quarantine: &'q mut Quarantine,
    segment: u64,
    seen: HashSet<Identity>,
    file: NewFile,
    added: Added,
}

impl Quarantine {
    /// Begins to add the odd tokens of a segment: they replace those that it had.
    pub(crate) fn begin(&mut self, segment: u64) -> Adding<'_> {
        let file = NewFile::of_segment(&self.dir, segment);
        Adding { quarantine: self, segment, seen: HashSet::new(), file, added: Added::default() }
    }

    /// Adds odd tokens of a segment, and says how many of them are new. Durable on return.
    #[cfg(test)]
    pub(super) fn add(&mut self, segment: u64, tokens: impl IntoIterator<Item = OddToken>) -> Result<Added> {
        let mut adding = self.begin(segment);
        tokens.into_iter().try_for_each(|token| adding.push(&token))?;
        adding.finish()
    }

    /// Whether there is no room for a file of `bytes` of this segment.
    fn is_over(&self, segment: u64, bytes: u64) -> bool {
        let replaced = self.batches.get(&segment).map_or(0, |batch| batch.bytes);
        self.max_bytes > 0 && self.bytes().saturating_sub(replaced).saturating_add(bytes) > self.max_bytes
    }
}

impl Adding<'_> {
    /// Adds a token if it is new.
    pub(crate) fn push(&mut self, token: &OddToken) -> Result<()> {
        let identity = token.identity();
        if self.added.is_full || self.seen.contains(&identity) || self.quarantine.knows(identity, self.segment)? {
            return Ok(());
        }
        self.seen.insert(identity);
        let bytes = self.file.push(token)?;
        *self.added.reasons.entry(token.reason.clone()).or_default() += 1;
        self.added.is_full = self.quarantine.is_over(self.segment, bytes);
        Ok(())
    }

    /// Forgets which tokens came: the caller knows that no equal ones follow.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Makes the new tokens durable, all or none.
    pub(crate) fn finish(self) -> Result<Added> {
        if self.added.is_full {
            return Ok(Added { is_full: true, ..Added::default() });
        }
        if self.file.batch().is_some() {
            let replaces = self.quarantine.batches.contains_key(&self.segment);
            durable_step(Step::TokensQuarantined, || self.quarantine.put(self.segment, self.file))?;
            if replaces {
                self.quarantine.reasons = None;
            }
            self.quarantine.count_reasons(&self.added.reasons, &BTreeMap::new())?;
        }
        Ok(self.added)
    }
}
