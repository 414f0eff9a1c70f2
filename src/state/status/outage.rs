//! What is away, and since when, so that cron mails an outage once and not every three minutes: `outage.json`.
//!
//! Only what is said depends on it. A crash, or a damaged file, costs that an outage is said once more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::state::files::durable;

/// An outage that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outage {
    /// When a run met it first.
    pub(crate) began: Timestamp,
    /// When it was last said.
    pub(crate) said: Timestamp,
    /// Runs that met it.
    pub(crate) runs: u64,
}

/// The outages that go on, by what is away: one of a few names.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outages(BTreeMap<String, Outage>);

impl Outages {
    /// Those that are noted in a state directory; none where the note cannot be read.
    pub(crate) fn read(dir: &Path) -> Self {
        let text = durable::read(&path(dir)).ok().flatten();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Notes them in a state directory. Not fsynced.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        if self.0.is_empty() {
            return durable::remove(&path(dir));
        }
        let text = serde_json::to_vec(self)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the outages").caused_by(e))?;
        durable::replace_unsynced(&path(dir), &text)
    }

    /// Notes that `what` was away at `now`. Where that is to be said, the outage as it was before.
    pub(crate) fn met(&mut self, what: &str, now: Timestamp, remind: jiff::SignedDuration) -> Option<Option<Outage>> {
        let before = self.0.get(what).copied();
        let outage = self.0.entry(what.to_owned()).or_insert(Outage { began: now, said: now, runs: 0 });
        outage.runs += 1;
        // A clock that was set back does not silence it.
        let quiet = jiff::SignedDuration::ZERO..remind;
        if before.is_some_and(|before| quiet.contains(&now.duration_since(before.said))) {
            return None;
        }
        outage.said = now;
        Some(before)
    }

    /// Notes that `what` answers again. The outage that is over, if there was one.
    pub(crate) fn over(&mut self, what: &str) -> Option<Outage> {
        self.0.remove(what)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("outage.json")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn outage_is_said_when_it_begins_and_after_each_interval() {
        let dir = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-11-26T16:00:00Z".parse().unwrap();
        let said: Vec<bool> = (0..=130)
            .map(|run| {
                let mut outages = Outages::read(dir.path());
                let said =
                    outages.met("source", start + SignedDuration::from_mins(3 * run), SignedDuration::from_hours(6));
                outages.write(dir.path()).unwrap();
                said.is_some()
            })
            .collect();
        let times: Vec<usize> = (0..said.len()).filter(|run| said[*run]).collect();
        assert_eq!(times, [0, 120], "at once, and six hours later");
        let mut outages = Outages::read(dir.path());
        assert!(outages.met("store", start, SignedDuration::from_hours(6)).is_some(), "another end is another outage");
        assert_eq!(outages.over("source").map(|outage| (outage.began, outage.runs)), Some((start, 131)));
        assert_eq!(outages.over("source"), None);
        outages.over("store");
        outages.write(dir.path()).unwrap();
        assert!(!dir.path().join("outage.json").exists());
    }

    #[test]
    fn neither_damage_nor_a_clock_that_is_set_back_silences_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("outage.json"), "{").unwrap();
        let mut outages = Outages::read(dir.path());
        let now: Timestamp = "2026-11-26T16:00:00Z".parse().unwrap();
        assert_eq!(outages.met("source", now, SignedDuration::from_hours(6)), Some(None));
        assert!(outages.met("source", now - SignedDuration::from_hours(1), SignedDuration::from_hours(6)).is_some());
    }
}
