//! Flags, environment, `.env` and file become one validated [`Config`].
//!
//! `layers` puts template and file together, `environment` has the variables, `show` says where each value comes from,
//! `check` finds everything that is wrong.
//!
//! The only reader of the environment, and it sets nothing. Of several sources the first that has a value wins: flag,
//! environment, `.env`, file, default. Two things in a file stand above the environment: a `file:` source and a `file:`
//! destination. `API_URL` and the bucket's variable are names that other programs use too, and a demo must not read
//! from a live service or write to S3 because they happen to be set.
//!
//! Invariants: what was loaded is possible (an unknown key, a wrong type, an impossible value is an error of kind
//! `Config` that names the place to mend); no secret is in an error or in the output of `Debug`; what a command may do
//! without — the source, keys, headers, the destination, credentials — fails only when it is asked for, so `status` works
//! with nothing set. Relative paths are relative to the folder of the file that they or their default belong to; those
//! of flags and variables, to the current directory.

mod auth;
mod aws;
pub(crate) mod bucket;
mod check;
mod cluster;
pub(crate) mod columns;
mod compact;
mod environment;
pub(crate) mod fernet_key;
mod format;
mod keys;
mod layers;
mod load;
mod locale;
mod name;
mod object;
pub(crate) mod paging;
mod paths;
mod private;
mod record;
mod shape;
mod show;
mod source;
mod template;
mod units;
mod value;
mod watched;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;

pub use self::locale::{locale_is_utf8, under_cron};
pub use auth::{ClientAuth, ClientCredentials, PemText, SourceAuth};
pub use aws::AwsVariables;
pub(crate) use aws::{Profile, Profiles};
pub use check::{Problems, problems};
pub use cluster::{ClusterConfig, Role, Security};
pub use columns::{ColumnKind, LoadColumn};
pub use compact::{CodecConfig, CompactConfig};
pub use environment::{Ask, Origin};
pub use load::{Destination, LoadConfig, S3Access, S3Credentials, SigningKey};
pub use name::name_of;
pub use object::{Encryption, ObjectOptions};
pub use paging::{Asking, Method, PagingConfig, PagingStyle, ParamPlace, TimeFormat};
pub use record::RecordConfig;
pub use shape::TokenEncryption;
pub use show::{Setting, Shown, settings};
pub use source::{SourceConfig, SourceLocation};
pub use template::{Change, Starter, template};
pub use units::{UnitError, parse_duration, parse_positive_duration, parse_size};
pub use watched::Watched;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use environment::{Environment, check_name};
use layers::{File, Layers};

/// What the command line says about the configuration. No secret is ever a flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
}

/// The whole configuration, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The file it was read from; `None` where there was none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// `[source]`.
    pub source: SourceConfig,
    /// `[record]`.
    pub record: RecordConfig,
    /// `[hours]`.
    pub hours: HoursConfig,
    /// `[compact]`.
    pub compact: CompactConfig,
    /// `[load]`.
    pub load: LoadConfig,
    /// `[archive]`.
    pub archive: ArchiveConfig,
    /// `[run]`.
    pub run: RunConfig,
    /// `[state]`.
    pub state: StateConfig,
    /// `[quarantine]`.
    pub quarantine: QuarantineConfig,
    /// `[cluster]`; `None`: one machine alone.
    #[serde(default)]
    pub cluster: Option<ClusterConfig>,
}

/// `[hours]`: which hour a record belongs to, and when an hour closes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursConfig {
    /// The zone whose hours they are.
    #[serde(deserialize_with = "value::time_zone")]
    pub timezone: TimeZone,
    /// From an hour's end until it closes.
    #[serde(deserialize_with = "value::duration")]
    pub grace: Duration,
    /// From the receipt of the first late record until the late ones are sealed.
    #[serde(deserialize_with = "value::duration")]
    pub late_hold: Duration,
    /// How far ahead of its receipt a record may be.
    #[serde(deserialize_with = "value::duration")]
    pub max_future: Duration,
    /// How long the hashes of an hour are kept after its last receipt.
    #[serde(deserialize_with = "value::duration")]
    pub dedup_window: Duration,
}

/// `[archive]`: originals kept on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// The folder, absolute; `None` where no originals are kept.
    pub dir: Option<PathBuf>,
    /// How long they are kept.
    #[serde(deserialize_with = "value::positive_duration")]
    pub keep: Duration,
}

/// `[run]`: who watches the runs from outside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What the pipeline is called; empty: after its configuration.
    #[serde(deserialize_with = "value::text")]
    name: String,
    /// The metrics file, absolute; `None` where none is written.
    pub metrics_file: Option<PathBuf>,
    /// The copy of the status for others, absolute; `None` where there is none.
    pub status_file: Option<PathBuf>,
    /// Its permissions.
    #[serde(deserialize_with = "value::mode")]
    pub status_mode: u32,
    #[serde(deserialize_with = "value::text")]
    ping_env: String,
    /// The monitor's address, which is a secret; `None` where none is pinged.
    #[serde(skip)]
    pub ping: Option<Secret>,
    /// Under cron, how often an outage that goes on is said again.
    #[serde(deserialize_with = "value::duration")]
    pub remind: Duration,
}

/// `[state]`: the state directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// The folder, absolute.
    pub dir: PathBuf,
    /// Free bytes on its disk below which a run does not fetch.
    #[serde(deserialize_with = "value::size")]
    pub min_free: u64,
}

/// `[quarantine]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineConfig {
    /// The most bytes that it may take; 0: any number.
    #[serde(deserialize_with = "value::size")]
    pub max_bytes: u64,
}

impl Config {
    /// The configuration of this process: its environment and its current directory.
    pub fn from_process(flags: &Overrides) -> Result<Self> {
        Self::load(flags, &|name| std::env::var_os(name), &current_dir()?)
    }

    /// The configuration from `flags`, the environment behind `ask`, and the files that they and `cwd` lead to.
    ///
    /// # Errors
    /// `Config`: a named file that is not there, an unknown key, an impossible value.
    pub fn load(flags: &Overrides, ask: Ask<'_>, cwd: &Path) -> Result<Self> {
        with_layers(flags, ask, cwd, Self::of)
    }

    /// The configuration that a file with this `text` in `folder` would give in the environment of this process, without some variables.
    pub(crate) fn of_text(text: &str, folder: &Path, without: &[&str]) -> Result<Self> {
        let (ask, cwd): (Ask<'_>, _) = (&|name| std::env::var_os(name), current_dir()?);
        let hidden = without.iter().map(|name| (*name).to_owned()).collect();
        let environment = Environment::load(ask, Some(&folder.join("etl.toml")), &cwd)?.without(&hidden);
        let file = File::new("the new file", text, folder);
        Self::of(&Layers::new(&file, environment, &Overrides::default(), &cwd)?)
    }

    /// The configuration that `layers` give.
    fn of(layers: &Layers<'_>) -> Result<Self> {
        let mut config: Self = layers.read()?;
        config.source.resolve(layers)?;
        config.record.resolve(layers, config.source.sequence())?;
        config.compact.resolve(layers, config.record.is_of_the_origin())?;
        config.load.resolve(layers)?;
        config.archive.dir = layers.absolute(&["archive", "dir"], &config.archive.dir.unwrap_or_default())?;
        config.run.resolve(layers)?;
        config.state.dir = config.state.locate(layers)?;
        config.check_folders()?;
        if let Some(cluster) = &mut config.cluster {
            cluster.resolve(layers, config.load.destination().ok())?;
        }
        config.file = layers.path().map(Path::to_owned);
        Ok(config)
    }

    /// Nothing else may be in the state directory, which etl prunes.
    fn check_folders(&self) -> Result<()> {
        if let Some(path) = self.run.status_file.as_ref().filter(|path| path.starts_with(&self.state.dir)) {
            let text = format!("run.status_file is within the state directory: {}", path.display());
            return Err(Error::new(ErrorKind::Config, text)
                .hint("it is a copy for those who may not read there: choose a file elsewhere"));
        }
        let lake = match self.load.destination() {
            Ok(Destination::Files(path)) => Some(("load.to", path)),
            _ => None,
        };
        let archive = self.archive.dir.as_ref().map(|dir| ("archive.dir", dir));
        for (name, path) in lake.into_iter().chain(archive) {
            if path.starts_with(&self.state.dir) {
                let text = format!("{name} is within the state directory: {}", path.display());
                return Err(Error::new(ErrorKind::Config, text).hint(format!("choose another folder for {name}")));
            }
        }
        Ok(())
    }
}

/// What `use_them` makes of the layers that `flags`, the environment behind `ask` and `cwd` lead to.
fn with_layers<T>(
    flags: &Overrides,
    ask: Ask<'_>,
    cwd: &Path,
    use_them: impl FnOnce(&Layers<'_>) -> Result<T>,
) -> Result<T> {
    let path = locate(flags, ask, cwd)?;
    let environment = Environment::load(ask, path.as_deref(), cwd)?;
    environment.warn_where_others_read();
    let file = path.as_deref().map_or_else(|| Ok(File::none(cwd)), read)?;
    use_them(&Layers::new(&file, environment, flags, cwd)?)
}

/// The file to read: `--config`, else `ETL_CONFIG`, also of the working directory's `.env`, else `etl.toml` if there is one.
fn locate(flags: &Overrides, ask: Ask<'_>, cwd: &Path) -> Result<Option<PathBuf>> {
    let (path, origin) = match &flags.config {
        Some(path) => (cwd.join(path), Origin::Flag("--config")),
        None => match before_the_file(ask, cwd).get("ETL_CONFIG")? {
            Some(variable) => (cwd.join(variable.value.expose()), variable.origin),
            None => (cwd.join("etl.toml"), Origin::Default),
        },
    };
    let path: PathBuf = path.components().collect();
    // An error here does not mean that the file is absent.
    let there = path.try_exists().map_err(|cause| unreadable(&path, cause))?;
    if there || origin == Origin::Default {
        return Ok(there.then_some(path));
    }
    Err(Error::new(ErrorKind::Config, format!("no configuration file {} (named by {origin})", path.display()))
        .hint("correct the name, or leave it out to use ./etl.toml"))
}

/// What is known before the file is. A broken `.env` is told when it is read again, for its variables.
fn before_the_file<'a>(ask: Ask<'a>, cwd: &Path) -> Environment<'a> {
    Environment::load(ask, None, cwd).unwrap_or_else(|_| Environment::without_dotenv(ask))
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("cannot read the configuration file {}", path.display()))
        .hint("let the user that runs etl read it and its folder, and save it as UTF-8 text")
        .caused_by(cause)
}

/// The file at `path`. Its folder is resolved: relative paths in the file must not depend on how it was reached.
fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).map_err(|cause| unreadable(path, cause))?;
    let folder = path.parent().unwrap_or(path).canonicalize().map_err(|cause| unreadable(path, cause))?;
    Ok(File::new(path.display().to_string(), &text, folder).at(path))
}

fn current_dir() -> Result<PathBuf> {
    std::env::current_dir().map_err(|cause| {
        let error = Error::new(ErrorKind::Config, "cannot find the current directory").caused_by(cause);
        error.hint("start etl in a folder that is there")
    })
}

/// The key of the simulator: the newest of `FERNET_KEY`, from the environment or `.env`. `None` where it is not set.
pub fn simulator_key() -> Result<Option<Secret>> {
    let environment = Environment::load(&|name| std::env::var_os(name), None, &current_dir()?)?;
    Ok(environment.get("FERNET_KEY")?.map(|variable| variable.value))
}

/// The address of a monitor in the variable of the usual name, for a run whose configuration cannot be read.
pub fn usual_ping() -> Option<Secret> {
    let environment = Environment::without_dotenv(&|name| std::env::var_os(name));
    environment.get("ETL_PING_URL").ok().flatten().map(|variable| variable.value)
}

impl HoursConfig {
    /// The zone's name in the tz database, as recorded in the state.
    #[must_use]
    pub fn timezone_name(&self) -> &str {
        self.timezone.iana_name().unwrap_or("UTC")
    }
}

impl RunConfig {
    fn resolve(&mut self, layers: &Layers<'_>) -> Result<()> {
        let file = self.metrics_file.take().unwrap_or_default();
        self.metrics_file = layers.absolute(&["run", "metrics_file"], &file)?;
        let file = self.status_file.take().unwrap_or_default();
        self.status_file = layers.absolute(&["run", "status_file"], &file)?;
        if !self.ping_env.is_empty() {
            check_name(&self.ping_env, |what| layers.error(&["run", "ping_env"], what))?;
            let variable = layers.environment.get(&self.ping_env)?;
            layers.note_secret("run.ping", variable.as_ref());
            self.ping = variable.map(|variable| variable.value);
        }
        Ok(())
    }
}

impl StateConfig {
    fn locate(&self, layers: &Layers<'_>) -> Result<PathBuf> {
        if let Some(dir) = &layers.flags.state_dir {
            let dir: PathBuf = layers.cwd.join(dir).components().collect();
            layers.note("state.dir", dir.display(), Origin::Flag("--state-dir"));
            return Ok(dir);
        }
        if let Some(variable) = layers.environment.get("ETL_STATE_DIR")? {
            let dir = variable.parse("state.dir", |text| paths::absolute(text, layers.cwd))?;
            layers.note("state.dir", dir.display(), variable.origin);
            return Ok(dir);
        }
        let path = ["state", "dir"];
        let dir = layers.absolute(&path, &self.dir)?;
        dir.ok_or_else(|| layers.error(&path, "cannot be empty"))
    }
}

#[cfg(test)]
mod tests;
