//! That an hour whose order is on the disk gives the parts of one whose order is in memory. Keeps temporary folders only.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::codec::Codec;
use super::cut::CutRules;
use super::order::{AT_ONCE, order_holding};
use super::seal::{EncodedPart, Encoder};
use crate::hour::Hour;
use crate::hour::format::{Compression, Format};
use crate::hour::gaps::Seen;
use crate::record::row::Codecs;
use crate::record::{ContentHash, Profile};
use crate::state::files::sorted_runs::Sorted;
use crate::state::{Entry, HourRecords, NewCommit, Settings, State};
use crate::stop::Stop;

const RECORDS: u32 = 9_000;
const RULES: CutRules = CutRules { part_max_records: 0, part_bytes: 150_000 };

fn hash(n: u32) -> ContentHash {
    ContentHash(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap())
}

fn hour() -> Hour {
    "2023-03-10T01".parse().unwrap()
}

/// Commits records in no order, some of them at the same time.
fn commit(state: &mut State, segment: u64, numbers: std::ops::Range<u32>) {
    let lines: Vec<String> =
        numbers.clone().map(|n| format!("{{\"n\":{n},\"x\":\"{}\"}}", "y".repeat(n as usize % 90))).collect();
    let at = |n: u32| Timestamp::from_second(1_678_410_000 + i64::from(n * 7_919 % 1_000)).unwrap();
    let entry = |(n, line): (u32, &String)| Entry::new(hash(n), at(n), u32::try_from(line.len()).unwrap());
    let entries = numbers.zip(&lines).map(entry).collect();
    let new = HourRecords { entries, lines: lines.iter().map(String::as_bytes).collect() };
    let (records, tallies) = (BTreeMap::from([(hour(), new)]), BTreeMap::new());
    let (received, seen) = (Timestamp::UNIX_EPOCH, Seen::default());
    let new = NewCommit { segment, pages: 1, received, records: &records, duplicates: 0, seen, tallies };
    state.hours.commit(new).unwrap();
}

fn settings() -> Settings {
    Settings {
        timezone: "UTC".into(),
        layout: String::new(),
        destination: String::new(),
        record: Profile::default(),
        codecs: Codecs::default(),
        range: crate::hour::range::HashRange::ALL,
        lane: String::new(),
        format: Format::default(),
        columns: BTreeMap::new(),
    }
}

/// The parts, their bytes, and the hashes, with so many records in order in memory.
fn encoded(
    state: &mut State,
    known: &Sorted<ContentHash>,
    most: usize,
) -> (Vec<EncodedPart>, Vec<Vec<u8>>, Vec<ContentHash>) {
    let mut row = state.hours.row(hour()).unwrap();
    if known.len() > 0 {
        row.hashes = Some(state.hours.write_array(&row, known).unwrap());
    }
    let (rows, stop) = ([row], Stop::new());
    let ordered = order_holding(&state.hours, &rows, most, &stop).unwrap().unwrap();
    assert_eq!(ordered[0].records.held().is_some(), most >= AT_ONCE);
    let encoded = Encoder::new(&state.hours, RULES, Codec::lines(Compression::Gzip), &stop)
        .encode(&rows[0], &ordered[0], None)
        .unwrap()
        .unwrap();
    let bytes = |part: &EncodedPart| std::fs::read(state.hours.spool_path(hour(), part.part)).unwrap();
    let bytes = encoded.parts.iter().map(bytes).collect();
    (encoded.parts, bytes, encoded.hashes.iter().map(Result::unwrap).collect())
}

#[test]
fn order_on_the_disk_gives_the_parts_of_the_order_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = State::open(dir.path(), &settings()).unwrap();
    commit(&mut state, 1, 0..RECORDS / 2);
    commit(&mut state, 2, RECORDS / 2..RECORDS);
    let mut known = state.hours.sorter(AT_ONCE);
    for known_count in [0, 1_500] {
        // Records that an import brought are in no further part.
        (0..known_count).for_each(|n| known.push(hash(n * 3)).unwrap());
        let known = std::mem::replace(&mut known, state.hours.sorter(AT_ONCE)).finish(|_| Ok(())).unwrap();
        let expected = encoded(&mut state, &known, AT_ONCE);
        assert!(expected.0.len() > 2 && expected.2.len() == (RECORDS - known_count) as usize);
        assert!(expected.2.is_sorted() && expected.0.windows(2).all(|parts| parts[0].last <= parts[1].first));
        for most in [1, 700, 2_000] {
            assert_eq!(encoded(&mut state, &known, most), expected, "{most} in memory");
        }
    }
}
