//! The runs of the past, for people: the index, and those that have events and no line in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::folder::Folder;
use super::stream::{EXTENSION, Event, What, name};
use super::{KEPT, PastRun, index, seconds};
use crate::state::files::durable;
use crate::state::files::lock::Lock;
use crate::state::status::run::{LastRun, RunSoFar};

/// What the events of all runs may take.
const BYTES: u64 = 8 << 20;

/// The newest runs of the state directory `dir`, the newest first: [`KEPT`] of them. What cannot be read is left out.
pub(crate) fn read(dir: &Path) -> Vec<PastRun> {
    let ended = index::all(dir);
    let known: BTreeSet<String> = ended.iter().map(|run| name(run.started)).collect();
    // A line that was written twice is one run.
    let mut runs: BTreeMap<(Timestamp, &str), PastRun> =
        ended.into_iter().map(|run| ((run.started, run.command.name()), run)).collect();
    let folder = dir.join("runs");
    let unended = durable::names(&folder).unwrap_or_default().into_iter().filter(|name| is_stream(name));
    let unended: Vec<PastRun> =
        unended.filter(|name| !known.contains(name)).filter_map(|name| unended_run(&folder.join(name))).collect();
    runs.extend(unended.into_iter().map(|run| ((run.started, run.command.name()), run)));
    let mut runs: Vec<PastRun> = runs.into_values().rev().take(KEPT).collect();
    if let Some(newest) = runs.iter_mut().find(|run| run.ended.is_none())
        && Lock::is_held(dir)
    {
        newest.killed = false;
    }
    runs
}

/// A run of which the events tell no end.
fn unended_run(path: &Path) -> Option<PastRun> {
    let bytes = durable::read(path).ok().flatten()?;
    let mut run: Option<PastRun> = None;
    for event in bytes.split(|byte| *byte == b'\n').filter_map(Event::parse) {
        match (event.what, &mut run) {
            (What::Started { command, .. }, None) => {
                run = Some(PastRun::killed(&LastRun::at_work(event.at, command, RunSoFar::default())))
            }
            (What::Step { counts, .. }, Some(run)) => run.counts = counts,
            (What::Problem { text, hint, .. }, Some(run)) if run.problem.is_none() => {
                (run.problem, run.hint) = (Some(text), hint);
            }
            (What::Ended { exit, counts }, Some(run)) => {
                (run.ended, run.exit, run.killed, run.counts) = (Some(event.at), Some(exit), false, counts);
                run.seconds = Some(seconds(run.started, event.at));
            }
            _ => {}
        }
    }
    run
}

fn is_stream(name: &str) -> bool {
    name.ends_with(EXTENSION) && name != index::NAME
}

/// Deletes the events of the oldest runs, where there are more than are kept, or they take too much room.
pub(super) fn bound(folder: &Folder) {
    let names = durable::names(&folder.path).unwrap_or_default();
    let mut bytes = 0;
    for (newer, name) in names.iter().rev().filter(|name| is_stream(name)).enumerate() {
        let path = folder.path.join(name);
        bytes += fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
        if newer >= KEPT || bytes > BYTES {
            let _ = fs::remove_file(&path);
        }
    }
}
