//! The create-only protocol: how one sealed part gets into the store exactly once.
//!
//! Logic over [`ObjectStore`] alone; it keeps nothing. Invariants: no answer is believed without a look where it could
//! mean two things; a failed look is never an absence; nothing is sent that could replace an object where the store
//! honours create-only, and nothing is sent without a look before it where it may not.
//!
//! A crash anywhere in here leaves the part in the store, or not; [`upload`] called again finds out which.
//!
//! What an answer means is [`next`], which is pure: the model checker asks it with every order of answers.
//!
//! | the PUT is answered | what it means | what follows |
//! |---|---|---|
//! | created, and the tag is the MD5 of what was sent | stored now | uploaded |
//! | created, with another tag or none | perhaps by no store at all (a login page says 200 too) | look: ours = uploaded, none = PUT again |
//! | 412 | something is there | look: equal = our earlier success, different = foreign, none = PUT again |
//! | 409 | a conflicting operation ran | the same |
//! | nothing, 5xx, a redirect | stored or not | PUT again; if it was stored, that meets 412 |
//! | a refusal of this object | it is not stored | a failure that is about this object |
//! | 501, or 400 as if the condition were wrong; not known whether it is honoured | refused for the condition, or for something else | look; where the key is free, PUT without the condition: that is answered by this table |
//! | the same, and it is known to be honoured | refused for something else | a failure |
//!
//! Where the condition is known not to be honoured, it is left out, and the look before the PUT is all there is.

use std::path::Path;
use std::time::Duration;

use super::{ObjectInfo, ObjectStore, PartMeta, PutAnswer, TRIES};
use crate::error::{Error, ErrorKind, Result};
use crate::net::backoff::Backoff;
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
    /// It took one, or refuses the condition itself: `If-None-Match` does nothing there.
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
        /// How it got there.
        how: How,
    },
    /// Something else has that key. It was left alone.
    Foreign {
        /// What is there.
        found: ObjectInfo,
    },
}

/// How a part got into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// By a PUT that was answered.
    Now,
    /// The same, without the condition, after the store had refused one with it.
    WithoutCondition,
    /// By an earlier try, the answer to which was lost.
    Earlier,
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
/// does ignore it is left with the same bytes and metadata as before. One that refuses the condition is believed where it has
/// done so `before`, and took the same bytes without it.
///
/// # Errors
/// Those of [`ObjectStore`]; nothing is known then.
pub fn probe_create_only(store: &dyn ObjectStore, part: &Sealed<'_>, before: bool) -> Result<CreateOnly> {
    if store.create_only_is_certain() {
        return Ok(CreateOnly::Proven);
    }
    let is_ours = |found: &ObjectInfo| found.size == part.size && found.meta.as_ref() == Some(part.meta);
    if !store.head(part.key)?.is_some_and(|found| is_ours(&found)) {
        return Ok(CreateOnly::Unknown);
    }
    let was_taken = match store.put_new(part.key, part.body, part.meta)? {
        PutAnswer::Exists => return Ok(CreateOnly::Proven),
        PutAnswer::Created { .. } => true,
        // It was the store that said so if it says the same when it is asked.
        PutAnswer::Unproven { etag: Some(etag) } => {
            store.head(part.key)?.is_some_and(|found| is_ours(&found) && found.etag == Some(etag))
        }
        PutAnswer::Refused(_) => before,
        PutAnswer::Unproven { etag: None } | PutAnswer::Conflict => false,
    };
    Ok(if was_taken { CreateOnly::NotHonoured } else { CreateOnly::Unknown })
}

/// What a try came to.
enum Try {
    Done(Outcome),
    /// The key is free, whatever was answered.
    Nothing,
    Unanswered(Error),
}

fn upload_pausing(
    store: &dyn ObjectStore,
    part: &Sealed<'_>,
    create_only: CreateOnly,
    sleep: &dyn Fn(Duration) -> bool,
) -> Result<Outcome> {
    let create_only = if store.create_only_is_certain() { CreateOnly::Proven } else { create_only };
    let mut unanswered = None;
    for tried in 0..TRIES {
        if tried > 0 && sleep(Backoff::STORE.wait(tried, None)) {
            break;
        }
        match try_once(store, part, create_only)? {
            Try::Done(outcome) => return Ok(outcome),
            Try::Nothing => unanswered = None,
            Try::Unanswered(error) => unanswered = Some(error),
        }
    }
    Err(unanswered.unwrap_or_else(|| contradiction(store, part)))
}

fn try_once(store: &dyn ObjectStore, part: &Sealed<'_>, create_only: CreateOnly) -> Result<Try> {
    let mut ask = begin(create_only);
    loop {
        match next(part, create_only, ask, send(store, part, ask)) {
            Next::Ask(then) => ask = then,
            Next::Done(outcome) => return Ok(Try::Done(outcome)),
            Next::Free => return Ok(Try::Nothing),
            Next::Unanswered(error) => return Ok(Try::Unanswered(error)),
            Next::Failed(error) => return Err(error),
        }
    }
}

fn send(store: &dyn ObjectStore, part: &Sealed<'_>, ask: Ask) -> Answer {
    match ask {
        Ask::Put => Answer::Put(store.put_new(part.key, part.body, part.meta)),
        Ask::PutFree => Answer::Put(store.put_free(part.key, part.body, part.meta)),
        Ask::LookBefore | Ask::LookRefused | Ask::LookTaken | Ask::LookUnproven(_) => {
            Answer::Look(store.head(part.key))
        }
    }
}

/// What is sent to the store next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    /// A look, before a PUT that could replace what is there.
    LookBefore,
    /// A PUT with the condition.
    Put,
    /// A look after the condition was refused: the first is as old as that PUT took.
    LookRefused,
    /// A PUT without the condition.
    PutFree,
    /// A look after a PUT that met something.
    LookTaken,
    /// A look after a PUT that was taken in this way, by a store or by something else.
    LookUnproven(How),
}

/// What the store answered.
#[derive(Debug)]
pub enum Answer {
    /// To a PUT.
    Put(Result<PutAnswer>),
    /// To a look.
    Look(Result<Option<ObjectInfo>>),
}

/// What follows from an answer.
#[derive(Debug)]
pub enum Next {
    /// Another question.
    Ask(Ask),
    /// The part is in the store, or something else is.
    Done(Outcome),
    /// The key is free, whatever was answered: another try.
    Free,
    /// Stored or not: another try.
    Unanswered(Error),
    /// No more tries now.
    Failed(Error),
}

/// How a try begins.
#[must_use]
pub const fn begin(create_only: CreateOnly) -> Ask {
    match create_only {
        CreateOnly::Proven => Ask::Put,
        CreateOnly::Unknown | CreateOnly::NotHonoured => Ask::LookBefore,
    }
}

/// The table of this module, as a function: what follows when `asked` is answered.
#[must_use]
pub fn next(part: &Sealed<'_>, create_only: CreateOnly, asked: Ask, answer: Answer) -> Next {
    match answer {
        Answer::Put(answer) => after_put(part, create_only, asked, answer),
        Answer::Look(Ok(found)) => after_look(create_only, asked, found.map(|found| judge(part, found))),
        Answer::Look(Err(unknown)) => Next::Failed(unknown),
    }
}

fn after_put(part: &Sealed<'_>, create_only: CreateOnly, asked: Ask, answer: Result<PutAnswer>) -> Next {
    let how = if asked == Ask::PutFree { How::WithoutCondition } else { How::Now };
    match answer {
        Ok(PutAnswer::Created { etag }) => Next::Done(stored(part, etag, how)),
        Ok(PutAnswer::Unproven { .. }) => Next::Ask(Ask::LookUnproven(how)),
        Ok(PutAnswer::Exists | PutAnswer::Conflict) => Next::Ask(Ask::LookTaken),
        Ok(PutAnswer::Refused(_)) if asked == Ask::Put && create_only == CreateOnly::Unknown => {
            Next::Ask(Ask::LookRefused)
        }
        Err(error) if error.kind() == ErrorKind::Unavailable && !error.concerns_one_object() => Next::Unanswered(error),
        Ok(PutAnswer::Refused(error)) | Err(error) => Next::Failed(error),
    }
}

fn after_look(create_only: CreateOnly, asked: Ask, found: Option<Outcome>) -> Next {
    match (asked, found) {
        (Ask::LookUnproven(how), Some(Outcome::Uploaded { etag, sha256, size, .. })) => {
            Next::Done(Outcome::Uploaded { etag, sha256, size, how })
        }
        (_, Some(outcome)) => Next::Done(outcome),
        (Ask::LookBefore, None) if create_only == CreateOnly::Unknown => Next::Ask(Ask::Put),
        (Ask::LookBefore | Ask::LookRefused, None) => Next::Ask(Ask::PutFree),
        (_, None) => Next::Free,
    }
}

/// What is there under the part's key: `None` for nothing.
///
/// # Errors
/// Those of [`ObjectStore`]: then nothing is known.
pub fn look(store: &dyn ObjectStore, part: &Sealed<'_>) -> Result<Option<Outcome>> {
    Ok(store.head(part.key)?.map(|found| judge(part, found)))
}

/// What it means that `found` is under the part's key.
#[must_use]
pub fn judge(part: &Sealed<'_>, found: ObjectInfo) -> Outcome {
    match &found.meta {
        Some(meta) if is_this_part(part, meta, found.size) => Outcome::Uploaded {
            etag: found.etag.clone(),
            sha256: meta.sha256.clone(),
            size: found.size,
            how: How::Earlier,
        },
        _ => Outcome::Foreign { found },
    }
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

fn stored(part: &Sealed<'_>, etag: Option<String>, how: How) -> Outcome {
    Outcome::Uploaded { etag, sha256: part.meta.sha256.clone(), size: part.size, how }
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
        /// Stores if it can, and answers with a tag of its own, as a store that encrypts does.
        OwnTag,
        /// Takes what is there already, and answers with a tag of its own.
        OverwriteWithOwnTag,
        /// 501, or 400 as if the condition were wrong: where there is one. Without it the PUT is taken.
        ConditionRefused,
        /// The same, while somebody else puts the same key.
        ConditionRefusedStored,
        /// 400 with and without the condition.
        BothRefused,
        /// 413: this object.
        TooLarge,
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
            self.put(meta, true)
        }

        fn put_free(&self, _: &str, _: &Path, meta: &PartMeta) -> Result<PutAnswer> {
            let taken = if self.object.lock().unwrap().is_some() { '!' } else { 'F' };
            self.log.lock().unwrap().push(taken);
            self.put(meta, false)
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

    impl Fake {
        fn put(&self, meta: &PartMeta, condition: bool) -> Result<PutAnswer> {
            let unanswered = || Error::new(ErrorKind::Unavailable, "no answer");
            let mut object = self.object.lock().unwrap();
            let sent = ObjectInfo { size: SIZE, etag: Some("e".into()), meta: Some(meta.clone()) };
            let created = Ok(PutAnswer::Created { etag: Some("e".into()) });
            let next = self.script.lock().unwrap().pop_front().unwrap_or(Put::Honest);
            match next {
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
                Put::LoginPage => Ok(PutAnswer::Unproven { etag: Some("64f0c9a1-1c".into()) }),
                Put::OwnTag if object.is_some() => Ok(PutAnswer::Exists),
                Put::OwnTag | Put::OverwriteWithOwnTag => {
                    *object = Some(sent);
                    Ok(PutAnswer::Unproven { etag: Some("e".into()) })
                }
                Put::ConditionRefused | Put::ConditionRefusedStored if condition => {
                    if matches!(next, Put::ConditionRefusedStored) {
                        object.get_or_insert(sent);
                    }
                    Ok(PutAnswer::Refused(Error::new(ErrorKind::Config, "501")))
                }
                Put::ConditionRefused | Put::ConditionRefusedStored => {
                    *object = Some(sent);
                    created
                }
                Put::BothRefused if condition => {
                    Ok(PutAnswer::Refused(Error::new(ErrorKind::Unavailable, "400").about_one_object()))
                }
                Put::BothRefused => Err(Error::new(ErrorKind::Unavailable, "400 again").about_one_object()),
                Put::TooLarge => Err(Error::new(ErrorKind::Unavailable, "413").about_one_object()),
                Put::Forbidden => Err(Error::new(ErrorKind::Credentials, "403").about_one_object()),
            }
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

    fn probe(store: &Fake, before: bool) -> Result<CreateOnly> {
        let meta = meta("ours", "content", 3);
        probe_create_only(store, &Sealed { key: "k", body: Path::new("unused"), meta: &meta, size: SIZE }, before)
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
        let meta = meta("ours", "content", 3);
        let part = Sealed { key: "k", body: Path::new("unused"), meta: &meta, size: SIZE };
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
}
