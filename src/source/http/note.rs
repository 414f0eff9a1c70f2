//! What `-vv` says of each request: its address without the query, the answer, how long it took, how large it is.
//!
//! Keeps nothing.

use jiff::Timestamp;
use reqwest::Response;

use super::failure::Failure;
use super::{TryOf, peek};

impl TryOf<'_> {
    /// Logs the answer (`-vv`), and the beginning of an error's body.
    pub(super) async fn note(&self, response: &mut Response, asked: Timestamp) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (url, method, status) = (self.page.url(), self.method(), response.status());
        let millis = Timestamp::now().duration_since(asked).as_millis();
        let is_error = status.is_client_error() || status.is_server_error();
        let begins = match is_error {
            true => peek::beginning(response, self.page, &self.settings.headers.0, self.auth.secrets()).await,
            false => String::new(),
        };
        let length = response.content_length().map_or_else(|| "unknown".to_owned(), |length| length.to_string());
        tracing::debug!(ms = %millis, bytes = %length, begins, "{method} {url}: {status}");
    }

    fn method(&self) -> &'static str {
        if self.page.body().is_some() { "POST" } else { "GET" }
    }

    /// Logs that no answer came (`-vv`).
    pub(super) fn note_failure(&self, failure: &Failure, asked: Timestamp) {
        if let Failure::Again(trouble) = failure {
            let millis = Timestamp::now().duration_since(asked).as_millis();
            tracing::debug!(ms = %millis, "{} {}: {}", self.method(), self.page, trouble.what);
        }
    }
}
