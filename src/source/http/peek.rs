//! The beginning of an error's body, for the log (`-vv`).
//!
//! Keeps nothing. Invariant: it is short, on one line, and contains no secret of the request: some services repeat in an error what
//! they were asked.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{self, HeaderMap};

use crate::source::PageRequest;

/// The longest wait for the first bytes.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest beginning, in characters.
const SHOWN: usize = 200;
/// Shorter words are no secrets, and occur everywhere.
const SECRET: usize = 4;

/// The beginning of the body of `response`, an answer to `page` asked for with these `headers`, and `others` that are secret. Takes it
/// off the body.
pub(super) async fn beginning(
    response: &mut Response,
    page: &PageRequest,
    headers: &HeaderMap,
    others: Vec<String>,
) -> String {
    if response.headers().contains_key(header::CONTENT_ENCODING) {
        return String::new();
    }
    match tokio::time::timeout(PATIENCE, response.chunk()).await {
        Ok(Ok(Some(bytes))) => shown(&String::from_utf8_lossy(&bytes), &secrets(page, headers, others)),
        _ => String::new(),
    }
}

/// The secrets that a request carries.
fn secrets(page: &PageRequest, headers: &HeaderMap, others: Vec<String>) -> Vec<String> {
    let url = page.url().reveal();
    let values = headers.values().filter_map(|value| value.to_str().ok());
    let mut secrets: Vec<String> = values.flat_map(str::split_whitespace).map(str::to_owned).collect();
    secrets.extend(others);
    secrets.extend([url.username(), url.password().unwrap_or_default()].map(str::to_owned));
    secrets.extend(url.query().unwrap_or_default().split(['&', '=']).map(str::to_owned));
    secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    secrets.extend(page.header().and_then(|(_, value)| value.to_str().ok()).map(str::to_owned));
    // Of a body, what stands within quotes.
    secrets.extend(page.body().unwrap_or_default().split('"').skip(1).step_by(2).map(str::to_owned));
    secrets.retain(|secret| secret.len() >= SECRET);
    // Longer ones first: one may contain another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

fn shown(body: &str, secrets: &[String]) -> String {
    let text = secrets.iter().fold(body.to_owned(), |text, secret| text.replace(secret, "***"));
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    // User and password of an address travel in another spelling.
    let mut behind_scheme = false;
    let words = words.map(|word| {
        let scheme =
            std::mem::replace(&mut behind_scheme, ["basic", "bearer"].iter().any(|s| word.eq_ignore_ascii_case(s)));
        if scheme { "***" } else { word }
    });
    words.collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::PageUrl;

    #[test]
    fn beginning_is_short_on_one_line_and_without_what_was_sent() {
        let url = PageUrl::parse("https://me-too:pass%2Fword@h/l?key=s3cret%21&n=2&next").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer t0ken".parse().unwrap());
        let secrets = secrets(&PageRequest::get(url), &headers, vec!["opa1que".to_owned()]);
        let body = "<h1>No</h1>\r\n\u{1b}[2J /l?key=s3cret%21&n=2 (s3cret!) authorization: bASIC bWU6cGFzcw== of me-too:pass%2Fword";
        assert_eq!(shown(body, &secrets), "<h1>No</h1> [2J /l?key=***&n=2 (***) authorization: bASIC *** of ***:***");
        assert_eq!(shown("Bearer t0ken", &secrets), "*** ***");
        assert_eq!(shown("no opa1que", &secrets), "no ***");
        assert_eq!(shown(&"x".repeat(1000), &secrets).len(), SHOWN);
    }
}
