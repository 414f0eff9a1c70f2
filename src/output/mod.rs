//! Files for others: whatever a command writes outside of the state directory, under a name that the operator chose.
//!
//! A regular file is replaced as a whole, by a draft with an unpredictable name beside it: nobody reads half of one, and nobody can
//! plant what is written into. The operator's own link stays, and what it leads to is replaced (`place`). A pipe or a device is
//! written into, and waited for only as long as the run may take ([`flow`]); `-` is stdout. Invariant: nothing that the name does not
//! lead to by the operator's own will is opened for writing, emptied or removed. A crash leaves the old file, and perhaps a hidden
//! draft `.etl-draft-…`, which nothing reads.

pub mod flow;
pub mod numbers;
mod place;
pub mod plain_text;

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use tempfile::NamedTempFile;

use self::flow::Flow;
use self::place::{Place, Spot};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// How a draft's name begins.
const DRAFT: &str = ".etl-draft-";

/// The permissions of an existing file that its successor keeps: no set-user-id.
const KEPT: u32 = 0o777;

/// A file of ours before it was replaced is read up to here.
const OLD_BYTES: u64 = 1 << 20;

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// The new one takes its place, its owner and its permissions.
    Replaced,
    /// It stays, and that is an error of this kind.
    Refused(ErrorKind),
}

/// What kind of file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The permissions of a new file, less the umask.
    pub mode: u32,
    /// What becomes of one that is there.
    pub there: There,
}

impl Form {
    /// For everybody to read.
    pub const PUBLIC: Self = Self { mode: 0o644, there: There::Replaced };
    /// For nobody else.
    pub const PRIVATE: Self = Self { mode: 0o600, there: There::Replaced };

    /// The same, but never in the place of another file.
    #[must_use]
    pub const fn refusing(self, kind: ErrorKind) -> Self {
        Self { there: There::Refused(kind), ..self }
    }
}

/// Gives `bytes` to whatever the name `target` stands for; a regular file is replaced as a whole.
///
/// # Errors
/// `Usage`: a directory, a disk, a socket. `State`, naming the path: another user's link, a pipe that nobody reads, the disk.
pub fn replace(target: &Path, bytes: &[u8], form: Form) -> Result<()> {
    replace_until(target, bytes, form, &running())
}

/// The same, for a run that `stop` ends.
fn replace_until(target: &Path, bytes: &[u8], form: Form, stop: &Stop) -> Result<()> {
    let mut output = Output::open_until(target, form, stop)?;
    output.write_all(bytes).map_err(|e| Error::disk("write", target, e))?;
    output.finish()
}

/// What the regular file at `target` holds. Empty where there is none, or where reading it would take something from a pipe.
#[must_use]
pub fn before(target: &Path) -> String {
    let Ok(Place::File(spot)) = place::find(target) else { return String::new() };
    let mut text = String::new();
    // One that cannot be read tells nothing.
    let _ = File::open(spot.path()).map(|file| file.take(OLD_BYTES).read_to_string(&mut text));
    text
}

/// Prints a result. A reader that has gone away (`etl status | head`) is no failure.
///
/// # Errors
/// `State`: stdout cannot be written to.
pub fn print(bytes: &[u8]) -> Result<()> {
    let printed = match crate::stop::installed() {
        // A signal ends the process where it is: nothing needs to be heard while it waits.
        None => {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Some(stop) => Flow::stdout(stop).and_then(|mut flow| flow.write_all(bytes)),
    };
    match printed {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::State, "cannot write to stdout").caused_by(e))
        }
        _ => Ok(()),
    }
}

/// What is at work in this process, for those that wait.
fn running() -> Stop {
    crate::stop::installed().unwrap_or_default()
}

/// Something that is being written for others.
#[derive(Debug)]
pub enum Output {
    /// A regular file, that has no name yet.
    File(Draft),
    /// A pipe, a device, stdout: it goes there at once.
    Flow(Flow),
}

impl Output {
    /// Opens whatever the name `target` stands for. What is written has that name after [`Output::finish`].
    ///
    /// # Errors
    /// See [`replace`].
    pub fn open(target: &Path, form: Form) -> Result<Self> {
        Self::open_until(target, form, &running())
    }

    fn open_until(target: &Path, form: Form, stop: &Stop) -> Result<Self> {
        let failed = |e| Error::disk("write", target, e);
        if target == Path::new("-") {
            return Ok(Self::Flow(Flow::stdout(stop.clone()).map_err(failed)?));
        }
        Ok(match place::find(target)? {
            Place::File(spot) => Self::File(Draft::new(spot, form)?),
            Place::Stdout => Self::Flow(Flow::stdout(stop.clone()).map_err(failed)?),
            Place::Stream(path) => Self::Flow(Flow::open(&path, stop.clone()).map_err(failed)?),
        })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// `State`, naming the path; of the form's kind for a file that is there already.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::File(draft) => draft.publish(),
            Self::Flow(_) => Ok(()),
        }
    }

    /// Gives the file the name `other`, in the same folder.
    ///
    /// # Errors
    /// As [`Output::finish`]; `State` where the name leads out of the folder.
    pub fn finish_as(self, other: &Path) -> Result<()> {
        match self {
            Self::File(draft) => draft.publish_as(other),
            Self::Flow(_) => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(draft) => draft.file.write(bytes),
            Self::Flow(flow) => flow.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A regular file that is being written, under a hidden name beside its place. Dropped, it goes.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    spot: Spot,
    form: Form,
}

impl Draft {
    fn new(spot: Spot, form: Form) -> Result<Self> {
        refuse_old(&spot, form)?;
        // Never wider than that of the file whose place it takes.
        let mode = spot.old.as_ref().map_or(form.mode, |old| old.mode() & form.mode);
        let file = tempfile::Builder::new()
            .prefix(DRAFT)
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(&spot.folder)
            .map_err(|e| Error::disk("write into", &spot.folder, e))?;
        Ok(Self { file, spot, form })
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
        let Self { file, spot, form } = self;
        let path = spot.path();
        if let Some(old) = &spot.old {
            take_after(file.as_file(), old, spot.is_shared).map_err(|e| Error::disk("write", &path, e))?;
        }
        file.as_file().sync_all().map_err(|e| Error::disk("write", &path, e))?;
        let named = match form.there {
            There::Replaced => file.persist(&path),
            There::Refused(_) => file.persist_noclobber(&path),
        };
        named.map_err(|e| match form.there {
            There::Refused(kind) if e.error.kind() == io::ErrorKind::AlreadyExists => there_already(&path, kind),
            _ => Error::disk("write", &path, e.error),
        })?;
        // Where a folder cannot be flushed, its file is there all the same.
        let _ = File::open(&spot.folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

fn refuse_old(spot: &Spot, form: Form) -> Result<()> {
    match form.there {
        There::Refused(kind) if spot.old.is_some() => Err(there_already(&spot.path(), kind)),
        _ => Ok(()),
    }
}

fn there_already(path: &Path, kind: ErrorKind) -> Error {
    Error::new(kind, format!("{} is there already", path.display()))
        .hint("nothing is overwritten: name another file, or move this one away")
}

/// Gives a file the permissions of the one whose place it takes, and the owner; in a folder of several users that could be anybody.
fn take_after(file: &File, old: &fs::Metadata, is_shared: bool) -> io::Result<()> {
    let new = file.metadata()?;
    if !is_shared && (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        // Only root may give a file away: where it is refused, the file is ours.
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    file.set_permissions(Permissions::from_mode(old.mode() & KEPT))
}

/// Begins the file `target` anew, empty, and keeps it open: for what is read while it grows.
///
/// # Errors
/// See [`replace`].
pub fn begin(target: &Path, form: Form) -> Result<Begun> {
    Ok(match Output::open(target, form)? {
        Output::Flow(flow) => Begun::Flow(flow),
        Output::File(draft) => {
            let file = draft.file.as_file().try_clone().map_err(|e| Error::disk("write", target, e))?;
            draft.publish()?;
            Begun::File(file)
        }
    })
}

/// A file that has its name from the start.
#[derive(Debug)]
pub enum Begun {
    /// A regular file.
    File(File),
    /// A pipe, a device, stdout.
    Flow(Flow),
}

impl Write for Begun {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Flow(flow) => flow.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the file at `path` is a draft that a crash left.
#[must_use]
pub fn is_draft(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DRAFT))
}

/// Makes the folder `dir` for files of others, where it is not there.
///
/// # Errors
/// `Usage`: it is a file. `State`, naming the path.
pub fn make_folder(dir: &Path) -> Result<()> {
    match fs::create_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::new(ErrorKind::Usage, format!("{} is not a directory", dir.display())).hint("name a folder"))
        }
        made => made.map_err(|e| Error::disk("create", dir, e)),
    }
}

#[cfg(test)]
mod tests;
