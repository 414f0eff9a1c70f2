//! Order of what does not fit into memory: sorted runs in a file without a name, merged as they are read.
//!
//! Owns such a file. Invariant: what comes back is what was written, as a checksum of each chunk proves, so that damage is an error and
//! never another order. A crash leaves nothing: the system frees a file without a name.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::record::ContentHash;

/// Items that are written, checked and read at once.
const CHUNK: usize = 512;

/// What can be sorted: of a fixed size on disk.
pub(crate) trait Fixed: Copy + Ord {
    /// Its bytes.
    const BYTES: usize;

    fn put(&self, to: &mut Vec<u8>);

    /// `None`: these are not the bytes of one.
    fn get(bytes: &[u8]) -> Option<Self>;
}

impl Fixed for ContentHash {
    const BYTES: usize = 16;

    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.0);
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// A new file without a name in `dir`.
pub(crate) fn nameless(dir: &Path) -> Result<File> {
    tempfile::tempfile_in(dir).map_err(|e| Error::disk("create a file in", dir, e))
}

/// Takes items in any order.
#[derive(Debug)]
pub(crate) struct Sorter<T> {
    dir: PathBuf,
    /// So many items are held; more go to the disk.
    most: usize,
    held: Vec<T>,
    file: Option<File>,
    end: u64,
    runs: Vec<Run>,
}

/// A sorted run of the file.
#[derive(Debug)]
struct Run {
    offset: u64,
    items: usize,
    /// CRC-32 of each chunk.
    sums: Vec<u32>,
}

impl<T: Fixed> Sorter<T> {
    /// Holds `most` items in memory; the file is in `dir`.
    pub(crate) const fn new(dir: PathBuf, most: usize) -> Self {
        Self { dir, most, held: Vec::new(), file: None, end: 0, runs: Vec::new() }
    }

    /// Makes room for so many items, as far as that many are held.
    pub(crate) fn reserve(&mut self, items: usize) {
        self.held.reserve_exact(items.min(self.most));
    }

    /// Takes an item.
    pub(crate) fn push(&mut self, item: T) -> Result<()> {
        self.push_or_leave_out(item, |_| Ok(()))
    }

    /// Takes an item. What is held goes to the disk when it is too much, without what `leave_out` takes out of it.
    pub(crate) fn push_or_leave_out(
        &mut self,
        item: T,
        leave_out: impl FnOnce(&mut Vec<T>) -> Result<()>,
    ) -> Result<()> {
        if self.held.len() >= self.most {
            leave_out(&mut self.held)?;
            self.write_run()?;
        }
        self.held.push(item);
        Ok(())
    }

    fn write_run(&mut self) -> Result<()> {
        self.held.sort_unstable();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nameless(&self.dir)?),
        };
        let mut run = Run { offset: self.end, items: self.held.len(), sums: Vec::new() };
        let mut bytes = Vec::with_capacity(CHUNK * T::BYTES);
        for chunk in self.held.chunks(CHUNK) {
            bytes.clear();
            chunk.iter().for_each(|item| item.put(&mut bytes));
            run.sums.push(crc32fast::hash(&bytes));
            file.write_all(&bytes).map_err(|e| Error::disk("write a file in", &self.dir, e))?;
            self.end += bytes.len() as u64;
        }
        self.runs.push(run);
        self.held.clear();
        Ok(())
    }

    /// All that was taken, without what `leave_out` takes out of the last.
    pub(crate) fn finish(mut self, leave_out: impl FnOnce(&mut Vec<T>) -> Result<()>) -> Result<Sorted<T>> {
        leave_out(&mut self.held)?;
        if self.runs.is_empty() {
            self.held.sort_unstable();
        } else {
            self.write_run()?;
            self.held = Vec::new();
        }
        Ok(Sorted { dir: self.dir, held: self.held, file: self.file, runs: self.runs })
    }
}

/// Items in order.
#[derive(Debug)]
pub(crate) struct Sorted<T> {
    dir: PathBuf,
    /// All of them, or none where they are on the disk.
    held: Vec<T>,
    file: Option<File>,
    runs: Vec<Run>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { dir: PathBuf::new(), held: Vec::new(), file: None, runs: Vec::new() }
    }
}

impl<T: Fixed> Sorted<T> {
    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        (self.held.len() + self.runs.iter().map(|run| run.items).sum::<usize>()) as u64
    }

    /// All of them, where they are in memory.
    pub(crate) fn held(&self) -> Option<&[T]> {
        self.runs.is_empty().then_some(&self.held)
    }

    /// All of them in order, equal ones one after the other.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = Result<T>> + '_> {
        match (&self.file, self.held()) {
            (Some(file), None) => Box::new(Merge {
                sorted: self,
                file,
                unread: (0..self.runs.len()).collect(),
                heads: BinaryHeap::new(),
                rests: self.runs.iter().map(|_| Rest::default()).collect(),
            }),
            _ => Box::new(self.held.iter().map(|item| Ok(*item))),
        }
    }
}

/// What of a run is at hand.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    at: usize,
    /// Chunks that were read.
    chunks: usize,
}

/// Merges the runs.
struct Merge<'s, T> {
    sorted: &'s Sorted<T>,
    file: &'s File,
    /// Runs whose next item is not among the heads.
    unread: Vec<usize>,
    heads: BinaryHeap<Reverse<(T, usize)>>,
    rests: Vec<Rest>,
}

impl<T: Fixed> Merge<'_, T> {
    /// The next item of a run.
    fn of(&mut self, index: usize) -> Result<Option<T>> {
        let (Some(run), Some(rest)) = (self.sorted.runs.get(index), self.rests.get_mut(index)) else { return Ok(None) };
        if rest.at == rest.bytes.len() {
            let left = run.items.saturating_sub(rest.chunks * CHUNK).min(CHUNK);
            if left == 0 {
                return Ok(None);
            }
            rest.bytes.resize(left * T::BYTES, 0);
            let offset = run.offset + (rest.chunks * CHUNK * T::BYTES) as u64;
            let read = self.file.read_exact_at(&mut rest.bytes, offset);
            let is_whole = run.sums.get(rest.chunks) == Some(&crc32fast::hash(&rest.bytes));
            match read {
                Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(Error::disk("read a file in", &self.sorted.dir, e));
                }
                Ok(()) if is_whole => {}
                _ => return Err(self.damaged()),
            }
            (rest.at, rest.chunks) = (0, rest.chunks + 1);
        }
        let item = rest.bytes.get(rest.at..rest.at + T::BYTES).and_then(T::get);
        rest.at += T::BYTES;
        item.map_or_else(|| Err(self.damaged()), |item| Ok(Some(item)))
    }

    fn damaged(&self) -> Error {
        let what = format!("a sorted run in {} is not what was written a moment ago", self.sorted.dir.display());
        Error::new(ErrorKind::State, what).hint("nothing is lost: run again, and look after the disk")
    }
}

impl<T: Fixed> Iterator for Merge<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(index) = self.unread.pop() {
            match self.of(index) {
                Ok(Some(item)) => self.heads.push(Reverse((item, index))),
                Ok(None) => {}
                Err(e) => return Some(Err(e)),
            }
        }
        let Reverse((least, index)) = *self.heads.peek()?;
        // The next of the same run takes its place.
        match self.of(index) {
            Ok(Some(item)) => self.heads.peek_mut().into_iter().for_each(|mut head| *head = Reverse((item, index))),
            Ok(None) => drop(self.heads.peek_mut().map(PeekMut::pop)),
            Err(e) => return Some(Err(e)),
        }
        Some(Ok(least))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Fixed for u32 {
        const BYTES: usize = 4;

        fn put(&self, to: &mut Vec<u8>) {
            to.extend(self.to_be_bytes());
        }

        fn get(bytes: &[u8]) -> Option<Self> {
            bytes.try_into().ok().map(Self::from_be_bytes)
        }
    }

    fn sorted(items: &[u32], most: usize, dir: &Path) -> Sorted<u32> {
        let mut sorter = Sorter::new(dir.to_owned(), most);
        items.iter().for_each(|item| sorter.push(*item).unwrap());
        sorter.finish(|_| Ok(())).unwrap()
    }

    proptest! {
        #[test]
        fn order_is_that_of_a_sort_in_memory(
            items in prop::collection::vec(0..5_000u32, 0..3_000),
            most in prop::sample::select(vec![1, 7, 600, 10_000]),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let found = sorted(&items, most, dir.path());
            let mut expected = items;
            expected.sort_unstable();
            prop_assert_eq!(found.len(), expected.len() as u64);
            prop_assert_eq!(found.held().is_some(), expected.len() <= most);
            for _ in 0..2 {
                prop_assert_eq!(found.iter().collect::<Result<Vec<u32>>>().unwrap(), expected.clone());
            }
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "a crash would leave nothing");
        }
    }

    #[test]
    fn changed_byte_is_an_error_and_not_another_order() {
        let dir = tempfile::tempdir().unwrap();
        let found = sorted(&(0..3_000).rev().collect::<Vec<u32>>(), 1_000, dir.path());
        let file = found.file.as_ref().unwrap();
        file.write_all_at(b"x", 5_000).unwrap();
        assert_eq!(found.iter().find_map(Result::err).unwrap().kind(), ErrorKind::State);
        file.set_len(5_000).unwrap();
        assert_eq!(found.iter().find_map(Result::err).unwrap().kind(), ErrorKind::State);
    }
}
