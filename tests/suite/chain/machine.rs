//! A machine of the model: for each hour the real row of the ledger, and what is durable or under way beside it.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use etl::error::Result;
use etl::hour::lifecycle::{Event, HashesRef, HourRow};
use etl::hour::part::{PartRow, PartStage};
use etl::hour::range::HashRange;
use etl::hour::tally::{Certified, Tally};
use etl::store::PartMeta;
use etl::store::once::{Ask, Sealed};
use jiff::Timestamp;

use super::store::{Object, Records, Reply, records_of};

/// A row of the ledger. Its hash leaves out what no transition looks at, so that the checker takes rows that differ in nothing else
/// for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Arc<HourRow>);

impl Deref for Row {
    type Target = HourRow;

    fn deref(&self) -> &HourRow {
        &self.0
    }
}

impl Hash for Row {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.frozen, self.receipted, self.hashes.is_some()).hash(state);
        for part in &self.parts {
            let by = part.identity.sha256.as_bytes().first();
            (part.part, part.stage as u8, part.through, records(part), by, part.range).hash(state);
        }
    }
}

/// What a machine has asked about a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// What the protocol asks.
    Upload(Ask),
    /// Whether the part is there: its bytes are lost.
    Search,
}

impl Question {
    pub const fn is_put(self) -> bool {
        matches!(self, Self::Upload(Ask::Put | Ask::PutFree))
    }
}

/// What has arrived at a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heard {
    Put(Reply),
    Look(Option<Object>),
    LookFailed,
}

/// An upload under way. In memory: a crash ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Talk {
    Asked(Question),
    Heard(Question, Heard),
    /// Something foreign has the part's key.
    Foreign,
}

/// An hour on a machine. All of it is durable, but the talk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HourOf {
    pub row: Row,
    /// Committed and not pruned, by commit.
    pub log: BTreeMap<u64, Records>,
    /// What the hash array has that the row names.
    pub array: Records,
    /// In pages that are not committed.
    pub journal: Records,
    pub parked: Records,
    /// The spool has lost the bytes of the sealing parts, and the log cannot give them again.
    pub bytes_are_lost: bool,
    pub talk: Option<Talk>,
    /// Its parts were cut again.
    pub is_recut: bool,
    /// It was listed since the last freeze. In memory.
    pub is_listed: bool,
    /// How often its sealing parts moved, up to 2: counted where that must be met.
    pub moved: u8,
    /// What a crash brings back, for a planted bug.
    pub unflushed: Option<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    pub hours: Vec<HourOf>,
    /// What it received, and must not lose.
    pub received: Records,
}

impl HourOf {
    pub fn new() -> Self {
        let row = Row(Arc::new(HourRow::new("2023-03-10T01".parse().unwrap())));
        Self {
            row,
            log: BTreeMap::new(),
            array: 0,
            journal: 0,
            parked: 0,
            bytes_are_lost: false,
            talk: None,
            is_recut: false,
            is_listed: false,
            moved: 0,
            unflushed: None,
        }
    }

    /// One transition of the ledger.
    pub fn apply(&mut self, event: Event) -> Result<()> {
        self.row = Row(Arc::new((*self.row.0).clone().apply(event)?));
        self.unflushed = None;
        if !self.row.is_sealing() {
            self.moved = 0;
        }
        Ok(())
    }

    /// Changes the row behind the table's back, for planted bugs.
    pub fn meddle(&mut self, with: impl FnOnce(&mut HourRow)) {
        with(Arc::make_mut(&mut self.row.0));
    }

    pub fn logged(&self) -> Records {
        self.log.values().fold(0, |all, some| all | some)
    }

    pub fn unsealed(&self) -> Records {
        self.log.range(self.row.frozen + 1..).fold(0, |all, (_, some)| all | some)
    }

    /// Commits what is not known. Commits that no freeze separates have one number: nothing tells them apart.
    pub fn commit(&mut self, new: Records) {
        let new = new & !(self.array | self.logged());
        let last = self.log.keys().next_back().copied().unwrap_or(0);
        if new != 0 {
            *self.log.entry(last.max(self.row.frozen + 1)).or_default() |= new;
        }
    }

    pub fn prune(&mut self) {
        let receipted = self.row.receipted;
        self.log.retain(|commit, _| *commit > receipted);
    }

    /// What freezes the unsealed records, `cut` to a part, on the machine `by` that owns `range`.
    pub fn freezing(&self, by: usize, range: HashRange, cut: u32) -> Event {
        let through = self.log.keys().next_back().copied().unwrap_or(0);
        let mut rest = self.unsealed() & !self.array;
        if rest == 0 {
            return Event::Absorbed { through };
        }
        let (mut parts, hashes) = (Vec::new(), self.next_hashes(self.array | rest));
        while rest != 0 {
            let some = lowest(rest, cut);
            rest &= !some;
            let number = u32::try_from(self.row.parts.len() + parts.len()).unwrap();
            parts.push(part_row(number, PartStage::Sealing, Object { records: some, by, range }, through));
        }
        let certified = Certified::new(Timestamp::UNIX_EPOCH, Tally::default(), &[]);
        Event::Frozen { through, hashes, parts, certified }
    }

    pub fn next_hashes(&self, of: Records) -> HashesRef {
        HashesRef { version: self.row.next_hashes, count: u64::from(of.count_ones()) }
    }

    pub fn sealing(&self) -> impl DoubleEndedIterator<Item = &PartRow> {
        self.row.parts.iter().filter(|part| part.stage == PartStage::Sealing)
    }

    /// What there is to do for the hour, were nothing in its way.
    pub fn has_work(&self) -> bool {
        self.talk.is_some() || self.row.is_sealing() || self.journal != 0 || self.unsealed() != 0
    }
}

/// Calls `with` the sealed part that a row describes.
pub fn sealed<T>(row: &PartRow, with: impl FnOnce(&Sealed<'_>) -> T) -> T {
    let meta = PartMeta { identity: row.identity.clone(), hour: String::new(), dict: String::new(), range: row.range };
    with(&Sealed { key: &row.key, body: Path::new(""), meta: &meta })
}

pub fn part_row(part: u32, stage: PartStage, object: Object, through: u64) -> PartRow {
    let is_uploaded = stage == PartStage::Uploaded;
    PartRow {
        part,
        stage,
        key: String::new(),
        identity: object.meta().identity,
        dict: String::new(),
        through,
        first: Timestamp::UNIX_EPOCH,
        last: Timestamp::UNIX_EPOCH,
        frozen_at: Timestamp::UNIX_EPOCH,
        uploaded_at: is_uploaded.then_some(Timestamp::UNIX_EPOCH),
        etag: None,
        expired_at: None,
        range: object.range,
        spooled_as: None,
    }
}

/// The records of a part.
pub fn records(part: &PartRow) -> Records {
    records_of(&part.identity.content_sha256)
}

/// The lowest `count` of `all`.
fn lowest(all: Records, count: u32) -> Records {
    let (mut some, mut rest): (Records, Records) = (0, all);
    while rest != 0 && some.count_ones() < count {
        some |= rest & rest.wrapping_neg();
        rest &= rest - 1;
    }
    some
}
