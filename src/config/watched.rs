//! What someone who watches runs needs of the configuration: where the status lies. Found however wrong the rest is.
//!
//! A run that cannot use its configuration leaves its end where this leads, and `etl status --check` looks there: it needs no key, no
//! variable but `ETL_STATE_DIR`, and no file but this one. Invariant: of what cannot be read, nothing is guessed: where a broken
//! file may have named another folder, none is named.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::layers::TEMPLATE;
use super::paths::wrong;
use super::{Ask, Overrides, current_dir, locate, paths, unreadable, value};
use crate::error::{Error, ErrorKind, Result};

/// Where the status of a configuration lies.
#[derive(Debug)]
pub struct Watched {
    /// The configuration file; `None` where there is none.
    pub file: Option<PathBuf>,
    /// The state directory, absolute; or why it is not known.
    pub state_dir: Result<PathBuf>,
    /// The copy of the status, absolute; `None` where there is none, or it is not known.
    pub status_file: Option<PathBuf>,
    /// Its permissions.
    pub status_mode: u32,
    /// Why no run can use the file, where it is no TOML.
    pub broken: Option<Error>,
}

impl Watched {
    /// That of this process.
    #[must_use]
    pub fn from_process(flags: &Overrides) -> Self {
        match current_dir() {
            Ok(cwd) => Self::load(flags, &|name| std::env::var_os(name), &cwd),
            Err(error) => Self::unknown(error),
        }
    }

    /// That of `flags`, the environment behind `ask`, and the files that they and `cwd` lead to.
    #[must_use]
    pub fn load(flags: &Overrides, ask: Ask<'_>, cwd: &Path) -> Self {
        let path = find(flags, ask, cwd);
        let dotenv_of = path.as_ref().ok().and_then(|path| path.as_deref());
        // A `.env` that cannot be read is the run's failure; `ETL_STATE_DIR` rarely stands there.
        let environment = Environment::load(ask, dotenv_of, cwd).unwrap_or_else(|_| Environment::without_dotenv(ask));
        let named = match &flags.state_dir {
            Some(dir) => Some(Ok(cwd.join(dir).components().collect())),
            None => environment
                .get("ETL_STATE_DIR")
                .transpose()
                .map(|found| found.and_then(|variable| variable.parse("state.dir", |text| paths::absolute(text, cwd)))),
        };
        let read = path.and_then(|file| match &file {
            Some(path) => std::fs::read(path).map_err(|cause| unreadable(path, cause)).map(|text| (file.clone(), text)),
            None => Ok((None, Vec::new())),
        });
        let mut watched = match read {
            Ok((file, text)) => Self::of(file, &String::from_utf8_lossy(&text), cwd),
            Err(error) => Self::unknown(error),
        };
        if let Some(dir) = named {
            watched.state_dir = dir;
        }
        watched
    }

    fn of(file: Option<PathBuf>, text: &str, cwd: &Path) -> Self {
        let folder = file.as_deref().and_then(Path::parent).unwrap_or(cwd);
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let text = text.trim_start_matches('\u{feff}');
        let (tree, errors) = DeTable::parse_recoverable(text);
        let (tree, template) = (tree.get_ref(), DeTable::parse(TEMPLATE).ok());
        let broken = errors.first().map(|error| {
            let line =
                text.bytes().take(error.span().unwrap_or_default().start).filter(|byte| *byte == b'\n').count() + 1;
            let name = file.as_deref().unwrap_or(cwd).display();
            Error::new(ErrorKind::Config, format!("{name}, line {line}: {}", error.message()))
        });
        let default = |table: &str, key: &str| template.as_ref().and_then(|tree| get(tree.get_ref(), table, key)?.ok());
        let setting = |table: &str, key: &str| match get(tree, table, key) {
            // A broken file may have meant to say it.
            None if broken.is_some() && says(text, key) => Err(()),
            None => Ok(default(table, key).unwrap_or_default()),
            Some(found) => found,
        };
        let path = |table, key| setting(table, key).ok().and_then(|text| paths::optional(&text, &folder).ok()?);
        let state_dir = path("state", "dir").ok_or_else(|| unknown_dir(&file, broken.as_ref()));
        let status_file = path("run", "status_file");
        let status_mode = setting("run", "status_mode").ok().and_then(|text| value::parse_mode(&text).ok());
        Self { status_mode: status_mode.unwrap_or(0o600), file, state_dir, status_file, broken }
    }

    fn unknown(error: Error) -> Self {
        Self { file: None, state_dir: Err(error), status_file: None, status_mode: 0o600, broken: None }
    }
}

/// The configuration file, also where a `.env` that may name it cannot be read.
fn find(flags: &Overrides, ask: Ask<'_>, cwd: &Path) -> Result<Option<PathBuf>> {
    match locate(flags, ask, cwd) {
        Err(_) if flags.config.is_none() && Environment::load(ask, None, cwd).is_err() => {
            let named = ask("ETL_CONFIG").filter(|name| !name.is_empty());
            let path = cwd.join(named.unwrap_or_else(|| "etl.toml".into()));
            Ok(path.exists().then_some(path))
        }
        found => found,
    }
}

fn unknown_dir(file: &Option<PathBuf>, broken: Option<&Error>) -> Error {
    match (broken, file) {
        (Some(broken), _) => wrong(format!("state.dir cannot be read: {broken}")),
        (None, Some(file)) => wrong(format!("{}: state.dir is not the path of a folder", file.display())),
        (None, None) => wrong("state.dir is not known"),
    }
}

/// The text of a setting; `Err` where it is no text.
fn get(tree: &DeTable<'_>, table: &str, key: &str) -> Option<Result<String, ()>> {
    let value = tree.get(table)?.get_ref().as_table()?.get(key)?.get_ref();
    Some(match value {
        DeValue::String(text) => Ok(text.trim().to_owned()),
        _ => Err(()),
    })
}

/// Whether a line of the text may give a value to `key`.
fn says(text: &str, key: &str) -> bool {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.filter_map(|line| line.split_once('=')).any(|(before, _)| before.contains(key))
}
