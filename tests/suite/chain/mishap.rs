//! What befalls machines and the store, and what people do about it.

use etl::hour::lifecycle::Event;
use etl::hour::part::PartRow;
use jiff::Timestamp;

use super::machine::{Heard, HourOf, Talk, records};
use super::store::{Flight, Key, Object, Reply};
use super::work::answer;
use super::world::{Chain, Deletion, Plant, World};

impl Chain {
    /// `etl repair --accept-loss`.
    pub fn give_up(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
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
    pub fn recut(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &world.machines[m].hours[h];
        if !hour.row.is_sealing() || hour.talk.is_some() || hour.is_recut {
            return None;
        }
        // A number that a part of another lane has keeps ours from landing as well.
        let range = self.range(m);
        let is_in_the_way = |part: &PartRow| {
            let found = world.store.objects.get(&(h, part.part));
            found.is_some_and(|found| found.range.overlaps(range))
        };
        if hour.sealing().any(is_in_the_way) {
            return None;
        }
        if !self.has(Plant::RecutsAtOnce) {
            world.store.flights.retain(|flight| flight.object.by != m || flight.key.0 != h);
        }
        self.thaw(world, m, h);
        world.machines[m].hours[h].is_recut = true;
        Some(())
    }

    pub fn read_fails(&self, hour: &mut HourOf) -> Option<()> {
        if hour.talk == Some(Talk::Foreign) {
            hour.talk = None;
            return Some(());
        }
        (hour.row.is_forgotten() && hour.journal != 0).then(|| self.park(hour))
    }

    pub fn spoil(&self, world: &mut World, m: usize, h: usize, reply: Reply) -> Option<()> {
        let hour = &mut world.machines[m].hours[h];
        let Some(Talk::Asked(question)) = hour.talk else { return None };
        if !question.is_put() {
            return None;
        }
        answer(hour, Heard::Put(reply));
        world.store.leave_alone(|flight| flight.object.by == m && flight.key.0 == h);
        Some(())
    }

    pub fn crash(&self, world: &mut World, m: usize) -> Option<()> {
        for hour in &mut world.machines[m].hours {
            (hour.talk, hour.is_listed) = (None, false);
            if let Some(row) = hour.unflushed.take() {
                hour.row = row;
            }
        }
        world.store.leave_alone(|flight| flight.object.by == m);
        Some(())
    }

    pub fn lose_state(&self, world: &mut World, m: usize) -> Option<()> {
        if world.machines[m].received == 0 {
            return None;
        }
        self.crash(world, m)?;
        world.machines[m] = self.start().machines.swap_remove(m);
        Some(())
    }

    pub fn forget(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
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

    pub fn delete(&self, world: &mut World, key: Key) -> Option<()> {
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

pub fn repair(world: &mut World, m: usize, h: usize) -> Option<()> {
    let is_there = |number| world.store.objects.contains_key(&(h, number));
    let missing = world.machines[m].hours[h].row.uploaded().find(|part| !is_there(part.part))?;
    let key = (h, missing.part);
    if world.store.flights.iter().any(|flight| flight.key == key) {
        return None;
    }
    let object = Object { records: records(missing), by: m, range: missing.range };
    world.store.send(Flight { key, object, if_free: true, awaited: false });
    Some(())
}

pub fn deafen(hour: &mut HourOf) -> Option<()> {
    let Some(Talk::Heard(question, Heard::Put(_))) = hour.talk else { return None };
    hour.talk = Some(Talk::Heard(question, Heard::Put(Reply::Silence)));
    Some(())
}

pub fn look_fails(hour: &mut HourOf) -> Option<()> {
    let Some(Talk::Asked(question)) = hour.talk else { return None };
    (!question.is_put()).then(|| answer(hour, Heard::LookFailed))
}

pub fn lose_bytes(hour: &mut HourOf) -> Option<()> {
    let can = hour.row.is_sealing() && hour.talk.is_none() && !hour.bytes_are_lost;
    can.then(|| hour.bytes_are_lost = true)
}
