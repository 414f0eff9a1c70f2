//! Every setting with its value and where it comes from: `etl config show`, and what changed between two ticks.
//!
//! Invariant: no secret is shown. What stands below `headers` and `auth`, and the keys themselves, is shown only where it is the
//! name of a variable or of a file, or can hold no secret; an address without its user and query.

use std::path::Path;

use serde::Serialize;

use super::environment::{Ask, Origin};
use super::layers::{Decided, Layers, TEMPLATE};
use super::{Config, Overrides, current_dir, with_layers};
use crate::error::Result;
use crate::secret::{Secret, SourceUrl};

/// What a secret is shown as.
const SET: &str = "set";

/// The keys of `source.auth` that hold no secret.
const OPEN: [&str; 7] = ["style", "scope", "audience", "client_auth", "cert", "key", "ca"];

/// All settings, and the files they come from.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// The version of this shape.
    pub schema: u32,
    /// The configuration file; `None` where there is none.
    pub file: Option<String>,
    /// The `.env` that was read; `None` where there is none.
    pub env_file: Option<String>,
    /// The settings, in the order of the file that `etl init` writes.
    pub settings: Vec<Setting>,
}

/// A setting.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// Its key, as in `source.url`, or the variable that has no key.
    pub key: String,
    /// Its value; "set" for a secret, `None` where it has to be set and is not.
    pub value: Option<toml::Value>,
    /// Where it was given.
    pub from: From,
    /// The value, to tell whether it changed.
    #[serde(skip)]
    content: Option<Secret>,
}

/// Where a value was given.
#[derive(Debug, Clone, Serialize)]
pub struct From {
    /// `default`, `file`, `.env`, `environment`, `flag`, `profile`, or `nowhere`.
    pub kind: &'static str,
    /// The flag or the variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The same for people.
    #[serde(skip)]
    pub text: String,
}

/// All settings of this process.
pub fn settings(flags: &Overrides) -> Result<Shown> {
    settings_of(flags, &|name| std::env::var_os(name), &current_dir()?)
}

/// All settings that `flags`, the environment behind `ask`, and the files that they and `cwd` lead to give.
pub(super) fn settings_of(flags: &Overrides, ask: Ask<'_>, cwd: &Path) -> Result<Shown> {
    with_layers(flags, ask, cwd, |layers| {
        // What is decided is noted while it is found out.
        Config::of(layers)?;
        let shown = |path: Option<&Path>| path.map(|path| path.display().to_string());
        let (file, env_file) = (shown(layers.path()), shown(layers.environment.dotenv()));
        Ok(Shown { schema: 1, file, env_file, settings: all(layers) })
    })
}

impl Shown {
    /// What is not as it was in `before`: each key, and where its value comes from.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let known = |key: &str| before.settings.iter().find(|setting| setting.key == key);
        let changed = |setting: &&Setting| known(&setting.key).is_none_or(|known| known.content != setting.content);
        let changed = self.settings.iter().filter(changed);
        changed.map(|setting| format!("{} is now that of {}", setting.key, setting.from.text)).collect()
    }
}

fn all(layers: &Layers<'_>) -> Vec<Setting> {
    let mut decided = layers.decided();
    let mut settings: Vec<Setting> = layers
        .values()
        .into_iter()
        .map(|(path, value, origin)| match decided.remove(&path.join(".")) {
            Some(decided) => of_decided(path.join("."), decided),
            None => of_value(&path, value, &origin),
        })
        .collect();
    settings.extend(decided.into_iter().map(|(key, decided)| of_decided(key, decided)));
    for needed in ["source.url", "source.keys", "load.to"] {
        let alone = |key: &str| key == needed || (needed == "source.keys" && key == "source.keys_file");
        if !settings.iter().any(|setting| alone(&setting.key)) {
            settings.push(Setting { key: needed.to_owned(), value: None, from: From::nowhere(), content: None });
        }
    }
    settings.sort_by_key(|setting| place_in_template(&setting.key));
    settings
}

fn of_decided(key: String, decided: Decided) -> Setting {
    let value = decided.value.unwrap_or_else(|| SET.to_owned());
    Setting { key, value: Some(value.into()), from: From::of(&decided.origin), content: Some(decided.content) }
}

fn of_value(path: &[String], value: toml::Value, origin: &Origin) -> Setting {
    let content = Some(Secret::new(value.to_string()));
    Setting { key: path.join("."), value: Some(without_secret(path, value)), from: From::of(origin), content }
}

/// The value as it may be shown.
fn without_secret(path: &[String], value: toml::Value) -> toml::Value {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    let is_private = match names.as_slice() {
        ["source", "headers", ..] | ["source", "auth", _, _, ..] => true,
        ["source", "auth", key] => !OPEN.contains(key),
        [.., "keys" | "mask_key"] => true,
        _ => false,
    };
    match value {
        toml::Value::String(text) if is_reference(&text) => toml::Value::String(text),
        _ if is_private => SET.into(),
        toml::Value::String(text) => match SourceUrl::parse(&text) {
            Some(url) if url.hides_something() => url.to_string().into(),
            _ => text.into(),
        },
        other => other,
    }
}

/// Whether a text only says where a secret is.
fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// Where the key stands in the template; what does not, comes after its table.
fn place_in_template(key: &str) -> (usize, usize, String) {
    let (table, name) = key.split_once('.').unwrap_or(("load", key));
    let heads = [format!("\n[{table}]\n"), format!("\n# [{table}]\n")];
    let table_at = heads.iter().find_map(|head| TEMPLATE.find(head)).unwrap_or(TEMPLATE.len());
    let section = TEMPLATE.get(table_at..).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default();
    let at = [format!("\n{name} = "), format!("\n# {name} = ")].iter().find_map(|line| section.find(line));
    (table_at, at.unwrap_or(TEMPLATE.len()), key.to_owned())
}

impl From {
    fn nowhere() -> Self {
        Self { kind: "nowhere", name: None, file: None, line: None, text: "nowhere".to_owned() }
    }

    fn of(origin: &Origin) -> Self {
        let (kind, name, file, line) = match origin {
            Origin::Flag(flag) => ("flag", Some((*flag).to_owned()), None, None),
            Origin::Environment(name) => ("environment", Some(name.clone()), None, None),
            Origin::DotEnv(name, path) => (".env", Some(name.clone()), Some(path.display().to_string()), None),
            Origin::File(file, line) => ("file", None, Some(file.clone()), Some(*line)),
            Origin::Profile(path) => ("profile", None, Some(path.display().to_string()), None),
            Origin::Default => ("default", None, None, None),
        };
        Self { kind, name, file, line, text: origin.to_string() }
    }
}
