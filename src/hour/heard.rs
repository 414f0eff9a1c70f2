//! When the source was heard without a break: a chain of polls each of which shows that nothing was lost since the one before. Pure.
//!
//! A poll that came whole and holds the newest record of the one before joins the two, as does one that says that nothing is new (304),
//! or that there is nothing (204, an empty page). What is in doubt breaks the chain: a poll that lacks that record, a body that is no
//! page, a clock that is wrong, another address. A poll that failed, or that is not committed yet, says nothing: the chain waits
//! for one that holds the record. So a crash between commit and note only claims less.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::spans::Spans;

/// Spans that are kept, the newest.
const MAX_SPANS: usize = 1024;
/// Spans with tokens that are no records: with more, those that are closest become one.
const MAX_ODD: usize = 256;

/// When the source was heard, by this machine's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Of the address that was asked.
    source: Option<String>,
    /// The content hash of the newest record of the last poll.
    newest: Option<[u8; 16]>,
    /// The last segment of the last poll: what a 304 speaks of.
    segment: Option<u64>,
    /// Until when the chain goes that the next poll may go on with: milliseconds since 1970.
    until: Option<i64>,
    spans: Spans,
    /// Between which polls tokens came that are no records.
    #[serde(default)]
    odd: Spans,
}

/// What a poll told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// All that it brought is committed; its newest record, whether it holds the one that was the newest before, its last segment.
    Records {
        /// Content hash.
        newest: [u8; 16],
        /// Tokens of it are no records.
        has_odd: bool,
        /// See above.
        holds_the_newest: bool,
        /// See above.
        segment: u64,
    },
    /// It came whole, and empty.
    Nothing,
    /// 304 for the page in this segment.
    NotModified {
        /// Its number.
        segment: u64,
    },
    /// It is in doubt.
    Doubt,
}

impl Heard {
    /// The newest record of the last poll.
    pub(crate) const fn newest(&self) -> Option<[u8; 16]> {
        self.newest
    }

    /// Whether another address was asked so far.
    pub(crate) fn is_of_another(&self, source: &str) -> bool {
        self.source.as_deref().is_some_and(|known| known != source)
    }

    /// Hears a poll of `source` that was sent at `asked`.
    pub(crate) fn hear(&mut self, source: &str, asked: Timestamp, told: Told) {
        let at = asked.as_millisecond();
        let is_another = self.is_of_another(source);
        self.source = Some(source.to_owned());
        // A clock that went back: nobody knows what it was right about.
        self.spans.cut_after(at);
        let chain = self.until.take().filter(|until| *until <= at && !is_another);
        let joins = match &told {
            Told::Records { holds_the_newest, .. } => *holds_the_newest && self.newest.is_some(),
            Told::Nothing => true,
            Told::NotModified { segment } => self.segment == Some(*segment),
            Told::Doubt => false,
        };
        let is_doubt = told == Told::Doubt;
        if matches!(told, Told::Records { has_odd: true, .. }) {
            self.odd.add(chain.unwrap_or(at), at);
            self.odd.join_closest(MAX_ODD);
        }
        match told {
            Told::Records { newest, segment, .. } => (self.newest, self.segment) = (Some(newest), Some(segment)),
            Told::Nothing | Told::NotModified { .. } if !is_another => {}
            _ => (self.newest, self.segment) = (None, None),
        }
        if is_doubt {
            return;
        }
        // A new span does not meet the last one, also where both polls were in one millisecond.
        let alone = self.spans.iter().next_back().map_or(at, |(_, end)| at.max(end.saturating_add(1)));
        let (from, to) = chain.filter(|_| joins).map_or((alone, alone), |from| (from, at));
        self.spans.add(from, to);
        self.spans.keep_newest(MAX_SPANS);
        self.until = Some(to);
    }

    /// The span that holds all from `from` to `to`, if one does.
    pub(crate) fn over(&self, from: Timestamp, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = self.spans.hold(from.as_millisecond(), to.as_millisecond())?;
        Some((Timestamp::from_millisecond(from).ok()?, Timestamp::from_millisecond(to).ok()?))
    }

    /// Whether tokens that are no records came from `from` on and before `to`.
    pub(crate) fn had_odd(&self, from: Timestamp, to: Timestamp) -> bool {
        self.odd.meet(from.as_millisecond(), to.as_millisecond())
    }

    /// The span in which the source was heard last before `to`.
    pub(crate) fn last_before(&self, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let (from, to) = self.spans.iter().rev().find(|(from, _)| *from < to.as_millisecond())?;
        Some((Timestamp::from_millisecond(from).ok()?, Timestamp::from_millisecond(to).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_678_406_400 + minute * 60).unwrap()
    }

    /// Polls one after the other, and the spans that were heard, in minutes.
    fn heard(polls: impl IntoIterator<Item = (i64, Told)>) -> Vec<(i64, i64)> {
        let mut heard = Heard::default();
        polls.into_iter().for_each(|(minute, told)| heard.hear("here", at(minute), told));
        let minutes = |ms: i64| (ms / 1000 - 1_678_406_400) / 60;
        heard.spans.iter().map(|(from, to)| (minutes(from), minutes(to))).collect()
    }

    fn records(newest: &str, holds_the_newest: bool) -> Told {
        Told::Records { newest: [newest.as_bytes()[0]; 16], has_odd: false, holds_the_newest, segment: 7 }
    }

    #[test]
    fn chain_goes_on_while_each_poll_joins_the_one_before() {
        let polls = [
            (0, records("a", false)),
            (3, records("b", true)),
            (6, Told::NotModified { segment: 7 }),
            (9, Told::Nothing),
            (12, records("c", true)),
        ];
        assert_eq!(heard(polls), [(0, 12)]);
    }

    #[test]
    fn chain_breaks_at_what_does_not_join() {
        for (told, expected) in [
            (records("b", false), vec![(0, 3), (6, 9)]),
            (Told::NotModified { segment: 6 }, vec![(0, 3), (6, 9)]),
            (Told::Doubt, vec![(0, 3), (9, 9)]),
        ] {
            let polls = [(0, records("a", false)), (3, records("a", true)), (6, told.clone()), (9, records("d", true))];
            assert_eq!(heard(polls), expected, "{told:?}");
        }
    }

    #[test]
    fn clock_that_goes_back_takes_what_was_heard_after_it() {
        let polls =
            [(0, records("a", false)), (600, records("a", true)), (3, records("a", true)), (6, records("a", true))];
        assert_eq!(heard(polls), [(0, 3), (3, 6)]);
    }

    #[test]
    fn another_address_and_a_break_in_the_same_moment_join_nothing() {
        let mut heard = Heard::default();
        heard.hear("here", at(0), records("a", false));
        heard.hear("there", at(3), records("a", true));
        assert_eq!(heard.over(at(0), at(3)), None);
        heard.hear("there", at(6), records("b", true));
        assert!(heard.over(at(4), at(6)).is_some());
        heard.hear("there", at(6), records("z", false));
        heard.hear("there", at(9), records("z", true));
        assert_eq!(heard.over(at(4), at(9)), None);
    }

    #[test]
    fn newest_spans_are_kept() {
        let polls = (0..3000).map(|minute| (minute, records("x", false)));
        let kept = heard(polls);
        assert_eq!((kept.len(), kept.last()), (MAX_SPANS, Some(&(2999, 2999))));
    }
}
