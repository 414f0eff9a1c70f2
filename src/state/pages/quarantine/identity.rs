//! Identities: what tells one odd token from another, and an array of them for each file, so that a lookup reads no file whole.
//!
//! ```text
//! quarantine/<segment>.<tokens>.<due or ->.ids     the sorted identities of the file without .ids (a `HashArray`)
//! ```
//! An array belongs to one content of one file: its blocks are keyed to the file's checksum. An array that is missing, damaged or of
//! another content is made again from the file, so it is not fsynced.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::tokens::{Opened, Tokens};
use crate::error::{Error, Result};
use crate::hour::lifecycle::HashesRef;
use crate::output::draft::{Replaces, Survives};
use crate::record::ContentHash;
use crate::state::files::checked::DIGITS;
use crate::state::files::durable;
use crate::state::files::hash_array::HashArray;

/// How the names of arrays end.
pub const ENDING: &str = "ids";
/// The most identities that are sorted in memory at once. A larger file is sorted by shares.
const SORTED: u64 = 1 << 19;

/// 128 bits of the BLAKE3 of a plaintext, else of a token. Shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(u128);

impl Identity {
    /// The identity of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        blake3::hash(bytes).as_bytes().first_chunk().map_or(Self(0), |id| Self(u128::from_be_bytes(*id)))
    }

    /// Its leading zero bits.
    pub(crate) const fn leading_zeros(self) -> u32 {
        self.0.leading_zeros()
    }

    /// Which of 2^`bits` shares it belongs to. Shares are in the order of identities.
    pub(crate) fn share(self, bits: u32) -> u64 {
        let share = self.0.checked_shr(u128::BITS - bits.min(64)).unwrap_or(0);
        u64::try_from(share).unwrap_or(0)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Identity {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl From<Identity> for ContentHash {
    fn from(identity: Identity) -> Self {
        Self(identity.0.to_be_bytes())
    }
}

/// Into how many shares so many identities are divided, as a power of two.
pub(crate) fn share_bits(count: u64) -> u32 {
    count.div_ceil(SORTED).max(1).next_power_of_two().trailing_zeros()
}

/// Where the array of the file at `path` is.
pub(crate) fn array_path(path: &Path) -> PathBuf {
    path.with_added_extension(ENDING)
}

/// Opens the array of the file at `path`, which has `tokens`.
pub(crate) fn open(path: &Path, tokens: u64) -> Result<HashArray> {
    HashArray::open(array_path(path), key(path)?, HashesRef { version: 0, count: tokens })
}

/// Writes the array of the file at `path`, whose tokens have these `identities`.
pub(crate) fn write(path: &Path, mut identities: Vec<Identity>) -> Result<()> {
    identities.sort_unstable();
    write_sorted(path, |push| identities.into_iter().try_for_each(|identity| push(identity.into())))
}

/// Makes the array of the file at `path`, which has `tokens`, from the file.
pub(crate) fn make(path: &Path, tokens: u64) -> Result<()> {
    let bits = share_bits(tokens);
    write_sorted(path, |push| {
        for share in 0..1_u64 << bits {
            let mut sorted = read_share(path, share, bits)?;
            sorted.sort_unstable();
            sorted.into_iter().try_for_each(|identity| push(identity.into()))?;
        }
        Ok(())
    })
}

fn write_sorted(path: &Path, fill: impl FnOnce(&mut dyn FnMut(ContentHash) -> Result<()>) -> Result<()>) -> Result<()> {
    let array = array_path(path);
    HashArray::write(&array, key(path)?, fill)?.publish(&array, Replaces::AnyFile, Survives::Nothing)
}

fn read_share(path: &Path, share: u64, bits: u32) -> Result<Vec<Identity>> {
    let tokens = match Tokens::open(path)? {
        Opened::Whole(tokens) => tokens,
        Opened::Damaged(damage) => return Err(damage),
        Opened::Absent => return Ok(Vec::new()),
    };
    let identities = tokens.map(|token| token.map(|token| token.identity()));
    identities.filter(|identity| identity.as_ref().map_or(true, |id| id.share(bits) == share)).collect()
}

/// The key for the blocks of the array of one content of the file: made from its checksum.
fn key(path: &Path) -> Result<[u8; 32]> {
    let mut sum = [0; DIGITS];
    let read = durable::open(path).and_then(|mut file| file.read_exact(&mut sum));
    read.map_err(|e| Error::disk("read", path, e))?;
    Ok(blake3::derive_key("etl 2023 quarantined identities", &sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_shown_and_read_as_32_digits() {
        let identity = Identity::of(b"x");
        assert_eq!(identity.to_string().len(), 32);
        assert_eq!(identity.to_string().parse(), Ok(identity));
        assert_eq!(Identity(7).to_string(), format!("{:0>32}", 7));
    }

    #[test]
    fn shares_are_all_of_them_in_order() {
        assert_eq!((share_bits(0), share_bits(SORTED), share_bits(SORTED + 1)), (0, 0, 1));
        assert_eq!(Identity(u128::MAX).share(0), 0);
        assert_eq!([0, u128::MAX / 4 + 1, u128::MAX / 2 + 1, u128::MAX].map(|id| Identity(id).share(2)), [0, 1, 2, 3]);
    }
}
