use super::*;
use crate::hour::part::PartIdentity;

const H: &str = "2023-03-10T01";

fn at(text: &str) -> Timestamp {
    format!("2023-03-10T{text}Z").parse().unwrap()
}

fn part(part: u32, through: u64, rows: u64) -> PartRow {
    PartRow {
        part,
        stage: PartStage::Sealing,
        key: format!("data/part-{part:05}"),
        identity: PartIdentity { rows, bytes: 1, sha256: "s".into(), content_sha256: "c".into() },
        dict: String::new(),
        through,
        first: at("01:00:00"),
        last: at("01:59:59"),
        frozen_at: at("02:10:00"),
        uploaded_at: None,
        etag: None,
        expired_at: None,
        range: HashRange::ALL,
        spooled_as: None,
    }
}

fn frozen(through: u64, parts: Vec<PartRow>) -> Event {
    let certified = Certified::new(at("02:10:00"), crate::hour::tally::Tally::default(), &[]);
    Event::Frozen { through, hashes: HashesRef { version: through, count: 1 }, parts, certified }
}

fn receipted(part: u32) -> Event {
    Event::Receipted { part, sha256: "s".into(), bytes: 1, etag: None, at: at("02:11:00") }
}

fn row() -> HourRow {
    HourRow::new(H.parse().unwrap())
}

#[test]
fn hour_is_receipted_only_with_its_last_part() {
    let row = row().apply(frozen(7, vec![part(0, 7, 10), part(1, 7, 5)])).unwrap();
    let row = row.apply(receipted(0)).unwrap();
    assert_eq!((row.receipted, row.uploaded_but_unpruned()), (0, 10));
    let row = row.apply(receipted(1)).unwrap();
    assert_eq!((row.receipted, row.uploaded_but_unpruned(), row.is_sealing()), (7, 0, false));
}

#[test]
fn late_records_freeze_as_the_next_part() {
    let row = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap().apply(receipted(0)).unwrap();
    let row = row.apply(frozen(9, vec![part(1, 9, 1)])).unwrap();
    assert!(row.is_sealing());
    assert_eq!(row.parts.len(), 2);
}

#[test]
fn what_the_table_does_not_list_is_refused() {
    let sealing = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap();
    assert!(sealing.clone().apply(frozen(8, vec![part(1, 8, 1)])).is_err(), "second freeze before the receipt");
    assert!(sealing.clone().apply(receipted(1)).is_err(), "receipt of an unknown part");
    assert!(sealing.clone().apply(Event::Forgotten).is_err(), "hashes of a sealing hour forgotten");
    let uploaded = sealing.apply(receipted(0)).unwrap();
    assert!(uploaded.clone().apply(receipted(0)).is_err(), "second receipt");
    assert!(uploaded.clone().apply(frozen(9, vec![part(5, 9, 1)])).is_err(), "part number with a hole");
    assert!(uploaded.clone().apply(frozen(7, vec![part(1, 7, 1)])).is_err(), "the same commits again");
    let forgotten = uploaded.apply(Event::Forgotten).unwrap();
    assert!(forgotten.apply(frozen(9, vec![part(1, 9, 1)])).is_err(), "freeze without the hour's hashes");
}

#[test]
fn import_thaws_what_has_no_receipt() {
    let row = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap();
    let theirs = PartRow { stage: PartStage::Uploaded, through: 0, ..part(0, 0, 3) };
    let hashes = HashesRef { version: 8, count: 3 };
    let row = row.apply(Event::Imported { parts: vec![theirs], hashes, at: at("03:00:00") }).unwrap();
    assert_eq!((row.frozen, row.receipted, row.is_sealing(), row.next_hashes), (0, 0, false, 9));
    assert!(row.apply(frozen(9, vec![part(1, 9, 8)])).is_ok());
}

#[test]
fn thawed_hour_keeps_its_receipts_and_needs_its_hashes_from_the_store() {
    let row = row().apply(frozen(7, vec![part(0, 7, 10)])).unwrap().apply(receipted(0)).unwrap();
    assert!(row.clone().apply(Event::Thawed).is_err(), "nothing to thaw");
    let row = row.apply(frozen(9, vec![part(1, 9, 4), part(2, 9, 4)])).unwrap().apply(receipted(1)).unwrap();
    let row = row.apply(Event::Thawed).unwrap();
    assert_eq!((row.frozen, row.parts.len(), row.is_sealing(), row.is_forgotten()), (7, 2, false, true));
}

fn other(number: u32) -> PartRow {
    PartRow { stage: PartStage::Uploaded, range: HashRange::of_lane(1, 2), ..part(number, 0, 3) }
}

#[test]
fn sealing_parts_move_behind_those_of_other_lanes_with_their_bytes() {
    let row = row().apply(frozen(7, vec![part(0, 7, 10), part(1, 7, 5)])).unwrap();
    let keys = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let moved = |others, names: &[&str]| Event::Renumbered { others, keys: keys(names) };
    let row = row.apply(moved(vec![other(0)], &["k1", "k2"])).unwrap();
    let row = row.apply(receipted(1)).unwrap().apply(moved(vec![other(2), other(3)], &["k4"])).unwrap();
    let of = |p: &PartRow| (p.part, p.stage, p.key.clone(), p.spool_number());
    assert_eq!(of(&row.parts[4]), (4, PartStage::Sealing, "k4".into(), 1), "its bytes lie where they were");
    assert!(row.clone().apply(moved(vec![other(5)], &["k6"])).is_err(), "a hole");
    assert!(row.clone().apply(moved(vec![other(4)], &[])).is_err(), "a part without a key");
    assert!(row.clone().apply(moved(vec![], &["k4"])).is_err(), "nothing is in the way");
    let row = row.apply(receipted(4)).unwrap();
    assert_eq!((row.receipted, row.is_sealing(), row.parts.len()), (7, false, 5));
    assert!(row.clone().apply(moved(vec![other(5)], &[])).is_err(), "nothing waits");
    assert!(row.apply(frozen(9, vec![part(5, 9, 1)])).is_ok());
}

#[test]
fn parts_of_other_lanes_are_met_before_the_first_of_ours() {
    let empty = HashesRef { version: 1, count: 0 };
    assert!(row().apply(Event::Met { others: vec![other(0)], hashes: None }).is_err(), "no array");
    let row = row().apply(Event::Met { others: vec![other(0)], hashes: Some(empty) }).unwrap();
    assert!(!row.is_forgotten() && row.receipted == 0);
    let row = row.apply(Event::Met { others: vec![other(1)], hashes: None }).unwrap();
    let row = row.apply(frozen(7, vec![part(2, 7, 1)])).unwrap();
    assert!(row.apply(Event::Met { others: vec![other(3)], hashes: None }).is_err(), "while parts wait");
}

fn uploaded() -> HourRow {
    let row = row().apply(frozen(7, vec![part(0, 7, 10), part(1, 7, 5)])).unwrap();
    row.apply(receipted(0)).unwrap().apply(receipted(1)).unwrap()
}

fn repaired(part: u32) -> Event {
    Event::Repaired { part, sha256: "t".into(), bytes: 2, etag: Some("e".into()) }
}

fn expired(parts: &[u32]) -> Event {
    Event::Expired { parts: parts.to_vec(), at: at("09:00:00") }
}

#[test]
fn part_that_is_put_back_has_its_new_bytes_and_all_else_stays() {
    let before = uploaded();
    let row = before.clone().apply(repaired(1)).unwrap();
    assert_eq!((row.parts[1].identity.sha256.as_str(), row.parts[1].identity.bytes), ("t", 2));
    assert_eq!((row.last_receipt, row.hashes, row.receipted), (before.last_receipt, before.hashes, 7));
    assert!(before.clone().apply(repaired(2)).is_err(), "a part that there never was");
    let sealing = before.clone().apply(frozen(9, vec![part(2, 9, 1)])).unwrap();
    assert!(sealing.clone().apply(repaired(0)).unwrap().is_sealing());
    assert!(sealing.apply(repaired(2)).is_err(), "a part without a receipt");
    let forgotten = before.apply(Event::Forgotten).unwrap();
    assert!(forgotten.apply(repaired(0)).unwrap().is_forgotten());
}

#[test]
fn hour_with_an_expired_part_forgets_what_it_held_and_is_numbered_on() {
    let row = uploaded().apply(expired(&[0])).unwrap();
    assert_eq!((row.is_forgotten(), row.uploaded().count(), row.expired().count()), (true, 1, 1));
    assert!(row.clone().apply(expired(&[0])).is_err(), "twice");
    assert!(row.clone().apply(repaired(0)).is_err(), "put back after it was given up");
    assert!(row.clone().apply(frozen(9, vec![part(2, 9, 1)])).is_err(), "before the others were read back");
    let hashes = HashesRef { version: 8, count: 5 };
    let imported = Event::Imported { parts: row.parts.clone(), hashes, at: at("10:00:00") };
    let row = row.apply(imported).unwrap().apply(frozen(9, vec![part(2, 9, 1), part(3, 9, 1)])).unwrap();
    assert!(row.clone().apply(expired(&[1])).is_err(), "while parts are in the making");
    let thawed = row.apply(Event::Thawed).unwrap();
    let stages: Vec<PartStage> = thawed.parts.iter().map(|part| part.stage).collect();
    assert_eq!(stages, [PartStage::Expired, PartStage::Uploaded]);
    assert!(uploaded().apply(expired(&[])).is_err() && uploaded().apply(expired(&[2])).is_err());
}
