//! Tests of the quarantine: a token is in it once, leaves when it is released, and is never lost to damage of a view.

use super::*;

fn odd(identity: &str, due: Option<i64>) -> OddToken {
    OddToken {
        identity: identity.into(),
        reason: "wrong-key".into(),
        detail: "no key opens it".into(),
        token: "gAAAA".into(),
        encoding: None,
        received: "2023-03-10T01:00:00Z".parse().unwrap(),
        due: due.map(|s| Timestamp::from_second(s).unwrap()),
    }
}

/// An odd token that is told by a number.
fn number(n: u64) -> OddToken {
    odd(&Identity::of(&n.to_le_bytes()).to_string(), None)
}

fn identities(quarantine: &mut Quarantine, segment: u64) -> Vec<String> {
    let tokens = quarantine.tokens(segment).unwrap();
    tokens.into_iter().flatten().map(|token| token.unwrap().identity).collect()
}

/// Names in the quarantine that are no file of tokens.
fn others(dir: &Path) -> Vec<String> {
    let mut names = durable::names(&dir.join("quarantine")).unwrap();
    names.retain(|name| Batch::parse(name).is_none() && name != "reasons");
    names
}

#[test]
fn only_a_new_identity_is_news() {
    let dir = tempfile::tempdir().unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    let added = quarantine.add(1, [odd("a", None), odd("b", None), odd("a", None)]).unwrap();
    assert_eq!(added.reasons, BTreeMap::from([("wrong-key".to_owned(), 2)]));
    assert_eq!(quarantine.add(2, [odd("b", None)]).unwrap().count(), 0);
    let mut again = Quarantine::open(dir.path()).unwrap();
    assert_eq!(again.count(), 2);
    assert_eq!(again.add(3, [odd("a", None), odd("c", None)]).unwrap().count(), 1);
    assert_eq!(identities(&mut again, 3), ["c"]);
}

#[test]
fn replay_of_the_same_segment_is_the_same_news() {
    let dir = tempfile::tempdir().unwrap();
    Quarantine::open(dir.path()).unwrap().add(1, [odd("a", None)]).unwrap();
    let mut again = Quarantine::open(dir.path()).unwrap();
    assert_eq!(again.add(1, [odd("a", None)]).unwrap().count(), 1);
    assert_eq!(again.count(), 1);
    // Another token under the same name: the array of the one before tells nothing of it.
    let array = identity::array_path(&again.path(1, again.batches[&1]));
    let stale = std::fs::read(&array).unwrap();
    assert_eq!(again.add(1, [odd("b", None)]).unwrap().count(), 1);
    std::fs::write(&array, stale).unwrap();
    let mut again = Quarantine::open(dir.path()).unwrap();
    assert_eq!(again.add(2, [odd("a", None), odd("b", None)]).unwrap().count(), 1);
}

#[test]
fn tokens_come_due_and_leave() {
    let dir = tempfile::tempdir().unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    quarantine.add(7, [odd("a", Some(200)), odd("b", None), odd("c", Some(100))]).unwrap();
    assert!(quarantine.segments(Some(Timestamp::from_second(99).unwrap())).is_empty());
    assert_eq!(quarantine.segments(Some(Timestamp::from_second(100).unwrap())), [7]);
    assert_eq!(quarantine.release(7, &mut |token| token.identity != "c", &|| false).unwrap(), 1);
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    assert_eq!((quarantine.count(), identities(&mut quarantine, 7).len()), (2, 2));
    assert_eq!(quarantine.release(7, &mut |_| false, &|| false).unwrap(), 2);
    assert_eq!(Quarantine::open(dir.path()).unwrap().count(), 0);
    assert_eq!(others(dir.path()), [""; 0]);
}

#[test]
fn crash_between_new_and_old_file_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    quarantine.add(7, [odd("a", None), odd("b", None)]).unwrap();
    let old = quarantine.path(7, quarantine.batches[&7]);
    let bytes = std::fs::read(&old).unwrap();
    quarantine.release(7, &mut |token| token.identity == "b", &|| false).unwrap();
    std::fs::write(&old, bytes).unwrap();
    assert_eq!(Quarantine::open(dir.path()).unwrap().count(), 1);
}

#[test]
fn identities_that_are_missing_or_damaged_are_made_again_from_the_tokens() {
    let dir = tempfile::tempdir().unwrap();
    // More than an array holds in memory, so that a block is met late.
    Quarantine::open(dir.path()).unwrap().add(1, (0..20_000).map(number)).unwrap();
    let array = dir.path().join("quarantine").join("0000000000000001.20000.-.ids");
    let good = std::fs::read(&array).unwrap();
    let damages: [&dyn Fn(); 4] = [
        &|| std::fs::remove_file(&array).unwrap(),
        &|| std::fs::write(&array, "").unwrap(),
        &|| std::fs::write(&array, good.get(4096..).unwrap()).unwrap(),
        &|| std::fs::write(&array, good.iter().map(|byte| !byte).collect::<Vec<u8>>()).unwrap(),
    ];
    for damage in damages {
        damage();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        assert_eq!(quarantine.add(2, [number(7), number(19_999)]).unwrap().count(), 0);
        assert_eq!(std::fs::read(&array).unwrap(), good);
    }
}

#[test]
fn array_without_its_file_goes_and_damaged_tokens_are_set_aside_with_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    quarantine.add(1, [odd("a", None)]).unwrap();
    let stray = dir.path().join("quarantine").join("0000000000000009.4.-.ids");
    std::fs::write(&stray, "x").unwrap();
    let file = quarantine.path(1, quarantine.batches[&1]);
    std::fs::write(&file, "damaged").unwrap();
    std::fs::remove_file(identity::array_path(&file)).unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    assert!(!stray.exists());
    assert_eq!(quarantine.add(2, [odd("a", None)]).unwrap().count(), 1);
    assert_eq!(quarantine.take_damaged().len(), 1);
    assert_eq!((quarantine.count(), quarantine.segments(None)), (1, vec![2]));
}

#[test]
fn file_of_the_form_before_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("quarantine")).unwrap();
    let line = r#"{"identity":"0af1","reason":"no-token","detail":"d","token":"5","received":"2023-03-10T01:00:00Z"}"#;
    let text = crate::state::files::checked::with_checksum(format!("{line}\n").as_bytes());
    std::fs::write(dir.path().join("quarantine/0000000000000003.1.-"), text).unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    let [token] = &quarantine.tokens(3).unwrap().unwrap().map(Result::unwrap).collect::<Vec<_>>()[..] else {
        panic!("one token")
    };
    assert_eq!((token.token.as_str(), token.encoding), ("5", None));
    assert_eq!(quarantine.add(4, [odd("0af1", None)]).unwrap().count(), 0);
}

#[test]
fn tokens_that_would_not_fit_are_refused_all_and_known_ones_need_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    quarantine.add(1, (0..3).map(number)).unwrap();
    quarantine.cap(quarantine.bytes() + 300);
    let refused = quarantine.add(2, (0..9).map(number)).unwrap();
    assert_eq!(refused, Added { is_full: true, ..Added::default() });
    assert_eq!(quarantine.count(), 3);
    assert_eq!(quarantine.add(2, (0..3).map(number)).unwrap(), Added::default());
    assert_eq!(quarantine.add(1, (0..3).map(number)).unwrap().count(), 3, "its own file is replaced");
    quarantine.cap(0);
    assert_eq!(quarantine.add(2, (0..9).map(number)).unwrap().count(), 6);
}

#[test]
fn bytes_are_those_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut quarantine = Quarantine::open(dir.path()).unwrap();
    quarantine.add(1, (0..1000).map(number)).unwrap();
    quarantine.add(2, [odd("x", Some(5))]).unwrap();
    quarantine.release(1, &mut |token| token.identity() > number(7).identity(), &|| false).unwrap();
    let files = [1, 2].map(|segment| quarantine.path(segment, quarantine.batches[&segment]));
    let sum: u64 = files.iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert_eq!(quarantine.bytes(), sum);
    assert_eq!(Quarantine::open(dir.path()).unwrap().bytes(), sum);
}
