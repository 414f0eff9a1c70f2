//! A store of one key in memory for the tests, which answers PUTs by a script.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::part::PartIdentity;
use crate::hour::range::HashRange;
use crate::store::{ObjectInfo, ObjectStore, PartMeta, PutAnswer};

/// What the fake does with one PUT.
#[derive(Debug, Clone, Copy)]
pub(super) enum Put {
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
pub(super) struct Fake {
    pub(super) object: Mutex<Option<ObjectInfo>>,
    script: Mutex<VecDeque<Put>>,
    pub(super) looks_fail: bool,
    log: Mutex<String>,
}

impl Fake {
    pub(super) fn new(object: Option<ObjectInfo>, script: &[Put]) -> Self {
        let script = Mutex::new(script.iter().copied().collect());
        Self { object: Mutex::new(object), script, looks_fail: false, log: Mutex::default() }
    }

    pub(super) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(super) fn stored_sha(&self) -> Option<String> {
        self.object.lock().unwrap().as_ref()?.meta.as_ref().map(|meta| meta.identity.sha256.clone())
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

pub(super) const SIZE: u64 = 10;

pub(super) fn meta(sha256: &str, content: &str, rows: u64, bytes: u64) -> PartMeta {
    let identity = PartIdentity { rows, bytes, sha256: sha256.into(), content_sha256: content.into() };
    PartMeta { identity, hour: "2023-03-10T01".into(), dict: "d".into(), range: HashRange::ALL }
}

pub(super) fn object(sha256: &str, content: &str, rows: u64, size: u64) -> ObjectInfo {
    ObjectInfo { size, etag: Some("old".into()), meta: Some(meta(sha256, content, rows, size)) }
}
