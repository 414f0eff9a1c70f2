//! Flags, environment, `.env` and file become one validated [`Config`].
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

mod environment;
mod file;
pub(crate) mod keys;
mod load;
mod locale;
mod lookup;
mod run;
mod settings;
mod source;
mod template;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

pub use self::locale::locale_is_utf8;
pub use environment::Ask;
pub use load::{Destination, LoadConfig, S3Access, S3Credentials};
pub use run::RunConfig;
pub use source::{SourceConfig, SourceLocation};
pub use template::{Starter, template};
pub use units::{UnitError, parse_duration, parse_size};

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use environment::Environment;
use file::{Datum, Document};
use lookup::{Lookup, Origin};

/// What the command line says about the configuration. No secret is ever a flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
}

/// The whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; `None` where there was none.
    pub file: Option<PathBuf>,
    /// `[source]`.
    pub source: SourceConfig,
    /// `[hours]`.
    pub hours: HoursConfig,
    /// `[compact]`.
    pub compact: CompactConfig,
    /// `[load]`.
    pub load: LoadConfig,
    /// `[archive]`; `None` where no originals are kept.
    pub archive: Option<ArchiveConfig>,
    /// `[run]`.
    pub run: RunConfig,
    /// `[state]`.
    pub state: StateConfig,
}

/// `[hours]`: which hour a record belongs to, and when an hour closes.
#[derive(Debug, Clone)]
pub struct HoursConfig {
    /// The zone whose hours they are.
    pub timezone: TimeZone,
    /// Its name in the tz database, as recorded in the state.
    pub timezone_name: String,
    /// From an hour's end until it closes.
    pub grace: Duration,
    /// From the receipt of the first late record until the late ones are sealed.
    pub late_hold: Duration,
    /// How far ahead of its receipt a record may be.
    pub max_future: Duration,
    /// How long the hashes of an hour are kept after its last receipt.
    pub dedup_window: Duration,
}

/// `[compact]`: the dictionaries, text to code. No code is 0 (which stands for all else), none is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactConfig {
    /// Of the field `url`.
    pub url: BTreeMap<String, i64>,
    /// Of the field `method`.
    pub method: BTreeMap<String, i64>,
}

/// `[archive]`: originals kept on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// The folder, absolute.
    pub dir: PathBuf,
    /// How long they are kept.
    pub keep: Duration,
}

/// `[state]`: the state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConfig {
    /// The folder, absolute.
    pub dir: PathBuf,
    /// Free bytes on its disk below which a run does not fetch.
    pub min_free: u64,
    /// `quarantine.max_bytes`: the most bytes of its quarantine; 0: any number.
    pub quarantine_max_bytes: u64,
}

impl Config {
    /// The configuration of this process: its environment and its current directory.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_process(flags: &Overrides) -> Result<Self> {
        let cwd = std::env::current_dir()
            .map_err(|cause| Error::new(ErrorKind::Config, "cannot tell the current directory").caused_by(cause))?;
        Self::load(flags, &|name| std::env::var_os(name), &cwd)
    }

    /// The configuration from `flags`, the environment behind `ask`, and the files that they and `cwd` lead to.
    ///
    /// # Errors
    /// `Config`: a named file that is not there, an unknown key, an impossible value.
    pub fn load(flags: &Overrides, ask: Ask<'_>, cwd: &Path) -> Result<Self> {
        let environment = Environment::load(ask, cwd)?;
        let file = locate(flags, &environment, cwd)?;
        let document = file.as_deref().map(read).transpose()?;
        Self::of(flags, &Lookup::new(environment, document, cwd)?, file, cwd)
    }

    /// The configuration that `lookup` gives.
    fn of(flags: &Overrides, lookup: &Lookup<'_>, file: Option<PathBuf>, cwd: &Path) -> Result<Self> {
        let config = Self {
            file,
            source: SourceConfig::load(lookup)?,
            hours: HoursConfig::load(lookup)?,
            compact: CompactConfig::load(lookup)?,
            load: LoadConfig::load(lookup)?,
            archive: ArchiveConfig::load(lookup)?,
            run: RunConfig::load(lookup)?,
            state: StateConfig::load(flags, lookup, cwd)?,
        };
        config.check_folders()?;
        Ok(config)
    }

    /// The state directory is bounded and pruned: nothing else may live in it.
    fn check_folders(&self) -> Result<()> {
        let lake = match self.load.destination() {
            Ok(Destination::Files(path)) => Some(("load.to", path)),
            _ => None,
        };
        let archive = self.archive.as_ref().map(|archive| ("archive.dir", &archive.dir));
        for (name, path) in lake.into_iter().chain(archive) {
            if path.starts_with(&self.state.dir) {
                let text = format!("{name} is within the state directory: {}", path.display());
                return Err(Error::new(ErrorKind::Config, text).hint(format!("choose another folder for {name}")));
            }
        }
        Ok(())
    }
}

/// The file to read: `--config`, else `ETL_CONFIG`, else `etl.toml` if there is one.
fn locate(flags: &Overrides, environment: &Environment<'_>, cwd: &Path) -> Result<Option<PathBuf>> {
    let (path, origin) = match (&flags.config, environment.get("ETL_CONFIG")?) {
        (Some(path), _) => (cwd.join(path), Origin::Flag("--config")),
        (None, Some(variable)) => (cwd.join(variable.value.expose()), variable.origin),
        (None, None) => (cwd.join("etl.toml"), Origin::Default),
    };
    let path: PathBuf = path.components().collect();
    // A failed look is no absence.
    let there = path.try_exists().map_err(|cause| unreadable(&path, cause))?;
    if there || origin == Origin::Default {
        return Ok(there.then_some(path));
    }
    Err(Error::new(ErrorKind::Config, format!("no configuration file {} (named by {origin})", path.display()))
        .hint("correct the name, or leave it out to use ./etl.toml"))
}

fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, format!("cannot read the configuration file {}", path.display())).caused_by(cause)
}

/// The file at `path`, and the folder it is in, by its one true name: what is relative to it must not change with the
/// directory from which somebody looks at it.
fn read(path: &Path) -> Result<(Document, PathBuf)> {
    let text = std::fs::read_to_string(path).map_err(|cause| unreadable(path, cause))?;
    let folder = path.parent().unwrap_or(path).canonicalize().map_err(|cause| unreadable(path, cause))?;
    Ok((Document::parse(&path.display().to_string(), text.trim_start_matches('\u{feff}'))?, folder))
}

/// The key of the simulator: the newest of `FERNET_KEY`, from the environment or `.env`. `None` where it is not set.
///
/// # Errors
/// `Config`: `.env` cannot be read.
pub fn simulator_key() -> Result<Option<Secret>> {
    let cwd = std::env::current_dir()
        .map_err(|cause| Error::new(ErrorKind::Config, "cannot tell the current directory").caused_by(cause))?;
    let environment = Environment::load(&|name| std::env::var_os(name), &cwd)?;
    Ok(environment.get("FERNET_KEY")?.map(|variable| variable.value))
}

impl HoursConfig {
    fn load(lookup: &Lookup<'_>) -> Result<Self> {
        let zone = lookup.get("hours", "timezone")?;
        let timezone = time_zone(zone.text()?).map_err(|_| {
            zone.error("not a time zone").hint("write a name of the tz database, as in \"UTC\" or \"Asia/Seoul\"")
        })?;
        let duration = |key| lookup.get("hours", key)?.duration();
        Ok(Self {
            timezone_name: timezone.iana_name().unwrap_or("UTC").to_owned(),
            timezone,
            grace: duration("grace")?,
            late_hold: duration("late_hold")?,
            max_future: duration("max_future")?,
            dedup_window: duration("dedup_window")?,
        })
    }
}

impl CompactConfig {
    fn load(lookup: &Lookup<'_>) -> Result<Self> {
        Ok(Self { url: load_dictionary(lookup, "url")?, method: load_dictionary(lookup, "method")? })
    }
}

/// A dictionary of `[compact]`. A code that cannot be inverted would only look like a code.
fn load_dictionary(lookup: &Lookup<'_>, field: &'static str) -> Result<BTreeMap<String, i64>> {
    let found = lookup.get("compact", field)?;
    let (mut dictionary, mut codes) = (BTreeMap::new(), BTreeSet::new());
    for (text, line, datum) in found.entries()? {
        let Datum::Integer(code) = *datum else {
            let what = format!("{text:?}: expected a whole number, found {}", datum.type_name());
            return Err(found.error_at(*line, what));
        };
        if code == 0 {
            return Err(found.error_at(*line, format!("{text:?}: 0 stands for everything that is not listed")));
        }
        if !codes.insert(code) {
            return Err(found.error_at(*line, format!("{text:?}: the code {code} is there twice")));
        }
        dictionary.insert(text.clone(), code);
    }
    Ok(dictionary)
}

impl ArchiveConfig {
    fn load(lookup: &Lookup<'_>) -> Result<Option<Self>> {
        let keep = lookup.get("archive", "keep")?.positive_duration()?;
        Ok(lookup.get("archive", "dir")?.path()?.map(|dir| Self { dir, keep }))
    }
}

impl StateConfig {
    fn load(flags: &Overrides, lookup: &Lookup<'_>, cwd: &Path) -> Result<Self> {
        let min_free = lookup.get("state", "min_free")?.size()?;
        let quarantine_max_bytes = lookup.get("quarantine", "max_bytes")?.size()?;
        if let Some(dir) = &flags.state_dir {
            return Ok(Self { dir: cwd.join(dir).components().collect(), min_free, quarantine_max_bytes });
        }
        let found = lookup.get("state", "dir")?;
        let dir = found.path()?.ok_or_else(|| found.error("names no folder"))?;
        Ok(Self { dir, min_free, quarantine_max_bytes })
    }
}

/// Every zone but UTC is looked for among all those that the system has: hundreds of files.
fn time_zone(name: &str) -> std::result::Result<TimeZone, jiff::Error> {
    if name == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(name) }
}

#[cfg(test)]
mod tests;
