//! The records of pages, each to its lane.
//!
//! Invariant: every record that is put goes to the lane that its content hash names, once, or is refused for its length; what is still held
//! is sent by [`Lanes::finish`]. A crash leaves some lanes with their records and others without: the page is routed again.

use super::chunks::Headers;
use super::message::{LONGEST_LINE, Outgoing};
use super::outbox::Outbox;
use crate::error::Result;
use crate::hour::range::HashRange;
use crate::page::decode::{Decoded, DecodedRecord};
use crate::state::files::crash_point;
use jiff::Timestamp;

/// The pages of one message were received within so many seconds: their records count as received when the oldest of them was.
const SPAN: i64 = 60;

/// Where a page is: its partition, and the offset of its first chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// What is on its way to the lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    topic: String,
    lanes: Vec<Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    message: Outgoing,
    origin: Option<Origin>,
}

impl Lanes {
    /// So many `lanes`, the partitions of `topic`.
    pub(crate) fn new(topic: String, lanes: u32) -> Self {
        Self { topic, lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect() }
    }

    /// Puts the records of a page, and returns how many. Those whose line finds no room in a message go to `refuse`.
    pub(crate) fn put(
        &mut self,
        outbox: &dyn Outbox,
        origin: Origin,
        received: Timestamp,
        page: &Decoded,
        refuse: &mut dyn FnMut(&DecodedRecord),
    ) -> Result<u64> {
        let count = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let mut put = 0;
        for (record, line) in page.rows() {
            if line.len() > LONGEST_LINE {
                refuse(record);
                continue;
            }
            let at = HashRange::lane_of(record.entry.hash, count);
            let Some(lane) = usize::try_from(at).ok().and_then(|at| self.lanes.get_mut(at)) else { continue };
            if !lane.takes(received, line.len()) {
                lane.send(outbox, &self.topic, at)?;
            }
            lane.origin.get_or_insert(origin);
            lane.message.push(received, record, line);
            put += 1;
        }
        Ok(put)
    }

    /// Sends what is still held.
    pub(crate) fn finish(&mut self, outbox: &dyn Outbox) -> Result<()> {
        (0..).zip(&mut self.lanes).try_for_each(|(at, lane)| lane.send(outbox, &self.topic, at))
    }

    /// Drops what is still held: its pages are routed again.
    pub(crate) fn forget(&mut self) {
        self.lanes.iter_mut().for_each(|lane| *lane = Lane::default());
    }
}

impl Lane {
    fn takes(&self, received: Timestamp, line: usize) -> bool {
        let is_near = |before: Timestamp| (received.as_second() - before.as_second()).abs() <= SPAN;
        self.message.has_room_for(line) && self.message.received().is_none_or(is_near)
    }

    fn send(&mut self, outbox: &dyn Outbox, topic: &str, at: u32) -> Result<()> {
        let Some(origin) = self.origin.take() else { return Ok(()) };
        let Some((key, bytes)) = self.message.finish()? else { return Ok(()) };
        let headers = Headers::default().with("page", format!("{}:{}", origin.partition, origin.offset));
        outbox.send(topic, i32::try_from(at).unwrap_or(i32::MAX), &key, &headers, Some(&bytes))?;
        crash_point::at("a lane has its records");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::message;
    use super::super::outbox::tests::Kept;
    use super::*;
    use crate::hour::Hour;
    use crate::record::ContentHash;
    use crate::state::Entry;

    /// A page of records with these hashes and lines.
    fn page(records: &[([u8; 16], &[u8])]) -> Decoded {
        let at: Timestamp = "2023-03-10T01:48:11Z".parse().unwrap();
        let hour = Hour::of(at, &jiff::tz::TimeZone::UTC).unwrap();
        let record = |(hash, line): &([u8; 16], &[u8])| DecodedRecord {
            hour,
            entry: Entry::new(ContentHash(*hash), at, u32::try_from(line.len()).unwrap()),
            id: Some(1),
        };
        let lines = records.iter().flat_map(|(_, line)| line.to_vec()).collect();
        Decoded::of_records(records.iter().map(record).collect(), lines)
    }

    fn hash(n: u32) -> [u8; 16] {
        *blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap()
    }

    fn received(second: i64) -> Timestamp {
        Timestamp::from_second(1_678_412_400 + second).unwrap()
    }

    const ORIGIN: Origin = Origin { partition: 2, offset: 40 };

    #[test]
    fn each_record_goes_to_its_lane_once() {
        let lines: Vec<Vec<u8>> = (0..5000).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect();
        let records: Vec<([u8; 16], &[u8])> = (0..).zip(&lines).map(|(n, line)| (hash(n), line.as_slice())).collect();
        let (mut lanes, kept) = (Lanes::new("logs.lanes-1".to_owned(), 6), Kept::default());
        let pages = [page(&records[..1000]), page(&records[1000..])];
        let put =
            |lanes: &mut Lanes, page| lanes.put(&kept, ORIGIN, received(0), page, &mut |_| unreachable!()).unwrap();
        assert_eq!(pages.iter().map(|page| put(&mut lanes, page)).sum::<u64>(), 5000);
        lanes.finish(&kept).unwrap();
        lanes.finish(&kept).unwrap();
        kept.settle().unwrap();
        let mut found = Vec::new();
        let stored = kept.stored.borrow();
        assert_eq!(stored.len(), 6);
        for sent in stored.iter() {
            assert_eq!((sent.topic.as_str(), sent.header("page")), ("logs.lanes-1", Some(&b"2:40"[..])));
            let incoming = message::read(sent.payload.as_deref().unwrap(), "t", 0, 0).unwrap();
            assert_eq!(
                (incoming.received, sent.key.as_slice()),
                (received(0), &incoming.decoded.records[0].entry.hash[..])
            );
            for (record, line) in incoming.decoded.rows() {
                let lane = HashRange::lane_of(record.entry.hash, 6);
                assert_eq!(i32::try_from(lane).unwrap(), sent.partition);
                found.push((record.entry.hash, line.to_vec()));
            }
        }
        found.sort();
        let mut expected: Vec<_> = records.iter().map(|(hash, line)| (*hash, line.to_vec())).collect();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn messages_are_bounded_in_bytes_and_in_time() {
        let line = vec![b'x'; 200 << 10];
        let long = vec![b'y'; LONGEST_LINE + 1];
        let records: Vec<([u8; 16], &[u8])> = (0..5).map(|n| (hash(n), line.as_slice())).collect();
        let (mut lanes, kept) = (Lanes::new("t".to_owned(), 1), Kept::default());
        let mut refused = Vec::new();
        let all = page(&[&records[..], &[(hash(9), long.as_slice())]].concat());
        let put = lanes.put(&kept, ORIGIN, received(0), &all, &mut |record| refused.push(record.entry.hash)).unwrap();
        assert_eq!((put, refused), (5, vec![hash(9)]));
        // Of another minute: the message before is sent.
        for second in [SPAN, SPAN + 1, 3 * SPAN] {
            lanes.put(&kept, ORIGIN, received(second), &page(&[(hash(7), b"{}")]), &mut |_| ()).unwrap();
        }
        lanes.finish(&kept).unwrap();
        kept.settle().unwrap();
        let read = |bytes: &[u8]| message::read(bytes, "t", 0, 0).unwrap();
        let told: Vec<(usize, i64)> = kept
            .stored
            .borrow()
            .iter()
            .map(|sent| read(sent.payload.as_deref().unwrap()))
            .map(|incoming| (incoming.decoded.records.len(), incoming.received.as_second() - received(0).as_second()))
            .collect();
        assert_eq!(told, [(2, 0), (2, 0), (2, 0), (1, SPAN + 1), (1, 3 * SPAN)]);
    }

    #[test]
    fn what_is_forgotten_is_not_sent() {
        let (mut lanes, kept) = (Lanes::new("t".to_owned(), 2), Kept::default());
        lanes.put(&kept, ORIGIN, received(0), &page(&[(hash(7), b"{}")]), &mut |_| ()).unwrap();
        lanes.forget();
        lanes.finish(&kept).unwrap();
        kept.settle().unwrap();
        assert!(kept.stored.borrow().is_empty());
    }
}
