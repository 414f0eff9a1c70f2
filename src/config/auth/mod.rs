//! `[source.auth]`: what requests carry so that the source lets them in.
//!
//! Invariants: no secret stands in the file; none goes over a network where it can be read, unless a header that the user spelled
//! carries it. What a secret is, is read only when it is asked for ([`AuthConfig::read`]): so each tick has what is there then.

mod header;
mod reference;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use self::header::Header;
use self::reference::Reference;
use super::SourceLocation;
use super::layers::Layers;
use super::paths::wrong;
use super::value;
use crate::error::Result;
use crate::secret::{Secret, SourceUrl};

/// How requests are authorised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Style {
    /// By the headers alone, if at all.
    #[default]
    Headers,
    Basic,
    Bearer,
    OAuth2,
    ClientCert,
}

/// How a client shows its secret to the server of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// In the header `Authorization`, which every server has to take (RFC 6749, 2.3.1).
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// `[source.auth]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthConfig {
    #[serde(deserialize_with = "style")]
    style: Style,
    headers: BTreeMap<String, String>,
    #[serde(deserialize_with = "value::secret")]
    user: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    password: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    token: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    token_url: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    client_id: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    client_secret: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    scope: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    audience: Option<Secret>,
    #[serde(deserialize_with = "client_auth")]
    client_auth: Option<ClientAuth>,
    #[serde(deserialize_with = "value::secret")]
    cert: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    key: Option<Secret>,
    #[serde(deserialize_with = "value::secret")]
    ca: Option<Secret>,
    // What they lead to, filled in by `resolve`:
    #[serde(skip)]
    sent: Vec<Header>,
    #[serde(skip)]
    found: Found,
}

/// Where the values are.
#[derive(Debug, Clone, Default)]
struct Found {
    user: Option<Reference>,
    password: Option<Reference>,
    token: Option<Reference>,
    token_url: Option<SourceUrl>,
    client_id: Option<Reference>,
    client_secret: Option<Reference>,
    scope: String,
    audience: String,
    cert: Option<Reference>,
    key: Option<Reference>,
    ca: Option<Reference>,
}

/// What requests to the source carry, with all secrets.
#[derive(Debug, Clone, Default)]
pub struct SourceAuth {
    /// Their headers, those of the styles `basic` and `bearer` among them.
    pub headers: Vec<(String, Secret)>,
    /// How to get a token for them.
    pub oauth2: Option<ClientCredentials>,
    /// The client's certificate, and its key.
    pub identity: Option<(PemText, PemText)>,
    /// The authorities to trust instead of the system's.
    pub ca: Option<PemText>,
    /// Secrets that travel in another spelling: nothing that is shown may repeat them.
    pub disguised: Vec<Secret>,
}

/// A client that gets tokens in its own name (RFC 6749, 4.4).
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// Where tokens are.
    pub token_url: SourceUrl,
    /// Its name.
    pub id: Secret,
    /// Its secret.
    pub secret: Secret,
    /// What it asks for; empty: what the server gives by itself.
    pub scope: String,
    /// For whom the token is; empty: not said.
    pub audience: String,
    /// How it shows the secret.
    pub auth: ClientAuth,
}

/// Certificates or a key, and what errors call them.
#[derive(Debug, Clone)]
pub struct PemText {
    /// The key of the configuration, and the file.
    pub place: String,
    /// The text.
    pub text: Secret,
}

fn style<'de, D: Deserializer<'de>>(from: D) -> Result<Style, D::Error> {
    value::parsed_by(from, |text| match text {
        "headers" => Ok(Style::Headers),
        "basic" => Ok(Style::Basic),
        "bearer" => Ok(Style::Bearer),
        "oauth2" => Ok(Style::OAuth2),
        "client-cert" => Ok(Style::ClientCert),
        _ => Err(wrong("not a style of authorisation")
            .hint("write \"headers\", \"basic\", \"bearer\", \"oauth2\" or \"client-cert\"")),
    })
}

fn client_auth<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ClientAuth>, D::Error> {
    value::parsed_by(from, |text| match text {
        "basic" => Ok(Some(ClientAuth::Basic)),
        "post" => Ok(Some(ClientAuth::Post)),
        _ => Err(wrong("not a way to show a client's secret")
            .hint("\"basic\" sends it in a header, as every server has to take it, \"post\" in the body")),
    })
}

/// The path of a key.
const fn at(key: &str) -> [&str; 3] {
    ["source", "auth", key]
}

impl Style {
    const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::OAuth2 => "oauth2",
            Self::ClientCert => "client-cert",
        }
    }

    /// Whether requests get a header `Authorization`.
    const fn sends_authorization(self) -> bool {
        matches!(self, Self::Basic | Self::Bearer | Self::OAuth2)
    }
}

impl AuthConfig {
    /// Completes what was read. `headers` are those of the old key `source.headers`.
    pub(super) fn resolve(
        &mut self,
        headers: &BTreeMap<String, String>,
        location: Option<&SourceLocation>,
        layers: &Layers<'_>,
    ) -> Result<()> {
        self.check_keys(layers)?;
        self.sent = self.all_headers(headers, layers)?;
        self.found = self.find(layers)?;
        if let Some(SourceLocation::Http(url)) = location {
            self.check_url(url, layers)?;
        }
        Ok(())
    }

    /// Each key belongs to its style, and each style needs its keys.
    fn check_keys(&self, layers: &Layers<'_>) -> Result<()> {
        let given = |text: &Option<Secret>| text.is_some();
        let keys = [
            ("user", given(&self.user), Style::Basic, true),
            ("password", given(&self.password), Style::Basic, false),
            ("token", given(&self.token), Style::Bearer, true),
            ("token_url", given(&self.token_url), Style::OAuth2, true),
            ("client_id", given(&self.client_id), Style::OAuth2, true),
            ("client_secret", given(&self.client_secret), Style::OAuth2, true),
            ("scope", given(&self.scope), Style::OAuth2, false),
            ("audience", given(&self.audience), Style::OAuth2, false),
            ("client_auth", self.client_auth.is_some(), Style::OAuth2, false),
        ];
        for (key, is_given, style, is_needed) in keys {
            if is_given && self.style != style {
                return Err(layers
                    .error(&at(key), format!("the style {:?} does not use it", self.style.name()))
                    .hint(format!("set style = {:?} in [source.auth], or take the key away", style.name())));
            }
            if !is_given && is_needed && self.style == style {
                return Err(self.needs(key, layers));
            }
        }
        let needs_cert = self.style == Style::ClientCert || self.key.is_some();
        match (&self.cert, &self.key) {
            (None, _) if needs_cert => Err(self.needs("cert", layers)),
            (Some(_), None) => Err(self.needs("key", layers)),
            _ => Ok(()),
        }
    }

    fn needs(&self, key: &str, layers: &Layers<'_>) -> crate::error::Error {
        let what = match key {
            "cert" | "key" => format!("a client's certificate needs source.auth.{key}"),
            _ => format!("it needs source.auth.{key}"),
        };
        let of = ["style", "cert", "key"].map(at).into_iter().find(|path| layers.in_file(path)).unwrap_or(at("style"));
        let example = match key {
            "user" => "\"env:API_USER\"",
            "token" => "\"env:API_TOKEN\"",
            "token_url" => "\"https://login.example.com/oauth2/token\"",
            "client_id" => "\"etl\"",
            "client_secret" => "\"env:API_CLIENT_SECRET\"",
            "cert" => "\"client.pem\"",
            _ => "\"client-key.pem\"",
        };
        layers.error(&of, what).hint(format!("add to [source.auth]: {key} = {example}"))
    }

    /// The headers, from whichever of the two places has them.
    fn all_headers(&self, old: &BTreeMap<String, String>, layers: &Layers<'_>) -> Result<Vec<Header>> {
        let (old_path, new_path) = (["source", "headers"], at("headers"));
        if !old.is_empty() && !self.headers.is_empty() {
            return Err(layers
                .error(&old_path, "the headers are given in two places")
                .hint("keep source.auth.headers; source.headers is its older name"));
        }
        let (table, headers): (&[&str], _) = if old.is_empty() { (&new_path, &self.headers) } else { (&old_path, old) };
        let headers = headers.iter().map(|(name, text)| Header::resolve(table, name, text, layers));
        let headers = headers.collect::<Result<Vec<_>>>()?;
        match headers.iter().find(|header| header.name.eq_ignore_ascii_case("authorization")) {
            Some(header) if self.style.sends_authorization() => {
                let what = format!("the style {:?} sends this header itself", self.style.name());
                let path = [table, &[header.name.as_str()]].concat();
                Err(layers.error(&path, what).hint("take the header away, or set style = \"headers\" in [source.auth]"))
            }
            _ => Ok(headers),
        }
    }

    fn find(&self, layers: &Layers<'_>) -> Result<Found> {
        let find = |key: &str, text: &Option<Secret>, how: How| {
            text.as_ref().map(|text| how(&at(key), text.expose(), layers)).transpose()
        };
        let plain = |text: &Option<Secret>| text.as_ref().map_or_else(String::new, |text| text.expose().to_owned());
        Ok(Found {
            user: find("user", &self.user, Reference::or_here)?,
            password: find("password", &self.password, Reference::secret)?,
            token: find("token", &self.token, Reference::secret)?,
            token_url: self.token_url.as_ref().map(|url| token_url(url.expose(), layers)).transpose()?,
            client_id: find("client_id", &self.client_id, Reference::or_here)?,
            client_secret: find("client_secret", &self.client_secret, Reference::secret)?,
            scope: plain(&self.scope),
            audience: plain(&self.audience),
            cert: find("cert", &self.cert, Reference::of_file)?,
            key: find("key", &self.key, Reference::of_file)?,
            ca: find("ca", &self.ca, Reference::of_file)?,
        })
    }

    /// What is sent to `url` must not be readable on the way, nor be overruled by what stands in the address.
    fn check_url(&self, url: &SourceUrl, layers: &Layers<'_>) -> Result<()> {
        let style = self.style.name();
        if self.style != Style::Headers && url.is_in_the_clear() {
            let what =
                format!("the style {style:?} needs https: {url} is asked without TLS, where all on the way can read");
            return Err(layers.error(&at("style"), what).hint("write https: in source.url"));
        }
        if self.style.sends_authorization() && url.has_user() {
            let what = format!("the style {style:?} and the user in source.url exclude each other");
            return Err(layers.error(&at("style"), what).hint("take the user and the password out of source.url"));
        }
        Ok(())
    }

    /// What requests carry.
    ///
    /// # Errors
    /// `Config`: a variable that is not set, a file that cannot be read or that others can. Never holds a secret.
    pub(super) fn read(&self) -> Result<SourceAuth> {
        let mut auth = SourceAuth { headers: self.headers()?, ..SourceAuth::default() };
        let found = &self.found;
        match self.style {
            Style::Basic => {
                let (user, password) = (one(&found.user)?, one(&found.password)?);
                if user.expose().contains(':') {
                    return Err(wrong("source.auth.user: a user's name cannot have a colon in it, which ends it")
                        .hint("take the colon out, and what is behind it, if that is the password"));
                }
                let pair = format!("{}:{}", user.expose(), password.expose());
                auth.headers.push(authorization("Basic", &STANDARD.encode(pair)));
                auth.disguised = vec![user, password];
            }
            Style::Bearer => auth.headers.push(authorization("Bearer", one(&found.token)?.expose())),
            Style::OAuth2 => auth.oauth2 = self.client_credentials()?,
            Style::Headers | Style::ClientCert => {}
        }
        let pem = |from: &Option<Reference>, is_secret| {
            from.as_ref().map(|from| Ok(PemText { place: from.place(), text: from.text(is_secret)? })).transpose()
        };
        auth.ca = pem(&found.ca, false)?;
        auth.identity = pem(&found.cert, false)?.zip(pem(&found.key, true)?);
        Ok(auth)
    }

    /// The headers that the user spelled.
    pub(super) fn headers(&self) -> Result<Vec<(String, Secret)>> {
        self.sent.iter().map(Header::sent).collect()
    }

    fn client_credentials(&self) -> Result<Option<ClientCredentials>> {
        let Found { token_url: Some(token_url), client_id, client_secret, scope, audience, .. } = &self.found else {
            return Ok(None);
        };
        Ok(Some(ClientCredentials {
            token_url: token_url.clone(),
            id: one(client_id)?,
            secret: one(client_secret)?,
            scope: scope.clone(),
            audience: audience.clone(),
            auth: self.client_auth.unwrap_or_default(),
        }))
    }
}

/// How a value may be written.
type How = fn(&[&str], &str, &Layers<'_>) -> Result<Reference>;

/// The value as one line; empty where none is given.
fn one(reference: &Option<Reference>) -> Result<Secret> {
    reference.as_ref().map_or_else(|| Ok(Secret::new("")), Reference::line)
}

fn authorization(scheme: &str, credentials: &str) -> (String, Secret) {
    ("Authorization".to_owned(), Secret::new(format!("{scheme} {credentials}")))
}

fn token_url(text: &str, layers: &Layers<'_>) -> Result<SourceUrl> {
    let refused = |what: &str, hint: &str| layers.error(&at("token_url"), what).hint(hint);
    let url = SourceUrl::parse(text)
        .ok_or_else(|| refused("not a URL", "write it as in \"https://login.example.com/oauth2/token\""))?;
    if url.has_user() {
        return Err(refused("an address with a user in it", "use source.auth.client_id and client_secret"));
    }
    if url.is_in_the_clear() {
        return Err(refused("asked without TLS, where all on the way can read the secret", "write https:"));
    }
    layers.note("source.auth.token_url", &url, layers.origin(&at("token_url")));
    Ok(url)
}
