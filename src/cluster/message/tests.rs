//! A lane's message gives back what was put in, and damage is seen.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::record::ContentHash;

fn record(hash: u8, at: &str, id: Option<i64>, line: &[u8]) -> DecodedRecord {
    let at: Timestamp = at.parse().unwrap();
    let hour = Hour::of(at, &jiff::tz::TimeZone::UTC).unwrap();
    DecodedRecord { hour, entry: Entry::new(ContentHash([hash; 16]), at, u32::try_from(line.len()).unwrap()), id }
}

fn received(second: i64) -> Timestamp {
    Timestamp::from_second(1_678_412_400 + second).unwrap()
}

fn two() -> (Vec<u8>, [u8; 16]) {
    let mut outgoing = Outgoing::default();
    outgoing.push(received(2), &record(7, "2023-03-10T01:48:11.818Z", Some(-5), b"{\"a\":1}"), b"{\"a\":1}");
    outgoing.push(received(1), &record(9, "2023-03-10T02:00:00Z", None, b"{}"), b"{}");
    let (key, bytes) = outgoing.finish().unwrap().unwrap();
    assert!(outgoing.finish().unwrap().is_none());
    (bytes, key)
}

#[test]
fn bytes_are_pinned() {
    let (bytes, key) = two();
    assert_eq!(key, [7; 16]);
    let hour = |hour: &str| u32::from_be_bytes(hour.parse::<Hour>().unwrap().to_key()).to_le_bytes();
    let mut behind = received(1).as_nanosecond().to_le_bytes().to_vec();
    behind.extend(2_u64.to_le_bytes());
    behind.extend(hour("2023-03-10T01"));
    behind.extend([7; 16]);
    behind.extend(1_678_412_891_i64.to_le_bytes());
    behind.extend(818_000_000_i32.to_le_bytes());
    behind.extend(7_u32.to_le_bytes());
    behind.push(1);
    behind.extend((-5_i64).to_le_bytes());
    behind.extend(hour("2023-03-10T02"));
    behind.extend([9; 16]);
    behind.extend(1_678_413_600_i64.to_le_bytes());
    behind.extend(0_i32.to_le_bytes());
    behind.extend(2_u32.to_le_bytes());
    behind.push(0);
    behind.extend(b"{\"a\":1}{}");
    let sum = crc32fast::hash(&behind).to_le_bytes();
    assert_eq!(bytes, [&[1][..], &sum, &behind].concat());
}

#[test]
fn any_damage_names_the_message() {
    let (bytes, _) = two();
    let told = |bytes: &[u8]| read(bytes, "logs.lanes-1", 3, 42).unwrap_err();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x11;
        assert!(told(&damaged).chain().starts_with("logs.lanes-1, partition 3, offset 42: "), "byte {at}");
        assert_eq!(told(&bytes[..at]).kind(), ErrorKind::State);
    }
    let newer = [&[2], &bytes[1..]].concat();
    assert!(told(&newer).next_step().unwrap().contains("newer"));
    assert!(told(b"").chain().contains("is damaged"));
}

#[test]
fn message_of_a_usual_lane_is_full_before_brokers_refuse_it() {
    let (mut outgoing, line) = (Outgoing::default(), vec![b'x'; 213]);
    let one = record(1, "2023-03-10T02:00:00Z", Some(1), &line);
    while outgoing.has_room_for(line.len()) {
        outgoing.push(received(0), &one, &line);
    }
    let records = outgoing.records();
    let (_, bytes) = outgoing.finish().unwrap().unwrap();
    assert!(bytes.len() <= MOST && bytes.len() > MOST - 300, "{}", bytes.len());
    assert!(records > 1900);
    // A long line has a message of its own.
    let line = vec![b'x'; LONGEST_LINE];
    assert!(outgoing.has_room_for(line.len()));
    outgoing.push(received(0), &record(1, "2023-03-10T02:00:00Z", None, &line), &line);
    assert!(!outgoing.has_room_for(0));
    assert!(outgoing.finish().unwrap().unwrap().1.len() < 1_000_000 - 1024);
}

proptest! {
    #[test]
    fn records_and_lines_come_back(
        records in proptest::collection::vec((any::<[u8; 16]>(), 0_i64..4_000_000_000, 0..1_000_000_000_i32, any::<Option<i64>>(),
            proptest::collection::vec(any::<u8>(), 0..20)), 1..20),
    ) {
        let mut outgoing = Outgoing::default();
        let mut expected = Vec::new();
        let mut lines = Vec::new();
        for (hash, second, nanos, id, line) in records {
            let at = Timestamp::new(second, nanos).unwrap();
            let hour = Hour::of(at, &jiff::tz::TimeZone::UTC).unwrap();
            let entry = Entry::new(ContentHash(hash), at, u32::try_from(line.len()).unwrap());
            let record = DecodedRecord { hour, entry, id };
            outgoing.push(received(0), &record, &line);
            expected.push(format!("{record:?}"));
            lines.extend(line);
        }
        let (_, bytes) = outgoing.finish().unwrap().unwrap();
        let incoming = read(&bytes, "t", 0, 0).unwrap();
        let came: Vec<String> = incoming.decoded.records.iter().map(|record| format!("{record:?}")).collect();
        prop_assert_eq!(came, expected);
        prop_assert_eq!(&incoming.decoded.lines, &lines);
        prop_assert_eq!(incoming.received, received(0));
    }
}

#[test]
#[ignore = "a measurement: run it in release"]
fn what_a_record_costs() {
    let line = vec![b'x'; 213];
    let one = record(1, "2023-03-10T02:00:00Z", Some(1), &line);
    let (mut outgoing, mut records) = (Outgoing::default(), 0_u32);
    let (mut writing, mut reading) = (0.0, 0.0);
    for _ in 0..500 {
        let started = Instant::now();
        while outgoing.has_room_for(line.len()) {
            outgoing.push(received(0), &one, &line);
            records += 1;
        }
        let (_, bytes) = outgoing.finish().unwrap().unwrap();
        writing += started.elapsed().as_secs_f64();
        let started = Instant::now();
        let incoming = read(&bytes, "t", 0, 0).unwrap();
        reading += started.elapsed().as_secs_f64();
        assert!(!incoming.decoded.records.is_empty());
    }
    println!(
        "writing {:.3} µs, reading {:.3} µs",
        writing * 1e6 / f64::from(records),
        reading * 1e6 / f64::from(records)
    );
}
