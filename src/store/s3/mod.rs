//! The S3 destination: the object store over HTTP.
//!
//! It keeps nothing on disk; a crash in the middle of a PUT leaves the object there or not there, which [`crate::store::once`] finds
//! out. Invariants: one part is one PUT (never multipart), with `If-None-Match: *` except in [`ObjectStore::put_free`]; nothing
//! overwrites or deletes; requests go only to the host that the configuration names, so no redirect is followed; the size of what is
//! read of an answer is bounded; nothing (TLS, runtime, credentials) is set up before the first call; no message contains a
//! credential, a header or a query.
//!
//! Calls block. Several threads may call at once, but not from within an asynchronous runtime.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;

use self::client::{Client, Failure};
use self::listing::{Page, Progress};
pub use self::policy::bucket_policy;
use self::refusal::{Refusal, Verb};
pub use self::settings::{S3Settings, aws_endpoint};
use self::wire::{Answer, S3Request};
use super::{LARGEST, ObjectInfo, ObjectStore, PartMeta, PutAnswer};
use crate::error::{Error, ErrorKind, Result};
use crate::part::codec::begins_a_part;
use crate::stop::Stop;

mod client;
mod headers;
mod listing;
mod policy;
mod providers;
mod refusal;
mod settings;
mod signing;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
mod wire;

/// How long a request with no body, or a small one, may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The slowest upload that is accepted, in bytes a second.
const SLOWEST: u64 = 64 * 1024;
/// How long a download may take in all. Without a byte for [`PATIENCE`] it is given up.
const DOWNLOAD: Duration = Duration::from_secs(3600);
/// The longest page of a listing: 1000 keys of 1024 bytes, each of which may be escaped to six.
const LONGEST_PAGE: usize = 8 << 20;
/// The SHA-256 of no bytes.
const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An S3 bucket as an object store.
pub struct S3Store {
    client: Client,
    place: String,
    /// Whether an answer has shown that the S3 bucket exists.
    bucket_exists: AtomicBool,
}

impl S3Store {
    /// The store that `settings` describe. Nothing is asked or looked up yet.
    ///
    /// # Errors
    /// `Config` where the endpoint is no plain `http://` or `https://` address.
    pub fn new(settings: S3Settings) -> Result<Self> {
        Self::with_lookup(settings, providers::find)
    }

    /// Stops waiting at a stop: at once between two tries, soon after it for an answer.
    #[must_use]
    pub(crate) fn until(mut self, stop: &Stop) -> Self {
        self.client.stop = stop.clone();
        self
    }

    fn with_lookup(settings: S3Settings, lookup: client::Lookup) -> Result<Self> {
        settings.check()?;
        let place = format!("s3://{}/{}", settings.bucket, settings.prefix);
        Ok(Self { client: Client::new(settings, lookup), place, bucket_exists: AtomicBool::new(false) })
    }

    fn list_page(&self, prefix: &str, most: Option<usize>, from: Option<&str>) -> Result<Page, Failure> {
        let mut query = vec![("list-type", "2".to_owned()), ("prefix", prefix.to_owned())];
        query.extend(from.map(|token| ("continuation-token", token.to_owned())));
        query.extend(most.map(|most| ("max-keys", most.to_string())));
        let ask = S3Request { query, most: LONGEST_PAGE, ..request(Verb::List, "") };
        let page = self.client.with_retries(|| {
            let answer = self.client.send(&ask)?;
            Page::read(&answer.body).filter(|_| !answer.cut).ok_or_else(|| Failure::not_s3("no listing"))
        })?;
        self.bucket_exists.store(true, Ordering::Relaxed);
        Ok(page)
    }

    /// `Ok(None)`: 404, which for HEAD is also the answer about an absent S3 bucket.
    fn look(&self, key: &str) -> Result<Option<Answer>, Failure> {
        let answer = self.client.with_retries(|| match self.client.send(&request(Verb::Head, key))? {
            found @ Answer { status: 200, .. } => Ok(found),
            Answer { status, .. } => Err(Failure::not_s3(&format!("HTTP {status} to HEAD"))),
        });
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Refused(Refusal { status: 404, .. })) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Looks, and asks for a listing to learn why a look is refused: an answer to HEAD has no body to say so.
    fn look_and_say_why(&self, key: &str) -> Result<Option<Answer>, Failure> {
        match self.look(key) {
            Ok(None) if !self.bucket_exists.load(Ordering::Relaxed) => {
                self.list_page(key, Some(1), None).map_err(Failure::of_all)?;
                Ok(None)
            }
            Ok(Some(found)) if headers::part_meta(&found, 0).is_none() => self.confirm(key).map(|()| Some(found)),
            Err(Failure::Refused(refusal)) if !refusal.is_temporary() => {
                self.list_page(key, Some(1), None).map_err(Failure::of_all)?;
                // Listing works, perhaps with fresh credentials by now. A look that is refused again is about this object.
                self.look(key)
            }
            answer => answer,
        }
    }

    /// Checks that a store answered, because what came is not a part of ours: a login page answers 200 to everything, but has no
    /// listing. Without the right to list, the answer is believed.
    fn confirm(&self, key: &str) -> Result<(), Failure> {
        match self.list_page(key, Some(1), None) {
            Ok(_) => Ok(()),
            Err(Failure::Refused(refusal)) if refusal.is_about_rights() => Ok(()),
            Err(failure) => Err(failure.of_all()),
        }
    }

    fn put(&self, key: &str, body: &Path, meta: &PartMeta, condition: bool) -> Result<PutAnswer> {
        let bytes = Bytes::from(std::fs::read(body).map_err(|error| Error::disk("read", body, error))?);
        let patience = PATIENCE + Duration::from_secs(u64::try_from(bytes.len()).unwrap_or(u64::MAX) / SLOWEST);
        let md5 = md5::compute(&bytes);
        let headers = headers::put_headers(key, meta, self.client.options(), &md5.0, condition).map_err(|cause| {
            Error::new(ErrorKind::Bug, format!("cannot describe {key} in a header")).caused_by(cause)
        })?;
        let sending = S3Request {
            headers,
            body: bytes,
            sha256: &meta.identity.sha256,
            patience,
            whole: patience,
            ..request(Verb::Put, key)
        };
        // Sent twice with the condition, it is stored once.
        match self.client.send(&S3Request { repeatable: condition, ..sending }) {
            Ok(answer) => {
                let etag = headers::etag(&answer);
                let is_ours = etag.as_ref().is_some_and(|etag| etag.eq_ignore_ascii_case(&format!("{md5:x}")));
                Ok(if is_ours { PutAnswer::Created { etag } } else { PutAnswer::Unproven { etag } })
            }
            Err(Failure::Refused(Refusal { status: 412, .. })) => Ok(PutAnswer::Exists),
            Err(Failure::Refused(Refusal { status: 409, .. })) => Ok(PutAnswer::Conflict),
            Err(Failure::Refused(refusal)) if condition && refusal.may_be_the_condition() => {
                Ok(PutAnswer::Refused(refusal.into_error(Verb::Put, &self.client.address(key))))
            }
            Err(failure) => Err(self.client.fail(failure, Verb::Put, key)),
        }
    }

    /// The object. `None`: it is larger than any part.
    fn download(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let most = usize::try_from(LARGEST).unwrap_or(usize::MAX);
        let ask = S3Request { whole: DOWNLOAD, most, ..request(Verb::Get, key) };
        let answer = self.client.with_retries(|| match self.client.send(&ask)? {
            found @ Answer { status: 200, .. } => Ok(found),
            Answer { status, .. } => Err(Failure::not_s3(&format!("HTTP {status} to GET"))),
        })?;
        // A copied lake may have lost its metadata, but its parts still begin as parts do.
        if headers::part_meta(&answer, 0).is_none() && !begins_a_part(&answer.body) {
            self.confirm(key)?;
        }
        Ok((!answer.cut).then_some(answer.body))
    }
}

impl ObjectStore for S3Store {
    fn place(&self) -> &str {
        &self.place
    }

    fn put_new(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        self.put(key, body, meta, true)
    }

    fn put_free(&self, key: &str, body: &Path, meta: &PartMeta) -> Result<PutAnswer> {
        self.put(key, body, meta, false)
    }

    fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        let found = self.look_and_say_why(key).map_err(|failure| self.client.fail(failure, Verb::Head, key))?;
        let Some(found) = found else { return Ok(None) };
        let Some(size) = found.header("content-length").and_then(|size| size.parse().ok()) else {
            let what = format!("cannot look at {}: the answer names no size", self.client.address(key));
            return Err(Error::new(ErrorKind::Unavailable, what));
        };
        Ok(Some(ObjectInfo { size, etag: headers::etag(&found), meta: headers::part_meta(&found, size) }))
    }

    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let address = self.client.address(key);
        let mismatch = |what: &str| Error::new(ErrorKind::Mismatch, format!("{address} {what}"));
        match self.download(key) {
            Ok(bytes) => bytes.ok_or_else(|| mismatch("is larger than any part")),
            Err(Failure::Refused(refusal)) if refusal.is_absence() => Err(mismatch("is not there")),
            Err(failure) => Err(self.client.fail(failure, Verb::Get, key)),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let cannot = |why: &str| {
            let what = format!("cannot list {}: {why}", self.client.address(prefix));
            Error::new(ErrorKind::Unavailable, what).hint("run again later: nothing is lost")
        };
        let (mut progress, mut from) = (Progress::new(), None);
        loop {
            let page = self.list_page(prefix, None, from.as_deref());
            let page = page.map_err(|failure| self.client.fail(failure, Verb::List, prefix))?;
            for object in &page.contents {
                progress.saw(&object.key).map_err(cannot)?;
                each(&object.key, object.size)?;
            }
            from = progress.next(&page).map_err(cannot)?;
            if from.is_none() {
                return Ok(());
            }
            if self.client.stop.is_requested() {
                return Err(cannot("the run was to stop"));
            }
        }
    }

    fn create_only_is_certain(&self) -> bool {
        false
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A request that changes nothing and reads no body.
fn request(verb: Verb, key: &str) -> S3Request<'_> {
    S3Request {
        verb,
        key,
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        sha256: OF_NOTHING,
        patience: PATIENCE,
        whole: PATIENCE,
        most: 0,
        repeatable: true,
    }
}
