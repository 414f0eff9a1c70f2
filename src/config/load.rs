//! `[load]`: where parts go, under which keys, with which credentials.

use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file::Datum;
use super::lookup::{Found, Lookup, absolute};
use super::settings::BUCKET_NAMES;
use super::source::local_path;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::Layout;
use crate::secret::{Secret, SourceUrl};

/// Where parts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An S3 bucket.
    S3 {
        /// Its name.
        bucket: String,
        /// What every key begins with: empty, or ending in `/`.
        prefix: String,
    },
    /// A folder, absolute.
    Files(PathBuf),
}

impl Destination {
    /// What `restore --from` names: `s3://bucket/prefix/`, `file:folder`, or a plain folder; relative to `cwd`.
    ///
    /// # Errors
    /// `Usage` for anything else.
    pub fn from_argument(text: &str, cwd: &Path) -> Result<Self> {
        let parsed = if text.starts_with("s3:") || text.starts_with("file:") {
            Self::parse(text, cwd)
        } else if text.is_empty() || text.contains("://") {
            Err(UNKNOWN_PLACE.to_owned())
        } else {
            absolute(text, cwd).map(Self::Files).map_err(str::to_owned)
        };
        parsed.map_err(|what| Error::new(ErrorKind::Usage, format!("cannot read from this place: {what}")))
    }

    fn parse(text: &str, base: &Path) -> std::result::Result<Self, String> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            return Ok(Self::S3 { bucket: check_bucket(bucket)?, prefix: check_prefix(prefix)? });
        }
        let path = text.strip_prefix("file:").ok_or(UNKNOWN_PLACE)?;
        Ok(Self::Files(absolute(local_path(path)?, base)?))
    }
}

const UNKNOWN_PLACE: &str = "not a place; write it as in \"s3://bucket/prefix/\" or \"file:folder\"";

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Files(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// How to sign requests to S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// With these.
    Keys {
        /// `AWS_ACCESS_KEY_ID`.
        id: Secret,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret: Secret,
        /// `AWS_SESSION_TOKEN`.
        token: Option<Secret>,
    },
    /// With those of a profile of the shared credentials file (`AWS_PROFILE`).
    Profile(String),
    /// With what the machine offers: default profile, web identity, container, instance.
    Default,
}

/// How to reach S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Access {
    /// The URL of an S3-compatible store, without a slash at its end; `None` for AWS.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// How to sign them.
    pub credentials: S3Credentials,
}

/// `[load]`. What a command may do without is behind a method and fails only when asked for.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    to: Option<Destination>,
    endpoint: Found,
    region: Found,
    credentials: std::result::Result<S3Credentials, HalfSet>,
    /// Records in a part at most; 0 = no limit.
    pub part_max_records: u64,
    /// The template of an hour's folder below `data/`: `{year}`, `{month}`, `{day}` and `{hour}` once each, no slash
    /// at either end, no segment empty, `.` or `..`.
    pub layout: String,
    /// Whether each part's certificate is published beside it.
    pub manifest: bool,
}

/// One of the pair of credentials without the other.
#[derive(Debug, Clone)]
struct HalfSet {
    there: String,
    missing: &'static str,
}

impl LoadConfig {
    pub(super) fn load(lookup: &Lookup<'_>) -> Result<Self> {
        lookup.in_file("load", "endpoint").as_ref().map(read_endpoint).transpose()?;
        lookup.in_file("load", "region").as_ref().map(read_region).transpose()?;
        let config = Self {
            to: load_destination(lookup)?,
            endpoint: lookup.get("load", "endpoint")?,
            region: lookup.get("load", "region")?,
            credentials: load_credentials(&lookup.environment)?,
            part_max_records: lookup.get("load", "part_max_records")?.count(u64::from(u32::MAX))?,
            layout: load_layout(&lookup.get("load", "layout")?)?,
            manifest: lookup.get("load", "manifest")?.flag()?,
        };
        // Variables that are none of a `file:` destination's business cannot make it fail.
        if matches!(config.to, Some(Destination::S3 { .. })) {
            read_endpoint(&config.endpoint)?;
            read_region(&config.region)?;
        }
        Ok(config)
    }

    /// Where parts go.
    ///
    /// # Errors
    /// `Config` where nobody said.
    pub fn destination(&self) -> Result<&Destination> {
        self.to.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "no destination: neither load.to nor AWS_S3_BUCKETNAME is set")
                .hint("set load.to in etl.toml, or AWS_S3_BUCKETNAME in the environment or in .env")
        })
    }

    /// How to reach S3: for an `s3://` destination, or one named by `restore --from`.
    ///
    /// # Errors
    /// `Config` where only one of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` is set, or the environment's endpoint
    /// or region cannot be one.
    pub fn s3(&self) -> Result<S3Access> {
        let credentials = self.credentials.clone().map_err(|HalfSet { there, missing }| {
            Error::new(ErrorKind::Config, format!("half of the S3 credentials: {there} is set, {missing} is not"))
                .hint(format!("set {missing} too, or unset both to use a profile or the machine's role"))
        })?;
        Ok(S3Access { endpoint: read_endpoint(&self.endpoint)?, region: read_region(&self.region)?, credentials })
    }
}

/// A `file:` destination in the file stays what it is: a demo or test must not write to S3 because a bucket's variable
/// happens to be set. Otherwise that variable replaces the bucket, and the prefix stays.
fn load_destination(lookup: &Lookup<'_>) -> Result<Option<Destination>> {
    let in_file = match lookup.in_file("load", "to") {
        Some(found) if !matches!(&found.datum, Datum::Text(text) if text.trim().is_empty()) => {
            Some(Destination::parse(found.text()?, &found.base).map_err(|what| found.error(what))?)
        }
        _ => None,
    };
    if matches!(in_file, Some(Destination::Files(_))) {
        return Ok(in_file);
    }
    let Some(variable) = lookup.environment.first_of(&BUCKET_NAMES)? else { return Ok(in_file) };
    let found = lookup.of_variable("load", "to", &variable);
    let bucket = check_bucket(found.text()?).map_err(|what| found.error(what))?;
    let prefix = match in_file {
        Some(Destination::S3 { prefix, .. }) => prefix,
        _ => String::new(),
    };
    Ok(Some(Destination::S3 { bucket, prefix }))
}

/// A bucket's name: looser than AWS, for the sake of other stores, but nothing that could change the URL.
fn check_bucket(name: &str) -> std::result::Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_name = (1..=255).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.');
    if is_name { Ok(name.to_owned()) } else { Err(format!("{name:?} is not the name of an S3 bucket")) }
}

/// A prefix with one `/` at its end, or none at all.
fn check_prefix(prefix: &str) -> std::result::Result<String, String> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() {
        return Ok(String::new());
    }
    check_segments(prefix).map_err(|what| format!("the prefix {what}"))?;
    Ok(format!("{prefix}/"))
}

/// What is spelled the same in an object key, a URL and a path: plain segments between single slashes.
fn check_segments(text: &str) -> std::result::Result<(), String> {
    if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("has an empty segment, \".\" or \"..\"".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "/-._=!'()".contains(c);
    match text.chars().find(|c| !fits(*c)) {
        Some(odd) => Err(format!("has a {odd:?}, which is not safe in an object key")),
        None => Ok(()),
    }
}

fn load_credentials(environment: &Environment<'_>) -> Result<std::result::Result<S3Credentials, HalfSet>> {
    let id = environment.get("AWS_ACCESS_KEY_ID")?;
    let secret = environment.get("AWS_SECRET_ACCESS_KEY")?;
    let half = |there: String, missing| Ok(Err(HalfSet { there, missing }));
    match (id, secret) {
        (Some(id), Some(secret)) => {
            // A session token belongs to its key: one left behind in `.env` must not join a key of the environment.
            let token = environment.get("AWS_SESSION_TOKEN")?.filter(|token| token.origin.same_layer(&id.origin));
            let token = token.map(|variable| variable.value);
            Ok(Ok(S3Credentials::Keys { id: id.value, secret: secret.value, token }))
        }
        (Some(id), None) => half(id.origin.to_string(), "AWS_SECRET_ACCESS_KEY"),
        (None, Some(secret)) => half(secret.origin.to_string(), "AWS_ACCESS_KEY_ID"),
        (None, None) => {
            let profile = environment.get("AWS_PROFILE")?.map(|variable| variable.value.expose().to_owned());
            Ok(Ok(profile.map_or(S3Credentials::Default, S3Credentials::Profile)))
        }
    }
}

fn read_endpoint(found: &Found) -> Result<Option<String>> {
    let text = found.text()?.trim_end_matches('/');
    if text.is_empty() {
        return Ok(None);
    }
    let hint = "write it as in \"https://s3.example.net\" or \"http://127.0.0.1:8333\"";
    let url = SourceUrl::parse(text).ok_or_else(|| found.error("not a URL").hint(hint))?;
    if url.hides_something() {
        return Err(found.error("an endpoint has no query and no user").hint(hint));
    }
    Ok(Some(text.to_owned()))
}

fn read_region(found: &Found) -> Result<String> {
    let text = found.text()?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(found.error("not a region").hint("write it as in \"ap-northeast-2\""));
    }
    Ok(text.to_owned())
}

fn load_layout(found: &Found) -> Result<String> {
    let layout = Layout::parse(found.text()?).map_err(|wrong| {
        let hint = wrong.next_step().unwrap_or_default().to_owned();
        found.error(wrong).hint(hint)
    })?;
    Ok(layout.template().to_owned())
}
