//! One request to the store and its answer, on an HTTP client of our own.
//!
//! Invariants: a request goes to the address it was made for and nowhere else, and no redirect is followed; no more of an answer is
//! kept than was asked for; every wait ends. Keeps nothing on disk.
//!
//! The store may have closed a connection that was kept open, which shows only when it is polled. So connections are polled before
//! use and not kept for long, and a request that breaks at once is sent a second time where that does no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Response, Url};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::refusal::Verb;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{self, Names};

/// How much of the body of a refusal is read.
const MOST_OF_A_REFUSAL: usize = 64 << 10;
/// How long the body of a refusal is waited for.
const REFUSAL_BODY: Duration = Duration::from_secs(5);
/// How much of a body is read whose length is not declared.
const UNDECLARED: usize = 64 << 20;
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: servers close theirs after 5 seconds at the earliest, and do not say so.
const KEPT: Duration = Duration::from_secs(4);
/// A request that breaks within this time met a connection that was closed before.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A request.
pub(super) struct S3Request<'a> {
    pub(super) verb: Verb,
    /// The object's key; empty for a listing.
    pub(super) key: &'a str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The SHA-256 of the body, hex.
    pub(super) sha256: &'a str,
    /// How long the answer's head may take, and then each next piece of its body.
    pub(super) patience: Duration,
    /// How long all of it may take.
    pub(super) whole: Duration,
    /// How many bytes of a good answer's body are read. 0: none.
    pub(super) most: usize,
    /// Whether sending it twice does no harm.
    pub(super) repeatable: bool,
}

/// An answer of any status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Never more than was asked for; of a refusal, what arrived.
    pub(super) body: Vec<u8>,
    /// Whether there was more.
    pub(super) cut: bool,
}

/// After so many timeouts in a row no more requests are sent: the store hangs, and a run that waits holds the lock. cron comes again.
const MOST_TIMEOUTS: u32 = 3;
/// After a timeout the next request is waited for by so much less.
const SHORTER_BY: Duration = Duration::from_secs(15);

/// No answer, or not a whole one, and why.
pub(super) struct NoAnswer {
    pub(super) why: String,
    /// What to do about it, where the cause tells.
    pub(super) hint: Option<String>,
    /// Whether the connection was closed before an answer began.
    closed: bool,
    /// Whether its time was over.
    timed_out: bool,
}

/// Sends requests. The threads that wait for an answer drive it together.
pub(super) struct Engine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    /// How many requests in a row got no whole answer in time.
    timeouts: AtomicU32,
}

impl Engine {
    /// One for the store at `base`.
    pub(super) fn new(base: &Url) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|cause| {
            Error::new(ErrorKind::State, "cannot start the S3 client").caused_by(cause).hint(crate::net::NO_RUNTIME)
        })?;
        let client = Client::builder()
            .user_agent(concat!("etl/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Names(|_: Option<&str>| ())))
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(KEPT)
            .tls_built_in_root_certs(net::needs_roots(base))
            .build();
        let client = client.map_err(|cause| {
            Error::new(ErrorKind::Config, "cannot make an HTTP client for the store")
                .hint("install the system's root certificates, or name a file of them in SSL_CERT_FILE")
                .caused_by(cause.without_url())
        })?;
        Ok(Self { runtime: Some(runtime), client, timeouts: AtomicU32::new(0) })
    }

    /// Drives `work` to its end. `None`: this is being dropped.
    pub(super) fn drive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.as_ref().map(|runtime| runtime.block_on(work))
    }

    /// Sends what `request` makes; a second time where the first met a connection that was closed before.
    pub(super) async fn send(&self, ask: &S3Request<'_>, request: impl Fn() -> Result<Request>) -> Result<Answered> {
        let began = Instant::now();
        if self.timeouts.load(Ordering::Relaxed) >= MOST_TIMEOUTS {
            return Ok(Err(NoAnswer::because("it did not answer in time a moment ago".to_owned())));
        }
        let mut answered = self.exchange(request()?, ask).await;
        if matches!(answered, Err(NoAnswer { closed: true, .. })) && ask.repeatable && began.elapsed() < AT_ONCE {
            answered = self.exchange(request()?, ask).await;
        }
        match &answered {
            Ok(_) => self.timeouts.store(0, Ordering::Relaxed),
            Err(failed) if failed.timed_out => drop(self.timeouts.fetch_add(1, Ordering::Relaxed)),
            Err(_) => {}
        }
        Ok(answered)
    }

    /// How long to wait, which is less after a timeout.
    fn shortened(&self, wait: Duration) -> Duration {
        if self.timeouts.load(Ordering::Relaxed) == 0 { wait } else { wait.saturating_sub(SHORTER_BY) }
    }

    async fn exchange(&self, mut request: Request, ask: &S3Request<'_>) -> Answered {
        let patience = self.shortened(ask.patience);
        *request.timeout_mut() = Some(self.shortened(ask.whole));
        // Lets the runtime see which of the connections that it keeps were closed.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        let mut response = match timeout(patience, self.client.execute(request)).await {
            Ok(answer) => answer.map_err(NoAnswer::of)?,
            Err(_) => return Err(NoAnswer::too_late(format!("none within {patience:?}"))),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut answer = Answer { status, headers, body: Vec::new(), cut: false };
        if ask.verb == Verb::Head {
            return Ok(answer);
        }
        if answer.is_good() {
            let declared = response.content_length().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
            answer.cut = ask.most > 0 && declared.is_some_and(|length| length > ask.most);
            let most = if declared.is_none() { ask.most.min(UNDECLARED) } else { ask.most };
            answer.take(&mut response, most, patience).await?;
        } else {
            answer.take_refusal(&mut response).await?;
        }
        Ok(answer)
    }
}

/// What a request came to on the wire.
pub(super) type Answered = Result<Answer, NoAnswer>;

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Resolving a host name may hang for a long time; the end of the run does not wait for it.
            runtime.shutdown_background();
        }
    }
}

impl S3Request<'_> {
    /// The request to the store at `base`, unsigned and without a body.
    pub(super) fn url(&self, base: &Url) -> Result<Url> {
        let base = base.as_str().trim_end_matches('/');
        let key = super::signing::escaped(self.key, false);
        let pair = |(name, value): &(&str, String)| format!("{name}={}", super::signing::escaped(value, true));
        let query = self.query.iter().map(pair).collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        Url::parse(&format!("{base}/{key}{mark}{query}"))
            .map_err(|cause| Error::new(ErrorKind::Bug, "cannot spell a request to S3").caused_by(cause))
    }

    pub(super) fn request(&self, url: Url, headers: HeaderMap) -> Request {
        let mut request = Request::new(self.verb.method(), url);
        *request.headers_mut() = headers;
        if self.verb == Verb::Put {
            // Shares the bytes.
            *request.body_mut() = Some(self.body.clone().into());
        }
        request
    }
}

impl Answer {
    /// 2xx.
    pub(super) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The text of a header; `None` also where it is no text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok())
    }

    /// Reads what arrives of the body of a refusal, for a short time.
    async fn take_refusal(&mut self, response: &mut Response) -> Result<(), NoAnswer> {
        let taken = timeout(REFUSAL_BODY, self.take(response, MOST_OF_A_REFUSAL, REFUSAL_BODY)).await;
        // These two need no body.
        let is_clear = matches!(self.status, 409 | 412) || super::refusal::names_its_code(&self.body);
        match taken {
            Ok(Err(failed)) if !is_clear => Err(failed),
            Err(_) if !is_clear => Err(NoAnswer::too_late(format!("HTTP {}, and its body never ended", self.status))),
            _ => Ok(()),
        }
    }

    async fn take(&mut self, response: &mut Response, most: usize, patience: Duration) -> Result<(), NoAnswer> {
        while most > 0 && !self.cut {
            let stalled = |_| NoAnswer::too_late("the transfer stalled".to_owned());
            let Some(piece) = timeout(patience, response.chunk()).await.map_err(stalled)?.map_err(NoAnswer::of)? else {
                break;
            };
            let room = most.saturating_sub(self.body.len());
            self.cut = piece.len() > room;
            self.body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        }
        Ok(())
    }
}

impl NoAnswer {
    fn because(why: String) -> Self {
        Self { why, hint: None, closed: false, timed_out: false }
    }

    /// Its time was over.
    fn too_late(why: String) -> Self {
        Self { timed_out: true, ..Self::because(why) }
    }

    fn of(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let timed_out = error.is_timeout();
        let (why, hint) = (chain(&error), net::hint(&error, "load.endpoint"));
        let ends = ["connection closed before message completed", "Connection reset", "Broken pipe"];
        let closed = ends.iter().any(|end| why.contains(end));
        Self { why, hint, closed, timed_out }
    }
}

/// The texts of an error and its causes, joined, without those that say only that there is a cause.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let says_something = |text: &String| text != "error sending request" && !text.starts_with("client error (");
    let texts: Vec<_> = causes.map(ToString::to_string).filter(says_something).collect();
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

impl Verb {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Put => Method::PUT,
            Self::Head => Method::HEAD,
            Self::Get | Self::List => Method::GET,
        }
    }
}
