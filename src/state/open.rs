//! Opening a state directory: the lock, the checks, the leftovers of a crash, and what is set aside as damaged.
//!
//! Order matters: nothing is read before the lock is held, and nothing is written before the recorded format and
//! settings allow it. A directory that holds state but no ledger is damaged, never new.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::durable;
use super::ledger::{Ledger, Settings};
use super::lock::Lock;
use super::space::Reserve;
use super::wal::Wal;
use super::{HashDir, State};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;
use crate::quarantine::Quarantine;

impl State {
    /// Opens the state directory `dir`, or makes it, for a run under `settings`. Takes the lock.
    ///
    /// # Errors
    /// `Busy`: another run is at work. `State`: damaged, of a newer format, or not private. `Config`: it was made under
    /// other settings.
    pub fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        durable::make_dir(dir)?;
        check_private(dir)?;
        let lock = Lock::take(dir)?;
        let ledger = open_ledger(dir, settings)?;
        ledger.remove_leftovers()?;
        let spool = dir.join("spool");
        durable::make_dir(&spool)?;
        durable::remove_leftovers(&spool)?;
        durable::remove_leftovers(dir)?;
        let quarantine = Quarantine::open(dir)?;
        let mut repairs = Vec::new();
        let mut wal = Wal::open(dir, ledger.newest(), &mut repairs)?;
        wal.recall(ledger.seen());
        let journal = Journal::open(dir, wal.newest_segment().max(quarantine.newest_segment()))?;
        wal.note_missing(&journal.list()?);
        let mut state = Self {
            dir: dir.to_owned(),
            journal,
            quarantine,
            reserve: Reserve::new(dir),
            ledger,
            hashes: HashDir::open(dir)?,
            wal,
            repairs,
            _lock: lock,
        };
        state.settle_settings(settings)?;
        state.clear_spool()?;
        Ok(state)
    }

    /// Whether nothing was ever received, or nothing of it is left.
    fn holds_nothing(&self) -> Result<bool> {
        let idle = self.ledger.is_empty() && self.wal.pending_hours().next().is_none();
        Ok(idle && self.quarantine.count() == 0 && self.journal.list()?.is_empty())
    }

    fn settle_settings(&mut self, settings: &Settings) -> Result<()> {
        if self.ledger.settings() == settings {
            return Ok(());
        }
        if !self.holds_nothing()? {
            self.ledger.settings().allow(settings)?;
        }
        self.ledger.record_settings(settings.clone())
    }
}

/// Others must not be able to change what is durable here.
fn check_private(dir: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(dir).map_err(|e| Error::disk("look at", dir, e))?;
    if meta.permissions().mode() & 0o022 != 0 && !meta.is_symlink() {
        return Err(Error::new(
            ErrorKind::State,
            format!("the state directory {} can be written by others", dir.display()),
        )
        .hint(format!("chmod 700 {}", dir.display())));
    }
    Ok(())
}

fn open_ledger(dir: &Path, settings: &Settings) -> Result<Ledger> {
    if let Some(ledger) = Ledger::open(dir)? {
        return Ok(ledger);
    }
    for name in ["journal", "wal", "hashes", "ledger", "quarantine"] {
        let path = dir.join(name);
        if path.is_dir() && !durable::names(&path)?.is_empty() {
            return Err(Error::new(
                ErrorKind::State,
                format!("{} holds state, but its ledger is missing", dir.display()),
            )
            .hint("restore ledger/ from a backup, or move the directory away and start with a new one"));
        }
    }
    Ledger::create(dir, settings.clone())
}
