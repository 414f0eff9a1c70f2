//! The verdict on an hour: what may be claimed of it, and why. Pure.
//!
//! The first that applies: *open* (not over, or its grace has not passed), *pending* (received, and not in the store), *incomplete*
//! (known to lack something), *unproven* (nothing shows that all of it came), *complete*. Complete needs a witness on both sides: an
//! unbroken run of ids from before its start to after its end, or, where records have no ids, a source that was heard without a
//! break from its start to its end and grace. In doubt less is claimed, never more.

mod lanes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::lanes::Lanes;
use super::Hour;
use super::closing::ClosingRules;
use super::gaps::runs::{IdsSay, Run};
use super::gaps::{Gap, Seen};
use super::heard::Heard;
use super::lifecycle::HourRow;
use crate::output::numbers::{count, plural};

/// Gaps that a reason names.
const NAMED: usize = 5;

/// What may be claimed of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is not over, or its grace has not passed.
    Open,
    /// Something of it was received and is not in the store.
    Pending,
    /// It is known to lack something.
    Incomplete,
    /// Nothing shows that all of it came.
    Unproven,
    /// All of it came, and is in the store.
    Complete,
}

impl Verdict {
    /// All, in the order in which they apply.
    pub const ALL: [Self; 5] = [Self::Open, Self::Pending, Self::Incomplete, Self::Unproven, Self::Complete];

    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::Incomplete => "incomplete",
            Self::Unproven => "unproven",
            Self::Complete => "complete",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|verdict| verdict.name() == text);
        named.ok_or_else(|| {
            format!("not a verdict: {text:?}; there are open, pending, incomplete, unproven and complete")
        })
    }
}

/// What shows that all of an hour came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Witness {
    /// A run of ids without a hole.
    Ids {
        /// The id that it begins with.
        from: i64,
        /// When that record happened: before the hour.
        since: Timestamp,
        /// The id that it ends with.
        to: i64,
        /// When that record had happened and was received: after the hour.
        until: Timestamp,
    },
    /// The source was heard without a break.
    Heard {
        /// From then on.
        since: Timestamp,
        /// Until then.
        until: Timestamp,
    },
}

impl Witness {
    fn of_run(run: &Run) -> Option<Self> {
        let at = |ms| Timestamp::from_millisecond(ms).ok();
        Some(Self::Ids { from: run.from.0, since: at(run.from.1)?, to: run.to.0, until: at(run.to.1)? })
    }
}

/// Something that was received and is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unread {
    /// When.
    pub(crate) received: Timestamp,
    /// It is not a page, and set aside; else it waits in the journal.
    pub(crate) is_rejected: bool,
}

/// What is known of all hours.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    /// As of when.
    pub(crate) now: Timestamp,
    pub(crate) rules: ClosingRules,
    /// The name of the zone.
    pub(crate) zone: String,
    /// The ids that came.
    pub(crate) seen: Seen,
    /// When the source was heard.
    pub(crate) heard: Heard,
    /// What was received and is not read.
    pub(crate) unread: Vec<Unread>,
    /// Tokens in the quarantine, and pages that wait for room there.
    pub(crate) quarantined: u64,
    /// The last run did not end: what it received is not counted.
    pub(crate) is_interrupted: bool,
    /// The lanes that make the parts of an hour together; `None` where a machine works alone.
    pub(crate) lanes: Option<Lanes>,
}

/// What is known of one hour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfHour<'a> {
    pub(crate) hour: Hour,
    /// Its row in the ledger. `None`: it has no parts.
    pub(crate) row: Option<&'a HourRow>,
    /// Its records without a receipt. `None`: more hours wait than are listed, and it may be one of them.
    pub(crate) pending: Option<u64>,
    /// Whether records of it are parked.
    pub(crate) is_parked: bool,
}

/// A verdict and its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    /// Why, in one sentence.
    pub(crate) reason: String,
    /// All that stands in the way of `complete`.
    pub(crate) doubts: Vec<String>,
    pub(crate) witness: Option<Witness>,
    /// The ids that are missing in it or at its edges. `None`: that is not known any more.
    pub(crate) gaps: Option<Vec<Gap>>,
}

impl Evidence {
    /// The verdict on an hour.
    pub(crate) fn judge(&self, of: OfHour<'_>) -> Judgement {
        let mut doubts: Vec<(Verdict, String)> = Vec::new();
        doubts.extend(self.open(of.hour).map(|why| (Verdict::Open, why)));
        doubts.extend(self.pending(of).into_iter().map(|why| (Verdict::Pending, why)));
        doubts.extend(self.lacks(of).into_iter().map(|why| (Verdict::Incomplete, why)));
        let said = self.ids(of);
        let gaps = match &said {
            IdsSay::Missing(gaps) => Some(gaps.clone()),
            IdsSay::Forgotten | IdsSay::NothingAtAll => None,
            _ => Some(Vec::new()),
        };
        let (witness, why) = match self.witness(of, said) {
            Ok((witness, why)) => (Some(witness), why),
            Err((verdict, why)) => {
                doubts.push((verdict, why.clone()));
                (None, why)
            }
        };
        doubts.sort_by_key(|(verdict, _)| *verdict);
        let (verdict, reason) = doubts.first().cloned().unwrap_or((Verdict::Complete, why));
        let is_empty = of.row.is_none() && of.pending == Some(0);
        let reason = if is_empty { format!("no records; {reason}") } else { reason };
        let witness = witness.filter(|_| verdict == Verdict::Complete);
        Judgement { verdict, reason, doubts: doubts.into_iter().map(|(_, why)| why).collect(), witness, gaps }
    }

    fn open(&self, hour: Hour) -> Option<String> {
        let (ends, closes) = (hour.ends_at(&self.rules.zone), self.rules.closes_at(hour));
        if self.now < ends {
            Some(format!("it is not over before {}", self.at(ends)))
        } else if self.now < closes {
            Some(format!("it is over, and waits for late records until {}", self.at(closes)))
        } else {
            None
        }
    }

    fn pending(&self, of: OfHour<'_>) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.is_interrupted {
            reasons.push(
                "the last run did not end, and what it received is not counted yet: `etl run` goes on".to_owned(),
            );
        }
        match of.pending {
            Some(0) if of.row.is_some_and(HourRow::is_sealing) => {
                reasons.push("a part of it is not in the store yet: `etl run` uploads it".to_owned());
            }
            Some(0) => {}
            Some(records) => {
                let records = plural(records, "record of it is", "records of it are");
                reasons.push(format!("{records} not in the store yet: `etl run` uploads them"));
            }
            None => {
                reasons.push("more hours wait for their upload than are listed, and it may be one of them".to_owned())
            }
        }
        reasons.extend(self.lanes.as_ref().and_then(|lanes| lanes.may_have_more(self.rules.closes_at(of.hour))));
        reasons.extend(self.unread(of.hour));
        reasons
    }

    /// The first page that came while its records were to come, and is not read.
    fn unread(&self, hour: Hour) -> Option<String> {
        let (starts, closes) = (hour.starts_at(&self.rules.zone), self.rules.closes_at(hour));
        let unread = self
            .unread
            .iter()
            .filter(|unread| (starts..=closes).contains(&unread.received))
            .min_by_key(|unread| unread.received)?;
        let at = self.at(unread.received);
        Some(match unread.is_rejected {
            true if self.lanes.is_some() => format!("what came at {at} is no page, and waits: `etl status` says more"),
            true => format!("what came at {at} was rejected as no page: `etl replay --rejected` reads it again"),
            false if self.lanes.is_some() => format!("a page that came at {at} waits unread: `etl status` says why"),
            false => format!("a page that came at {at} waits in the journal unread: `etl status` says why"),
        })
    }

    fn lacks(&self, of: OfHour<'_>) -> Vec<String> {
        let mut reasons = Vec::new();
        let gone = of.row.map_or(0, |row| row.expired().count() as u64);
        if gone > 0 {
            reasons.push(format!("{} gone for good", plural(gone, "part of it is", "parts of it are")));
        }
        let tokens = of.row.and_then(|row| row.certified.as_ref()).map_or(0, |certified| certified.tally.quarantined);
        if tokens > 0 && self.quarantined > 0 {
            let tokens =
                plural(tokens, "token that came with its records was", "tokens that came with its records were");
            reasons.push(format!(
                "{tokens} no record, and the quarantine is not empty: `etl quarantine list`, then recover or drop what it holds"
            ));
        }
        let (starts, closes) = (of.hour.starts_at(&self.rules.zone), self.rules.closes_at(of.hour));
        if tokens == 0
            && self.quarantined > 0
            && (self.heard.had_odd(starts, closes)
                || self.lanes.as_ref().is_some_and(|lanes| lanes.had_odd(starts, closes)))
        {
            reasons.push(
                "tokens that came then are no records, and the quarantine is not empty: `etl quarantine list`"
                    .to_owned(),
            );
        }
        if of.is_parked {
            reasons.push(
                "records of it are parked, because its parts cannot be read back: `etl status` says more".to_owned(),
            );
        }
        reasons
    }

    /// What the ids say of an hour.
    fn ids(&self, of: OfHour<'_>) -> IdsSay {
        let (starts, ends) = (of.hour.starts_at(&self.rules.zone), of.hour.ends_at(&self.rules.zone));
        let ids = of.row.and_then(|row| row.certified.as_ref()).and_then(|certified| certified.tally.ids);
        let has_records = of.row.is_some() || of.pending != Some(0);
        self.seen.say_of(starts.as_millisecond(), ends.as_millisecond(), ids, has_records)
    }

    /// What shows that all of an hour came, and how; or what is missing for that.
    fn witness(&self, of: OfHour<'_>, said: IdsSay) -> Result<(Witness, String), (Verdict, String)> {
        let unproven = |why: String| Err((Verdict::Unproven, why));
        let (starts, ends) = (of.hour.starts_at(&self.rules.zone), of.hour.ends_at(&self.rules.zone));
        let certified = of.row.and_then(|row| row.certified.as_ref());
        let is_imported = |row: &HourRow| row.certified.is_none() || row.parts.iter().any(|part| part.through == 0);
        match said {
            IdsSay::Missing(gaps) => Err((Verdict::Incomplete, never_came(&gaps))),
            _ if self.lanes.is_some() => unproven(
                "in a cluster nobody counts the ids, nor how long the source was heard: nothing shows that all of it came"
                    .to_owned(),
            ),
            _ if of.row.is_some_and(is_imported) => {
                unproven("parts of it were read back from the store: what came of it is not known".to_owned())
            }
            IdsSay::Joined(run) => match Witness::of_run(&run) {
                Some(witness) => Ok((witness, self.shows(&witness))),
                None => unproven("the times of its ids are out of range".to_owned()),
            },
            IdsSay::NothingAtAll | IdsSay::NothingOfIt => self.heard(of.hour, starts),
            IdsSay::Disputed => {
                unproven("its ids may be those of other records: some came twice, or the source is another".to_owned())
            }
            IdsSay::Restarted => unproven("the ids began again in it or around it".to_owned()),
            IdsSay::NothingBefore(run) => unproven(format!(
                "no record of before {} is joined to it: the ids go back to {} at {} without a hole",
                self.at(starts),
                run.from.0,
                self.at_ms(run.from.1)
            )),
            IdsSay::NothingAfter(run) => unproven(format!(
                "no record of after {} is joined to it: the ids go on to {} at {} without a hole",
                self.at(ends),
                run.to.0,
                self.at_ms(run.to.1)
            )),
            IdsSay::Forgotten => match certified.and_then(|certified| certified.witness) {
                Some(witness) => Ok((witness, self.shows(&witness))),
                None => unproven("it is not known which ids came around it".to_owned()),
            },
        }
    }

    fn heard(&self, hour: Hour, starts: Timestamp) -> Result<(Witness, String), (Verdict, String)> {
        let closes = self.rules.closes_at(hour);
        if let Some((since, until)) = self.heard.over(starts, closes) {
            let witness = Witness::Heard { since, until };
            return Ok((witness, self.shows(&witness)));
        }
        let was = match self.heard.last_before(closes).filter(|(_, until)| *until >= starts) {
            Some((since, until)) => format!("it was heard from {} to {}", self.at(since), self.at(until)),
            None => "nothing shows that it was heard then".to_owned(),
        };
        let needed =
            format!("the source had to be heard from {} to {} without a break", self.at(starts), self.at(closes));
        Err((Verdict::Unproven, format!("there are no ids to go by, so {needed}, and {was}")))
    }

    /// What a witness shows.
    pub(crate) fn shows(&self, witness: &Witness) -> String {
        match witness {
            Witness::Ids { from, since, to, until } => {
                format!("no id is missing from {from} at {} to {to} at {}", self.at(*since), self.at(*until))
            }
            Witness::Heard { since, until } => {
                format!("the source was heard without a break from {} to {}", self.at(*since), self.at(*until))
            }
        }
    }

    /// A time in the zone of the hours.
    fn at(&self, at: Timestamp) -> String {
        format!("{} {}", self.rules.zone.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S"), self.zone)
    }

    fn at_ms(&self, ms: i64) -> String {
        Timestamp::from_millisecond(ms).map_or_else(|_| "a time that is not known".to_owned(), |at| self.at(at))
    }
}

fn never_came(gaps: &[Gap]) -> String {
    let ids = gaps.iter().map(Gap::ids).fold(0, u64::saturating_add);
    let mut named: Vec<String> = gaps.iter().take(NAMED).map(Gap::to_string).collect();
    if gaps.len() > NAMED {
        named.push(format!("and {} more ranges", count((gaps.len() - NAMED) as u64)));
    }
    format!("{} never came, in it or at its edge: {}", plural(ids, "id", "ids"), named.join(", "))
}
