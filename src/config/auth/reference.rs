//! A value that does not stand in the configuration file, which says only where it is: in a variable (`env:NAME`) or in a file
//! (`file:PATH`).
//!
//! Invariant: an error names the key and the place, never the value. A variable is looked up when the configuration is loaded, a file is
//! read when its value is asked for: a command that sends nothing needs neither.

use std::path::{Path, PathBuf};

use super::super::environment::{Variable, check_name};
use super::super::layers::Layers;
use super::super::paths::{absolute, wrong};
use super::super::private;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Where a value is.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    /// What errors begin with: the line, and the key.
    place: String,
    at: At,
}

#[derive(Debug, Clone)]
enum At {
    /// In this variable; `None` where it is not set.
    Variable(String, Option<Secret>),
    /// In this file.
    File(PathBuf),
    /// In the configuration itself.
    Here(Secret),
}

impl Reference {
    /// What `text` at `path` says, if it names a variable or a file.
    pub(super) fn parse(path: &[&str], text: &str, layers: &Layers<'_>) -> Result<Option<Self>> {
        let place = format!("{}: {}", layers.origin(path), path.join("."));
        let at = if let Some(name) = text.strip_prefix("env:") {
            let name = name.trim().to_owned();
            check_name(&name, |what| layers.error(path, what))?;
            let variable = layers.environment.get(&name)?;
            layers.note_secret(&path.join("."), variable.as_ref());
            At::Variable(name, variable.map(|Variable { value, .. }| value))
        } else if let Some(file) = text.strip_prefix("file:") {
            At::File(path_of(path, file, layers)?)
        } else {
            return Ok(None);
        };
        Ok(Some(Self { place, at }))
    }

    /// The same for a secret, which may stand nowhere else.
    pub(super) fn secret(path: &[&str], text: &str, layers: &Layers<'_>) -> Result<Self> {
        Self::parse(path, text, layers)?.ok_or_else(|| {
            let key = path.last().unwrap_or(&"token");
            layers.error(path, "a secret does not belong in the file").hint(format!(
                "put it into a variable: {key} = \"env:API_{}\", or into a file that only its owner can read: {key} = \"file:{key}\"",
                key.to_ascii_uppercase().replace('-', "_")
            ))
        })
    }

    /// The same for a value that is not secret: it may also be written in the configuration file.
    pub(super) fn or_here(path: &[&str], text: &str, layers: &Layers<'_>) -> Result<Self> {
        let place = format!("{}: {}", layers.origin(path), path.join("."));
        Ok(Self::parse(path, text, layers)?.unwrap_or_else(|| Self { place, at: At::Here(Secret::new(text)) }))
    }

    /// The same for a text of many lines, which has a file of its own: it may be named without `file:`.
    pub(super) fn of_file(path: &[&str], text: &str, layers: &Layers<'_>) -> Result<Self> {
        if text.contains("-----BEGIN") || text.trim().is_empty() {
            return Err(layers
                .error(path, "not the name of a file")
                .hint("put the PEM text into a file, and its name here, or into a variable: \"env:NAME\""));
        }
        let named = if text.starts_with("env:") || text.starts_with("file:") { text } else { &format!("file:{text}") };
        Self::secret(path, named, layers)
    }

    /// What errors call it.
    pub(super) fn place(&self) -> String {
        match &self.at {
            At::Variable(name, _) => format!("{}: the variable {name}", self.place),
            At::File(path) => format!("{}: {}", self.place, path.display()),
            At::Here(_) => self.place.clone(),
        }
    }

    /// The value as one line, which a request can carry.
    pub(super) fn line(&self) -> Result<Secret> {
        let value = self.text(true)?;
        if value.expose().contains(|c: char| c.is_control()) {
            return Err(self
                .error("the value has a control character")
                .hint("take the line end, or whatever it is, out of it"));
        }
        Ok(value)
    }

    /// The value. `is_secret`: a file with it is refused where others can read it.
    pub(super) fn text(&self, is_secret: bool) -> Result<Secret> {
        match &self.at {
            At::Here(value) | At::Variable(_, Some(value)) => Ok(value.clone()),
            At::Variable(name, None) => {
                Err(self.error(format!("{name} is not set")).hint(format!("set {name} in the environment or in .env")))
            }
            At::File(path) => self.in_file(path, is_secret),
        }
    }

    fn in_file(&self, path: &Path, is_secret: bool) -> Result<Secret> {
        let shown = path.display();
        let unreadable = |cause: std::io::Error| {
            self.error(format!("cannot read {shown}"))
                .caused_by(cause)
                .hint("put it there as UTF-8 text, readable by the user that runs etl")
        };
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if is_secret && let Some(open) = private::is_open(path, &meta) {
            let what = format!("others can read {shown} (mode {:04o})", open.mode);
            return Err(self.error(what).hint(open.way_out));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        if text.is_empty() {
            return Err(self.error(format!("{shown} is empty")).hint("write the value into that file"));
        }
        Ok(Secret::new(text))
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        wrong(format!("{}: {what}", self.place))
    }
}

/// The path of the file that is named after `file:`.
fn path_of(path: &[&str], file: &str, layers: &Layers<'_>) -> Result<PathBuf> {
    let file = layers.parse(path, file, |text, folder| {
        let text = super::super::paths::after_file(text.trim())?;
        absolute(text, folder)
    })?;
    Ok(file)
}
