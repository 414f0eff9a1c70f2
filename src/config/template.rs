//! A configuration to start with: the template, with what the user chose.
//!
//! Invariant: [`template`] returns only a text that loads as a configuration.

use std::path::Path;

use super::environment::Environment;
use super::layers::{File, Layers, TEMPLATE};
use super::{Config, Overrides};
use crate::error::{Error, ErrorKind, Result};

/// What the user chose. `None` leaves the default.
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
    /// What was found out about the source.
    pub found: &'a [Change],
}

/// What a key becomes, and what is said above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    key: &'static str,
    /// In TOML; of `compact`, the lines of the table. `None`: what the template says.
    value: Option<String>,
    notes: Vec<String>,
}

impl Change {
    /// The key has this value, in TOML.
    pub(crate) const fn new(key: &'static str, value: String) -> Self {
        Self { key, value: Some(value), notes: Vec::new() }
    }

    /// The key stays, and something is said of it.
    pub(crate) fn noted(key: &'static str, note: impl Into<String>) -> Self {
        Self { key, value: None, notes: Vec::new() }.note(note)
    }

    /// The same, with one more thing said.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The template's `text` with this change. A name of the source can hold anything, so of a note only what belongs on a line stays.
    fn apply(&self, text: &str) -> String {
        let notes =
            self.notes.iter().map(|note| format!("# {}\n", note.replace(char::is_control, "?"))).collect::<String>();
        if self.key == "compact" {
            return self.of_table(text, &notes);
        }
        let start = format!("{} = ", self.key);
        let (mut lines, mut is_done) = (String::new(), false);
        for line in text.split_inclusive('\n') {
            if is_done || !line.starts_with(&start) {
                lines.push_str(line);
                continue;
            }
            is_done = true;
            lines.push_str(&notes);
            match &self.value {
                Some(value) => lines.push_str(&format!("{start}{value}\n")),
                None => lines.push_str(line),
            }
        }
        lines
    }

    /// In place of the entries of `[compact]`, whose comments stay.
    fn of_table(&self, text: &str, notes: &str) -> String {
        let Some((before, table)) = text.split_once("\n[compact]\n") else { return text.to_owned() };
        let (table, behind) = table.split_once("\n[").unwrap_or((table, ""));
        let comments: String =
            table.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let entries = self.value.as_deref().unwrap_or_default();
        let entries = if entries.is_empty() { String::new() } else { format!("{notes}{entries}\n") };
        format!("{before}\n[compact]\n{comments}{entries}\n[{behind}")
    }
}

/// The text of a configuration for the folder `folder`.
///
/// # Errors
/// `Usage`: it would not load.
pub fn template(starter: Starter<'_>, folder: &Path) -> Result<String> {
    let values = [
        ("# url = \"https://api.example.com/api/data/log\"", "url", starter.url),
        ("# to = \"file:lake\"", "to", starter.to.or(Some("file:lake"))),
        ("endpoint = \"\"", "endpoint", starter.endpoint),
        ("region = \"ap-northeast-2\"", "region", starter.region),
    ];
    let text = values.into_iter().fold(TEMPLATE.to_owned(), |text, (line, key, value)| match value {
        Some(value) => text.replacen(line, &format!("{key} = {}", toml::Value::from(value)), 1),
        None => text,
    });
    let text = starter.found.iter().fold(text, |text, change| change.apply(&text));
    accept(&text, folder).map_err(|error| {
        let refused =
            Error::new(ErrorKind::Usage, format!("these flags make no valid configuration: {}", error.chain()));
        match error.next_step() {
            Some(hint) => refused.hint(hint),
            None => refused,
        }
    })?;
    Ok(text)
}

/// Loads `text` as the file that it will be, with an empty environment.
fn accept(text: &str, folder: &Path) -> Result<()> {
    let file = File::new("the new file", text, folder);
    let config = Config::of(&Layers::new(&file, Environment::empty(), &Overrides::default(), folder)?)?;
    config.load.destination().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> &'static Path {
        Path::new("/srv/etl")
    }

    fn tables(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn without_choices_it_is_the_template_with_a_folder_to_load_to() {
        let mut written = tables(&template(Starter::default(), folder()).unwrap());
        assert_eq!(written["load"].as_table_mut().unwrap().remove("to"), Some("file:lake".into()));
        assert_eq!(written, tables(TEMPLATE));
    }

    /// Keys that have another name by now.
    const OLD_NAMES: [&str; 1] = ["source.sequence"];

    #[test]
    fn every_key_is_in_it() {
        // Any field may be in [compact].
        for table in tables(TEMPLATE).keys().filter(|table| *table != "compact") {
            let refusal = toml::from_str::<Config>(&format!("[{table}]\nanother = 0\n")).unwrap_err();
            let (_, keys) = refusal.message().rsplit_once(", expected ").unwrap();
            let (_, section) = TEMPLATE.split_once(&format!("\n[{table}]\n")).unwrap();
            for key in keys.split('`').skip(1).step_by(2) {
                let named = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
                let is_old = OLD_NAMES.contains(&format!("{table}.{key}").as_str());
                assert!(is_old || section.split("\n[").next().unwrap().lines().any(named), "{table}.{key}");
            }
        }
    }

    #[test]
    fn what_is_given_stands_in_it() {
        let starter = Starter {
            url: Some("https://h/log"),
            to: Some("file:la\"ke"),
            endpoint: Some("http://e"),
            region: Some("r"),
            found: &[],
        };
        let written = tables(&template(starter, folder()).unwrap());
        for (table, key, value) in [
            ("source", "url", "https://h/log"),
            ("load", "to", "file:la\"ke"),
            ("load", "endpoint", "http://e"),
            ("load", "region", "r"),
        ] {
            assert_eq!(written[table][key].as_str(), Some(value), "{table}.{key}");
        }
    }

    #[test]
    fn what_was_found_stands_below_its_comment_and_stays_on_its_line() {
        let found = [
            Change::new("time", "\"/a\"".into()).note("found: x\ntime = 1"),
            Change::noted("id", "NOT FOUND"),
            Change::new("compact", "trace = \"hex\"".into()).note("found: y"),
        ];
        let text = template(Starter { found: &found, ..Starter::default() }, folder()).unwrap();
        assert!(text.contains("\n# found: x?time = 1\ntime = \"/a\"\n"), "{text}");
        assert!(text.contains("\n# NOT FOUND\nid = \"/record_id\"\n"), "{text}");
        assert_eq!(
            tables(&text)["compact"],
            toml::Value::from(toml::Table::from_iter([("trace".into(), "hex".into())]))
        );
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
