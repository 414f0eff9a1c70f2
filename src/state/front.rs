//! The front of a state directory: what a fetch needs, opened before anything else.
//!
//! A source forgets, so it is asked before the log, the ledger or the store are opened: a damaged part, a backlog or a store that
//! hangs must not cost what the source has now. Owns the lock, the journal, and `format`, a copy of the ledger's format and
//! settings in a file of its own. Invariant: nothing is appended under settings that the state does not allow, and no
//! page gets a number that an earlier page had. A crash leaves pages in the journal, which the next run commits.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::WatchList;
use super::files::access;
use crate::error::Result;
use crate::output::draft::Survives;
use crate::state::files::lock::Lock;
use crate::state::files::step::Step;
use crate::state::files::step::durable_step;
use crate::state::files::{checked, durable};
use crate::state::hours::ledger::{FORMAT, Settings, newer_format};
use crate::state::pages::journal::{Journal, SegmentId};

/// Where a run puts pages while another one has the lock.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Pages as received: the run that has the lock, or the next one, takes them over.
    pub(crate) journal: Journal,
    _lock: Lock,
}

impl Inbox {
    /// Opens the inbox of the state directory `dir`. `None`: another run uses it, or `settings` are not allowed there.
    pub(crate) fn open(dir: &Path, settings: &Settings) -> Result<Option<Self>> {
        access::check(dir)?;
        if !read(dir)?.is_some_and(|format| format.allows(settings)) {
            return Ok(None);
        }
        let Some(lock) = Lock::take_inbox(dir)? else { return Ok(None) };
        Ok(Some(Self { journal: Journal::inbox(dir)?, _lock: lock }))
    }
}

/// The front of a state directory. Holding one is holding the lock.
#[derive(Debug)]
pub(crate) struct Front {
    pub(super) dir: PathBuf,
    pub(super) lock: Lock,
    /// Pages as received.
    pub(crate) journal: Journal,
    format: Option<Format>,
}

/// What is in the file `format`: JSON after a line with its checksum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Format {
    format: u32,
    settings: Settings,
}

impl Format {
    fn allows(&self, settings: &Settings) -> bool {
        self.settings == *settings || self.settings.allow(settings).is_ok()
    }
}

impl Front {
    /// Opens the front of the state directory `dir`, or makes the directory. Takes the lock.
    ///
    /// # Errors
    /// `Busy`: another run is at work. `State`: of a newer format, or not private.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        access::make(dir)?;
        let lock = Lock::take(dir)?;
        let format = read(dir)?;
        Ok(Self { journal: Journal::open(dir)?, dir: dir.to_owned(), lock, format })
    }

    /// Whether pages may be appended under `settings` before the rest of the state is opened. Not in a new state, in one that
    /// etl 0.1.0 made, or where the recorded settings are damaged or do not allow these: then the whole is opened first,
    /// which settles it or reports what is wrong.
    pub(crate) fn can_receive(&self, settings: &Settings) -> bool {
        self.journal.knows_its_numbers() && self.format.as_ref().is_some_and(|format| format.allows(settings))
    }

    /// Whether the last run did not reach its end, as far as one can tell.
    pub(crate) const fn after_a_crash(&self) -> bool {
        self.lock.after_a_crash()
    }

    /// The run came to its end, and left nothing to do.
    pub(crate) const fn finish(&mut self) {
        self.lock.settle();
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a segment that is not in the journal was not committed either: it waited when the last run ended, or was rejected.
    pub(crate) fn is_missed(&self, segment: u64) -> Result<bool> {
        let waiting = WatchList::open(&self.dir, "waiting")?;
        Ok(waiting.contains(segment) || self.journal.rejected().contains(segment)?)
    }

    /// Bytes of the segments that are not known to be committed: after a crash, of all.
    pub(crate) fn waiting_bytes(&self) -> Result<u64> {
        Ok(self.waiting()?.into_iter().map(|id| self.journal.size(id)).sum())
    }

    fn waiting(&self) -> Result<Vec<SegmentId>> {
        let mut segments = self.journal.list()?;
        if !self.after_a_crash() {
            let waiting = WatchList::open(&self.dir, "waiting")?;
            segments.retain(|id| waiting.contains(id.number));
        }
        Ok(segments)
    }

    /// Makes the copy the same as the ledger.
    pub(super) fn record(&self, settings: &Settings) -> Result<()> {
        let now = Format { format: FORMAT, settings: settings.clone() };
        if self.format.as_ref() == Some(&now) {
            return Ok(());
        }
        durable_step(Step::SettingsRecorded, || checked::write_json(&path(&self.dir), &now, Survives::Everything))?;
        // The tag that etl 0.1.0 kept spoke for pages that it had not seen.
        durable::remove(&self.dir.join("seen.json"))
    }
}

/// Refuses a state directory of a newer format, for those who only look at it.
pub(crate) fn refuse_newer(dir: &Path) -> Result<()> {
    read(dir).map(|_| ())
}

/// A damaged copy counts as none: it is made again.
fn read(dir: &Path) -> Result<Option<Format>> {
    let path = path(dir);
    let Some(body) = checked::read(&path)? else { return Ok(None) };
    // The number comes first: what else a newer etl writes there, this one need not understand.
    let number =
        serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|value| value.get("format")?.as_u64());
    if let Some(newer) = number.filter(|number| *number > u64::from(FORMAT)) {
        return Err(newer_format(&path, newer));
    }
    Ok(serde_json::from_slice(&body).ok())
}

fn path(dir: &Path) -> PathBuf {
    dir.join("format")
}
