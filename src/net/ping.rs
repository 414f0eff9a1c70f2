//! Small requests whose body is of no interest: a server's clock, and pings to a monitor.
//!
//! Keeps nothing. Invariants: an address is never part of an error, and a call takes `PATIENCE` at most. What is asked for here is
//! never worth a failure: callers make a warning of it, or nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, header};

use crate::error::{Error, ErrorKind, Result};
use crate::net::{Names, http_date};
use crate::secret::SourceUrl;
use crate::stop::Grace;

/// The longest that a call may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer is still waited for once the run is to stop.
const LAST_WORD: Grace = Grace { after_a_signal: Duration::from_secs(1), after_the_deadline: Duration::from_secs(1) };

/// The time that the server of `url` gives; `None` where it gives none. Asks for its root, without any credential.
///
/// # Errors
/// `Unavailable`: it does not answer.
pub fn clock_of(url: &SourceUrl) -> Result<Option<Timestamp>> {
    let mut root = parsed(url)?;
    root.set_path("/");
    root.set_query(None);
    // Neither is refused by an address that has a host.
    let _ = (root.set_username(""), root.set_password(None));
    let answer = send(|client| client.head(root))?;
    let text = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
    Ok(text.and_then(http_date))
}

/// POSTs `body` to `url`.
///
/// # Errors
/// `Unavailable`: no answer, or not a 2xx. Never holds the address.
pub fn post(url: &SourceUrl, body: String) -> Result<()> {
    let url = parsed(url)?;
    let answer = send(|client| client.post(url).body(body))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unavailable, format!("HTTP {}", status.as_u16())))
}

fn parsed(url: &SourceUrl) -> Result<reqwest::Url> {
    reqwest::Url::parse(url.expose()).map_err(|_| Error::new(ErrorKind::Config, "not a URL"))
}

fn send(request: impl FnOnce(&Client) -> reqwest::RequestBuilder) -> Result<Response> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|cause| {
        Error::new(ErrorKind::State, "cannot start the network runtime").caused_by(cause).hint(super::NO_RUNTIME)
    })?;
    let client = Client::builder()
        .user_agent(concat!("etl/", env!("CARGO_PKG_VERSION")))
        .timeout(PATIENCE)
        .dns_resolver(Arc::new(Names(|_: Option<&str>| ())))
        // What is meant for one host goes to no other.
        .redirect(Policy::none())
        .build()
        .map_err(|cause| Error::new(ErrorKind::Config, "cannot make an HTTP client").caused_by(cause.without_url()))?;
    // Made within the runtime, whose timer it needs.
    let stop = crate::stop::installed().unwrap_or_default();
    let answer = runtime.block_on(async { stop.or_stopped_soon(LAST_WORD, request(&client).send()).await });
    // A look-up of a host's name may hang for a long time; nobody waits for it.
    runtime.shutdown_background();
    let answer = answer.ok_or_else(|| Error::new(ErrorKind::Unavailable, "no answer before the run was to stop"))?;
    answer.map_err(|cause| Error::new(ErrorKind::Unavailable, "no answer").caused_by(cause.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_in_no_error() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = SourceUrl::parse(&format!("http://127.0.0.1:{port}/s3cret")).unwrap();
        let error = post(&url, String::new()).unwrap_err();
        assert!(!error.chain().contains("s3cret"), "{}", error.chain());
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
