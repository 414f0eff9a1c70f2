//! The create-only protocol: how one sealed part gets into the store exactly once.
//!
//! Logic over [`ObjectStore`] alone; it keeps nothing. Invariants: no answer is believed without a look where it could
//! mean two things; a failed look is never an absence; nothing is sent that could replace an object where the store
//! honours create-only, and nothing is sent without a look before it where it may not.
//!
//! A crash anywhere in here leaves the part in the store, or not; [`upload`] called again finds out which.
//!
//! | the PUT is answered | what it means | what follows |
//! |---|---|---|
//! | created, with an entity tag | stored now | uploaded |
//! | created, without one | perhaps by no store at all (a login page says 200 too) | look |
//! | 412 | something is there | look: equal = our earlier success, different = foreign, none = PUT again |
//! | 409 | a conflicting operation ran | the same |
//! | nothing, 5xx | stored or not | PUT again; if it was stored, that meets 412 |

use std::path::Path;
use std::time::Duration;

use super::{ObjectInfo, ObjectStore, PartMeta, PutAnswer, backoff};
use crate::error::{Error, ErrorKind, Result};
use crate::stop::Stop;

/// A sealed part whose intent is durable.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// The object's key, with the destination's prefix.
    pub key: &'a str,
    /// The file that holds its bytes.
    pub body: &'a Path,
    /// What identifies it. `meta.sha256` is that of the file's bytes.
    pub meta: &'a PartMeta,
    /// The file's size in bytes.
    pub size: u64,
}

/// What is known about the store's answer to a PUT of a key that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreateOnly {
    /// It refused one with 412.
    Proven,
    /// It has not been asked yet.
    Unknown,
    /// It took one: `If-None-Match` is ignored there.
    NotHonoured,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the store: write the receipt.
    Uploaded {
        /// The store's entity tag, without quotes.
        etag: Option<String>,
        /// SHA-256 of the stored bytes, hex. Not ours where another build compressed the same content.
        sha256: String,
        /// The stored object's size in bytes.
        size: u64,
        /// Whether an earlier try, the answer to which was lost, had put it there.
        by_us_earlier: bool,
    },
    /// Something else has that key. It was left alone.
    Foreign {
        /// What is there.
        found: ObjectInfo,
    },
}

/// Puts a part into the store, create-only. Calling it again after any error or crash is safe. After a stop nothing is tried
/// again.
///
/// # Errors
/// Those of [`ObjectStore`]; after `Unavailable` the part may or may not be there. `State` where its file cannot be read.
pub fn upload(store: &dyn ObjectStore, part: &Sealed<'_>, create_only: CreateOnly, stop: &Stop) -> Result<Outcome> {
    upload_pausing(store, part, create_only, &|pause| stop.sleep(pause))
}

/// Asks the store whether it honours create-only, by putting a part that is there once more: it must get 412.
///
/// For the time after the first receipt at a destination. [`CreateOnly::Unknown`] where this part cannot tell: the
/// stored bytes are not exactly ours, so that a store that ignores the condition would be left with others. A store that
/// does ignore it is left with the same bytes and metadata as before.
///
/// # Errors
/// Those of [`ObjectStore`]; nothing is known then.
pub fn probe_create_only(store: &dyn ObjectStore, part: &Sealed<'_>) -> Result<CreateOnly> {
    if store.create_only_is_certain() {
        return Ok(CreateOnly::Proven);
    }
    let there = store.head(part.key)?;
    if !there.is_some_and(|found| found.size == part.size && found.meta.as_ref() == Some(part.meta)) {
        return Ok(CreateOnly::Unknown);
    }
    Ok(match store.put_new(part.key, part.body, part.meta)? {
        PutAnswer::Exists => CreateOnly::Proven,
        PutAnswer::Created { etag: Some(_) } => CreateOnly::NotHonoured,
        PutAnswer::Created { etag: None } | PutAnswer::Conflict => CreateOnly::Unknown,
    })
}

fn upload_pausing(
    store: &dyn ObjectStore,
    part: &Sealed<'_>,
    create_only: CreateOnly,
    sleep: &dyn Fn(Duration) -> bool,
) -> Result<Outcome> {
    let look_first = create_only != CreateOnly::Proven && !store.create_only_is_certain();
    let mut unanswered = None;
    for tried in 0..backoff::TRIES {
        if tried > 0 && sleep(backoff::pause(tried)) {
            break;
        }
        if look_first && let Some(outcome) = look(store, part)? {
            return Ok(outcome);
        }
        match store.put_new(part.key, part.body, part.meta) {
            Ok(PutAnswer::Created { etag }) if etag.is_some() || store.create_only_is_certain() => {
                return Ok(stored_now(part, etag));
            }
            Ok(PutAnswer::Created { .. } | PutAnswer::Exists | PutAnswer::Conflict) => {
                if let Some(outcome) = look(store, part)? {
                    return Ok(outcome);
                }
                unanswered = None;
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => unanswered = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(unanswered.unwrap_or_else(|| contradiction(store, part)))
}

/// What is there under the part's key: `None` for nothing.
///
/// # Errors
/// Those of [`ObjectStore`]: then nothing is known.
pub fn look(store: &dyn ObjectStore, part: &Sealed<'_>) -> Result<Option<Outcome>> {
    Ok(store.head(part.key)?.map(|found| match &found.meta {
        Some(meta) if is_this_part(part, meta, found.size) => Outcome::Uploaded {
            etag: found.etag.clone(),
            sha256: meta.sha256.clone(),
            size: found.size,
            by_us_earlier: true,
        },
        _ => Outcome::Foreign { found },
    }))
}

/// Content and rows are the identity, under the same dictionaries: under others the same rows are other records. The compressed
/// bytes may differ, but equal ones cannot differ in size.
fn is_this_part(part: &Sealed<'_>, meta: &PartMeta, size: u64) -> bool {
    if !meta.dict.is_empty() && meta.dict != part.meta.dict {
        return false;
    }
    let same_content = meta.content_sha256 == part.meta.content_sha256 && meta.rows == part.meta.rows;
    same_content && (meta.sha256 != part.meta.sha256 || size == part.size)
}

fn stored_now(part: &Sealed<'_>, etag: Option<String>) -> Outcome {
    Outcome::Uploaded { etag, sha256: part.meta.sha256.clone(), size: part.size, by_us_earlier: false }
}

fn contradiction(store: &dyn ObjectStore, part: &Sealed<'_>) -> Error {
    let what =
        format!("{} of {}: a PUT is answered as if it were there, a look finds nothing", part.key, store.place());
    Error::new(ErrorKind::Unavailable, what).hint("run again later: nothing is lost")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// What the fake does with one PUT.
    #[derive(Debug, Clone, Copy)]
    enum Put {
        /// Answers truly, honouring `If-None-Match`.
        Honest,
        /// Overwrites, as a store that ignores the condition does.
        Overwrite,
        /// Stores if it can, and loses the answer.
        StoredUnanswered,
        /// Does not store, and does not answer.
        LostUnanswered,
        /// 409, nothing stored by it.
        Conflict,
        /// 409, because another run of ours stored the same part just then.
        ConflictStored,
        /// 412, and the object is gone before anybody looks.
        ExistsButGone,
        /// 403.
        Forbidden,
        /// 200 from a machine in between that stores nothing.
        LoginPage,
    }

    /// A store of one key in memory. PUTs follow the script, then are honest.
    struct Fake {
        object: Mutex<Option<ObjectInfo>>,
        script: Mutex<VecDeque<Put>>,
        looks_fail: bool,
        log: Mutex<String>,
    }

    impl Fake {
        fn new(object: Option<ObjectInfo>, script: &[Put]) -> Self {
            let script = Mutex::new(script.iter().copied().collect());
            Self { object: Mutex::new(object), script, looks_fail: false, log: Mutex::default() }
        }

        fn log(&self) -> String {
            self.log.lock().unwrap().clone()
        }

        fn stored_sha(&self) -> Option<String> {
            self.object.lock().unwrap().as_ref()?.meta.as_ref().map(|meta| meta.sha256.clone())
        }
    }

    impl ObjectStore for Fake {
        fn place(&self) -> &str {
            "fake:"
        }

        fn put_new(&self, _: &str, _: &Path, meta: &PartMeta) -> Result<PutAnswer> {
            self.log.lock().unwrap().push('P');
            let unanswered = || Error::new(ErrorKind::Unavailable, "no answer");
            let mut object = self.object.lock().unwrap();
            let sent = ObjectInfo { size: SIZE, etag: Some("e".into()), meta: Some(meta.clone()) };
            let created = Ok(PutAnswer::Created { etag: Some("e".into()) });
            match self.script.lock().unwrap().pop_front().unwrap_or(Put::Honest) {
                Put::Honest if object.is_some() => Ok(PutAnswer::Exists),
                Put::Honest | Put::Overwrite => {
                    *object = Some(sent);
                    created
                }
                Put::StoredUnanswered => {
                    object.get_or_insert(sent);
                    Err(unanswered())
                }
                Put::LostUnanswered => Err(unanswered()),
                Put::Conflict => Ok(PutAnswer::Conflict),
                Put::ConflictStored => {
                    object.get_or_insert(sent);
                    Ok(PutAnswer::Conflict)
                }
                Put::ExistsButGone => Ok(PutAnswer::Exists),
                Put::LoginPage => Ok(PutAnswer::Created { etag: None }),
                Put::Forbidden => Err(Error::new(ErrorKind::Credentials, "403")),
            }
        }

        fn head(&self, _: &str) -> Result<Option<ObjectInfo>> {
            self.log.lock().unwrap().push('H');
            if self.looks_fail {
                return Err(Error::new(ErrorKind::Unavailable, "no answer to the look"));
            }
            Ok(self.object.lock().unwrap().clone())
        }

        fn get(&self, _: &str) -> Result<Vec<u8>> {
            unreachable!()
        }

        fn list(&self, _: &str, _: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
            unreachable!()
        }

        fn create_only_is_certain(&self) -> bool {
            false
        }
    }

    const SIZE: u64 = 10;

    fn meta(sha256: &str, content: &str, rows: u64) -> PartMeta {
        let hour = "2023-03-10T01".to_owned();
        PartMeta { sha256: sha256.into(), content_sha256: content.into(), rows, hour, dict: "d".into() }
    }

    fn object(sha256: &str, content: &str, rows: u64, size: u64) -> ObjectInfo {
        ObjectInfo { size, etag: Some("old".into()), meta: Some(meta(sha256, content, rows)) }
    }

    fn run(store: &Fake, create_only: CreateOnly) -> (Result<Outcome>, usize) {
        let pauses = RefCell::new(0);
        let meta = meta("ours", "content", 3);
        let part = Sealed { key: "k", body: Path::new("unused"), meta: &meta, size: SIZE };
        let outcome = upload_pausing(store, &part, create_only, &|_| {
            *pauses.borrow_mut() += 1;
            false
        });
        (outcome, pauses.into_inner())
    }

    fn probe(store: &Fake) -> Result<CreateOnly> {
        let meta = meta("ours", "content", 3);
        probe_create_only(store, &Sealed { key: "k", body: Path::new("unused"), meta: &meta, size: SIZE })
    }

    fn uploaded(outcome: Result<Outcome>) -> (String, u64, bool) {
        match outcome.unwrap() {
            Outcome::Uploaded { sha256, size, by_us_earlier, .. } => (sha256, size, by_us_earlier),
            foreign @ Outcome::Foreign { .. } => panic!("{foreign:?}"),
        }
    }

    #[test]
    fn free_key_takes_one_put_where_create_only_is_proven() {
        let store = Fake::new(None, &[]);
        let (outcome, pauses) = run(&store, CreateOnly::Proven);
        let etag = Some("e".to_owned());
        assert_eq!(
            outcome.unwrap(),
            Outcome::Uploaded { etag, sha256: "ours".into(), size: SIZE, by_us_earlier: false }
        );
        assert_eq!((store.log().as_str(), pauses), ("P", 0));
    }

    #[test]
    fn look_comes_before_each_put_where_create_only_is_not_proven() {
        for create_only in [CreateOnly::Unknown, CreateOnly::NotHonoured] {
            let store = Fake::new(None, &[Put::LostUnanswered]);
            assert_eq!(uploaded(run(&store, create_only).0), ("ours".into(), SIZE, false));
            assert_eq!(store.log(), "HPHP");
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
        assert_eq!(uploaded(outcome), ("ours".into(), SIZE, true));
        assert_eq!((store.log().as_str(), pauses), ("PPH", 1));
    }

    #[test]
    fn same_content_compressed_by_another_build_is_ours_with_the_stores_digest() {
        let store = Fake::new(Some(object("theirs", "content", 3, 12)), &[]);
        assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("theirs".into(), 12, true));
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
        assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, false));
        assert_eq!(store.log(), "PHPHP");

        let store = Fake::new(None, &[Put::ConflictStored]);
        assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, true));
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
    fn success_without_an_entity_tag_is_believed_after_a_look_only() {
        let store = Fake::new(None, &[Put::LoginPage]);
        assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, false));
        assert_eq!(store.log(), "PHP");
        let store = Fake::new(None, &[Put::LoginPage; 9]);
        assert_eq!(run(&store, CreateOnly::Proven).0.unwrap_err().kind(), ErrorKind::Unavailable);
        let store = Fake::new(Some(object("ours", "content", 3, SIZE)), &[Put::LoginPage]);
        assert_eq!(probe(&store).unwrap(), CreateOnly::Unknown, "it would be noted for ever");
    }

    #[test]
    fn nothing_is_tried_again_after_a_stop() {
        let store = Fake::new(None, &[Put::LostUnanswered; 9]);
        let meta = meta("ours", "content", 3);
        let part = Sealed { key: "k", body: Path::new("unused"), meta: &meta, size: SIZE };
        let outcome = upload_pausing(&store, &part, CreateOnly::Proven, &|_| true);
        assert_eq!((outcome.unwrap_err().kind(), store.log().as_str()), (ErrorKind::Unavailable, "P"));
    }

    #[test]
    fn object_that_went_away_after_412_is_put_again() {
        let store = Fake::new(None, &[Put::ExistsButGone]);
        assert_eq!(uploaded(run(&store, CreateOnly::Proven).0), ("ours".into(), SIZE, false));
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
        ] {
            assert_eq!(probe(&Fake::new(ours(), &[script])).unwrap(), expected);
        }
        assert!(probe(&Fake::new(ours(), &[Put::LostUnanswered])).is_err());
    }

    #[test]
    fn probe_sends_nothing_where_the_stored_bytes_are_not_ours() {
        for there in [None, Some(object("theirs", "content", 3, SIZE)), Some(object("x", "other", 3, SIZE))] {
            let store = Fake::new(there, &[Put::Overwrite]);
            assert_eq!(probe(&store).unwrap(), CreateOnly::Unknown);
            assert_eq!(store.log(), "H");
        }
    }
}
