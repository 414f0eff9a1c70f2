//! What is known of one run: when, how it ended, what it brought.
//!
//! Shapes of `status.json` and of the run history: additions are free, what is here stays. Keeps nothing on the disk.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which command a run was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// `etl run`: it was to ask its source.
    #[default]
    Run,
    /// `etl replay`: it asks no source.
    Replay,
    /// `etl repair`: nor does it.
    Repair,
}

impl Command {
    /// The word of the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Replay => "replay",
            Self::Repair => "repair",
        }
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it started.
    pub started: Timestamp,
    /// When it ended; `null` while it runs, or where it was killed.
    pub ended: Option<Timestamp>,
    /// Its exit code; `null` as above.
    pub exit: Option<u8>,
    /// Which command it was.
    #[serde(default)]
    pub command: Command,
    /// What it brought so far.
    #[serde(flatten)]
    pub so_far: RunSoFar,
    /// What went wrong, most pressing first.
    #[serde(default)]
    pub problems: Vec<String>,
    /// What to do about the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl LastRun {
    /// A run that is at work.
    pub(super) const fn at_work(started: Timestamp, command: Command, so_far: RunSoFar) -> Self {
        Self { started, ended: None, exit: None, command, so_far, problems: Vec::new(), hint: None }
    }

    /// When it was last heard of.
    pub(crate) fn heard(&self) -> Timestamp {
        self.ended.unwrap_or(self.started)
    }

    /// The first of what went wrong.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problems.first().map(String::as_str)
    }

    /// The same, and what to do about it.
    pub(crate) fn advice(&self) -> Option<String> {
        let problem = self.problems.first()?;
        Some(self.hint.as_ref().map_or_else(|| problem.clone(), |hint| format!("{problem} (hint: {hint})")))
    }
}

/// What a run brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSoFar {
    /// Elements of the pages.
    pub fetched: u64,
    /// New records.
    pub new: u64,
    /// Known records.
    pub duplicates: u64,
    /// Newly quarantined tokens.
    pub quarantined: u64,
}

/// Whether a run with this exit code did all it should. One that quarantined tokens (65) did: all else is in the store.
pub(crate) const fn is_success(exit: u8) -> bool {
    matches!(exit, 0 | 65)
}
