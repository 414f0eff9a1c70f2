//! One setting from all its sources: environment (with `.env`), file, default, and where it came from.
//!
//! Flags are few and go before all of this, in [`Config::load`](super::Config::load). An error about a value begins
//! with the place to mend: `etl.toml, line 3`, `API_URL in .env`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::{Environment, Variable};
use super::file::{Datum, Document};
use super::settings::{self, DEFAULTS};
use super::units::{UnitError, parse_duration, parse_size};
use crate::error::{Error, ErrorKind, Result};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(String),
    /// A variable of `.env`.
    DotEnv(String),
    /// A line of the configuration file.
    File(String, usize),
    /// Nobody gave it.
    Default,
}

impl Origin {
    /// Whether both come from the environment proper, or both from `.env`.
    pub fn same_layer(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => write!(f, "{name} in the environment"),
            Self::DotEnv(name) => write!(f, "{name} in .env"),
            Self::File(file, line) => write!(f, "{file}, line {line}"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// The sources of settings below the flags.
pub(super) struct Lookup<'a> {
    /// The environment with `.env`.
    pub environment: Environment<'a>,
    file: Option<(Document, PathBuf)>,
    defaults: Document,
    cwd: PathBuf,
}

impl<'a> Lookup<'a> {
    /// `file` is the configuration file and the folder it is in.
    ///
    /// # Errors
    /// Never with the defaults as they are (a test reads them).
    pub fn new(environment: Environment<'a>, file: Option<(Document, PathBuf)>, cwd: &Path) -> Result<Self> {
        let defaults = Document::parse("the defaults", DEFAULTS)?;
        Ok(Self { environment, file, defaults, cwd: cwd.to_owned() })
    }

    /// The value that the environment or the file gives for `table.key`.
    ///
    /// # Errors
    /// `Config` where a variable is no UTF-8.
    pub fn given(&self, table: &'static str, key: &'static str) -> Result<Option<Found>> {
        let names = settings::find(table, key).map_or(&[][..], |setting| setting.environment);
        match self.environment.first_of(names)? {
            Some(variable) => Ok(Some(self.of_variable(table, key, &variable))),
            None => Ok(self.in_file(table, key)),
        }
    }

    /// The value of `table.key`, from the default where nobody gave one.
    ///
    /// # Errors
    /// As [`Lookup::given`]; `Bug` where there is no default either.
    pub fn get(&self, table: &'static str, key: &'static str) -> Result<Found> {
        if let Some(found) = self.given(table, key)? {
            return Ok(found);
        }
        let (_, datum) = self
            .defaults
            .get(table, key)
            .ok_or_else(|| Error::new(ErrorKind::Bug, format!("{table}.{key} has no default")))?;
        // With a file, its folder: so that the directory a run starts in does not matter.
        let base = self.file.as_ref().map_or(&self.cwd, |(_, folder)| folder);
        Ok(Found { table, key, datum: datum.clone(), origin: Origin::Default, base: base.clone() })
    }

    /// The value that the file gives for `table.key`.
    pub fn in_file(&self, table: &'static str, key: &'static str) -> Option<Found> {
        let (document, folder) = self.file.as_ref()?;
        let (line, datum) = document.get(table, key)?;
        let origin = Origin::File(document.name.clone(), *line);
        Some(Found { table, key, datum: datum.clone(), origin, base: folder.clone() })
    }

    /// A value from a variable of the environment.
    pub fn of_variable(&self, table: &'static str, key: &'static str, variable: &Variable) -> Found {
        let datum = Datum::Text(variable.value.expose().to_owned());
        Found { table, key, datum, origin: variable.origin.clone(), base: self.cwd.clone() }
    }
}

/// A setting's value, and where it came from.
#[derive(Clone)]
pub(super) struct Found {
    table: &'static str,
    key: &'static str,
    /// The value as it was given.
    pub datum: Datum,
    /// Where it was given.
    pub origin: Origin,
    /// What a relative path in it is relative to.
    pub base: PathBuf,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} from {}", self.table, self.key, self.origin)
    }
}

impl Found {
    /// An error about this value. `what` must not repeat it where it may hold a secret.
    pub fn error(&self, what: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Config, format!("{}: {}.{}: {what}", self.origin, self.table, self.key))
    }

    /// The same at a line of its own, for an entry of a table.
    pub fn error_at(&self, line: usize, what: impl fmt::Display) -> Error {
        let mut at = self.clone();
        if let Origin::File(_, number) = &mut at.origin {
            *number = line;
        }
        at.error(what)
    }

    fn wrong_type(&self, expected: &str) -> Error {
        self.error(format!("expected {expected}, found {}", self.datum.type_name()))
    }

    /// A string.
    ///
    /// # Errors
    /// `Config` for anything else.
    pub fn text(&self) -> Result<&str> {
        match &self.datum {
            Datum::Text(text) => Ok(text.trim()),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// An array of strings.
    ///
    /// # Errors
    /// `Config` for anything else.
    pub fn texts(&self) -> Result<Vec<&str>> {
        let wrong = || self.wrong_type("an array of strings");
        let Datum::List(list) = &self.datum else { return Err(wrong()) };
        list.iter().map(|datum| if let Datum::Text(text) = datum { Ok(text.as_str()) } else { Err(wrong()) }).collect()
    }

    /// The entries of a table, with their lines.
    ///
    /// # Errors
    /// `Config` for anything else.
    pub fn entries(&self) -> Result<&[(String, usize, Datum)]> {
        match &self.datum {
            Datum::Table(entries) => Ok(entries),
            _ => Err(self.wrong_type("a table")),
        }
    }

    /// A whole number from 0 to `most`.
    ///
    /// # Errors
    /// `Config` for anything else.
    pub fn count(&self, most: u64) -> Result<u64> {
        let Datum::Integer(number) = self.datum else { return Err(self.wrong_type("a whole number")) };
        match u64::try_from(number) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(self.error(format!("{number} is not between 0 and {most}"))),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// `Config` for anything else.
    pub fn flag(&self) -> Result<bool> {
        if let Datum::Flag(flag) = self.datum { Ok(flag) } else { Err(self.wrong_type("true or false")) }
    }

    /// A duration.
    ///
    /// # Errors
    /// `Config` for anything else; of a bare number it says which unit is missing.
    pub fn duration(&self) -> Result<Duration> {
        self.measure("a duration as in \"30s\"", parse_duration)
    }

    /// A duration that is not zero.
    ///
    /// # Errors
    /// `Config` for anything else.
    pub fn positive_duration(&self) -> Result<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() { Err(self.error("cannot be zero")) } else { Ok(duration) }
    }

    /// A size in bytes.
    ///
    /// # Errors
    /// `Config` for anything else.
    pub fn size(&self) -> Result<u64> {
        self.measure("a size as in \"64MiB\"", parse_size)
    }

    fn measure<T>(&self, expected: &str, parse: fn(&str) -> std::result::Result<T, UnitError>) -> Result<T> {
        let text = match &self.datum {
            Datum::Text(text) => text.clone(),
            Datum::Integer(number) => number.to_string(),
            _ => return Err(self.wrong_type(expected)),
        };
        parse(&text).map_err(|cause| self.error(cause))
    }

    /// A path, absolute; `None` where the text is empty.
    ///
    /// # Errors
    /// `Config` for what is no string, and for `~`, which nobody here expands.
    pub fn path(&self) -> Result<Option<PathBuf>> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        absolute(text, &self.base).map(Some).map_err(|what| self.error(what))
    }
}

/// `path` as seen from `base`. The error is a text for the caller to put its noun before.
pub(super) fn absolute(path: &str, base: &Path) -> std::result::Result<PathBuf, &'static str> {
    if path == "~" || path.starts_with("~/") {
        return Err("\"~\" is not expanded; write the folder out");
    }
    if path.contains('\0') {
        return Err("a path cannot contain a NUL");
    }
    // `components` drops "." on the way, so that one place has one spelling.
    Ok(base.join(path).components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(datum: Datum) -> Found {
        let origin = Origin::File("etl.toml".into(), 7);
        Found { table: "load", key: "x", datum, origin, base: "/base".into() }
    }

    fn text(text: &str) -> Found {
        found(Datum::Text(text.into()))
    }

    #[test]
    fn error_begins_with_the_place_to_mend() {
        let error = text("30").duration().unwrap_err();
        let expected = r#"etl.toml, line 7: load.x: a duration needs a unit: "30s", "30m" or "30h""#;
        assert_eq!(error.chain(), expected);
        assert_eq!(found(Datum::Integer(30)).duration().unwrap_err().chain(), expected);
        assert!(found(Datum::Integer(1)).text().unwrap_err().chain().ends_with("expected a string, found a number"));
        assert!(text("5").count(9).unwrap_err().chain().ends_with("expected a whole number, found a string"));
        assert!(found(Datum::Integer(-1)).count(9).unwrap_err().chain().ends_with("-1 is not between 0 and 9"));
    }

    #[test]
    fn size_is_a_text_or_a_plain_number() {
        assert_eq!(text("64MiB").size().unwrap(), 64 << 20);
        assert_eq!(found(Datum::Integer(4096)).size().unwrap(), 4096);
        assert!(found(Datum::Other("a fraction")).size().is_err());
    }

    #[test]
    fn path_is_relative_to_its_base_and_has_one_spelling() {
        for (given, expected) in [
            ("lake", "/base/lake"),
            ("./lake/", "/base/lake"),
            ("/abs/./lake", "/abs/lake"),
            ("a/../b", "/base/a/../b"),
        ] {
            assert_eq!(text(given).path().unwrap(), Some(PathBuf::from(expected)));
        }
        assert_eq!(text("").path().unwrap(), None);
        assert!(text("~/lake").path().unwrap_err().chain().contains("not expanded"));
    }
}
