//! The chain of an hour's parts, model-checked: every order of what machines, a store and bad luck can do within some bounds.
//!
//! What the machines do is the real thing: each durable step is [`etl::hour::lifecycle::HourRow::apply`], each answer of the store is judged by
//! [`etl::store::once::next`]. The model adds what is between them (`chain/world.rs`): a store whose PUTs land late, twice or never
//! and whose answers are lost, crashes, lost bytes, a lost state directory, hashes that are forgotten, hours that cannot be read back,
//! somebody who deletes an object, and one who puts it back, gives it up, or has parts cut again.
//!
//! It shows what holds ([`holds`]), that each of [`PLANTS`] would be noticed, and, for [`NOT_PROMISED`], that it does happen: what the
//! manual says is not promised is neither more nor less than that. A new rule about parts goes through here before it is built.
//! `ETL_TEST_SCALE=release` lets one more thing go wrong: millions of states, and minutes.

mod lanes;
mod machine;
mod meeting;
mod mishap;
mod store;
mod work;
mod world;

use std::collections::BTreeSet;

use etl::hour::part::{PartRow, PartStage};
use etl::store::once::CreateOnly;
use stateright::{Checker, HasDiscoveries, Model, Property};

use self::machine::{HourOf, Talk, records};
use self::store::{Condition, Records};
use self::world::{Chain, Deletion, Fault, Happening, Plant, World};
use crate::support::tally;

const ONCE: &str = "each record is in at most one part";
const UNCHANGED: &str = "no object changes";
const RECEIPTS: &str = "what has a receipt was in the store";
const KEPT: &str = "what was received is in a part with a receipt, or waits";
const LISTED: &str = "the transition table lists all that happens";
const NUMBERED: &str = "an hour's parts are numbered without a hole";
const HEALS: &str = "once all is well, all is in the store";

/// Steps in which all is done once nothing fails any more.
const STEPS: usize = 200;

/// Every fault, in an order of which the sets below are runs.
const EVERY: &[Fault] = &[
    Fault::Deafness,
    Fault::Silence,
    Fault::Conflict,
    Fault::Unproven,
    Fault::Repeat,
    Fault::LookFails,
    Fault::ReadFails,
    Fault::Crash,
    Fault::Forget,
    Fault::LoseBytes,
    Fault::LoseState,
];
/// All but the one that [`Fault::Silence`] contains.
const ALL: &[Fault] = EVERY.split_at(1).1;
/// What can happen to a machine that keeps its state directory.
const STATE_KEPT: &[Fault] = ALL.split_at(9).0;
/// The same, where it keeps the bytes of its sealed parts too.
const SPOOL_KEPT: &[Fault] = EVERY.split_at(9).0;

/// Two machines that receive the same two records, each of which makes a part.
const TWO: Chain = Chain {
    machines: 2,
    lanes: &[],
    lists: false,
    takes_all: false,
    manifests: false,
    hours: 1,
    records: 2,
    cut: 1,
    create_only: CreateOnly::Proven,
    condition: Condition::Honoured,
    faults: 0,
    kinds: &[],
    deletions: 0,
    deletion: Deletion::Any,
    repairs: false,
    gives_up: false,
    recuts: false,
    is_wide: false,
    plant: None,
};
const ONE: Chain = Chain { machines: 1, ..TWO };
/// One machine over a store that takes no notice of the condition.
const HEEDLESS: Chain = Chain { create_only: CreateOnly::NotHonoured, condition: Condition::Ignored, ..ONE };

/// Each bug, where it is planted, and what it breaks.
const PLANTS: [(Plant, Chain, &str); 18] = [
    (Plant::BelievesExists, TWO, RECEIPTS),
    (Plant::BelievesSilence, Chain { faults: 1, kinds: &[Fault::Silence], ..ONE }, RECEIPTS),
    (Plant::RenumbersAfterSilence, Chain { faults: 1, kinds: &[Fault::Silence], ..ONE }, ONCE),
    (
        Plant::FailedLookIsAbsence,
        Chain { cut: 2, faults: 4, kinds: &[Fault::Deafness, Fault::LoseBytes, Fault::LookFails], ..HEEDLESS },
        UNCHANGED,
    ),
    (Plant::TakesOverUnread, TWO, ONCE),
    (Plant::KeepsFrozen, TWO, KEPT),
    (Plant::SendsLastFirst, TWO, ONCE),
    (Plant::PrunesAtFreeze, TWO, KEPT),
    (Plant::RemembersThawed, Chain { faults: 1, kinds: &[Fault::LoseBytes], ..ONE }, KEPT),
    (Plant::ForgetsSealing, Chain { faults: 1, kinds: &[Fault::Forget], ..ONE }, ONCE),
    (Plant::MissingIsEmpty, Chain { faults: 1, kinds: &[Fault::Forget], ..ONE }, ONCE),
    (Plant::BringsBackUnread, Chain { faults: 2, kinds: &[Fault::Forget, Fault::ReadFails], ..ONE }, ONCE),
    (Plant::DropsParked, Chain { faults: 2, kinds: &[Fault::Forget, Fault::ReadFails], ..ONE }, KEPT),
    (Plant::ThawsUnread, TWO, HEALS),
    (Plant::FreezesForgotten, Chain { faults: 1, kinds: &[Fault::LoseBytes], ..ONE }, LISTED),
    (Plant::LeavesOutCondition, TWO, UNCHANGED),
    // The old part lands over the new one, and its other record is in the part after that too.
    (Plant::RecutsAtOnce, Chain { cut: 2, recuts: true, faults: 1, kinds: &[Fault::Silence], ..HEEDLESS }, ONCE),
    (Plant::GivesUpUnseen, Chain { gives_up: true, faults: 1, kinds: &[Fault::Forget], ..ONE }, ONCE),
];

/// What the manual says is not promised, and what breaks then.
const NOT_PROMISED: [(&str, Chain, &str); 6] = [
    (
        "an object is deleted while a PUT is on its way",
        Chain { deletions: 1, deletion: Deletion::Met, faults: 1, kinds: &[Fault::Silence], ..TWO },
        ONCE,
    ),
    (
        "an object is deleted that a machine has not met",
        Chain { deletions: 1, deletion: Deletion::Landed, ..TWO },
        ONCE,
    ),
    (
        "an object is deleted, and the state directory is lost",
        Chain { deletions: 1, deletion: Deletion::Old, faults: 1, kinds: &[Fault::LoseState], ..ONE },
        ONCE,
    ),
    ("two machines over a store that ignores the condition", Chain { machines: 2, ..HEEDLESS }, UNCHANGED),
    (
        "a late PUT over such a store, and the sealed bytes are lost",
        Chain { cut: 2, faults: 2, kinds: &[Fault::Silence, Fault::LoseBytes], ..HEEDLESS },
        UNCHANGED,
    ),
    (
        "a late PUT over such a store, and the state directory is lost",
        Chain { faults: 2, kinds: &[Fault::Silence, Fault::LoseState], ..HEEDLESS },
        UNCHANGED,
    ),
];

impl Model for Chain {
    type State = World;
    type Action = Happening;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Happening>) {
        if world.is_impossible {
            return;
        }
        actions.extend(self.progress(world));
        actions.extend(self.choices(world));
        if world.faults_left > 0 {
            actions.extend(self.faults(world));
        }
    }

    fn next_state(&self, world: &World, what: Happening) -> Option<World> {
        self.happens(world, what)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![
            Property::always(ONCE, |_, world: &World| world.stored().1 == 0),
            Property::always(UNCHANGED, |_, world: &World| !world.store.has_changed_one),
            Property::always(RECEIPTS, |_, world| has_true_receipts(world)),
            Property::always(KEPT, |_, world| keeps_all(world)),
            Property::always(LISTED, |_, world: &World| !world.is_impossible),
            Property::always(NUMBERED, |_, world| is_numbered(world)),
            Property::always(HEALS, heals),
        ];
        if self.is_wide && self.lanes.is_empty() {
            all.extend(rare());
        } else if self.is_wide {
            all.extend(lanes::rare(self));
        }
        all
    }
}

/// What must be met somewhere, so that the rest says something.
fn rare() -> [Property<Chain>; 8] {
    [
        Property::sometimes("a part of the other machine is taken over", |_, world| {
            any_hour(world, |hour| hour.row.uploaded().any(|part| part.through == 0))
        }),
        Property::sometimes("both machines make the same part", |_, world: &World| {
            let own =
                |m: usize| world.machines[m].hours[0].row.uploaded().any(|part| part.through > 0 && part.part == 0);
            own(0) && own(1)
        }),
        Property::sometimes("a PUT is on its way whose part has its receipt", |_, world: &World| {
            let has_receipt = |h: usize, number, m: usize| {
                world.machines[m].hours[h].row.uploaded().any(|part: &_| part.part == number)
            };
            world.store.flights.iter().any(|flight| has_receipt(flight.key.0, flight.key.1, flight.object.by))
        }),
        Property::sometimes("a foreign part is met", |_, world| {
            any_hour(world, |hour| hour.talk == Some(Talk::Foreign))
        }),
        Property::sometimes("an hour is forgotten", |_, world| any_hour(world, |hour| hour.row.is_forgotten())),
        Property::sometimes("records are parked", |_, world| any_hour(world, |hour| hour.parked != 0)),
        Property::sometimes("an hour is thawed", |_, world| {
            any_hour(world, |hour| hour.row.parts.is_empty() && hour.row.next_hashes > 1)
        }),
        Property::sometimes("all that was thawed is in parts already", |_, world| {
            any_hour(world, |hour| hour.row.frozen > 0 && hour.row.parts.iter().all(|part| part.through == 0))
        }),
    ]
}

fn any_hour(world: &World, is: impl Fn(&HourOf) -> bool) -> bool {
    world.machines.iter().flat_map(|machine| &machine.hours).any(is)
}

fn has_true_receipts(world: &World) -> bool {
    let is_true =
        |h: usize, hour: &HourOf| hour.row.uploaded().all(|part| world.store.ever_had((h, part.part), records(part)));
    world.machines.iter().all(|machine| machine.hours.iter().enumerate().all(|(h, hour)| is_true(h, hour)))
}

fn keeps_all(world: &World) -> bool {
    world.machines.iter().all(|machine| {
        let kept = machine.hours.iter().fold(0, |all, hour| {
            let receipts = hour.row.parts.iter().filter(|part| part.stage != PartStage::Sealing);
            let uploaded = receipts.fold(0, |all, part| all | records(part));
            all | uploaded | hour.logged() | hour.journal | hour.parked
        });
        machine.received & !kept == 0
    })
}

fn is_numbered(world: &World) -> bool {
    let objects = &world.store.objects;
    let deleted = world.store.deleted.iter().map(|(key, _)| key);
    objects.keys().chain(deleted.clone()).all(|(h, part)| {
        let before = part.checked_sub(1).map(|before| (*h, before));
        before.is_none_or(|before| objects.contains_key(&before) || deleted.clone().any(|gone| *gone == before))
    })
}

/// Nothing fails any more, and what is still on its way never lands: in bounded time all is done. Where an object was deleted its hour may
/// wait.
fn heals(chain: &Chain, world: &World) -> bool {
    if world.is_impossible || any_hour(world, |hour| hour.talk.is_some()) {
        return true;
    }
    let mut world = world.clone();
    world.store.flights.clear();
    for _ in 0..STEPS {
        let next = chain.progress(&world).into_iter().find_map(|what| chain.happens(&world, what));
        let Some(next) = next else { break };
        world = next;
    }
    let deleted: Records = world.store.deleted.iter().fold(0, |all, (_, object)| all | object.records);
    let may_wait = |h: usize| world.store.deleted.iter().any(|((of, _), _)| *of == h);
    let is_done = |h: usize, hour: &HourOf| may_wait(h) || (!hour.has_work() && hour.parked == 0);
    let stored = world.stored().0 | deleted;
    let is_there = |record: u8| may_wait(chain.hour_of(record)) || stored & (1 << record) != 0;
    world.machines.iter().all(|machine| {
        let received = (0..chain.records).filter(|record| machine.received & (1 << record) != 0);
        let mut hours = machine.hours.iter().enumerate();
        received.into_iter().all(is_there) && hours.all(|(h, hour)| is_done(h, hour))
    })
}

/// Checks every state, and that there are at least so many.
#[track_caller]
fn holds(chain: Chain, least: usize) {
    let checker = chain.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    for (name, path) in checker.discoveries() {
        let is_failure = chain.properties().iter().any(|of| of.name == name && is_always(of));
        assert!(!is_failure, "not true: {name}, after {:#?}", path.into_actions());
    }
    checker.assert_properties();
    assert!(checker.is_done() && checker.unique_state_count() >= least, "{} states", checker.unique_state_count());
}

fn is_always(property: &Property<Chain>) -> bool {
    matches!(property.expectation, stateright::Expectation::Always)
}

/// Whether the model comes to a state in which `broken` is not true.
fn breaks(chain: Chain, broken: &'static str) -> bool {
    let wanted = HasDiscoveries::AllOf(BTreeSet::from([broken]));
    let checker = chain.checker().finish_when(wanted).spawn_bfs().join();
    checker.discovery(broken).is_some()
}

#[test]
fn two_machines_put_each_record_into_one_part_whatever_fails() {
    holds(Chain { faults: tally::scale(1, 2), kinds: ALL, ..TWO }, 100_000);
}

#[test]
fn two_machines_that_forget_and_cannot_read_put_each_record_into_one_part() {
    let kinds = &[Fault::Forget, Fault::ReadFails, Fault::LoseBytes, Fault::Silence];
    holds(Chain { faults: 2, kinds, is_wide: true, ..TWO }, 100_000);
}

#[test]
fn two_machines_with_parts_of_several_records_agree_in_any_order() {
    let kinds = &[Fault::Silence, Fault::LoseBytes];
    holds(Chain { records: 3, cut: 2, faults: tally::scale(0, 1), kinds, ..TWO }, 100_000);
}

#[test]
fn two_machines_over_a_store_that_was_not_asked_yet_look_first_and_agree() {
    let kinds = tally::scale(&[Fault::Silence, Fault::LookFails][..], ALL);
    holds(Chain { create_only: CreateOnly::Unknown, faults: 1, kinds, ..TWO }, 10_000);
}

#[test]
fn one_machine_loses_nothing_of_two_hours_whatever_fails() {
    holds(Chain { hours: 2, faults: tally::scale(2, 3), kinds: ALL, ..ONE }, 1_000);
    holds(Chain { records: 3, cut: 2, faults: tally::scale(1, 3), kinds: ALL, ..ONE }, 1_000);
}

#[test]
fn one_machine_that_keeps_what_it_sealed_needs_no_condition() {
    for condition in [Condition::Ignored, Condition::Refused] {
        for create_only in [CreateOnly::Unknown, CreateOnly::NotHonoured] {
            let faults = tally::scale(2, 3);
            holds(Chain { create_only, condition, faults, kinds: SPOOL_KEPT, ..ONE }, 1_000);
        }
    }
}

#[test]
fn what_is_deleted_when_all_know_it_costs_no_more_than_itself() {
    let kinds = tally::scale(&[Fault::Forget, Fault::ReadFails][..], STATE_KEPT);
    for repairs in [false, true] {
        holds(Chain { deletions: 1, deletion: Deletion::Old, repairs, faults: 1, kinds, ..TWO }, 10_000);
    }
}

#[test]
fn what_is_deleted_from_one_machine_costs_no_more_than_itself() {
    for repairs in [false, true] {
        holds(Chain { hours: 2, records: 3, deletions: 1, repairs, faults: 1, kinds: STATE_KEPT, ..ONE }, 1_000);
    }
}

#[test]
fn what_is_given_up_costs_no_more_than_itself_and_its_number() {
    let kinds = tally::scale(&[Fault::Forget, Fault::Crash][..], STATE_KEPT);
    let faults = tally::scale(0, 1);
    let bounds = Chain { deletions: 1, deletion: Deletion::Old, gives_up: true, faults, kinds, ..TWO };
    holds(bounds, 10_000);
    holds(Chain { hours: 2, records: 3, deletion: Deletion::Landed, machines: 1, faults: 1, ..bounds }, 1_000);
}

#[test]
fn parts_that_are_cut_again_when_no_put_of_them_can_land_put_each_record_into_one_part() {
    let kinds = tally::scale(&[Fault::Silence, Fault::Deafness][..], STATE_KEPT);
    holds(Chain { cut: 2, recuts: true, faults: 1, kinds, ..TWO }, 10_000);
    holds(Chain { cut: 2, records: 3, recuts: true, faults: 2, kinds: SPOOL_KEPT, ..HEEDLESS }, 1_000);
}

#[test]
fn each_planted_bug_is_found_and_nothing_without_it() {
    for (bug, bounds, broken) in PLANTS {
        assert!(breaks(Chain { plant: Some(bug), ..bounds }, broken), "{bug:?} does not break: {broken}");
        holds(bounds, 50);
    }
}

#[test]
fn what_is_not_promised_does_happen() {
    for (what, bounds, broken) in NOT_PROMISED {
        assert!(breaks(bounds, broken), "{what} does not break: {broken}");
    }
}
