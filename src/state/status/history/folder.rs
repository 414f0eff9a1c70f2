//! The folder `runs/`, opened so that nothing in it leads elsewhere.
//!
//! A run that is refused because others may write into the state directory is noted, too: so the folder and its files are opened
//! without following links, and the folder has to be ours alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::Uid;

/// Group and others may write.
const WRITABLE: u32 = 0o022;

/// `runs/`, open.
#[derive(Debug)]
pub(super) struct Folder {
    handle: File,
    pub(super) path: PathBuf,
}

impl Folder {
    /// Opens the folder below the state directory `dir`, which has to exist; makes it where it does not. `None`: it cannot be used.
    pub(super) fn open(dir: &Path) -> Option<Self> {
        let path = dir.join("runs");
        let handle = match open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(&path).and_then(|()| open(&path))
            }
            opened => opened,
        };
        let folder = handle.and_then(|handle| Ok((handle.metadata()?, handle)));
        match folder {
            Ok((meta, handle)) if is_ours(meta.uid()) && meta.mode() & WRITABLE == 0 => Some(Self { handle, path }),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!("cannot open {}: {error}", path.display());
                None
            }
        }
    }

    /// Opens a file of the folder for appending; makes it where it does not exist.
    pub(super) fn append_to(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.handle, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(file.into())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(path)
}

fn is_ours(owner: u32) -> bool {
    owner == 0 || owner == Uid::effective().as_raw()
}
