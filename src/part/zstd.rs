//! zstd frames by contexts that are used again: the bytes of a frame follow from its lines alone.
//!
//! Pure. One frame a part, with the checksum of its content, without the length of it (that is not known when the frame begins). The window is
//! fixed, so that whoever reads a frame knows what it costs.

use std::io;

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};
use zstd::stream::read::Decoder;

use super::packer::{BUFFER, Out};

/// How far back a frame refers, as a power of two: 2 MiB, which is what level 3 uses by itself.
const WINDOW: u32 = 21;
/// How far back a frame may refer that is read: 8 MiB, which every decoder has to support. Another build may write larger windows than
/// [`WINDOW`]; a crafted frame must not ask for gigabytes.
const WIDEST: u32 = 23;

/// A compressor.
pub(super) struct Zstd {
    encoder: Encoder<'static>,
    buffer: Vec<u8>,
}

impl Zstd {
    pub(super) fn new(level: i32) -> io::Result<Self> {
        let mut encoder = Encoder::new(level)?;
        encoder.set_parameter(CParameter::ChecksumFlag(true))?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW))?;
        Ok(Self { encoder, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Begins a frame.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.encoder.reinit()
    }

    /// Compresses `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8], out: &mut Out<'_>) -> io::Result<()> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            self.step(out, |encoder, output| encoder.run(&mut input, output))?;
        }
        Ok(())
    }

    /// Ends the frame.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        while self.step(out, |encoder, output| encoder.finish(output, true))? > 0 {}
        out(&self.buffer)
    }

    /// One step, after which there is room in the buffer.
    fn step(
        &mut self,
        out: &mut Out<'_>,
        step: impl FnOnce(&mut Encoder<'static>, &mut OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let filled = self.buffer.len();
        let mut output = OutBuffer::around_pos(&mut self.buffer, filled);
        let left = step(&mut self.encoder, &mut output)?;
        if self.buffer.len() == self.buffer.capacity() {
            out(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(left)
    }
}

/// Reads one frame. What is behind it stays in `from`, which is where [`Decoder::finish`] leaves it.
pub(super) fn reader<R: io::BufRead>(from: R) -> io::Result<Decoder<'static, R>> {
    let mut decoder = Decoder::with_buffer(from)?.single_frame();
    decoder.window_log_max(WIDEST)?;
    Ok(decoder)
}
