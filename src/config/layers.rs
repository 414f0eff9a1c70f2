//! The template, the user's file and the variables above it, laid over one another.
//!
//! Owns the use of the TOML parser. As in a compiler, all texts share one space of positions: the template starts at 0, the
//! file follows, and behind it each variable has one position. So the position of a value says where it was given, and every
//! error begins with the place to mend: `etl.toml, line 3`, `API_URL in .env`.
//!
//! Invariant: no error repeats a value that may be a secret.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::environment::{Origin, Variable};
use super::paths;
use crate::error::{Error, ErrorKind, Result};

/// Every key with its default, commented. The lowest layer, and what `etl init` writes.
pub(super) const TEMPLATE: &str = include_str!("template.toml");

/// The user's file.
pub(super) struct File {
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
        Self { name: name.into(), text, folder: folder.into() }
    }
}

/// The values of all layers.
pub(super) struct Layers<'a> {
    tree: DeTable<'a>,
    file: &'a File,
    variables: Vec<Origin>,
    /// The current directory, to which paths of flags and variables are relative.
    pub cwd: &'a Path,
}

/// A place in the tree: its keys from the top, where it starts, and what is there.
struct Place<'a> {
    keys: Vec<&'a str>,
    start: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Layers<'a> {
    /// The template with `file` over it.
    ///
    /// # Errors
    /// `Config`: not TOML; names the line.
    pub fn new(file: &'a File, cwd: &'a Path) -> Result<Self> {
        let mut tree = parse("the template", TEMPLATE)?;
        lay(&mut tree, parse(&file.name, &file.text)?);
        Ok(Self { tree, file, variables: Vec::new(), cwd })
    }

    /// Puts the value of `variable` in the place of `table.key`.
    pub fn set(&mut self, table: &str, key: &str, variable: &Variable) {
        let start = self.file.text.len() + 1 + self.variables.len();
        let span = start..start + 1;
        self.variables.push(variable.origin.clone());
        if let Some(DeValue::Table(entries)) = self.tree.get_mut(table).map(Spanned::get_mut) {
            let value = DeValue::String(variable.value.expose().to_owned().into());
            replace(entries, Spanned::new(span.clone(), key.to_owned().into()), Spanned::new(span, value));
        }
    }

    /// Reads all values.
    ///
    /// # Errors
    /// `Config`: a key that does not exist, a value that is not possible.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let tree = Spanned::new(0..0, self.tree.clone());
        T::deserialize(Deserializer::from(tree)).map_err(|cause| self.refusal(&cause))
    }

    /// The text at `path`, if there is one.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.1.as_str()
    }

    /// Where the value at `path` was given.
    pub fn origin(&self, path: &[&str]) -> Origin {
        self.at(path).map_or(Origin::Default, |(start, _)| self.origin_of(start))
    }

    /// Whether the user's file gives a value at `path`.
    pub fn in_file(&self, path: &[&str]) -> bool {
        matches!(self.origin(path), Origin::File(..))
    }

    /// The folder that a relative path in the value at `path` belongs to: that of the file also for a default, so that it
    /// does not matter in which folder a run starts.
    pub fn base(&self, path: &[&str]) -> &Path {
        match self.origin(path) {
            Origin::File(..) | Origin::Default => &self.file.folder,
            _ => self.cwd,
        }
    }

    /// `value`, the path given at `path`, as an absolute one; `None` where it is empty.
    ///
    /// # Errors
    /// `Config`: not a path.
    pub fn absolute(&self, path: &[&str], value: &Path) -> Result<Option<PathBuf>> {
        let text = value.to_str().unwrap_or_default().trim();
        let checked = paths::check(text).map_err(|what| self.error(path, what))?;
        Ok((!text.is_empty()).then(|| paths::absolute(checked, self.base(path))))
    }

    /// An error about the value at `path`. `what` must not repeat it where it may hold a secret.
    pub fn error(&self, path: &[&str], what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Config, format!("{}: {}: {what}", self.origin(path), spelled(path)))
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
        let variable = start.checked_sub(self.file.text.len() + 1).and_then(|at| self.variables.get(at));
        variable.cloned().unwrap_or_else(|| Origin::File(self.file.name.clone(), line(&self.file.text, start)))
    }

    /// What the deserializer refused. A hint follows the message on a second line.
    fn refusal(&self, cause: &toml::de::Error) -> Error {
        let Some(place) = find(&self.tree, &cause.span().unwrap_or_default()) else {
            return Error::new(ErrorKind::Config, format!("{}: {}", self.file.name, cause.message()));
        };
        let (what, hint) = cause.message().split_once('\n').unwrap_or((cause.message(), ""));
        let known = what.strip_prefix("unknown field ").and_then(|text| text.rsplit_once(", expected "));
        let error = match (known, what.rsplit_once(", expected ")) {
            (Some((_, known)), _) => self.unknown_key(&place, known),
            // Serde's own text repeats the value.
            (None, Some((wrong, expected))) if wrong.starts_with("invalid type: ") => {
                let found = type_name(place.value);
                self.error_at(&place, format!("expected {}, found {found}", plain(expected)))
            }
            _ => self.error_at(&place, what),
        };
        if hint.is_empty() { error } else { error.hint(hint) }
    }

    fn error_at(&self, place: &Place<'_>, what: impl std::fmt::Display) -> Error {
        let origin = self.origin_of(place.start);
        Error::new(ErrorKind::Config, format!("{origin}: {}: {what}", spelled(&place.keys)))
    }

    /// `known` is serde's list of the keys that exist: "`a`, `b`".
    fn unknown_key(&self, place: &Place<'_>, known: &str) -> Error {
        let (key, tables) = place.keys.split_last().map_or(("", &[][..]), |(key, tables)| (*key, tables));
        let known = known.split('`').skip(1).step_by(2);
        let nearest = known.min_by_key(|name| strsim::damerau_levenshtein(name, key)).unwrap_or_default();
        let nearest = match table_with(key).filter(|_| tables.len() < 2) {
            Some(table) => format!("{key:?} in [{table}]"),
            None if tables.is_empty() => format!("[{nearest}]"),
            None => format!("{nearest:?}"),
        };
        let within = if tables.is_empty() { String::new() } else { format!(" in [{}]", tables.join(".")) };
        let origin = self.origin_of(place.start);
        let what = format!("{origin}: unknown key {key:?}{within}; the nearest known one is {nearest}");
        Error::new(ErrorKind::Config, what)
    }
}

/// Without the source line that the parser would quote: it may hold a secret.
fn parse<'a>(name: &str, text: &'a str) -> Result<DeTable<'a>> {
    let table = DeTable::parse(text).map_err(|cause| {
        let line = line(text, cause.span().unwrap_or_default().start);
        Error::new(ErrorKind::Config, format!("{name}, line {line}: {}", cause.message()))
    })?;
    Ok(table.into_inner())
}

/// The line, from 1, of the position `start`.
fn line(text: &str, start: usize) -> usize {
    text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1
}

/// Puts each key of `upper` in the place of that in `lower`. A whole dictionary is one key's value: it replaces the default.
fn lay<'a>(lower: &mut DeTable<'a>, upper: DeTable<'a>) {
    for (name, value) in upper {
        let below = lower.get_mut(name.get_ref().as_ref()).map(Spanned::get_mut);
        match (below, value.get_ref()) {
            (Some(DeValue::Table(below)), DeValue::Table(entries)) => {
                entries.iter().for_each(|(key, value)| replace(below, key.clone(), value.clone()));
            }
            _ => replace(lower, name, value),
        }
    }
}

/// `insert` alone would keep the position of the key that is there.
fn replace<'a>(table: &mut DeTable<'a>, key: Spanned<std::borrow::Cow<'a, str>>, value: Spanned<DeValue<'a>>) {
    table.remove(key.get_ref().as_ref());
    table.insert(key, value);
}

/// What is at `span`: a key, a value, or the value that holds it.
fn find<'a>(table: &'a DeTable<'_>, span: &Range<usize>) -> Option<Place<'a>> {
    table.iter().find_map(|(key, value)| {
        let (name, start) = (key.get_ref().as_ref(), key.span().start);
        let here = |value| Some(Place { keys: vec![name], start, value });
        match value.get_ref() {
            value if key.span() == *span => here(value),
            whole if value.span() == *span => here(whole),
            DeValue::Table(entries) => {
                let mut place = find(entries, span)?;
                place.keys.insert(0, name);
                Some(place)
            }
            DeValue::Array(items) if holds(&value.span(), span) => {
                here(items.iter().find(|item| item.span() == *span).map_or(value.get_ref(), Spanned::get_ref))
            }
            inner if holds(&value.span(), span) => here(inner),
            _ => None,
        }
    })
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The table in which the template has `key`, with a value or behind a `#`.
fn table_with(key: &str) -> Option<&'static str> {
    let mut table = None;
    for line in TEMPLATE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.strip_suffix(']');
        } else if line.trim_start_matches("# ").split_once(" = ").is_some_and(|(name, _)| name == key) {
            return table;
        }
    }
    None
}

/// A path as TOML spells it.
fn spelled(path: &[&str]) -> String {
    let is_bare = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let keys: Vec<_> =
        path.iter().map(|key| if is_bare(key) { (*key).to_owned() } else { format!("{key:?}") }).collect();
    keys.join(".")
}

/// What serde expected, in the words of TOML.
fn plain(expected: &str) -> &str {
    match expected {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "path string" => "a string",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(number) if i64::from_str_radix(number.as_str(), number.radix()).is_err() => {
            "a number beyond 64 bits"
        }
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
