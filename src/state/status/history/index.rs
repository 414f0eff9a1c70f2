//! The index of runs: a line a run that is over, in the order in which they ended.
//!
//! Appended to by any run, also by one that has no lock: one write a line. Cut to the newest [`KEPT`] runs by a run that had the
//! lock, by a rename; who appended to the old file in that moment sees that it has no name any more, and appends again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::folder::Folder;
use super::{KEPT, PastRun, SCHEMA};
use crate::output::draft::Survives;
use crate::state::files::durable;
use crate::state::status::run::LastRun;

pub(super) const NAME: &str = "index.jsonl";
/// Beyond this it is cut: more than the newest runs take, however long their lines are.
const CUT_AT: u64 = 512 << 10;
/// The bound of what is kept is looked at each time that the index has grown by this.
const PACE: u64 = 32 << 10;
/// What a look for the newest runs reads.
const TAIL: u64 = 32 << 10;
/// How often a line is written to an index that is being replaced.
const TRIES: u32 = 3;

/// Appends a run. Returns whether it is time to look at the bounds. `None`: it is not there.
pub(super) fn append(folder: &Folder, run: &PastRun) -> Option<bool> {
    append_line(folder, run).unwrap_or_else(|error| {
        tracing::debug!("cannot append to {}: {error}", folder.path.join(NAME).display());
        None
    })
}

fn append_line(folder: &Folder, run: &PastRun) -> io::Result<Option<bool>> {
    let mut line = serde_json::to_vec(run)?;
    line.push(b'\n');
    for _ in 0..TRIES {
        let mut file = folder.append_to(NAME)?;
        let before = file.metadata()?.len();
        // Nobody cuts it: where others may write into the state directory, for months.
        if before > 2 * CUT_AT {
            return Ok(None);
        }
        if is_torn(&file, before)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        let meta = file.metadata()?;
        if meta.nlink() > 0 {
            return Ok(Some(before / PACE != meta.len() / PACE));
        }
    }
    Ok(None)
}

/// Whether the last line has no end.
fn is_torn(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if let Some(at) = length.checked_sub(1) {
        file.read_exact_at(&mut last, at)?;
    }
    Ok(last != [b'\n'])
}

/// Cuts the index to the newest runs where it is large.
pub(super) fn bound(folder: &Folder) {
    let path = folder.path.join(NAME);
    let Ok(file) = durable::open(&path) else { return };
    if file.metadata().map_or(0, |meta| meta.len()) <= CUT_AT {
        return;
    }
    let runs = runs(&tail(file, CUT_AT));
    let kept = runs.iter().skip(runs.len().saturating_sub(KEPT));
    let lines: Vec<u8> =
        kept.filter_map(|run| serde_json::to_vec(run).ok()).flat_map(|l| [l, vec![b'\n']].concat()).collect();
    if let Err(error) = durable::write(&path, &lines, Survives::Nothing) {
        tracing::debug!("{}", error.chain());
    }
}

/// All runs of the index that can be read, the newest last.
pub(super) fn all(dir: &Path) -> Vec<PastRun> {
    durable::open(&dir.join("runs").join(NAME)).map(|file| runs(&tail(file, 2 * CUT_AT))).unwrap_or_default()
}

/// The newest of the runs in the state directory `dir`, the newest last: those whose lines come after that of `known`; where it has
/// none, those that ended after it. Where the end of `known` is not known, its line is among them.
pub(crate) fn since(dir: &Path, known: Option<&LastRun>) -> Vec<PastRun> {
    let Ok(file) = durable::open(&dir.join("runs").join(NAME)) else { return Vec::new() };
    let mut runs = runs(&tail(file, TAIL));
    let Some(known) = known else { return runs };
    let is_known = |run: &PastRun| run.started == known.started && (run.ended.is_none() || known.ended.is_some());
    match runs.iter().rposition(is_known) {
        Some(at) => drop(runs.drain(..=at)),
        None => runs.retain(|run| run.heard() > known.heard()),
    }
    runs
}

/// The last bytes of a file.
fn tail(mut file: File, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = file.metadata().map_or(0, |meta| meta.len());
    let read = file.seek(SeekFrom::Start(length.saturating_sub(most))).and_then(|_| file.read_to_end(&mut bytes));
    if read.is_err() {
        bytes.clear();
    }
    bytes
}

/// The lines that are runs: neither torn, nor of another schema.
fn runs(lines: &[u8]) -> Vec<PastRun> {
    let runs = lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<PastRun>(line).ok());
    runs.filter(|run| run.schema == SCHEMA).collect()
}
