//! Which digest is due next. Pure.
//!
//! Digests are made in the order of their names, and name the waiting manifests in their order: first what came late for days that
//! have a digest, then day by day. Once the chain has begun each day gets one, with manifests or without, so that a missing one is seen.

use jiff::civil::Date;

use crate::state::Undigested;
use crate::store::digests::Name;

/// Manifests that one digest names at most. More go into backfills.
pub(super) const MOST: usize = 20_000;
/// Days without manifests that are made up for, one by one; after a longer pause the chain goes on with the last of them.
const MADE_UP: i32 = 31;

/// What decides.
pub(super) struct Outlook<'a> {
    /// The newest digest.
    pub(super) head: Option<Name>,
    /// From this day on, days without manifests count.
    pub(super) live_since: Date,
    /// The newest day of which all hours are closed.
    pub(super) newest_over: Date,
    /// The manifests that no digest names, in their order.
    pub(super) waiting: &'a [Undigested],
    /// Whether nothing more is on its way for a day.
    pub(super) is_settled: &'a dyn Fn(Date) -> bool,
    /// Whether what came late may go into a digest now.
    pub(super) may_backfill: bool,
}

/// A digest to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) name: Name,
    /// It names so many of the waiting manifests, the first ones.
    pub(super) count: usize,
}

impl Outlook<'_> {
    /// The next digest. `None`: none is due.
    pub(super) fn next(&self) -> Option<Planned> {
        let late = self.count_through(self.head.map(|head| head.day));
        let day = self.next_day(late);
        match self.head {
            Some(head) if late >= MOST || (late > 0 && (self.may_backfill || day.is_some())) => {
                let name = Name { number: head.number.checked_add(1)?, ..head };
                Some(Planned { name, count: late.min(MOST) })
            }
            _ => {
                let name = Name { day: day?, number: 0 };
                Some(Planned { name, count: self.count_through(day).min(MOST) })
            }
        }
    }

    /// How many of the waiting manifests are of days up to `day`.
    fn count_through(&self, day: Option<Date>) -> usize {
        day.map_or(0, |day| self.waiting.partition_point(|one| one.hour.date() <= day))
    }

    /// The next day that is due, given how many of the waiting manifests are late.
    fn next_day(&self, late: usize) -> Option<Date> {
        let with_manifests = self.waiting.get(late).map(|one| one.hour.date());
        let day = [with_manifests, self.next_without_manifests()].into_iter().flatten().min()?;
        (day <= self.newest_over && (self.is_settled)(day)).then_some(day)
    }

    fn next_without_manifests(&self) -> Option<Date> {
        let next = self.head?.day.tomorrow().ok()?.max(self.live_since);
        let passed = self.newest_over.since(next).ok()?.get_days();
        match passed {
            ..0 => None,
            0..MADE_UP => Some(next),
            _ => Some(self.newest_over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;

    fn waiting(hours: &[&str]) -> Vec<Undigested> {
        let one = |hour: &&str| Undigested { hour: hour.parse().unwrap(), part: 0, sha256: Sha256::of(hour) };
        hours.iter().map(one).collect()
    }

    fn name(day: &str, number: u32) -> Name {
        Name { day: day.parse().unwrap(), number }
    }

    /// All digests that are due with this newest one, as of a day that is over.
    fn due(head: Option<Name>, live_since: &str, over: &str, hours: &[&str], may_backfill: bool) -> Vec<(Name, usize)> {
        let waiting = waiting(hours);
        let (mut head, mut rest, mut made) = (head, &waiting[..], Vec::new());
        loop {
            let outlook = Outlook {
                head,
                live_since: live_since.parse().unwrap(),
                newest_over: over.parse().unwrap(),
                waiting: rest,
                is_settled: &|_| true,
                may_backfill,
            };
            let Some(next) = outlook.next() else { return made };
            made.push((next.name, next.count));
            (head, rest) = (Some(next.name), &rest[next.count..]);
        }
    }

    #[test]
    fn chain_begins_with_the_first_day_that_has_manifests_and_goes_on_day_by_day() {
        let hours = ["2023-03-10T01", "2023-03-10T02", "2023-03-12T00", "2026-11-26T05"];
        let made = due(None, "2026-11-26", "2026-11-25", &hours, false);
        assert_eq!(made, [(name("2023-03-10", 0), 2), (name("2023-03-12", 0), 1)], "no empty days before it began");
        let made = due(Some(name("2023-03-12", 0)), "2026-11-26", "2026-11-28", &hours[3..], false);
        assert_eq!(
            made,
            [(name("2026-11-26", 0), 1), (name("2026-11-27", 0), 0), (name("2026-11-28", 0), 0)],
            "empty days after it"
        );
        assert_eq!(due(None, "2026-11-26", "2026-11-30", &[], true), [], "nothing ever came");
    }

    #[test]
    fn late_manifests_go_into_one_backfill_when_it_is_time_or_before_the_next_day() {
        let head = Some(name("2023-03-12", 1));
        let late = ["2023-03-01T00", "2023-03-12T23"];
        assert_eq!(due(head, "2023-03-13", "2023-03-12", &late, false), []);
        assert_eq!(due(head, "2023-03-13", "2023-03-12", &late, true), [(name("2023-03-12", 2), 2)]);
        let both = ["2023-03-01T00", "2023-03-13T00"];
        let made = due(head, "2023-03-13", "2023-03-13", &both, false);
        assert_eq!(made, [(name("2023-03-12", 2), 1), (name("2023-03-13", 0), 1)]);
    }

    #[test]
    fn after_a_long_pause_it_goes_on_with_the_newest_day() {
        let head = Some(name("2023-03-12", 0));
        let made = due(head, "2023-03-01", "2024-03-12", &["2023-05-01T00"], false);
        assert_eq!(made, [(name("2023-05-01", 0), 1), (name("2024-03-12", 0), 0)]);
        assert_eq!(due(head, "2023-03-01", "2023-04-12", &[], false).len(), 31);
    }

    #[test]
    fn day_that_is_not_settled_waits_and_those_after_it_too() {
        let waiting = waiting(&["2023-03-13T00", "2023-03-14T00"]);
        let outlook = Outlook {
            head: Some(name("2023-03-12", 0)),
            live_since: "2023-03-01".parse().unwrap(),
            newest_over: "2023-03-15".parse().unwrap(),
            waiting: &waiting,
            is_settled: &|day| day != "2023-03-13".parse().unwrap(),
            may_backfill: true,
        };
        assert_eq!(outlook.next(), None);
    }

    #[test]
    fn digest_names_so_many_at_most_and_the_rest_follows() {
        let hours = vec!["2023-03-10T01"; MOST + 5];
        let made = due(None, "2026-11-26", "2026-11-25", &hours, true);
        assert_eq!(made, [(name("2023-03-10", 0), MOST), (name("2023-03-10", 1), 5)]);
    }
}
