//! Who asks, and the proof of it: credentials looked up, and requests signed (AWS Signature Version 4).
//!
//! The only file that uses rust-s3; of its requests only those of the credential providers are sent. Keeps nothing on disk. No message
//! contains a credential or what a provider answered.

use ::s3::Region;
use ::s3::creds::Credentials;
use ::s3::error::S3Error;
use ::s3::signing;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use sha2::Sha256;

use crate::config::S3Credentials;
use crate::digest::hex;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// The credentials in use.
pub(super) struct Identity {
    id: String,
    secret: String,
    token: Option<String>,
    /// Seconds since 1970.
    expires: Option<i64>,
}

/// Looks the credentials up: in the settings, the profile file, or wherever AWS's tools would.
pub(super) fn find(from: &S3Credentials) -> Result<Identity> {
    // Credential providers that need HTTPS panic without one; a second call changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (found, place, hint) = match from {
        S3Credentials::Keys { id, secret, token } => {
            let token = token.as_ref().map(Secret::expose);
            let keys = Credentials::new(Some(id.expose()), Some(secret.expose()), None, token, None);
            (keys, "the configured keys".to_owned(), "check the configured keys")
        }
        S3Credentials::Profile(name) => (
            Credentials::from_profile(Some(name)),
            format!("the profile {name:?}"),
            "check the profile's name and the shared credentials file",
        ),
        S3Credentials::Default => (
            Credentials::default(),
            "the environment".to_owned(),
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role",
        ),
    };
    // The cause stays out: it could quote what a provider answered.
    let identity = found.ok().and_then(Identity::of);
    identity.ok_or_else(|| Error::new(ErrorKind::Credentials, format!("no S3 credentials in {place}")).hint(hint))
}

impl Identity {
    fn of(found: Credentials) -> Option<Self> {
        Some(Self {
            id: found.access_key?,
            secret: found.secret_key?,
            token: found.session_token.or(found.security_token),
            expires: found.expiration.map(|at| at.unix_timestamp()),
        })
    }

    /// Whether they were given an end that has passed.
    pub(super) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= ::s3::utils::now_utc().unix_timestamp())
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

    /// One for tests.
    #[cfg(test)]
    pub(super) fn new(id: &str, secret: &str, expires: Option<i64>) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), token: None, expires }
    }
}

/// A path or query with what must be escaped, as AWS escapes it.
pub(super) fn escaped(text: &str, slashes_too: bool) -> String {
    signing::uri_encode(text, slashes_too)
}

/// The host, and the port where it is not the scheme's own: as HTTP sends it.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
