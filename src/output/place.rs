//! What a name stands for: which links are followed, and what may be written at all.
//!
//! A link is followed if only root or this user can have made it: in a folder where others may write, it has to belong to one of the two.
//! It is examined and read through one descriptor, so that nobody can replace it in between. Opens nothing for writing.

use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;
use nix::libc;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::unistd::Uid;

use crate::error::{Error, ErrorKind, Result};

/// How many links are followed in a row: the kernel's limit.
const LINKS: u32 = 40;
/// Group and others may write.
const WRITABLE: u32 = 0o022;

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Place {
    /// A regular file, or none yet.
    File(Spot),
    /// The stdout of this process.
    Stdout,
    /// A pipe or a character device.
    Stream(PathBuf),
}

/// The place of a regular file.
#[derive(Debug)]
pub(super) struct Spot {
    /// Its folder, by its canonical name.
    pub(super) folder: PathBuf,
    /// Its name there, which is not a link.
    pub(super) name: OsString,
    /// The file that has the name, if one has.
    pub(super) old: Option<Box<Metadata>>,
    /// Whether others may write into the folder.
    pub(super) is_shared: bool,
}

impl Spot {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }
}

/// Finds what `target` stands for.
pub(super) fn find(target: &Path) -> Result<Place> {
    let mut path = target.to_owned();
    for _ in 0..LINKS {
        let (folder, name) = split(target, &path)?;
        let here = folder.join(&name);
        let found = match look(&here) {
            Ok(found) => Some(found),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::disk("look at", &here, e)),
        };
        let meta = found.as_ref().map(File::metadata).transpose().map_err(|e| Error::disk("look at", &here, e))?;
        match (found, meta) {
            (Some(link), Some(meta)) if meta.is_symlink() => match follow(&folder, &name, &link, &meta)? {
                Next::Path(next) => path = next,
                Next::Place(place) => return Ok(place),
            },
            (_, meta) => return place(folder, name, meta),
        }
    }
    Err(Error::new(ErrorKind::State, format!("{} is a link in a circle of links", target.display()))
        .hint("remove the links, or name another file"))
}

/// The folder of `path` and the name in it; `target` is what the operator wrote.
fn split(target: &Path, path: &Path) -> Result<(PathBuf, OsString)> {
    let Some(name) = path.file_name() else {
        return Err(
            Error::new(ErrorKind::Usage, format!("{} names no file", target.display())).hint("add a file's name to it")
        );
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().map_err(|e| Error::disk("write", target, e).hint("make its folder first"))?;
    Ok((folder, name.to_owned()))
}

/// Opens what has that name, even if it is a link: to be examined, not to be read.
fn look(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)
}

enum Next {
    Path(PathBuf),
    Place(Place),
}

fn follow(folder: &Path, name: &OsString, link: &File, meta: &Metadata) -> Result<Next> {
    let here = folder.join(name);
    // A link to an open file, as /dev/stdout is one, has no path to follow.
    if folder.ends_with("fd") && statfs(folder).is_ok_and(|stat| stat.filesystem_type() == PROC_SUPER_MAGIC) {
        let ours = Path::new("/proc/self/fd").canonicalize().is_ok_and(|ours| ours == folder);
        return Ok(Next::Place(if ours && name == "1" { Place::Stdout } else { Place::Stream(here) }));
    }
    if is_shared(folder)? && !is_ours(meta.uid()) {
        let what = format!("{} is a link that another user (uid {}) made", here.display(), meta.uid());
        return Err(Error::new(
            ErrorKind::State,
            format!("{what}, in a folder that others may write: it is not followed"),
        )
        .hint("remove the link, or name a file in a folder of your own"));
    }
    let text = readlinkat(link, "").map_err(|e| Error::disk("read the link", &here, e.into()))?;
    Ok(Next::Path(folder.join(text)))
}

fn place(folder: PathBuf, name: OsString, old: Option<Metadata>) -> Result<Place> {
    let here = folder.join(&name);
    let Some(kind) = old.as_ref().map(Metadata::file_type).filter(|kind| !kind.is_file()) else {
        let is_shared = is_shared(&folder)?;
        return Ok(Place::File(Spot { folder, name, old: old.map(Box::new), is_shared }));
    };
    if kind.is_fifo() || kind.is_char_device() {
        return Ok(Place::Stream(here));
    }
    Err(Error::new(ErrorKind::Usage, format!("{} is {}", here.display(), what_it_is(kind))).hint("name a file"))
}

fn what_it_is(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_block_device() {
        "a disk: it is not written into"
    } else {
        "a socket: it is not written into"
    }
}

/// Whether others than root and this user may write into a folder.
fn is_shared(folder: &Path) -> Result<bool> {
    let meta = fs::metadata(folder).map_err(|e| Error::disk("look at", folder, e))?;
    Ok(meta.mode() & WRITABLE != 0 || !is_ours(meta.uid()))
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == Uid::effective().as_raw()
}
