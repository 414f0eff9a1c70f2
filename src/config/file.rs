//! A configuration file as read: each known key with its value and line.
//!
//! Owns the use of the TOML parser. Invariant: a document that was read holds known keys only, each once; what the
//! values mean is decided where they are looked up.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings;
use crate::error::{Error, ErrorKind, Result};

/// A value of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    /// A string.
    Text(String),
    /// A whole number that fits 64 bits.
    Integer(i64),
    /// `true` or `false`.
    Flag(bool),
    /// An array.
    List(Vec<Datum>),
    /// A table, with the line of each key.
    Table(Vec<(String, usize, Datum)>),
    /// Anything that no setting has, by the name of its type.
    Other(&'static str),
}

impl Datum {
    /// What it is, for an error.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Flag(_) => "a truth value",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(name) => name,
        }
    }
}

/// The settings of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// What errors call the file.
    pub name: String,
    entries: BTreeMap<(String, String), (usize, Datum)>,
}

impl Document {
    /// Reads `text`; `name` is what errors call it.
    ///
    /// # Errors
    /// `Config` for what is no TOML and for unknown keys, with the line.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let reader = Reader { name, text };
        let top = DeTable::parse(text).map_err(|cause| reader.syntax_error(&cause))?;
        let mut entries = BTreeMap::new();
        for (table, content) in top.get_ref() {
            let line = reader.line(table.span());
            for (key, line, datum) in reader.table(table.get_ref(), line, content.get_ref())? {
                entries.insert((table.get_ref().to_string(), key), (line, datum));
            }
        }
        Ok(Self { name: name.to_owned(), entries })
    }

    /// The value of `key` in `table`, and its line.
    pub fn get(&self, table: &str, key: &str) -> Option<&(usize, Datum)> {
        self.entries.get(&(table.to_owned(), key.to_owned()))
    }
}

/// The text while it is read, for lines and errors.
struct Reader<'a> {
    name: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    /// The settings of the top-level entry `table`.
    fn table(&self, table: &str, line: usize, content: &DeValue<'_>) -> Result<Vec<(String, usize, Datum)>> {
        if !settings::is_table(table) {
            let nearest = settings::nearest_at_top(table);
            return Err(self.error(line, format!("unknown key {table:?}; the nearest known one is {nearest}")));
        }
        let Datum::Table(entries) = self.datum(content) else {
            return Err(self.error(line, format!("{table:?} is a table")).hint(format!("write [{table}]")));
        };
        for (key, line, _) in &entries {
            if settings::find(table, key).is_none() {
                let nearest = settings::nearest_key(table, key);
                let text = format!("unknown key {key:?} in [{table}]; the nearest known one is {nearest}");
                return Err(self.error(*line, text));
            }
        }
        Ok(entries)
    }

    fn datum(&self, value: &DeValue<'_>) -> Datum {
        match value {
            DeValue::String(text) => Datum::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Datum::Other("a number beyond 64 bits"), Datum::Integer),
            DeValue::Float(_) => Datum::Other("a fraction"),
            DeValue::Boolean(flag) => Datum::Flag(*flag),
            DeValue::Datetime(_) => Datum::Other("a date"),
            DeValue::Array(list) => Datum::List(list.iter().map(|item| self.datum(item.get_ref())).collect()),
            DeValue::Table(table) => {
                let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                    let name: &std::borrow::Cow<'_, str> = key.get_ref();
                    (name.to_string(), self.line(key.span()), self.datum(value.get_ref()))
                };
                Datum::Table(table.iter().map(entry).collect())
            }
        }
    }

    /// The line, from 1, at which `span` starts.
    fn line(&self, span: Range<usize>) -> usize {
        self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }

    /// Without the source line that the parser would quote: it may hold a secret.
    fn syntax_error(&self, cause: &toml::de::Error) -> Error {
        let line = cause.span().map_or(1, |span| self.line(span));
        self.error(line, cause.message())
    }

    fn error(&self, line: usize, what: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Config, format!("{}, line {line}: {what}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let error = Document::parse("etl.toml", text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.chain()
    }

    #[test]
    fn value_is_found_with_its_line() {
        let text =
            "# a comment\n[source]\nurl = \"x\"\nheaders = {\n  A = \"1\" }\n\n[load]\npart_max_records = 1_000\n";
        let document = Document::parse("etl.toml", text).unwrap();
        assert_eq!(document.get("source", "url"), Some(&(3, Datum::Text("x".into()))));
        assert_eq!(document.get("load", "part_max_records"), Some(&(8, Datum::Integer(1000))));
        let headers = Datum::Table(vec![("A".into(), 5, Datum::Text("1".into()))]);
        assert_eq!(document.get("source", "headers"), Some(&(4, headers)));
        assert_eq!(document.get("state", "dir"), None);
    }

    #[test]
    fn dotted_keys_and_sub_tables_are_the_same_thing() {
        let document = Document::parse("x", "hours.grace = \"5m\"\n[compact.method]\nPUT = 0x10\n").unwrap();
        assert_eq!(document.get("hours", "grace"), Some(&(1, Datum::Text("5m".into()))));
        let methods = Datum::Table(vec![("PUT".into(), 3, Datum::Integer(16))]);
        assert_eq!(document.get("compact", "method").map(|(_, datum)| datum), Some(&methods));
    }

    #[test]
    fn unknown_key_names_the_nearest_the_table_and_the_line() {
        let text = refusal("[hours]\ngrace = \"1m\"\ntimezon = \"UTC\"\n");
        assert_eq!(text, r#"etl.toml, line 3: unknown key "timezon" in [hours]; the nearest known one is "timezone""#);
        let text = refusal("\n[sorce]\nurl = \"x\"\n");
        assert_eq!(text, r#"etl.toml, line 2: unknown key "sorce"; the nearest known one is [source]"#);
        let text = refusal("url = \"x\"\n");
        assert_eq!(text, r#"etl.toml, line 1: unknown key "url"; the nearest known one is "url" in [source]"#);
    }

    #[test]
    fn broken_toml_names_the_line_and_does_not_quote_it() {
        let text = refusal("[source]\nkeys = [\"s3cret]\n");
        assert!(text.starts_with("etl.toml, line 2: ") && !text.contains("s3cret"), "{text}");
        let text = refusal("[state]\ndir = \"a\"\ndir = \"b\"\n");
        assert!(text.starts_with("etl.toml, line 3: "), "{text}");
    }

    #[test]
    fn table_of_the_wrong_shape_is_refused() {
        assert!(refusal("hours = 5\n").contains("\"hours\" is a table"));
        assert!(refusal("[[hours]]\ngrace = \"1m\"\n").contains("\"hours\" is a table"));
    }
}
