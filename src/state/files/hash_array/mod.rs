//! A hash array: hashes sorted in a file, looked up on disk.
//!
//! ```text
//!   blocks of 4096 bytes: 255 hashes of 16 bytes, ascending, zero padded in the last block; then 16 bytes of
//!   BLAKE3 keyed to what the array is of, and the block number
//! ```
//! Written once, never changed. Invariant: each block proves that it belongs to this array before it is believed, so damage, an older copy
//! and another array are errors, never "not there".

mod pieces;
pub(crate) mod spilled;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use self::pieces::{PIECE, Pieces};
use super::damage::Damage;
use super::durable;
use super::sorted_runs::nameless;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::lifecycle::HashesRef;
use crate::output::draft::Draft;
use crate::record::ContentHash;

const BLOCK: usize = 4096;
const HASH: usize = 16;
const PER_BLOCK: usize = BLOCK / HASH - 1;
/// Up to this many blocks an array is read whole at once: cheaper than two looks a record.
const WHOLE: u64 = 64;
/// Where so many hashes for each block are looked up together, whole blocks are read.
const SEVERAL: u64 = 4;
/// Blocks that are written at once: few, as many hours are small.
const AT_ONCE: usize = 4;

type Block = Box<[u8; BLOCK]>;

fn damaged(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::State, format!("the hash array {} is damaged or missing", path.display()))
        .hint(
            "the next run that needs it reads the hour's parts back from the store; `etl replay --from-s3` does so now",
        )
        .caused_by(Damage::to_file(path.to_owned(), why))
}

fn block_sum(seal: &[u8; 32], number: u64, hashes: &[u8]) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new_keyed(seal);
    hasher.update(&number.to_le_bytes()).update(hashes);
    let mut sum = [0; HASH];
    hasher.finalize_xof().fill(&mut sum);
    sum
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
        let out = BufWriter::with_capacity(AT_ONCE * BLOCK, file);
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
    /// What is known of each block that was checked under the seal: when it is read again, it is the same or damaged.
    checked: Vec<Option<Pieces>>,
}

impl HashArray {
    /// Opens an array of the form of this module at `path`, whose blocks are checked under `seal`.
    ///
    /// # Errors
    /// `State`, naming the path: missing, or not of the size that the count says.
    pub(crate) fn open(path: PathBuf, seal: [u8; 32], named: HashesRef) -> Result<Self> {
        let file = durable::open(&path).map_err(|e| damaged(&path, e))?;
        let blocks = named.count.div_ceil(PER_BLOCK as u64);
        let length = file.metadata().map_err(|e| Error::disk("look at", &path, e))?.len();
        if length != blocks * BLOCK as u64 {
            return Err(damaged(&path, "its length is not that of the ledger's count"));
        }
        let mut array = Self { file, path, seal, named, blocks, whole: Vec::new(), checked: Vec::new() };
        if blocks <= WHOLE {
            array.whole = (0..blocks).map(|n| array.read_block(n)).collect::<Result<_>>()?;
        }
        Ok(array)
    }

    /// Writes an array, ascending as `fill` pushes its hashes. It has no name yet.
    pub(crate) fn write(
        path: &Path,
        seal: [u8; 32],
        fill: impl FnOnce(&mut dyn FnMut(ContentHash) -> Result<()>) -> Result<()>,
    ) -> Result<Draft> {
        let mut draft = Draft::private(path)?;
        let mut out = BlockWriter::new(draft.file(), path, seal);
        fill(&mut |hash| out.push(hash))?;
        out.finish()?;
        Ok(draft)
    }

    /// Writes an array, ascending as `fill` pushes its hashes, that has no name: it goes with the process.
    fn nameless(
        dir: &Path,
        fill: impl FnOnce(&mut dyn FnMut(ContentHash) -> Result<()>) -> Result<()>,
    ) -> Result<Self> {
        let (mut file, seal) = (nameless(dir)?, blake3::derive_key("etl 2023 nameless hash array", &[]));
        let (mut out, mut count) = (BlockWriter::new(&mut file, dir, seal), 0_u64);
        fill(&mut |hash| {
            count += 1;
            out.push(hash)
        })?;
        out.finish()?;
        let blocks = count.div_ceil(PER_BLOCK as u64);
        let named = HashesRef { version: 0, count };
        Ok(Self { file, path: dir.to_owned(), seal, named, blocks, whole: Vec::new(), checked: Vec::new() })
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

    /// Gives those of `hashes`, which are ascending, that are in the array: each block is read once for all of them, and what it proved
    /// once it need not prove again while the array is open.
    pub fn find(&mut self, hashes: &[ContentHash], found: &mut dyn FnMut(ContentHash)) -> Result<()> {
        self.checked.resize(usize::try_from(self.blocks).unwrap_or(0), None);
        let mut at_hand: Option<(u64, Block)> = None;
        let (mut first, mut low) = (0, 0);
        // Of many hashes, several are in each block.
        let are_few = (hashes.len() as u64) < SEVERAL * self.blocks;
        for hash in hashes {
            if are_few && let Some(is_there) = self.find_in_a_piece(*hash)? {
                if is_there {
                    found(*hash);
                }
                continue;
            }
            let mut range = Range { first, last: self.blocks, low, high: u64::MAX };
            while range.first < range.last {
                let near = at_hand.as_ref().map(|(number, _)| *number).filter(|number| *number == range.first);
                let number = near.unwrap_or_else(|| range.guess(*hash));
                let block = match at_hand.take() {
                    Some((of, block)) if of == number => block,
                    before => self.checked_block(number, before.map(|(_, block)| block))?,
                };
                let those = self.hashes_of(number, &block);
                let (Some(least), Some(most)) = (those.first(), those.last()) else { return Ok(()) };
                if hash.0 < *least {
                    (range.last, range.high) = (number, leading(least));
                } else if hash.0 > *most {
                    (range.first, range.low) = (number + 1, leading(most));
                } else {
                    if those.binary_search(&hash.0).is_ok() {
                        found(*hash);
                    }
                    (range.first, range.low, range.last) = (number, leading(least), number);
                }
                at_hand = Some((number, block));
            }
            // What follows is not before this.
            (first, low) = (range.first, range.low);
        }
        Ok(())
    }

    /// A block, read into the memory of another.
    fn checked_block(&mut self, number: u64, memory: Option<Block>) -> Result<Block> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(block) = self.whole.get(index) {
            let mut copy = memory.unwrap_or_else(|| Box::new([0; BLOCK]));
            copy.copy_from_slice(&block[..]);
            return Ok(copy);
        }
        let block = self.read_into(number, memory.unwrap_or_else(|| Box::new([0; BLOCK])))?;
        let pieces = Pieces::of(&block, self.hashes_of(number, &block).len());
        match self.checked.get_mut(index) {
            Some(Some(before)) if *before == pieces => return Ok(block),
            Some(Some(_)) => return Err(damaged(&self.path, "a block has changed")),
            _ => self.check(number, &block)?,
        }
        if let Some(checked) = self.checked.get_mut(index) {
            *checked = Some(pieces);
        }
        Ok(block)
    }

    /// Whether a hash is there, where one piece of a block that was checked tells. `None`: whole blocks must be read.
    fn find_in_a_piece(&self, hash: ContentHash) -> Result<Option<bool>> {
        let range = Range { first: 0, last: self.blocks, low: 0, high: u64::MAX };
        if !self.whole.is_empty() || self.blocks == 0 {
            return Ok(None);
        }
        let guess = usize::try_from(range.guess(hash)).unwrap_or(usize::MAX);
        let Some((index, piece, sum)) = pieces::place(&self.checked, guess, hash) else { return Ok(None) };
        let (number, mut bytes) = (index as u64, [0; PIECE]);
        let offset = number * BLOCK as u64 + (piece * PIECE) as u64;
        self.file.read_exact_at(&mut bytes, offset).map_err(|e| damaged(&self.path, e))?;
        if crc32fast::hash(&bytes) != sum {
            return Err(damaged(&self.path, "a block has changed"));
        }
        let (hashes, _) = bytes.as_chunks::<HASH>();
        let count = self.count_in(number).saturating_sub(piece * PIECE / HASH);
        Ok(Some(hashes.get(..count.min(hashes.len())).unwrap_or_default().binary_search(&hash.0).is_ok()))
    }

    /// Every hash, ascending.
    ///
    /// # Errors
    /// `State`: a block is damaged or unreadable. And whatever `each` returns.
    pub(crate) fn for_each(&self, each: &mut dyn FnMut(ContentHash) -> Result<()>) -> Result<()> {
        self.for_each_while(&mut |hash| each(hash).map(|()| true)).map(drop)
    }

    /// Every hash, ascending, as long as `each` says `true`. Whether it always did.
    pub(crate) fn for_each_while(&self, each: &mut dyn FnMut(ContentHash) -> Result<bool>) -> Result<bool> {
        for number in 0..self.blocks {
            let block = self.read_block(number)?;
            for hash in self.hashes_of(number, &block) {
                if !each(ContentHash(*hash))? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Memory that it takes, as so many hashes.
    pub(crate) const fn held(&self) -> usize {
        self.whole.len() * PER_BLOCK + self.checked.len() * size_of::<Option<Pieces>>() / HASH
    }

    /// Hashes in it.
    pub(crate) const fn len(&self) -> u64 {
        self.named.count
    }

    fn hashes_of<'a>(&self, number: u64, block: &'a Block) -> &'a [[u8; HASH]] {
        let (hashes, _) = block.as_chunks::<HASH>();
        hashes.get(..self.count_in(number)).unwrap_or_default()
    }

    /// Hashes in a block.
    fn count_in(&self, number: u64) -> usize {
        let left = self.named.count.saturating_sub(number * PER_BLOCK as u64);
        usize::try_from(left).unwrap_or(usize::MAX).min(PER_BLOCK)
    }

    fn read_block(&self, number: u64) -> Result<Block> {
        let block = self.read_into(number, Box::new([0; BLOCK]))?;
        self.check(number, &block).map(|()| block)
    }

    fn read_into(&self, number: u64, mut block: Block) -> Result<Block> {
        self.file.read_exact_at(&mut block[..], number * BLOCK as u64).map_err(|e| damaged(&self.path, e))?;
        Ok(block)
    }

    /// Whether a block belongs here.
    fn check(&self, number: u64, block: &Block) -> Result<()> {
        let (hashes, sum) = block.split_at(PER_BLOCK * HASH);
        let belongs = block_sum(&self.seal, number, hashes) == sum;
        if belongs { Ok(()) } else { Err(damaged(&self.path, "a block's checksum does not match")) }
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
mod tests;
