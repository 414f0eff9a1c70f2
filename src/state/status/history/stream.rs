//! The events of one run, a JSON object a line: `started`, a `step` for each stage that brought something, each `problem`,
//! `ended`.
//!
//! Each event is one write, so that a crash leaves all before it. A run of a million steps leaves the first of them, a word that
//! there were more, and its end.

use std::fs::File;
use std::io::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{Counts, Ended, SCHEMA, cut};
use crate::state::status::run::Command;

/// Bytes for steps; problems and the end come on top, [`PROBLEMS`] of them at most.
const ROOM: usize = 64 << 10;
const PROBLEMS: usize = 50;
/// More than this is much for the events of a run.
const LARGE: usize = 8 << 10;
/// The last extension of their files.
pub(super) const EXTENSION: &str = ".jsonl";

/// An event.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event {
    schema: u32,
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum What {
    Started {
        command: Command,
        version: String,
        pid: u32,
    },
    /// What the run has brought and sent so far.
    Step {
        step: String,
        #[serde(flatten)]
        counts: Counts,
    },
    /// There is no room for more steps.
    Omitted,
    Problem {
        kind: String,
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    Ended {
        exit: u8,
        #[serde(flatten)]
        counts: Counts,
    },
}

impl Event {
    /// The event in a line; `None` where it is torn, or of another schema.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(line).ok().filter(|event| event.schema == SCHEMA)
    }
}

/// The file of a run that started at `started`.
pub(super) fn name(started: Timestamp) -> String {
    format!("{}Z{EXTENSION}", started.strftime("%Y%m%dT%H%M%S.%6f"))
}

/// The events of a run, open.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    written: usize,
}

impl Stream {
    /// Begins the events of a run. `None`: they cannot be written.
    pub(super) fn begin(folder: &Folder, started: Timestamp, command: Command) -> Option<Self> {
        let file = folder.append_to(&name(started)).map_err(|error| tracing::debug!("no events: {error}")).ok()?;
        let mut stream = Self { file, written: 0 };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        stream.write(started, What::Started { command, version, pid: std::process::id() });
        Some(stream)
    }

    /// Notes what a step brought.
    pub(super) fn step(&mut self, name: &str, counts: Counts, now: Timestamp) {
        let was_room = self.written < ROOM;
        if was_room {
            self.write(now, What::Step { step: name.to_owned(), counts });
            if self.written >= ROOM {
                self.write(now, What::Omitted);
            }
        }
    }

    /// Notes what went wrong, and the end.
    pub(super) fn end(&mut self, end: &Ended<'_>) {
        for problem in end.problems.iter().take(PROBLEMS) {
            let (kind, text) = (problem.kind().to_string(), cut(&problem.chain()));
            self.write(end.at, What::Problem { kind, text, hint: problem.next_step().map(cut) });
        }
        self.write(end.at, What::Ended { exit: end.exit, counts: end.counts });
    }

    /// Whether it takes more room than that of an ordinary run.
    pub(super) const fn is_large(&self) -> bool {
        self.written > LARGE
    }

    fn write(&mut self, at: Timestamp, what: What) {
        let Ok(mut line) = serde_json::to_vec(&Event { schema: SCHEMA, at, what }) else { return };
        line.push(b'\n');
        self.written += line.len();
        if let Err(error) = self.file.write_all(&line) {
            tracing::debug!("cannot note an event of the run: {error}");
        }
    }
}
