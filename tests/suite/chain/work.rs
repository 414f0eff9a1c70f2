//! What a machine does by itself: it commits, freezes, sends, and takes answers. The glue between the real transitions.

use etl::error::{Error, ErrorKind};
use etl::hour::lifecycle::Event;
use etl::hour::part::PartRow;
use etl::store::PutAnswer;
use etl::store::once::{self, Answer, Ask, Next, Outcome};
use jiff::Timestamp;

use super::machine::{Heard, HourOf, Machine, Question, Talk, records, sealed};
use super::store::{Flight, Object, Reply};
use super::world::{Chain, Plant, World};

impl Chain {
    /// A page with the record is durable, and is committed where the hour's hashes are at hand.
    pub fn receive(&self, machine: &mut Machine, record: u8) {
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
    pub fn recall(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
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
            let Some(parts) = self.read_back(store, m, h, hour, Vec::new()) else {
                self.park(hour);
                return Some(());
            };
            let imported = self.import(hour, m, parts);
            world.is_impossible |= imported.is_none();
        }
        let hour = &mut world.machines[m].hours[h];
        if !hour.row.is_forgotten() {
            (hour.journal, hour.parked) = (0, 0);
            hour.commit(waits);
        }
        Some(())
    }

    pub fn park(&self, hour: &mut HourOf) {
        let waits = std::mem::take(&mut hour.journal);
        if !self.has(Plant::DropsParked) {
            hour.parked |= waits;
        }
    }

    pub fn freeze(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        let is_ready = self.is_at_hand(hour) || self.has(Plant::FreezesForgotten);
        let is_listed = std::mem::take(&mut hour.is_listed) || !self.lists;
        if hour.unsealed() == 0 || hour.row.is_sealing() || !is_ready || !is_listed {
            return None;
        }
        let event = hour.freezing(m, self.range(m), if hour.is_recut { 1 } else { self.cut });
        let new = hour.array | hour.unsealed();
        world.is_impossible |= hour.apply(event).is_err();
        hour.array = new;
        if self.has(Plant::PrunesAtFreeze) {
            hour.log.clear();
        }
        hour.prune();
        Some(())
    }

    pub fn next_part<'h>(&self, hour: &'h HourOf) -> Option<&'h PartRow> {
        let mut sealing = hour.sealing();
        if self.has(Plant::SendsLastFirst) { sealing.next_back() } else { sealing.next() }
    }

    pub fn begin(&self, world: &mut World, m: usize, h: usize) {
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
            let object = self.part(m, records(part));
            let if_free = question == Question::Upload(Ask::Put) && !self.has(Plant::LeavesOutCondition);
            world.store.send(Flight { key: (h, part.part), object, if_free, awaited: true });
        }
    }

    pub fn land(&self, world: &mut World, index: usize, is_repeated: bool) {
        let (flight, reply) = world.store.land(index, self.condition, is_repeated);
        if flight.awaited {
            answer(&mut world.machines[flight.object.by].hours[flight.key.0], Heard::Put(reply));
        }
    }

    pub fn look(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        let part = self.next_part(hour)?.part;
        let found = world.store.objects.get(&(h, part)).copied();
        answer(hour, Heard::Look(found));
        Some(())
    }

    pub fn hear(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
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
            Next::Done(Outcome::Foreign { .. }) if self.has(Plant::TakesOthersForOwn) => {
                let (sha256, bytes) = (part.identity.sha256.clone(), part.identity.bytes);
                let event = Event::Receipted { part: part.part, sha256, bytes, etag: None, at: Timestamp::UNIX_EPOCH };
                world.is_impossible |= hour.apply(event).is_err();
                hour.prune();
            }
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

    pub fn thaw(&self, world: &mut World, m: usize, h: usize) {
        let hour = &mut world.machines[m].hours[h];
        let (hashes, array) = (hour.row.hashes, hour.array);
        world.is_impossible |= hour.apply(Event::Thawed).is_err();
        (hour.array, hour.bytes_are_lost) = (0, false);
        if self.has(Plant::RemembersThawed) {
            hour.meddle(|row| row.hashes = hashes);
            hour.array = array;
        }
    }
}

pub fn answer(hour: &mut HourOf, heard: Heard) {
    if let Some(Talk::Asked(question)) = hour.talk {
        hour.talk = Some(Talk::Heard(question, heard));
    }
}

fn take_missing_for_empty(hour: &mut HourOf) {
    if hour.row.is_forgotten() {
        let none = hour.next_hashes(0);
        hour.meddle(|row| row.hashes = Some(none));
    }
}
