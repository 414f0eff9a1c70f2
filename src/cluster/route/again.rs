//! Pages that wait are tried again, by whoever owns the first partition of pages.
//!
//! Invariant: a page leaves where it waits only when what became of it is acknowledged; one that still cannot be read waits again, behind the
//! others. A crash leaves it in both places, and what comes twice is known downstream. When nothing that reads pages has changed, one look
//! at the first page is all.

use std::collections::BTreeMap;

use super::sorter::locked;
use super::work::{Manner, Work};
use super::{FIRST, Owned, Position, Routed, Router};
use crate::cluster::feed::{Feed, Flow};
use crate::cluster::kafka::Message;
use crate::cluster::settings::ClusterSettings;
use crate::cluster::waiting::{HOPELESS, Why};
use crate::error::Result;
use crate::stop::Stop;

/// A page at which routers died is told as one of so many, when it is to be tried once more.
const AGAIN: u32 = 2;

impl Router {
    /// Tries the pages again that could not be read, where that has changed which can. Reports those that wait for a key.
    pub(super) fn look_again(&mut self, owner: Owned<'_>, routed: &mut Routed) -> Result<()> {
        let mut waits = 0;
        for (partition, from, end) in self.where_pages_wait()? {
            if partition == self.sorter.waiting.deadly() && self.sorter.waiting.others() > 0 {
                continue;
            }
            match self.first_waiting(partition, from, owner.stop)? {
                None => {}
                Some((reader, why)) if reader == self.sorter.waiting.reader().as_bytes() => {
                    waits += if why == Why::WrongKey { u64::try_from(end - from).unwrap_or(0) } else { 0 };
                }
                Some(_) => self.try_waiting(owner, (partition, from), routed)?,
            }
        }
        if waits > 0 {
            routed.problems.push(locked(waits, &self.names.waiting()));
        }
        Ok(())
    }

    /// Tries the pages at which routers died, one by one, when everything else is done.
    pub(super) fn try_deadly(&mut self, owner: Owned<'_>, routed: &mut Routed) -> Result<()> {
        let deadly = self.sorter.waiting.deadly();
        for (partition, from, _) in self.where_pages_wait()? {
            if partition == deadly {
                self.try_waiting(owner, (partition, from), routed)?;
            }
        }
        Ok(())
    }

    /// The partitions in which pages wait: from where, and to where.
    fn where_pages_wait(&self) -> Result<Vec<(i32, i64, i64)>> {
        let topic = self.names.waiting();
        let ends = self.admin.ends(&topic)?;
        if ends.values().all(|(low, end)| low == end) {
            return Ok(Vec::new());
        }
        let committed = self.admin.committed(&self.names.waiting_group(), &topic)?;
        let from = |partition, low: i64| committed.get(&partition).copied().unwrap_or(low).max(low);
        let waits = ends.into_iter().map(|(partition, (low, end))| (partition, from(partition, low), end));
        Ok(waits.filter(|(_, from, end)| from < end).collect())
    }

    /// What the first message says: what could not read its page, and why.
    fn first_waiting(&mut self, partition: i32, from: i64, stop: &Stop) -> Result<Option<(Vec<u8>, Why)>> {
        let mut first = None;
        let topic = self.names.waiting();
        Feed::open(&mut self.reader, &topic, partition, Some(from), stop)?.each(&mut |message| {
            let reader = message.header("reader").unwrap_or_default().to_vec();
            first = Some((reader, Why::read(|name| message.header(name))));
            Ok(Flow::Pause)
        })?;
        Ok(first)
    }

    fn try_waiting(&mut self, owner: Owned<'_>, (partition, from): (i32, i64), routed: &mut Routed) -> Result<()> {
        let Owned { decoder, member, stop } = owner;
        let (topic, name) = (self.names.waiting(), format!("waiting-{partition}"));
        if !self.notes.load(&mut self.reader, stop)? {
            return Ok(());
        }
        let is_suspect = self.notes.is_suspect(&name, from);
        let mut position = Position { next: Some(from), committed: from, is_suspect, ..Position::default() };
        let reader = self.sorter.waiting.reader().to_owned();
        let (admin, group) = (&self.admin, self.names.waiting_group());
        let (connection, outbox, epoch) = (&self.connection, &self.outbox, self.epoch);
        let mut feed = Feed::open(&mut self.reader, &topic, partition, Some(from), stop)?;
        let mut work = Work {
            decoder,
            outbox,
            sorter: &mut self.sorter,
            notes: &mut self.notes,
            routed,
            stop,
            partition,
            name: name.clone(),
            manner: &|message| manner(message, &reader),
            commit: &|offset| {
                // If the epoch has ended, nobody reads the lanes to which these pages went: they have to stay in the topic.
                ClusterSettings::check_epoch(connection, outbox, epoch)?;
                admin.commit_outside(&group, &topic, &BTreeMap::from([(partition, offset)]))?;
                Ok(member.still_owns(FIRST))
            },
        };
        work.through(&mut feed, &mut position)?;
        if position.is_noted {
            self.notes.end(&self.outbox, &name)?;
        }
        if position.committed > from {
            self.admin.delete_records(&topic, &BTreeMap::from([(partition, position.committed)]))?;
        }
        Ok(())
    }
}

/// How a page that waits is to be read, by what can read pages now.
fn manner(message: &Message<'_>, reader: &str) -> Manner {
    let is_same = message.header("reader") == Some(reader.as_bytes());
    match Why::read(|name| message.header(name)) {
        Why::Deadly(deaths) if deaths < HOPELESS => Manner::Alone(deaths),
        _ if is_same => Manner::Stop,
        Why::Deadly(_) => Manner::PutOff(AGAIN),
        Why::WrongKey | Why::NotAPage => Manner::Usual,
    }
}
