//! What can happen in the model, and what it does: the glue between the real transitions.

use etl::error::{Error, ErrorKind};
use etl::hour::lifecycle::Event;
use etl::hour::part::{PartRow, PartStage};
use etl::store::PutAnswer;
use etl::store::once::{self, Answer, Ask, CreateOnly, Next, Outcome};
use jiff::Timestamp;

use super::machine::{Heard, HourOf, Machine, Question, Talk, part_row, records, sealed};
use super::store::{Condition, Flight, Key, Object, Records, Reply, Store};

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
    Freeze(usize, usize),
    Send(usize, usize),
    /// A look is answered.
    Look(usize, usize),
    /// An answer reaches the machine.
    Hear(usize, usize),
    /// A foreign part is read and taken over.
    TakeOver(usize, usize),
    /// `etl replay --from-s3`.
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
                    None => all.push(Happening::Freeze(m, h)),
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
            all.extend((0..self.records).map(|record| Happening::Receive(m, record)));
            all.extend((0..self.hours).map(|h| Happening::Rebuild(m, h)));
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

    /// A page with the record is durable, and is committed where the hour's hashes are at hand.
    fn receive(&self, machine: &mut Machine, record: u8) {
        let (hour, bit) = (&mut machine.hours[self.hour_of(record)], 1 << record);
        machine.received |= bit;
        if self.is_at_hand(hour) {
            hour.commit(bit);
        } else {
            hour.journal |= bit & !hour.parked;
        }
    }

    fn is_at_hand(&self, hour: &mut HourOf) -> bool {
        if self.has(Plant::MissingIsEmpty) {
            take_missing_for_empty(hour);
        }
        !hour.row.is_forgotten()
    }

    /// Imports a forgotten hour for what waits for it, and takes that in; parks it where the parts cannot be read.
    fn recall(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let store = &world.store;
        let hour = &mut world.machines[m].hours[h];
        let waits = hour.journal | hour.parked;
        if waits == 0 && !(hour.row.is_forgotten() && hour.unsealed() != 0) {
            return None;
        }
        if self.has(Plant::BringsBackUnread) && hour.parked != 0 {
            take_missing_for_empty(hour);
        }
        if hour.row.is_forgotten() && !hour.row.is_sealing() {
            let Some(parts) = read_back(store, hour, h, &[]) else {
                self.park(hour);
                return Some(());
            };
            let imported = import(hour, parts);
            world.is_impossible |= imported.is_none();
        }
        let hour = &mut world.machines[m].hours[h];
        if !hour.row.is_forgotten() {
            (hour.journal, hour.parked) = (0, 0);
            hour.commit(waits);
        }
        Some(())
    }

    fn park(&self, hour: &mut HourOf) {
        let waits = std::mem::take(&mut hour.journal);
        if !self.has(Plant::DropsParked) {
            hour.parked |= waits;
        }
    }

    fn freeze(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        let is_ready = self.is_at_hand(hour) || self.has(Plant::FreezesForgotten);
        if hour.unsealed() == 0 || hour.row.is_sealing() || !is_ready {
            return None;
        }
        let event = hour.freezing(m, if hour.is_recut { 1 } else { self.cut });
        let new = hour.array | hour.unsealed();
        world.is_impossible |= hour.apply(event).is_err();
        hour.array = new;
        if self.has(Plant::PrunesAtFreeze) {
            hour.log.clear();
        }
        hour.prune();
        Some(())
    }

    fn next_part<'h>(&self, hour: &'h HourOf) -> Option<&'h PartRow> {
        let mut sealing = hour.sealing();
        if self.has(Plant::SendsLastFirst) { sealing.next_back() } else { sealing.next() }
    }

    fn begin(&self, world: &mut World, m: usize, h: usize) {
        let hour = &world.machines[m].hours[h];
        if self.next_part(hour).is_some_and(|part| world.store.expired.contains_key(&(h, part.part))) {
            world.machines[m].hours[h].talk = Some(Talk::Foreign);
            return;
        }
        let question = match world.machines[m].hours[h].bytes_are_lost {
            true => Question::Search,
            false => Question::Upload(once::begin(self.create_only)),
        };
        self.ask(world, m, h, question);
    }

    fn ask(&self, world: &mut World, m: usize, h: usize, question: Question) {
        let hour = &mut world.machines[m].hours[h];
        hour.talk = Some(Talk::Asked(question));
        if question.is_put()
            && let Some(part) = self.next_part(hour)
        {
            let object = Object { records: records(part), by: m };
            let if_free = question == Question::Upload(Ask::Put) && !self.has(Plant::LeavesOutCondition);
            world.store.send(Flight { key: (h, part.part), object, if_free, awaited: true });
        }
    }

    fn land(&self, world: &mut World, index: usize, is_repeated: bool) {
        let (flight, reply) = world.store.land(index, self.condition, is_repeated);
        if flight.awaited {
            answer(&mut world.machines[flight.object.by].hours[flight.key.0], Heard::Put(reply));
        }
    }

    fn look(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        let part = self.next_part(hour)?.part;
        let found = world.store.objects.get(&(h, part)).copied();
        answer(hour, Heard::Look(found));
        Some(())
    }

    fn hear(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        let Some(Talk::Heard(question, heard)) = hour.talk.take() else { return None };
        let part = self.next_part(hour)?.clone();
        let next = match (question, heard) {
            (Question::Upload(asked), _) => {
                let answer = self.as_answer(heard);
                sealed(&part, |sealed| once::next(sealed, self.create_only, asked, answer))
            }
            (Question::Search, Heard::Look(Some(found))) => {
                Next::Done(sealed(&part, |sealed| once::judge(sealed, found.info())))
            }
            (Question::Search, Heard::Look(None)) => {
                self.thaw(world, m, h);
                return Some(());
            }
            (Question::Search, _) if self.has(Plant::FailedLookIsAbsence) => {
                self.thaw(world, m, h);
                return Some(());
            }
            (Question::Search, _) => return Some(()),
        };
        self.go_on(world, m, h, &part, next);
        Some(())
    }

    fn go_on(&self, world: &mut World, m: usize, h: usize, part: &PartRow, next: Next) {
        let hour = &mut world.machines[m].hours[h];
        match next {
            Next::Ask(then) => self.ask(world, m, h, Question::Upload(then)),
            Next::Done(Outcome::Foreign { .. }) => hour.talk = Some(Talk::Foreign),
            Next::Done(Outcome::Uploaded { etag, sha256, size, .. }) => {
                let at = Timestamp::UNIX_EPOCH;
                let event = Event::Receipted { part: part.part, sha256, bytes: size, etag, at };
                world.is_impossible |= hour.apply(event).is_err();
                hour.prune();
                hour.bytes_are_lost &= hour.row.is_sealing();
            }
            Next::Unanswered(_) if self.has(Plant::RenumbersAfterSilence) => {
                let number = part.part;
                hour.meddle(|row| row.parts.iter_mut().filter(|p| p.part >= number).for_each(|p| p.part += 1));
            }
            // Its try ends; the next one is another beginning.
            Next::Free | Next::Unanswered(_) | Next::Failed(_) => {}
        }
    }

    fn as_answer(&self, heard: Heard) -> Answer {
        let unavailable = || Error::new(ErrorKind::Unavailable, "no answer");
        Answer::Put(match heard {
            Heard::Look(found) => return Answer::Look(Ok(found.map(Object::info))),
            Heard::LookFailed if self.has(Plant::FailedLookIsAbsence) => return Answer::Look(Ok(None)),
            Heard::LookFailed => return Answer::Look(Err(unavailable())),
            Heard::Put(Reply::Exists) if self.has(Plant::BelievesExists) => Ok(PutAnswer::Created { etag: None }),
            Heard::Put(Reply::Silence) if self.has(Plant::BelievesSilence) => Ok(PutAnswer::Created { etag: None }),
            Heard::Put(Reply::Created) => Ok(PutAnswer::Created { etag: None }),
            Heard::Put(Reply::Exists) => Ok(PutAnswer::Exists),
            Heard::Put(Reply::Conflict) => Ok(PutAnswer::Conflict),
            Heard::Put(Reply::Unproven) => Ok(PutAnswer::Unproven { etag: None }),
            Heard::Put(Reply::Refused) => Ok(PutAnswer::Refused(Error::new(ErrorKind::Config, "501"))),
            Heard::Put(Reply::Silence) => Err(unavailable()),
        })
    }

    fn thaw(&self, world: &mut World, m: usize, h: usize) {
        let hour = &mut world.machines[m].hours[h];
        let (hashes, array) = (hour.row.hashes, hour.array);
        world.is_impossible |= hour.apply(Event::Thawed).is_err();
        (hour.array, hour.bytes_are_lost) = (0, false);
        if self.has(Plant::RemembersThawed) {
            hour.meddle(|row| row.hashes = hashes);
            hour.array = array;
        }
    }

    fn take_over(&self, world: &mut World, m: usize, h: usize) {
        let store = &world.store;
        let hour = &mut world.machines[m].hours[h];
        hour.talk = None;
        if self.has(Plant::ThawsUnread) {
            return self.thaw(world, m, h);
        }
        let Some(number) = self.next_part(hour).map(|part| part.part) else { return };
        // What cannot be read blocks the hour, until the next run tries again.
        let Some(parts) = read_back(store, hour, h, &[number]) else { return };
        let (known, frozen) = (hour.array & !hour.unsealed(), hour.row.frozen);
        world.is_impossible |= import(hour, parts).is_none();
        if self.has(Plant::TakesOverUnread) {
            hour.array = known & !hour.logged();
        }
        if self.has(Plant::KeepsFrozen) {
            hour.meddle(|row| (row.frozen, row.receipted) = (frozen, frozen));
            hour.prune();
        }
    }

    fn rebuild(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let store = &world.store;
        let hour = &mut world.machines[m].hours[h];
        if hour.row.is_sealing() {
            return None;
        }
        let known = u32::try_from(hour.row.parts.len()).unwrap();
        let next: Vec<u32> = (known..).take_while(|part| store.is_known(&(h, *part))).collect();
        if next.is_empty() {
            return None;
        }
        let parts = read_back(store, hour, h, &next)?;
        world.is_impossible |= import(hour, parts).is_none();
        Some(())
    }

    /// `etl repair --accept-loss`.
    fn give_up(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        if hour.row.is_sealing() || hour.talk.is_some() {
            return None;
        }
        let objects = &world.store.objects;
        let is_gone = |part: &&PartRow| self.has(Plant::GivesUpUnseen) || !objects.contains_key(&(h, part.part));
        let gone: Vec<PartRow> = hour.row.uploaded().filter(is_gone).cloned().collect();
        if gone.is_empty() {
            return None;
        }
        let event = Event::Expired { parts: gone.iter().map(|part| part.part).collect(), at: Timestamp::UNIX_EPOCH };
        world.is_impossible |= hour.apply(event).is_err();
        hour.array = 0;
        world.store.expired.extend(gone.iter().map(|part| ((h, part.part), records(part))));
        Some(())
    }

    /// `etl repair --recut`: after an hour in which nothing was sent, so that what was on its way has landed or never does.
    fn recut(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &world.machines[m].hours[h];
        if !hour.row.is_sealing() || hour.talk.is_some() || hour.is_recut {
            return None;
        }
        let is_there = hour.sealing().any(|part| world.store.objects.contains_key(&(h, part.part)));
        if is_there {
            return None;
        }
        if !self.has(Plant::RecutsAtOnce) {
            world.store.flights.retain(|flight| flight.object.by != m || flight.key.0 != h);
        }
        self.thaw(world, m, h);
        world.machines[m].hours[h].is_recut = true;
        Some(())
    }

    fn read_fails(&self, hour: &mut HourOf) -> Option<()> {
        if hour.talk == Some(Talk::Foreign) {
            hour.talk = None;
            return Some(());
        }
        (hour.row.is_forgotten() && hour.journal != 0).then(|| self.park(hour))
    }

    fn spoil(&self, world: &mut World, m: usize, h: usize, reply: Reply) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        let Some(Talk::Asked(question)) = hour.talk else { return None };
        if !question.is_put() {
            return None;
        }
        answer(hour, Heard::Put(reply));
        world.store.leave_alone(|flight| flight.object.by == m && flight.key.0 == h);
        Some(())
    }

    fn crash(&self, world: &mut World, m: usize) -> Option<()> {
        world.machines[m].hours.iter_mut().for_each(|hour| hour.talk = None);
        world.store.leave_alone(|flight| flight.object.by == m);
        Some(())
    }

    fn lose_state(&self, world: &mut World, m: usize) -> Option<()> {
        if world.machines[m].received == 0 {
            return None;
        }
        self.crash(world, m)?;
        world.machines[m] = self.start().machines.swap_remove(m);
        Some(())
    }

    fn forget(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        if self.has(Plant::ForgetsSealing) && hour.row.is_sealing() {
            hour.array = 0;
            return Some(());
        }
        if hour.row.is_sealing() || hour.row.hashes.is_none() || !hour.log.is_empty() {
            return None;
        }
        hour.array = 0;
        world.is_impossible |= hour.apply(Event::Forgotten).is_err();
        Some(())
    }

    fn delete(&self, world: &mut World, key: Key) -> Option<()> {
        let must_be_met = matches!(self.deletion, Deletion::Met | Deletion::Old);
        let must_be_landed = matches!(self.deletion, Deletion::Landed | Deletion::Old);
        let is_on_its_way = world.store.flights.iter().any(|flight| flight.key.0 == key.0);
        if (must_be_landed && is_on_its_way) || (must_be_met && !world.all_know(key)) {
            return None;
        }
        world.deletions_left = world.deletions_left.checked_sub(1)?;
        world.store.delete(key);
        Some(())
    }
}

impl World {
    fn all_know(&self, (h, number): Key) -> bool {
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

fn repair(world: &mut World, m: usize, h: usize) -> Option<()> {
    let is_there = |number| world.store.objects.contains_key(&(h, number));
    let missing = world.machines[m].hours[h].row.uploaded().find(|part| !is_there(part.part))?;
    let key = (h, missing.part);
    if world.store.flights.iter().any(|flight| flight.key == key) {
        return None;
    }
    let object = Object { records: records(missing), by: m };
    world.store.send(Flight { key, object, if_free: true, awaited: false });
    Some(())
}

fn answer(hour: &mut HourOf, heard: Heard) {
    if let Some(Talk::Asked(question)) = hour.talk {
        hour.talk = Some(Talk::Heard(question, heard));
    }
}

/// The parts with receipts and the `foreign` ones, as the store has them, or says that it had them. `None`: one is not there, or not as
/// the ledger says.
fn read_back(store: &Store, hour: &HourOf, h: usize, foreign: &[u32]) -> Option<Vec<PartRow>> {
    let mut parts = Vec::new();
    for part in hour.row.parts.iter().filter(|part| part.stage != PartStage::Sealing) {
        let key = (h, part.part);
        parts.push(match store.objects.get(&key) {
            _ if part.stage == PartStage::Expired => part.clone(),
            Some(found) => (found.records == records(part)).then(|| part.clone())?,
            None if store.expired.get(&key) == Some(&records(part)) => {
                PartRow { stage: PartStage::Expired, ..part.clone() }
            }
            None => return None,
        });
    }
    for number in foreign {
        let key = (h, *number);
        parts.push(match store.expired.get(&key) {
            Some(gone) => part_row(*number, PartStage::Expired, Object { records: *gone, by: 0 }, 0),
            None => part_row(*number, PartStage::Uploaded, *store.objects.get(&key)?, 0),
        });
    }
    Some(parts)
}

fn import(hour: &mut HourOf, parts: Vec<PartRow>) -> Option<()> {
    let there = parts.iter().filter(|part| part.stage == PartStage::Uploaded);
    let array = there.fold(0, |all, part| all | records(part));
    let hashes = hour.next_hashes(array);
    hour.apply(Event::Imported { parts, hashes, at: Timestamp::UNIX_EPOCH }).ok()?;
    (hour.array, hour.bytes_are_lost) = (array, false);
    Some(())
}

fn take_missing_for_empty(hour: &mut HourOf) {
    if hour.row.is_forgotten() {
        let none = hour.next_hashes(0);
        hour.meddle(|row| row.hashes = Some(none));
    }
}

fn deafen(hour: &mut HourOf) -> Option<()> {
    let Some(Talk::Heard(question, Heard::Put(_))) = hour.talk else { return None };
    hour.talk = Some(Talk::Heard(question, Heard::Put(Reply::Silence)));
    Some(())
}

fn look_fails(hour: &mut HourOf) -> Option<()> {
    let Some(Talk::Asked(question)) = hour.talk else { return None };
    (!question.is_put()).then(|| answer(hour, Heard::LookFailed))
}

fn lose_bytes(hour: &mut HourOf) -> Option<()> {
    let can = hour.row.is_sealing() && hour.talk.is_none() && !hour.bytes_are_lost;
    can.then(|| hour.bytes_are_lost = true)
}
