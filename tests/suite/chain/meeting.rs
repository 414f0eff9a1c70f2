//! What a machine does about parts of others: it lists them, meets them, moves behind them, takes them over.

use etl::hour::lifecycle::Event;
use etl::hour::part::{PartRow, PartStage};
use etl::hour::range::HashRange;
use jiff::Timestamp;

use super::machine::{HourOf, part_row, records};
use super::store::{Object, Store};
use super::world::{Chain, Plant, World};

impl Chain {
    /// Whether a record of machine `m` can be in a part.
    fn may_share(&self, m: usize, part: &PartRow) -> bool {
        if self.has(Plant::ComparesRangesWrongly) {
            return part.range == self.range(m);
        }
        part.range.overlaps(self.range(m))
    }

    /// Something else has the number of the first part that waits: the parts that wait move behind all that cannot hold a record of
    /// theirs; one that can is taken over, and they are thawed.
    pub fn take_over(&self, world: &mut World, m: usize, h: usize) {
        let store = &world.store;
        let hour = &mut world.machines[m].hours[h];
        hour.talk = None;
        if self.has(Plant::ThawsUnread) {
            return self.thaw(world, m, h);
        }
        let Some(number) = self.next_part(hour).map(|part| part.part) else { return };
        let found = self.found_from(store, h, number);
        let is_passed = |part: &&PartRow| self.has(Plant::PassesOverlap) || !self.may_share(m, part);
        let others: Vec<PartRow> = found.iter().take_while(is_passed).cloned().collect();
        if !others.is_empty() && (others.len() == found.len() || !self.takes_all) {
            world.is_impossible |= self.renumber(hour, others).is_none();
            return;
        }
        let taken = if self.takes_all { found.len() } else { 1 };
        // What cannot be read blocks the hour, until the next run tries again.
        let foreign: Vec<PartRow> = found.into_iter().take(taken).collect();
        if foreign.is_empty() {
            return;
        }
        let Some(parts) = self.read_back(store, m, h, hour, foreign) else { return };
        let (known, before, frozen) = (hour.array & !hour.unsealed(), hour.array, hour.row.frozen);
        world.is_impossible |= self.import(hour, m, parts).is_none();
        if self.has(Plant::TakesOverUnread) {
            hour.array = known & !hour.logged();
        }
        if self.has(Plant::TakesHashesForOwn) {
            hour.array |= before;
        }
        if self.has(Plant::KeepsFrozen) {
            hour.meddle(|row| (row.frozen, row.receipted) = (frozen, frozen));
            hour.prune();
        }
    }

    fn renumber(&self, hour: &mut HourOf, others: Vec<PartRow>) -> Option<()> {
        let before = hour.unflushed.clone().unwrap_or_else(|| hour.row.clone());
        let keys = hour.sealing().map(|part| part.key.clone()).collect();
        let moved = if self.is_wide { (hour.moved + 1).min(2) } else { 0 };
        hour.apply(Event::Renumbered { others, keys }).ok()?;
        hour.moved = moved;
        if self.has(Plant::ForgetsNumbers) {
            hour.unflushed = Some(before);
        }
        Some(())
    }

    /// The list before a freeze. A number that is free, while a higher one is taken, was taken once: its hour waits for a person.
    pub fn list(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &world.machines[m].hours[h];
        if !self.lists || hour.is_listed || hour.row.is_sealing() || hour.row.is_forgotten() || hour.unsealed() == 0 {
            return None;
        }
        let known = u32::try_from(hour.row.parts.len()).unwrap();
        let found = self.found_from(&world.store, h, known);
        if world.store.has_beyond(h, known + u32::try_from(found.len()).unwrap()) {
            return None;
        }
        if !found.is_empty() {
            self.meet(world, m, h, found)?;
        }
        world.machines[m].hours[h].is_listed = true;
        Some(())
    }

    /// All parts become known that follow those that are. Nothing depends on it: the list may as well be an old one.
    pub fn rebuild(&self, world: &mut World, m: usize, h: usize) -> Option<()> {
        let hour = &world.machines[m].hours[h];
        let found = self.found_from(&world.store, h, u32::try_from(hour.row.parts.len()).unwrap());
        if hour.row.is_sealing() || found.is_empty() {
            return None;
        }
        self.meet(world, m, h, found)
    }

    fn meet(&self, world: &mut World, m: usize, h: usize, found: Vec<PartRow>) -> Option<()> {
        let store = &world.store;
        let hour = &mut world.machines[m].hours[h];
        if !hour.row.is_forgotten() && !found.iter().any(|part| self.may_share(m, part)) {
            let hashes = hour.row.hashes.is_none().then(|| hour.next_hashes(0));
            world.is_impossible |= hour.apply(Event::Met { others: found, hashes }).is_err();
            return Some(());
        }
        let parts = self.read_back(store, m, h, hour, found)?;
        world.is_impossible |= self.import(hour, m, parts).is_none();
        Some(())
    }

    /// The parts with receipts as the store has them, or says that it had them, and the `foreign` ones. Those that cannot hold a record
    /// of ours are not read. `None`: one is not there, or not as the ledger says.
    pub fn read_back(
        &self,
        store: &Store,
        m: usize,
        h: usize,
        hour: &HourOf,
        foreign: Vec<PartRow>,
    ) -> Option<Vec<PartRow>> {
        let mut parts = Vec::new();
        for part in hour.row.parts.iter().filter(|part| part.stage != PartStage::Sealing) {
            let key = (h, part.part);
            parts.push(match store.objects.get(&key) {
                _ if part.stage == PartStage::Expired || !self.may_share(m, part) => part.clone(),
                Some(found) => (found.records == records(part)).then(|| part.clone())?,
                None if store.expired.get(&key) == Some(&records(part)) => {
                    PartRow { stage: PartStage::Expired, ..part.clone() }
                }
                None => return None,
            });
        }
        parts.extend(foreign);
        Some(parts)
    }

    /// The parts become the hour's, and the hashes of those that were read its array.
    pub fn import(&self, hour: &mut HourOf, m: usize, parts: Vec<PartRow>) -> Option<()> {
        let read = parts.iter().filter(|part| part.stage == PartStage::Uploaded && self.may_share(m, part));
        let array = read.fold(0, |all, part| all | records(part));
        let hashes = hour.next_hashes(array);
        hour.apply(Event::Imported { parts, hashes, at: Timestamp::UNIX_EPOCH }).ok()?;
        (hour.array, hour.bytes_are_lost) = (array, false);
        Some(())
    }

    /// What the store has, or says that it had, under this number and those that follow.
    fn found_from(&self, store: &Store, h: usize, first: u32) -> Vec<PartRow> {
        (first..).map_while(|number| self.found(store, h, number)).collect()
    }

    fn found(&self, store: &Store, h: usize, number: u32) -> Option<PartRow> {
        let key = (h, number);
        if let Some(records) = store.expired.get(&key) {
            // What says that a part is gone says nothing of its range.
            let gone = Object { records: *records, by: 0, range: HashRange::ALL };
            return Some(part_row(number, PartStage::Expired, gone, 0));
        }
        let there = store.objects.get(&key).map(|object| part_row(number, PartStage::Uploaded, *object, 0));
        let manifest = || store.deleted.iter().find(|(at, _)| self.manifests && *at == key);
        there.or_else(|| manifest().map(|(_, gone)| part_row(number, PartStage::Expired, *gone, 0)))
    }
}
