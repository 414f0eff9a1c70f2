//! What can happen in the model, and when.

use etl::hour::range::HashRange;
use etl::store::once::CreateOnly;

use super::machine::{HourOf, Machine, Talk};
use super::mishap::{deafen, look_fails, lose_bytes, repair};
use super::store::{Condition, Key, Object, Records, Reply, Store};

/// A bug that the model is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// 412 is taken for our earlier success.
    BelievesExists,
    /// No answer is taken for success.
    BelievesSilence,
    /// No answer is taken for "not stored": the part gets the next number.
    RenumbersAfterSilence,
    /// A look that failed is taken for "nothing there".
    FailedLookIsAbsence,
    /// A foreign part is taken over by its name alone.
    TakesOverUnread,
    /// Ours is not thawed when a foreign part takes its number.
    KeepsFrozen,
    /// A later part is sent before an earlier one has its receipt.
    SendsLastFirst,
    /// Records are pruned when they are frozen.
    PrunesAtFreeze,
    /// Thawed records stay in the hash array.
    RemembersThawed,
    /// The hashes of an hour go while it is sealing.
    ForgetsSealing,
    /// Hashes that are missing are taken for none.
    MissingIsEmpty,
    /// Parked records come back without a look at the hour.
    BringsBackUnread,
    /// What is parked is not kept.
    DropsParked,
    /// Ours is thawed for a foreign part, which is not imported.
    ThawsUnread,
    /// An hour is frozen without its hashes.
    FreezesForgotten,
    /// PUTs go without the condition, whatever is known of the store.
    LeavesOutCondition,
    /// Parts are cut again while a PUT of them may still land.
    RecutsAtOnce,
    /// A part is given up that is there.
    GivesUpUnseen,
    /// A range that is not the same is taken for one without a common record.
    ComparesRangesWrongly,
    /// Parts move behind all that are there, whatever these hold.
    PassesOverlap,
    /// What the thawed parts held is taken for what the part in the way holds.
    TakesHashesForOwn,
    /// The new numbers of parts are not durable before the PUT.
    ForgetsNumbers,
    /// A part in the way that is of another lane is taken for ours.
    TakesOthersForOwn,
}

/// Which objects somebody may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    Any,
    /// Those that all machines have receipts for.
    Met,
    /// Those of hours of which no PUT is on its way.
    Landed,
    /// Those that are both: what a lifecycle rule does after days.
    Old,
}

/// What may go wrong, so often altogether as the bounds say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A PUT is not answered; it lands later than anybody waits, perhaps never.
    Silence,
    /// The answer to a PUT that has landed is lost.
    Deafness,
    /// A PUT is answered 409, and lands later or never.
    Conflict,
    /// A PUT is answered 200 by something that is not a store, and lands later or never.
    Unproven,
    /// A PUT lands twice.
    Repeat,
    LookFails,
    /// A part cannot be read.
    ReadFails,
    Crash,
    /// The bytes of sealed parts are lost.
    LoseBytes,
    /// The state directory is lost, and with it what the machine had promised.
    LoseState,
    /// The dedup window passes.
    Forget,
}

/// How large the model is.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    pub machines: usize,
    /// Which lane of how many each machine is. A machine beyond the last of these works alone: it owns all records.
    pub lanes: &'static [(u32, u32)],
    /// Whether an hour must be listed before it is frozen. Else it may be.
    pub lists: bool,
    /// Whether a part in the way that may hold our records is taken over with all that are there, or alone.
    pub takes_all: bool,
    /// Whether a list sees the manifests of parts whose objects were deleted.
    pub manifests: bool,
    /// Record n is of hour n modulo this.
    pub hours: usize,
    pub records: u8,
    /// Records in a part.
    pub cut: u32,
    pub create_only: CreateOnly,
    pub condition: Condition,
    pub faults: u8,
    pub kinds: &'static [Fault],
    pub deletions: u8,
    pub deletion: Deletion,
    /// Whether missing parts are put back.
    pub repairs: bool,
    /// Whether missing parts are given up.
    pub gives_up: bool,
    /// Whether parts without a receipt are cut again, to a record each.
    pub recuts: bool,
    /// Whether what is rare must be reached.
    pub is_wide: bool,
    pub plant: Option<Plant>,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    Receive(usize, u8),
    /// The hour is imported where its hashes are not at hand, and what waits for it is committed.
    Recall(usize, usize),
    /// The hour is listed before it is frozen.
    List(usize, usize),
    Freeze(usize, usize),
    Send(usize, usize),
    /// A look is answered.
    Look(usize, usize),
    /// An answer reaches the machine.
    Hear(usize, usize),
    /// A foreign part is read and taken over, or parts of other lanes are passed.
    TakeOver(usize, usize),
    /// `etl replay --from-s3`, or a list that nobody needs.
    Rebuild(usize, usize),
    /// A part that the ledger names and the store has not is put back, create-only, with just what the ledger says.
    Repair(usize, usize),
    /// The missing parts of an hour are given up: the store says so first.
    GiveUp(usize, usize),
    /// The parts of an hour without receipts are thawed, to be cut to a record each.
    Recut(usize, usize),
    Land(usize),
    Delete(Key),
    /// A PUT is answered so, whatever became of it.
    Spoil(usize, usize, Reply),
    Deafen(usize, usize),
    Repeat(usize),
    LookFails(usize, usize),
    ReadFails(usize, usize),
    Crash(usize),
    LoseBytes(usize, usize),
    LoseState(usize),
    Forget(usize, usize),
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub machines: Vec<Machine>,
    pub store: Store,
    pub faults_left: u8,
    pub deletions_left: u8,
    /// The transition table refused what was done.
    pub is_impossible: bool,
}

impl Happening {
    /// What kind of fault it is.
    const fn fault(self) -> Option<Fault> {
        match self {
            Self::Spoil(_, _, Reply::Conflict) => Some(Fault::Conflict),
            Self::Spoil(_, _, Reply::Unproven) => Some(Fault::Unproven),
            Self::Spoil(..) => Some(Fault::Silence),
            Self::Deafen(..) => Some(Fault::Deafness),
            Self::Repeat(_) => Some(Fault::Repeat),
            Self::LookFails(..) => Some(Fault::LookFails),
            Self::ReadFails(..) => Some(Fault::ReadFails),
            Self::Crash(_) => Some(Fault::Crash),
            Self::LoseBytes(..) => Some(Fault::LoseBytes),
            Self::LoseState(_) => Some(Fault::LoseState),
            Self::Forget(..) => Some(Fault::Forget),
            _ => None,
        }
    }
}

impl Chain {
    pub fn start(&self) -> World {
        let machine = Machine { hours: (0..self.hours).map(|_| HourOf::new()).collect(), received: 0 };
        World {
            machines: vec![machine; self.machines],
            store: Store::default(),
            faults_left: self.faults,
            deletions_left: self.deletions,
            is_impossible: false,
        }
    }

    pub fn has(&self, bug: Plant) -> bool {
        self.plant == Some(bug)
    }

    pub fn hour_of(&self, record: u8) -> usize {
        usize::from(record) % self.hours
    }

    /// The hashes that a machine owns.
    pub fn range(&self, m: usize) -> HashRange {
        self.lanes.get(m).map_or(HashRange::ALL, |(lane, lanes)| HashRange::of_lane(*lane, *lanes))
    }

    /// The hashes of the records lie evenly: each is in the middle of its share.
    pub fn owns(&self, m: usize, record: u8) -> bool {
        let half_share = (1_u128 << 63) / u128::from(self.records);
        let first = u64::try_from(half_share * (2 * u128::from(record) + 1)).unwrap();
        let mut hash = [0; 16];
        hash[..8].copy_from_slice(&first.to_be_bytes());
        self.range(m).contains(hash)
    }

    /// A part of these records, as a machine makes it.
    pub fn part(&self, m: usize, records: Records) -> Object {
        Object { records, by: m, range: self.range(m) }
    }

    /// What goes on by itself where nothing fails, the nearest to its end first.
    pub fn progress(&self, world: &World) -> Vec<Happening> {
        let mut all = Vec::new();
        for (m, machine) in world.machines.iter().enumerate() {
            for (h, hour) in machine.hours.iter().enumerate() {
                match hour.talk {
                    Some(Talk::Heard(..)) => all.push(Happening::Hear(m, h)),
                    Some(Talk::Asked(question)) if !question.is_put() => all.push(Happening::Look(m, h)),
                    Some(Talk::Foreign) => all.push(Happening::TakeOver(m, h)),
                    Some(Talk::Asked(_)) => {}
                    None if hour.row.is_sealing() => all.push(Happening::Send(m, h)),
                    None => all.extend([Happening::List(m, h), Happening::Freeze(m, h)]),
                }
                all.push(Happening::Recall(m, h));
            }
        }
        all.extend((0..world.store.flights.len()).map(Happening::Land));
        all
    }

    /// What somebody chooses to do.
    pub fn choices(&self, world: &World) -> Vec<Happening> {
        let mut all = Vec::new();
        for m in 0..self.machines {
            let owned = (0..self.records).filter(|record| self.owns(m, *record));
            all.extend(owned.map(|record| Happening::Receive(m, record)));
            all.extend((0..self.hours).filter(|_| !self.lists).map(|h| Happening::Rebuild(m, h)));
            all.extend((0..self.hours).filter(|_| self.repairs).map(|h| Happening::Repair(m, h)));
            all.extend((0..self.hours).filter(|_| self.gives_up).map(|h| Happening::GiveUp(m, h)));
            all.extend((0..self.hours).filter(|_| self.recuts).map(|h| Happening::Recut(m, h)));
        }
        if world.deletions_left > 0 {
            all.extend(world.store.objects.keys().copied().map(Happening::Delete));
        }
        all
    }

    /// What may go wrong.
    pub fn faults(&self, world: &World) -> Vec<Happening> {
        let mut all = Vec::new();
        for m in 0..self.machines {
            all.extend([Happening::Crash(m), Happening::LoseState(m)]);
            for h in 0..self.hours {
                let spoilt = [Reply::Silence, Reply::Conflict, Reply::Unproven];
                all.extend(spoilt.map(|reply| Happening::Spoil(m, h, reply)));
                all.extend([Happening::Deafen(m, h), Happening::LookFails(m, h), Happening::ReadFails(m, h)]);
                all.extend([Happening::LoseBytes(m, h), Happening::Forget(m, h)]);
            }
        }
        all.extend((0..world.store.flights.len()).map(Happening::Repeat));
        all.retain(|what| what.fault().is_some_and(|fault| self.kinds.contains(&fault)));
        all
    }

    /// Makes it happen. `None`: it cannot, or changes nothing.
    pub fn happens(&self, before: &World, what: Happening) -> Option<World> {
        let mut world = before.clone();
        if what.fault().is_some() {
            world.faults_left = world.faults_left.checked_sub(1)?;
        }
        match what {
            Happening::Land(index) => self.land(&mut world, index, false),
            Happening::Repeat(index) => self.land(&mut world, index, true),
            Happening::Delete(key) => self.delete(&mut world, key)?,
            Happening::Receive(m, record) => self.receive(&mut world.machines[m], record),
            Happening::Crash(m) => self.crash(&mut world, m)?,
            Happening::LoseState(m) => self.lose_state(&mut world, m)?,
            Happening::Recall(m, h) => self.recall(&mut world, m, h)?,
            Happening::List(m, h) => self.list(&mut world, m, h)?,
            Happening::Freeze(m, h) => self.freeze(&mut world, m, h)?,
            Happening::Send(m, h) => self.begin(&mut world, m, h),
            Happening::Look(m, h) => self.look(&mut world, m, h)?,
            Happening::Hear(m, h) => self.hear(&mut world, m, h)?,
            Happening::TakeOver(m, h) => self.take_over(&mut world, m, h),
            Happening::Rebuild(m, h) => self.rebuild(&mut world, m, h)?,
            Happening::Repair(m, h) => repair(&mut world, m, h)?,
            Happening::GiveUp(m, h) => self.give_up(&mut world, m, h)?,
            Happening::Recut(m, h) => self.recut(&mut world, m, h)?,
            Happening::Spoil(m, h, reply) => self.spoil(&mut world, m, h, reply)?,
            Happening::Deafen(m, h) => deafen(&mut world.machines[m].hours[h])?,
            Happening::LookFails(m, h) => look_fails(&mut world.machines[m].hours[h])?,
            Happening::ReadFails(m, h) => self.read_fails(&mut world.machines[m].hours[h])?,
            Happening::LoseBytes(m, h) => lose_bytes(&mut world.machines[m].hours[h])?,
            Happening::Forget(m, h) => self.forget(&mut world, m, h)?,
        }
        (world != *before).then_some(world)
    }
}

impl World {
    pub fn all_know(&self, (h, number): Key) -> bool {
        self.machines.iter().all(|machine| machine.hours[h].row.uploaded().any(|part| part.part == number))
    }

    /// The records of all objects, and those that are in more than one.
    pub fn stored(&self) -> (Records, Records) {
        self.store
            .objects
            .values()
            .fold((0, 0), |(all, twice), object| (all | object.records, twice | (all & object.records)))
    }
}
