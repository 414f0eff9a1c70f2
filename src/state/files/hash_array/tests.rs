//! That arrays of any size are written, looked up and checked. Keeps temporary folders only.

use super::*;
use crate::hour::Hour;
use crate::state::HashDir;
use std::fs;

fn hash(n: u64) -> ContentHash {
    let digest = blake3::hash(&n.to_le_bytes());
    ContentHash(*digest.as_bytes().first_chunk().unwrap())
}

fn sorted(range: std::ops::Range<u64>) -> Vec<ContentHash> {
    let mut hashes: Vec<_> = range.map(hash).collect();
    hashes.sort_unstable();
    hashes
}

fn hour() -> Hour {
    "2023-03-10T01".parse().unwrap()
}

#[test]
fn what_was_written_is_there_and_nothing_else_at_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashDir::open(dir.path()).unwrap();
    for count in [0, 1, 254, 255, 256, 2_000, 50_000] {
        let named = hashes.write(hour(), count, None, &sorted(0..count)).unwrap();
        let array = hashes.array(hour(), named).unwrap();
        for n in (0..count).step_by(1 + usize::try_from(count / 500).unwrap()) {
            assert!(array.contains(hash(n)).unwrap(), "{n} of {count}");
        }
        for n in count..count + 200 {
            assert!(!array.contains(hash(n)).unwrap(), "{n} is not among {count}");
        }
        assert!(!array.contains(ContentHash([0; 16])).unwrap());
        assert!(!array.contains(ContentHash([0xff; 16])).unwrap());
    }
}

#[test]
fn what_is_looked_for_together_is_found_as_one_by_one_at_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashDir::open(dir.path()).unwrap();
    for count in [0, 1, 255, 256, 2_000, 50_000] {
        let named = hashes.write(hour(), count, None, &sorted(0..count)).unwrap();
        let mut array = hashes.array(hour(), named).unwrap();
        for step in [1, 7, 1_000] {
            let wanted: Vec<_> = sorted(0..count + 300).into_iter().step_by(step).collect();
            let wanted = [vec![ContentHash([0; 16])], wanted, vec![ContentHash([0xff; 16])]].concat();
            let mut found = Vec::new();
            array.find(&wanted, &mut |hash| found.push(hash)).unwrap();
            let expected: Vec<_> = wanted.into_iter().filter(|hash| array.contains(*hash).unwrap()).collect();
            assert_eq!(found, expected, "{count}, each {step}th");
        }
    }
}

#[test]
fn block_that_changes_after_it_was_checked_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashDir::open(dir.path()).unwrap();
    let named = hashes.write(hour(), 1, None, &sorted(0..50_000)).unwrap();
    let mut array = hashes.array(hour(), named).unwrap();
    let wanted = sorted(0..50_000);
    array.find(&wanted, &mut |_| ()).unwrap();
    let path = hashes.path(hour(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20 * BLOCK + 5] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(array.find(&wanted, &mut |_| ()).unwrap_err().kind(), ErrorKind::State);
}

#[test]
fn next_version_holds_the_old_and_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashDir::open(dir.path()).unwrap();
    let first = hashes.write(hour(), 1, None, &sorted(0..300)).unwrap();
    let old = hashes.array(hour(), first).unwrap();
    let named = hashes.write(hour(), 2, Some(&old), &sorted(300..1000)).unwrap();
    let mut all = Vec::new();
    hashes
        .array(hour(), named)
        .unwrap()
        .for_each(&mut |h| {
            all.push(h);
            Ok(())
        })
        .unwrap();
    assert_eq!(all, sorted(0..1000));
}

#[test]
fn damage_is_an_error_and_never_absence() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashDir::open(dir.path()).unwrap();
    let named = hashes.write(hour(), 1, None, &sorted(0..300)).unwrap();
    let path = hashes.path(hour(), 1);
    let good = fs::read(&path).unwrap();
    for at in [0, 4080, 4095, 4096, 8191] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(hashes.array(hour(), named).is_err(), "byte {at}");
    }
    fs::write(&path, &good[..4096]).unwrap();
    assert!(hashes.array(hour(), named).is_err(), "cut");
    fs::remove_file(&path).unwrap();
    assert!(hashes.array(hour(), named).is_err(), "missing");
}

#[test]
fn older_copy_under_the_newer_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let hashes = HashDir::open(dir.path()).unwrap();
    hashes.write(hour(), 1, None, &sorted(0..10)).unwrap();
    let newer = hashes.write(hour(), 2, None, &sorted(5..15)).unwrap();
    fs::copy(hashes.path(hour(), 1), hashes.path(hour(), 2)).unwrap();
    assert!(hashes.array(hour(), newer).is_err());
}
