//! Opening a state directory: the lock, the checks, the leftovers of a crash, and what is set aside as damaged.
//!
//! Order matters: nothing is read before the lock is held, and nothing is written before the recorded format and
//! settings allow it. A directory that holds state but no ledger is damaged, never new.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Front, HashDir, Hours, Pages, SegmentId, State, WatchList};
use crate::error::{Error, ErrorKind, Result};
use crate::state::files::durable;
use crate::state::files::reserve::Reserve;
use crate::state::hours::digests::Digests;
use crate::state::hours::ledger::{Ledger, Settings};
use crate::state::hours::log::Wal;
use crate::state::hours::parked::Parked;
use crate::state::hours::spool::Spool;
use crate::state::pages::quarantine::Quarantine;
use crate::state::pages::tries::Tries;

/// How many damaged files that were set aside are kept for a look, of each kind.
const ASIDE_KEPT: usize = 3;

impl State {
    /// Opens the state directory `dir`, or makes it, for a run under `settings`. Takes the lock.
    ///
    /// # Errors
    /// `Busy`: another run is at work. `State`: damaged, of a newer format, or not private. `Config`: it was made under other
    /// settings.
    pub fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        Self::open_behind(Front::open(dir)?, settings)
    }

    /// Opens the rest of a state directory, for a run under `settings`.
    pub(crate) fn open_behind(front: Front, settings: &Settings) -> Result<Self> {
        let ledger = open_ledger(&front.dir, settings)?;
        Self::open_with(front, settings, ledger, Vec::new())
    }

    /// Opens the rest of a state directory although its ledger may be damaged or missing: what is damaged is set aside, and
    /// the caller reads the parts back from the store.
    pub(crate) fn open_without_ledger(front: Front, settings: &Settings) -> Result<Self> {
        let mut repairs = Vec::new();
        Ledger::set_aside_damage(&front.dir, &mut repairs)?;
        let ledger = match Ledger::open(&front.dir)? {
            Some(ledger) => ledger,
            None => Ledger::create(&front.dir, settings.clone())?,
        };
        Self::open_with(front, settings, ledger, repairs)
    }

    fn open_with(front: Front, settings: &Settings, mut ledger: Ledger, mut repairs: Vec<String>) -> Result<Self> {
        ledger.stamp()?;
        let dir = front.dir.as_path();
        let hashes = HashDir::open(dir)?;
        if front.after_a_crash() {
            // They grow with the state; in all that follow there is little.
            ledger.remove_leftovers()?;
            hashes.remove_leftovers()?;
        }
        let spool = Spool::open(dir, settings.format)?;
        durable::remove_leftovers(dir)?;
        let mut quarantine = Quarantine::open(dir)?;
        let mut wal = Wal::open(dir, ledger.newest(), &mut repairs)?;
        if !repairs.is_empty() {
            remove_old_damage(&dir.join("wal"))?;
            remove_old_damage(&dir.join("ledger"))?;
        }
        wal.recall(ledger.seen());
        strike_receipted(&mut wal, &mut ledger, front.after_a_crash())?;
        let mut parked = Parked::open(dir)?;
        let used = wal.newest_segment().max(quarantine.newest_segment()).max(parked.newest_segment());
        if settings.lane.is_empty() {
            front.journal.number_above(used)?;
        }
        let listed = front.journal.list()?;
        let there: BTreeSet<u64> = listed.iter().map(|id| id.number).collect();
        wal.note_missing(&there);
        let waiting = WatchList::open(dir, "waiting")?;
        let mut losses = Vec::new();
        losses.extend(vanished_pages(&waiting, &there, &wal));
        losses.extend(quarantine.vanished()?);
        losses.extend(parked.vanished()?);
        let uncommitted = there.iter().copied().filter(|number| !wal.is_committed(*number)).collect();
        let tries = Tries::open(dir, front.after_a_crash(), uncommitted)?;
        let held = held_pages(dir, &listed)?;
        let mut state = Self {
            dir: dir.to_owned(),
            pages: Pages::new(front.journal.clone(), quarantine, tries, waiting, held),
            hours: Hours::new(ledger, hashes, wal, spool, parked, Digests::at(dir)),
            reserve: Reserve::new(dir),
            repairs,
            losses,
            pending_deletes: Vec::new(),
            pages_removed: 0,
            front,
        };
        state.settle_settings(settings)?;
        state.front.record(settings)?;
        state.clear_spool()?;
        Ok(state)
    }

    /// Whether nothing was ever received, or nothing of it is left here.
    fn holds_nothing(&self) -> Result<bool> {
        let journal = self.pages.journal();
        Ok(self.hours.holds_nothing()
            && self.pages.quarantine.count() == 0
            && journal.list()?.is_empty()
            && journal.in_inbox()?.is_empty())
    }

    fn settle_settings(&mut self, settings: &Settings) -> Result<()> {
        if self.hours.settings() == settings {
            return Ok(());
        }
        if !self.holds_nothing()? {
            let mut recorded = self.hours.settings().clone();
            // Tokens and pages that wait are read by what is configured by now: only records and parts were made by what was.
            if self.hours.holds_nothing() {
                (recorded.record, recorded.codecs) = (settings.record.clone(), settings.codecs.clone());
            }
            recorded.allow(settings)?;
        }
        self.hours.record_settings(settings.clone())
    }
}

/// Has the log believe the ledger about what has receipts: its rows on disk may not say it yet. Those of hours that have left the ledger's head
/// say it, unless the last run did not come to its end.
fn strike_receipted(wal: &mut Wal, ledger: &mut Ledger, after_a_crash: bool) -> Result<()> {
    ledger.recent().for_each(|row| wal.receipt(row.hour, row.receipted));
    if after_a_crash {
        for hour in wal.pending_hours().collect::<Vec<_>>() {
            wal.receipt(hour, ledger.row(hour)?.receipted);
        }
    }
    Ok(())
}

/// Reports the pages that waited and are gone, neither committed nor there.
fn vanished_pages(waiting: &WatchList, there: &BTreeSet<u64>, wal: &Wal) -> Option<Error> {
    let gone: Vec<u64> =
        waiting.entries().keys().copied().filter(|n| !there.contains(n) && !wal.is_committed(*n)).collect();
    let first = gone.first()?;
    let what = format!("{} pages that waited in the journal are gone, the first of them number {first}", gone.len());
    let hint =
        "restore journal/ from a backup if there is one; what the source still has comes by itself; this is said once";
    Some(Error::new(ErrorKind::State, what).hint(hint))
}

/// The list of held pages, without those that are gone.
fn held_pages(dir: &Path, listed: &[SegmentId]) -> Result<WatchList> {
    let mut held = WatchList::open(dir, "held")?;
    let there = listed.iter().filter(|id| held.contains(id.number));
    held.set(there.map(|id| (id.number, u64::from(id.pages))).collect())?;
    Ok(held)
}

/// Keeps the newest few of the damaged files that were set aside in `dir`: their content was made again.
fn remove_old_damage(dir: &Path) -> Result<()> {
    let is_aside = |name: &String| name.contains(".corrupt") || name.contains(".damaged");
    let mut aside: Vec<(SystemTime, PathBuf)> = Vec::new();
    for path in durable::names(dir)?.iter().filter(|name| is_aside(name)).map(|name| dir.join(name)) {
        // The time of the renaming: that of the content may be the same for many.
        let meta = fs::symlink_metadata(&path).map_err(|e| Error::disk("look at", &path, e))?;
        let changed = Duration::new(meta.ctime().unsigned_abs(), u32::try_from(meta.ctime_nsec()).unwrap_or(0));
        aside.push((SystemTime::UNIX_EPOCH + changed, path));
    }
    aside.sort_unstable();
    let surplus = aside.len().saturating_sub(ASIDE_KEPT);
    aside.iter().take(surplus).try_for_each(|(_, path)| durable::remove_all(path))
}

fn open_ledger(dir: &Path, settings: &Settings) -> Result<Ledger> {
    if let Some(ledger) = Ledger::open(dir)? {
        return Ok(ledger);
    }
    for name in ["journal", "wal", "hashes", "ledger", "quarantine", "parked"] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Profile;
    use crate::record::row::Codecs;

    #[test]
    fn leftovers_in_large_directories_are_looked_for_after_a_crash_only() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            timezone: "UTC".into(),
            layout: "l".into(),
            format: crate::hour::format::Format::default(),
            columns: std::collections::BTreeMap::new(),
            destination: "file:lake".into(),
            record: Profile::default(),
            codecs: Codecs::default(),
            range: crate::hour::range::HashRange::ALL,
            lane: String::new(),
        };
        State::open(dir.path(), &settings).unwrap().prune().unwrap();
        let leftovers = [dir.path().join("hashes/x.tmp"), dir.path().join("ledger/x.tmp")];
        leftovers.iter().for_each(|path| fs::write(path, "half").unwrap());
        drop(State::open(dir.path(), &settings).unwrap());
        assert!(leftovers.iter().all(|path| path.exists()), "a start after a clean end lists nothing that grows");
        fs::write(dir.path().join("lock"), "").unwrap();
        drop(State::open(dir.path(), &settings).unwrap());
        assert!(leftovers.iter().all(|path| !path.exists()));
    }

    #[test]
    fn newest_of_what_was_set_aside_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["000007.corrupt", "000001.corrupt", "000001.corrupt.1", "000002.corrupt", "000003"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        remove_old_damage(dir.path()).unwrap();
        let left = durable::names(dir.path()).unwrap();
        assert_eq!(left, ["000001.corrupt", "000001.corrupt.1", "000002.corrupt", "000003"]);
    }
}
