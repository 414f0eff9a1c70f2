//! Whether a poll overlaps with the one before, so that no logs between them are lost. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::{ArrivedId, Gap, Seen};

/// Logs that may be lost between two polls: the second lacks the newest log of the first, and ids are missing right after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolledTooRarely {
    /// How many.
    pub(crate) lost: u64,
    /// Their ids.
    #[serde(flatten)]
    pub(crate) gap: Gap,
    /// The time of the newest log before them.
    pub(crate) after: Timestamp,
    /// The time of the first log after them.
    pub(crate) before: Timestamp,
}

impl Seen {
    /// The end of the unbroken run of ids that the counter's newest epoch began with. `None`: no id came.
    pub(crate) fn unbroken_to(&self) -> Option<i64> {
        let epoch = self.epochs.last().filter(|epoch| !epoch.is_aside())?;
        epoch.ranges.first_key_value().map(|(_, range)| range.to)
    }
}

/// Watches whether a poll overlaps with the one before.
#[derive(Debug)]
pub struct Watch {
    epochs: usize,
    highest: i64,
    newest: i64,
    overlaps: bool,
    /// The lowest id above `highest` that came, and its time.
    next: Option<(i64, Timestamp)>,
}

impl Watch {
    /// Starts to watch a poll. `None`: nothing came before it.
    #[must_use]
    pub(crate) fn start(seen: &Seen) -> Option<Self> {
        let epoch = seen.epochs.last()?;
        let (highest, newest) = (epoch.highest(), epoch.newest);
        Some(Self { epochs: counted(seen), highest, newest, overlaps: false, next: None })
    }

    /// Notes an id that came.
    pub(crate) fn saw(&mut self, ArrivedId { id, at, .. }: &ArrivedId) {
        let (id, at) = (*id, *at);
        self.overlaps |= id == self.highest;
        if id > self.highest && self.next.is_none_or(|(lowest, _)| id < lowest) {
            self.next = Some((id, at));
        }
    }

    /// What may be lost between the last poll and this one, which is in `seen` by now.
    #[must_use]
    pub(crate) fn lost(&self, seen: &Seen) -> Option<PolledTooRarely> {
        let epoch = seen.epochs.last().filter(|_| !self.overlaps)?;
        let after = Timestamp::from_millisecond(self.newest).ok()?;
        let began = counted(seen) - self.epochs.min(counted(seen));
        let (gap, before) = match began {
            0 => {
                let gap = epoch.gaps().find(|gap| gap.from.checked_sub(1) == Some(self.highest))?;
                (gap, self.next?.1)
            }
            // The counter restarted in between: its first ids were not seen, nor were the last of the old count.
            1 if epoch.lowest() > 1 => {
                (Gap { from: 1, to: epoch.lowest() - 1 }, Timestamp::from_millisecond(epoch.since).ok()?)
            }
            _ => return None,
        };
        Some(PolledTooRarely { lost: gap.ids(), gap, after, before })
    }
}

/// How many epochs there are.
fn counted(seen: &Seen) -> usize {
    seen.epochs.iter().filter(|epoch| !epoch.is_aside()).count()
}
