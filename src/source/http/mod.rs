//! Pages over HTTP: one GET at a time, retried where that may help, streamed into the caller's sink.
//!
//! Owns the client and what an answer means. Invariant: every try has a sink of its own, and only a try with a complete array within
//! the caps returns it. No message contains a header's value, or the userinfo or query of an address.
//!
//! Each request has a connection of its own. A server may close a kept connection, or have bytes left for it, and we may see that too
//! late: the next request would fail, or a left-over answer would be taken for the next page, which would be lost. Within a trail TLS
//! sessions are resumed: a page costs two more round trips, and little work.
//!
//! All time-outs follow from `timeout`: connecting may take it, but at most 10 s; the answer's head, and each next piece of its body,
//! may take it; a whole try may take ten times as long. A proxy that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`,
//! `NO_PROXY`) is used, as with curl.
//!
//! A run whose deadline ends a wait for the source ends as unavailable: a source that hangs is not a source without news.
//!
//! 204 is an empty page: many services answer it when there is nothing new. Other answers without a body are no page: 205 tells a
//! browser to clear a form, so another service answered.
//!
//! Retried: no connection, no answer in time, a broken connection, 408, 429, 5xx, and a 200 without a page (HTML, cut short, empty,
//! damaged gzip). Final: other answers, and a body over the caps, which would come again. The first byte tells what a body is, not its
//! content type: small frameworks send JSON as `text/html`.

mod failure;
mod note;
mod peek;
mod skew;
mod waiting;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tokio::runtime::Runtime;

use self::failure::{Failure, Trouble, text_of};
use self::skew::Skew;
use self::waiting::Waiting;

use super::body::{BodyCheck, Expected};
use super::{Fetched, PageHead, PageShape, PageSink, PageUrl, paging};
use crate::error::{Error, ErrorKind, Result};
use crate::net::backoff::Backoff;
use crate::net::{self, Names};
use crate::stop::Stop;

/// The longest wait for a connection, even where `timeout` is longer.
const MAX_CONNECT: Duration = Duration::from_secs(10);
/// How many times the `timeout` a whole try may take.
const WHOLE_TRY: u32 = 10;
/// A source whose newest page came within this time does not hang when the deadline ends the trail.
const LIVELY: Duration = Duration::from_secs(2);
/// The page that stands for an answer without a body.
const NO_ELEMENTS: &[u8] = b"[]";
/// How many redirects one try follows.
const MAX_REDIRECTS: usize = 5;

/// Request headers whose values are secrets.
#[derive(Debug, Clone, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// Headers from names and values.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the header and never its value.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let wrong = |what: &str, hint: &str| {
                Error::new(ErrorKind::Config, format!("source.headers: {what} of {name:?}")).hint(hint)
            };
            let parsed =
                HeaderName::try_from(name).map_err(|_| wrong("no header can have the name", "fix the name"))?;
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                wrong("no header can have the value", "look for a line end or another control character in it")
            })?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        Ok(Self(headers))
    }
}

/// How to fetch.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Sent with every request, on top of our own; one of the same name replaces ours.
    pub headers: Headers,
    /// All other time-outs follow from it; see the module.
    pub timeout: Duration,
    /// How many times a failed try is followed by another.
    pub retries: u32,
    /// The cap on a body, in bytes: as received, and uncompressed.
    pub max_page_bytes: u64,
    /// The waits between tries.
    pub backoff: Backoff,
    /// What the pages look like.
    pub shape: PageShape,
}

/// A source of pages. Blocks; must not be used from within an asynchronous runtime.
#[derive(Debug)]
pub struct HttpSource {
    settings: HttpSettings,
    stop: Stop,
    /// Made at the first fetch: other runs need none.
    engine: Option<Engine>,
    /// When the newest page came.
    newest: Option<Instant>,
    skew: Skew,
}

#[derive(Debug)]
struct Engine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    waiting: Waiting,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Resolving a host name may hang for a long time; the end of the run does not wait for it.
            runtime.shutdown_background();
        }
    }
}

impl HttpSource {
    /// A source that stops waiting at a stop.
    #[must_use]
    pub fn new(settings: HttpSettings, stop: Stop) -> Self {
        Self { settings, stop, engine: None, newest: None, skew: Skew::default() }
    }

    /// Ends the waiting for the source.
    #[must_use]
    pub(crate) const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Whether the source's clock and this machine's are too far apart, by the last answer that told.
    pub(crate) fn clock_is_off(&self) -> bool {
        self.skew.is_off()
    }

    /// Fetches the page at `url` into a sink from `new_sink`, a fresh one for each try. With `etag`, the tag of an earlier page, the
    /// source may answer that there is nothing new.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: no page in all tries or until the deadline, or an answer that another try would not change.
    /// [`ErrorKind::Credentials`]: 401 or 403. [`ErrorKind::Config`]: no usable root certificates.
    /// An error of `new_sink` or of a sink is returned as it is.
    pub(crate) fn fetch<S: PageSink>(
        &mut self,
        url: &PageUrl,
        etag: Option<&str>,
        mut new_sink: impl FnMut() -> Result<S>,
    ) -> Result<Fetched<S>> {
        let (mut tries, mut before) = (0, None::<Trouble>);
        while !self.stop.is_requested() {
            tries += 1;
            let trouble = match self.try_once(url, etag, &mut new_sink) {
                Ok(Some(fetched)) => return Ok(fetched),
                Ok(None) => return self.cut_short(url, before),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(trouble)) => trouble,
            };
            let wait = self.settings.backoff.wait(tries, trouble.asked);
            // A wait that the deadline would end is useless.
            if tries > self.settings.retries || self.stop.time_left().is_some_and(|left| left <= wait) {
                return Err(trouble.into_error(url, tries));
            }
            tracing::info!(%url, tries, ?wait, "no page: {}", trouble.what);
            let _ = self.stop.sleep(wait);
            before = Some(trouble);
        }
        match before {
            Some(trouble) if self.stop.signal().is_none() => Err(trouble.into_error(url, tries)),
            _ => Ok(Fetched::Stopped),
        }
    }

    /// One try; `None` where a stop came first.
    fn try_once<S: PageSink>(
        &mut self,
        url: &PageUrl,
        etag: Option<&str>,
        new_sink: &mut impl FnMut() -> Result<S>,
    ) -> Result<Option<Fetched<S>>, Failure> {
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::new(&self.settings, net::needs_roots(url.reveal())).map_err(Failure::Final)?,
        };
        let engine = self.engine.insert(engine);
        let Some(runtime) = &engine.runtime else { return Ok(None) };
        let longest = self.settings.timeout.saturating_mul(WHOLE_TRY);
        let attempt = TryOf { settings: &self.settings, url, waiting: &engine.waiting, skew: &self.skew };
        let work = async {
            let tried = tokio::time::timeout(longest, attempt.run(&engine.client, etag, new_sink)).await;
            // Lets the connection close: some servers wait for that before they accept the next.
            tokio::task::yield_now().await;
            tried
        };
        match runtime.block_on(self.stop.or_stopped(work)) {
            None => Ok(None),
            Some(Ok(Ok(fetched))) => {
                self.newest = Some(Instant::now());
                Ok(Some(fetched))
            }
            Some(Ok(Err(failure))) => Err(failure),
            Some(Err(_)) => Err(Failure::again(format!("the body was not complete after {longest:?}"))),
        }
    }

    /// The result of a fetch that a stop ended while it waited for the source. The deadline may end a trail whose pages keep coming;
    /// otherwise it ends a source that gives nothing.
    fn cut_short<S>(&self, url: &PageUrl, before: Option<Trouble>) -> Result<Fetched<S>> {
        let lively = before.is_none() && self.newest.is_some_and(|newest| newest.elapsed() < LIVELY);
        match &self.engine {
            Some(engine) if self.stop.signal().is_none() && !lively => {
                Err(failure::out_of_time(url, &engine.waiting, before))
            }
            _ => Ok(Fetched::Stopped),
        }
    }
}

impl Engine {
    fn new(settings: &HttpSettings, needs_roots: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|cause| {
            Error::new(ErrorKind::State, "cannot start the network runtime")
                .caused_by(cause)
                .hint(crate::net::NO_RUNTIME)
        })?;
        let waiting = Waiting::default();
        let watch = waiting.clone();
        let client = Client::builder()
            .dns_resolver(Arc::new(Names(move |host: Option<&str>| watch.for_name(host))))
            // See the module: no connection is used twice.
            .pool_max_idle_per_host(0)
            .default_headers(default_headers(settings))
            .connect_timeout(settings.timeout.min(MAX_CONNECT))
            .redirect(Policy::custom(redirect))
            .referer(false)
            .tls_built_in_root_certs(needs_roots)
            // Unpacked by us, so that both sizes are checked.
            .no_gzip()
            .build()
            .map_err(|cause| {
                Error::new(ErrorKind::Config, "cannot make an HTTP client")
                    .hint("install the system's root certificates, or name a file of them in SSL_CERT_FILE")
                    .caused_by(cause.without_url())
            })?;
        Ok(Self { runtime: Some(runtime), client, waiting })
    }
}

fn default_headers(settings: &HttpSettings) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("etl/", env!("CARGO_PKG_VERSION"))));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for (name, value) in &settings.headers.0 {
        headers.insert(name, value.clone());
    }
    headers
}

/// Follows only to the same scheme, host and port: the headers are meant for that host.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().first().map(reqwest::Url::origin);
    if from == Some(attempt.url().origin()) && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// One try.
struct TryOf<'a> {
    settings: &'a HttpSettings,
    url: &'a PageUrl,
    waiting: &'a Waiting,
    skew: &'a Skew,
}

impl TryOf<'_> {
    async fn run<S: PageSink>(
        &self,
        client: &Client,
        etag: Option<&str>,
        new_sink: &mut impl FnMut() -> Result<S>,
    ) -> Result<Fetched<S>, Failure> {
        let mut request = client.get(self.url.reveal().clone());
        // A tag that no header can carry is left out: then the whole page comes.
        let etag = etag.and_then(|etag| HeaderValue::from_str(etag).ok());
        let conditional = etag.is_some();
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        self.waiting.for_answer();
        let asked = Timestamp::now();
        let mut response = self.send(request).await.inspect_err(|failure| self.note_failure(failure, asked))?;
        self.skew.look_at(&response, asked);
        self.note(&mut response, asked).await;
        match response.status() {
            StatusCode::OK => self.receive(response, new_sink).await,
            StatusCode::NO_CONTENT => self.nothing_new(&response, new_sink),
            StatusCode::NOT_MODIFIED if conditional => Ok(Fetched::NotModified),
            _ => Err(failure::refused(self.url, &response)),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            // The time-out for the connection includes resolving the name.
            Ok(Err(cause)) if cause.is_timeout() && self.waiting.is_for_name() => {
                Err(Failure::again(self.waiting.to_string()))
            }
            Ok(Err(cause)) if cause.is_connect() => Err(Failure::broken("no connection", cause)),
            Ok(Err(cause)) => Err(Failure::broken("no answer", cause)),
            Err(_) if self.waiting.is_for_name() => Err(Failure::again(self.waiting.to_string())),
            Err(_) => Err(Failure::again(format!("no answer within {limit:?}"))),
        }
    }

    /// Writes an empty page into a new sink.
    fn nothing_new<S: PageSink>(
        &self,
        response: &Response,
        new_sink: &mut impl FnMut() -> Result<S>,
    ) -> Result<Fetched<S>, Failure> {
        let mut sink = new_sink().map_err(Failure::Final)?;
        sink.write(NO_ELEMENTS).map_err(Failure::Final)?;
        Ok(Fetched::Page { sink, head: self.head(response, NO_ELEMENTS.len() as u64) })
    }

    /// Streams the body of a 200 into a new sink.
    async fn receive<S: PageSink>(
        &self,
        mut response: Response,
        new_sink: &mut impl FnMut() -> Result<S>,
    ) -> Result<Fetched<S>, Failure> {
        let (url, limit) = (self.url, self.settings.max_page_bytes);
        let coding = failure::coding(url, &response)?;
        let expected = Expected { shape: &self.settings.shape, kind: whole::kind(url, &response), limit };
        if !expected.may_be_lines() && response.content_length().is_some_and(|length| length > limit) {
            return Err(failure::too_large(url, "body", limit));
        }
        let sink = new_sink().map_err(Failure::Final)?;
        let mut body = BodyCheck::new(coding, expected, sink)
            .map_err(|refusal| failure::no_page(url, refusal, limit, &response))?;
        loop {
            let received = body.received();
            self.waiting.for_body(received);
            let next = tokio::time::timeout(self.settings.timeout, response.chunk()).await;
            match next {
                Ok(Ok(Some(bytes))) => {
                    body.write(&bytes).map_err(|refusal| failure::no_page(url, refusal, limit, &response))?
                }
                Ok(Ok(None)) => break,
                Ok(Err(cause)) => {
                    return Err(Failure::broken(format!("the body was cut short after {received} bytes"), cause));
                }
                Err(_) => {
                    let limit = self.settings.timeout;
                    return Err(Failure::again(format!("the body stalled for {limit:?} after {received} bytes")));
                }
            }
        }
        if body.is_lines() && !whole::shows_its_end(body.coding(), &response) {
            return Err(failure::endless(url));
        }
        let (sink, bytes) = body.finish().map_err(|refusal| failure::no_page(url, refusal, limit, &response))?;
        Ok(Fetched::Page { sink, head: self.head(&response, bytes) })
    }

    fn head(&self, response: &Response, bytes: u64) -> PageHead {
        let links = response.headers().get_all(header::LINK).iter().map(HeaderValue::as_bytes);
        PageHead {
            etag: text_of(response, &header::ETAG).map(str::to_owned),
            next: paging::next_page(self.url, response.url(), links),
            bytes,
        }
    }
}

#[cfg(test)]
mod tests;
