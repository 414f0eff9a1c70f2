//! The connection to the store: a runtime, a pool, and the credentials of the moment.
//!
//! Owns the session. Invariant: nothing is set up before the first request, and credentials are looked up again only
//! after the store said that they have expired, once; and no request outlives a stop by more than [`LAST_WORD`]. Keeps
//! nothing on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::s3::creds::Credentials;
use ::s3::error::S3Error;
use ::s3::{Bucket, Region};
use tokio::runtime::Runtime;

use super::refusal::{Refusal, Verb};
use super::{S3Credentials, S3Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::load::backoff;
use crate::stop::{Grace, Stop};

/// How long after a stop an answer is still waited for: a PUT that is about to end had better end.
const LAST_WORD: Grace = Grace { after_a_signal: Duration::from_secs(1), after_the_deadline: Duration::from_secs(1) };

/// Where credentials are looked up; another in tests.
pub(super) type Lookup = fn(&S3Credentials) -> Result<Credentials>;

/// Sends requests to one S3 bucket.
pub(super) struct Client {
    settings: S3Settings,
    lookup: Lookup,
    session: Mutex<Option<Arc<Session>>>,
    /// Ends waiting.
    pub(super) stop: Stop,
}

struct Session {
    stop: Stop,
    /// Driven by whichever caller waits: the threads that have a request under way drive it together.
    runtime: Arc<Runtime>,
    bucket: Box<Bucket>,
}

/// Why there is no answer to use.
pub(super) enum Failure {
    /// The store said no.
    Refused(Refusal),
    /// No answer, or not a whole one, and why.
    Silent(String),
    /// The credentials have expired, and no fresh ones came.
    Expired,
    /// It failed on this side.
    Local(Error),
}

impl Client {
    pub(super) fn new(settings: S3Settings, lookup: Lookup) -> Self {
        Self { settings, lookup, session: Mutex::new(None), stop: Stop::new() }
    }

    /// The address of an object, for people.
    pub(super) fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.settings.bucket)
    }

    /// Sends one request; once more with fresh credentials where the store says that these have expired, which is a
    /// refusal: nothing happened.
    pub(super) fn send<T>(
        &self,
        patience: Duration,
        request: impl AsyncFn(&Bucket) -> Result<T, S3Error>,
    ) -> Result<T, Failure> {
        let session = self.session()?;
        match session.ask(patience, &request) {
            Err(failure) if failure.is_expiry() && self.settings.credentials.can_be_renewed() => {
                self.renewed(&session)?.ask(patience, &request)
            }
            answer => answer,
        }
    }

    /// [`Client::send`], again after a while where the failure is one that passes. For requests that change nothing.
    pub(super) fn send_patiently<T>(
        &self,
        patience: Duration,
        request: impl AsyncFn(&Bucket) -> Result<T, S3Error>,
    ) -> Result<T, Failure> {
        let mut tried = 1;
        loop {
            match self.send(patience, &request) {
                Err(failure) if failure.is_passing() && tried < backoff::TRIES => {
                    if self.stop.sleep(backoff::pause(tried)) {
                        return Err(failure);
                    }
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, opened by the first who asks.
    fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut slot = self.slot();
        if let Some(session) = slot.as_ref() {
            return Ok(Arc::clone(session));
        }
        // Credential providers that need HTTPS panic without one; a second call changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        ::s3::set_retries(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::Local(Error::new(ErrorKind::State, "cannot start the S3 client").caused_by(error))
        })?;
        Ok(Arc::clone(slot.insert(self.open(Arc::new(runtime))?)))
    }

    /// A session with credentials looked up again, unless another thread just did that.
    fn renewed(&self, stale: &Arc<Session>) -> Result<Arc<Session>, Failure> {
        let mut slot = self.slot();
        match slot.as_ref() {
            Some(session) if !Arc::ptr_eq(session, stale) => Ok(Arc::clone(session)),
            _ => Ok(Arc::clone(slot.insert(self.open(Arc::clone(&stale.runtime))?))),
        }
    }

    fn open(&self, runtime: Arc<Runtime>) -> Result<Arc<Session>, Failure> {
        let settings = &self.settings;
        let region = Region::Custom { region: settings.region.clone(), endpoint: settings.endpoint_or_aws() };
        let credentials = (self.lookup)(&settings.credentials).map_err(Failure::Local)?;
        let bucket = Bucket::new(&settings.bucket, region, credentials).map_err(Failure::of)?;
        let bucket = if settings.by_path() { bucket.with_path_style() } else { bucket };
        Ok(Arc::new(Session { stop: self.stop.clone(), runtime, bucket }))
    }
}

impl Session {
    fn ask<T>(&self, patience: Duration, request: &impl AsyncFn(&Bucket) -> Result<T, S3Error>) -> Result<T, Failure> {
        let mut bucket = self.bucket.clone();
        bucket.set_request_timeout(Some(patience));
        // Made within the runtime, whose timer it needs.
        let work = async { self.stop.or_stopped_soon(LAST_WORD, request(&bucket)).await };
        match self.runtime.block_on(work) {
            Some(answer) => answer.map_err(Failure::of),
            None => Err(Failure::Silent("the run was to stop before one came".to_owned())),
        }
    }
}

impl Failure {
    fn of(error: S3Error) -> Self {
        match error {
            S3Error::HttpFailWithBody(status, body) => Self::Refused(Refusal::new(status, &body)),
            // Its text could quote what a credentials provider answered.
            S3Error::Credentials(_) => Self::Expired,
            S3Error::Reqwest(error) if !error.is_builder() => Self::Silent(chain(&error.without_url())),
            // Whatever answers there does not speak S3, this time.
            error @ (S3Error::Io(_)
            | S3Error::SerdeXml(_)
            | S3Error::Utf8(_)
            | S3Error::FromUtf8(_)
            | S3Error::ReqwestHeaderToStr(_)) => Self::Silent(error.to_string()),
            error => {
                let error = Error::new(ErrorKind::Config, "cannot make a request to S3").caused_by(error.to_string());
                Self::Local(error.hint("check load.to, load.endpoint and load.region"))
            }
        }
    }

    fn is_expiry(&self) -> bool {
        matches!(self, Self::Expired) || matches!(self, Self::Refused(refusal) if refusal.is_expiry())
    }

    fn is_passing(&self) -> bool {
        matches!(self, Self::Silent(_)) || matches!(self, Self::Refused(refusal) if refusal.is_passing())
    }

    /// What the operator does about it. `address` is what was asked for.
    pub(super) fn into_error(self, verb: Verb, address: &str) -> Error {
        let cannot = format!("cannot {} {address}", verb.phrase());
        match self {
            Self::Refused(refusal) => refusal.into_error(verb, address),
            Self::Silent(why) => {
                let hint = if why.contains("certificate") {
                    "if the store's certificate is signed by a private authority, name its file in SSL_CERT_FILE"
                } else {
                    "run again later: nothing is lost"
                };
                Error::new(ErrorKind::Unavailable, format!("{cannot}: no answer: {why}")).hint(hint)
            }
            Self::Expired => Error::new(ErrorKind::Credentials, format!("{cannot}: the credentials have expired"))
                .hint("renew them: no fresh ones were found"),
            Self::Local(error) => error,
        }
    }
}

/// The texts of an error and its causes, joined.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Looks the credentials up: in the settings, the profile file, or wherever AWS's tools would.
pub(super) fn find(from: &S3Credentials) -> Result<Credentials> {
    let (found, hint) = match from {
        S3Credentials::Keys { id, secret, token } => {
            (Credentials::new(Some(id), Some(secret), None, token.as_deref(), None), "check the configured keys")
        }
        S3Credentials::Profile(name) => {
            (Credentials::from_profile(Some(name)), "check the profile's name and the shared credentials file")
        }
        S3Credentials::Default => (
            Credentials::default(),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role",
        ),
    };
    // The cause stays out: it could quote what a provider answered.
    found.map_err(|_| Error::new(ErrorKind::Credentials, format!("no S3 credentials in {from}")).hint(hint))
}
