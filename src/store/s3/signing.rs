//! Who asks, and the proof of it: requests signed (AWS Signature Version 4).
//!
//! The only file that uses rust-s3, which sends nothing. Keeps nothing on disk. No message contains a credential.

use ::s3::Region;
use ::s3::error::S3Error;
use ::s3::signing;
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use sha2::Sha256;

use crate::digest::hex;
use crate::error::{Error, ErrorKind, Result};

/// The credentials in use.
pub(super) struct Identity {
    id: String,
    secret: String,
    token: Option<String>,
    /// Until when they count.
    expires: Option<Timestamp>,
}

/// So long before their end credentials are looked up again: a request, and a clock that is off, take their time.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

impl Identity {
    pub(super) fn of(id: &str, secret: &str) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), token: None, expires: None }
    }

    pub(super) fn with_token(self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self }
    }

    pub(super) fn until(self, expires: Option<Timestamp>) -> Self {
        Self { expires, ..self }
    }

    /// What agents and programs answer; AWS's spellings of the token's name differ.
    pub(super) fn of_json(text: &str, token: &str) -> Option<Self> {
        let answer: serde_json::Value = serde_json::from_str(text).ok()?;
        let get = |name: &str| answer.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
        let expires = get("Expiration").and_then(|at| at.parse().ok());
        Some(Self::of(get("AccessKeyId")?, get("SecretAccessKey")?).with_token(get(token)).until(expires))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether they were given an end that has passed.
    pub(super) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Timestamp::now())
    }

    /// Whether their end is near.
    pub(super) fn expires_soon(&self) -> bool {
        self.expires.is_some_and(|at| at <= Timestamp::now().saturating_add(EARLY).unwrap_or(Timestamp::MAX))
    }

    /// What no message may contain.
    pub(super) fn secrets(&self) -> Vec<&str> {
        [Some(&self.id), Some(&self.secret), self.token.as_ref()].into_iter().flatten().map(String::as_str).collect()
    }

    /// Signs a request: all its headers, and its body by its `sha256` in hex.
    pub(super) fn sign(
        &self,
        (method, url): (&Method, &Url),
        headers: &mut HeaderMap,
        sha256: &str,
        region: &str,
    ) -> Result<()> {
        // The cause stays out: it could quote a header.
        self.add_proof((method, url), headers, sha256, region).map_err(|_| {
            Error::new(ErrorKind::Config, "cannot sign a request to S3")
                .hint("check load.to, load.endpoint, load.region, and the credentials for odd characters")
        })
    }

    fn add_proof(
        &self,
        (method, url): (&Method, &Url),
        headers: &mut HeaderMap,
        sha256: &str,
        region: &str,
    ) -> Result<(), S3Error> {
        let region = Region::Custom { region: region.to_owned(), endpoint: String::new() };
        let now = ::s3::utils::now_utc();
        let secret = |text: &str| {
            HeaderValue::from_str(text).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        };
        headers.insert(HOST, HeaderValue::from_str(&authority(url))?);
        headers.insert(HeaderName::from_static("x-amz-content-sha256"), HeaderValue::from_str(sha256)?);
        if let Some(token) = &self.token {
            headers.insert(HeaderName::from_static("x-amz-security-token"), secret(token)?);
        }
        let date = Timestamp::from_second(now.unix_timestamp()).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ");
        headers.insert(HeaderName::from_static("x-amz-date"), HeaderValue::from_str(&date.to_string())?);
        let request = signing::canonical_request(method.as_str(), url, headers, sha256)?;
        let key = signing::signing_key(&now, &self.secret, &region, "s3")?;
        let mut hmac = Hmac::<Sha256>::new_from_slice(&key)?;
        hmac.update(signing::string_to_sign(&now, &region, &request)?.as_bytes());
        let (signed, signature) = (signing::signed_header_string(headers), hex(&hmac.finalize().into_bytes()));
        let authorization = signing::authorization_header(&self.id, &now, &region, &signed, &signature)?;
        headers.insert(AUTHORIZATION, secret(&authorization)?);
        Ok(())
    }
}

/// A path or query with what must be escaped, as AWS escapes it.
pub(super) fn escaped(text: &str, slashes_too: bool) -> String {
    signing::uri_encode(text, slashes_too)
}

/// The host, and the port where it is not the scheme's own: as HTTP sends it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
