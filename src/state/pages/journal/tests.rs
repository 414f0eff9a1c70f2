//! Tests of the journal: what is appended comes back, damage is noticed, and no number is used twice.

use std::fs;

use super::segment::tests::in_earlier_form;
use super::*;
use crate::source::PageSink;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn append(journal: &Journal, bodies: &[&str]) -> SegmentId {
    let mut writer = journal.begin(Vec::new());
    for body in bodies {
        writer.write(body.as_bytes()).unwrap();
        writer.end_page();
    }
    journal.append(writer, at("2023-03-10T01:02:03.000000004Z")).unwrap().id
}

#[test]
fn pages_come_back_as_they_were_received() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let id = append(&journal, &["[1]", "", "[2,3]"]);
    assert_eq!(journal.list().unwrap(), [id]);
    let segment = journal.read(id).unwrap();
    assert_eq!(segment.received, at("2023-03-10T01:02:03.000000004Z"));
    assert_eq!(segment.pages().collect::<Vec<_>>(), [&b"[1]"[..], b"", b"[2,3]"]);
}

#[test]
fn layout_of_a_segment_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    journal.number_above(41).unwrap();
    let id = append(&journal, &["[]"]);
    assert_eq!(id.file_name(), "0000000000000042-1.page");
    let bytes = fs::read(journal.path(id)).unwrap();
    assert_eq!(&bytes[..16], b"etlpage2\x16\0\0\0\0\0\0\0");
    assert_eq!(&bytes[16..20], crc32fast::hash(&bytes[20..]).to_le_bytes());
    assert_eq!(&bytes[20..22], b"[]");
    assert_eq!(bytes.len(), 22 + 16 + 8 + 8);
}

#[test]
fn segment_of_the_earlier_form_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let id = append(&journal, &["[1]", "", "[2,3]"]);
    let before = in_earlier_form(&fs::read(journal.path(id)).unwrap());
    fs::write(journal.path(id), &before).unwrap();
    let segment = journal.read(id).unwrap();
    assert_eq!(segment.pages().collect::<Vec<_>>(), [&b"[1]"[..], b"", b"[2,3]"]);
}

#[test]
fn page_that_is_dropped_leaves_nothing_in_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let mut writer = journal.begin(Vec::new());
    for (body, good) in [("[1]", true), ("<html>", false), ("[2]", true)] {
        let mut page = writer.page();
        page.write(body.as_bytes()).unwrap();
        if good { page.end() } else { drop(page) }
    }
    let given = journal.append(writer, at("2023-03-10T01:02:03Z")).unwrap();
    for segment in [journal.read(given.id).unwrap(), given] {
        assert_eq!(segment.pages().collect::<Vec<_>>(), [&b"[1]"[..], b"[2]"]);
    }
}

#[test]
fn any_changed_byte_and_any_cut_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let id = append(&journal, &["[\"a\"]", "[]"]);
    let good = fs::read(journal.path(id)).unwrap();
    for good in [in_earlier_form(&good), good] {
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            assert!(Segment::parse(id, bad).is_none(), "byte {i}");
            assert!(Segment::parse(id, good[..i].to_vec()).is_none(), "cut at {i}");
        }
        assert!(Segment::parse(id, [&good[..], b"x"].concat()).is_none());
    }
}

#[test]
fn number_is_not_used_again_after_removal_or_rejection() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    let first = append(&journal, &["{}"]);
    journal.reject(first).unwrap();
    let (second, third) = (append(&journal, &["[]"]), append(&journal, &["[]"]));
    journal.remove(&[second, third], third.number).unwrap();
    let again = Journal::open(dir.path()).unwrap();
    assert!(again.knows_its_numbers() && again.list().unwrap().is_empty());
    let (fourth, fifth) = (append(&again, &["[]"]), append(&again, &["[]"]));
    assert!(fourth.number > third.number);
    again.remove(&[fifth], fifth.number).unwrap();
    again.remove(&[fourth], fourth.number).unwrap();
    let floors: Vec<String> = durable::names(&dir.path().join("journal")).unwrap();
    assert_eq!(floors, [format!("{:016}.floor", fifth.number)], "one floor, and empty");
    assert_eq!(fs::metadata(dir.path().join("journal").join(&floors[0])).unwrap().len(), 0);
}

#[test]
fn pages_of_the_inbox_are_taken_over_in_their_order_and_numbered_on() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    journal.number_above(7).unwrap();
    journal.adopt().unwrap();
    durable::make_dir(&dir.path().join("inbox")).unwrap();
    let inbox = Journal::inbox(dir.path()).unwrap();
    append(&inbox, &["[1]"]);
    append(&Journal::inbox(dir.path()).unwrap(), &["[2]"]);
    assert_eq!(journal.list().unwrap(), []);
    journal.adopt().unwrap();
    let bodies: Vec<Vec<u8>> = journal
        .list()
        .unwrap()
        .into_iter()
        .map(|id| journal.read(id).unwrap().pages().next().unwrap().to_vec())
        .collect();
    assert_eq!(bodies, [b"[1]", b"[2]"]);
    assert_eq!(journal.list().unwrap().iter().map(|id| id.number).collect::<Vec<_>>(), [8, 9]);
    assert_eq!(journal.in_inbox().unwrap(), []);
}

#[test]
fn journal_that_did_not_know_its_numbers_learns_them_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    assert!(!journal.knows_its_numbers());
    journal.number_above(0).unwrap();
    journal.number_above(7).unwrap();
    journal.number_above(3).unwrap();
    drop(journal);
    assert_eq!(append(&Journal::open(dir.path()).unwrap(), &["[]"]).number, 8);
}
