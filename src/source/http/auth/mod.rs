//! What lets requests in beside their headers: a token that is asked for, and certificates.
//!
//! Invariants: a token's server gets no header of the source, the source no secret of the token's server; a token goes to the source's
//! own host only, a client's secret to the address of the token only, and neither follows a redirect to another. What that server
//! answers is read up to a cap.
//!
//! A token that the source refuses with 401 is given up, and the request is sent once more with a new one; a second 401 is an answer
//! like any other.

pub(super) mod oauth2;
mod tokens;

use std::time::{Duration, Instant};

use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};

use self::oauth2::{OAuth2, Refusal};
use self::tokens::Token;
use super::TryOf;
use super::failure::{Failure, Trouble};
use super::limits::asked_wait;
use crate::error::{Error, ErrorKind};
use crate::net::tls::Tls;
use crate::secret::Secret;

/// The longest answer with a token that is read.
const LONGEST_ANSWER: usize = 256 * 1024;
/// The key that names where tokens are.
const SETTING: &str = "source.auth.token_url";

/// How requests are let in.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// Gets tokens.
    pub oauth2: Option<OAuth2>,
    /// Certificates.
    pub tls: Tls,
    /// Secrets that travel in another spelling than this one.
    pub disguised: Vec<Secret>,
}

impl Auth {
    /// What a request carries that no log may show, beside its headers.
    pub(super) fn secrets(&self) -> Vec<String> {
        let of_client = self.oauth2.iter().flat_map(OAuth2::secrets);
        let all = of_client.chain(&self.disguised).map(|secret| secret.expose().to_owned());
        let token = self.oauth2.as_ref().and_then(|oauth2| tokens::known(&oauth2.fingerprint()));
        let token = token.and_then(|token| token.header.to_str().ok().map(str::to_owned));
        all.chain(token.iter().flat_map(|token| token.split(' ').next_back()).map(str::to_owned)).collect()
    }
}

impl TryOf<'_> {
    /// Sends a request, with a token where the source wants one.
    pub(super) async fn send_authorised(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let Some(oauth2) = &self.auth.oauth2 else { return self.send(request).await };
        let again = request.try_clone();
        let token = self.token(oauth2).await?;
        let response = self.send_with(request, &token).await?;
        match again {
            Some(again) if response.status() == StatusCode::UNAUTHORIZED => {
                tracing::debug!("GET {}: the token was refused, another is asked for", self.page.url());
                tokens::forget(&oauth2.fingerprint(), &token);
                self.send_with(again, &self.token(oauth2).await?).await
            }
            _ => Ok(response),
        }
    }

    async fn send_with(&self, request: RequestBuilder, token: &Token) -> Result<Response, Failure> {
        self.waiting.for_answer();
        self.send(request.header(header::AUTHORIZATION, token.header.clone())).await
    }

    /// The token that is known, else a new one.
    async fn token(&self, oauth2: &OAuth2) -> Result<Token, Failure> {
        let client = oauth2.fingerprint();
        if let Some(token) = tokens::known(&client) {
            return Ok(token);
        }
        let asked = Instant::now();
        let (status, body) = self.ask_for_token(oauth2).await.map_err(|failure| about_token(oauth2, failure))?;
        let grant = oauth2::grant(status.0, &body).map_err(|refusal| refused(oauth2, refusal, status.1))?;
        let token = Token::new(&grant, asked).ok_or_else(|| strange(oauth2, "gave what no header can carry"))?;
        tokens::remember(client, &token);
        Ok(token)
    }

    /// How long the token can be used that is known or asked for now; the outer `None` where no token is wanted.
    pub(super) async fn token_left(&self) -> Result<Option<Option<Duration>>, Failure> {
        let Some(oauth2) = &self.auth.oauth2 else { return Ok(None) };
        Ok(Some(self.token(oauth2).await?.left()))
    }

    /// The status of the server's answer with the wait that it asks for, and its body.
    async fn ask_for_token(&self, oauth2: &OAuth2) -> Result<((StatusCode, Option<Duration>), Vec<u8>), Failure> {
        let request = self.tokens.post(oauth2.token_url().clone()).headers(headers(oauth2)).body(oauth2.form());
        self.waiting.for_token();
        let asked = Instant::now();
        let mut response = self.send(request).await?;
        let status = response.status();
        tracing::debug!(ms = asked.elapsed().as_millis(), "POST {}: {status}", oauth2.shown());
        let wait = asked_wait(response.headers());
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk(&mut response).await? {
            body.extend_from_slice(&bytes);
            if body.len() > LONGEST_ANSWER {
                return Err(strange(oauth2, "gave an answer that is far too long for a token"));
            }
        }
        Ok(((status, wait), body))
    }

    /// The next piece of the answer.
    async fn chunk(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, Failure> {
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(cause)) => Err(Failure::broken("the answer was cut short", cause)),
            Err(_) => Err(Failure::again(format!("the answer stalled for {limit:?}"))),
        }
    }
}

fn headers(oauth2: &OAuth2) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    if let Some(value) = oauth2.authorization() {
        headers.insert(header::AUTHORIZATION, value);
    }
    headers
}

/// A failure of asking for a token: what it is about is said.
fn about_token(oauth2: &OAuth2, failure: Failure) -> Failure {
    match failure {
        Failure::Again(trouble) => {
            let what = format!("no token from {}: {}", oauth2.shown(), trouble.what);
            Failure::Again(Trouble { what, setting: Some(SETTING), ..trouble })
        }
        Failure::Final(error) => Failure::Final(error),
    }
}

/// What the server of tokens answered instead of one. `asked`: the wait that it asks for.
fn refused(oauth2: &OAuth2, refusal: Refusal, asked: Option<Duration>) -> Failure {
    match refusal {
        Refusal::Away(what) => about_token(oauth2, Failure::Again(Trouble { what, asked, ..Trouble::default() })),
        Refusal::Strange(what) => strange(oauth2, &what),
        Refusal::Client(said) => {
            let hint = if said.contains("invalid_scope") {
                "correct source.auth.scope"
            } else {
                "check source.auth.client_id and client_secret; some servers take them only in the body: client_auth = \"post\""
            };
            let what = format!("{} refused the client: {said}", oauth2.shown());
            Failure::Final(Error::new(ErrorKind::Credentials, what).hint(hint))
        }
    }
}

fn strange(oauth2: &OAuth2, what: &str) -> Failure {
    Failure::unavailable(format!("no token: {} {what}", oauth2.shown()), "check source.auth.token_url")
}
