//! Where the objects go, and how an S3 bucket is addressed.
//!
//! Pure. No text of an endpoint gets into a message: it may hold a password.

use reqwest::Url;

use crate::config::{AwsVariables, ObjectOptions, S3Credentials, bucket};
use crate::error::{Error, ErrorKind, Result};

/// Where the objects go.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The S3 bucket.
    pub bucket: String,
    /// What all keys begin with: empty, or ending with `/`. Only for [`place`](crate::store::ObjectStore::place): keys come with it.
    pub prefix: String,
    /// `http://` or `https://` and a host, for S3-compatible stores; path-style then. `None` or empty: AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Who asks.
    pub credentials: S3Credentials,
    /// What AWS's tools read to find credentials.
    pub variables: AwsVariables,
    /// What is asked for each object.
    pub options: ObjectOptions,
}

impl S3Settings {
    pub(super) fn check(&self) -> Result<()> {
        bucket::check_address(&self.bucket, self.endpoint())?;
        let Some(endpoint) = self.endpoint() else { return Ok(()) };
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        if host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#', ' '])) {
            return Ok(());
        }
        // Not quoted: it may hold a password.
        Err(Error::new(ErrorKind::Config, "load.endpoint is not the address of an S3 store")
            .hint("write it as in \"https://s3.example.org\", without user, password and query"))
    }

    fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty())
    }

    pub(super) fn endpoint_or_aws(&self) -> String {
        self.endpoint().map_or_else(|| aws_endpoint(&self.region), str::to_owned)
    }

    /// The host that requests go to, and its port where the address names one: for people.
    pub(super) fn host(&self) -> String {
        self.base().map_or_else(|_| "the store".to_owned(), |base| super::signing::authority(&base))
    }

    /// Whether the S3 bucket is named in the path instead of the host. A dot in its name would not match AWS's
    /// certificate, which is for `*.s3.<region>.amazonaws.com`.
    pub(super) fn by_path(&self) -> bool {
        self.endpoint().is_some() || self.bucket.contains('.')
    }

    /// What the addresses of all requests begin with.
    pub(super) fn base(&self) -> Result<Url> {
        let endpoint = self.endpoint_or_aws();
        let endpoint = endpoint.trim_end_matches('/');
        let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
        let base = match self.by_path() {
            true => format!("{scheme}://{host}/{}", self.bucket),
            false => format!("{scheme}://{}.{host}", self.bucket),
        };
        Url::parse(&base).map_err(|cause| {
            Error::new(ErrorKind::Config, "cannot make a request to S3")
                .caused_by(cause)
                .hint("check load.to, load.endpoint and load.region")
        })
    }
}

/// The address of AWS's S3 in `region`; China's regions have a domain of their own.
#[must_use]
pub fn aws_endpoint(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://s3.{region}.amazonaws.com{suffix}")
}
