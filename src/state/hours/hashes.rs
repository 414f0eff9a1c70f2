//! Hash arrays: the content hashes of an hour's parts, sorted, one file an hour, looked up on disk.
//!
//! ```text
//! hashes/<hour>.<version>
//!   blocks of 4096 bytes: 255 hashes of 16 bytes, ascending, zero padded in the last block; then 16 bytes of
//!   BLAKE3 keyed to hour, version, count and block number
//! ```
//! An array is written once and replaced by one of a higher version; only the one that the ledger names counts, the others
//! are strays of a crash or of a replacement. Each block proves that it belongs here before it is believed: damage,
//! an older copy, another hour's array are errors, never "not there".

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::lifecycle::HashesRef;
use crate::record::ContentHash;
use crate::state::files::damage::Damage;
use crate::state::files::durable::{self, Unfinished};
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;

const BLOCK: usize = 4096;
const HASH: usize = 16;
const PER_BLOCK: usize = BLOCK / HASH - 1;
/// Up to this many blocks an array is read whole at once: cheaper than two looks a record.
const WHOLE: u64 = 64;

type Block = Box<[u8; BLOCK]>;

/// The directory of hash arrays.
#[derive(Debug, Clone)]
pub struct HashDir {
    dir: PathBuf,
}

impl HashDir {
    /// Opens the directory below the state directory.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn open(state: &Path) -> Result<Self> {
        let opened = Self::at(state);
        durable::make_dir(&opened.dir)?;
        Ok(opened)
    }

    /// Deletes what an interrupted write left.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn remove_leftovers(&self) -> Result<()> {
        durable::remove_leftovers(&self.dir)
    }

    /// The directory, for reading only: it need not be there.
    #[must_use]
    pub fn at(state: &Path) -> Self {
        Self { dir: state.join("hashes") }
    }

    fn path(&self, hour: Hour, version: u64) -> PathBuf {
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
    /// not in `old`. Durable on return, but for its name: that is when the ledger names it.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn write(&self, hour: Hour, version: u64, old: Option<&HashArray>, new: &[ContentHash]) -> Result<HashesRef> {
        let count = old.map_or(0, |a| a.named.count) + new.len() as u64;
        let named = HashesRef { version, count };
        let path = self.path(hour, version);
        let mut unfinished = Unfinished::create(&path)?;
        let mut out = BlockWriter::new(unfinished.file(), &path, block_seal(hour, named));
        merge(old, new, &mut |hash| out.push(hash))?;
        out.finish()?;
        durable_step(Step::HashesWritten, || unfinished.publish_name(&path))?;
        Ok(named)
    }

    /// Makes the names of all arrays durable: to be called before the ledger names one.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn make_names_durable(&self) -> Result<()> {
        durable::sync_dir(&self.dir)
    }

    /// Deletes the arrays for which `keep` says no. Names that are no array's stay.
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn retain(&self, mut keep: impl FnMut(Hour, u64) -> Result<bool>) -> Result<()> {
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
    ///
    /// # Errors
    /// `State`, naming the path.
    pub fn remove(&self, hour: Hour, version: u64) -> Result<()> {
        durable::remove(&self.path(hour, version))
    }
}

fn damaged(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::State, format!("the hash array {} is damaged or missing", path.display()))
        .hint(
            "the next run that needs it reads the hour's parts back from the store; `etl replay --from-s3` does so now",
        )
        .caused_by(Damage::to_file(path.to_owned(), why))
}

/// The key under which the blocks of one array, and of no other, are checked.
fn block_seal(hour: Hour, named: HashesRef) -> [u8; 32] {
    let identity = format!("{hour} {} {}", named.version, named.count);
    blake3::derive_key("etl 2023 hash array block", identity.as_bytes())
}

fn block_sum(seal: &[u8; 32], number: u64, hashes: &[u8]) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new_keyed(seal);
    hasher.update(&number.to_le_bytes()).update(hashes);
    let mut sum = [0; HASH];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// The ascending union of two ascending sets.
fn merge(old: Option<&HashArray>, new: &[ContentHash], push: &mut dyn FnMut(ContentHash) -> Result<()>) -> Result<()> {
    let mut new = new.iter().copied().peekable();
    if let Some(old) = old {
        old.for_each(&mut |hash| {
            while let Some(smaller) = new.next_if(|n| *n < hash) {
                push(smaller)?;
            }
            push(hash)
        })?;
    }
    new.try_for_each(push)
}

struct BlockWriter<'a> {
    out: BufWriter<&'a mut File>,
    path: &'a Path,
    seal: [u8; 32],
    block: Block,
    filled: usize,
    number: u64,
}

impl<'a> BlockWriter<'a> {
    fn new(file: &'a mut File, path: &'a Path, seal: [u8; 32]) -> Self {
        let out = BufWriter::with_capacity(16 * BLOCK, file);
        Self { out, path, seal, block: Box::new([0; BLOCK]), filled: 0, number: 0 }
    }

    fn push(&mut self, hash: ContentHash) -> Result<()> {
        if let Some(slot) = self.block.get_mut(self.filled * HASH..(self.filled + 1) * HASH) {
            slot.copy_from_slice(&hash.0);
        }
        self.filled += 1;
        if self.filled == PER_BLOCK { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<()> {
        let (hashes, sum) = self.block.split_at_mut(PER_BLOCK * HASH);
        sum.copy_from_slice(&block_sum(&self.seal, self.number, hashes));
        self.out.write_all(&self.block[..]).map_err(|e| Error::disk("write", self.path, e))?;
        self.block.fill(0);
        (self.filled, self.number) = (0, self.number + 1);
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        if self.filled > 0 {
            self.end_block()?;
        }
        self.out.flush().map_err(|e| Error::disk("write", self.path, e))
    }
}

/// The sorted hashes of one hour.
#[derive(Debug)]
pub struct HashArray {
    file: File,
    path: PathBuf,
    seal: [u8; 32],
    named: HashesRef,
    blocks: u64,
    whole: Vec<Block>,
}

impl HashArray {
    /// Opens an array of the form of this module at `path`, whose blocks are checked under `seal`.
    ///
    /// # Errors
    /// `State`, naming the path: missing, or not of the size that the count says.
    pub fn open(path: PathBuf, seal: [u8; 32], named: HashesRef) -> Result<Self> {
        let file = durable::open(&path).map_err(|e| damaged(&path, e))?;
        let blocks = named.count.div_ceil(PER_BLOCK as u64);
        let length = file.metadata().map_err(|e| Error::disk("look at", &path, e))?.len();
        if length != blocks * BLOCK as u64 {
            return Err(damaged(&path, "its length is not that of the ledger's count"));
        }
        let mut array = Self { file, path, seal, named, blocks, whole: Vec::new() };
        if blocks <= WHOLE {
            array.whole = (0..blocks).map(|n| array.read_block(n)).collect::<Result<_>>()?;
        }
        Ok(array)
    }

    /// Writes an array that can be made again, ascending as `fill` pushes its hashes: whole under its name on return, but
    /// durable when the kernel likes.
    ///
    /// # Errors
    /// `State`, naming the path; and whatever `fill` returns.
    pub fn write_soon(
        path: &Path,
        seal: [u8; 32],
        fill: impl FnOnce(&mut dyn FnMut(ContentHash) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let mut unfinished = Unfinished::create(path)?;
        let mut out = BlockWriter::new(unfinished.file(), path, seal);
        fill(&mut |hash| out.push(hash))?;
        out.finish()?;
        unfinished.publish_soon(path)
    }

    /// Whether `hash` is in the array.
    ///
    /// # Errors
    /// `State`: a block is damaged or unreadable; never taken for "not there".
    pub fn contains(&self, hash: ContentHash) -> Result<bool> {
        let mut range = Range { first: 0, last: self.blocks, low: 0, high: u64::MAX };
        while range.first < range.last {
            let number = range.guess(hash);
            let read;
            let block = match usize::try_from(number).ok().and_then(|n| self.whole.get(n)) {
                Some(block) => block,
                None => {
                    read = self.read_block(number)?;
                    &read
                }
            };
            let hashes = self.hashes_of(number, block);
            let (Some(first), Some(last)) = (hashes.first(), hashes.last()) else { return Ok(false) };
            if hash.0 < *first {
                (range.last, range.high) = (number, leading(first));
            } else if hash.0 > *last {
                (range.first, range.low) = (number + 1, leading(last));
            } else {
                return Ok(hashes.binary_search(&hash.0).is_ok());
            }
        }
        Ok(false)
    }

    /// Every hash, ascending.
    ///
    /// # Errors
    /// `State`: a block is damaged or unreadable. And whatever `each` returns.
    pub fn for_each(&self, each: &mut dyn FnMut(ContentHash) -> Result<()>) -> Result<()> {
        for number in 0..self.blocks {
            let block = self.read_block(number)?;
            for hash in self.hashes_of(number, &block) {
                each(ContentHash(*hash))?;
            }
        }
        Ok(())
    }

    /// Hashes of it that are held in memory.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.whole.len() * PER_BLOCK
    }

    /// Hashes in it.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.named.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.named.count == 0
    }

    fn hashes_of<'a>(&self, number: u64, block: &'a Block) -> &'a [[u8; HASH]] {
        let left = self.named.count.saturating_sub(number * PER_BLOCK as u64);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(PER_BLOCK);
        let (hashes, _) = block.as_chunks::<HASH>();
        hashes.get(..count).unwrap_or_default()
    }

    fn read_block(&self, number: u64) -> Result<Block> {
        let mut block: Block = Box::new([0; BLOCK]);
        self.file.read_exact_at(&mut block[..], number * BLOCK as u64).map_err(|e| damaged(&self.path, e))?;
        let (hashes, sum) = block.split_at(PER_BLOCK * HASH);
        let belongs = block_sum(&self.seal, number, hashes) == sum;
        if belongs { Ok(block) } else { Err(damaged(&self.path, "a block's checksum does not match")) }
    }
}

/// Where a hash may be: blocks `first..last`, whose hashes lead with numbers from `low` to `high`.
struct Range {
    first: u64,
    last: u64,
    low: u64,
    high: u64,
}

impl Range {
    /// The block in which `hash` should be if the hashes are spread evenly, as those of a cryptographic hash are: so the
    /// first guess is off by about the square root of the count, and the second, from there, by almost nothing.
    fn guess(&self, hash: ContentHash) -> u64 {
        let span = u128::from(self.high.saturating_sub(self.low).max(1));
        let offset = u128::from(leading(&hash.0).saturating_sub(self.low));
        let blocks = u128::from(self.last - self.first);
        let guess = u64::try_from(offset * blocks / span).unwrap_or(u64::MAX);
        self.first.saturating_add(guess).min(self.last - 1)
    }
}

fn leading(hash: &[u8; HASH]) -> u64 {
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn hash(n: u64) -> ContentHash {
        let digest = blake3::hash(&n.to_le_bytes());
        ContentHash(*digest.as_bytes().first_chunk().unwrap())
    }

    fn sorted(range: std::ops::Range<u64>) -> Vec<ContentHash> {
        let mut hashes: Vec<_> = range.map(hash).collect();
        hashes.sort_unstable();
        hashes
    }

    fn hour() -> Hour {
        "2023-03-10T01".parse().unwrap()
    }

    #[test]
    fn what_was_written_is_there_and_nothing_else_at_any_size() {
        let dir = tempfile::tempdir().unwrap();
        let hashes = HashDir::open(dir.path()).unwrap();
        for count in [0, 1, 254, 255, 256, 2_000, 50_000] {
            let named = hashes.write(hour(), count, None, &sorted(0..count)).unwrap();
            let array = hashes.array(hour(), named).unwrap();
            for n in (0..count).step_by(1 + usize::try_from(count / 500).unwrap()) {
                assert!(array.contains(hash(n)).unwrap(), "{n} of {count}");
            }
            for n in count..count + 200 {
                assert!(!array.contains(hash(n)).unwrap(), "{n} is not among {count}");
            }
            assert!(!array.contains(ContentHash([0; 16])).unwrap());
            assert!(!array.contains(ContentHash([0xff; 16])).unwrap());
        }
    }

    #[test]
    fn next_version_holds_the_old_and_the_new() {
        let dir = tempfile::tempdir().unwrap();
        let hashes = HashDir::open(dir.path()).unwrap();
        let first = hashes.write(hour(), 1, None, &sorted(0..300)).unwrap();
        let old = hashes.array(hour(), first).unwrap();
        let named = hashes.write(hour(), 2, Some(&old), &sorted(300..1000)).unwrap();
        let mut all = Vec::new();
        hashes
            .array(hour(), named)
            .unwrap()
            .for_each(&mut |h| {
                all.push(h);
                Ok(())
            })
            .unwrap();
        assert_eq!(all, sorted(0..1000));
    }

    #[test]
    fn damage_is_an_error_and_never_absence() {
        let dir = tempfile::tempdir().unwrap();
        let hashes = HashDir::open(dir.path()).unwrap();
        let named = hashes.write(hour(), 1, None, &sorted(0..300)).unwrap();
        let path = hashes.path(hour(), 1);
        let good = fs::read(&path).unwrap();
        for at in [0, 4080, 4095, 4096, 8191] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(hashes.array(hour(), named).is_err(), "byte {at}");
        }
        fs::write(&path, &good[..4096]).unwrap();
        assert!(hashes.array(hour(), named).is_err(), "cut");
        fs::remove_file(&path).unwrap();
        assert!(hashes.array(hour(), named).is_err(), "missing");
    }

    #[test]
    fn older_copy_under_the_newer_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let hashes = HashDir::open(dir.path()).unwrap();
        hashes.write(hour(), 1, None, &sorted(0..10)).unwrap();
        let newer = hashes.write(hour(), 2, None, &sorted(5..15)).unwrap();
        fs::copy(hashes.path(hour(), 1), hashes.path(hour(), 2)).unwrap();
        assert!(hashes.array(hour(), newer).is_err());
    }
}
