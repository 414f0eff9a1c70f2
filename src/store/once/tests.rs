//! The protocol against a store that answers by a script.

use std::cell::RefCell;

use super::scripted_store::{Fake, Put, SIZE, meta, object};
use super::*;

fn run(store: &Fake, create_only: CreateOnly) -> (Result<Outcome>, usize) {
    let pauses = RefCell::new(0);
    let meta = meta("ours", "content", 3, SIZE);
    let part = Sealed { key: "k", body: Path::new("unused"), meta: &meta };
    let outcome = upload_pausing(store, &part, create_only, &|_| {
        *pauses.borrow_mut() += 1;
        false
    });
    (outcome, pauses.into_inner())
}

fn probe(store: &Fake, before: bool) -> Result<CreateOnly> {
    let meta = meta("ours", "content", 3, SIZE);
    probe_create_only(store, &Sealed { key: "k", body: Path::new("unused"), meta: &meta }, before)
}

fn uploaded(outcome: Result<Outcome>) -> (String, u64, How) {
    match outcome.unwrap() {
        Outcome::Uploaded { sha256, size, how, .. } => (sha256, size, how),
        foreign @ Outcome::Foreign { .. } => panic!("{foreign:?}"),
    }
}

#[test]
fn free_key_takes_one_put_where_create_only_is_proven() {
    let store = Fake::new(None, &[]);
    let (outcome, pauses) = run(&store, CreateOnly::Proven);
    let etag = Some("e".to_owned());
    assert_eq!(outcome.unwrap(), Outcome::Uploaded { etag, sha256: "ours".into(), size: SIZE, how: How::Now });
    assert_eq!((store.log().as_str(), pauses), ("P", 0));
}

#[test]
fn look_comes_before_each_put_where_create_only_is_not_proven() {
    for (create_only, log, how) in
        [(CreateOnly::Unknown, "HPHP", How::Now), (CreateOnly::NotHonoured, "HFHF", How::WithoutCondition)]
    {
        let store = Fake::new(None, &[Put::LostUnanswered]);
        assert_eq!(uploaded(run(&store, create_only).0), ("ours".into(), SIZE, how));
        assert_eq!(store.log(), log);
    }
}

#[test]
fn store_that_ignores_the_condition_is_never_sent_a_put_for_a_taken_key() {
    let store = Fake::new(Some(object("x", "other", 3, 5)), &[Put::Overwrite]);
    assert!(matches!(run(&store, CreateOnly::NotHonoured).0.unwrap(), Outcome::Foreign { .. }));
    assert_eq!((store.log().as_str(), store.stored_sha()), ("H", Some("x".into())));
}

#[test]
fn lost_answer_meets_its_own_success() {
    let store = Fake::new(None, &[Put::StoredUnanswered]);
    let (outcome, pauses) = run(&store, CreateOnly::Proven);
    assert_eq!(uploaded(outcome), ("ours".into(), SIZE, How::Earlier));
    assert_eq!((store.log().as_str(), pauses), ("PPH", 1));
}

#[test]
fn same_content_compressed_by_another_build_is_ours_with_the_stores_digest() {
    let store = Fake::new(Some(object("theirs", "content", 3, 12)), &[]);
    assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("theirs".into(), 12, How::Earlier));
}

#[test]
fn anything_else_under_the_key_is_foreign_and_stays() {
    let no_part = ObjectInfo { size: SIZE, etag: None, meta: None };
    let others = [
        object("x", "other", 3, SIZE),
        object("x", "content", 4, SIZE),
        // Claims to be our bytes, and cannot be.
        object("ours", "content", 3, SIZE + 1),
        no_part,
    ];
    for there in others {
        for create_only in [CreateOnly::Proven, CreateOnly::Unknown, CreateOnly::NotHonoured] {
            let store = Fake::new(Some(there.clone()), &[]);
            assert_eq!(run(&store, create_only).0.unwrap(), Outcome::Foreign { found: there.clone() });
            assert_eq!(*store.object.lock().unwrap(), Some(there.clone()));
        }
    }
}

#[test]
fn conflict_is_looked_at_and_then_tried_again() {
    let store = Fake::new(None, &[Put::Conflict, Put::Conflict]);
    assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, How::Now));
    assert_eq!(store.log(), "PHPHP");

    let store = Fake::new(None, &[Put::ConflictStored]);
    assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, How::Earlier));
    assert_eq!(store.log(), "PH");

    let store = Fake::new(Some(object("x", "other", 3, 5)), &[Put::Conflict]);
    assert!(matches!(run(&store, CreateOnly::Proven).0.unwrap(), Outcome::Foreign { .. }));
}

#[test]
fn object_that_is_refused_but_never_seen_is_unavailable_after_bounded_tries() {
    for answer in [Put::ExistsButGone, Put::Conflict] {
        let store = Fake::new(None, &[answer; 9]);
        let (outcome, pauses) = run(&store, CreateOnly::Proven);
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!((store.log().as_str(), pauses), ("PHPHPHPH", 3));
    }
}

#[test]
fn success_without_our_md5_is_believed_after_a_look_only() {
    let store = Fake::new(None, &[Put::LoginPage]);
    assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, How::Now));
    assert_eq!(store.log(), "PHP");
    let store = Fake::new(None, &[Put::LoginPage; 9]);
    assert_eq!(run(&store, CreateOnly::Proven).0.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.log(), "PHPHPHPH");
    let store = Fake::new(None, &[Put::OwnTag]);
    assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, How::Now));
    assert_eq!(store.log(), "PH");
    let mut store = Fake::new(None, &[Put::OwnTag]);
    store.looks_fail = true;
    assert_eq!(run(&store, CreateOnly::Proven).0.unwrap_err().to_string(), "no answer to the look");
}

#[test]
fn refused_condition_is_left_out_once_a_look_finds_the_key_free() {
    let store = Fake::new(None, &[Put::ConditionRefused; 9]);
    assert_eq!(uploaded(run(&store, CreateOnly::Unknown).0), ("ours".into(), SIZE, How::WithoutCondition));
    assert_eq!(store.log(), "HPHF");
    assert_eq!(probe(&store, true).unwrap(), CreateOnly::NotHonoured);
    assert_eq!(store.log(), "HPHFHP");
    // What does not show that the store took it without, and only without, is no proof.
    assert_eq!(probe(&store, false).unwrap(), CreateOnly::Unknown);
}

#[test]
fn store_that_refused_one_condition_and_honours_the_next_is_proven() {
    let store = Fake::new(None, &[Put::ConditionRefused, Put::Honest]);
    assert_eq!(uploaded(run(&store, CreateOnly::Unknown).0).2, How::WithoutCondition);
    assert_eq!(probe(&store, true).unwrap(), CreateOnly::Proven);
}

#[test]
fn condition_is_never_left_out_where_it_is_proven() {
    let store = Fake::new(None, &[Put::ConditionRefused; 9]);
    assert_eq!(run(&store, CreateOnly::Proven).0.unwrap_err().to_string(), "501");
    assert_eq!(store.log(), "P");
}

#[test]
fn refused_condition_does_not_replace_what_came_meanwhile() {
    let store = Fake::new(None, &[Put::ConditionRefusedStored]);
    assert_eq!(uploaded(run(&store, CreateOnly::Unknown).0), ("ours".into(), SIZE, How::Earlier));
    assert_eq!(store.log(), "HPH");
    let store = Fake::new(Some(object("x", "other", 3, 5)), &[Put::ConditionRefused]);
    assert!(matches!(run(&store, CreateOnly::Unknown).0.unwrap(), Outcome::Foreign { .. }));
    assert_eq!(store.log(), "H");
}

#[test]
fn what_is_refused_with_and_without_the_condition_is_about_the_object() {
    let store = Fake::new(None, &[Put::BothRefused; 9]);
    let error = run(&store, CreateOnly::Unknown).0.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.concerns_one_object()), ("400 again", true));
    assert_eq!(store.log(), "HPHF");
}

#[test]
fn refusal_of_one_object_is_not_tried_again() {
    for create_only in [CreateOnly::Proven, CreateOnly::Unknown, CreateOnly::NotHonoured] {
        let store = Fake::new(None, &[Put::TooLarge; 9]);
        let (outcome, pauses) = run(&store, create_only);
        assert!(outcome.unwrap_err().concerns_one_object());
        assert_eq!(pauses, 0);
    }
}

#[test]
fn nothing_is_tried_again_after_a_stop() {
    let store = Fake::new(None, &[Put::LostUnanswered; 9]);
    let meta = meta("ours", "content", 3, SIZE);
    let part = Sealed { key: "k", body: Path::new("unused"), meta: &meta };
    let outcome = upload_pausing(&store, &part, CreateOnly::Proven, &|_| true);
    assert_eq!((outcome.unwrap_err().kind(), store.log().as_str()), (ErrorKind::Unavailable, "P"));
}

#[test]
fn object_that_went_away_after_412_is_put_again() {
    let store = Fake::new(None, &[Put::ExistsButGone]);
    assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, How::Now));
}

#[test]
fn silent_store_is_unavailable_after_bounded_tries() {
    let store = Fake::new(None, &[Put::LostUnanswered; 9]);
    let (outcome, pauses) = run(&store, CreateOnly::Proven);
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "no answer"));
    assert_eq!((store.log().as_str(), pauses), ("PPPP", 3));
}

#[test]
fn refused_credentials_are_not_tried_again() {
    let store = Fake::new(None, &[Put::Forbidden]);
    assert_eq!(run(&store, CreateOnly::Proven).0.unwrap_err().kind(), ErrorKind::Credentials);
    assert_eq!(store.log(), "P");
}

#[test]
fn failed_look_is_unknown_never_absent() {
    for (create_only, log) in [(CreateOnly::Proven, "PH"), (CreateOnly::Unknown, "H")] {
        let mut store = Fake::new(Some(object("ours", "content", 3, SIZE)), &[]);
        store.looks_fail = true;
        assert_eq!(run(&store, create_only).0.unwrap_err().to_string(), "no answer to the look");
        assert_eq!(store.log(), log);
    }
}

#[test]
fn second_put_of_the_same_bytes_tells_whether_create_only_is_honoured() {
    let ours = || Some(object("ours", "content", 3, SIZE));
    for (script, expected) in [
        (Put::Honest, CreateOnly::Proven),
        (Put::Overwrite, CreateOnly::NotHonoured),
        (Put::Conflict, CreateOnly::Unknown),
        (Put::LoginPage, CreateOnly::Unknown),
        (Put::OwnTag, CreateOnly::Proven),
        (Put::OverwriteWithOwnTag, CreateOnly::NotHonoured),
    ] {
        assert_eq!(probe(&Fake::new(ours(), &[script]), false).unwrap(), expected);
    }
    assert!(probe(&Fake::new(ours(), &[Put::LostUnanswered]), false).is_err());
}

#[test]
fn probe_sends_nothing_where_the_stored_bytes_are_not_ours() {
    for there in [None, Some(object("theirs", "content", 3, SIZE)), Some(object("x", "other", 3, SIZE))] {
        let store = Fake::new(there, &[Put::Overwrite]);
        assert_eq!(probe(&store, true).unwrap(), CreateOnly::Unknown);
        assert_eq!(store.log(), "H");
    }
}
