//! The disk of a directory: its file system, what that may cost a state, and how much is free. Changes nothing.

use std::path::Path;

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;

use super::access::nearest;
use crate::error::{Error, Result};

/// The disk that a directory is on, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Bytes free for this user.
    pub(crate) free: u64,
    /// The name of the file system, if it is a well-known one.
    pub(crate) file_system: Option<&'static str>,
    /// Why a state directory should not be there.
    pub(crate) doubt: Option<&'static str>,
}

const NETWORK: &str =
    "a network file system may lose or reorder what was flushed, and not keep locks: use a local disk";
const MEMORY: &str = "it is in memory, and lost at the next restart: use a disk";
const FOREIGN: &str = "whether it keeps what was flushed is not known: use a local disk";

/// Magic number, name, doubt.
const FILE_SYSTEMS: [(u32, &str, Option<&str>); 14] = [
    (0xef53, "ext4", None),
    (0x5846_5342, "xfs", None),
    (0x9123_683e, "btrfs", None),
    (0x2fc1_2fc1, "zfs", None),
    (0xf2f5_2010, "f2fs", None),
    (0x794c_7630, "overlayfs", None),
    (0x0102_1994, "tmpfs", Some(MEMORY)),
    (0x6969, "nfs", Some(NETWORK)),
    (0xff53_4d42, "cifs", Some(NETWORK)),
    (0xfe53_4d42, "smb2", Some(NETWORK)),
    (0x00c3_6400, "ceph", Some(NETWORK)),
    (0x5346_414f, "afs", Some(NETWORK)),
    (0x0102_1997, "9p", Some(FOREIGN)),
    (0x6573_5546, "fuse", Some(FOREIGN)),
];

impl Disk {
    /// The disk of `dir`, which need not exist yet.
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let there = nearest(dir);
        let stat = statfs(&there).map_err(|e| Error::disk("look at", &there, e.into()))?;
        let (file_system, doubt) = name_of(stat.filesystem_type().0);
        Ok(Self { free: free_bytes(&there)?, file_system, doubt })
    }
}

/// Bytes free for this user on the file system of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64> {
    let stat = statvfs(dir).map_err(|e| Error::disk("look at", dir, e.into()))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Name and doubt of a file system, by its magic number.
fn name_of(magic: i64) -> (Option<&'static str>, Option<&'static str>) {
    let known = FILE_SYSTEMS.iter().find(|(number, _, _)| i64::from(*number) == (magic & 0xffff_ffff));
    known.map_or((None, None), |(_, name, doubt)| (Some(*name), *doubt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_that_does_not_exist_is_on_the_disk_of_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Disk::of(&dir.path().join("a/b")).unwrap().file_system, Disk::of(dir.path()).unwrap().file_system);
        assert!(Disk::of(dir.path()).unwrap().free > 0);
    }

    #[test]
    fn network_file_systems_are_recognised_whatever_the_sign_of_their_number() {
        assert_eq!(name_of(0x6969), (Some("nfs"), Some(NETWORK)));
        assert_eq!(name_of(i64::from(0xff53_4d42_u32.cast_signed())), (Some("cifs"), Some(NETWORK)));
        assert_eq!(name_of(0xef53), (Some("ext4"), None));
        assert_eq!(name_of(1), (None, None));
    }
}
