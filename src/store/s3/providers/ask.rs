//! One small request to who gives out credentials.
//!
//! Invariants: it goes to the address it was made for and nowhere else, no redirect is followed, and none goes through a proxy
//! unless it is allowed to; every wait ends, soon after a stop; of an answer a bounded part is read.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Url};
use tokio::runtime::Builder;

use crate::error::{Error, ErrorKind, Result};
use crate::net::backoff::Backoff;
use crate::net::{self, Names};
use crate::stop::{Grace, Stop};
use crate::store::s3::wire::chain;

/// The longest answer that is read: credentials are a few kilobytes.
const LONGEST: usize = 256 << 10;
/// No time is left for an answer after a stop.
const AT_ONCE: Grace = Grace { after_a_signal: Duration::ZERO, after_the_deadline: Duration::ZERO };

/// Whether proxies of the environment are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Never: the address means something on this machine alone.
    Direct,
    /// As for the store.
    Proxies,
}

/// A request.
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// An answer of any status.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Sends requests; made for one look-up.
pub(super) struct Asker<'a> {
    client: Client,
    runtime: tokio::runtime::Runtime,
    stop: &'a Stop,
    whole: Duration,
    tries: u32,
}

impl<'a> Asker<'a> {
    /// `whole`: how long one answer may take.
    pub(super) fn new(way: Way, url: &Url, whole: Duration, tries: u32, stop: &'a Stop) -> Result<Self> {
        // Whoever needs HTTPS panics without a provider; a second call changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cannot = |what: &str| {
            Error::new(ErrorKind::State, format!("cannot ask for S3 credentials: no {what}"))
                .hint(crate::net::NO_RUNTIME)
        };
        let builder = Client::builder()
            .user_agent(concat!("etl/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Names(|_: Option<&str>| ())))
            .redirect(Policy::none())
            .referer(false)
            .tls_built_in_root_certs(net::needs_roots(url));
        let builder = if way == Way::Direct { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|cause| cannot("HTTP client").caused_by(cause.without_url()))?;
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|cause| cannot("runtime").caused_by(cause))?;
        Ok(Self { client, runtime, stop, whole, tries })
    }

    /// The answer; `Err` says why there is none. What may pass is asked again.
    pub(super) fn ask(&self, question: &Question) -> Result<Reply, String> {
        let mut tried = 1;
        loop {
            let answered = self.once(question);
            let may_pass = answered.as_ref().map_or(true, |reply| reply.status >= 500 || reply.status == 429);
            if !may_pass || tried >= self.tries || self.stop.sleep(Backoff::STORE.wait(tried, None)) {
                return answered;
            }
            tried += 1;
        }
    }

    fn once(&self, question: &Question) -> Result<Reply, String> {
        let exchange = async { tokio::time::timeout(self.whole, self.exchange(question)).await };
        let answered = self.runtime.block_on(self.stop.or_stopped_soon(AT_ONCE, exchange));
        match answered {
            None => Err("the run was to stop before an answer came".to_owned()),
            Some(Err(_)) => Err(format!("no answer within {:?}", self.whole)),
            Some(Ok(answered)) => answered,
        }
    }

    async fn exchange(&self, question: &Question) -> Result<Reply, String> {
        let why = |cause: reqwest::Error| format!("no answer: {}", chain(&cause.without_url()));
        let mut request = Request::new(question.method.clone(), question.url.clone());
        *request.headers_mut() = question.headers.clone();
        if !question.body.is_empty() {
            *request.body_mut() = Some(question.body.clone().into());
        }
        let mut response = self.client.execute(request).await.map_err(why)?;
        let (status, mut body) = (response.status().as_u16(), Vec::new());
        while let Some(piece) = response.chunk().await.map_err(why)? {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST {
                return Err(format!("HTTP {status}, and an answer longer than any credentials"));
            }
        }
        Ok(Reply { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl Question {
    pub(super) fn get(url: &Url) -> Self {
        Self { method: Method::GET, url: url.clone(), headers: HeaderMap::new(), body: String::new() }
    }
}
