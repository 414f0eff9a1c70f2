//! Routing: pages of the partitions that are ours are decoded, and their records go to their lanes.
//!
//! ```text
//! topic pages ─► chunks: pages ─► decrypt, parse ─► sorter ─┬─► topic lanes-<epoch>: records, by content hash
//!                                                            ├─► topic quarantine: odd tokens, by identity
//!                                                            └─► topic waiting: pages that cannot be read now
//! ```
//! Invariant: an offset of pages is committed only when all that became of the pages below it is acknowledged. A crash leaves some of it
//! stored: the pages are routed again, and what comes twice is known downstream. No page stops those behind it.

mod again;
mod files;
mod retry;
mod sorter;
mod trying;
mod work;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::files::RoutedFiles;
use self::sorter::Sorter;
use self::trying::Notes;
use self::work::{Manner, Work};
use super::barrier::Ends;
use super::chunks::Assembler;
use super::feed::Feed;
use super::kafka::{Admin, Connection, Member, Producer, Reader};
use super::names::Names;
use super::odd::OddTokens;
use super::outbox::Outbox;
use super::split::Lanes;
use super::waiting::Waiting;
use crate::error::{Error, ErrorKind, Result};
use crate::page::decode::Decoder;
use crate::state::pages::quarantine::OddToken;
use crate::stop::Stop;

/// Whoever owns this partition of pages looks after those that wait.
const FIRST: i32 = 0;
/// Between two looks at them.
const LOOKS: Duration = Duration::from_secs(60);
/// How long a commit is tried while the group settles who owns what.
const SETTLING: Duration = Duration::from_secs(5);
const MOMENT: Duration = Duration::from_millis(200);

/// What was routed.
#[derive(Debug, Default)]
pub struct Routed {
    /// Pages that were read.
    pub pages: u64,
    /// Their elements.
    pub elements: u64,
    /// Odd tokens that are new in the quarantine, as far as is known.
    pub odd: u64,
    /// The same by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Records that are in lanes now, duplicates included.
    pub records: u64,
    /// What there is to report.
    pub problems: Vec<Error>,
    /// Whether there is more: a stop came, or a partition went to another machine.
    pub behind: bool,
}

impl Routed {
    /// Counts an odd token that is new.
    fn odd(&mut self, odd: &OddToken) {
        self.odd += 1;
        *self.reasons.entry(odd.reason.clone()).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.pages += other.pages;
        self.elements += other.elements;
        self.odd += other.odd;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.records += other.records;
        self.problems.extend(other.problems);
        self.behind |= other.behind;
    }
}

/// How far a partition was read. Kept from call to call, so that unfinished pages are not read again each time.
#[derive(Debug, Default)]
struct Position {
    /// The next offset; `None`: the first that is there.
    next: Option<i64>,
    /// What is committed, as far as this process knows.
    committed: i64,
    assembler: Assembler,
    /// Whether a note says that this process reads it.
    is_noted: bool,
    /// Whether somebody died with what comes next.
    is_suspect: bool,
}

/// For whom pages are routed, and by what.
#[derive(Debug, Clone, Copy)]
struct Owned<'o> {
    decoder: &'o Decoder,
    member: &'o Member,
    stop: &'o Stop,
}

/// Routes the pages of the partitions that this process owns.
#[derive(Debug)]
pub struct Router {
    connection: Connection,
    names: Names,
    epoch: u32,
    outbox: Producer,
    reader: Reader,
    admin: Admin,
    sorter: Sorter,
    notes: Notes,
    positions: BTreeMap<i32, Position>,
    /// Up to where each partition was last read to its end.
    read: Ends,
    /// When the pages that wait were last looked at.
    looked: Option<Instant>,
    /// Whether the pages were tried at which routers died.
    has_tried: bool,
    files: RoutedFiles,
}

impl Router {
    /// Routes to the `lanes` of `epoch`. It is kept from tick to tick: it remembers how far it has read.
    ///
    /// # Errors
    /// `Unavailable`: no broker answers. `Config`: a topic is missing.
    pub fn new(connection: &Connection, names: &Names, epoch: u32, lanes: u32) -> Result<Self> {
        let admin = Admin::new(connection)?;
        let partitions = |topic: &str| -> Result<u32> {
            let count = u32::try_from(admin.ends(topic)?.len()).unwrap_or(u32::MAX);
            if count == 0 { Err(missing(topic)) } else { Ok(count) }
        };
        let (quarantine, waits) = (names.quarantine(), names.waiting());
        let odd = OddTokens::new(quarantine.clone(), partitions(&quarantine)?);
        let waiting = Waiting::new(waits.clone(), partitions(&waits)?);
        let lanes = Lanes::new(names.lanes(epoch), lanes);
        Ok(Self {
            connection: connection.clone(),
            names: names.clone(),
            epoch,
            outbox: Producer::new(connection)?,
            reader: Reader::new(connection)?,
            admin,
            sorter: Sorter::new(connection, lanes, odd, waiting),
            notes: Notes::new(names.status()),
            positions: BTreeMap::new(),
            read: Ends::new(),
            looked: None,
            has_tried: false,
            files: RoutedFiles::new(),
        })
    }

    /// Routes what `decoder` reads in all partitions that `member` owns, to their ends, once.
    ///
    /// # Errors
    /// `Unavailable`: the brokers do not answer. What is not committed is routed again by whoever comes next.
    pub fn route(&mut self, decoder: &Decoder, member: &Member, stop: &Stop) -> Result<Routed> {
        let mut routed = Routed::default();
        self.sorter.waiting.read_by(decoder);
        let result = self.route_all(Owned { decoder, member, stop }, &mut routed);
        if result.is_err() {
            self.positions.clear();
            self.sorter.forget();
            self.outbox.forget();
        }
        routed.problems.extend(self.sorter.take_problems());
        result.map(|()| routed)
    }

    /// Whether pages are read up to these offsets.
    pub(super) fn has_read(&self, ends: &Ends) -> bool {
        ends.iter().all(|(partition, end)| self.read.get(partition).is_some_and(|read| read > end))
    }

    fn route_all(&mut self, owner: Owned<'_>, routed: &mut Routed) -> Result<()> {
        let owned = owner.member.owned();
        self.positions.retain(|partition, _| owned.contains(partition));
        let is_first = owned.contains(&FIRST);
        if is_first && self.looked.is_none_or(|last| last.elapsed() >= LOOKS) {
            self.look_again(owner, routed)?;
            self.retry_odd(owner, routed)?;
            self.looked = Some(Instant::now());
        }
        for partition in owned {
            if owner.stop.is_requested() || !self.partition(owner, partition, routed)? {
                routed.behind = true;
            }
        }
        if is_first && !self.has_tried && !owner.stop.is_requested() {
            self.try_deadly(owner, routed)?;
            self.has_tried = true;
        }
        Ok(())
    }

    /// Routes a partition to its end. `false`: it did not come so far.
    fn partition(&mut self, owner: Owned<'_>, partition: i32, routed: &mut Routed) -> Result<bool> {
        let Owned { decoder, member, stop } = owner;
        let Some(mut position) = self.position(member, partition, stop)? else { return Ok(false) };
        let topic = self.names.pages();
        let mut feed = Feed::open(&mut self.reader, &topic, partition, position.next, stop)?;
        let mut work = Work {
            decoder,
            outbox: &self.outbox,
            sorter: &mut self.sorter,
            notes: &mut self.notes,
            routed,
            stop,
            partition,
            name: partition.to_string(),
            manner: &|_| Manner::Usual,
            commit: &|offset| commit(member, partition, offset, stop),
        };
        let is_at_end = work.through(&mut feed, &mut position)?;
        let abandoned = position.assembler.take_abandoned();
        if abandoned > 0 {
            tracing::debug!("{topic}, partition {partition}: {abandoned} unfinished pages were dropped");
        }
        if is_at_end {
            self.read.extend(position.next.map(|next| (partition, next)));
        }
        if is_at_end && !position.assembler.has_put_back() {
            self.positions.insert(partition, position);
        }
        Ok(is_at_end)
    }

    /// Where to go on: where this process was, unless another one was there since.
    fn position(&mut self, member: &Member, partition: i32, stop: &Stop) -> Result<Option<Position>> {
        let committed = member.committed(partition)?;
        if let Some(position) = self.positions.remove(&partition)
            && position.committed == committed.unwrap_or(position.committed)
        {
            return Ok(Some(position));
        }
        if !self.notes.load(&mut self.reader, stop)? {
            return Ok(None);
        }
        let offset = committed.unwrap_or(0);
        let is_suspect = self.notes.is_suspect(&partition.to_string(), offset);
        Ok(Some(Position { next: committed, committed: offset, is_suspect, ..Position::default() }))
    }
}

/// Commits an offset for `member`. `false`: the partition is another's.
fn commit(member: &Member, partition: i32, offset: i64, stop: &Stop) -> Result<bool> {
    let began = Instant::now();
    loop {
        match member.commit(partition, offset) {
            Ok(()) => return Ok(true),
            Err(_) if !member.still_owns(partition) => return Ok(false),
            Err(error) if began.elapsed() > SETTLING => return Err(error),
            Err(_) => drop(stop.sleep(MOMENT)),
        }
    }
}

fn missing(topic: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the topic {topic} is missing")).hint("make it with `etl cluster init`")
}
