//! A configuration to start with: every setting, what it is for, and its default.
//!
//! Invariant: what [`template`] gives is accepted by the reader of configurations, or it is an error; a test holds its values
//! against the defaults, so that the two cannot differ.

use std::path::Path;

use super::environment::Environment;
use super::file::Document;
use super::lookup::Lookup;
use super::{Config, Overrides};
use crate::error::{Error, ErrorKind, Result};

const TEMPLATE: &str = include_str!("template.toml");

/// What the user says about a configuration to start with. What is `None` gets its default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Starter<'a> {
    /// `source.url`.
    pub url: Option<&'a str>,
    /// `load.to`.
    pub to: Option<&'a str>,
    /// `load.endpoint`.
    pub endpoint: Option<&'a str>,
    /// `load.region`.
    pub region: Option<&'a str>,
}

/// The text of a configuration for the folder `folder`.
///
/// # Errors
/// `Usage`: it would not be accepted.
pub fn template(starter: Starter<'_>, folder: &Path) -> Result<String> {
    let string = |text: &str| toml::Value::from(text).to_string();
    let url = starter.url.map_or_else(
        || "# url = \"https://api.example.com/api/data/log\"".to_owned(),
        |url| format!("url = {}", string(url)),
    );
    let values = [
        ("@URL@", url),
        ("@TO@", string(starter.to.unwrap_or("file:lake"))),
        ("@ENDPOINT@", string(starter.endpoint.unwrap_or_default())),
        ("@REGION@", string(starter.region.unwrap_or("ap-northeast-2"))),
    ];
    let text = values.iter().fold(TEMPLATE.to_owned(), |text, (mark, value)| text.replacen(mark, value, 1));
    accept(&text, folder).map_err(|error| {
        let refused = Error::new(ErrorKind::Usage, format!("no configuration can be made of this: {}", error.chain()));
        match error.next_step() {
            Some(hint) => refused.hint(hint),
            None => refused,
        }
    })?;
    Ok(text)
}

/// Reads `text` as the file that it will be, with nothing in the environment.
fn accept(text: &str, folder: &Path) -> Result<()> {
    let document = Document::parse("the new file", text)?;
    let environment = Environment::empty();
    let lookup = Lookup::new(environment, Some((document, folder.to_owned())), folder)?;
    let config = Config::of(&Overrides::default(), &lookup, None, folder)?;
    config.load.destination().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::file::Datum;
    use super::super::settings::{DEFAULTS, SETTINGS};
    use super::*;

    /// A value without the places at which it stands.
    fn without_lines(value: &Datum) -> Datum {
        match value {
            Datum::Table(entries) => {
                Datum::Table(entries.iter().map(|(key, _, value)| (key.clone(), 0, without_lines(value))).collect())
            }
            other => other.clone(),
        }
    }

    fn folder() -> &'static Path {
        Path::new("/srv/etl")
    }

    #[test]
    fn every_setting_is_in_it_with_its_default() {
        let text = template(Starter::default(), folder()).unwrap();
        let written = Document::parse("written", &text).unwrap();
        let defaults = Document::parse("defaults", DEFAULTS).unwrap();
        for setting in SETTINGS {
            let (table, key) = (setting.table, setting.key);
            let named = format!("{key} = ");
            assert!(text.lines().any(|line| line.trim_start_matches("# ").starts_with(&named)), "{table}.{key}");
            if let Some((_, default)) = defaults.get(table, key) {
                let written = written.get(table, key).map(|(_, value)| without_lines(value));
                assert_eq!(written, Some(without_lines(default)), "{table}.{key}");
            }
        }
        assert!(!text.contains('@'), "{text}");
    }

    #[test]
    fn what_is_given_stands_in_it() {
        let starter = Starter { url: Some("https://h/log"), to: Some("file:la\"ke"), ..Starter::default() };
        let written = Document::parse("written", &template(starter, folder()).unwrap()).unwrap();
        for (table, key, value) in [("source", "url", "https://h/log"), ("load", "to", "file:la\"ke")] {
            assert_eq!(written.get(table, key).map(|(_, datum)| datum), Some(&Datum::Text(value.to_owned())));
        }
    }

    #[test]
    fn what_would_not_be_accepted_is_refused() {
        for starter in [
            Starter { to: Some("lake"), ..Starter::default() },
            Starter { to: Some("file:etl-state/lake"), ..Starter::default() },
            Starter { url: Some("api.example.com"), ..Starter::default() },
            Starter { to: Some("s3://b/"), endpoint: Some("nowhere"), ..Starter::default() },
        ] {
            assert_eq!(template(starter, folder()).unwrap_err().kind(), ErrorKind::Usage, "{starter:?}");
        }
    }
}
