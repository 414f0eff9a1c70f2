//! The environment, with `.env` below it: the one beside the configuration file, else that of the current directory.
//!
//! Invariant: nothing is ever set; `.env` is read into a map and fills what the environment does not have. A variable
//! that is set but empty is not set, in either place.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::fernet_key::fernet_key_bytes;
use super::layers::CORRECT;
use super::private;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(String),
    /// A variable of the `.env` at this path.
    DotEnv(String, PathBuf),
    /// A line of the configuration file.
    File(String, usize),
    /// The profile in use, in this file of AWS's tools.
    Profile(PathBuf),
    /// The template.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => write!(f, "{name} in the environment"),
            Self::DotEnv(name, path) => write!(f, "{name} in {}", path.display()),
            Self::File(file, line) => write!(f, "{file}, line {line}"),
            Self::Profile(path) => write!(f, "the profile in {}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Asks the process's environment for a variable.
pub type Ask<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment as a configuration sees it.
pub(super) struct Environment<'a> {
    ask: Ask<'a>,
    /// Where `.env` is, or would be.
    path: PathBuf,
    dotenv: BTreeMap<String, String>,
    /// Variables that count as not set.
    hidden: BTreeSet<String>,
}

/// A variable's value, and which of the two places had it.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    /// The value, not empty.
    pub value: Secret,
    /// Where it was found.
    pub origin: Origin,
}

impl Origin {
    /// Reads `text`, which stands here as the value of the setting `key`.
    pub fn parse<T>(&self, key: &str, text: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        parse(text).map_err(|wrong| {
            let error = Error::new(ErrorKind::Config, format!("{self}: {key}: {wrong}"));
            error.hint(wrong.next_step().unwrap_or(CORRECT))
        })
    }
}

impl Variable {
    /// Reads the variable as the value of the setting `key`.
    pub fn parse<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        self.origin.parse(key, self.value.expose(), parse)
    }

    /// Whether both come from the environment proper, or both from `.env`.
    pub fn same_layer(&self, other: &Self) -> bool {
        std::mem::discriminant(&self.origin) == std::mem::discriminant(&other.origin)
    }
}

impl<'a> Environment<'a> {
    /// The environment behind `ask`, and below it the `.env` beside the configuration `file`, else the one in `cwd`.
    pub fn load(ask: Ask<'a>, file: Option<&Path>, cwd: &Path) -> Result<Self> {
        let beside = file.and_then(Path::parent).map(|folder| folder.join(".env")).filter(|path| path.exists());
        let path = beside.unwrap_or_else(|| cwd.join(".env"));
        let dotenv = read_dotenv(&path)?;
        Ok(Self { path, dotenv, ..Self::without_dotenv(ask) })
    }

    /// The environment behind `ask` alone.
    pub fn without_dotenv(ask: Ask<'a>) -> Self {
        Self { ask, path: PathBuf::new(), dotenv: BTreeMap::new(), hidden: BTreeSet::new() }
    }

    /// An empty environment.
    pub fn empty() -> Self {
        Self::without_dotenv(&|_| None)
    }

    /// The same without these variables.
    pub fn without(mut self, names: &BTreeSet<String>) -> Self {
        self.hidden.clone_from(names);
        self
    }

    /// The `.env` that was read, if there is one.
    pub fn dotenv(&self) -> Option<&Path> {
        Some(self.path.as_path()).filter(|path| path.exists())
    }

    /// Warns, once in a process, that others can read secrets in `.env`. Only a warning, unlike for a file of keys: many
    /// programs share a `.env`, and most leave it with the mode that the editor gave it.
    pub fn warn_where_others_read(&self) {
        static ONCE: Once = Once::new();
        let secret = |name: &&String| ["KEY", "SECRET", "TOKEN", "PASSWORD"].iter().any(|word| name.contains(word));
        let Some(name) = self.dotenv.keys().find(secret) else { return };
        if let Ok(Some(open)) = std::fs::metadata(&self.path).map(|meta| private::is_open(&self.path, &meta)) {
            let path = self.path.display();
            ONCE.call_once(|| {
                tracing::warn!("others can read {name} in {path} (mode {:04o}): {}", open.mode, open.way_out)
            });
        }
    }

    /// The variable `name`; `None` where it is not set, or empty. One that is empty lets `.env` through.
    pub fn get(&self, name: &str) -> Result<Option<Variable>> {
        if self.hidden.contains(name) {
            return Ok(None);
        }
        if let Some(value) = (self.ask)(name) {
            let value = value.into_string().map_err(|_| {
                Error::new(ErrorKind::Config, format!("the environment variable {name} is not UTF-8 text"))
                    .hint(format!("set {name} again, as UTF-8 text"))
            })?;
            if let Some(value) = not_empty(&value) {
                return Ok(Some(Variable { value, origin: Origin::Environment(name.to_owned()) }));
            }
        }
        let value = self.dotenv.get(name).and_then(|value| not_empty(value));
        Ok(value.map(|value| Variable { value, origin: Origin::DotEnv(name.to_owned(), self.path.clone()) }))
    }

    /// Those of `names` that are set.
    pub fn all(&self, names: &[&'static str]) -> Result<BTreeMap<&'static str, Variable>> {
        names.iter().filter_map(|name| self.get(name).map(|found| Some((*name, found?))).transpose()).collect()
    }

    /// The first of `names` that is set.
    pub fn first_of(&self, names: &[&str]) -> Result<Option<Variable>> {
        for name in names {
            if let Some(found) = self.get(name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Checks that `name` can be a variable's name. An error does not repeat it: people put the key itself there.
pub(super) fn check_name(name: &str, refuse: impl Fn(&str) -> Error) -> Result<()> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
    if is_name && fernet_key_bytes(&Secret::new(name)).is_none() {
        return Ok(());
    }
    Err(refuse("not the name of an environment variable").hint("put the secret into a variable and its name here"))
}

/// The variables of the file at `path`, the later of equal names winning as in a shell; none where there is no file.
fn read_dotenv(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(cause) => {
            return Err(Error::new(ErrorKind::Config, format!("cannot read {}", path.display()))
                .hint(format!("let the user that runs etl read it (chown), as UTF-8 text: {}", path.display()))
                .caused_by(cause));
        }
    };
    let text = text.trim_start_matches('\u{feff}');
    dotenvy::from_read_iter(text.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|cause| dotenv_error(path, text, &cause))
}

/// A value without what surrounds it: a file that a service manager reads may begin with a byte-order mark, or have the line
/// ends of DOS.
fn not_empty(value: &str) -> Option<Secret> {
    let value = value.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    (!value.is_empty()).then(|| Secret::new(value))
}

/// Names the line without its content: dotenvy's own message quotes the line, with its secret.
fn dotenv_error(path: &Path, text: &str, cause: &dotenvy::Error) -> Error {
    let dotenvy::Error::LineParse(line, _) = cause else {
        return Error::new(ErrorKind::Config, format!("cannot read {}", path.display()))
            .hint("write a variable a line in it, as NAME=value");
    };
    let first = line.lines().next().unwrap_or_default();
    let number = text.lines().position(|candidate| candidate == first).map(|at| at + 1);
    let place = number.map_or_else(String::new, |number| format!(", line {number}"));
    Error::new(ErrorKind::Config, format!("{}{place}: not of the form NAME=value", path.display()))
        .hint("put a value with spaces, quotes or a dollar sign into single quotes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(dotenv: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), dotenv).unwrap();
        folder
    }

    fn shown(found: Option<Variable>) -> Option<(String, String)> {
        found.map(|v| (v.value.expose().to_owned(), v.origin.to_string()))
    }

    #[test]
    fn dotenv_fills_only_what_the_environment_does_not_set() {
        let folder = folder_with("\u{feff}A=file\nexport B='from file' # comment\nC=file\nB=later\nE=\n");
        let ask = |name: &str| match name {
            "A" => Some("real".into()),
            "C" => Some(OsString::new()),
            _ => None,
        };
        let environment = Environment::load(&ask, None, folder.path()).unwrap();
        let get = |name| shown(environment.get(name).unwrap());
        assert_eq!(get("A"), Some(("real".into(), "A in the environment".into())));
        let path = folder.path().join(".env");
        assert_eq!(get("B"), Some(("later".into(), format!("B in {}", path.display()))));
        assert_eq!(get("C"), Some(("file".into(), format!("C in {}", path.display()))), "set but empty is not set");
        assert_eq!(get("E"), None, "nor is it in .env");
        assert_eq!(get("D"), None);
        assert!(std::env::var_os("B").is_none(), "nothing is set");
    }

    #[test]
    fn dotenv_beside_the_configuration_is_the_one_that_counts() {
        let (etc, cwd) = (folder_with("A=etc\n"), folder_with("A=cwd\nB=cwd\n"));
        let value = |file: Option<&Path>, name| {
            let environment = Environment::load(&|_| None, file, cwd.path()).unwrap();
            shown(environment.get(name).unwrap()).map(|(value, _)| value)
        };
        let file = etc.path().join("etl.toml");
        assert_eq!(value(Some(&file), "A").as_deref(), Some("etc"));
        assert_eq!(value(Some(&file), "B"), None, "two files are never mixed");
        assert_eq!(value(None, "A").as_deref(), Some("cwd"));
        std::fs::remove_file(etc.path().join(".env")).unwrap();
        assert_eq!(value(Some(&file), "A").as_deref(), Some("cwd"), "else that of the working directory");
    }

    #[test]
    fn marks_and_line_ends_of_other_systems_are_none_of_a_value() {
        let folder = folder_with("\u{feff}A='one'\r\nB=\"two\"\r\nC=three\r\n");
        let ask = |name: &str| (name == "D").then(|| "\u{feff}four\r\n".into());
        let environment = Environment::load(&ask, None, folder.path()).unwrap();
        let get = |name| shown(environment.get(name).unwrap()).map(|(value, _)| value);
        for (name, expected) in [("A", "one"), ("B", "two"), ("C", "three"), ("D", "four")] {
            assert_eq!(get(name).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn broken_dotenv_is_named_by_line_without_its_secret() {
        let folder = folder_with("A=1\n\nFERNET_KEY='s3cret\n");
        let error = Environment::load(&|_| None, None, folder.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.chain().contains(".env, line 3"), "{}", error.chain());
        assert!(!format!("{error:?}").contains("s3cret"));
    }

    #[test]
    fn missing_dotenv_is_no_error_and_an_unreadable_one_is() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Environment::load(&|_| None, None, folder.path()).is_ok());
        std::fs::create_dir(folder.path().join(".env")).unwrap();
        assert_eq!(Environment::load(&|_| None, None, folder.path()).err().unwrap().kind(), ErrorKind::Config);
    }

    #[test]
    fn value_that_is_no_text_is_an_error_and_not_absent() {
        use std::os::unix::ffi::OsStringExt;
        let folder = tempfile::tempdir().unwrap();
        let ask = |_: &str| Some(OsString::from_vec(vec![b'/', 0xff]));
        let environment = Environment::load(&ask, None, folder.path()).unwrap();
        assert!(environment.get("ETL_STATE_DIR").unwrap_err().to_string().contains("ETL_STATE_DIR"));
    }
}
