//! The history of runs: `runs/` in the state directory.
//!
//! ```text
//! runs/index.jsonl                        a line a run that is over: the newest 500, and some older ones until they are cut off
//! runs/20231110T010203.123456Z.jsonl      what one run did, an event a line: started, steps, problems, ended
//! ```
//! Every line is a JSON object with `"schema":1`. Lines are appended by one write each and never fsynced, so a crash leaves whole
//! lines and perhaps one that is torn, which readers skip. A run that has events and no line in the index was killed, or is at
//! work. Invariants: recording never fails or delays a run (on a full disk there is no history), nothing durable depends on
//! it, and it is bounded in files and in bytes, whatever runs do.

mod folder;
mod index;
mod reading;
mod stream;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::index::since;
pub(crate) use self::reading::read;

use self::folder::Folder;
use self::stream::Stream;
use super::run::{Command, LastRun, RunSoFar};
use crate::error::Error;
use crate::state::files::access;
use crate::state::files::lock::Lock;

/// Runs that are kept.
pub(crate) const KEPT: usize = 500;
/// The version of the lines.
const SCHEMA: u32 = 1;
/// Bytes of a text in a line of the index.
const TEXT: usize = 300;

/// A run of the past: a line of the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastRun {
    schema: u32,
    /// When it started.
    pub started: Timestamp,
    /// When it ended; `null` where it was killed, or is at work.
    pub ended: Option<Timestamp>,
    /// Which command it was.
    #[serde(default)]
    pub command: Command,
    /// How long it took, in seconds; `null` as above.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Its exit code; `null` as above.
    pub exit: Option<u8>,
    /// Whether it was killed: it began, and never ended.
    #[serde(default)]
    pub killed: bool,
    /// Whether it asked its source.
    #[serde(default)]
    pub asked: bool,
    /// What it brought, and what it sent.
    #[serde(flatten)]
    pub counts: Counts,
    /// What went wrong, the most pressing of it.
    #[serde(default)]
    pub problem: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a run brought, and what it sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Pages received.
    pub pages: u64,
    /// What they held.
    #[serde(flatten)]
    pub brought: RunSoFar,
    /// Parts that were sealed.
    pub sealed_parts: u64,
    /// Parts that got their receipt.
    pub uploaded_parts: u64,
    /// Records in them.
    pub uploaded_records: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<'a> {
    pub(crate) at: Timestamp,
    pub(crate) exit: u8,
    /// Whether it asked its source.
    pub(crate) asked: bool,
    pub(crate) counts: Counts,
    pub(crate) problems: &'a [Error],
}

impl PastRun {
    /// A run that left no word of its end.
    pub(super) fn killed(run: &LastRun) -> Self {
        let counts = Counts { brought: run.so_far, ..Counts::default() };
        Self {
            schema: SCHEMA,
            started: run.started,
            ended: None,
            seconds: None,
            command: run.command,
            exit: None,
            killed: true,
            asked: false,
            counts,
            problem: None,
            hint: None,
        }
    }

    /// When it was last heard of.
    pub(crate) fn heard(&self) -> Timestamp {
        self.ended.unwrap_or(self.started)
    }

    /// The same as `status.json` has it.
    pub(super) fn as_last(&self) -> LastRun {
        LastRun {
            started: self.started,
            ended: self.ended,
            exit: self.exit,
            command: self.command,
            so_far: self.counts.brought,
            problems: self.problem.iter().cloned().collect(),
            hint: self.hint.clone(),
        }
    }
}

/// Writes down what a run does. Nothing of it fails: what cannot be written is not.
#[derive(Debug)]
pub(crate) struct Recorder {
    dir: PathBuf,
    pub(crate) command: Command,
    /// When the run started: what its events, `status.json` and the index know it by.
    pub(crate) started: Timestamp,
    told: Mutex<Told>,
}

/// What was written down so far.
#[derive(Debug, Default)]
struct Told {
    stream: Option<Stream>,
    counts: Counts,
}

impl Recorder {
    /// For a run in the state directory `dir`. Writes nothing before [`Recorder::begin`].
    pub(crate) fn new(dir: &Path, command: Command, started: Timestamp) -> Self {
        Self { dir: dir.to_owned(), command, started, told: Mutex::default() }
    }

    /// Notes that the run began, once. The caller holds the lock.
    pub(crate) fn begin(&self) {
        let mut told = self.told();
        if told.stream.is_none()
            && let Some(folder) = Folder::open(&self.dir)
        {
            told.stream = Stream::begin(&folder, self.started, self.command);
        }
    }

    /// Notes what a step brought, if it brought anything.
    pub(crate) fn step(&self, name: &str, counts: Counts, now: Timestamp) {
        let mut told = self.told();
        let before = std::mem::replace(&mut told.counts, counts);
        if before != counts
            && let Some(stream) = &mut told.stream
        {
            stream.step(name, counts, now);
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // A panic elsewhere leaves whole lines: there is nothing that could be half done.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how the run ended: in the index, and in its events.
    pub(crate) fn end(&self, end: &Ended<'_>) {
        let Some(folder) = Folder::open(&self.dir) else { return };
        let Some(has_grown) = index::append(&folder, &self.past(end)) else { return };
        let mut told = self.told();
        let began = told.stream.is_some();
        // A run that did not get as far as to begin has events, too: what stopped it.
        if !began {
            told.stream = Stream::begin(&folder, self.started, self.command);
        }
        let is_large = told.stream.as_mut().is_some_and(|stream| {
            stream.end(end);
            stream.is_large()
        });
        if has_grown || is_large {
            self.bound(&folder, began);
        }
    }

    /// What the index says of it.
    pub(super) fn past(&self, end: &Ended<'_>) -> PastRun {
        PastRun {
            schema: SCHEMA,
            started: self.started,
            ended: Some(end.at),
            seconds: Some(seconds(self.started, end.at)),
            command: self.command,
            exit: Some(end.exit),
            killed: false,
            asked: end.asked,
            counts: end.counts,
            problem: end.problems.first().map(|problem| cut(&problem.chain())),
            hint: end.problems.first().and_then(Error::next_step).map(cut),
        }
    }

    /// Cuts off what is too much. Two that cut at once would be in each other's way: one of them does it.
    fn bound(&self, folder: &Folder, began: bool) {
        // Where a run was refused because of who may write there, nothing is replaced or deleted.
        if !began && access::check(&self.dir).is_err() {
            return;
        }
        if let Ok(_lock) = Lock::take(&folder.path) {
            index::bound(folder);
            reading::bound(folder);
        }
    }
}

/// How long a run took, to the millisecond. A clock that was set meanwhile makes it none.
fn seconds(started: Timestamp, ended: Timestamp) -> f64 {
    let took = ended.duration_since(started).as_millis_f64().max(0.0);
    took.round() / 1000.0
}

/// Notes in the index that a run was killed.
pub(super) fn note_killed(dir: &Path, run: &LastRun) {
    if let Some(folder) = Folder::open(dir) {
        index::append(&folder, &PastRun::killed(run));
    }
}

/// A text for a line of the index: of a bounded length.
fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= TEXT).last().unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
