//! How the ids that came are stored: as they were before each range knew its times, and those behind. Pure.
//!
//! An older text has no times: then the ranges witness nothing until they go on. [`PADDING`] behind bytes of that form gives the
//! empty lists that they lack.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Seen;
use super::epoch::{Epoch, Range};
use crate::hour::spans::Spans;

/// Zeroes that stand for the lists that an older form lacks; behind the present form they are not read.
pub(crate) const PADDING: [u8; 32] = [0; 32];

#[derive(Serialize, Deserialize)]
struct StoredEpoch {
    since: i64,
    newest: i64,
    /// The first and the last of each range.
    ranges: Vec<(i64, i64)>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    field: String,
    version: u64,
    epochs: Vec<StoredEpoch>,
    given_up: u64,
    segment: u64,
    grew: Option<i64>,
    /// Of each range: `sure`, `first`, `last`.
    #[serde(default)]
    times: Vec<Vec<(i64, i64, i64)>>,
    #[serde(default)]
    disputed: Spans,
    #[serde(default)]
    unnumbered: Spans,
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ranges = |epoch: &Epoch| epoch.ranges.iter().map(|(from, range)| (*from, range.to)).collect();
        let times = |epoch: &Epoch| epoch.ranges.values().map(|range| (range.sure, range.first, range.last)).collect();
        let stored = |epoch: &Epoch| StoredEpoch { since: epoch.since, newest: epoch.newest, ranges: ranges(epoch) };
        let stored = Stored {
            field: self.field.clone(),
            version: self.version,
            epochs: self.epochs.iter().map(stored).collect(),
            given_up: self.given_up,
            segment: self.segment,
            grew: self.grew,
            times: self.epochs.iter().map(times).collect(),
            disputed: self.disputed.clone(),
            unnumbered: self.unnumbered.clone(),
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let mut times = stored.times.into_iter();
        let epochs = stored.epochs.into_iter().map(|epoch| {
            let mut times = times.next().unwrap_or_default().into_iter();
            let ranges = epoch.ranges.into_iter().map(|(from, to)| {
                let (sure, first, last) = times.next().unwrap_or((to, i64::MAX, i64::MIN));
                (from, Range { to, sure, first, last })
            });
            Epoch { since: epoch.since, newest: epoch.newest, ranges: ranges.collect() }
        });
        Ok(Self {
            field: stored.field,
            version: stored.version,
            epochs: epochs.collect(),
            given_up: stored.given_up,
            segment: stored.segment,
            grew: stored.grew,
            disputed: stored.disputed,
            unnumbered: stored.unnumbered,
        })
    }
}
