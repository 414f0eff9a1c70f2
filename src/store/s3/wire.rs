//! One request to the store and its answer, on an HTTP client of our own.
//!
//! Invariants: a request goes to the address it was made for and nowhere else, no redirect is ever followed; of an answer no more is
//! kept than was asked for, and no wait is without end. Keeps nothing on disk.
//!
//! A connection that was kept open may have been closed by the store meanwhile, which shows only when it is looked at: so it is
//! looked at before it is used, is not kept for long, and what breaks at once is sent once more where that does no harm.

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
/// How much is read of a body whose length nobody names.
const UNDECLARED: usize = 64 << 20;
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: servers close theirs after 5 seconds at the earliest, and do not say so.
const KEPT: Duration = Duration::from_secs(4);
/// What breaks within this time is a connection that had been closed before.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A request.
pub(super) struct Ask<'a> {
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
    /// How many bytes of a good answer's body are taken. 0: it is not looked at.
    pub(super) most: usize,
    /// Whether sending it twice does no harm.
    pub(super) repeatable: bool,
}

/// An answer of any status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Never more than was asked for. Of a refusal, what came of it.
    pub(super) body: Vec<u8>,
    /// Whether there was more.
    pub(super) cut: bool,
}

/// After so many requests in a row without a whole answer in time the store hangs: no more are sent. cron comes again, and a run that
/// waits holds the lock.
const MOST_UNHEARD: u32 = 3;
/// By so much less a request is waited for after one that was not answered in time.
const ONCE_UNHEARD: Duration = Duration::from_secs(15);

/// No answer, or not a whole one, and why.
pub(super) struct Silence {
    pub(super) why: String,
    /// What to do about it, where the cause tells.
    pub(super) hint: Option<String>,
    /// Whether the connection was closed before an answer began.
    closed: bool,
    /// Whether its time was over.
    timed_out: bool,
}

/// What sends. Driven by whichever caller waits: the threads that have a request under way drive it together.
pub(super) struct Engine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    /// How many requests in a row got no whole answer in time.
    unheard: AtomicU32,
}

impl Engine {
    /// One for the store at `base`.
    pub(super) fn new(base: &Url) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|cause| Error::new(ErrorKind::State, "cannot start the S3 client").caused_by(cause))?;
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
        Ok(Self { runtime: Some(runtime), client, unheard: AtomicU32::new(0) })
    }

    /// Drives `work` to its end. `None`: this is being dropped.
    pub(super) fn drive<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.as_ref().map(|runtime| runtime.block_on(work))
    }

    /// Sends what `request` makes, a second time where the first met a connection that had been closed.
    pub(super) async fn send(&self, ask: &Ask<'_>, request: impl Fn() -> Result<Request>) -> Result<Answered> {
        let began = Instant::now();
        if self.unheard.load(Ordering::Relaxed) >= MOST_UNHEARD {
            return Ok(Err(Silence::because("it did not answer in time a moment ago".to_owned())));
        }
        let mut answered = self.exchange(request()?, ask).await;
        if matches!(answered, Err(Silence { closed: true, .. })) && ask.repeatable && began.elapsed() < AT_ONCE {
            answered = self.exchange(request()?, ask).await;
        }
        match &answered {
            Ok(_) => self.unheard.store(0, Ordering::Relaxed),
            Err(silence) if silence.timed_out => drop(self.unheard.fetch_add(1, Ordering::Relaxed)),
            Err(_) => {}
        }
        Ok(answered)
    }

    /// What of a time to wait is left for a request after one that was not answered in time.
    fn shortened(&self, wait: Duration) -> Duration {
        if self.unheard.load(Ordering::Relaxed) == 0 { wait } else { wait.saturating_sub(ONCE_UNHEARD) }
    }

    async fn exchange(&self, mut request: Request, ask: &Ask<'_>) -> Answered {
        let patience = self.shortened(ask.patience);
        *request.timeout_mut() = Some(self.shortened(ask.whole));
        // Lets the runtime see which of the connections that it keeps have ended.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        let mut response = match timeout(patience, self.client.execute(request)).await {
            Ok(answer) => answer.map_err(Silence::of)?,
            Err(_) => return Err(Silence::too_late(format!("none within {patience:?}"))),
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
pub(super) type Answered = Result<Answer, Silence>;

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A look-up of a host's name may hang for a long time; the end of the run does not wait for it.
            runtime.shutdown_background();
        }
    }
}

impl Ask<'_> {
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

    /// What came of the body. What a refusal says is worth having, and not worth waiting for.
    async fn take_refusal(&mut self, response: &mut Response) -> Result<(), Silence> {
        let taken = timeout(REFUSAL_BODY, self.take(response, MOST_OF_A_REFUSAL, REFUSAL_BODY)).await;
        // These two say all with their number.
        let is_clear = matches!(self.status, 409 | 412) || super::refusal::names_its_code(&self.body);
        match taken {
            Ok(Err(silence)) if !is_clear => Err(silence),
            Err(_) if !is_clear => Err(Silence::too_late(format!("HTTP {}, and its body never ended", self.status))),
            _ => Ok(()),
        }
    }

    async fn take(&mut self, response: &mut Response, most: usize, patience: Duration) -> Result<(), Silence> {
        while most > 0 && !self.cut {
            let stalled = |_| Silence::too_late("the transfer stalled".to_owned());
            let Some(piece) = timeout(patience, response.chunk()).await.map_err(stalled)?.map_err(Silence::of)? else {
                break;
            };
            let room = most.saturating_sub(self.body.len());
            self.cut = piece.len() > room;
            self.body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        }
        Ok(())
    }
}

impl Silence {
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

/// The texts of an error and its causes, joined.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
