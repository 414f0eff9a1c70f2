//! What is written to, once its name is understood: a draft that will be a regular file, or a pipe, a device, stdout.
//!
//! Invariant: a regular file that is replaced leaves its permissions, and its owner where the folder is ours alone. A crash leaves
//! a hidden draft.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use super::draft::{Draft, Replaces, Survives, sync_dir};
use super::flow::Flow;
use super::place::{self, Place, Spot};
use super::{DRAFT, Form, running};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// The permissions of an existing file that its successor keeps: no set-user-id.
const KEPT: u32 = 0o777;

/// Something that is being written for others.
#[derive(Debug)]
pub enum Output {
    /// A regular file, which gets its name at the end.
    File(RegularFile),
    /// A pipe, a device, stdout: bytes go there at once.
    Flow(Flow),
}

impl Output {
    /// Opens what `target` names. A regular file has that name after [`Output::finish`].
    pub(crate) fn open(target: &Path, form: Form) -> Result<Self> {
        Self::open_until(target, form, &running())
    }

    pub(super) fn open_until(target: &Path, form: Form, stop: &Stop) -> Result<Self> {
        let failed = |e| Error::disk("write", target, e);
        if target == Path::new("-") {
            return Ok(Self::Flow(Flow::stdout(stop.clone()).map_err(failed)?));
        }
        Ok(match place::find(target)? {
            Place::File(spot) => Self::File(RegularFile::new(spot, form)?),
            Place::Stdout => Self::Flow(Flow::stdout(stop.clone()).map_err(failed)?),
            Place::Stream(path) => Self::Flow(Flow::open(&path, stop.clone()).map_err(failed)?),
        })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// `State`, naming the path; of the form's kind where a file exists.
    pub(crate) fn finish(self) -> Result<()> {
        match self {
            Self::File(file) => file.publish(),
            Self::Flow(_) => Ok(()),
        }
    }

    /// Gives the file the name `other`, in the same folder.
    pub(crate) fn finish_as(self, other: &Path) -> Result<()> {
        match self {
            Self::File(file) => file.publish_as(other),
            Self::Flow(_) => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.draft.file().write(bytes),
            Self::Flow(flow) => flow.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A regular file that is being written, under a hidden name beside its place. Dropping it removes it.
#[derive(Debug)]
pub struct RegularFile {
    draft: Draft,
    spot: Spot,
    form: Form,
}

impl RegularFile {
    fn new(spot: Spot, form: Form) -> Result<Self> {
        refuse_old(&spot, form)?;
        // Never wider than the file that it replaces.
        let kept = spot.old.as_ref().filter(|_| !form.is_view);
        let mode = kept.map_or(form.mode, |old| old.mode() & form.mode);
        Ok(Self { draft: Draft::hidden(&spot.folder, DRAFT, mode)?, spot, form })
    }

    fn publish_as(mut self, other: &Path) -> Result<()> {
        match place::find(other)? {
            Place::File(spot) if spot.folder == self.spot.folder => {
                refuse_old(&spot, self.form)?;
                self.spot = spot;
                self.publish()
            }
            _ => Err(Error::new(ErrorKind::State, format!("{} is no file of its own folder", other.display()))
                .hint("move it away")),
        }
    }

    fn publish(self) -> Result<()> {
        let Self { mut draft, spot, form } = self;
        let path = spot.path();
        if form.is_view {
            return publish_view(draft, &path, form.mode);
        }
        if let Some(old) = &spot.old {
            take_after(draft.file(), old, spot.is_shared).map_err(|e| Error::disk("write", &path, e))?;
        }
        match form.refuses {
            None => draft.publish(&path, Replaces::RegularFile, Survives::Bytes)?,
            Some(kind) if !draft.publish_new(&path, Survives::Bytes)? => return Err(exists(&path, kind)),
            Some(_) => {}
        }
        // Where a folder cannot be flushed, its file exists all the same.
        let _ = sync_dir(&spot.folder);
        Ok(())
    }
}

fn publish_view(mut draft: Draft, path: &Path, mode: u32) -> Result<()> {
    let allowed = draft.file().set_permissions(Permissions::from_mode(mode));
    allowed.map_err(|e| Error::disk("write", path, e))?;
    draft.publish(path, Replaces::RegularFile, Survives::Nothing)
}

fn refuse_old(spot: &Spot, form: Form) -> Result<()> {
    match form.refuses {
        Some(kind) if spot.old.is_some() => Err(exists(&spot.path(), kind)),
        _ => Ok(()),
    }
}

fn exists(path: &Path, kind: ErrorKind) -> Error {
    Error::new(kind, format!("{} is there already", path.display()))
        .hint("nothing is overwritten: name another file, or move this one away")
}

/// Gives a file the permissions of the one that it replaces, and the owner; in a folder of several users that could be anybody.
fn take_after(file: &File, old: &fs::Metadata, is_shared: bool) -> io::Result<()> {
    let new = file.metadata()?;
    if !is_shared && (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        // Only root may give a file away: where it is refused, the file is ours.
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    file.set_permissions(Permissions::from_mode(old.mode() & KEPT))
}

/// Replaces what `target` names by an empty file, and keeps it open: for a file that others read while it grows.
pub(crate) fn begin(target: &Path, form: Form) -> Result<Box<dyn Write + Send>> {
    Ok(match Output::open(target, form)? {
        Output::Flow(flow) => Box::new(flow),
        Output::File(mut output) => {
            let file = output.draft.file().try_clone().map_err(|e| Error::disk("write", target, e))?;
            output.publish()?;
            Box::new(file)
        }
    })
}
