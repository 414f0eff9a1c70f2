//! `[source]`: where pages come from, with what headers, keys and patience.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::auth::{AuthConfig, SourceAuth};
use super::environment::{Variable, check_name};
use super::layers::Layers;
use super::paging::{self, Asking, Method, PagingConfig, TimeFormat};
use super::paths::wrong;
use super::shape::{self, TokenEncryption};
use super::{keys, paths, value};
use crate::error::Result;
use crate::pointer::Pointer;
use crate::secret::{Secret, SourceUrl};

/// Where pages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceLocation {
    /// GET this.
    Http(SourceUrl),
    /// Every file that this absolute glob pattern matches.
    Files(String),
}

/// `[source]`. What a command may do without is behind a method and fails only when asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    #[serde(default, deserialize_with = "value::secret")]
    url: Option<Secret>,
    #[serde(deserialize_with = "value::text")]
    keys_env: String,
    keys_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "value::secrets")]
    keys: Option<Vec<Secret>>,
    /// The older name of `auth.headers`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    auth: AuthConfig,
    /// How long the source may be silent; a whole try takes ten times that at most.
    #[serde(deserialize_with = "value::positive_duration")]
    pub timeout: Duration,
    /// How often a request is tried again.
    #[serde(deserialize_with = "value::count::<_, _, 100>")]
    pub retries: u32,
    /// The largest body that is taken for a page, in bytes.
    #[serde(deserialize_with = "value::positive_size")]
    pub max_page_bytes: u64,
    /// Where the array of elements is within a page.
    #[serde(deserialize_with = "shape::pointer")]
    pub items: Pointer,
    /// Where the token is within an element.
    #[serde(deserialize_with = "shape::pointer")]
    pub token: Pointer,
    /// How tokens are encrypted.
    #[serde(deserialize_with = "shape::encryption")]
    pub encryption: TokenEncryption,
    #[serde(deserialize_with = "paging::method")]
    method: Method,
    #[serde(deserialize_with = "value::text")]
    body: String,
    #[serde(deserialize_with = "value::text")]
    start: String,
    #[serde(deserialize_with = "paging::time_format")]
    since_format: TimeFormat,
    #[serde(deserialize_with = "value::duration")]
    overlap: Duration,
    /// How one page leads to the next.
    pub paging: PagingConfig,
    /// What `record.id` was called before.
    #[serde(default, deserialize_with = "value::given_text")]
    sequence: Option<String>,
    // What the keys above lead to, filled in by `resolve`:
    /// What `url` or `API_URL` says.
    #[serde(skip)]
    location: Option<SourceLocation>,
    /// What `keys_env` names.
    #[serde(skip)]
    key_variable: Option<Variable>,
    /// What errors call the place of `keys`.
    #[serde(skip)]
    keys_place: String,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Files(pattern) => write!(f, "file:{pattern}"),
        }
    }
}

impl SourceLocation {
    /// The location that `text` names; `None` if it is empty. A relative pattern is resolved against the folder `base`.
    fn parse(text: &str, base: &Path) -> Result<Option<Self>> {
        let text = text.trim();
        if let Some(pattern) = text.strip_prefix("file:") {
            return Ok(Some(Self::Files(paths::absolute_pattern(paths::after_file(pattern)?, base)?)));
        }
        if text.is_empty() {
            return Ok(None);
        }
        // Not repeated: a text that is not a URL may be a misplaced secret.
        let url = SourceUrl::parse(text)
            .ok_or_else(|| wrong("not a URL").hint("write it as in \"https://host/path\" or \"file:pages/*.json\""))?;
        Ok(Some(Self::Http(url)))
    }
}

impl SourceConfig {
    /// Completes what was read by what it refers to: folders and variables.
    pub(super) fn resolve(&mut self, layers: &Layers<'_>) -> Result<()> {
        self.location = self.find(layers)?;
        let url = if let Some(SourceLocation::Http(url)) = &self.location { Some(url.expose()) } else { None };
        paging::check(&self.paging, &self.asking(), url, layers)?;
        self.resolve_keys(layers)?;
        self.auth.resolve(&self.headers, self.location.as_ref(), layers)
    }

    /// A `file:` source in the file stays what it is: it belongs to a demo or a backfill, and must not turn into a live
    /// service because `API_URL` happens to be set. Otherwise the variable goes first.
    fn find(&self, layers: &Layers<'_>) -> Result<Option<SourceLocation>> {
        let written = self.url.as_ref().map_or("", Secret::expose);
        match layers.environment.get("API_URL")?.filter(|_| !written.starts_with("file:")) {
            Some(variable) => {
                let found = variable.parse("source.url", |text| SourceLocation::parse(text, layers.cwd))?;
                found.iter().for_each(|found| layers.note("source.url", found, variable.origin.clone()));
                Ok(found)
            }
            None => {
                let (path, origin) = (["source", "url"], layers.origin(&["source", "url"]));
                let found = layers.parse(&path, written, SourceLocation::parse)?;
                found.iter().for_each(|found| layers.note("source.url", found, origin.clone()));
                Ok(found)
            }
        }
    }

    /// At most one place of the keys may be given. The keys are read only when asked for.
    fn resolve_keys(&mut self, layers: &Layers<'_>) -> Result<()> {
        let [variable, file, list] = ["keys_env", "keys_file", "keys"].map(|key| ["source", key]);
        let mut given = [variable, file, list].into_iter().filter(|path| layers.in_file(path));
        if let Some(second) = given.nth(1) {
            return Err(layers
                .error(&second, "the keys are given in two places")
                .hint("keep one of source.keys_env, source.keys_file and source.keys"));
        }
        if self.keys.is_some() && matches!(self.location, Some(SourceLocation::Http(_))) {
            return Err(layers
                .error(&list, "keys may be in the file only for \"file:\" sources")
                .hint("put them into the environment variable FERNET_KEY, or into a file named by source.keys_file"));
        }
        self.keys_place = format!("{}: source.keys", layers.origin(&list));
        if let Some(path) = &mut self.keys_file {
            *path = layers.absolute(&file, path)?.ok_or_else(|| layers.error(&file, "cannot be empty"))?;
        }
        check_name(&self.keys_env, |what| layers.error(&variable, what))?;
        if self.keys.is_none() && self.keys_file.is_none() {
            self.key_variable = layers.environment.get(&self.keys_env)?;
            layers.note_secret("source.keys", self.key_variable.as_ref());
        }
        Ok(())
    }

    /// Where pages come from.
    pub fn location(&self) -> Result<&SourceLocation> {
        self.location.as_ref().ok_or_else(|| {
            wrong("no source: neither source.url nor API_URL is set")
                .hint("set source.url in etl.toml, or API_URL in the environment or in .env")
        })
    }

    /// The field that `record.id` names under its old key, if that is given.
    pub(super) fn sequence(&self) -> Option<&str> {
        self.sequence.as_deref()
    }

    /// What is asked for beyond the address.
    #[must_use]
    pub fn asking(&self) -> Asking {
        Asking {
            method: self.method,
            body: self.body.clone(),
            start: self.start.clone(),
            since_format: self.since_format.clone(),
            overlap: self.overlap,
        }
    }

    /// The decryption keys, newest first, each checked to be a Fernet key; at least one.
    ///
    /// # Errors
    /// `Config`: missing, malformed, or in a file that others may read. Never holds a key.
    pub fn keys(&self) -> Result<Vec<Secret>> {
        if let Some(list) = &self.keys {
            return keys::of_list(list, &self.keys_place);
        }
        if let Some(path) = &self.keys_file {
            return keys::of_file(path);
        }
        let name = &self.keys_env;
        let variable = self.key_variable.as_ref().ok_or_else(|| {
            wrong(format!("no decryption key: {name} is not set"))
                .hint(format!("set {name} in the environment or in .env, or name a file with source.keys_file"))
        })?;
        keys::of_variable(variable, name)
    }

    /// What requests carry so that the source lets them in.
    ///
    /// # Errors
    /// `Config`: a secret that is not there, or in a file that others may read. Never holds one.
    pub fn auth(&self) -> Result<SourceAuth> {
        self.auth.read()
    }

    /// The request headers that the user spelled, by name and value.
    pub fn headers(&self) -> Result<Vec<(String, Secret)>> {
        self.auth.headers()
    }
}
