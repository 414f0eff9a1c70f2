//! The store of the model: objects, and PUTs that are on their way.

use std::collections::BTreeMap;

use etl::hour::part::PartIdentity;
use etl::hour::range::HashRange;
use etl::store::{ObjectInfo, PartMeta};

/// A set of records: bit n is record n.
pub type Records = u8;
/// An hour's number and a part's number within it.
pub type Key = (usize, u32);

/// A part's bytes: what is in them, the machine whose compressor made them, and the range of the lane that sealed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    pub records: Records,
    pub by: usize,
    pub range: HashRange,
}

/// What a store makes of `If-None-Match: *`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Honoured,
    Ignored,
    /// 501 to each PUT that has it.
    Refused,
}

/// A PUT on its way. It lands once, whenever it wants to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flight {
    pub key: Key,
    pub object: Object,
    pub if_free: bool,
    /// Whether its machine still waits for the answer.
    pub awaited: bool,
}

/// What the store says to a PUT, or a machine in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    Created,
    Exists,
    Conflict,
    /// Good, and proof of nothing.
    Unproven,
    Refused,
    /// None, for so long that nobody waits any more; or a 5xx.
    Silence,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Store {
    pub objects: BTreeMap<Key, Object>,
    /// What somebody deleted.
    pub deleted: Vec<(Key, Object)>,
    /// What it says is gone for good.
    pub expired: BTreeMap<Key, Records>,
    /// Sorted, so that equal stores are equal.
    pub flights: Vec<Flight>,
    /// An object was replaced by one with other records.
    pub has_changed_one: bool,
}

impl Store {
    pub fn send(&mut self, flight: Flight) {
        self.flights.push(flight);
        self.flights.sort_unstable();
    }

    /// The PUT at `index` lands, and is answered; where it is repeated on the way, it will land again.
    pub fn land(&mut self, index: usize, condition: Condition, is_repeated: bool) -> (Flight, Reply) {
        let flight = self.flights.remove(index);
        if is_repeated {
            self.send(Flight { awaited: false, ..flight });
        }
        let there = self.objects.get(&flight.key).copied();
        if flight.if_free && condition == Condition::Refused {
            return (flight, Reply::Refused);
        }
        if flight.if_free && condition == Condition::Honoured && there.is_some() {
            return (flight, Reply::Exists);
        }
        self.has_changed_one |= there.is_some_and(|there| there.records != flight.object.records);
        self.objects.insert(flight.key, flight.object);
        (flight, Reply::Created)
    }

    /// Nobody waits any more for the PUTs that `of` names.
    pub fn leave_alone(&mut self, of: impl Fn(&Flight) -> bool) {
        self.flights.iter_mut().filter(|flight| of(flight)).for_each(|flight| flight.awaited = false);
        self.flights.sort_unstable();
    }

    pub fn delete(&mut self, key: Key) {
        let gone = self.objects.remove(&key).map(|object| (key, object));
        self.deleted.extend(gone);
    }

    /// Whether there is anything under a number from `end` on.
    pub fn has_beyond(&self, h: usize, end: u32) -> bool {
        self.objects.keys().chain(self.expired.keys()).any(|(of, number)| *of == h && *number >= end)
    }

    /// Whether these records are, or were, an object's under `key`.
    pub fn ever_had(&self, key: Key, records: Records) -> bool {
        let there = self.objects.get(&key).is_some_and(|object| object.records == records);
        there || self.deleted.iter().any(|(at, object)| *at == key && object.records == records)
    }
}

impl Object {
    pub fn meta(self) -> PartMeta {
        let identity = PartIdentity {
            rows: self.rows(),
            bytes: self.size(),
            sha256: self.sha256(),
            content_sha256: content(self.records),
        };
        PartMeta { identity, hour: String::new(), dict: String::new(), range: self.range }
    }

    pub fn info(self) -> ObjectInfo {
        ObjectInfo { size: self.size(), etag: None, meta: Some(self.meta()) }
    }

    pub fn rows(self) -> u64 {
        u64::from(self.records.count_ones())
    }

    pub fn size(self) -> u64 {
        100 * self.rows() + self.by as u64
    }

    /// The machines have different builds: the same records compress to other bytes.
    pub fn sha256(self) -> String {
        format!("{}-{}", self.by, self.records)
    }
}

/// The identity of these records.
pub fn content(records: Records) -> String {
    records.to_string()
}

/// The records of an identity.
pub fn records_of(content: &str) -> Records {
    content.parse().unwrap()
}
