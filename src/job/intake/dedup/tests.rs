//! That each record is new once, whether its hash is in memory, on the disk, or read again. Keeps temporary folders only.

use super::*;
use crate::hour::gaps::Seen;
use crate::page::decode::DecodedRecord;
use crate::record::Profile;
use crate::record::row::Codecs;
use crate::state::{Entry, NewCommit, Settings, State};

fn record(n: u32) -> DecodedRecord {
    let hash = ContentHash(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap());
    let hour = Hour::from_key((500_000 + n % 7).to_be_bytes()).unwrap();
    DecodedRecord { hour, entry: Entry::new(hash, Timestamp::UNIX_EPOCH, 1), id: Some(i64::from(n)) }
}

/// Commits what is new of a page, and gives its numbers.
fn commit(buckets: &mut Buckets, state: &mut State, segment: u64, numbers: &[u32]) -> Vec<i64> {
    let records: Vec<DecodedRecord> = numbers.iter().map(|n| record(*n)).collect();
    let mut pages = [Decoded::default()];
    pages[0].lines = vec![b'x'; records.len()];
    pages[0].records = records;
    for record in &pages[0].records {
        buckets.open(&mut state.hours, record.hour).unwrap();
    }
    assert!(buckets.load(&mut state.hours, &pages, &Stop::new()).unwrap());
    let (mut new, received) = (NewRecords::default(), Timestamp::UNIX_EPOCH);
    buckets.partition(&pages[0], received, &mut new).unwrap();
    let (seen, tallies) = (Seen::default(), BTreeMap::new());
    let records = &new.records;
    state.hours.commit(NewCommit { segment, pages: 1, received, records, duplicates: 0, seen, tallies }).unwrap();
    buckets.shrink(&state.hours).unwrap();
    new.ids.iter().filter(|id| id.is_new).map(|id| id.id).collect()
}

#[test]
fn each_record_is_new_once_wherever_its_hash_is() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        timezone: "UTC".into(),
        layout: String::new(),
        format: crate::hour::format::Format::default(),
        columns: BTreeMap::new(),
        destination: String::new(),
        record: Profile::default(),
        codecs: Codecs::default(),
        range: crate::hour::range::HashRange::ALL,
        lane: String::new(),
    };
    let mut state = State::open(dir.path(), &settings).unwrap();
    let (mut buckets, mut known) = (Buckets::holding(60), BTreeSet::new());
    let mut random = fastrand::Rng::with_seed(7);
    let (mut spilled, mut dropped) = (0, 0);
    for segment in 1..400 {
        // Now and then records of a few hours only, so that others are dropped.
        let step = random.choice([1, 7, 7]).unwrap();
        let numbers: Vec<u32> = (0..random.usize(1..60)).map(|_| random.u32(0..300) * step + segment % 7).collect();
        let expected: Vec<i64> = numbers.iter().filter(|n| known.insert(**n)).map(|n| i64::from(*n)).collect();
        let found = commit(&mut buckets, &mut state, segment.into(), &numbers);
        assert_eq!(found, expected, "segment {segment}");
        assert!(buckets.unsealed.len() <= 120);
        spilled += u32::from(buckets.hours.values().any(|known| known.is_spilled));
        dropped += u32::from(buckets.hours.len() < 7);
        if random.u8(..) < 20 {
            buckets.forget(record(random.u32(..)).hour);
        }
    }
    assert!(spilled > 100 && dropped > 20, "{spilled} {dropped}");
}
