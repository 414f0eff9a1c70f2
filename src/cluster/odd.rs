//! The quarantine that all machines share: odd tokens by identity, in a compacted topic.
//!
//! A token is its JSON, in pieces where it is long; the key is its identity, and for a piece the number of it behind a slash. Invariant: a
//! token is acknowledged before the page that it came in passes. Which tokens are there already is only known to save messages, and to count
//! those that are new: sent twice, a token replaces itself. A token is gone when its key has no value.

use std::collections::{BTreeMap, HashSet};

use super::chunks::{CHUNK, Headers, partition_of};
use super::feed::{Ended, Feed, Flow};
use super::kafka::{Connection, Reader};
use super::outbox::Outbox;
use crate::error::{Error, ErrorKind, Result};
use crate::record::ContentHash;
use crate::state::pages::quarantine::{Identity, OddToken};
use crate::stop::Stop;

/// The most identities that are remembered: some 30 MB.
const REMEMBERED: usize = 1 << 19;

/// The shared quarantine, to be added to.
#[derive(Debug)]
pub(crate) struct OddTokens {
    topic: String,
    partitions: u32,
    known: HashSet<Identity>,
    /// Sent and not acknowledged yet.
    sent: HashSet<Identity>,
    is_loaded: bool,
}

impl OddTokens {
    /// The quarantine in `topic`, which has so many `partitions`.
    pub(crate) fn new(topic: String, partitions: u32) -> Self {
        Self { topic, partitions, known: HashSet::new(), sent: HashSet::new(), is_loaded: false }
    }

    /// Reads which tokens are there, if that is not known yet. `false`: it is time to stop.
    pub(crate) fn load(&mut self, connection: &Connection, stop: &Stop) -> Result<bool> {
        if self.is_loaded {
            return Ok(true);
        }
        let reader = &mut Reader::new(connection)?;
        for partition in 0..i32::try_from(self.partitions).unwrap_or(i32::MAX) {
            let known = &mut self.known;
            let ended = Feed::open(reader, &self.topic, partition, None, stop)?.each(&mut |message| {
                if let Some((identity, _)) = of_key(message.key()) {
                    match message.payload() {
                        Some(_) if known.len() < REMEMBERED => known.insert(identity),
                        Some(_) => false,
                        None => known.remove(&identity),
                    };
                }
                Ok(Flow::On)
            })?;
            if ended == Ended::Stopped {
                return Ok(false);
            }
        }
        self.is_loaded = true;
        Ok(true)
    }

    /// Sends a token, if it is not known to be there. Whether it is new.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) fn put(&mut self, outbox: &dyn Outbox, odd: &OddToken) -> Result<bool> {
        if self.sent.len() >= REMEMBERED {
            outbox.settle()?;
            self.settled();
        }
        let identity = odd.identity();
        if self.known.contains(&identity) || !self.sent.insert(identity) {
            return Ok(false);
        }
        let json = serde_json::to_vec(odd)
            .map_err(|e| Error::new(ErrorKind::Bug, "cannot encode an odd token").caused_by(e))?;
        let (partition, count) = (self.partition(identity), json.len().div_ceil(CHUNK).max(1));
        if count == 1 {
            outbox.send(&self.topic, partition, identity.to_string().as_bytes(), &Headers::default(), Some(&json))?;
            return Ok(true);
        }
        let hash = blake3::hash(&json).to_hex();
        for (index, piece) in json.chunks(CHUNK).enumerate() {
            let headers = Headers::default().with("piece", format!("{index}/{count}")).with("blake3", hash.as_str());
            let key = format!("{identity}/{index}");
            outbox.send(&self.topic, partition, key.as_bytes(), &headers, Some(piece))?;
        }
        Ok(true)
    }

    /// Takes a token out, with all that it has there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) fn erase(&mut self, outbox: &dyn Outbox, identity: Identity, keys: &[Vec<u8>]) -> Result<()> {
        self.known.remove(&identity);
        let partition = self.partition(identity);
        keys.iter().try_for_each(|key| outbox.send(&self.topic, partition, key, &Headers::default(), None))
    }

    /// Notes that what was sent is acknowledged.
    pub(crate) fn settled(&mut self) {
        if self.known.len() + self.sent.len() > REMEMBERED {
            self.known.clear();
        }
        self.known.extend(self.sent.drain());
    }

    /// Forgets what was sent: it is not known to be stored.
    pub(crate) fn forget(&mut self) {
        self.sent.clear();
    }

    fn partition(&self, identity: Identity) -> i32 {
        partition_of(ContentHash::from(identity).0, self.partitions)
    }
}

/// The identity that a key names, and which piece.
pub(crate) fn of_key(key: &[u8]) -> Option<(Identity, usize)> {
    let key = std::str::from_utf8(key).ok()?;
    let (identity, piece) = key.split_once('/').unwrap_or((key, "0"));
    Some((identity.parse().ok()?, piece.parse().ok()?))
}

/// The tokens of a partition.
pub(crate) fn gathered(reader: &mut Reader, topic: &str, partition: i32, stop: &Stop) -> Result<Gathered> {
    let mut gathered = Gathered::default();
    Feed::open(reader, topic, partition, None, stop)?.each(&mut |message| {
        gathered.take(message.key(), |name| message.header(name), message.payload());
        Ok(Flow::On)
    })?;
    Ok(gathered)
}

/// Puts tokens together from the messages of a partition. The last of each key counts, so it is asked at the end.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    tokens: BTreeMap<Identity, Pieces>,
}

#[derive(Debug, Default)]
struct Pieces {
    pieces: BTreeMap<usize, Piece>,
}

#[derive(Debug)]
struct Piece {
    /// How many there are; 0: it is whole.
    count: usize,
    hash: Vec<u8>,
    bytes: Vec<u8>,
}

impl Gathered {
    /// Takes the message with this `key`, whose headers `header` looks up.
    pub(crate) fn take<'m>(&mut self, key: &[u8], header: impl Fn(&str) -> Option<&'m [u8]>, payload: Option<&[u8]>) {
        let Some((identity, index)) = of_key(key) else { return };
        let pieces = &mut self.tokens.entry(identity).or_default().pieces;
        let Some(payload) = payload else {
            pieces.remove(&index);
            if pieces.is_empty() {
                self.tokens.remove(&identity);
            }
            return;
        };
        let text = header("piece").and_then(|piece| std::str::from_utf8(piece).ok());
        let count = text.and_then(|text| text.split_once('/')?.1.parse().ok()).unwrap_or(0);
        let hash = header("blake3").unwrap_or_default().to_vec();
        if count == 0 {
            pieces.clear();
        }
        pieces.insert(index, Piece { count, hash, bytes: payload.to_vec() });
    }

    /// The tokens that are whole.
    pub(crate) fn tokens(self) -> impl Iterator<Item = OddToken> {
        self.tokens.into_values().filter_map(Pieces::token)
    }
}

impl Pieces {
    fn token(self) -> Option<OddToken> {
        let count = self.pieces.values().next()?.count;
        let hash = self.pieces.values().next()?.hash.clone();
        // More pieces than it has are of a longer text that it had before.
        let whole: Vec<u8> = self
            .pieces
            .into_iter()
            .filter(|(index, _)| *index < count.max(1))
            .flat_map(|(_, piece)| piece.bytes)
            .collect();
        let is_whole = count == 0 || blake3::hash(&whole).to_hex().as_bytes() == hash;
        is_whole.then(|| serde_json::from_slice(&whole).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::tests::Kept;
    use super::*;

    fn odd(token: &str) -> OddToken {
        OddToken {
            identity: Identity::of(token.as_bytes()).to_string(),
            reason: "not-a-record".to_owned(),
            detail: "why".to_owned(),
            token: token.to_owned(),
            encoding: None,
            received: "2023-03-10T02:00:00Z".parse().unwrap(),
            due: None,
        }
    }

    fn gathered(kept: &Kept) -> Vec<OddToken> {
        let mut gathered = Gathered::default();
        for sent in kept.stored.borrow().iter() {
            gathered.take(&sent.key, |name| sent.header(name), sent.payload.as_deref());
        }
        gathered.tokens().collect()
    }

    #[test]
    fn token_comes_back_however_long_it_is_and_counts_once() {
        let (mut quarantine, kept) = (OddTokens::new("logs.quarantine".to_owned(), 3), Kept::default());
        let long = odd(&"\u{1}x".repeat(CHUNK / 2));
        for odd in [&odd("a"), &odd("b"), &long] {
            assert!(quarantine.put(&kept, odd).unwrap());
            assert!(!quarantine.put(&kept, odd).unwrap());
        }
        kept.settle().unwrap();
        quarantine.settled();
        assert!(!quarantine.put(&kept, &long).unwrap());
        let stored = kept.stored.borrow();
        assert!(
            stored.iter().all(|sent| sent.payload.as_ref().unwrap().len() <= CHUNK && (0..3).contains(&sent.partition))
        );
        assert!(stored.iter().filter(|sent| sent.key.contains(&b'/')).count() > 3);
        let mut found = gathered(&kept);
        found.sort_by_key(|odd| odd.token.len());
        assert_eq!((found.len(), &found[2]), (3, &long));
    }

    #[test]
    fn what_is_not_known_to_be_stored_is_sent_again() {
        let (mut quarantine, kept) = (OddTokens::new("q".to_owned(), 1), Kept::default());
        quarantine.put(&kept, &odd("a")).unwrap();
        kept.forget();
        quarantine.forget();
        assert!(quarantine.put(&kept, &odd("a")).unwrap());
    }

    #[test]
    fn token_whose_pieces_do_not_belong_together_is_none_and_one_without_value_is_gone() {
        let (mut quarantine, kept) = (OddTokens::new("q".to_owned(), 1), Kept::default());
        quarantine.put(&kept, &odd(&"y".repeat(2 * CHUNK))).unwrap();
        quarantine.put(&kept, &odd("a")).unwrap();
        kept.settle().unwrap();
        kept.stored.borrow_mut()[1].payload.as_mut().unwrap()[0] ^= 1;
        let key = kept.stored.borrow().last().unwrap().key.clone();
        assert_eq!(gathered(&kept), [odd("a")]);
        kept.send("q", 0, &key, &Headers::default(), None).unwrap();
        kept.settle().unwrap();
        assert_eq!(gathered(&kept), []);
    }
}
