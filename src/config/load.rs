//! `[load]`: where parts go, under which keys, with which credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::environment::Variable;
use super::layers::Layers;
use super::paths::wrong;
use super::{paths, value};
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
        let parsed = if text.contains("://") || text.starts_with("s3:") || text.starts_with("file:") {
            Self::parse(text, cwd)
        } else {
            paths::optional(text, cwd).and_then(|path| path.map(Self::Files).ok_or_else(|| wrong(UNKNOWN_PLACE)))
        };
        parsed.map_err(|what| Error::new(ErrorKind::Usage, format!("cannot read from this place: {what}")))
    }

    fn parse(text: &str, base: &Path) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            return Ok(Self::S3 { bucket: check_bucket(bucket)?, prefix: check_prefix(prefix)? });
        }
        let path = text.strip_prefix("file:").ok_or_else(|| wrong(UNKNOWN_PLACE))?;
        Ok(Self::Files(paths::absolute(paths::after_file(path)?, base)?))
    }

    fn optional(text: &str, base: &Path) -> Result<Option<Self>> {
        if text.is_empty() { Ok(None) } else { Self::parse(text, base).map(Some) }
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadConfig {
    #[serde(default, deserialize_with = "value::text")]
    to: String,
    #[serde(deserialize_with = "endpoint")]
    endpoint: Option<String>,
    #[serde(deserialize_with = "region")]
    region: String,
    /// Records in a part at most; 0 = no limit.
    #[serde(deserialize_with = "value::count::<_, _, { u32::MAX }>")]
    pub part_max_records: u64,
    /// The folders of an hour.
    #[serde(deserialize_with = "layout")]
    pub layout: Layout,
    /// After how long a lifecycle rule of the store deletes parts. `None`: there is none.
    #[serde(deserialize_with = "value::optional_duration")]
    pub expire_after: Option<Duration>,
    /// Whether each part's certificate is published beside it.
    pub manifest: bool,
    // What the keys above and the environment lead to, filled in by `resolve`:
    /// What `to` or the bucket's variable says.
    #[serde(skip)]
    destination: Option<Destination>,
    #[serde(skip)]
    variables: BTreeMap<&'static str, Variable>,
}

/// The variables about S3. Other programs use these names too, so they are looked at only where S3 is used.
const S3_VARIABLES: [&str; 6] = [
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
];

impl LoadConfig {
    /// Completes what was read by folders and variables.
    pub(super) fn resolve(&mut self, layers: &Layers<'_>) -> Result<()> {
        self.destination = layers.parse(&["load", "to"], &self.to, Destination::optional)?;
        self.variables = layers.environment.all(&S3_VARIABLES)?;
        // A `file:` destination in the file stays what it is: a demo or test must not write to S3, nor fail, because a
        // variable happens to be set.
        if matches!(self.destination, Some(Destination::Files(_))) {
            return Ok(());
        }
        if let Some(variable) = layers.environment.first_of(&["ETL_S3_BUCKET", "AWS_S3_BUCKETNAME"])? {
            let bucket = variable.parse("load.to", check_bucket)?;
            let prefix = match self.destination.take() {
                Some(Destination::S3 { prefix, .. }) => prefix,
                _ => String::new(),
            };
            self.destination = Some(Destination::S3 { bucket, prefix });
        }
        if self.destination.is_some() {
            self.address()?;
        }
        Ok(())
    }

    /// Where parts go.
    pub fn destination(&self) -> Result<&Destination> {
        self.destination.as_ref().ok_or_else(|| {
            wrong("no destination: neither load.to nor AWS_S3_BUCKETNAME is set")
                .hint("set load.to in etl.toml, or AWS_S3_BUCKETNAME in the environment or in .env")
        })
    }

    /// How to reach S3: for an `s3://` destination, or one named by `restore --from`.
    ///
    /// # Errors
    /// `Config` where only one of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` is set, or the environment's endpoint
    /// or region cannot be one.
    pub fn s3(&self) -> Result<S3Access> {
        let credentials = self.credentials()?;
        let (endpoint, region) = self.address()?;
        Ok(S3Access { endpoint, region, credentials })
    }

    fn address(&self) -> Result<(Option<String>, String)> {
        let endpoint = self.variables.get("AWS_ENDPOINT_URL").map(|found| found.parse("load.endpoint", parse_endpoint));
        let region = self.variables.get("AWS_REGION").map(|found| found.parse("load.region", parse_region));
        Ok((endpoint.unwrap_or_else(|| Ok(self.endpoint.clone()))?, region.unwrap_or_else(|| Ok(self.region.clone()))?))
    }

    fn credentials(&self) -> Result<S3Credentials> {
        let get = |name| self.variables.get(name);
        let value = |variable: &Variable| variable.value.clone();
        let (there, missing) = match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                // A session token belongs to its key: one left behind in `.env` must not join a key of the environment.
                let token = get("AWS_SESSION_TOKEN").filter(|token| token.same_layer(id)).map(value);
                return Ok(S3Credentials::Keys { id: value(id), secret: value(secret), token });
            }
            (Some(id), None) => (&id.origin, "AWS_SECRET_ACCESS_KEY"),
            (None, Some(secret)) => (&secret.origin, "AWS_ACCESS_KEY_ID"),
            (None, None) => {
                let profile = get("AWS_PROFILE").map(|variable| variable.value.expose().to_owned());
                return Ok(profile.map_or(S3Credentials::Default, S3Credentials::Profile));
            }
        };
        Err(wrong(format!("half of the S3 credentials: {there} is set, {missing} is not"))
            .hint(format!("set {missing} too, or unset both to use a profile or the machine's role")))
    }
}

fn endpoint<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    value::parsed_by(from, parse_endpoint)
}

fn parse_endpoint(text: &str) -> Result<Option<String>> {
    let text = text.trim_end_matches('/');
    if text.is_empty() {
        return Ok(None);
    }
    let hint = "write it as in \"https://s3.example.net\" or \"http://127.0.0.1:8333\"";
    let url = SourceUrl::parse(text).ok_or_else(|| wrong("not a URL").hint(hint))?;
    if url.hides_something() {
        return Err(wrong("an endpoint has no query and no user").hint(hint));
    }
    Ok(Some(text.to_owned()))
}

fn region<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    value::parsed_by(from, parse_region)
}

fn parse_region(text: &str) -> Result<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(wrong("not a region").hint("write it as in \"ap-northeast-2\""));
    }
    Ok(text.to_owned())
}

fn layout<'de, D: Deserializer<'de>>(from: D) -> Result<Layout, D::Error> {
    value::parsed_by(from, Layout::parse)
}

/// A bucket's name: looser than AWS, for the sake of other stores, but nothing that could change the URL.
fn check_bucket(name: &str) -> Result<String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_name = (1..=255).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.');
    if is_name { Ok(name.to_owned()) } else { Err(wrong(format!("{name:?} is not the name of an S3 bucket"))) }
}

/// A prefix with one `/` at its end, or none at all.
fn check_prefix(prefix: &str) -> Result<String> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() {
        return Ok(String::new());
    }
    check_segments(prefix).map_err(|what| wrong(format!("the prefix {what}")))?;
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
