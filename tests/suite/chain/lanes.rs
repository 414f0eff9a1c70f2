//! The chain where machines own ranges of hashes: lanes, their zombies, machines that work alone, and lanes of several numbers at once.
//!
//! All of them number the parts of an hour in one chain. A machine passes what cannot hold a record of its own, and reads what can; that
//! is all that keeps a record out of a second part, whoever believes to own it. Whether and when a machine lists an hour is left
//! open, but where [`Chain::lists`] says that it must.

use super::*;

/// Two lanes of two, and their records.
const LANES: Chain = Chain { lanes: &[(0, 2), (1, 2)], ..TWO };
/// A lane, and a machine that works alone: one record for both, one for the other.
const LANE_AND_ALONE: Chain = Chain { lanes: &[(0, 2)], ..TWO };
/// Two lanes, and a machine that works alone.
const THREE_KINDS: Chain = Chain { machines: 3, ..LANES };
/// Two lanes, and another that believes to be the second.
const ZOMBIE: Chain = Chain { machines: 3, lanes: &[(0, 2), (1, 2), (1, 2)], ..TWO };
/// A lane of two and one of three: record 1 is of both, each other one of one of them or of none.
const EPOCHS: Chain = Chain { lanes: &[(0, 2), (1, 3)], records: 4, ..TWO };

/// What the ranges bring, each bug in the smallest model that shows it.
const PLANTS_IN_RANGES: [(Plant, Chain, &str); 12] = [
    (Plant::ComparesRangesWrongly, LANE_AND_ALONE, ONCE),
    (Plant::PassesOverlap, LANE_AND_ALONE, ONCE),
    (Plant::TakesHashesForOwn, LANE_AND_ALONE, KEPT),
    (Plant::TakesOthersForOwn, LANES, RECEIPTS),
    (Plant::BelievesExists, LANES, RECEIPTS),
    // What a list says is free may be taken since.
    (Plant::LeavesOutCondition, Chain { lists: true, ..LANES }, UNCHANGED),
    (Plant::TakesOverUnread, LANE_AND_ALONE, ONCE),
    (Plant::KeepsFrozen, LANE_AND_ALONE, KEPT),
    (Plant::SendsLastFirst, LANE_AND_ALONE, NUMBERED),
    (Plant::RenumbersAfterSilence, Chain { faults: 1, kinds: &[Fault::Silence], ..LANES }, NUMBERED),
    (Plant::RenumbersAfterSilence, Chain { faults: 1, kinds: &[Fault::Silence], ..LANE_AND_ALONE }, ONCE),
    (Plant::ThawsUnread, LANE_AND_ALONE, HEALS),
];

/// A machine loses its state directory, as each that takes a lane over begins, in an hour of which an object was deleted.
const TAKEN_OVER_AND_DELETED: Chain = Chain {
    lists: true,
    deletions: 1,
    deletion: Deletion::Old,
    faults: 1,
    kinds: &[Fault::LoseState],
    ..LANE_AND_ALONE
};

/// What must be met somewhere. What depends on who the machines are is asked for where they are such.
pub fn rare(chain: &Chain) -> Vec<Property<Chain>> {
    let ranges: Vec<_> = (0..chain.machines).map(|m| chain.range(m)).collect();
    let pairs =
        || ranges.iter().enumerate().flat_map(|(m, range)| ranges.iter().skip(m + 1).map(move |of| (range, of)));
    let mut all = Vec::new();
    if pairs().any(|(one, other)| !one.overlaps(*other)) {
        all.push(Property::sometimes("a part moves behind one of another lane", |_, world| moves(world, 1)));
        all.push(Property::sometimes("parts of others are known before the first of ours", |chain: &Chain, world| {
            any_part(world, |m, part| part.part == 0 && !part.range.overlaps(chain.range(m)))
        }));
        if chain.records > 2 {
            all.push(Property::sometimes("a part moves twice", |_, world| moves(world, 2)));
        }
    }
    if pairs().any(|(one, other)| one == other) {
        all.push(Property::sometimes("the part of a zombie is met", |chain: &Chain, world| {
            any_part(world, |m, part| part.through == 0 && part.range == chain.range(m))
        }));
    }
    if pairs().any(|(one, other)| one != other && one.overlaps(*other)) {
        all.push(Property::sometimes("a part of a range that overlaps is taken over", |chain: &Chain, world| {
            let overlaps = |m, part: &PartRow| part.range != chain.range(m) && part.range.overlaps(chain.range(m));
            any_part(world, |m, part| part.through == 0 && overlaps(m, part))
        }));
    }
    all
}

fn moves(world: &World, times: u8) -> bool {
    any_hour(world, |hour| hour.moved >= times)
}

fn any_part(world: &World, is: impl Fn(usize, &PartRow) -> bool) -> bool {
    let hours = |m: usize| world.machines[m].hours.iter().flat_map(|hour| hour.row.uploaded());
    (0..world.machines.len()).any(|m| hours(m).any(|part| is(m, part)))
}

#[test]
fn lanes_pass_each_other_and_put_each_record_into_one_part() {
    holds(Chain { is_wide: true, records: 4, ..LANES }, 5_000);
    holds(Chain { records: tally::scale(3, 4), faults: 1, kinds: ALL, ..LANES }, 10_000);
}

#[test]
fn lanes_and_a_machine_that_works_alone_put_each_record_into_one_part() {
    for takes_all in [false, true] {
        holds(Chain { is_wide: true, takes_all, records: 3, ..LANE_AND_ALONE }, 10_000);
        holds(Chain { takes_all, faults: tally::scale(1, 2), kinds: ALL, ..LANE_AND_ALONE }, 10_000);
        holds(Chain { takes_all, faults: tally::scale(0, 1), kinds: ALL, ..THREE_KINDS }, 10_000);
    }
}

#[test]
fn lane_and_its_zombies_put_each_record_into_one_part() {
    holds(Chain { is_wide: true, records: 3, ..ZOMBIE }, 10_000);
    holds(Chain { faults: 1, kinds: ALL, ..ZOMBIE }, 10_000);
    let two_each = &[(0, 2), (0, 2), (1, 2), (1, 2)];
    let kinds = &[Fault::Crash, Fault::LoseState];
    holds(Chain { machines: 4, lanes: two_each, faults: tally::scale(0, 1), kinds, ..TWO }, 10_000);
}

#[test]
fn lanes_of_several_numbers_at_once_put_each_record_into_one_part() {
    for takes_all in [false, true] {
        holds(Chain { is_wide: true, takes_all, faults: tally::scale(0, 1), kinds: ALL, ..EPOCHS }, 5_000);
        let smaller = Chain { records: 3, ..EPOCHS };
        holds(Chain { takes_all, faults: tally::scale(1, 2), kinds: ALL, ..smaller }, 10_000);
    }
    let bounds = Chain { machines: 3, records: tally::scale(3, 4), ..EPOCHS };
    holds(Chain { is_wide: true, lanes: &[(0, 2), (1, 3), (2, 3)], ..bounds }, 5_000);
    let lanes = tally::scale([(1, 2), (1, 3)].as_slice(), EPOCHS.lanes);
    holds(Chain { lanes, records: 3, ..bounds }, 10_000);
}

#[test]
fn lanes_that_must_list_first_agree_as_well() {
    holds(Chain { lists: true, faults: tally::scale(1, 2), kinds: ALL, ..LANE_AND_ALONE }, 1_000);
    holds(Chain { lists: true, faults: tally::scale(0, 1), kinds: ALL, ..THREE_KINDS }, 1_000);
}

#[test]
fn lanes_over_a_store_that_was_not_asked_yet_agree() {
    holds(Chain { create_only: CreateOnly::Unknown, faults: 1, kinds: ALL, ..LANE_AND_ALONE }, 10_000);
}

#[test]
fn what_is_deleted_from_lanes_costs_no_more_than_itself() {
    let kinds = tally::scale(&[Fault::Forget, Fault::ReadFails][..], STATE_KEPT);
    for (repairs, gives_up) in [(false, false), (true, false), (false, true)] {
        let deletion =
            Chain { deletions: 1, deletion: Deletion::Old, repairs, gives_up, faults: 1, kinds, ..LANE_AND_ALONE };
        holds(deletion, 1_000);
        holds(Chain { lanes: LANES.lanes, ..deletion }, 100);
    }
}

#[test]
fn lane_that_lists_manifests_too_may_lose_its_state_where_objects_are_deleted() {
    holds(Chain { manifests: true, ..TAKEN_OVER_AND_DELETED }, 1_000);
    holds(Chain { manifests: true, lanes: ZOMBIE.lanes, machines: 3, ..TAKEN_OVER_AND_DELETED }, 1_000);
    assert!(breaks(TAKEN_OVER_AND_DELETED, ONCE), "who lists objects alone puts them in once more");
}

#[test]
fn parts_of_a_lane_are_cut_again_where_another_lane_has_their_number() {
    let kinds = tally::scale(&[Fault::Silence, Fault::Deafness][..], STATE_KEPT);
    holds(Chain { cut: 2, records: 4, recuts: true, ..LANES }, 10_000);
    holds(Chain { records: tally::scale(2, 3), cut: 2, recuts: true, faults: 1, kinds, ..LANE_AND_ALONE }, 1_000);
}

#[test]
fn each_bug_about_ranges_is_found_and_nothing_without_it() {
    for (bug, bounds, broken) in PLANTS_IN_RANGES {
        assert!(breaks(Chain { plant: Some(bug), ..bounds }, broken), "{bug:?} does not break: {broken}");
        holds(bounds, 50);
    }
}

/// New numbers are durable before the PUT so that ledger and spool say what is so. No record depends on it: who forgets them finds at the
/// old number what was there, and moves behind it again.
#[test]
fn numbers_that_a_crash_forgets_cost_a_look_and_no_record() {
    let forgets = Chain { plant: Some(Plant::ForgetsNumbers), faults: 2, ..LANES };
    holds(Chain { kinds: &[Fault::Crash, Fault::LoseBytes], ..forgets }, 1_000);
    holds(Chain { kinds: &[Fault::Crash, Fault::Silence], lanes: LANE_AND_ALONE.lanes, ..forgets }, 10_000);
}
