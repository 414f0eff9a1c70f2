//! Odd tokens that are records by now, because their time or their key came: from the shared quarantine to the lanes.
//!
//! By whoever owns the first partition of pages. All tokens are tried when what reads pages has changed; else, now and then, those dated ahead
//! that are due. When that was last is noted in the status topic, under `retried`. Invariant: a token leaves the quarantine only when its
//! record is acknowledged. A crash in between leaves it in both places, and it is known when it comes again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Owned, Routed, Router};
use crate::cluster::chunks::Headers;
use crate::cluster::feed::{self, Ended, Feed, Flow};
use crate::cluster::odd::Gathered;
use crate::cluster::outbox::Outbox;
use crate::cluster::settings::ClusterSettings;
use crate::cluster::split::Origin;
use crate::error::{Error, ErrorKind, Result};
use crate::job::token_of_a_record;
use crate::page::decode::Decoder;
use crate::page::parse;
use crate::state::pages::quarantine::{Identity, OddToken};

/// Between two looks for tokens that are due.
const LOOKS: Duration = Duration::from_secs(10 * 60);
/// So many recovered tokens, or bytes of them, are sent together.
const CHUNK: usize = 4096;
const CHUNK_BYTES: usize = 4 << 20;
/// Where the note is.
const KEY: &str = "retried";

/// When tokens were last tried, and by what.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Retried {
    reader: String,
    at: Timestamp,
}

/// Tokens that became records.
#[derive(Debug, Default)]
struct Recovered {
    tokens: Vec<String>,
    /// What each has in the quarantine.
    keys: Vec<(Identity, Vec<Vec<u8>>)>,
    bytes: usize,
}

impl Recovered {
    fn push(&mut self, token: String, identity: Identity, keys: Vec<Vec<u8>>) {
        self.bytes += token.len();
        self.tokens.push(token);
        self.keys.push((identity, keys));
    }

    const fn is_full(&self) -> bool {
        self.tokens.len() >= CHUNK || self.bytes >= CHUNK_BYTES
    }
}

/// What is tried.
#[derive(Debug, Clone, Copy)]
struct Trial<'d> {
    decoder: &'d Decoder,
    now: Timestamp,
    /// All, or only what is due.
    is_all: bool,
}

impl Trial<'_> {
    /// The token of a record in what was quarantined, if there is one by now.
    fn token(&self, odd: &OddToken) -> Option<String> {
        let is_wanted = self.is_all || odd.due.is_some_and(|due| due <= self.now);
        // A line that is too long stays that.
        let is_wanted = is_wanted && odd.reason != "too-large";
        is_wanted.then(|| token_of_a_record(self.decoder, odd, self.now))?
    }
}

impl Router {
    /// Tries odd tokens again, where that can help.
    pub(super) fn retry_odd(&mut self, owner: Owned<'_>, routed: &mut Routed) -> Result<()> {
        let ends = self.admin.ends(&self.names.quarantine())?;
        let partitions: Vec<i32> = ends.into_iter().filter(|(_, (low, end))| low < end).map(|(at, _)| at).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let Some(values) = feed::latest(&mut self.reader, &self.names.status(), 0, owner.stop)? else { return Ok(()) };
        let last: Option<Retried> = values.get(KEY.as_bytes()).and_then(|json| serde_json::from_slice(json).ok());
        let now = Timestamp::now();
        let is_same = last.as_ref().is_some_and(|last| last.reader == self.sorter.waiting.reader());
        if is_same && last.is_some_and(|last| now.duration_since(last.at).unsigned_abs() < LOOKS) {
            return Ok(());
        }
        let trial = Trial { decoder: owner.decoder, now, is_all: !is_same };
        for partition in partitions {
            if !self.retry_partition(owner, partition, trial, routed)? {
                return Ok(());
            }
        }
        self.note_retried(now)
    }

    fn note_retried(&self, at: Timestamp) -> Result<()> {
        let retried = Retried { reader: self.sorter.waiting.reader().to_owned(), at };
        let json = serde_json::to_vec(&retried)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a note").caused_by(e))?;
        Outbox::send(&self.outbox, &self.names.status(), 0, KEY.as_bytes(), &Headers::default(), Some(&json))?;
        Outbox::settle(&self.outbox)
    }

    /// `false`: it is time to stop.
    fn retry_partition(
        &mut self,
        owner: Owned<'_>,
        partition: i32,
        trial: Trial<'_>,
        routed: &mut Routed,
    ) -> Result<bool> {
        let topic = self.names.quarantine();
        let (mut pieces, mut keys) = (Gathered::default(), Vec::new());
        let mut next = None;
        loop {
            let mut recovered = Recovered::default();
            let mut feed = Feed::open(&mut self.reader, &topic, partition, next, owner.stop)?;
            let ended = feed.each(&mut |message| {
                let key = message.key();
                if key.contains(&b'/') {
                    keys.push(key.to_vec());
                    pieces.take(key, |name| message.header(name), message.payload());
                    return Ok(Flow::On);
                }
                let odd = message.payload().and_then(|json| serde_json::from_slice::<OddToken>(json).ok());
                let Some(odd) = odd else { return Ok(Flow::On) };
                if let Some(token) = trial.token(&odd) {
                    recovered.push(token, odd.identity(), vec![key.to_vec()]);
                }
                Ok(if recovered.is_full() { Flow::Pause } else { Flow::On })
            })?;
            next = Some(feed.next());
            if ended == Ended::AtEnd {
                for odd in std::mem::take(&mut pieces).tokens() {
                    let Some(token) = trial.token(&odd) else { continue };
                    let prefix = format!("{}/", odd.identity);
                    let of_it = keys.iter().filter(|key| key.starts_with(prefix.as_bytes())).cloned().collect();
                    recovered.push(token, odd.identity(), of_it);
                }
            }
            self.recover(partition, &recovered, trial, routed)?;
            match ended {
                Ended::Paused => {}
                Ended::AtEnd => return Ok(true),
                Ended::Stopped => return Ok(false),
            }
        }
    }

    /// Sends what became records to the lanes, and then takes it out of the quarantine.
    fn recover(&mut self, partition: i32, recovered: &Recovered, trial: Trial<'_>, routed: &mut Routed) -> Result<()> {
        if recovered.tokens.is_empty() {
            return Ok(());
        }
        let body = parse::page_of(recovered.tokens.iter().map(String::as_str), &trial.decoder.shape)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode a page").caused_by(e))?;
        let page = trial
            .decoder
            .page(&body, trial.now)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot read a page of recovered tokens").caused_by(e))?;
        let origin = Origin { partition, offset: -1 };
        let mut is_complete = page.odd_seen == 0;
        routed.records +=
            self.sorter.lanes.put(&self.outbox, origin, trial.now, &page, &mut |_| is_complete = false)?;
        self.sorter.finish(&self.outbox)?;
        Outbox::settle(&self.outbox)?;
        // A record whose line finds no room in a message stays where it is, and those that came with it are known the next time.
        if !is_complete {
            return Ok(());
        }
        // If the epoch has ended, nobody reads the lanes to which these records went: the tokens have to stay in the quarantine.
        ClusterSettings::check_epoch(&self.connection, &self.outbox, self.epoch)?;
        for (identity, keys) in &recovered.keys {
            self.sorter.odd.erase(&self.outbox, *identity, keys)?;
        }
        Outbox::settle(&self.outbox)
    }
}
