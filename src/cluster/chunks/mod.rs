//! A page in pieces: Kafka's brokers refuse large messages, so a page travels as chunks of one partition, and is put together again.
//!
//! Pure. Invariant: what `Assembler::take` returns is a page exactly as it was cut, whatever came twice, was lost, came in another order
//! or between the chunks of other pages; and a page all of whose chunks came is returned. A page of which chunks are missing is
//! pending: `Assembler::resume_at` stays at or below its first chunk, so that nothing is forgotten after a crash, until it is complete,
//! begun again, or `ABANDONED`. Whoever sends a page gives up long before that and sends all of it again.
//!
//! Each chunk has these headers, as text:
//! ```text
//! page      32 hexadecimal digits: of the BLAKE3 of body's hash, time of receipt and source
//! chunk     i/n, from 0
//! received  nanoseconds since 1970
//! source    which source it is from, as the configuration names it
//! blake3    64 hexadecimal digits: of the whole body
//! ```

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::digest::hex;

/// Bytes of a chunk: half of what brokers take by default, because a batch has more than one message.
pub(crate) const CHUNK: usize = 512 << 10;
/// The most chunks of a page, which are 4 GiB. A header with a higher number was not written by etl.
const MOST_CHUNKS: u32 = 8 << 10;
/// Bytes of pending pages that are kept, unless a single one has more.
const MOST_PENDING: usize = 96 << 20;
/// A pending page is given up when a chunk came that is so much younger than its last one, in milliseconds.
pub(crate) const ABANDONED: i64 = 15 * 60 * 1000;
/// How many of the last pages are remembered, so that a chunk of them that comes again begins nothing.
const REMEMBERED: usize = 64;

/// What the headers of a chunk say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    /// Which page it is of.
    pub(crate) page: [u8; 16],
    index: u32,
    count: u32,
    /// When the page was received.
    pub(crate) received: Timestamp,
    /// Which source the page is from.
    pub(crate) source: String,
    hash: [u8; 32],
}

/// The headers of a message, ready to be sent.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(&'static str, String)>);

impl Headers {
    /// Adds one.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// As the producer takes them.
    pub(crate) fn to_slices(&self) -> Vec<(&str, &[u8])> {
        self.0.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }
}

/// A page that is to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing<'b> {
    body: &'b [u8],
    received: Timestamp,
    source: &'b str,
    hash: [u8; 32],
    id: [u8; 16],
}

impl<'b> Outgoing<'b> {
    /// The page `body` of `source`, received at `received`.
    pub(crate) fn new(body: &'b [u8], received: Timestamp, source: &'b str) -> Self {
        let hash = *blake3::hash(body).as_bytes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&hash).update(&received.as_nanosecond().to_le_bytes()).update(source.as_bytes());
        let id = hasher.finalize().as_bytes().first_chunk().copied().unwrap_or_default();
        Self { body, received, source, hash, id }
    }

    /// What it is known by: the same page has the same.
    pub(crate) const fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Which of `partitions` its chunks go to: the same page always to the same.
    pub(crate) fn partition(&self, partitions: u32) -> i32 {
        partition_of(self.id, partitions)
    }

    /// Its chunks in order.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (Headers, &'b [u8])> {
        self.chunks_of(CHUNK)
    }

    fn chunks_of(&self, most: usize) -> impl Iterator<Item = (Headers, &'b [u8])> {
        let (body, count) = (self.body, self.body.len().div_ceil(most).max(1));
        let (page, hash, source) = (hex(&self.id), hex(&self.hash), self.source.to_owned());
        let received = self.received.as_nanosecond().to_string();
        (0..count).map(move |index| {
            let start = index.saturating_mul(most);
            let end = body.len().min(start.saturating_add(most));
            let headers = Headers::default()
                .with("page", page.as_str())
                .with("chunk", format!("{index}/{count}"))
                .with("received", received.as_str())
                .with("source", source.as_str())
                .with("blake3", hash.as_str());
            (headers, body.get(start..end).unwrap_or_default())
        })
    }
}

/// The partition, of `partitions`, of what is known by `id`.
pub(crate) fn partition_of(id: [u8; 16], partitions: u32) -> i32 {
    let first = id.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    i32::try_from(first % partitions.max(1)).unwrap_or(0)
}

impl ChunkHead {
    /// Reads a chunk's headers; `header` gives the value of a header by its name. `None`: the message is not a chunk.
    pub(crate) fn read<'m>(header: impl Fn(&str) -> Option<&'m [u8]>) -> Option<Self> {
        let text = |name| std::str::from_utf8(header(name)?).ok();
        let (index, count) = text("chunk")?.split_once('/')?;
        let (index, count): (u32, u32) = (index.parse().ok()?, count.parse().ok()?);
        let received = Timestamp::from_nanosecond(text("received")?.parse().ok()?).ok()?;
        let head = Self {
            page: from_hex(text("page")?)?,
            index,
            count,
            received,
            source: text("source")?.to_owned(),
            hash: from_hex(text("blake3")?)?,
        };
        (index < count && count <= MOST_CHUNKS).then_some(head)
    }

    /// Whether a page begins with it.
    pub(crate) const fn is_first(&self) -> bool {
        self.index == 0
    }
}

/// The bytes that hexadecimal digits spell.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (mut bytes, mut digits) = ([0; N], text.as_bytes().chunks_exact(2));
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for byte in &mut bytes {
        *byte = u8::from_str_radix(std::str::from_utf8(digits.next()?).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A page that is whole again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WholePage {
    /// What it is known by.
    pub(crate) id: [u8; 16],
    /// When it was received.
    pub(crate) received: Timestamp,
    /// Which source it is from.
    pub(crate) source: String,
    /// As received.
    pub(crate) body: Vec<u8>,
    /// The lowest offset of its chunks.
    pub(crate) first: i64,
}

/// What became of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was the last one of its page.
    Page(WholePage),
    /// It is kept, or was known, or its page finds no room now.
    Chunk,
    /// All chunks are there, from this offset on, and they are not what was sent. One that is right may still come.
    Damaged(i64),
}

/// A page of which chunks are missing.
#[derive(Debug)]
struct Pending {
    /// Of each chunk that came: its offset and bytes.
    chunks: BTreeMap<u32, (i64, Vec<u8>)>,
    count: u32,
    bytes: usize,
    /// The newest time of its chunks.
    newest: i64,
}

impl Pending {
    const fn of(count: u32) -> Self {
        Self { chunks: BTreeMap::new(), count, bytes: 0, newest: i64::MIN }
    }

    fn first(&self) -> i64 {
        self.chunks.values().map(|(offset, _)| *offset).min().unwrap_or(i64::MAX)
    }

    fn put(&mut self, index: u32, offset: i64, timestamp: i64, payload: &[u8]) {
        self.newest = self.newest.max(timestamp);
        self.bytes += payload.len();
        if let Some((_, before)) = self.chunks.insert(index, (offset, payload.to_vec())) {
            self.bytes = self.bytes.saturating_sub(before.len());
        }
    }

    fn is_complete(&self) -> bool {
        u32::try_from(self.chunks.len()).is_ok_and(|there| there == self.count)
    }

    fn has_hash(&self, hash: [u8; 32]) -> bool {
        let mut hasher = blake3::Hasher::new();
        for (_, bytes) in self.chunks.values() {
            hasher.update(bytes);
        }
        *hasher.finalize().as_bytes() == hash
    }

    /// The whole body. Each chunk's memory is freed as soon as it is copied.
    fn into_body(self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes);
        self.chunks.into_values().for_each(|(_, bytes)| body.extend_from_slice(&bytes));
        body
    }
}

/// Puts the pages of one partition together, from its messages in order.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    pending: BTreeMap<[u8; 16], Pending>,
    /// The last pages that were whole.
    done: VecDeque<[u8; 16]>,
    /// The first chunk that found no room.
    put_back: Option<i64>,
    /// The youngest message so far.
    newest: i64,
    /// Pages that were given up.
    abandoned: u64,
    most: Option<usize>,
}

impl Assembler {
    /// Takes the chunk at `offset`, written at `timestamp` (milliseconds).
    pub(crate) fn take(&mut self, offset: i64, timestamp: i64, head: ChunkHead, payload: &[u8]) -> Taken {
        self.newest = self.newest.max(timestamp);
        self.abandon_old();
        if self.done.contains(&head.page) {
            return Taken::Chunk;
        }
        if head.count == 1 {
            self.pending.remove(&head.page);
            let is_whole = *blake3::hash(payload).as_bytes() == head.hash;
            return if is_whole { self.done_with(head, payload.to_vec(), offset) } else { Taken::Damaged(offset) };
        }
        if self.pending.get(&head.page).is_some_and(|pending| pending.count != head.count) {
            self.pending.remove(&head.page);
        }
        if !self.has_room(&head) {
            self.put_back.get_or_insert(offset);
            return Taken::Chunk;
        }
        let pending = self.pending.entry(head.page).or_insert_with(|| Pending::of(head.count));
        pending.put(head.index, offset, timestamp, payload);
        if !pending.is_complete() {
            return Taken::Chunk;
        }
        let first = pending.first();
        if !pending.has_hash(head.hash) {
            return Taken::Damaged(first);
        }
        let body = self.pending.remove(&head.page).map(Pending::into_body).unwrap_or_default();
        self.done_with(head, body, first)
    }

    fn done_with(&mut self, head: ChunkHead, body: Vec<u8>, first: i64) -> Taken {
        if self.done.len() >= REMEMBERED {
            self.done.pop_front();
        }
        self.done.push_back(head.page);
        Taken::Page(WholePage { id: head.page, received: head.received, source: head.source, body, first })
    }

    /// Where to read on after a crash, if all up to `next` was taken and the pages that were returned are done with.
    pub(crate) fn resume_at(&self, next: i64) -> i64 {
        self.pending.values().map(Pending::first).chain(self.put_back).min().unwrap_or(next).min(next)
    }

    /// Whether a page found no room: all has to be read again from [`Assembler::resume_at`].
    pub(crate) const fn has_put_back(&self) -> bool {
        self.put_back.is_some()
    }

    /// Pages that were given up since the last call: their senders have sent them again, or still have them.
    pub(crate) fn take_abandoned(&mut self) -> u64 {
        std::mem::take(&mut self.abandoned)
    }

    /// Whether the page of a chunk is pending already, or may begin. One page may, whatever its size.
    fn has_room(&self, head: &ChunkHead) -> bool {
        if self.pending.contains_key(&head.page) || self.pending.is_empty() {
            return true;
        }
        let all = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(CHUNK);
        let held: usize = self.pending.values().map(|pending| all(pending.count)).fold(0, usize::saturating_add);
        held.saturating_add(all(head.count)) <= self.most.unwrap_or(MOST_PENDING)
    }

    fn abandon_old(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (before, limit) = (self.pending.len(), self.newest.saturating_sub(ABANDONED));
        self.pending.retain(|_, pending| pending.newest >= limit);
        self.abandoned += (before - self.pending.len()) as u64;
    }
}

#[cfg(test)]
mod tests;
