//! What sends requests: a runtime and its clients. Made at the first request of a run.
//!
//! Invariant: a header that is meant for the source goes to its own scheme, host and port only.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder};
use tokio::runtime::Runtime;

use super::waiting::Waiting;
use super::{Auth, HttpSettings, PageUrl};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{self, Names};

/// The longest wait for a connection, even where `timeout` is longer.
const MAX_CONNECT: Duration = Duration::from_secs(10);
/// Who asks.
const USER_AGENT: &str = concat!("etl/", env!("CARGO_PKG_VERSION"));
/// How many redirects one try follows.
pub(super) const MAX_REDIRECTS: usize = 5;

#[derive(Debug)]
pub(super) struct Engine {
    /// `None` only while it is dropped.
    pub(super) runtime: Option<Runtime>,
    pub(super) client: Client,
    /// For tokens: without the headers that are meant for the source.
    pub(super) tokens: Client,
    pub(super) waiting: Waiting,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Resolving a host name may hang for a long time; the end of the run does not wait for it.
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    pub(super) fn new(settings: &HttpSettings, auth: &Auth, url: &PageUrl) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|cause| {
            Error::new(ErrorKind::State, "cannot start the network runtime")
                .caused_by(cause)
                .hint(crate::net::NO_RUNTIME)
        })?;
        let waiting = Waiting::default();
        let client = |needs_roots, finish: fn(ClientBuilder, &HttpSettings) -> ClientBuilder| {
            let builder = auth.tls.set_up(plain(settings, &waiting), needs_roots);
            finish(builder, settings).build().map_err(no_client)
        };
        let source = client(net::needs_roots(url.reveal()), |builder, settings| {
            builder.default_headers(default_headers(settings)).redirect(Policy::custom(redirect))
        })?;
        let tokens = match &auth.oauth2 {
            Some(oauth2) => client(net::needs_roots(oauth2.token_url()), |builder, _| {
                builder.user_agent(USER_AGENT).redirect(Policy::none())
            })?,
            // It is not asked.
            None => source.clone(),
        };
        Ok(Self { runtime: Some(runtime), client: source, tokens, waiting })
    }
}

/// What both clients are made of.
fn plain(settings: &HttpSettings, waiting: &Waiting) -> ClientBuilder {
    let watch = waiting.clone();
    Client::builder()
        .dns_resolver(Arc::new(Names(move |host: Option<&str>| watch.for_name(host))))
        // See the module: no connection is used twice.
        .pool_max_idle_per_host(0)
        .connect_timeout(settings.timeout.min(MAX_CONNECT))
        .referer(false)
        // Unpacked by us, so that both sizes are checked.
        .no_gzip()
}

fn no_client(cause: reqwest::Error) -> Error {
    Error::new(ErrorKind::Config, "cannot make an HTTP client")
        .hint("install the system's root certificates, or name a file of them in SSL_CERT_FILE")
        .caused_by(cause.without_url())
}

fn default_headers(settings: &HttpSettings) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
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
