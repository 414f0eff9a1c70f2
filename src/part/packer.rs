//! Compressors of whole parts, which are used again.
//!
//! Pure. A compressor of gzip takes a third of a megabyte, one of zstd about four. If each of many small hours allocated one, between what
//! is kept of the hours, it would leave a hole in the heap into which the next does not fit.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::gzip::Gzip;
use super::zstd::Zstd;
use crate::hour::format::Compression;

/// Bytes that are handed on at once.
pub(super) const BUFFER: usize = 1 << 16;

/// Takes compressed bytes.
pub(super) type Out<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// A compressor: the bytes between [`begin`](Self::begin) and [`finish`](Self::finish) follow from what is written alone.
pub(super) enum Packer {
    Gzip(Gzip),
    Zstd(Zstd),
}

impl Packer {
    fn new(compression: Compression, levels: Levels) -> io::Result<Self> {
        Ok(match compression {
            Compression::Gzip => Self::Gzip(Gzip::new(levels.gzip)),
            Compression::Zstd => Self::Zstd(Zstd::new(levels.zstd)?),
        })
    }

    pub(super) fn begin(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => {
                gzip.begin();
                Ok(())
            }
            Self::Zstd(zstd) => zstd.begin(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], out: &mut Out<'_>) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.write(bytes, out),
            Self::Zstd(zstd) => zstd.write(bytes, out),
        }
    }

    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.finish(out),
            Self::Zstd(zstd) => zstd.finish(out),
        }
    }
}

/// How hard each of them tries.
#[derive(Debug, Clone, Copy)]
pub struct Levels {
    /// Of gzip, 1 to 9.
    pub gzip: u32,
    /// Of zstd, 1 to 22.
    pub zstd: i32,
}

/// Compressors that are not at work.
pub(super) struct Packers {
    compression: Compression,
    levels: Levels,
    idle: Mutex<Vec<Packer>>,
}

impl Packers {
    pub(super) const fn new(compression: Compression, levels: Levels) -> Self {
        Self { compression, levels, idle: Mutex::new(Vec::new()) }
    }

    pub(super) fn take(&self) -> io::Result<Packer> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Packer::new(self.compression, self.levels), Ok)
    }

    pub(super) fn give_back(&self, packer: Packer) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(packer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Levels = Levels { gzip: 4, zstd: 3 };

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        // Some of it can be compressed.
        bytes.chunks_mut(64).step_by(2).for_each(|some| some.fill(b'a'));
        bytes
    }

    fn packed(packer: &mut Packer, text: &[u8], piece: usize) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut out = |bytes: &[u8]| {
            packed.extend_from_slice(bytes);
            Ok(())
        };
        packer.begin().unwrap();
        text.chunks(piece).for_each(|some| packer.write(some, &mut out).unwrap());
        packer.finish(&mut out).unwrap();
        packed
    }

    #[test]
    fn bytes_are_those_of_a_new_compressor_whatever_was_compressed_before_and_in_which_pieces() {
        for compression in Compression::ALL {
            let packers = Packers::new(compression, LEVELS);
            for length in [0, 1, 300, BUFFER, 1 << 20, 2_500_000, 17, 5 << 20] {
                let text = noise(length);
                let expected = packed(&mut Packer::new(compression, LEVELS).unwrap(), &text, 77_777);
                for piece in [1_000, 1 << 18, 1 << 23] {
                    let mut packer = packers.take().unwrap();
                    assert!(packed(&mut packer, &text, piece) == expected, "{length} bytes, {piece} at once");
                    packers.give_back(packer);
                }
            }
        }
    }

    #[test]
    fn part_that_was_given_up_in_the_middle_leaves_nothing_behind() {
        for compression in Compression::ALL {
            let mut packer = Packer::new(compression, LEVELS).unwrap();
            let expected = packed(&mut packer, b"one\ntwo\n", 3);
            packer.begin().unwrap();
            packer.write(&noise(300_000), &mut |_| Ok(())).unwrap();
            assert_eq!(packed(&mut packer, b"one\ntwo\n", 5), expected);
        }
    }
}
