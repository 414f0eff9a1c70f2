//! Everything that a configuration is made from: the template, the user's file over it, the environment, the flags.
//!
//! Owns the use of the TOML parser. As in a compiler, template and file share one space of positions: the template starts at 0,
//! the file follows. So the position of a value tells where it was given, and an error starts with the place to correct:
//! `etl.toml, line 3`.
//!
//! Invariant: no error repeats a value that may be a secret.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::environment::{Environment, Origin, Variable};
use super::{Overrides, paths};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// Every key with its default, commented. The lowest layer, and what `etl init` writes.
pub(super) const TEMPLATE: &str = include_str!("template.toml");

/// What to do about a value that says by itself what is wrong with it.
pub(super) const CORRECT: &str = "correct it there; `etl config check` finds everything that is wrong";

/// The user's file.
pub(super) struct File {
    /// Where it is; `None` where it is not on the disk.
    path: Option<PathBuf>,
    /// What errors call it.
    name: String,
    /// What is in it, behind as many spaces as the template is long: so its positions follow those of the template.
    text: String,
    /// The folder it is in, absolute.
    folder: PathBuf,
}

impl File {
    /// A file in `folder`, which has to be absolute.
    pub fn new(name: impl Into<String>, text: &str, folder: impl Into<PathBuf>) -> Self {
        let text = " ".repeat(TEMPLATE.len()) + text.trim_start_matches('\u{feff}');
        Self { path: None, name: name.into(), text, folder: folder.into() }
    }

    /// In place of a file where there is none: relative paths are relative to `cwd`.
    pub fn none(cwd: &Path) -> Self {
        Self::new("", "", cwd)
    }

    /// The same as the file at `path`.
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The keys that it has, with their lines.
    pub fn keys(&self) -> Result<Vec<(Vec<String>, usize)>> {
        let tables = parse(&self.name, &self.text)?;
        let mut keys = Vec::new();
        for (table, entries) in &tables {
            keys.push((vec![table.get_ref().to_string()], line(&self.text, table.span().start)));
            for (key, _) in entries.get_ref().as_table().into_iter().flatten() {
                let path = [table, key].map(|name| name.get_ref().to_string());
                keys.push((path.to_vec(), line(&self.text, key.span().start)));
            }
        }
        Ok(keys)
    }
}

/// What a flag or a variable decided of a key: its value as shown, `None` for a secret, and where it was given.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    /// The value.
    pub value: Option<String>,
    /// Where it was given.
    pub origin: Origin,
    /// The value, to tell whether it changed.
    pub content: Secret,
}

/// What a configuration is made from.
pub(super) struct Layers<'a> {
    /// The template with the file over it.
    tree: DeTable<'a>,
    file: &'a File,
    /// The environment, with `.env`.
    pub environment: Environment<'a>,
    /// The flags.
    pub flags: &'a Overrides,
    /// The current directory, to which paths in variables and flags are relative.
    pub cwd: &'a Path,
    /// What flags, variables and folders made of keys, as it is found out.
    decided: RefCell<BTreeMap<String, Decided>>,
}

impl<'a> Layers<'a> {
    /// The template with `file` over it, and what is above. A whole dictionary is one key's value: it replaces the default.
    pub fn new(file: &'a File, environment: Environment<'a>, flags: &'a Overrides, cwd: &'a Path) -> Result<Self> {
        Self::without(&BTreeSet::new(), file, environment, flags, cwd)
    }

    /// The same, with these keys of the file left out.
    pub fn without(
        keys: &BTreeSet<Vec<String>>,
        file: &'a File,
        environment: Environment<'a>,
        flags: &'a Overrides,
        cwd: &'a Path,
    ) -> Result<Self> {
        let template = parse("the template", TEMPLATE)?;
        let mut layers = Self { tree: template.clone(), file, environment, flags, cwd, decided: RefCell::default() };
        let mut given = parse(&file.name, &file.text)?;
        keys.iter().for_each(|key| remove(&mut given, key));
        for (name, value) in given {
            let below = layers.tree.get_mut(name.get_ref().as_ref()).map(Spanned::get_mut);
            match (below, value.into_inner()) {
                (Some(DeValue::Table(below)), DeValue::Table(entries)) => {
                    entries.into_iter().for_each(|(key, value)| replace(below, key, value));
                }
                (_, value) => replace(&mut layers.tree, name.clone(), Spanned::new(name.span(), value)),
            }
        }
        layers.check_tables(&template)?;
        Ok(layers)
    }

    /// Where the template has a table, there must be one: serde would take an array for it.
    fn check_tables(&self, template: &DeTable<'_>) -> Result<()> {
        for (table, entries) in template {
            self.check_table(&[table.get_ref()])?;
            // The codec of a field may be a name or a dictionary.
            let is_fixed = table.get_ref() != "compact";
            for (key, value) in entries.get_ref().as_table().into_iter().flatten() {
                if value.get_ref().is_table() && is_fixed {
                    self.check_table(&[table.get_ref(), key.get_ref()])?;
                }
            }
        }
        Ok(())
    }

    fn check_table(&self, path: &[&str]) -> Result<()> {
        match self.at(path) {
            Some((_, other)) if !other.is_table() => {
                Err(self.error(path, format!("expected a table, found {}", plain(other.type_str()))))
            }
            _ => Ok(()),
        }
    }

    /// The configuration file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.file.path.as_deref()
    }

    /// Notes that `key` has the value `shown`, given at `origin`.
    pub fn note(&self, key: &str, shown: impl Display, origin: Origin) {
        let value = shown.to_string();
        let content = Secret::new(value.as_str());
        self.decided.borrow_mut().insert(key.to_owned(), Decided { value: Some(value), origin, content });
    }

    /// Notes that `key` has a secret value; nothing where there is none.
    pub fn note_secret(&self, key: &str, variable: Option<&Variable>) {
        if let Some(Variable { value, origin }) = variable {
            let decided = Decided { value: None, origin: origin.clone(), content: value.clone() };
            self.decided.borrow_mut().insert(key.to_owned(), decided);
        }
    }

    /// What was noted, by key.
    pub fn decided(&self) -> BTreeMap<String, Decided> {
        self.decided.borrow().clone()
    }

    /// Every value of the template with the file over it, with its path and where it was given.
    pub fn values(&self) -> Vec<(Vec<String>, toml::Value, Origin)> {
        let mut values = Vec::new();
        self.values_below(&mut Vec::new(), &self.tree, &mut values);
        values
    }

    fn values_below(
        &self,
        path: &mut Vec<String>,
        table: &DeTable<'_>,
        into: &mut Vec<(Vec<String>, toml::Value, Origin)>,
    ) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            match value.get_ref() {
                // A dictionary is one value.
                DeValue::Table(below) if path.first().is_none_or(|name| name != "compact") || path.len() == 1 => {
                    self.values_below(path, below, into);
                }
                _ => {
                    let deserializer = toml::de::ValueDeserializer::from(value.clone());
                    if let Ok(plain) = serde::Deserialize::deserialize(deserializer) {
                        into.push((path.clone(), plain, self.origin_of(key.span().start)));
                    }
                }
            }
            path.pop();
        }
    }

    /// Reads all values.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(Deserializer::from(Spanned::new(0..0, self.tree.clone()))).map_err(|cause| self.refusal(&cause))
    }

    /// Where the value at `path` was given.
    pub fn origin(&self, path: &[&str]) -> Origin {
        self.at(path).map_or(Origin::Default, |(start, _)| self.origin_of(start))
    }

    /// Whether the user's file gives a value at `path`.
    pub fn in_file(&self, path: &[&str]) -> bool {
        matches!(self.origin(path), Origin::File(..))
    }

    /// Reads `text`, the value at `path`, with the folder that a relative path in it belongs to: that of the file also for a
    /// default, so that it does not matter in which folder a run starts.
    pub fn parse<T>(&self, path: &[&str], text: &str, parse: fn(&str, &Path) -> Result<T>) -> Result<T> {
        self.origin(path).parse(&path.join("."), text, |text| parse(text, &self.file.folder))
    }

    /// The path `written` at `path` as an absolute one; `None` where it is empty.
    pub fn absolute(&self, path: &[&str], written: &Path) -> Result<Option<PathBuf>> {
        let absolute = self.parse(path, written.to_str().unwrap_or_default(), paths::optional)?;
        if let Some(absolute) = &absolute {
            self.note(&path.join("."), absolute.display(), self.origin(path));
        }
        Ok(absolute)
    }

    /// An error about the value at `path`. `what` must not repeat it where it may hold a secret.
    pub fn error(&self, path: &[&str], what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Config, format!("{}: {}: {what}", self.origin(path), path.join("."))).hint(CORRECT)
    }

    fn at(&self, path: &[&str]) -> Option<(usize, &DeValue<'a>)> {
        let (last, tables) = path.split_last()?;
        let mut table = &self.tree;
        for name in tables {
            table = table.get(*name)?.get_ref().as_table()?;
        }
        let (key, value) = table.get_key_value(*last)?;
        Some((key.span().start, value.get_ref()))
    }

    fn origin_of(&self, start: usize) -> Origin {
        if start < TEMPLATE.len() {
            return Origin::Default;
        }
        Origin::File(self.file.name.clone(), line(&self.file.text, start))
    }

    /// What the deserializer refused. A hint follows the message on a second line; the path is on the last.
    fn refusal(&self, cause: &toml::de::Error) -> Error {
        let origin = self.origin_of(cause.span().unwrap_or_default().start);
        let shown = cause.to_string();
        let path = shown.trim_end().rsplit_once("in `").map_or("", |(_, path)| path.trim_end_matches('`'));
        let (what, hint) = cause.message().split_once('\n').unwrap_or((cause.message(), ""));
        let text = match what.rsplit_once(", expected ") {
            Some((wrong, known)) if wrong.starts_with("unknown field `") => {
                format!("{origin}: {}", unknown_key(wrong, path, known))
            }
            // Serde's own text repeats the value.
            Some((wrong, expected)) if wrong.starts_with("invalid type: ") => {
                let found = wrong.trim_start_matches("invalid type: ");
                format!("{origin}: {path}: expected {}, found {}", plain(expected), plain(found))
            }
            _ => format!("{origin}: {path}: {what}"),
        };
        Error::new(ErrorKind::Config, text).hint(if hint.is_empty() { CORRECT } else { hint })
    }
}

/// `wrong` is serde's name for the key, `known` its list of the keys that exist: "`a`, `b`".
fn unknown_key(wrong: &str, table: &str, known: &str) -> String {
    let key = wrong.trim_start_matches("unknown field ").trim_matches('`');
    let known = known.split('`').skip(1).step_by(2);
    // "ping" for "ping_env" is a key cut short, however many letters it lacks.
    let is_cut = |name: &str| name.starts_with(key) && !key.is_empty();
    let nearest = known.min_by_key(|name| (!is_cut(name), strsim::damerau_levenshtein(name, key))).unwrap_or_default();
    let nearest = match table_with(key).filter(|_| !table.contains('.')) {
        Some(table) => format!("{key:?} in [{table}]"),
        None if table.is_empty() => format!("[{nearest}]"),
        None => format!("{nearest:?}"),
    };
    let within = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
    format!("unknown key {key:?}{within}; the nearest known one is {nearest}")
}

/// Without the source line that the parser would quote: it may hold a secret.
fn parse<'a>(name: &str, text: &'a str) -> Result<DeTable<'a>> {
    let table = DeTable::parse(text).map_err(|cause| {
        let line = line(text, cause.span().unwrap_or_default().start);
        Error::new(ErrorKind::Config, format!("{name}, line {line}: {}", cause.message())).hint(CORRECT)
    })?;
    Ok(table.into_inner())
}

/// Takes the value at `path` away.
fn remove(table: &mut DeTable<'_>, path: &[String]) {
    match path {
        [] => {}
        [last] => drop(table.remove(last.as_str())),
        [first, rest @ ..] => {
            if let Some(DeValue::Table(below)) = table.get_mut(first.as_str()).map(Spanned::get_mut) {
                remove(below, rest);
            }
        }
    }
}

/// The line, from 1, of the position `start`.
fn line(text: &str, start: usize) -> usize {
    text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1
}

/// `insert` alone would keep the position of the key that is there.
fn replace<'a>(table: &mut DeTable<'a>, key: Spanned<std::borrow::Cow<'a, str>>, value: Spanned<DeValue<'a>>) {
    table.remove(key.get_ref().as_ref());
    table.insert(key, value);
}

/// The table in which the template has `key`, with a value or behind a `#`.
fn table_with(key: &str) -> Option<&'static str> {
    let mut table = None;
    for line in TEMPLATE.lines() {
        // A table that most do without stands behind a `#`.
        if let Some(name) = line.trim_start_matches("# ").strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = Some(name);
        } else if line.trim_start_matches("# ").split_once(" = ").is_some_and(|(name, _)| name == key) {
            return table;
        }
    }
    None
}

/// What serde expects or found, in the words of TOML and without the value.
fn plain(serde: &str) -> &str {
    let word = |start: &str| serde.starts_with(start);
    match serde {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" | "sequence" | "array" => "an array",
        "a map" | "map" | "table" => "a table",
        "path string" => "a string",
        _ if word("struct ") => "a table",
        _ if word("string") => "a string",
        _ if word("integer") => "a number",
        _ if word("float") => "a fraction",
        "datetime" => "a date",
        _ if word("boolean") => "a truth value",
        other => other,
    }
}
