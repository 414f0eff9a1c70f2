//! `[cluster]`: the brokers that several machines share, and what this one does among them.
//!
//! Invariants: nobody who reads along gets a record or a password unless the configuration says `security = "plaintext"`; no secret stands
//! in the file, nor in an error; a property that decides correctness cannot be set from here. What a secret is, is read only when it is
//! asked for.

mod brokers;
mod properties;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::environment::{Variable, check_name};
use super::layers::Layers;
use super::load::Destination;
use super::paths::wrong;
use super::{keys, value};
use crate::error::Result;
use crate::secret::Secret;

/// The most lanes: each is a partition, with files of its own on each broker.
const MOST_LANES: u32 = 1024;
/// What Kafka takes for a topic's name, with room for what follows ours.
const LONGEST_NAME: usize = 200;
/// How long a session may be: brokers refuse more.
const SESSION: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(1800)];

/// What a machine does in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Asks the source, and puts pages into the topic `pages`.
    Fetch,
    /// Turns pages into records of lanes.
    Route,
    /// Owns lanes: makes parts of what is in them.
    Own,
}

impl Role {
    /// All of them, in the order of a record's way.
    pub const ALL: [Self; 3] = [Self::Fetch, Self::Route, Self::Own];

    /// As the configuration spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Route => "route",
            Self::Own => "own",
        }
    }
}

/// How the way to the brokers is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plaintext,
    /// By TLS; with `cert_file` the brokers know who asks.
    Tls,
    /// By TLS, and a user with a password (SCRAM-SHA-512).
    Scram,
}

/// `[cluster]`. What a command may do without is behind a method and fails only when asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// Where the brokers are: `host:port`, separated by commas.
    #[serde(deserialize_with = "value::text")]
    pub brokers: String,
    /// What the topics and groups begin with.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Into how many lanes records are divided.
    #[serde(deserialize_with = "lanes")]
    pub lanes: u32,
    /// What this machine does.
    #[serde(deserialize_with = "roles")]
    pub roles: BTreeSet<Role>,
    #[serde(deserialize_with = "value::text")]
    instance: String,
    /// How long brokers wait for a machine that does not answer before others take its work.
    #[serde(deserialize_with = "session")]
    pub session: Duration,
    #[serde(deserialize_with = "security")]
    security: Option<Security>,
    ca_file: PathBuf,
    cert_file: PathBuf,
    key_file: PathBuf,
    #[serde(deserialize_with = "value::text")]
    user_env: String,
    #[serde(deserialize_with = "value::text")]
    password_env: String,
    password_file: PathBuf,
    /// Further keys of librdkafka.
    #[serde(deserialize_with = "properties::properties")]
    pub properties: BTreeMap<String, String>,
    // What they lead to, filled in by `resolve`:
    #[serde(skip)]
    access: Access,
}

/// What the keys about security lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Access {
    security: Option<Security>,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    user: Option<(String, Option<Secret>)>,
    password: Option<Password>,
}

/// Where the password is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Password {
    File(PathBuf),
    Variable(String, Option<Secret>),
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            brokers: String::new(),
            name: String::new(),
            lanes: 6,
            roles: Role::ALL.into(),
            instance: String::new(),
            session: Duration::from_secs(15),
            security: None,
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            user_env: String::new(),
            password_env: String::new(),
            password_file: PathBuf::new(),
            properties: BTreeMap::new(),
            access: Access::default(),
        }
    }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    value::parsed_by(from, |text| {
        let is_one = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(is_one) || text.starts_with('.') {
            return Err(wrong("not a name that topics can begin with")
                .hint("use letters, digits, \"-\", \"_\" and \".\", as in \"logs\""));
        }
        Ok(text.to_owned())
    })
}

fn lanes<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let lanes: u32 = value::count::<_, _, MOST_LANES>(from)?;
    if lanes == 0 { Err(serde::de::Error::custom("there has to be a lane")) } else { Ok(lanes) }
}

fn session<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let session = value::positive_duration(from)?;
    let [least, most] = SESSION;
    let is_possible = (least..=most).contains(&session);
    if is_possible { Ok(session) } else { Err(serde::de::Error::custom("not between 1s and 30m, which brokers take")) }
}

fn roles<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<Role>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let role = |name: &String| Role::ALL.into_iter().find(|role| role.name() == name.trim());
    let roles: Option<BTreeSet<Role>> = names.iter().map(role).collect();
    match roles {
        Some(roles) if !roles.is_empty() => Ok(roles),
        _ => Err(serde::de::Error::custom("not what a machine can do\nwrite some of \"fetch\", \"route\" and \"own\"")),
    }
}

fn security<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Security>, D::Error> {
    value::parsed_by(from, |text| match text {
        "" => Ok(None),
        "plaintext" => Ok(Some(Security::Plaintext)),
        "tls" => Ok(Some(Security::Tls)),
        "scram" => Ok(Some(Security::Scram)),
        _ => Err(wrong("not a way to secure a connection").hint("write \"tls\", \"scram\" or \"plaintext\"")),
    })
}

/// The path of a key.
const fn at(key: &str) -> [&str; 2] {
    ["cluster", key]
}

impl ClusterConfig {
    /// Completes what was read. `destination` is where parts go, if it is known.
    pub(super) fn resolve(&mut self, layers: &Layers<'_>, destination: Option<&Destination>) -> Result<()> {
        if !cfg!(feature = "kafka") {
            return Err(layers
                .error(&["cluster"], "this build of etl cannot work in a cluster")
                .hint("use a released binary, or build with `cargo build --release --features kafka`; one machine needs no [cluster]"));
        }
        if let Some(Destination::Files(_)) = destination {
            return Err(layers
                .error(&["cluster"], "machines of a cluster cannot share a folder: load.to is one")
                .hint("set load.to to a bucket, as in \"s3://bucket/prefix/\", or take [cluster] away"));
        }
        for (key, is_given, example) in [
            ("brokers", !self.brokers.is_empty(), "\"b1:9092,b2:9092,b3:9092\""),
            ("name", !self.name.is_empty(), "\"logs\""),
        ] {
            if !is_given {
                return Err(layers
                    .error(&["cluster"], format!("it needs cluster.{key}"))
                    .hint(format!("add to [cluster]: {key} = {example}")));
            }
        }
        self.brokers = brokers::check(&self.brokers).map_err(|what| layers.error(&at("brokers"), what))?;
        properties::check(&self.properties, layers)?;
        self.access = self.find_access(layers)?;
        Ok(())
    }

    fn find_access(&self, layers: &Layers<'_>) -> Result<Access> {
        let security = self.checked_security(layers)?;
        let file = |key: &str, path: &PathBuf| layers.absolute(&at(key), path);
        let (cert, key) = (file("cert_file", &self.cert_file)?, file("key_file", &self.key_file)?);
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(layers.error(&at("cert_file"), "a certificate needs cluster.key_file")),
            (None, Some(_)) => return Err(layers.error(&at("key_file"), "a key needs cluster.cert_file")),
        };
        let access = Access {
            security: Some(security),
            ca: file("ca_file", &self.ca_file)?,
            identity,
            user: self.variable("user_env", &self.user_env, layers)?,
            password: self.find_password(layers)?,
        };
        self.check_access(&access, layers)?;
        Ok(access)
    }

    /// What is not said is plaintext within this machine, and refused beyond it.
    fn checked_security(&self, layers: &Layers<'_>) -> Result<Security> {
        match self.security {
            Some(security) => Ok(security),
            None if brokers::are_loopback(&self.brokers) => Ok(Security::Plaintext),
            None => Err(layers
                .error(&at("brokers"), "nothing says how the way to these brokers is secured")
                .hint("set cluster.security to \"tls\" or \"scram\"; \"plaintext\" is for a network in which nobody else can read")),
        }
    }

    /// The variable that `key` names, if it does.
    fn variable(&self, key: &str, name: &str, layers: &Layers<'_>) -> Result<Option<(String, Option<Secret>)>> {
        if name.is_empty() {
            return Ok(None);
        }
        check_name(name, |what| layers.error(&at(key), what))?;
        let found: Option<Variable> = layers.environment.get(name)?;
        layers.note_secret(&format!("cluster.{}", key.trim_end_matches("_env")), found.as_ref());
        Ok(Some((name.to_owned(), found.map(|variable| variable.value))))
    }

    fn find_password(&self, layers: &Layers<'_>) -> Result<Option<Password>> {
        let variable = self.variable("password_env", &self.password_env, layers)?;
        match (variable, layers.absolute(&at("password_file"), &self.password_file)?) {
            (Some(_), Some(_)) => Err(layers
                .error(&at("password_file"), "the password is named in two places")
                .hint("keep one of cluster.password_env and cluster.password_file")),
            (Some((name, value)), None) => Ok(Some(Password::Variable(name, value))),
            (None, file) => Ok(file.map(Password::File)),
        }
    }

    /// Each key belongs to a way of security, and scram needs its own.
    fn check_access(&self, access: &Access, layers: &Layers<'_>) -> Result<()> {
        let is_secure = access.security != Some(Security::Plaintext);
        let is_scram = access.security == Some(Security::Scram);
        let password = if self.password_env.is_empty() { "password_file" } else { "password_env" };
        for (key, is_given, fits, security) in [
            ("ca_file", access.ca.is_some(), is_secure, "tls"),
            ("cert_file", access.identity.is_some(), is_secure, "tls"),
            ("user_env", access.user.is_some(), is_scram, "scram"),
            (password, access.password.is_some(), is_scram, "scram"),
        ] {
            if is_given && !fits {
                return Err(layers
                    .error(&at(key), "the way to the brokers, as it is secured here, has no use for it")
                    .hint(format!("set cluster.security = \"{security}\", or take the key away")));
            }
        }
        for (key, is_given) in [("user_env", access.user.is_some()), ("password_env", access.password.is_some())] {
            if is_scram && !is_given {
                return Err(layers.error(&at("security"), format!("\"scram\" needs cluster.{key}")).hint(format!(
                    "name the variable that holds it: {key} = \"KAFKA_{}\"",
                    key.trim_end_matches("_env").to_uppercase()
                )));
            }
        }
        Ok(())
    }

    /// How the way to the brokers is secured.
    #[must_use]
    pub fn security(&self) -> Security {
        self.access.security.unwrap_or(Security::Tls)
    }

    /// Whether all brokers are on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        brokers::are_loopback(&self.brokers)
    }

    /// What the group calls this machine: `instance`, else the host's name.
    #[must_use]
    pub fn instance(&self) -> String {
        if !self.instance.is_empty() {
            return self.instance.clone();
        }
        nix::unistd::gethostname().map_or_else(|_| "host".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// The file with the authorities to trust; `None`: the system's.
    #[must_use]
    pub const fn ca_file(&self) -> Option<&PathBuf> {
        self.access.ca.as_ref()
    }

    /// The client's certificate, and the text of its key.
    ///
    /// # Errors
    /// `Config`: one cannot be read, or others can read the key.
    pub fn identity(&self) -> Result<Option<(String, Secret)>> {
        let Some((cert, key)) = &self.access.identity else { return Ok(None) };
        let text = std::fs::read_to_string(cert).map_err(|cause| {
            wrong(format!("cluster.cert_file: cannot read {}", cert.display()))
                .caused_by(cause)
                .hint("put the certificate there, as PEM")
        })?;
        Ok(Some((text, Secret::new(keys::read_private(key)?))))
    }

    /// User and password, for scram.
    ///
    /// # Errors
    /// `Config`: one is not set, or cannot be read. Never holds it.
    pub fn login(&self) -> Result<Option<(Secret, Secret)>> {
        let (Some(user), Some(password)) = (&self.access.user, &self.access.password) else { return Ok(None) };
        let set = |name: &str, value: &Option<Secret>| {
            value.clone().ok_or_else(|| {
                wrong(format!("no access to cluster.brokers: {name} is not set"))
                    .hint(format!("set {name} in the environment or in .env"))
            })
        };
        let user = set(&user.0, &user.1)?;
        let password = match password {
            Password::Variable(name, value) => set(name, value)?,
            Password::File(path) => Secret::new(keys::read_private(path)?.trim()),
        };
        Ok(Some((user, password)))
    }
}
