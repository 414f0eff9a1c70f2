//! That the ids that came give exactly the gaps that a plain count gives. Owns nothing, keeps nothing on the disk.

use std::collections::BTreeSet;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_678_406_400 + second).unwrap()
}

/// Ids of new records that come one a second.
fn ids(range: std::ops::RangeInclusive<i64>, from: i64) -> Vec<ArrivedId> {
    range.zip(from..).map(|(id, second)| ArrivedId { id, at: at(second), is_new: true }).collect()
}

fn gaps(seen: &Seen) -> Vec<(i64, i64)> {
    seen.gaps().iter().map(|gap| (gap.from, gap.to)).collect()
}

/// A set that is fed segment by segment.
struct Feed(Seen);

impl Feed {
    fn new() -> Self {
        Self(Seen::of("record_id"))
    }

    /// The ids come one a second from `from` on.
    fn take(&mut self, range: std::ops::RangeInclusive<i64>, from: i64) -> Vec<(i64, i64)> {
        let received = from + range.end() - range.start();
        self.0 = self.0.with(&ids(range, from), self.0.segment + 1, at(received));
        gaps(&self.0)
    }
}

#[test]
fn hole_is_known_until_a_late_record_fills_it() {
    let mut feed = Feed::new();
    feed.take(1..=10, 0);
    assert_eq!(feed.take(15..=20, 14), [(11, 14)]);
    assert_eq!((feed.0.missing(), feed.0.last_found()), (4, Some(at(19))));
    assert_eq!(feed.take(13..=13, 12), [(11, 12), (14, 14)]);
    feed.take(11..=12, 10);
    assert_eq!(feed.take(14..=14, 13), []);
    assert_eq!((feed.0.missing(), feed.0.last_found()), (0, Some(at(19))));
}

#[test]
fn order_within_a_segment_does_not_matter() {
    let forward = ids(1..=50, 0);
    let backward: Vec<ArrivedId> = forward.iter().rev().copied().collect();
    let seen = |ids: &[ArrivedId]| Seen::of("record_id").with(ids, 1, at(0)).epochs[0].ranges.clone();
    assert_eq!(seen(&forward), seen(&backward));
}

#[test]
fn counter_that_starts_again_is_an_epoch_of_its_own() {
    let mut feed = Feed::new();
    feed.take(1..=5000, 0);
    feed.take(5011..=5020, 5011);
    feed.take(1..=100, 6000);
    assert_eq!(feed.take(111..=120, 6110), [(5001, 5010), (101, 110)]);
    feed.take(5001..=5010, 5001);
    assert_eq!(feed.take(101..=110, 6100), []);
    assert_eq!(feed.0.epochs.len(), 2);
}

#[test]
fn counter_that_starts_again_early_is_noticed_at_its_beginning() {
    let mut feed = Feed::new();
    feed.take(1..=50, 0);
    feed.take(1..=20, 100);
    assert_eq!(feed.take(23..=60, 122), [(21, 22)]);
    assert_eq!(feed.0.epochs.len(), 2);
}

#[test]
fn counter_may_start_again_twice_and_within_a_page_in_any_order() {
    let page = |reverse: bool| {
        let mut all = [ids(4951..=5000, 4951), ids(1..=60, 5001), ids(1..=40, 5100)].concat();
        all.retain(|seen| !matches!((seen.id, seen.at < at(5001)), (4960..=4965, true) | (20, false)));
        if reverse {
            all.reverse();
        }
        all
    };
    for reverse in [false, true] {
        let mut feed = Feed::new();
        feed.take(1..=4950, 1);
        let seen = feed.0.with(&page(reverse), 2, at(6000));
        let expected: &[(i64, i64)] =
            if reverse { &[(4960, 4965), (20, 20)] } else { &[(4960, 4965), (20, 20), (20, 20)] };
        assert_eq!(gaps(&seen), expected, "reverse: {reverse}");
    }
}

#[test]
fn late_record_of_the_old_count_fills_its_hole_also_where_the_new_count_is_about_as_high() {
    let mut feed = Feed::new();
    feed.take(1..=2000, 0);
    feed.take(2006..=5000, 2006);
    feed.take(1..=2500, 6000);
    assert_eq!(feed.take(2001..=2005, 2001), []);
    assert_eq!(feed.take(2501..=2600, 9000), []);
}

#[test]
fn record_dated_back_into_the_old_count_belongs_to_the_new_one() {
    let mut feed = Feed::new();
    feed.take(1..=5000, 0);
    feed.take(1..=59, 6000);
    feed.take(60..=60, 3000);
    assert_eq!(feed.take(61..=100, 6060), []);
    feed.take(101..=5200, 6100);
    feed.take(5201..=5201, 4000);
    assert_eq!(feed.take(5202..=5300, 13_000), []);
}

#[test]
fn strays_make_no_hole() {
    for stray in [i64::MAX, i64::MIN, -7, 0, 1_000_000] {
        let mut feed = Feed::new();
        feed.take(3000..=5000, 0);
        feed.0 = feed.0.with(&ids(stray..=stray, 2001), 2, at(2001));
        assert_eq!(feed.take(5001..=5100, 2002), [], "{stray}");
        let again = ArrivedId { id: stray, at: at(2001), is_new: false };
        feed.0 = feed.0.with(&[again], feed.0.segment + 1, at(2200));
        assert_eq!(feed.take(5104..=5200, 2300), [(5101, 5103)], "{stray}");
        assert_eq!(feed.take(5101..=5103, 2200), [], "{stray}");
        assert_eq!(feed.take(1..=100, 2900), [], "{stray}, then the counter starts again");
        assert_eq!(feed.take(103..=110, 3003), [(101, 102)], "{stray}");
    }
}

#[test]
fn counter_that_jumps_and_stays_has_a_hole() {
    let mut feed = Feed::new();
    feed.take(1..=100, 0);
    assert_eq!(feed.take(5000..=5100, 100), [(101, 4999)]);
    assert_eq!(feed.take(5101..=5200, 300), [(101, 4999)]);
}

#[test]
fn epoch_without_holes_is_forgotten_first() {
    let mut feed = Feed::new();
    feed.take(1..=10, 0);
    feed.take(12..=1500, 11);
    for n in 1..=20 {
        feed.take(1..=1500, n * 2000);
    }
    assert_eq!((gaps(&feed.0), feed.0.given_up()), (vec![(11, 11)], 0));
}

/// A source that skips ids, starts again, hands records out late or dated back, and pages that overlap: the gaps after each
/// page are those that a plain count finds.
#[test]
fn gaps_are_exact_at_each_moment_of_a_troubled_stream() {
    for seed in 0..10 {
        let mut draws = fastrand::Rng::with_seed(seed);
        let mut stream = Vec::new();
        for length in [6000, 9000, 4000] {
            let from = i64::try_from(stream.len()).unwrap();
            stream.extend((1..=length).map(|id| (from, ArrivedId { id, at: at(from + id), is_new: true })));
        }
        check_stream(seed, &stream, &mut draws);
    }
}

/// Feeds a stream of (count, sighting) in pages of 100 and compares with what is missing below the highest of each count.
fn check_stream(seed: u64, stream: &[(i64, ArrivedId)], draws: &mut fastrand::Rng) {
    let mut feed = Seen::of("record_id");
    let (mut came, mut held) = (BTreeSet::new(), Vec::new());
    for (n, window) in stream.chunks(60).enumerate() {
        let mut page = Vec::new();
        // Some are kept back, and come some pages later; some are dated back by up to an hour.
        for (count, sighting) in window {
            match draws.u8(..) {
                0..4 => {}
                4..8 => held.push((*count, *sighting)),
                8..16 => page.push((*count, ArrivedId { at: back(sighting.at, draws), ..*sighting })),
                _ => page.push((*count, *sighting)),
            }
        }
        if draws.u8(..) < 40 {
            page.append(&mut held);
        }
        came.extend(page.iter().map(|(count, sighting)| (*count, sighting.id)));
        let sightings: Vec<ArrivedId> = page.iter().map(|(_, sighting)| *sighting).collect();
        let segment = 2 * u64::try_from(n).unwrap() + 1;
        feed = feed.with(&sightings, segment, at(0));
        let again: Vec<ArrivedId> = sightings.iter().map(|seen| ArrivedId { is_new: false, ..*seen }).collect();
        feed = feed.with(&again, segment + 1, at(0));
        assert_eq!(missing_ids(&feed), missing_of(&came), "seed {seed}, page {n}");
    }
}

fn back(at: Timestamp, draws: &mut fastrand::Rng) -> Timestamp {
    at - jiff::SignedDuration::from_secs(draws.i64(0..3600))
}

fn missing_ids(seen: &Seen) -> Vec<i64> {
    seen.gaps().iter().flat_map(|gap| gap.from..=gap.to).collect()
}

fn missing_of(came: &BTreeSet<(i64, i64)>) -> Vec<i64> {
    let pairs = came.iter().zip(came.iter().skip(1));
    pairs.filter(|(a, b)| a.0 == b.0).flat_map(|(a, b)| a.1 + 1..b.1).collect()
}

#[test]
fn what_comes_again_is_counted_where_it_was() {
    let mut feed = Feed::new();
    feed.take(1..=2000, 0);
    feed.take(2010..=5000, 2010);
    let before = feed.take(1..=100, 6000);
    let known: Vec<ArrivedId> = ids(1..=2000, 0).into_iter().map(|id| ArrivedId { is_new: false, ..id }).collect();
    assert_eq!(gaps(&feed.0.with(&known, 9, at(7000))), before, "duplicates");
    assert_eq!(gaps(&feed.0.with(&ids(1..=2000, 0), 1, at(7000))), before, "a log that is filled anew");
}

#[test]
fn low_id_of_an_old_record_starts_nothing() {
    let mut feed = Feed::new();
    feed.take(3000..=3400, 3000);
    feed.take(3600..=4000, 3600);
    assert_eq!(feed.take(1..=10, 1), [(11, 2999), (3401, 3599)]);
    feed.take(3500..=3500, 9000);
    let epochs = feed.0.epochs.iter().filter(|epoch| !epoch.is_aside());
    assert_eq!(epochs.count(), 1, "newer, but not far below");
}

#[test]
fn oldest_holes_are_given_up_and_counted() {
    let every_other: Vec<ArrivedId> = (0..5000).map(|n| ArrivedId { id: 2 * n, at: at(n), is_new: true }).collect();
    let seen = Seen::of("record_id").with(&every_other, 1, at(0));
    assert_eq!(seen.gaps().len(), MAX_RANGES - 1);
    assert_eq!(seen.given_up(), 4999 - (MAX_RANGES as u64 - 1));
    assert_eq!(seen.gaps().last(), Some(&Gap { from: 9997, to: 9997 }));
}

#[test]
fn extreme_ids_are_ids() {
    let extreme = [i64::MAX, i64::MIN, i64::MAX - 1].map(|id| ArrivedId { id, at: at(0), is_new: true });
    let seen = Seen::of("record_id").with(&extreme, 1, at(0));
    assert_eq!((gaps(&seen), seen.is_stray(i64::MIN)), (vec![], true));
    let around = [i64::MIN + 2, i64::MIN + 1].map(|id| ArrivedId { id, at: at(0), is_new: true });
    let seen = seen.with(&around, 2, at(0));
    assert_eq!(gaps(&seen), [(i64::MIN + 3, i64::MAX - 2)], "until the ids around it come");
    assert_eq!(seen.missing(), u64::MAX - 4);
}

#[test]
fn odd_id_makes_no_hole_whenever_it_comes_and_counts_once_the_ids_around_it_have_come() {
    for odd in [i64::MAX, i64::MIN, 1_000_000] {
        for (n, second) in [(0, -1), (0, 5000), (30, 25), (30, 5000), (100, 200)] {
            let mut all = ids(3001..=3100, 0);
            all.insert(n, ArrivedId { id: odd, at: at(second), is_new: true });
            let seen = Seen::of("record_id").with(&all, 1, at(200));
            let page = ids(3101..=3110, 300);
            let seen = seen.with(&page, 2, at(400));
            assert_eq!((gaps(&seen), seen.missing()), (vec![], 0), "{odd} as number {n}, at {second}");
        }
    }
    let mut feed = Feed::new();
    feed.take(1..=100, 0);
    assert_eq!(feed.take(5000..=5000, 100), []);
    assert_eq!(feed.take(5001..=5001, 200), [(101, 4999)]);
    assert_eq!(feed.take(9000..=9000, 300), [(101, 4999)]);
    assert_eq!(feed.take(9010..=9010, 310), [(101, 4999)]);
    assert_eq!(feed.take(9020..=9020, 320), [(101, 4999), (5002, 8999), (9001, 9009), (9011, 9019)]);
}

#[test]
fn counter_that_starts_again_a_little_below_is_noticed_by_an_id_that_came_before() {
    for below in [2, 17, 999, 1000] {
        let mut feed = Feed::new();
        feed.take(1..=3000, 0);
        let from = 3001 - below;
        assert_eq!(feed.take(from..=from + 5, 4000), [], "{below}");
        assert_eq!(feed.0.epochs.len(), 2, "{below}");
        assert_eq!(feed.take(from + 8..=3100, 4100), [(from + 6, from + 7)], "{below}");
    }
}

#[test]
fn record_with_an_id_of_another_is_disputed_where_no_counter_lacks_it() {
    let mut feed = Feed::new();
    feed.take(1..=3000, 0);
    feed.take(1500..=1500, 1000);
    assert_eq!(feed.0.epochs.len(), 1);
    let said = |from, to| feed.0.say_of(at(from).as_millisecond(), at(to).as_millisecond(), None, true);
    assert_eq!(said(900, 1100), runs::IdsSay::NothingOfIt);
    let with_ids = |from: i64, to: i64| {
        feed.0.say_of(at(from).as_millisecond(), at(to).as_millisecond(), Some((from + 1, to)), true)
    };
    assert_eq!(with_ids(900, 1100), runs::IdsSay::Disputed);
    assert!(matches!(with_ids(1100, 1200), runs::IdsSay::Joined(_)), "{:?}", with_ids(1100, 1200));
}

#[test]
fn other_field_begins_anew_and_none_looks_for_nothing() {
    let mut feed = Feed::new();
    feed.take(1..=5, 0);
    feed.take(9..=9, 9);
    assert_eq!(feed.0.for_field("record_id"), feed.0);
    let other = feed.0.for_field("seq");
    assert_eq!((gaps(&other), other.version()), (vec![], feed.0.version() + 1));
    assert_eq!(gaps(&feed.0.for_field("").with(&ids(20..=30, 0), 9, at(0))), []);
}

#[test]
fn polls_that_do_not_overlap_name_what_may_be_lost() {
    let mut feed = Feed::new();
    feed.take(1..=100, 0);
    let before = feed.0;
    let watched = |sightings: &[ArrivedId]| {
        let mut watch = Watch::start(&before).unwrap();
        sightings.iter().for_each(|sighting| watch.saw(sighting));
        watch.lost(&before.with(sightings, 2, at(200)))
    };
    let missed = watched(&ids(138..=200, 138)).unwrap();
    assert_eq!((missed.lost, missed.gap), (37, Gap { from: 101, to: 137 }));
    assert_eq!((missed.after, missed.before), (at(99), at(138)));
    assert_eq!(watched(&ids(101..=150, 101)), None, "the next poll goes on where this one ended");
    let with_a_hole = [ids(100..=100, 100), ids(105..=105, 105)].concat();
    assert_eq!(watched(&with_a_hole), None, "the source's own hole");
    assert!(Watch::start(&Seen::of("record_id")).is_none());
}

#[test]
fn counter_that_started_again_between_polls_may_have_lost_its_first_ids() {
    let mut feed = Feed::new();
    feed.take(1..=5000, 0);
    let watched = |sightings: &[ArrivedId]| {
        let mut watch = Watch::start(&feed.0).unwrap();
        sightings.iter().for_each(|sighting| watch.saw(sighting));
        watch.lost(&feed.0.with(sightings, 2, at(6000)))
    };
    let missed = watched(&ids(38..=137, 5100)).unwrap();
    assert_eq!((missed.lost, missed.gap), (37, Gap { from: 1, to: 37 }));
    assert_eq!((missed.after, missed.before), (at(4999), at(5100)));
    assert_eq!(watched(&ids(1..=100, 5100)), None, "from its beginning");
    assert_eq!(watched(&[ids(5000..=5000, 4999), ids(38..=137, 5100)].concat()), None, "the polls overlap");
}

#[test]
fn layout_is_pinned() {
    let seen = Seen::of("id").with(&ids(1..=3, 0), 7, at(0));
    let bytes = bincode::serialize(&seen).unwrap();
    let expected = "0200000000000000\
                    6964\
                    0100000000000000\
                    0100000000000000\
                    0038d1c886010000\
                    d03fd1c886010000\
                    0100000000000000\
                    0100000000000000\
                    0300000000000000\
                    0000000000000000\
                    0700000000000000\
                    00";
    let times = "01000000000000000100000000000000\
                 0100000000000000\
                 0038d1c886010000\
                 0038d1c886010000\
                 00000000000000000000000000000000";
    assert_eq!(crate::digest::hex(&bytes), format!("{expected}{times}"));
    assert_eq!(bincode::deserialize::<Seen>(&bytes).unwrap(), seen);
    let before = [&bytes[..expected.len() / 2], &PADDING].concat();
    let old = bincode::deserialize::<Seen>(&before).unwrap();
    assert_eq!((gaps(&old), old.version(), old.has(3)), (vec![], seen.version(), true), "the form without times");
    let joined = |seen: &Seen| seen.say_of(at(10).as_millisecond(), at(20).as_millisecond(), None, false);
    let on = old.with(
        &[ArrivedId { id: 4, at: at(5), is_new: true }, ArrivedId { id: 5, at: at(30), is_new: true }],
        8,
        at(31),
    );
    assert!(matches!(joined(&on), runs::IdsSay::Joined(run) if run.from.0 == 4), "{:?}", joined(&on));
}
