//! The hash arrays of hours: the content hashes of an hour's parts, one file an hour.
//!
//! ```text
//! hashes/<hour>.<version>     a [`HashArray`], keyed to hour, version and count
//! ```
//! An array is written once and replaced by one of a higher version; only the one that the ledger names counts, the others
//! are strays of a crash or of a replacement.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HashesRef;
use crate::output::draft::{Replaces, Survives};
use crate::record::ContentHash;
use crate::state::files::durable;
use crate::state::files::hash_array::HashArray;
use crate::state::files::step::{Step, durable_step};
use crate::stop::Stop;

/// A stop is heard each time that so many hashes are written.
const STOP_HEARD_EVERY: usize = 256;

/// The directory of hash arrays.
#[derive(Debug, Clone)]
pub struct HashDir {
    dir: PathBuf,
}

impl HashDir {
    /// Opens the directory below the state directory.
    pub fn open(state: &Path) -> Result<Self> {
        let opened = Self::at(state);
        durable::make_dir(&opened.dir)?;
        Ok(opened)
    }

    /// Deletes what an interrupted write left.
    pub(crate) fn remove_leftovers(&self) -> Result<()> {
        durable::remove_leftovers(&self.dir)
    }

    /// The directory, for reading only: it need not be there.
    pub(crate) fn at(state: &Path) -> Self {
        Self { dir: state.join("hashes") }
    }

    pub(crate) fn path(&self, hour: Hour, version: u64) -> PathBuf {
        self.dir.join(format!("{hour}.{version}"))
    }

    /// Opens the array of `hour` that the ledger names.
    ///
    /// # Errors
    /// `State`, naming the path: missing, or not of the size that the ledger says.
    pub fn array(&self, hour: Hour, named: HashesRef) -> Result<HashArray> {
        HashArray::open(self.path(hour, named.version), block_seal(hour, named), named)
    }

    /// Writes the array of `hour` with version `version`: the hashes of `old` and the `new` ones, which are ascending and
    /// not in `old`. Its bytes are durable on return; its name after `HashDir::make_names_durable`.
    pub fn write(&self, hour: Hour, version: u64, old: Option<&HashArray>, new: &[ContentHash]) -> Result<HashesRef> {
        let named = HashesRef { version, count: old.map_or(0, HashArray::len) + new.len() as u64 };
        let written = self.write_until(hour, named, old, &mut new.iter().map(|hash| Ok(*hash)), &Stop::new())?;
        written.ok_or_else(|| Error::new(ErrorKind::Bug, "nothing stops this, and it was stopped"))
    }

    /// Like [`HashDir::write`]; `named` has the count of old and new ones. `None`: the run is to stop, and nothing was written.
    pub(crate) fn write_until(
        &self,
        hour: Hour,
        named: HashesRef,
        old: Option<&HashArray>,
        new: NewHashes<'_>,
        stop: &Stop,
    ) -> Result<Option<HashesRef>> {
        let path = self.path(hour, named.version);
        let mut is_whole = true;
        let draft = HashArray::write(&path, block_seal(hour, named), |push| {
            is_whole = merge(old, new, stop, push)?;
            Ok(())
        })?;
        if !is_whole {
            return Ok(None);
        }
        durable_step(Step::HashesWritten, || draft.publish(&path, Replaces::AnyFile, Survives::Bytes))?;
        Ok(Some(named))
    }

    /// Makes the names of all arrays durable: to be called before the ledger names one.
    pub(crate) fn make_names_durable(&self) -> Result<()> {
        durable::sync_dir(&self.dir)
    }

    /// Deletes the arrays for which `keep` says no. Names that are no array's stay.
    pub(crate) fn retain(&self, mut keep: impl FnMut(Hour, u64) -> Result<bool>) -> Result<()> {
        for name in durable::names(&self.dir)? {
            let parsed = name.split_once('.').and_then(|(h, v)| Some((h.parse().ok()?, v.parse().ok()?)));
            if let Some((hour, version)) = parsed
                && !keep(hour, version)?
            {
                durable::remove(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    /// Deletes one array. An absent one is no error.
    pub(crate) fn remove(&self, hour: Hour, version: u64) -> Result<()> {
        durable::remove(&self.path(hour, version))
    }
}

/// The key under which the blocks of one array, and of no other, are checked.
fn block_seal(hour: Hour, named: HashesRef) -> [u8; 32] {
    let identity = format!("{hour} {} {}", named.version, named.count);
    blake3::derive_key("etl 2023 hash array block", identity.as_bytes())
}

/// New hashes, ascending.
pub(crate) type NewHashes<'a> = &'a mut dyn Iterator<Item = Result<ContentHash>>;

/// The ascending union of two ascending sets. `false`: the run is to stop, and this is not all of it.
fn merge(
    old: Option<&HashArray>,
    new: NewHashes<'_>,
    stop: &Stop,
    push: &mut dyn FnMut(ContentHash) -> Result<()>,
) -> Result<bool> {
    let mut new = new.peekable();
    let mut pushed: usize = 0;
    let mut push = |hash| {
        push(hash)?;
        pushed += 1;
        Ok(!pushed.is_multiple_of(STOP_HEARD_EVERY) || !stop.is_requested())
    };
    let mut push_up_to = |hash: ContentHash| {
        while let Some(smaller) = new.next_if(|n| n.as_ref().map_or(true, |n| *n < hash)) {
            if !push(smaller?)? {
                return Ok(false);
            }
        }
        push(hash)
    };
    if let Some(old) = old
        && !old.for_each_while(&mut push_up_to)?
    {
        return Ok(false);
    }
    for hash in new {
        if !push(hash?)? {
            return Ok(false);
        }
    }
    Ok(true)
}
