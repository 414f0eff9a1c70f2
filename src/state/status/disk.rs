//! What a state directory takes on its disk. Reads only.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::DiskUse;

/// The size of a block in `st_blocks`.
const BLOCK: u64 = 512;
/// A count of this age is made again by a run that uploaded nothing: it looks at every file.
const OLD: SignedDuration = SignedDuration::from_hours(1);

/// Whether it is time to count again.
pub(super) fn is_old(disk: &DiskUse, now: Timestamp) -> bool {
    !(SignedDuration::ZERO..OLD).contains(&now.duration_since(disk.as_of))
}

/// Counts the blocks of all files below `dir`; what vanishes meanwhile is not counted. `None`: it cannot be looked into.
pub(crate) fn usage(dir: &Path, now: Timestamp) -> Option<DiskUse> {
    let mut bytes = 0;
    let mut folders = vec![fs::read_dir(dir).ok()?];
    while let Some(folder) = folders.pop() {
        for entry in folder.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * BLOCK;
            if meta.is_dir() {
                folders.extend(fs::read_dir(entry.path()));
            }
        }
    }
    Some(DiskUse { bytes, as_of: now })
}
