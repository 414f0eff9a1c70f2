//! What an answer of the store means: a table, and the function that is this table.
//!
//! Pure: the model checker asks [`next`] with every order of answers.
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

use super::{CreateOnly, How, Outcome, Sealed};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{ObjectInfo, PartMeta, PutAnswer};

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
    /// The key is free, whatever the store answered: another try.
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

/// The table above as a function: what follows when `asked` is answered.
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

/// What it means that `found` is under the part's key.
#[must_use]
pub fn judge(part: &Sealed<'_>, found: ObjectInfo) -> Outcome {
    match &found.meta {
        Some(meta) if is_this_part(part.meta, meta) => Outcome::Uploaded {
            etag: found.etag.clone(),
            sha256: meta.identity.sha256.clone(),
            size: found.size,
            how: How::Earlier,
        },
        _ => Outcome::Foreign { found },
    }
}

/// Whether both have the same content under the same dictionaries: under others the same rows are other records. The compressed bytes
/// may differ, but equal ones cannot differ in size.
fn is_this_part(ours: &PartMeta, found: &PartMeta) -> bool {
    let same_dictionaries = found.dict.is_empty() || found.dict == ours.dict;
    let (ours, found) = (&ours.identity, &found.identity);
    same_dictionaries && found.has_records_of(ours) && (found.sha256 != ours.sha256 || found.bytes == ours.bytes)
}

fn stored(part: &Sealed<'_>, etag: Option<String>, how: How) -> Outcome {
    Outcome::Uploaded { etag, sha256: part.meta.identity.sha256.clone(), size: part.meta.identity.bytes, how }
}
