//! The create-only protocol: how one sealed part gets into the store exactly once.
//!
//! Works on [`ObjectStore`] alone and keeps nothing; what an answer means is the table in `answers`. Invariants: an answer that could
//! mean two things is followed by a look; a failed look is never an absence; where the store honours create-only, nothing is sent
//! that could replace an object, and where it may not, a look comes before each PUT.
//!
//! A crash in here leaves the part in the store, or not; [`upload`], called again, finds out which.

use std::path::Path;
use std::time::Duration;

pub use self::answers::{Answer, Ask, Next, begin, judge, next};
use super::{ObjectInfo, ObjectStore, PartMeta, PutAnswer, TRIES};
use crate::error::{Error, ErrorKind, Result};
use crate::net::backoff::Backoff;
use crate::stop::Stop;

mod answers;
#[cfg(test)]
mod scripted_store;
#[cfg(test)]
mod tests;

/// A sealed part whose intent is durable.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// The object's key, with the destination's prefix.
    pub key: &'a str,
    /// The file that holds its bytes.
    pub body: &'a Path,
    /// What identifies it, and the file's bytes with it.
    pub meta: &'a PartMeta,
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

/// Puts a part into the store, create-only. It is safe to call again after any error or crash. After a stop nothing is retried.
///
/// # Errors
/// Those of [`ObjectStore`]; after `Unavailable` the part may or may not be there. `State` where its file cannot be read.
pub fn upload(store: &dyn ObjectStore, part: &Sealed<'_>, create_only: CreateOnly, stop: &Stop) -> Result<Outcome> {
    upload_pausing(store, part, create_only, &|pause| stop.sleep(pause))
}

/// Asks the store whether it honours create-only: a second PUT of a part that is there must get 412.
///
/// For the time after the first receipt at a destination. A store that ignores the condition gets the same bytes and metadata again;
/// where the stored bytes are not exactly ours, nothing is sent and the answer is [`CreateOnly::Unknown`]. A store that refuses the
/// condition is believed where it did so `before` and took the same bytes without it.
pub fn probe_create_only(store: &dyn ObjectStore, part: &Sealed<'_>, before: bool) -> Result<CreateOnly> {
    if store.create_only_is_certain() {
        return Ok(CreateOnly::Proven);
    }
    let is_ours = |found: &ObjectInfo| found.meta.as_ref() == Some(part.meta);
    if !store.head(part.key)?.is_some_and(|found| is_ours(&found)) {
        return Ok(CreateOnly::Unknown);
    }
    let was_taken = match store.put_new(part.key, part.body, part.meta)? {
        PutAnswer::Exists => return Ok(CreateOnly::Proven),
        PutAnswer::Created { .. } => true,
        // The store itself answered if a look shows the same tag.
        PutAnswer::Unproven { etag: Some(etag) } => {
            store.head(part.key)?.is_some_and(|found| is_ours(&found) && found.etag == Some(etag))
        }
        PutAnswer::Refused(_) => before,
        PutAnswer::Unproven { etag: None } | PutAnswer::Conflict => false,
    };
    Ok(if was_taken { CreateOnly::NotHonoured } else { CreateOnly::Unknown })
}

/// How a try ended.
enum Try {
    Done(Outcome),
    /// The key is free, whatever the store answered.
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

/// What is there under the part's key: `None` for nothing.
pub(crate) fn look(store: &dyn ObjectStore, part: &Sealed<'_>) -> Result<Option<Outcome>> {
    Ok(store.head(part.key)?.map(|found| judge(part, found)))
}

fn contradiction(store: &dyn ObjectStore, part: &Sealed<'_>) -> Error {
    let what =
        format!("{} of {}: a PUT is answered as if it were there, a look finds nothing", part.key, store.place());
    Error::new(ErrorKind::Unavailable, what).hint("run again later: nothing is lost")
}
