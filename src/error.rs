//! The error type: what went wrong, and what the operator does about it.
//!
//! Owns the one error type of the crate and the one mapping from a kind of failure to an exit code.
//! Invariant: a message names the thing it is about (hour, key, path, URL without query and userinfo)
//! and never holds a secret; the hint is the next step.

use std::fmt;

use crate::process::limits;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The system's errors that mean: nothing more can be written.
const FULL: [std::io::ErrorKind; 3] =
    [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded, std::io::ErrorKind::FileTooLarge];

/// What the operator does about a failure. In order of precedence: of several in one run, the first decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// A defect of this program: report it.
    Bug,
    /// The command line was wrong.
    Usage,
    /// Another run holds the lock: nothing to do, it will finish.
    Busy,
    /// The local disk or the state directory: free space, repair, or rebuild.
    State,
    /// The configuration: fix the named key.
    Config,
    /// A key or credential was refused.
    Credentials,
    /// The store holds something else than the ledger says, or a foreign object is in the way: look at the data.
    Mismatch,
    /// The source or the store did not answer: nothing is lost, run again later.
    Unavailable,
    /// Done, but records were newly quarantined: look at them.
    Quarantined,
    /// An hour that was asked about is not complete: read why.
    NotComplete,
}

impl ErrorKind {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 10] = [
        Self::Bug,
        Self::Usage,
        Self::Busy,
        Self::State,
        Self::Config,
        Self::Credentials,
        Self::Mismatch,
        Self::Unavailable,
        Self::Quarantined,
        Self::NotComplete,
    ];

    /// The process exit code of this kind.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Busy => 11,
            Self::State => 74,
            Self::Config => 78,
            Self::Credentials => 77,
            Self::Mismatch => 76,
            Self::Unavailable => 75,
            Self::Quarantined => 65,
            Self::NotComplete => 66,
        }
    }
}

/// A failure: its kind, the message with the noun in it, the next step, and the cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    one_object: bool,
    of_source: bool,
    /// How to raise a limit of the system, where that is the cause: no other hint helps.
    remedy: Option<String>,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The system's number of an error of the device itself.
const EIO: i32 = 5;
/// What to do then.
const BROKEN: &str = "look at that disk (`dmesg` may say more), then run again";

/// What to do about a failure of the disk, where its kind tells.
const fn on_disk(kind: std::io::ErrorKind) -> Option<&'static str> {
    use std::io::ErrorKind as Io;
    match kind {
        Io::PermissionDenied => Some("give the user that runs etl the right to, or run etl as that path's owner"),
        Io::ReadOnlyFilesystem => Some("mount it for writing, or name another folder"),
        Io::StorageFull | Io::QuotaExceeded => Some("free some space on its disk, and run again"),
        Io::NotADirectory | Io::AlreadyExists => Some("move away what lies where a folder of it should be"),
        Io::NotFound => Some("look whether its folder is still there, and the disk is mounted"),
        _ => None,
    }
}

impl Error {
    /// A failure of `kind` about what `message` names.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            one_object: false,
            of_source: false,
            remedy: None,
            cause: None,
        }
    }

    /// A failure of the local disk at `path`, while doing `what` ("write", "rename", …).
    pub fn disk(what: &str, path: &std::path::Path, cause: std::io::Error) -> Self {
        let mut error = Self::new(ErrorKind::State, format!("cannot {what} {}", path.display()));
        let broken = (cause.raw_os_error() == Some(EIO)).then_some(BROKEN);
        error.hint = on_disk(cause.kind()).or(broken).map(str::to_owned);
        if cause.kind() == std::io::ErrorKind::StorageFull && limits::is_without_inodes(path) {
            error.message.push_str(": no inodes are left on its disk");
            error.remedy = Some("remove files there, or give it more inodes: it has room for no new file".to_owned());
        }
        error.caused_by(cause)
    }

    /// Adds the next step, a sentence in the imperative.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause. A limit of the system makes any failure one of this machine.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        if let Some(remedy) = limits::remedy(&*cause) {
            self.remedy = Some(remedy);
            self.kind = ErrorKind::State;
        }
        self.cause = Some(cause);
        self
    }

    /// Marks the failure as one of this object only: the store may still accept, or return, every other object.
    #[must_use]
    pub const fn about_one_object(mut self) -> Self {
        self.one_object = true;
        self
    }

    /// Whether a failure of the store is about one object (refused, missing, or not what it should be), so that requests for others
    /// are worth sending. Otherwise (no answer, a wrong address, key or time) each of them would fail too.
    #[must_use]
    pub fn concerns_one_object(&self) -> bool {
        self.one_object || self.kind == ErrorKind::Mismatch
    }

    /// Marks the failure as one of the source.
    #[must_use]
    pub const fn about_the_source(mut self) -> Self {
        self.of_source = true;
        self
    }

    /// Whether it is the source that failed, and not the store.
    #[must_use]
    pub const fn concerns_the_source(&self) -> bool {
        self.of_source
    }

    /// What the operator does about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The next step, if there is one to name.
    #[must_use]
    pub fn next_step(&self) -> Option<&str> {
        self.remedy.as_deref().or(self.hint.as_deref())
    }

    /// Whether a full disk, or this process's limit on it, caused this failure.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.downcast_ref::<std::io::Error>().is_some_and(|io| FULL.contains(&io.kind())) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// The whole chain on one line: message, causes.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let line = error.to_string();
            // Some libraries repeat their cause in their own message.
            if !text.ends_with(&line) {
                text.push_str(": ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bug => "bug",
            Self::Usage => "usage",
            Self::Busy => "busy",
            Self::State => "state",
            Self::Config => "config",
            Self::Credentials => "credentials",
            Self::Mismatch => "mismatch",
            Self::Unavailable => "unavailable",
            Self::Quarantined => "quarantined",
            Self::NotComplete => "not complete",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use nix::libc;

    use super::*;

    #[test]
    fn limit_of_the_system_outranks_other_hints_and_makes_the_kind_state() {
        let full = || io::Error::from_raw_os_error(libc::EMFILE);
        let error = Error::new(ErrorKind::Config, "cannot make a client").caused_by(full()).hint("check the key");
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.next_step().unwrap().starts_with("raise the limit on open files: `ulimit -n`, "));
    }
}
