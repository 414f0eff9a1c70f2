//! What can be certified of an hour: counted as its records are committed, fixed in the ledger when they are frozen.
//!
//! A [`Tally`] is the sum for an hour. It is written in the same atomic batch as the commit that it counts, and the ledger takes it over
//! with the freeze, so no crash makes anything count twice. Where a damaged write-ahead log was filled again, pages that were gone by
//! then are not counted: the figures are lower bounds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hour::gaps::Gap;
use crate::hour::verdict::Witness;

/// Holes that a certificate lists at most. The ids of all are counted.
const LISTED: usize = 64;

/// What was counted of an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records that were received again, and dropped.
    pub(crate) duplicates: u64,
    /// Tokens that were quarantined from pages with records of the hour: each may be one of them.
    pub(crate) quarantined: u64,
    /// The lowest and the highest of the source's numbers in its records, without strays.
    pub(crate) ids: Option<(i64, i64)>,
}

impl Tally {
    /// Counts a new record with this number.
    pub(crate) fn saw(&mut self, id: i64) {
        self.ids = Some(self.ids.map_or((id, id), |(low, high)| (low.min(id), high.max(id))));
    }

    /// Of two counts of the same hour, one of which may be of an earlier time: what both know.
    pub(crate) fn or_later(mut self, other: &Self) -> Self {
        self.duplicates = self.duplicates.max(other.duplicates);
        self.quarantined = self.quarantined.max(other.quarantined);
        for id in other.ids.into_iter().flat_map(|(low, high)| [low, high]) {
            self.saw(id);
        }
        self
    }

    /// Adds a later count.
    pub(crate) fn add(&mut self, since: &Self) {
        self.duplicates += since.duplicates;
        self.quarantined += since.quarantined;
        for id in since.ids.into_iter().flat_map(|(low, high)| [low, high]) {
            self.saw(id);
        }
    }
}

/// What the ledger certifies of an hour, as of its newest freeze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// When it closed: its end and the grace, as they were when its first part was frozen.
    pub(crate) closed_at: Timestamp,
    /// What was counted.
    #[serde(flatten)]
    pub tally: Tally,
    /// Ids between the lowest and the highest, or next to them, that had never come.
    pub(crate) missing: u64,
    /// The first of the ranges that they are in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) holes: Vec<Gap>,
    /// What showed that all of it had come. `None`: nothing did, or something was known to be missing.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "in_short")]
    pub(crate) witness: Option<Witness>,
}

impl Certified {
    /// The certificate of an hour that closed at `closed_at`, and of whose ids these are missing.
    #[must_use]
    pub fn new(closed_at: Timestamp, tally: Tally, gaps: &[Gap]) -> Self {
        let mut holes = gaps.to_vec();
        let missing = holes.iter().map(Gap::ids).fold(0, u64::saturating_add);
        holes.truncate(LISTED);
        Self { closed_at, tally, missing, holes, witness: None }
    }
}

/// A witness in few bytes: a ledger has one for each hour. Times are milliseconds since 1970, first the two times, then the ids.
mod in_short {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::hour::verdict::Witness;

    pub(super) fn serialize<S: Serializer>(witness: &Option<Witness>, to: S) -> Result<S::Ok, S::Error> {
        let short = witness.map(|witness| match witness {
            Witness::Ids { from, since, to, until } => vec![since.as_millisecond(), until.as_millisecond(), from, to],
            Witness::Heard { since, until } => vec![since.as_millisecond(), until.as_millisecond()],
        });
        short.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Witness>, D::Error> {
        let short = Option::<Vec<i64>>::deserialize(from)?.unwrap_or_default();
        let at = |ms: &i64| Timestamp::from_millisecond(*ms).ok();
        Ok(match short.as_slice() {
            [since, until, from, to] => at(since).zip(at(until)).map(|(since, until)| {
                let (from, to) = (*from, *to);
                Witness::Ids { from, since, to, until }
            }),
            [since, until] => at(since).zip(at(until)).map(|(since, until)| Witness::Heard { since, until }),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_their_parts() {
        let mut sum = Tally::default();
        sum.add(&Tally { duplicates: 2, quarantined: 1, ids: Some((5, 9)) });
        sum.add(&Tally { duplicates: 1, quarantined: 0, ids: None });
        sum.add(&Tally { duplicates: 0, quarantined: 0, ids: Some((3, 4)) });
        assert_eq!(sum, Tally { duplicates: 3, quarantined: 1, ids: Some((3, 9)) });
    }

    #[test]
    fn witness_is_short_in_the_ledger_and_comes_back() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let ids = Witness::Ids { from: 1, since: at(5), to: 9, until: at(7) };
        for (witness, short) in [(ids, "[5,7,1,9]"), (Witness::Heard { since: at(5), until: at(7) }, "[5,7]")] {
            let certified = Certified { witness: Some(witness), ..Certified::new(at(0), Tally::default(), &[]) };
            let text = serde_json::to_string(&certified).unwrap();
            assert!(text.ends_with(&format!(r#""witness":{short}}}"#)), "{text}");
            assert_eq!(serde_json::from_str::<Certified>(&text).unwrap(), certified);
        }
    }

    #[test]
    fn ids_of_all_holes_are_counted_and_the_first_holes_listed() {
        let gaps: Vec<Gap> = (0..100).map(|n| Gap { from: 10 * n, to: 10 * n + 1 }).collect();
        let certified = Certified::new(Timestamp::UNIX_EPOCH, Tally::default(), &gaps);
        assert_eq!((certified.holes.len(), certified.missing), (LISTED, 200));
    }
}
