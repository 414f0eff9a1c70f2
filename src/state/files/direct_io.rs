//! Direct I/O: writing past the page cache, for files that are written once and read again only after a crash.
//!
//! Here for speed: for a large segment, the copy into the page cache takes longer than the hashing, and pushes out what others
//! read. Invariant: on return the file holds all of the bytes and no others, on any file system. They are durable only after an
//! fsync; a crash in the middle leaves a part of the file.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Shorter files are not worth it.
const WORTH_IT: usize = 1 << 20;
/// Bytes handed to the device at once: few enough that the allocator keeps the memory from one segment to the next.
const CHUNK: usize = 1 << 19;
/// Devices want the memory, the length and the place in the file to be multiples of this.
const ALIGNMENT: usize = 4096;

/// Where in the memory of `bytes` a file should start, so that the device can read it from there; 0 where there is too little for
/// that to matter.
pub(crate) fn aligned_start(bytes: &Vec<u8>) -> usize {
    if bytes.capacity() < WORTH_IT { 0 } else { bytes.as_ptr().align_offset(ALIGNMENT) }
}

/// Writes `bytes` to the empty `file`.
///
/// # Errors
/// The file may hold some of the bytes.
pub(crate) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() < WORTH_IT || set_flags(file, OFlag::O_DIRECT).is_err() {
        return file.write_all(bytes);
    }
    let written = write_aligned(file, bytes);
    set_flags(file, OFlag::empty())?;
    match written {
        // This file system or device wants another alignment.
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            file.rewind()?;
            file.write_all(bytes)?;
        }
        written => written?,
    }
    file.set_len(bytes.len() as u64)
}

fn set_flags(file: &File, flags: OFlag) -> nix::Result<()> {
    fcntl(file, FcntlArg::F_SETFL(flags)).map(drop)
}

fn write_aligned(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    // Aligned memory is written without a copy, except its end.
    let in_place = if bytes.as_ptr().align_offset(ALIGNMENT) == 0 { bytes.len() / ALIGNMENT * ALIGNMENT } else { 0 };
    let (in_place, rest) = bytes.split_at(in_place);
    file.write_all(in_place)?;
    let mut memory = vec![0; CHUNK.min(rest.len().next_multiple_of(ALIGNMENT)) + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let aligned = memory.get_mut(start..).ok_or(Errno::EINVAL)?;
    for chunk in rest.chunks(CHUNK) {
        let padded = chunk.len().next_multiple_of(ALIGNMENT);
        let (data, padding) = aligned.split_at_mut(chunk.len());
        data.copy_from_slice(chunk);
        padding.fill(0);
        file.write_all(aligned.get(..padded).unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn written(dir: &std::path::Path, length: usize, shift: usize) {
        let mut memory = Vec::with_capacity(length + 2 * ALIGNMENT);
        let start = aligned_start(&memory) + shift;
        memory.resize(start, 0xff);
        memory.extend((0..length).map(|n| u8::try_from(n % 251).unwrap()));
        let bytes = &memory[start..];
        let path = dir.join(format!("{length}-{shift}"));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        write(&mut file, bytes).unwrap();
        file.sync_all().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes, "{length} bytes, {shift} off");
        // The descriptor uses the page cache again.
        file.rewind().unwrap();
        let mut start = [0; 3];
        file.read_exact(&mut start).unwrap();
        assert_eq!(start.as_slice(), bytes.get(..3).unwrap());
    }

    #[test]
    fn file_holds_the_bytes_and_no_others_at_any_length() {
        // On a disk (mostly), and in memory, which has no direct I/O.
        let disk = tempfile::tempdir().unwrap();
        let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for dir in [disk.path(), memory.path()] {
            for length in [3, WORTH_IT - 1, WORTH_IT, WORTH_IT + 1, 3 * CHUNK, 3 * CHUNK + ALIGNMENT, 4 * CHUNK + 5] {
                written(dir, length, 0);
                written(dir, length, 48);
            }
        }
    }
}
