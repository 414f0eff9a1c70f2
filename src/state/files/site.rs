//! The place of a state directory, looked at from outside: who may write there, what file system it is on, how much is free.
//!
//! Changes nothing, takes no lock, and needs no directory to be there yet. What a run refuses is an error here too.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;
use nix::unistd::AccessFlags;

use crate::error::{Error, ErrorKind, Result};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Whether the directory is there already.
    pub exists: bool,
    /// Bytes free for this user.
    pub free: u64,
    /// The file system's name; `None` where it is none of the well-known.
    pub file_system: Option<&'static str>,
    /// What it may cost to keep a state there.
    pub doubt: Option<&'static str>,
}

const NETWORK: &str =
    "a network file system may lose or reorder what was flushed, and not keep locks: use a local disk";
const MEMORY: &str = "it is in memory, and gone with the next restart: use a disk";
const FOREIGN: &str = "what it promises about flushing is not known: use a local disk";

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

/// Looks at the place of the state directory `dir`.
///
/// # Errors
/// `State`: others can write there, it belongs to somebody else, or this user cannot write there.
pub fn look(dir: &Path) -> Result<Site> {
    let exists = dir.try_exists().map_err(|e| Error::disk("look at", dir, e))?;
    let there = nearest(dir);
    if exists {
        check_owner(dir)?;
    }
    nix::unistd::access(&there, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|e| {
        Error::disk("write into", &there, e.into()).hint("give this user the folder, or choose another as state.dir")
    })?;
    let stat = statfs(&there).map_err(|e| Error::disk("look at", &there, e.into()))?;
    let (file_system, doubt) = name_of(stat.filesystem_type().0);
    let free = stat.blocks_available().saturating_mul(u64::try_from(stat.block_size()).unwrap_or(0));
    Ok(Site { exists, free, file_system, doubt })
}

/// The directory, or the nearest one above it that is there.
fn nearest(dir: &Path) -> PathBuf {
    dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn check_owner(dir: &Path) -> Result<()> {
    let meta = fs::metadata(dir).map_err(|e| Error::disk("look at", dir, e))?;
    let refused = |what: &str| Error::new(ErrorKind::State, format!("the state directory {} {what}", dir.display()));
    if !meta.is_dir() {
        return Err(refused("is not a directory").hint("move the file away, or choose another folder as state.dir"));
    }
    if meta.permissions().mode() & 0o022 != 0 {
        return Err(refused("can be written by others").hint(format!("chmod 700 {}", dir.display())));
    }
    let me = nix::unistd::geteuid();
    if !me.is_root() && meta.uid() != me.as_raw() {
        return Err(refused("belongs to another user").hint("run as that user, or choose another folder as state.dir"));
    }
    Ok(())
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
    fn directory_that_is_not_there_yet_is_judged_by_the_one_above() {
        let dir = tempfile::tempdir().unwrap();
        let site = look(&dir.path().join("a/b")).unwrap();
        assert!(!site.exists && site.free > 0, "{site:?}");
        assert!(!dir.path().join("a").exists(), "nothing is made");
    }

    #[test]
    fn directory_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(look(dir.path()).unwrap().exists);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = look(dir.path()).unwrap_err();
        assert!(error.next_step().unwrap().starts_with("chmod 700"), "{error}");
    }

    #[test]
    fn network_file_systems_are_doubted_whatever_their_number_s_sign() {
        assert_eq!(name_of(0x6969), (Some("nfs"), Some(NETWORK)));
        assert_eq!(name_of(i64::from(0xff53_4d42_u32.cast_signed())), (Some("cifs"), Some(NETWORK)));
        assert_eq!(name_of(0xef53), (Some("ext4"), None));
        assert_eq!(name_of(1), (None, None));
    }
}
