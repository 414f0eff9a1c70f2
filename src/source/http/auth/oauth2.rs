//! Client credentials of OAuth 2.0 (RFC 6749, 4.4): what is sent for a token, and what its answer means. Pure.
//!
//! Invariant: no text made here holds a secret, nor what the server says in its own words, which may repeat one: of a refusal only its
//! code is shown.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::{Secret, SourceUrl};

/// A client that gets tokens in its own name.
#[derive(Debug, Clone)]
pub struct OAuth2 {
    token_url: Url,
    shown: String,
    id: Secret,
    secret: Secret,
    scope: String,
    audience: String,
    in_body: bool,
}

/// What a client asks for, and how.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the token may be used for; empty: what the server gives by itself.
    pub scope: &'a str,
    /// For whom it is; empty: not said.
    pub audience: &'a str,
    /// Whether the client's secret goes in the body: the header that every server has to take is the other way.
    pub in_body: bool,
}

/// A token, as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) token: Secret,
    /// `None`: not said.
    pub(super) lifetime: Option<Duration>,
}

/// Why an answer holds no token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server is away or busy.
    Away(String),
    /// It refused this client, with this code.
    Client(String),
    /// It is no server of tokens, or another kind.
    Strange(String),
}

impl OAuth2 {
    /// The client `id`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: `token_url` is no address.
    pub fn new(token_url: &SourceUrl, id: Secret, secret: Secret, request: Request<'_>) -> Result<Self> {
        let shown = token_url.to_string();
        let token_url = Url::parse(token_url.expose()).map_err(|cause| {
            Error::new(ErrorKind::Config, format!("source.auth.token_url is no web address: {cause}"))
                .hint("write it as in \"https://login.example.com/oauth2/token\"")
        })?;
        let Request { scope, audience, in_body } = request;
        Ok(Self { token_url, shown, id, secret, scope: scope.to_owned(), audience: audience.to_owned(), in_body })
    }

    /// Where tokens are.
    pub(in crate::source::http) const fn token_url(&self) -> &Url {
        &self.token_url
    }

    /// The address as it may be shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What no log may repeat.
    pub(super) fn secrets(&self) -> [&Secret; 2] {
        [&self.id, &self.secret]
    }

    /// Tells clients apart that get other tokens.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let parts = [self.token_url.as_str(), self.id.expose(), self.secret.expose(), &self.scope, &self.audience];
        for part in parts {
            // Each with its length: no two lists of parts are the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        *hasher.update(&[u8::from(self.in_body)]).finalize().as_bytes()
    }

    /// The body of the request.
    pub(super) fn form(&self) -> String {
        let in_body = |value: &str| if self.in_body { value.to_owned() } else { String::new() };
        let fields = [
            ("grant_type", "client_credentials".to_owned()),
            ("scope", self.scope.clone()),
            ("audience", self.audience.clone()),
            ("client_id", in_body(self.id.expose())),
            ("client_secret", in_body(self.secret.expose())),
        ];
        let given = fields.iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| format!("{name}={}", form_encoded(value))).collect::<Vec<_>>().join("&")
    }

    /// The header that shows the client's secret, where it is not in the body. Each half is encoded as in a form (RFC 6749, 2.3.1).
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        if self.in_body {
            return None;
        }
        let pair = [&self.id, &self.secret].map(|half| form_encoded(half.expose())).join(":");
        sensitive(&format!("Basic {}", STANDARD.encode(pair)))
    }
}

/// A header's value that no log shows.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// As in a form: `application/x-www-form-urlencoded`.
fn form_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// What an answer means.
pub(super) fn grant(status: StatusCode, body: &[u8]) -> Result<Grant, Refusal> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if status == StatusCode::OK {
        return token(&answer);
    }
    let code = answer.get("error").and_then(Value::as_str).filter(|code| is_code(code));
    let said = code.map_or_else(|| status.to_string(), |code| format!("{status}, {code}"));
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error() {
        return Err(Refusal::Away(format!("answered {said}")));
    }
    let is_about_client = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || (status == StatusCode::BAD_REQUEST && code.is_some());
    if is_about_client {
        return Err(Refusal::Client(said));
    }
    let what = if status.is_redirection() { "redirects, which is not followed" } else { "answered" };
    Err(Refusal::Strange(format!("{what}: {said}")))
}

fn token(answer: &Value) -> Result<Grant, Refusal> {
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let kind = text("token_type").unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Strange("gave a token of another type than \"bearer\"".to_owned()));
    }
    match text("access_token").filter(|token| !token.is_empty() && sensitive(&format!("Bearer {token}")).is_some()) {
        Some(token) => Ok(Grant { token: Secret::new(token), lifetime: answer.get("expires_in").and_then(seconds) }),
        None => Err(Refusal::Strange("answered 200 OK without a text \"access_token\"".to_owned())),
    }
}

/// A number of seconds; some servers write it as a text.
fn seconds(value: &Value) -> Option<Duration> {
    let number = match value {
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        other => other.as_f64()?,
    };
    Duration::try_from_secs_f64(number.max(0.0)).ok()
}

/// Whether it can be one of the codes of RFC 6749, and nothing that repeats a secret.
fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(scope: &str, in_body: bool) -> OAuth2 {
        let url = SourceUrl::parse("https://idp.example/token?api=s3cret").unwrap();
        let request = Request { scope, audience: "", in_body };
        OAuth2::new(&url, "me:too".into(), "p w+%/é".into(), request).unwrap()
    }

    #[test]
    fn client_is_named_in_the_header_or_in_the_body() {
        let basic = client("read write", false);
        assert_eq!(basic.form(), "grant_type=client_credentials&scope=read+write");
        let header = basic.authorization().unwrap();
        assert!(header.is_sensitive());
        let pair = STANDARD.decode(header.to_str().unwrap().trim_start_matches("Basic ")).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "me%3Atoo:p+w%2B%25%2F%C3%A9");
        let post = client("", true);
        assert_eq!(post.authorization(), None);
        assert_eq!(post.form(), "grant_type=client_credentials&client_id=me%3Atoo&client_secret=p+w%2B%25%2F%C3%A9");
        assert_eq!(post.shown(), "https://idp.example/token");
        assert!(!format!("{:?}", post.secrets()).contains("me"));
    }

    #[test]
    fn clients_with_other_tokens_are_told_apart() {
        let prints = [client("", false), client("a", false), client("", true)].map(|client| client.fingerprint());
        assert!(prints[0] != prints[1] && prints[0] != prints[2] && prints[1] != prints[2]);
        assert_eq!(prints[0], client("", false).fingerprint());
    }

    #[test]
    fn answer_is_a_token_with_its_lifetime_however_that_is_written() {
        let lifetime = |text: &str| grant(StatusCode::OK, text.as_bytes()).unwrap().lifetime.map(|life| life.as_secs());
        for (rest, expected) in [
            ("", None),
            (r#","token_type":"Bearer","expires_in":3600"#, Some(3600)),
            (r#","expires_in":"3600""#, Some(3600)),
            (r#","expires_in":59.9"#, Some(59)),
            (r#","expires_in":-5"#, Some(0)),
            (r#","expires_in":1e300"#, None),
            (r#","expires_in":null"#, None),
        ] {
            assert_eq!(lifetime(&format!(r#"{{"access_token":"t"{rest}}}"#)), expected, "{rest}");
        }
    }

    #[test]
    fn refusal_says_whose_turn_it_is_and_nothing_in_the_server_s_own_words() {
        let refused =
            |status: u16, body: &str| grant(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err();
        let code = r#"{"error":"invalid_client","error_description":"no client s3cret"}"#;
        assert_eq!(refused(401, code), Refusal::Client("401 Unauthorized, invalid_client".into()));
        assert_eq!(refused(400, code), Refusal::Client("400 Bad Request, invalid_client".into()));
        assert_eq!(refused(403, ""), Refusal::Client("403 Forbidden".into()));
        assert!(matches!(refused(503, "<html>s3cret"), Refusal::Away(_)));
        assert!(matches!(refused(429, code), Refusal::Away(_)));
        for (status, body) in [
            (400, "{}"),
            (404, ""),
            (302, ""),
            (200, ""),
            (200, "[]"),
            (200, r#"{"access_token":""}"#),
            (200, r#"{"access_token":"a\nb"}"#),
            (200, r#"{"access_token":"t","token_type":"s3cret"}"#),
            (500, r#"{"error":"s3cret text"}"#),
        ] {
            let refusal = refused(status, body);
            assert!(matches!(refusal, Refusal::Strange(_)) || status == 500, "{status} {body}: {refusal:?}");
            assert!(!format!("{refusal:?}").contains("s3cret"), "{refusal:?}");
        }
    }
}
