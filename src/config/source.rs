//! `[source]`: where pages come from, with what headers, keys and patience.

use std::path::Path;
use std::time::Duration;

use super::environment::Variable;
use super::file::Datum;
use super::keys::{KeySource, variable_name};
use super::lookup::{Found, Lookup, absolute};
use crate::error::{Error, ErrorKind, Result};
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
#[derive(Debug, Clone)]
pub struct SourceConfig {
    location: Option<SourceLocation>,
    keys: KeySource,
    headers: Vec<Header>,
    /// How long a request may take, its body included.
    pub timeout: Duration,
    /// How often a request is tried again.
    pub retries: u32,
    /// The largest body that is taken for a page, in bytes.
    pub max_page_bytes: u64,
    /// Whether `Link: rel="next"` leads to more pages.
    pub follow_links: bool,
    /// The field with the source's rising number, by which gaps are found. Empty: none.
    pub sequence: String,
}

/// A request header as configured.
#[derive(Debug, Clone)]
struct Header {
    name: String,
    value: HeaderValue,
    /// What errors call the place.
    place: String,
}

#[derive(Debug, Clone)]
enum HeaderValue {
    Literal(String),
    Variable { name: String, found: Option<Variable> },
}

impl SourceConfig {
    pub(super) fn load(lookup: &Lookup<'_>) -> Result<Self> {
        let location = load_location(lookup)?;
        let keys = KeySource::load(lookup)?;
        if let (KeySource::Inline { .. }, Some(SourceLocation::Http(_)), Some(keys)) =
            (&keys, &location, lookup.in_file("source", "keys"))
        {
            return Err(keys
                .error("keys stand in the file for \"file:\" sources only")
                .hint("put them into the environment variable FERNET_KEY, or into a file named by source.keys_file"));
        }
        let max_page_bytes = lookup.get("source", "max_page_bytes")?;
        if max_page_bytes.size()? == 0 {
            return Err(max_page_bytes.error("cannot be zero"));
        }
        Ok(Self {
            location,
            keys,
            headers: load_headers(lookup)?,
            timeout: lookup.get("source", "timeout")?.positive_duration()?,
            // At most 100, so it fits.
            retries: u32::try_from(lookup.get("source", "retries")?.count(100)?).unwrap_or(100),
            max_page_bytes: max_page_bytes.size()?,
            follow_links: load_paging(lookup)?,
            sequence: lookup.get("source", "sequence")?.text()?.to_owned(),
        })
    }

    /// Where pages come from.
    ///
    /// # Errors
    /// `Config` where nobody said.
    pub fn location(&self) -> Result<&SourceLocation> {
        self.location.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "no source: neither source.url nor API_URL is set")
                .hint("set source.url in etl.toml, or API_URL in the environment or in .env")
        })
    }

    /// The decryption keys, newest first, each checked to be a Fernet key; at least one.
    ///
    /// # Errors
    /// `Config`: missing, malformed, or in a file that others may read. Never holds a key.
    pub fn keys(&self) -> Result<Vec<Secret>> {
        self.keys.keys()
    }

    /// The request headers, by name and value.
    ///
    /// # Errors
    /// `Config` where a variable that a header names is not set, or cannot be a header's value.
    pub fn headers(&self) -> Result<Vec<(String, Secret)>> {
        self.headers.iter().map(Header::resolve).collect()
    }
}

impl Header {
    fn resolve(&self) -> Result<(String, Secret)> {
        let value = match &self.value {
            HeaderValue::Literal(text) => Secret::new(text.as_str()),
            HeaderValue::Variable { found: Some(variable), .. } => variable.value.clone(),
            HeaderValue::Variable { name, found: None } => {
                return Err(Error::new(ErrorKind::Config, format!("{}: {name} is not set", self.place))
                    .hint(format!("set {name} in the environment or in .env")));
            }
        };
        if value.expose().contains(|c: char| c.is_control()) {
            return Err(Error::new(ErrorKind::Config, format!("{}: the value has a control character", self.place)));
        }
        Ok((self.name.clone(), value))
    }
}

/// A `file:` source in the file stays what it is: it belongs to a demo or a backfill, and must not turn into a live
/// service because `API_URL` happens to be set. Otherwise the environment goes first.
fn load_location(lookup: &Lookup<'_>) -> Result<Option<SourceLocation>> {
    let in_file = lookup.in_file("source", "url");
    let pinned = in_file.filter(|found| matches!(&found.datum, Datum::Text(text) if text.starts_with("file:")));
    let Some(found) = pinned.map_or_else(|| lookup.given("source", "url"), |found| Ok(Some(found)))? else {
        return Ok(None);
    };
    let text = found.text()?;
    if let Some(pattern) = text.strip_prefix("file:") {
        let pattern = absolute_pattern(pattern, &found.base).map_err(|what| found.error(what))?;
        return Ok(Some(SourceLocation::Files(pattern)));
    }
    if text.is_empty() {
        return Ok(None);
    }
    // Not repeated: what is no URL may be a secret in the wrong place.
    let url = SourceUrl::parse(text).ok_or_else(|| {
        found.error("not a URL").hint("write it as in \"https://host/path\" or \"file:pages/*.json\"")
    })?;
    Ok(Some(SourceLocation::Http(url)))
}

/// The pattern of a `file:` location as an absolute one. Of the folder it is relative to, every character is meant
/// literally.
fn absolute_pattern(pattern: &str, base: &Path) -> std::result::Result<String, String> {
    let pattern = local_path(pattern)?;
    let base = base.to_str().ok_or("the folder it is relative to is not UTF-8")?;
    let path = absolute(pattern, Path::new(&glob::Pattern::escape(base)))?;
    let text = path.to_str().ok_or("not UTF-8")?.to_owned();
    glob::Pattern::new(&text).map_err(|cause| format!("not a glob pattern: {cause}"))?;
    Ok(text)
}

/// The path of a `file:` location, which is what follows the colon, or the `//` of a URL with no host.
pub(super) fn local_path(location: &str) -> std::result::Result<&str, &'static str> {
    match location.strip_prefix("//") {
        Some(path) if path.starts_with('/') => Ok(path),
        Some(_) => Err("\"file://\" needs a full path; write \"file:folder\" or \"file:///full/path\""),
        None if location.is_empty() => Err("\"file:\" names no path"),
        None => Ok(location),
    }
}

/// `[source.paging]`: whether links are followed.
fn load_paging(lookup: &Lookup<'_>) -> Result<bool> {
    let table = lookup.get("source", "paging")?;
    let mut follows = true;
    for (name, line, value) in table.entries()? {
        follows = match (name.as_str(), value) {
            ("style", Datum::Text(style)) if style == "link" => true,
            ("style", Datum::Text(style)) if style == "none" => false,
            ("style", _) => {
                return Err(table
                    .error_at(*line, "style: not a style of paging")
                    .hint("\"link\" follows Link headers with rel=\"next\", \"none\" takes one page"));
            }
            _ => {
                let what = format!("unknown key {name:?} in [source.paging]; the nearest known one is \"style\"");
                return Err(table.error_at(*line, what));
            }
        };
    }
    Ok(follows)
}

fn load_headers(lookup: &Lookup<'_>) -> Result<Vec<Header>> {
    let Some(table) = lookup.in_file("source", "headers") else { return Ok(Vec::new()) };
    table.entries()?.iter().map(|(name, line, value)| load_header(lookup, &table, name, *line, value)).collect()
}

fn load_header(lookup: &Lookup<'_>, table: &Found, name: &str, line: usize, value: &Datum) -> Result<Header> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
        return Err(table.error_at(line, format!("{name:?} is not a header's name")));
    }
    let Datum::Text(text) = value else {
        return Err(table.error_at(line, format!("{name}: expected a string, found {}", value.type_name())));
    };
    let value = match text.strip_prefix("env:") {
        Some(variable) => {
            let variable = variable_name(table, variable.trim())?;
            HeaderValue::Variable { name: variable.to_owned(), found: lookup.environment.get(variable)? }
        }
        None if is_secret_header(name) => {
            return Err(table
                .error_at(line, format!("{name} holds a secret, which does not belong into the file"))
                .hint(format!("put it into a variable: {name} = \"env:API_TOKEN\"")));
        }
        None => HeaderValue::Literal(text.clone()),
    };
    let place = table.error_at(line, name).to_string();
    Ok(Header { name: name.to_owned(), value, place })
}

/// Whether a header of this name carries a credential.
fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "api-key", "apikey", "token", "secret", "password"]
        .iter()
        .any(|word| name.contains(word))
}
