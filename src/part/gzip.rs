//! gzip members without a time, by compressors that are used again: the bytes of a member follow from its lines alone.
//!
//! Pure.

use std::io;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::packer::{BUFFER, Out};

/// A member's first bytes: deflate, no name, no time, nothing about the level, and an unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A compressor.
pub(super) struct Gzip {
    deflate: Compress,
    sum: crc32fast::Hasher,
    buffer: Vec<u8>,
}

impl Gzip {
    pub(super) fn new(level: u32) -> Self {
        let deflate = Compress::new(Compression::new(level), false);
        Self { deflate, sum: crc32fast::Hasher::new(), buffer: Vec::with_capacity(BUFFER) }
    }

    /// Begins a member.
    pub(super) fn begin(&mut self) {
        self.deflate.reset();
        self.sum.reset();
        self.buffer.clear();
        self.buffer.extend(HEADER);
    }

    /// Compresses `bytes`.
    pub(super) fn write(&mut self, mut bytes: &[u8], out: &mut Out<'_>) -> io::Result<()> {
        self.sum.update(bytes);
        while !bytes.is_empty() {
            let (taken, _) = self.compress(bytes, FlushCompress::None, out)?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the member.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        while self.compress(&[], FlushCompress::Finish, out)?.1 != Status::StreamEnd {}
        out(&self.buffer)?;
        let length = self.deflate.total_in() & u64::from(u32::MAX);
        let mut trailer = self.sum.clone().finalize().to_le_bytes().to_vec();
        trailer.extend(length.to_le_bytes().iter().take(4));
        out(&trailer)
    }

    /// One step, after which there is room in the buffer. Returns how many bytes were taken.
    fn compress(&mut self, bytes: &[u8], flush: FlushCompress, out: &mut Out<'_>) -> io::Result<(usize, Status)> {
        let before = self.deflate.total_in();
        let status = self.deflate.compress_vec(bytes, &mut self.buffer, flush).map_err(io::Error::other)?;
        if self.buffer.len() == self.buffer.capacity() {
            out(&self.buffer)?;
            self.buffer.clear();
        }
        let taken = usize::try_from(self.deflate.total_in() - before).unwrap_or(usize::MAX);
        Ok((taken, status))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        // Some of it can be compressed.
        bytes.chunks_mut(64).step_by(2).for_each(|some| some.fill(b'a'));
        bytes
    }

    fn member(gzip: &mut Gzip, text: &[u8], piece: usize) -> Vec<u8> {
        let mut member = Vec::new();
        let mut out = |bytes: &[u8]| {
            member.extend_from_slice(bytes);
            Ok(())
        };
        gzip.begin();
        text.chunks(piece).for_each(|some| gzip.write(some, &mut out).unwrap());
        gzip.finish(&mut out).unwrap();
        member
    }

    #[test]
    fn members_are_those_of_a_new_compressor_whatever_was_compressed_before_and_in_which_pieces() {
        let mut gzip = Gzip::new(4);
        for length in [0, 1, 300, BUFFER, 1 << 20, 2_500_000, 17] {
            let text = noise(length);
            let new = flate2::GzBuilder::new().mtime(0).operating_system(255);
            let mut expected = new.write(Vec::new(), Compression::new(4));
            expected.write_all(&text).unwrap();
            let expected = expected.finish().unwrap();
            for piece in [1_000, 1 << 18] {
                assert!(member(&mut gzip, &text, piece) == expected, "{length} bytes, {piece} at once");
            }
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&expected[..]).read_to_end(&mut back).unwrap();
            assert!(back == text);
        }
    }
}
