//! `[load]`: where parts go, under which keys, with which credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::aws::{AwsVariables, wrong_region};
use super::columns::{self, LoadColumn};
use super::environment::{Origin, Variable, check_name};
use super::layers::Layers;
use super::object::{self, Encryption, ObjectOptions};
use super::paths::wrong;
use super::{bucket, format, keys, paths, value};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::format::{Compression, Encoding, Format};
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
        parsed.map_err(|what| {
            Error::new(ErrorKind::Usage, format!("cannot read from this place: {what}"))
                .hint("name a bucket as in s3://bucket/prefix/, or a folder")
        })
    }

    fn parse(text: &str, base: &Path) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            return Ok(Self::S3 { bucket: bucket::check(name)?, prefix: bucket::check_prefix(prefix)? });
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
    /// With those of a profile (`AWS_PROFILE`).
    Profile(String),
    /// With what the machine offers: web identity, default profile, container, instance.
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
    /// What AWS's tools read to find credentials.
    pub variables: AwsVariables,
    /// What is asked for each object.
    pub options: ObjectOptions,
}

/// What digests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The file with the secret key.
    pub file: PathBuf,
    /// What opens it. `None`: it has no password.
    pub password: Option<Secret>,
}

impl SigningKey {
    /// The text of the file.
    ///
    /// # Errors
    /// `Config`: it cannot be read, or others can read it too.
    pub(crate) fn text(&self) -> Result<String> {
        keys::read_private(&self.file)
    }
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
    #[serde(deserialize_with = "format::encoding")]
    format: Encoding,
    #[serde(deserialize_with = "format::compression")]
    compression: Compression,
    #[serde(rename = "layout", deserialize_with = "format::layout")]
    folders: Option<Layout>,
    /// Fields with a column of their own.
    #[serde(deserialize_with = "columns::columns")]
    pub columns: Vec<LoadColumn>,
    /// The age at which the store itself deletes parts, by a lifecycle rule. `None`: it deletes none.
    #[serde(deserialize_with = "value::optional_duration")]
    pub expire_after: Option<Duration>,
    /// Whether each part's certificate is published beside it.
    pub manifest: bool,
    #[serde(deserialize_with = "object::sse")]
    sse: Option<Encryption>,
    #[serde(deserialize_with = "object::kms_key")]
    kms_key: Option<String>,
    #[serde(deserialize_with = "object::storage_class")]
    storage_class: Option<String>,
    #[serde(deserialize_with = "object::acl")]
    acl: Option<String>,
    #[serde(deserialize_with = "object::expected_owner")]
    expected_owner: Option<String>,
    #[serde(deserialize_with = "object::tags")]
    tags: BTreeMap<String, String>,
    #[serde(deserialize_with = "value::text")]
    sign_key: String,
    #[serde(deserialize_with = "value::text")]
    sign_password: String,
    // What the keys above and the environment lead to, filled in by `resolve`:
    /// The keys of parts, whose format it knows.
    #[serde(skip)]
    pub layout: Layout,
    /// What `to` or the bucket's variable says.
    #[serde(skip)]
    destination: Option<Destination>,
    #[serde(skip)]
    variables: AwsVariables,
    /// Whether the file gives the region itself.
    #[serde(skip)]
    names_region: bool,
    /// What `sign_key` and `sign_password` say.
    #[serde(skip)]
    pub signing: Option<SigningKey>,
}

/// The variables with the bucket's name; the first that is set counts.
const BUCKET_VARIABLES: [&str; 2] = ["ETL_S3_BUCKET", "AWS_S3_BUCKETNAME"];

/// The variables with the endpoint; the first that is set counts.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

impl LoadConfig {
    /// Completes what was read by folders and variables.
    pub(super) fn resolve(&mut self, layers: &Layers<'_>) -> Result<()> {
        let format = Format { encoding: self.format, compression: self.compression };
        self.layout = format::resolve(format, self.folders.as_ref(), layers)?;
        self.destination = layers.parse(&["load", "to"], &self.to, Destination::optional)?;
        self.variables = AwsVariables::of(&layers.environment)?;
        self.names_region = layers.in_file(&["load", "region"]);
        self.options().check(layers)?;
        self.signing = self.signing_key(layers)?;
        if let Some(place @ Destination::Files(_)) = &self.destination {
            layers.note("load.to", place, layers.origin(&["load", "to"]));
        }
        // A `file:` destination in the file stays what it is: a demo or test must not write to S3, nor fail, because a
        // variable happens to be set.
        if matches!(self.destination, Some(Destination::Files(_))) {
            return Ok(());
        }
        if let Some(variable) = layers.environment.first_of(&BUCKET_VARIABLES)? {
            let bucket = variable.parse("load.to", bucket::check)?;
            let prefix = match self.destination.take() {
                Some(Destination::S3 { prefix, .. }) => prefix,
                _ => String::new(),
            };
            self.destination = Some(Destination::S3 { bucket, prefix });
        }
        let Some(Destination::S3 { bucket, .. }) = &self.destination else { return Ok(()) };
        let endpoint = self.address()?.0;
        self.note_variables(layers);
        bucket::check_address(bucket, endpoint.as_deref()).map_err(|why| {
            let key = if endpoint.is_some() { "load.endpoint" } else { "load.to" };
            let error = wrong(format!("{key}: {why}"));
            why.next_step().map_or_else(|| wrong(format!("{key}: {why}")), |hint| error.hint(hint))
        })
    }

    /// What signs. The file is read when there is something to sign.
    fn signing_key(&self, layers: &Layers<'_>) -> Result<Option<SigningKey>> {
        let [key, password] = [["load", "sign_key"], ["load", "sign_password"]];
        if self.sign_key.trim().is_empty() {
            return Ok(None);
        }
        if !self.manifest {
            return Err(layers
                .error(&key, "digests, which it signs, are made only with load.manifest = true")
                .hint("set load.manifest = true, or leave load.sign_key out"));
        }
        let file = layers.parse(&key, &self.sign_key, |text, base| {
            let path = text.trim().strip_prefix("file:").ok_or_else(|| {
                wrong("not the name of a file: the key is never in the configuration")
                    .hint("write it as in \"file:sign.key\"")
            })?;
            paths::absolute(paths::after_file(path)?, base)
        })?;
        let password = match self.sign_password.trim() {
            "" => None,
            text => {
                let name = text.strip_prefix("env:").map(str::trim).ok_or_else(|| {
                    layers
                        .error(&password, "a secret does not belong in the file")
                        .hint("put it into a variable: sign_password = \"env:ETL_SIGN_PASSWORD\"")
                })?;
                check_name(name, |what| layers.error(&password, what))?;
                // Without it the key stays shut, which costs the digests and nothing else.
                Some(layers.environment.get(name)?.map_or_else(|| Secret::new(""), |variable| variable.value))
            }
        };
        Ok(Some(SigningKey { file, password }))
    }

    /// Notes what variables decide, for `etl config show`.
    fn note_variables(&self, layers: &Layers<'_>) {
        if let Some(place) = &self.destination {
            let bucket = layers.environment.first_of(&BUCKET_VARIABLES).ok().flatten();
            layers.note("load.to", place, bucket.map_or_else(|| layers.origin(&["load", "to"]), |found| found.origin));
        }
        let noted = [
            ("load.endpoint", self.variables.first(&ENDPOINTS)),
            ("load.region", self.variables.first(self.regions())),
        ];
        for (key, found) in noted.into_iter().chain(["AWS_PROFILE"].map(|name| (name, self.variables.variable(name)))) {
            found.iter().for_each(|found| layers.note(key, found.value.expose(), found.origin.clone()));
        }
        if let Some((region, file)) = self.region_of_profile() {
            layers.note("load.region", region, Origin::Profile(file));
        }
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            layers.note_secret(name, self.variables.variable(name));
        }
    }

    /// The region of the profile, where it counts.
    fn region_of_profile(&self) -> Option<(String, PathBuf)> {
        let counts = !self.names_region && self.variables.first(self.regions()).is_none();
        self.variables.profile_region().filter(|_| counts)
    }

    /// The variables that can name the region.
    const fn regions(&self) -> &'static [&'static str] {
        if self.names_region { &["AWS_REGION"] } else { &["AWS_REGION", "AWS_DEFAULT_REGION"] }
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
        Ok(S3Access { endpoint, region, credentials, variables: self.variables.clone(), options: self.options() })
    }

    fn options(&self) -> ObjectOptions {
        ObjectOptions {
            sse: self.sse,
            kms_key: self.kms_key.clone(),
            storage_class: self.storage_class.clone(),
            acl: self.acl.clone(),
            expected_owner: self.expected_owner.clone(),
            tags: self.tags.clone(),
        }
    }

    /// The endpoint and the region. What a variable is named for goes before the file; what is only somebody's default (`AWS_DEFAULT_REGION`,
    /// a profile's region) goes behind it.
    fn address(&self) -> Result<(Option<String>, String)> {
        let endpoint = match self.variables.first(&ENDPOINTS) {
            Some(found) => found.parse("load.endpoint", parse_endpoint)?,
            None => self.endpoint.clone(),
        };
        Ok((endpoint, self.s3_region()?))
    }

    /// The region of S3.
    ///
    /// # Errors
    /// `Config` where a variable or a profile names one that cannot be.
    pub fn s3_region(&self) -> Result<String> {
        if let Some(found) = self.variables.first(self.regions()) {
            return found.parse("load.region", parse_region);
        }
        match self.region_of_profile() {
            Some((region, file)) => parse_region(&region).map_err(|why| wrong_region(&file, &why)),
            None => Ok(self.region.clone()),
        }
    }

    fn credentials(&self) -> Result<S3Credentials> {
        let get = |name| self.variables.variable(name);
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
                let profile = self.variables.profile().map(str::to_owned);
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
