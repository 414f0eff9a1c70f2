//! The stream of synthetic records.
//!
//! Owns [`Generator`], whose pages are in `page`. Random access: record `i` is computed from (seed, `i`) alone, so a window of
//! millions costs nothing before it is asked for. Invariant: what a record *is* depends on its index only.

use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use super::Options;
use super::draw::Draws;
use super::literal::{Fields, Value, write_json, write_python};
use super::shape::{Facts, ODD_SHAPES, odd, product, usual};
use super::token::{Key, TokenMaker};
use crate::error::Result;

/// Late records are back-dated by up to this.
const LATEST: SignedDuration = SignedDuration::from_hours(6);
/// Records that never come are missing in runs of so many.
const HOLE: u64 = 10;
/// Delayed records come so many places after their turn.
const DELAY: u64 = 500;
/// The share of the service's other log.
const PRODUCT_PERCENT: f64 = 2.0;

/// One record of the stream.
#[derive(Debug, Clone)]
pub(super) struct Record {
    value: Value,
    as_json: bool,
    /// When the service logged it. Equals its `inDate`, unless it is a late record.
    pub(super) logged: Timestamp,
}

impl Record {
    /// The token's plaintext: Python's `ascii()` of the dict, or JSON.
    pub(super) fn plain(&self) -> String {
        let mut text = String::with_capacity(320);
        if self.as_json {
            write_json(&self.value, &mut text)
        } else {
            write_python(&self.value, &mut text)
        }
        text
    }

    /// The original as compact JSON: members in their order, tuples as lists, text as UTF-8.
    pub(super) fn json(&self) -> String {
        let mut text = String::with_capacity(320);
        write_json(&self.value, &mut text);
        text
    }
}

/// The seeded stream of records and the pages over it.
pub struct Generator {
    pub(super) options: Options,
    pub(super) tokens: TokenMaker,
    /// Under an unknown key.
    pub(super) other_tokens: TokenMaker,
}

impl Generator {
    /// The generator that `options` describe.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Usage`] where an option is out of its range.
    pub fn new(options: &Options) -> Result<Self> {
        options.validate()?;
        let (tokens, other_tokens) = (TokenMaker::new(&options.key()), TokenMaker::new(&Key::other(options.seed)));
        Ok(Self { options: options.clone(), tokens, other_tokens })
    }

    /// Record `index` of the stream. Its `record_id` is one more, counted from the restart if there is one.
    pub(super) fn record(&self, index: u64) -> Record {
        // Drawn in one fixed order, so that a record's content does not change with options that are not about it.
        let mut draws = Draws::new(self.options.seed, "record", &[index]);
        let late = draws.happens(self.options.late);
        let as_json = draws.happens(self.options.json_plain);
        let is_odd = draws.happens(self.options.odd);
        let is_product = draws.happens(PRODUCT_PERCENT);
        let logged = self.logged(index, draws.below(1_000));
        let in_date = if late { self.back_dated(logged, &mut draws) } else { logged };
        let facts = Facts { seed: self.options.seed, record_id: self.record_id(index), in_date };
        let fields = if is_odd {
            odd(draws.below(ODD_SHAPES), &facts, &mut draws)
        } else if is_product {
            product(&facts, &mut draws)
        } else {
            usual(&facts, &mut draws)
        };
        Record { value: self.cast(fields, in_date), as_json, logged }
    }

    /// The fields as the schema that is played has them.
    fn cast(&self, fields: Fields, at: Timestamp) -> Value {
        Value::Dict(match &self.options.schema {
            Some(schema) => schema.apply(fields, at),
            None => fields,
        })
    }

    /// The records that come at the places in `range`, in their order. Each comes at its own place, unless it never comes or
    /// comes later.
    pub fn handed_out(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        range.flat_map(|place| {
            let late = place.checked_sub(DELAY).filter(|index| self.is_delayed(*index));
            let own = Some(place).filter(|index| !self.is_hole(*index) && !self.is_delayed(*index));
            own.into_iter().chain(late)
        })
    }

    /// The records of the window that ends before record `end`.
    pub(super) const fn window(&self, end: u64) -> Range<u64> {
        end.saturating_sub(self.options.window)..end
    }

    /// How many records there are at `now`, by their own clock.
    pub(super) fn count_at(&self, now: Timestamp) -> u64 {
        let since = now.as_nanosecond() - self.options.start.as_nanosecond();
        let interval = i128::try_from(self.options.interval.as_nanos()).unwrap_or(i128::MAX).max(1);
        u64::try_from(since / interval).unwrap_or(0)
    }

    fn record_id(&self, index: u64) -> u64 {
        let restarted = self.options.restart_at.and_then(|at| index.checked_sub(at));
        restarted.unwrap_or(index).saturating_add(1)
    }

    fn is_hole(&self, index: u64) -> bool {
        self.happens("hole", index / HOLE, self.options.holes)
    }

    fn is_delayed(&self, index: u64) -> bool {
        self.happens("delayed", index, self.options.delayed) && !self.is_hole(index)
    }

    /// Whether a thing that happens to `percent` of all records happens to this one. Free where it never happens.
    pub(super) fn happens(&self, what: &str, index: u64, percent: f64) -> bool {
        percent > 0.0 && self.draws(what, index).happens(percent)
    }

    /// Another record with the time and the number of record `index`, for a token under the other key.
    pub(super) fn wrong_key_record(&self, index: u64) -> Record {
        let mut draws = self.draws("wrong key record", index);
        let logged = self.logged(index, 999);
        let facts = Facts { seed: self.options.seed, record_id: index.saturating_add(1), in_date: logged };
        Record { value: self.cast(usual(&facts, &mut draws), logged), as_json: false, logged }
    }

    pub(super) fn draws(&self, label: &str, index: u64) -> Draws {
        Draws::new(self.options.seed, label, &[index])
    }

    /// The start, plus `index` intervals, plus `thousandths` of one.
    fn logged(&self, index: u64, thousandths: u64) -> Timestamp {
        let interval = i128::try_from(self.options.interval.as_nanos()).unwrap_or(i128::MAX);
        let steps = i128::from(index) * 1_000 + i128::from(thousandths);
        let nanos = interval.saturating_mul(steps) / 1_000;
        Timestamp::from_nanosecond(self.options.start.as_nanosecond().saturating_add(nanos)).unwrap_or(Timestamp::MAX)
    }

    /// An earlier time, but not before the start of the stream.
    fn back_dated(&self, logged: Timestamp, draws: &mut Draws) -> Timestamp {
        let most = logged.duration_since(self.options.start).min(LATEST);
        let back = draws.below(u64::try_from(most.as_millis()).unwrap_or(0));
        let back = SignedDuration::from_millis(i64::try_from(back).unwrap_or(0));
        logged.checked_sub(back).unwrap_or(logged)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    fn generator(options: Options) -> Generator {
        Generator::new(&options).unwrap()
    }

    #[test]
    fn some_records_never_come_some_come_later_and_ids_start_again() {
        let troubled = generator(Options { holes: 5.0, delayed: 5.0, restart_at: Some(3_000), ..Options::default() });
        let handed_out: Vec<u64> = troubled.handed_out(0..6_000).collect();
        let missing: Vec<u64> = (0..5_500).filter(|index| !handed_out.contains(index)).collect();
        assert!((150..450).contains(&missing.len()), "{}", missing.len());
        assert!(missing.iter().all(|index| missing.contains(&(index / HOLE * HOLE))), "in runs");
        let late = handed_out.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((150..400).contains(&late), "{late}");
        let id = |index| serde_json::from_str::<Json>(&troubled.record(index).json()).unwrap()["record_id"].clone();
        assert_eq!((id(2_999), id(3_000)), (3_000.into(), 1.into()));
    }

    #[test]
    fn late_records_are_back_dated_but_never_before_the_start() {
        let options = Options { late: 30.0, ..Options::default() };
        let (start, with, without) = (options.start, generator(options), generator(Options::default()));
        let in_date = |g: &Generator, i| {
            let json: Json = serde_json::from_str(&g.record(i).json()).unwrap();
            json["inDate"].as_str().unwrap().parse::<Timestamp>().unwrap()
        };
        let back: Vec<_> = (0..2_000).map(|i| in_date(&without, i).duration_since(in_date(&with, i))).collect();
        let late = back.iter().filter(|back| !back.is_zero()).count();
        assert!((500..700).contains(&late), "{late}");
        assert!(back.iter().all(|back| !back.is_negative() && *back <= LATEST));
        assert!((0..2_000).all(|i| in_date(&with, i) >= start));
    }
}
