//! Opening a state directory: the lock, the checks, the leftovers of a crash, and what is set aside as damaged.
//!
//! Order matters: nothing is read before the lock is held, and nothing is written before the recorded format and
//! settings allow it. A directory that holds state but no ledger is damaged, never new.

use std::collections::BTreeSet;
use std::path::Path;

use super::durable;
use super::ledger::{Ledger, Settings};
use super::lock::Lock;
use super::private;
use super::space::Reserve;
use super::wal::Wal;
use super::{HashDir, Roll, State};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::journal::{Journal, SegmentId};
use crate::lifecycle::HourRow;
use crate::quarantine::Quarantine;

impl State {
    /// Opens the state directory `dir`, or makes it, for a run under `settings`. Takes the lock.
    ///
    /// # Errors
    /// `Busy`: another run is at work. `State`: damaged, of a newer format, or not private. `Config`: it was made under
    /// other settings.
    pub fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        durable::make_dir(dir)?;
        private::check(dir)?;
        let lock = Lock::take(dir)?;
        let ledger = open_ledger(dir, settings)?;
        Self::open_with(dir, settings, lock, ledger, Vec::new())
    }

    /// Opens the state directory `dir` although its ledger may be damaged or missing: what is damaged is set aside, and the
    /// caller reads the parts back from the store.
    ///
    /// # Errors
    /// See [`State::open`].
    pub fn open_without_ledger(dir: &Path, settings: &Settings) -> Result<Self> {
        durable::make_dir(dir)?;
        private::check(dir)?;
        let lock = Lock::take(dir)?;
        let mut repairs = Vec::new();
        Ledger::set_aside_damage(dir, &mut repairs)?;
        let ledger = match Ledger::open(dir)? {
            Some(ledger) => ledger,
            None => Ledger::create(dir, settings.clone())?,
        };
        Self::open_with(dir, settings, lock, ledger, repairs)
    }

    fn open_with(
        dir: &Path,
        settings: &Settings,
        lock: Lock,
        ledger: Ledger,
        mut repairs: Vec<String>,
    ) -> Result<Self> {
        ledger.remove_leftovers()?;
        let spool = dir.join("spool");
        durable::make_dir(&spool)?;
        durable::remove_leftovers(&spool)?;
        durable::remove_leftovers(dir)?;
        let mut quarantine = Quarantine::open(dir)?;
        let mut wal = Wal::open(dir, ledger.newest(), &mut repairs)?;
        wal.recall(ledger.seen());
        let journal = Journal::open(dir, wal.newest_segment().max(quarantine.newest_segment()))?;
        let listed = journal.list()?;
        wal.note_missing(&listed);
        let waiting = Roll::open(dir, "waiting")?;
        let mut losses = Vec::new();
        losses.extend(vanished_pages(&waiting, &listed, &wal));
        losses.extend(quarantine.vanished()?);
        let short = short_hours(&ledger, &wal);
        let mut state = Self {
            dir: dir.to_owned(),
            journal,
            quarantine,
            reserve: Reserve::new(dir),
            ledger,
            hashes: HashDir::open(dir)?,
            wal,
            repairs,
            losses,
            short,
            waiting,
            named: BTreeSet::new(),
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

/// The pages that waited and are gone, neither committed nor there.
fn vanished_pages(waiting: &Roll, listed: &[SegmentId], wal: &Wal) -> Option<Error> {
    let there: BTreeSet<u64> = listed.iter().map(|id| id.number).collect();
    let gone: Vec<u64> =
        waiting.names().keys().copied().filter(|n| !there.contains(n) && !wal.is_committed(*n)).collect();
    let first = gone.first()?;
    let what = format!("{} pages that waited in the journal are gone, the first of them number {first}", gone.len());
    let hint =
        "restore journal/ from a backup if there is one; what the source still has comes by itself; this is said once";
    Some(Error::new(ErrorKind::State, what).hint(hint))
}

/// How many records of the parts that wait for receipts the log no longer holds.
pub(super) fn gone_from_log(row: &HourRow, wal: &Wal) -> u64 {
    let frozen: u64 = row.parts.iter().filter(|part| part.through > row.receipted).map(|part| part.rows).sum();
    frozen.saturating_sub(wal.count_between(row.hour, row.receipted, row.frozen))
}

/// The hours with parts in the making of which the log no longer holds all records.
fn short_hours(ledger: &Ledger, wal: &Wal) -> BTreeSet<Hour> {
    let short = ledger.recent().filter(|row| row.is_sealing() && gone_from_log(row, wal) > 0);
    short.map(|row| row.hour).collect()
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
            .hint("restore ledger/ from a backup, or rebuild it from the store: `etl replay --from-s3`"));
        }
    }
    Ledger::create(dir, settings.clone())
}
