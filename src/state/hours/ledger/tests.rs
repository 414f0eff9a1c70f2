//! That rows move to their days and are found there, damage is refused, and old rows are read. Keeps temporary folders only.

use super::*;
use crate::hour::lifecycle::HashesRef;
use crate::hour::part::{PartIdentity, PartRow, PartStage};
use crate::hour::range::HashRange;
use crate::hour::tally::{Certified, Tally};
use crate::record::Profile;
use crate::record::row::Codecs;

fn settings() -> Settings {
    Settings {
        timezone: "UTC".into(),
        layout: "l".into(),
        format: crate::hour::format::Format::default(),
        columns: BTreeMap::new(),
        destination: "file:lake".into(),
        record: Profile::default(),
        codecs: Codecs::of_dictionaries(BTreeMap::from([("/a".into(), 1)]), BTreeMap::new()).unwrap(),
        range: crate::hour::range::HashRange::ALL,
        lane: String::new(),
    }
}

fn hour(n: usize) -> Hour {
    format!("2023-03-{:02}T{:02}", 1 + n / 24, n % 24).parse().unwrap()
}

fn freeze_and_receipt(ledger: &mut Ledger, hour: Hour, through: u64) {
    let at = "2023-04-01T00:00:00Z".parse().unwrap();
    let n = ledger.row(hour).unwrap().parts.len();
    let part = PartRow {
        part: u32::try_from(n).unwrap(),
        stage: PartStage::Sealing,
        key: "k".into(),
        identity: PartIdentity { rows: 5, bytes: 1, sha256: String::new(), content_sha256: String::new() },
        dict: String::new(),
        through,
        first: at,
        last: at,
        frozen_at: at,
        uploaded_at: None,
        etag: None,
        expired_at: None,
        range: HashRange::ALL,
        spooled_as: None,
    };
    let number = part.part;
    let certified = Certified::new(at, Tally::default(), &[]);
    let hashes = HashesRef { version: through, count: 5 };
    let frozen = Event::Frozen { through, hashes, parts: vec![part], certified };
    ledger.apply(Step::HoursFrozen, 3, vec![(hour, frozen)]).unwrap();
    let receipt = Event::Receipted { part: number, sha256: String::new(), bytes: 1, etag: None, at };
    ledger.apply(Step::PartsReceipted, 4, vec![(hour, receipt)]).unwrap();
}

#[test]
fn old_hours_move_to_their_days_and_are_found_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::create(dir.path(), settings()).unwrap();
    for n in 0..100 {
        freeze_and_receipt(&mut ledger, hour(n), 1);
    }
    ledger.archive(|h| h == hour(0), &mut |_| ()).unwrap();
    let mut ledger = Ledger::open(dir.path()).unwrap().unwrap();
    assert_eq!(ledger.recent().count(), SHOWN + 1, "the newest, and the busy one");
    assert_eq!(ledger.row(hour(3)).unwrap().parts.len(), 1);
    assert_eq!((ledger.uploaded_records(), ledger.uploaded_parts()), (500, 100));
    freeze_and_receipt(&mut ledger, hour(3), 2);
    let mut seen = Vec::new();
    ledger
        .for_each(&mut |row| {
            seen.push((row.hour, row.parts.len()));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen.len(), 100);
    assert!(seen.is_sorted());
    assert_eq!(seen[3], (hour(3), 2), "the head's row counts");
}

#[test]
fn row_of_an_older_etl_is_read_and_the_certificate_s_text_is_pinned() {
    let old = r#"{"hour":"2023-03-10T01","frozen":7,"receipted":7,"hashes":null,"next_hashes":2,"last_receipt":null,"parts":[]}"#;
    let row: HourRow = serde_json::from_str(old).unwrap();
    assert_eq!(serde_json::to_string(&row).unwrap(), old, "what is not there is not written either");
    let tally = Tally { duplicates: 3, quarantined: 1, ids: Some((5, 9)) };
    let closed_at = "2023-03-10T02:10:00Z".parse().unwrap();
    let certified = Certified::new(closed_at, tally, &[crate::hour::gaps::Gap { from: 7, to: 8 }]);
    let text = serde_json::to_string(&HourRow { certified: Some(certified), ..row }).unwrap();
    let certificate = r#""last_receipt":null,"certified":{"closed_at":"2023-03-10T02:10:00Z","duplicates":3,"quarantined":1,"ids":[5,9],"missing":2,"holes":[{"from":7,"to":8}]},"#;
    assert_eq!(text, old.replace(r#""last_receipt":null,"#, certificate));
    assert!(serde_json::from_str::<HourRow>(&text).unwrap().certified.is_some());
}

#[test]
fn damage_is_refused_and_absence_is_not_damage() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Ledger::open(dir.path()).unwrap().is_none());
    Ledger::create(dir.path(), settings()).unwrap();
    let path = dir.path().join("ledger/head");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(Ledger::open(dir.path()).unwrap_err().kind(), ErrorKind::State);
}

#[test]
fn dictionaries_may_gain_entries_and_nothing_else_may_change() {
    let old = settings();
    let with = |url: &[(&str, i64)]| {
        let url = url.iter().map(|(text, code)| ((*text).to_owned(), *code)).collect();
        Settings { codecs: Codecs::of_dictionaries(url, BTreeMap::new()).unwrap(), ..settings() }
    };
    let more = with(&[("/a", 1), ("/b", 2)]);
    assert!(old.allow(&more).is_ok());
    assert!(more.allow(&old).is_err(), "lost an entry");
    for change in [
        Settings { timezone: "Asia/Seoul".into(), ..settings() },
        Settings { destination: "s3://b/".into(), ..settings() },
        with(&[("/a", 2)]),
        Settings { codecs: Codecs::new(BTreeMap::new()).unwrap(), ..settings() },
        Settings { record: serde_json::from_str(r#"{"time":"/at","time_format":"auto"}"#).unwrap(), ..settings() },
    ] {
        assert_eq!(old.allow(&change).unwrap_err().kind(), ErrorKind::Config);
    }
}
