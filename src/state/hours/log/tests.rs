//! That commits of many hours come back after an open, without what has a receipt. Keeps temporary folders only.

use super::*;
use crate::record::ContentHash;
use crate::stop::Stop;

fn hour(n: u32) -> Hour {
    Hour::from_key((500_000 + n).to_be_bytes()).unwrap()
}

fn entry(n: u32) -> Entry {
    let hash = *blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap();
    Entry::new(ContentHash(hash), Timestamp::UNIX_EPOCH, 4)
}

fn open(dir: &Path) -> (Wal, Vec<String>) {
    let mut repairs = Vec::new();
    (Wal::open(dir, (0, 0), &mut repairs).unwrap(), repairs)
}

/// Commits a record of each of these hours; its line is its number.
fn commit(wal: &mut Wal, segment: u64, hours: std::ops::Range<u32>) {
    let lines: Vec<[u8; 4]> = hours.clone().map(u32::to_le_bytes).collect();
    let new = |(n, line): (u32, &'_ [u8; 4])| (hour(n), n, *line);
    let all: Vec<(Hour, u32, [u8; 4])> = hours.zip(&lines).map(new).collect();
    let records: BTreeMap<Hour, HourRecords<'_>> =
        all.iter().map(|(of, n, line)| (*of, HourRecords { entries: vec![entry(*n)], lines: vec![line] })).collect();
    let tallies = all.iter().map(|(of, _, _)| (*of, Tally { duplicates: segment, ..Tally::default() })).collect();
    let (received, seen) = (Timestamp::UNIX_EPOCH, Seen::default());
    wal.commit(NewCommit { segment, pages: 1, received, records: &records, duplicates: 1, seen, tallies }).unwrap();
}

fn found(wal: &Wal, hours: std::ops::Range<u32>) -> Vec<u32> {
    let wanted: Vec<(Hour, u64)> = hours.map(|n| (hour(n), 0)).collect();
    let (mut found, mut reader) = (Vec::new(), wal.lines());
    wal.entries(&wanted, &Stop::new(), &mut |_, at, entry| {
        let mut line = [0; 4];
        reader.read(at, &mut line)?;
        let n = u32::from_le_bytes(line);
        assert_eq!(entry.hash, super::tests::entry(n).hash);
        found.push(n);
        Ok(())
    })
    .unwrap();
    found.sort_unstable();
    found
}

#[test]
fn commit_of_many_hours_comes_back_and_what_has_a_receipt_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = open(dir.path());
    commit(&mut wal, 1, 0..600);
    commit(&mut wal, 2, 300..700);
    (0..650).for_each(|n| wal.receipt(hour(n), 1));
    assert!(wal.is_behind() && wal.is_finished(1) && !wal.is_finished(2));
    assert_eq!((wal.pending_hour_count(), wal.pending_records()), (400, 400));
    wal.prune().unwrap();
    assert!(!wal.is_behind());
    drop(wal);
    let (wal, repairs) = open(dir.path());
    assert!(repairs.is_empty() && wal.is_finished(1));
    assert_eq!(found(&wal, 0..700), (300..700).collect::<Vec<_>>());
    assert_eq!(wal.tally(hour(10)).unwrap().duplicates, 1);
    assert_eq!(wal.tally(hour(310)).unwrap().duplicates, 2, "the later of two counts");
}

#[test]
fn what_is_pending_moves_to_the_generation_that_replaces_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = open(dir.path());
    commit(&mut wal, 1, 0..600);
    commit(&mut wal, 2, 300..700);
    (0..500).for_each(|n| wal.receipt(hour(n), 2));
    wal.replace_all().unwrap();
    let mut expected: Vec<u32> = (500..600).chain(500..700).collect();
    expected.sort_unstable();
    assert_eq!(found(&wal, 0..700), expected);
    drop(wal);
    let (wal, _) = open(dir.path());
    assert_eq!((wal.pending_records(), wal.pending_hour_count(), wal.duplicates()), (300, 200, 2));
    assert_eq!(wal.tally(hour(310)).unwrap().duplicates, 2);
}

#[test]
fn generation_of_the_form_before_is_set_aside_and_what_it_knows_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let generation = Generation::open(&dir.path().join("wal/000001"), 1).unwrap();
    let mut batch = Batch::default();
    batch.put_meta(&Meta { duplicates: 7, newest_commit: 5, newest_segment: 9, replaces: Vec::new() }).unwrap();
    generation.write(batch).unwrap();
    generation.close();
    // Its lines had another name.
    std::fs::remove_file(dir.path().join("wal/000001/records")).unwrap();
    let (wal, repairs) = open(dir.path());
    assert!(repairs.len() == 1 && repairs[0].contains("older form"), "{repairs:?}");
    assert_eq!((wal.duplicates(), wal.newest_segment(), wal.pending_records()), (7, 9, 0));
    assert!(dir.path().join("wal/000001.corrupt").is_dir());
    drop(wal);
    // A crash here, or before it was set aside: what it knew is in the next.
    for _ in 0..2 {
        let (wal, _) = open(dir.path());
        assert_eq!((wal.duplicates(), wal.newest_segment()), (7, 9));
        drop(wal);
        let _ = std::fs::rename(dir.path().join("wal/000001.corrupt"), dir.path().join("wal/000001"));
    }
}
