//! Everything that is wrong with a configuration, without asking anybody: `etl config check`.
//!
//! Loading ends at the first error. Here a key, or a variable, that is refused is left out and the rest is loaded again, until
//! nothing more is refused: so each error is found, and names its line, as if it were the only one.

use std::collections::BTreeSet;
use std::path::Path;

use super::environment::{Ask, Environment};
use super::layers::{File, Layers};
use super::{Config, Destination, Overrides, TokenEncryption, current_dir, locate, read};
use crate::error::{Error, Result};

/// More errors than these are not worth finding at once.
const MOST: usize = 100;

/// What is wrong.
#[derive(Debug)]
pub struct Problems {
    /// The file that was read; `None` where there is none.
    pub file: Option<String>,
    /// What has to be corrected.
    pub errors: Vec<Error>,
    /// Secrets that are not set here. They may be where the configuration is used.
    pub missing: Vec<Error>,
    /// The configuration, where nothing is wrong with its values.
    pub config: Option<Config>,
}

/// What is wrong with the configuration of this process.
pub fn problems(flags: &Overrides) -> Result<Problems> {
    Ok(problems_of(flags, &|name| std::env::var_os(name), &current_dir()?))
}

/// What is wrong with the configuration that `flags`, the environment behind `ask`, and `cwd` lead to.
pub(super) fn problems_of(flags: &Overrides, ask: Ask<'_>, cwd: &Path) -> Problems {
    let mut found = Problems { file: None, errors: Vec::new(), missing: Vec::new(), config: None };
    let path = locate(flags, ask, cwd).unwrap_or_else(|error| {
        found.errors.push(error);
        None
    });
    if path.is_none() && !found.errors.is_empty() {
        return found;
    }
    found.file = path.as_ref().map(|path| path.display().to_string());
    if let Err(error) = Environment::load(ask, path.as_deref(), cwd) {
        found.errors.push(error);
    }
    let file = match path.as_deref().map_or_else(|| Ok(File::none(cwd)), read) {
        Ok(file) => file,
        Err(error) => {
            found.errors.push(error);
            return found;
        }
    };
    found.load(&file, path.as_deref(), flags, ask, cwd);
    found.look_for_what_is_asked_late();
    found
}

impl Problems {
    /// Loads the configuration again and again, each time without what was refused before.
    fn load(&mut self, file: &File, path: Option<&Path>, flags: &Overrides, ask: Ask<'_>, cwd: &Path) {
        let keys = match file.keys() {
            Ok(keys) => keys,
            Err(error) => return self.errors.push(error),
        };
        let (mut left_out, mut hidden) = (BTreeSet::new(), BTreeSet::new());
        while self.errors.len() < MOST {
            let environment =
                Environment::load(ask, path, cwd).unwrap_or_else(|_| Environment::without_dotenv(ask)).without(&hidden);
            let loaded =
                Layers::without(&left_out, file, environment, flags, cwd).and_then(|layers| Config::of(&layers));
            let error = match loaded {
                Ok(config) => return self.config = Some(config),
                Err(error) => error,
            };
            let known = left_out.len() + hidden.len();
            match place(&error.to_string()) {
                Place::Line(line) => left_out.extend(key_at(&keys, line).cloned()),
                Place::Variable(name) => drop(hidden.insert(name)),
                Place::Unknown => {}
            }
            self.errors.push(error);
            if left_out.len() + hidden.len() == known {
                return;
            }
        }
    }

    /// What commands ask for only when they need it.
    fn look_for_what_is_asked_late(&mut self) {
        let Some(config) = self.config.take() else { return };
        let is_known = |errors: &[Error], key: &str| errors.iter().any(|error| error.to_string().contains(key));
        if !is_known(&self.errors, "source.url") {
            self.errors.extend(config.source.location().err());
        }
        if !is_known(&self.errors, "load.to") {
            self.errors.extend(config.load.destination().err());
        }
        let needs_keys = config.source.encryption == TokenEncryption::Fernet;
        if needs_keys && !is_known(&self.errors, "source.key") {
            self.note(config.source.keys().err());
        }
        if !is_known(&self.errors, "source.headers") && !is_known(&self.errors, "source.auth") {
            self.note(config.source.auth().err());
        }
        self.note(config.record.mask_key().err());
        if matches!(config.load.destination(), Ok(Destination::S3 { .. })) {
            self.note(config.load.s3().err());
        }
        self.errors.sort_by_key(|error| match place(&error.to_string()) {
            Place::Line(line) => line,
            _ => usize::MAX,
        });
        self.config = Some(config).filter(|_| self.errors.is_empty());
    }

    /// A secret that is not set here may be set elsewhere; one that is wrong is wrong.
    fn note(&mut self, error: Option<Error>) {
        let Some(error) = error else { return };
        let text = error.chain();
        let is_missing = text.contains(" is not set") || text.contains("No such file or directory");
        if is_missing { self.missing.push(error) } else { self.errors.push(error) }
    }
}

/// Where an error says that the value stands.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A line of the file.
    Line(usize),
    /// A variable.
    Variable(String),
    Unknown,
}

/// Errors begin with the place of what they refuse, as [`super::environment::Origin`] shows it.
fn place(message: &str) -> Place {
    let origin = message.split(": ").next().unwrap_or_default();
    if let Some((_, line)) = origin.rsplit_once(", line ") {
        return line.parse().map_or(Place::Unknown, Place::Line);
    }
    let name =
        origin.strip_prefix("the environment variable ").or_else(|| origin.split_once(" in ").map(|(name, _)| name));
    match name.and_then(|name| name.split(' ').next()) {
        Some(name) if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => Place::Variable(name.to_owned()),
        _ => Place::Unknown,
    }
}

/// The key whose value is on this line: the last that begins there or before.
fn key_at(keys: &[(Vec<String>, usize)], line: usize) -> Option<&Vec<String>> {
    let before = keys.iter().filter(|(_, at)| *at <= line);
    before.max_by_key(|(path, at)| (*at, path.len())).map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_of_an_error_is_where_it_says_it_is() {
        assert_eq!(place("/a: b/etl.toml, line 3: hours.grace: x"), Place::Unknown, "never a wrong one");
        assert_eq!(place("/a/etl.toml, line 3: hours.grace: x"), Place::Line(3));
        assert_eq!(place("AWS_REGION in the environment: load.region: x"), Place::Variable("AWS_REGION".into()));
        assert_eq!(place("API_URL in /a b/.env: source.url: x"), Place::Variable("API_URL".into()));
        assert_eq!(place("the environment variable X_1 is not UTF-8 text"), Place::Variable("X_1".into()));
        assert_eq!(place("load.to is within the state directory: /a"), Place::Unknown);
    }

    #[test]
    fn every_error_is_found_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[source]\nurl = \"nowhere\"\nretires = 3\ntimeout = \"30\"\n[hours]\ntimezone = \"Mars\"\n\
                    grace = \"10m\"\n[lod]\nto = 1\n[load]\nto = \"lake\"\nlayout = \"{year}\"\n";
        std::fs::write(folder.path().join("etl.toml"), text).unwrap();
        let ask = |name: &str| (name == "AWS_REGION").then(|| "no region".into());
        let found = problems_of(&Overrides::default(), &ask, folder.path());
        let texts: Vec<String> = found.errors.iter().map(Error::chain).collect();
        for expected in [
            "line 2: source.url: ",
            "line 3: unknown key \"retires\"",
            "line 4: source.timeout: ",
            "line 6: hours.timezone: ",
            "line 8: unknown key \"lod\"",
            "line 11: load.to: ",
            "line 12: load.layout: ",
        ] {
            assert_eq!(texts.iter().filter(|text| text.contains(expected)).count(), 1, "{expected}: {texts:#?}");
        }
        assert_eq!(texts.len(), 7, "{texts:#?}");
        assert!(found.config.is_none());
    }

    #[test]
    fn secret_that_is_not_set_here_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[source]\nurl = \"https://h/l\"\nheaders = { Authorization = \"env:API_TOKEN\" }\n[load]\nto = \"file:lake\"\n";
        std::fs::write(folder.path().join("etl.toml"), text).unwrap();
        let found = problems_of(&Overrides::default(), &|_| None, folder.path());
        assert!(found.errors.is_empty() && found.config.is_some(), "{found:?}");
        assert_eq!(found.missing.len(), 2, "{found:?}");
        let ask = |name: &str| (name == "FERNET_KEY").then(|| "no key".into());
        let found = problems_of(&Overrides::default(), &ask, folder.path());
        assert!(found.errors.len() == 1 && found.missing.len() == 1, "{found:?}");
    }
}
