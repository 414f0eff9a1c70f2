//! Pieces of blocks that were checked: enough of a block to look for one hash, an eighth of what would be read.
//!
//! Pure. Invariant: a piece is believed only if it is byte for byte that of the block whose checksum was right.

use super::{BLOCK, Block, HASH};
use crate::record::ContentHash;

/// Bytes of a piece.
pub(super) const PIECE: usize = 512;
const PER_BLOCK: usize = BLOCK / PIECE;

/// What is known of the pieces of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces {
    /// CRC-32 of each.
    sums: [u32; PER_BLOCK],
    /// How the first hash of each begins; the highest number where there is none.
    firsts: [u32; PER_BLOCK],
}

impl Pieces {
    /// Those of a block with so many hashes.
    pub(super) fn of(block: &Block, hashes: usize) -> Self {
        let mut pieces = Self { sums: [0; PER_BLOCK], firsts: [u32::MAX; PER_BLOCK] };
        for (n, (bytes, (sum, first))) in
            block.chunks(PIECE).zip(pieces.sums.iter_mut().zip(&mut pieces.firsts)).enumerate()
        {
            *sum = crc32fast::hash(bytes);
            if n * PIECE / HASH < hashes {
                *first = beginning(bytes);
            }
        }
        pieces
    }

    fn first(&self) -> u32 {
        self.firsts.first().copied().unwrap_or(u32::MAX)
    }
}

fn beginning(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Where a hash is if it is anywhere: the block, the piece, and the piece's sum. `None`: what is known of the blocks about `guess` does not
/// tell.
pub(super) fn place(blocks: &[Option<Pieces>], guess: usize, hash: ContentHash) -> Option<(usize, usize, u32)> {
    let wanted = beginning(&hash.0);
    let (mut at, mut block) = (guess, blocks.get(guess)?.as_ref()?);
    while wanted < block.first() {
        at = at.checked_sub(1)?;
        block = blocks.get(at)?.as_ref()?;
    }
    while let Some(next) = blocks.get(at + 1) {
        let next = next.as_ref()?;
        if wanted < next.first() {
            break;
        }
        (at, block) = (at + 1, next);
    }
    // Where a piece begins like the hash, the hash may be in the one before.
    let behind = block.firsts.partition_point(|first| *first < wanted);
    let piece = behind.checked_sub(1).filter(|_| block.firsts.get(behind) != Some(&wanted))?;
    Some((at, piece, block.sums.get(piece).copied()?))
}
