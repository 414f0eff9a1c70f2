//! What went wrong in a try, and whether another may help.
//!
//! Owns the texts of all failures of an HTTP source. Invariant: they contain no header's value except the content type and encoding, and
//! addresses only redacted. Pure.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{self, HeaderName};
use reqwest::{Response, StatusCode};

use super::MAX_REDIRECTS;
use super::waiting::Waiting;
use crate::error::{Error, ErrorKind};
use crate::net::backoff::retry_after;
use crate::net::{self, http_date};
use crate::output::numbers::bytes;
use crate::source::PageUrl;
use crate::source::body::{Coding, Refusal};

/// Why a try failed.
pub(super) enum Failure {
    /// Another may succeed.
    Again(Trouble),
    /// Another would fail the same way.
    Final(Error),
}

/// What went wrong in a try that may be repeated.
#[derive(Default)]
pub(super) struct Trouble {
    /// What happened, without the address.
    pub(super) what: String,
    /// The wait that the source asked for.
    pub(super) asked: Option<Duration>,
    cause: Option<reqwest::Error>,
    /// What to do, where it is known.
    hint: Option<&'static str>,
}

/// What to do about a source that is away.
const AGAIN: &str = "run again later: nothing that was received is lost";
/// What to do about JSON that is not a page.
const ANOTHER_SHAPE: &str =
    "if it is always so, say in source.items where the array of logs is within it, as in \"/data/items\"";

impl Failure {
    pub(super) fn again(what: impl Into<String>) -> Self {
        Self::Again(Trouble { what: what.into(), ..Trouble::default() })
    }

    pub(super) fn broken(what: impl Into<String>, cause: reqwest::Error) -> Self {
        Self::Again(Trouble { what: what.into(), cause: Some(cause.without_url()), ..Trouble::default() })
    }

    pub(super) fn unavailable(message: String, hint: &str) -> Self {
        Self::Final(Error::new(ErrorKind::Unavailable, message).hint(hint))
    }
}

impl Trouble {
    pub(super) fn into_error(self, url: &PageUrl, tries: u32) -> Error {
        let times = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries, at the last") };
        let error = Error::new(ErrorKind::Unavailable, format!("{url} gave no page in {times}: {}", self.what));
        let Some(cause) = self.cause else { return error.hint(self.hint.unwrap_or(AGAIN)) };
        let usual = || "run again later; if it stays so, check source.url, source.timeout and the network".to_owned();
        let hint = net::hint(&cause, "source.url").unwrap_or_else(usual);
        error.hint(hint).caused_by(cause)
    }
}

/// The run's time ended during a wait for the source; `before` is how the last complete try failed.
pub(super) fn out_of_time(url: &PageUrl, waiting: &Waiting, before: Option<Trouble>) -> Error {
    let before = before.map_or_else(String::new, |trouble| format!(" (the try before: {})", trouble.what));
    let text = format!("{url} gave no page before the run's time (--max-runtime) was over: {waiting}{before}");
    Error::new(ErrorKind::Unavailable, text)
        .hint("run again later; if it stays so, give the run more time, or look why the source is slow")
}

/// The coding of the answer's body.
pub(super) fn coding(url: &PageUrl, response: &Response) -> Result<Coding, Failure> {
    let coding = text_of(response, &header::CONTENT_ENCODING).unwrap_or_default().trim().to_ascii_lowercase();
    match coding.as_str() {
        "" | "identity" => Ok(Coding::Unsaid),
        "gzip" | "x-gzip" => Ok(Coding::Gzip),
        "zstd" => Ok(Coding::Zstd),
        _ => Err(Failure::unavailable(
            format!("{url} answered in the content encoding {coding:?}, which nobody asked for"),
            "ask the service's owner: gzip, zstd or none is understood",
        )),
    }
}

/// A refused body of an answer 200.
pub(super) fn no_page(url: &PageUrl, refusal: Refusal, limit: u64, response: &Response) -> Failure {
    match refusal {
        Refusal::Sink(error) => Failure::Final(error),
        Refusal::TooLarge(what) => too_large(url, what, limit),
        Refusal::NoPage(what) => {
            let kind = text_of(response, &header::CONTENT_TYPE).unwrap_or("no content type");
            let kind: String = kind.chars().take_while(|character| *character != ';').take(80).collect();
            let hint = what.contains("JSON object").then_some(ANOTHER_SHAPE);
            let what = format!("answered 200, but {what} ({kind})");
            Failure::Again(Trouble { what, hint, ..Trouble::default() })
        }
    }
}

/// Lines of JSON of which nobody can tell whether all of them came.
pub(super) fn endless(url: &PageUrl) -> Failure {
    Failure::unavailable(
        format!("{url} answered lines of JSON without a length, so nobody can tell whether all of them came"),
        "ask the service's owner for a Content-Length, a chunked answer, or one in gzip; the whole pages that came are kept",
    )
}

/// A body over the cap: it would come again.
pub(super) fn too_large(url: &PageUrl, what: &str, limit: u64) -> Failure {
    Failure::unavailable(
        format!("the {what} from {url} is larger than source.max_page_bytes ({})", bytes(limit)),
        "raise source.max_page_bytes, or ask the service for smaller pages",
    )
}

/// An answer that is neither a body nor "nothing new".
pub(super) fn refused(url: &PageUrl, response: &Response) -> Failure {
    let status = response.status();
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error() {
        let (what, asked) = (format!("answered {status}"), asked_wait(response));
        return Failure::Again(Trouble { what, asked, ..Trouble::default() });
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let error = Error::new(ErrorKind::Credentials, format!("{url} refused the credentials: {status}"));
        return Failure::Final(error.hint("check what source.headers sends, and the environment it is taken from"));
    }
    match text_of(response, &header::LOCATION) {
        Some(target) if status.is_redirection() => not_followed(url, response, target),
        _ => Failure::unavailable(format!("{url} answered {status}, which is not a page"), "check source.url"),
    }
}

fn not_followed(url: &PageUrl, response: &Response, target: &str) -> Failure {
    let Ok(target) = response.url().join(target) else {
        return Failure::unavailable(format!("{url} redirects to what is not an address"), "check source.url");
    };
    if target.origin() == response.url().origin() {
        let message = format!("{url} redirects more than {MAX_REDIRECTS} times");
        return Failure::unavailable(message, "check source.url");
    }
    Failure::unavailable(
        format!("{url} redirects to another host, which is not followed: {}", PageUrl::from(target)),
        "if that is where the logs are now, set source.url to it",
    )
}

/// The value of the response header `name`, where there is one and it is text.
pub(super) fn text_of<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The wait that the answer asks for, by the source's own clock where it tells the time.
fn asked_wait(response: &Response) -> Option<Duration> {
    let now = text_of(response, &header::DATE).and_then(http_date).unwrap_or_else(Timestamp::now);
    retry_after(text_of(response, &header::RETRY_AFTER)?, now)
}
