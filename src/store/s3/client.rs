//! Requests to the store: with which credentials, when they are sent again, and what a missing answer means.
//!
//! Owns the session. Invariants: nothing is set up before the first request; credentials are looked up again only when they have
//! expired, by the clock or as the store says, and once for one request; no request outlives a stop by more than [`LAST_WORD`].
//! Keeps nothing on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;

use super::refusal::{self, Refusal, Verb};
use super::settings::S3Settings;
use super::signing::Identity;
use super::wire::{Answer, Engine, NoAnswer, S3Request};
use crate::config::{ObjectOptions, S3Credentials};
use crate::error::{Error, ErrorKind, Result};
use crate::net::backoff::Backoff;
use crate::stop::{Grace, Stop};
use crate::store::TRIES;

/// How long to wait for an answer after a stop: a PUT that is nearly done should get done.
const LAST_WORD: Grace = Grace { after_a_signal: Duration::from_secs(1), after_the_deadline: Duration::from_secs(1) };

/// Credentials whose end is near are not looked up again within this time.
const NOT_AGAIN_WITHIN: Duration = Duration::from_secs(60);

/// Looks credentials up; tests have their own.
pub(super) type Lookup = fn(&S3Settings, &Stop) -> Result<Identity>;

/// Sends requests to one S3 bucket.
pub(super) struct Client {
    settings: S3Settings,
    lookup: Lookup,
    session: Mutex<Option<Arc<Session>>>,
    /// Ends all waiting.
    pub(super) stop: Stop,
}

struct Session {
    stop: Stop,
    engine: Arc<Engine>,
    identity: Arc<Identity>,
    /// When they were looked up.
    since: Instant,
    base: Url,
    region: String,
    /// The account that every request names as the bucket's owner.
    owner: Option<String>,
}

/// Why there is no answer to use.
pub(super) enum Failure {
    /// The store said no.
    Refused(Refusal),
    /// No answer, or an incomplete one: why, and what to do about it.
    NoAnswer(String, Option<String>),
    /// It failed on this side.
    Local(Error),
}

impl Client {
    pub(super) fn new(settings: S3Settings, lookup: Lookup) -> Self {
        Self { settings, lookup, session: Mutex::new(None), stop: Stop::new() }
    }

    /// What is asked for each object.
    pub(super) fn options(&self) -> &ObjectOptions {
        &self.settings.options
    }

    /// The address of an object, for people.
    pub(super) fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.settings.bucket)
    }

    /// What the operator does about a failure of the request for `key`.
    pub(super) fn fail(&self, failure: Failure, verb: Verb, key: &str) -> Error {
        let address = self.address(key);
        match failure {
            Failure::Refused(refusal) => refusal.into_error(verb, &address),
            Failure::NoAnswer(why, hint) => {
                let what =
                    format!("cannot {} {address}: no answer from {}: {why}", verb.phrase(), self.settings.host());
                let again = "run again later: nothing is lost; if it stays so, check load.endpoint and load.region";
                Error::new(ErrorKind::Unavailable, what).hint(hint.unwrap_or_else(|| again.to_owned()))
            }
            Failure::Local(error) => error,
        }
    }

    /// Sends one request and returns a good answer. Sends it again with fresh credentials where the store says that these have
    /// expired: it refused, so nothing happened.
    pub(super) fn send(&self, ask: &S3Request<'_>) -> Result<Answer, Failure> {
        let session = self.session()?;
        match session.send(ask) {
            Err(failure) if failure.is_expiry() && can_be_renewed(&self.settings.credentials) => {
                self.renewed(&session)?.send(ask)
            }
            answer => answer,
        }
    }

    /// Does `work`, and again after a pause where the failure is temporary. Only for requests that change nothing.
    pub(super) fn with_retries<T>(&self, work: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut tried = 1;
        loop {
            match work() {
                Err(failure) if failure.is_temporary() && tried < TRIES => {
                    if self.stop.sleep(Backoff::STORE.wait(tried, None)) {
                        return Err(failure);
                    }
                    tried += 1;
                }
                answer => return answer,
            }
        }
    }

    /// Lets a look-up be due, as if the last one were long ago.
    #[cfg(test)]
    pub(super) fn look_up_now(&self) {
        let mut slot = self.slot();
        let old = slot.take().unwrap();
        let since = old.since.checked_sub(NOT_AGAIN_WITHIN).unwrap();
        *slot = Some(Arc::new(Session { since, ..self.copy(&old) }));
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session: opened by the first caller, and opened again when its credentials have expired.
    fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut slot = self.slot();
        if let Some(session) = slot.as_ref() {
            let session = Arc::clone(session);
            drop(slot);
            return if can_be_renewed(&self.settings.credentials) { self.fresh(session) } else { Ok(session) };
        }
        let base = self.settings.base().map_err(Failure::Local)?;
        let identity = (self.lookup)(&self.settings, &self.stop).map_err(Failure::Local)?;
        let engine = Arc::new(Engine::new(&base).map_err(Failure::Local)?);
        Ok(Arc::clone(slot.insert(Arc::new(self.open(engine, base, Arc::new(identity))))))
    }

    /// The session, with other credentials where the end of these is near. Until that end a failure to find some does not matter.
    fn fresh(&self, session: Arc<Session>) -> Result<Arc<Session>, Failure> {
        if session.identity.has_expired() {
            return self.renewed(&session);
        }
        if !session.identity.expires_soon() || session.since.elapsed() < NOT_AGAIN_WITHIN {
            return Ok(session);
        }
        self.renewed(&session).or_else(|failure| {
            if let Failure::Local(error) = &failure {
                tracing::debug!("these credentials are used on: {}", error.chain());
            }
            Ok(Arc::clone(self.slot().insert(Arc::new(self.copy(&session)))))
        })
    }

    /// A session with credentials looked up again, unless another thread just did that.
    fn renewed(&self, stale: &Arc<Session>) -> Result<Arc<Session>, Failure> {
        let mut slot = self.slot();
        match slot.as_ref() {
            Some(session) if !Arc::ptr_eq(session, stale) => Ok(Arc::clone(session)),
            _ => {
                let identity = (self.lookup)(&self.settings, &self.stop).map_err(Failure::Local)?;
                let (engine, base) = (Arc::clone(&stale.engine), stale.base.clone());
                Ok(Arc::clone(slot.insert(Arc::new(self.open(engine, base, Arc::new(identity))))))
            }
        }
    }

    /// The same session, begun now.
    fn copy(&self, session: &Session) -> Session {
        let (engine, identity) = (Arc::clone(&session.engine), Arc::clone(&session.identity));
        self.open(engine, session.base.clone(), identity)
    }

    fn open(&self, engine: Arc<Engine>, base: Url, identity: Arc<Identity>) -> Session {
        let (stop, region) = (self.stop.clone(), self.settings.region.clone());
        let owner = self.settings.options.expected_owner.clone();
        Session { stop, engine, identity, since: Instant::now(), base, region, owner }
    }
}

impl Session {
    fn send(&self, ask: &S3Request<'_>) -> Result<Answer, Failure> {
        let began = Instant::now();
        let url = ask.url(&self.base).map_err(Failure::Local)?;
        let request = || {
            let (mut headers, method) = (ask.headers.clone(), ask.verb.method());
            super::headers::name_owner(&mut headers, self.owner.as_deref());
            self.identity.sign((&method, &url), &mut headers, ask.sha256, &self.region)?;
            Ok(ask.request(url.clone(), headers))
        };
        let work = async { self.stop.or_stopped_soon(LAST_WORD, self.engine.send(ask, request)).await };
        let answered = match self.engine.drive(work).flatten() {
            Some(answered) => answered.map_err(Failure::Local)?,
            None => return Err(Failure::NoAnswer("the run was to stop before one came".to_owned(), None)),
        };
        self.log(ask, &url, began, &answered);
        match answered {
            Ok(answer) if answer.is_good() => Ok(answer),
            Ok(answer) => Err(Failure::Refused(Refusal::read(&answer, &self.identity.secrets()))),
            Err(NoAnswer { why, hint, .. }) => Err(Failure::NoAnswer(why, hint)),
        }
    }

    fn log(&self, ask: &S3Request<'_>, url: &Url, began: Instant, answered: &Result<Answer, NoAnswer>) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (method, millis) = (ask.verb.method(), began.elapsed().as_millis());
        let what = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let (sent, got) = (ask.body.len(), answered.as_ref().map_or(0, |answer| answer.body.len()));
        match answered {
            Ok(answer) if answer.is_good() => {
                let status = answer.status;
                tracing::debug!("{method} {what}: HTTP {status} in {millis} ms, {sent} bytes sent, {got} received");
            }
            Ok(answer) => {
                let said = refusal::excerpt(&answer.body, &self.identity.secrets());
                let colon = if said.is_empty() { "" } else { ": " };
                tracing::debug!("{method} {what}: HTTP {} in {millis} ms{colon}{said}", answer.status);
            }
            Err(failed) => tracing::debug!("{method} {what}: no answer in {millis} ms: {}", failed.why),
        }
    }
}

impl Failure {
    fn is_expiry(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_expiry())
    }

    pub(super) fn is_temporary(&self) -> bool {
        matches!(self, Self::NoAnswer(..)) || matches!(self, Self::Refused(refusal) if refusal.is_temporary())
    }

    /// The same, for a listing that was asked because of an object.
    pub(super) fn of_all(self) -> Self {
        match self {
            Self::Refused(refusal) => Self::Refused(refusal.of_all()),
            other => other,
        }
    }

    /// Something that is no S3 store answered.
    pub(super) fn not_s3(what: &str) -> Self {
        Self::NoAnswer(format!("{what}: what answers there does not speak S3"), None)
    }
}

/// Whether another look-up can find other credentials.
const fn can_be_renewed(credentials: &S3Credentials) -> bool {
    !matches!(credentials, S3Credentials::Keys { .. })
}
