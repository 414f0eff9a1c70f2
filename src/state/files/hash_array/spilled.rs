//! Hashes that are too many for memory, for as long as a process needs them: on disk, in one array that has no name.
//!
//! Owns that array, and a filter in memory: most hashes that are not in the array cost no look at the disk. Invariant: what the filter lets
//! through is looked up, so that each answer is exact. A crash leaves nothing.

use std::path::{Path, PathBuf};

use super::{HashArray, leading};
use crate::error::Result;
use crate::record::ContentHash;

/// Bits of the filter for each hash: of a hundred that are not there it lets about one through.
const BITS: u64 = 10;
/// Bits in a group; those of a hash are in one.
const GROUP: u64 = 512;
/// Groups at most: 32 MB. With more than 26 million hashes the filter lets more through.
const GROUPS: u64 = 1 << 19;
/// Bits that are set for a hash.
const SET: u32 = 6;

/// See the module.
#[derive(Debug)]
pub(crate) struct Spilled {
    dir: PathBuf,
    array: Option<HashArray>,
    filter: Filter,
}

impl Spilled {
    /// None yet; the array will be in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), array: None, filter: Filter::default() }
    }

    /// Adds hashes. Costs a look at all that are there: add many at once.
    pub(crate) fn add(&mut self, mut hashes: Vec<ContentHash>) -> Result<()> {
        hashes.sort_unstable();
        hashes.dedup();
        let mut filter = Filter::of(hashes.len() as u64 + self.array.as_ref().map_or(0, HashArray::len));
        let array = HashArray::nameless(&self.dir, |push| {
            let mut push = |hash| {
                filter.add(hash);
                push(hash)
            };
            let mut new = hashes.into_iter().peekable();
            if let Some(array) = &self.array {
                array.for_each(&mut |hash| {
                    while let Some(smaller) = new.next_if(|new| *new < hash) {
                        push(smaller)?;
                    }
                    // What is there already is not written twice.
                    new.next_if_eq(&hash);
                    push(hash)
                })?;
            }
            new.try_for_each(push)
        })?;
        (self.array, self.filter) = (Some(array), filter);
        Ok(())
    }

    /// Whether it may have this hash: to be looked up.
    pub(crate) fn may_have(&self, hash: ContentHash) -> bool {
        self.filter.may_have(hash)
    }

    /// Gives those of `hashes`, which are ascending, that are there.
    pub(crate) fn find(&mut self, hashes: &[ContentHash], found: &mut dyn FnMut(ContentHash)) -> Result<()> {
        self.array.as_mut().map_or(Ok(()), |array| array.find(hashes, found))
    }
}

/// A Bloom filter whose bits for one hash lie together. The hashes are as good as random.
#[derive(Debug, Default)]
struct Filter(Vec<[u64; 8]>);

impl Filter {
    fn of(hashes: u64) -> Self {
        let groups = (hashes * BITS).div_ceil(GROUP).clamp(1, GROUPS);
        Self(vec![[0; 8]; usize::try_from(groups).unwrap_or(1)])
    }

    /// The group of a hash, and its bits there.
    fn place(&self, hash: ContentHash) -> (usize, [u64; 8]) {
        let group = (u128::from(leading(&hash.0)) * self.0.len() as u128) >> 64;
        let mut rest = hash.0.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let mut bits = [0; 8];
        for _ in 0..SET {
            let (word, bit) = ((rest >> 6) % 8, rest % 64);
            usize::try_from(word)
                .ok()
                .and_then(|word| bits.get_mut(word))
                .into_iter()
                .for_each(|word| *word |= 1 << bit);
            rest >>= 9;
        }
        (usize::try_from(group).unwrap_or(usize::MAX), bits)
    }

    fn add(&mut self, hash: ContentHash) {
        let (group, bits) = self.place(hash);
        if let Some(group) = self.0.get_mut(group) {
            group.iter_mut().zip(bits).for_each(|(word, bits)| *word |= bits);
        }
    }

    fn may_have(&self, hash: ContentHash) -> bool {
        let (group, bits) = self.place(hash);
        self.0.get(group).is_some_and(|group| group.iter().zip(bits).all(|(word, bits)| word & bits == bits))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hash(n: u32) -> ContentHash {
        ContentHash(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap())
    }

    #[test]
    fn what_was_added_is_found_and_nothing_else_and_the_filter_spares_most_looks() {
        let dir = tempfile::tempdir().unwrap();
        let mut spilled = Spilled::new(dir.path());
        assert!(!spilled.may_have(hash(0)));
        let mut expected = BTreeSet::new();
        for from in [0, 5_000, 4_000, 30_000] {
            let some: Vec<ContentHash> = (from..from + 6_000).map(hash).collect();
            expected.extend(some.iter().copied());
            spilled.add(some).unwrap();
            let asked: Vec<ContentHash> = (0..40_000).map(hash).collect::<BTreeSet<_>>().into_iter().collect();
            let let_through: Vec<ContentHash> = asked.iter().copied().filter(|hash| spilled.may_have(*hash)).collect();
            assert!(expected.iter().all(|hash| spilled.may_have(*hash)));
            assert!(let_through.len() - expected.len() < 40_000 / 40, "{}", let_through.len() - expected.len());
            let mut found = BTreeSet::new();
            spilled
                .find(&let_through, &mut |hash| {
                    found.insert(hash);
                })
                .unwrap();
            assert_eq!(found, expected);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a crash would leave nothing");
    }
}
