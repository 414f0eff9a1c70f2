//! Files for others: what a command writes outside of the state directory, under a name that the operator chose.
//!
//! A regular file is replaced as a whole: a hidden `draft` beside it takes its name, so nobody reads half of one, and nobody can
//! prepare a file for us to write into. A link that the operator made stays, and the file that it leads to is replaced (`place`). A pipe
//! or a device is written into, for as long as the run may take ([`flow`]); `-` is stdout. Invariant: only files that the name
//! leads to by the operator's own will are opened for writing, emptied or removed. A crash leaves the old file, and perhaps a
//! draft `.etl-draft-…`, which nothing reads.

pub(crate) mod draft;
pub mod flow;
pub mod numbers;
mod place;
pub mod plain_text;
mod writer;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use self::flow::Flow;
use self::place::Place;
pub use self::writer::Output;
pub(crate) use self::writer::begin;
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// How the name of a draft begins.
const DRAFT: &str = ".etl-draft-";

/// How much of an old file is read.
const OLD_BYTES: u64 = 1 << 20;

/// Who may read a file, and whether it may replace another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The permissions of a new file, less the umask.
    mode: u32,
    /// The kind of error where a file exists; `None`: the new one takes its place, its owner and its permissions.
    refuses: Option<ErrorKind>,
    /// Whether it is a view, written again and again: it has exactly these permissions, and need not survive a power cut.
    is_view: bool,
}

impl Form {
    /// Everybody may read it.
    pub const PUBLIC: Self = Self { mode: 0o644, refuses: None, is_view: false };
    /// Only this user may read it.
    pub const PRIVATE: Self = Self { mode: 0o600, refuses: None, is_view: false };

    /// A view with exactly these permissions, whatever the umask and those of the file that it replaces.
    pub(crate) const fn view(mode: u32) -> Self {
        Self { mode, refuses: None, is_view: true }
    }

    /// The same, but a file that exists stays, and that is an error of this kind.
    pub(crate) const fn refusing(self, kind: ErrorKind) -> Self {
        Self { refuses: Some(kind), ..self }
    }
}

/// Writes `bytes` to what `target` names; a regular file is replaced as a whole.
///
/// # Errors
/// `Usage`: a directory, a disk, a socket. `State`: another user's link, a pipe that nobody reads, the disk.
pub(crate) fn replace(target: &Path, bytes: &[u8], form: Form) -> Result<()> {
    replace_until(target, bytes, form, &running())
}

/// The same, for a run that `stop` ends.
fn replace_until(target: &Path, bytes: &[u8], form: Form, stop: &Stop) -> Result<()> {
    let mut output = Output::open_until(target, form, stop)?;
    output.write_all(bytes).map_err(|e| Error::disk("write", target, e))?;
    output.finish()
}

/// The text of the regular file at `target`. Empty where there is none; a pipe is not read.
pub(crate) fn before(target: &Path) -> String {
    let Ok(Place::File(spot)) = place::find(target) else { return String::new() };
    let mut text = String::new();
    // One that cannot be read counts as empty.
    let _ = File::open(spot.path()).map(|file| file.take(OLD_BYTES).read_to_string(&mut text));
    text
}

/// The bytes of the regular file at `path`, which may be a link to it: `most` of them.
pub(crate) fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // A pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Prints a result. A reader that closes the pipe (`etl status | head`) is not a failure.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    let printed = match crate::stop::installed() {
        // A signal ends the process where it is: nothing needs to look for one while it waits.
        None => {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Some(stop) => Flow::stdout(stop).and_then(|mut flow| flow.write_all(bytes)),
    };
    match printed {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Error::new(ErrorKind::State, "cannot write to stdout")
            .caused_by(e)
            .hint("look at what reads it, or the disk of its file")),
        _ => Ok(()),
    }
}

/// The stop of the command that runs in this process.
fn running() -> Stop {
    crate::stop::installed().unwrap_or_default()
}

/// Whether the file at `path` is a draft that a crash left.
pub(crate) fn is_draft(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(DRAFT))
}

/// Makes the folder `dir` for files of others, where it does not exist.
///
/// # Errors
/// `Usage`: it is a file. `State`, naming the path.
pub(crate) fn make_folder(dir: &Path) -> Result<()> {
    match fs::create_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::new(ErrorKind::Usage, format!("{} is not a directory", dir.display())).hint("name a folder"))
        }
        made => made.map_err(|e| Error::disk("create", dir, e)),
    }
}

#[cfg(test)]
mod tests;
