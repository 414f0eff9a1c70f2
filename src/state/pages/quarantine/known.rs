//! Whether a token is in the quarantine already: asked of the arrays of identities, which are opened when they are first needed,
//! and made again from the tokens where they are damaged.

use super::Quarantine;
use super::identity::{self, Identity};
use crate::error::Result;
use crate::state::files::durable;
use crate::state::files::hash_array::HashArray;

impl Quarantine {
    /// Whether a segment other than `except` has a token with this identity. The newest are asked first: what is sent again was
    /// mostly sent a moment ago.
    pub(super) fn knows(&mut self, identity: Identity, except: u64) -> Result<bool> {
        let segments: Vec<u64> = self.batches.keys().rev().copied().filter(|segment| *segment != except).collect();
        for segment in segments {
            if self.holds(segment, identity)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holds(&mut self, segment: u64, identity: Identity) -> Result<bool> {
        let Some(array) = self.array(segment)? else { return Ok(false) };
        if let Ok(holds) = array.contains(identity.into()) {
            return Ok(holds);
        }
        // A damaged block: the array is made again from the file.
        let Some(batch) = self.batches.get(&segment).copied() else { return Ok(false) };
        self.arrays.remove(&segment);
        durable::remove(&identity::array_path(&self.path(segment, batch)))?;
        self.array(segment)?.map_or(Ok(false), |array| array.contains(identity.into()))
    }

    /// The identities of a segment's tokens. `None`: it has none.
    fn array(&mut self, segment: u64) -> Result<Option<&HashArray>> {
        if !self.arrays.contains_key(&segment) {
            let Some(batch) = self.batches.get(&segment).copied() else { return Ok(None) };
            let path = self.path(segment, batch);
            let array = match identity::open(&path, batch.tokens) {
                Ok(array) => array,
                Err(_) => {
                    // It sets a damaged file aside.
                    if self.tokens(segment)?.is_none() {
                        return Ok(None);
                    }
                    identity::make(&path, batch.tokens)?;
                    identity::open(&path, batch.tokens)?
                }
            };
            self.arrays.insert(segment, array);
        }
        Ok(self.arrays.get(&segment))
    }
}
