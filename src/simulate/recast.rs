//! Records of another schema: the usual fields under other names, within others, with the time spelled otherwise.
//!
//! Pure but for reading the file that says so. Invariant: nothing is lost but the fields that are left out on purpose, so the truth has what
//! was handed out.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use super::literal::{Fields, Value};
use super::shape::milliseconds;
use crate::error::{Error, ErrorKind, Result};
use crate::pointer::Pointer;

/// Schemas that need no file.
const KNOWN: [(&str, &str); 2] = [("flat", FLAT), ("nested", NESTED)];

/// As many services log: short names, milliseconds.
const FLAT: &str = r#"
time = "epoch-ms"
[fields]
inDate = "ts"
record_id = "id"
user_id = "user"
activity = "kind"
url = "path"
"#;

/// An envelope around the log, as collectors of logs make it.
const NESTED: &str = r#"
time = "rfc3339"
[fields]
inDate = "/meta/at"
record_id = "/meta/seq"
user_id = "/event/user/id"
activity = "/event/kind"
url = "/event/url"
method = "/event/method"
name = ""
"#;

/// Where the fields of the usual log go.
#[derive(Debug, Clone)]
pub struct Recast {
    time: Spelling,
    /// By field; `None`: it is left out. Others stay where they are.
    places: BTreeMap<String, Option<Pointer>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Spelling {
    #[serde(rename = "rfc3339")]
    Rfc3339,
    #[serde(rename = "epoch-s")]
    Seconds,
    #[serde(rename = "epoch-ms")]
    Milliseconds,
    #[serde(rename = "epoch-us")]
    Microseconds,
    #[serde(rename = "epoch-ns")]
    Nanoseconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    time: Spelling,
    fields: BTreeMap<String, String>,
}

impl Recast {
    /// The schema of a name that is known, or in the file at `text`.
    ///
    /// # Errors
    /// `Usage`: there is no such file, or it says something else.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let refused = |what: String| {
            let hint = "name \"flat\", \"nested\", or a TOML file with time = \"rfc3339\" or \"epoch-ms\", and [fields] inDate = \"ts\"";
            Error::new(ErrorKind::Usage, format!("simulate: --schema {text}: {what}")).hint(hint)
        };
        let written = match KNOWN.into_iter().find(|(name, _)| *name == text) {
            Some((_, known)) => known.to_owned(),
            None => std::fs::read_to_string(Path::new(text)).map_err(|error| refused(error.to_string()))?,
        };
        let Written { time, fields } = toml::from_str(&written).map_err(|error| refused(error.message().to_owned()))?;
        let place = |text: &str| match text {
            "" => Ok(None),
            text if text.starts_with('/') => Pointer::parse(text).map(Some).map_err(|why| refused(why.to_string())),
            name => Ok(Some(Pointer::member(name))),
        };
        let places = fields.into_iter().map(|(field, text)| Ok((field, place(&text)?)));
        Ok(Self { time, places: places.collect::<Result<_>>()? })
    }

    /// The fields of a record of that time, where they go.
    pub(super) fn apply(&self, fields: Fields, at: Timestamp) -> Fields {
        let mut recast = Fields::new();
        for (field, value) in fields {
            let value = if field == "inDate" { self.time.spell(at) } else { value };
            match self.places.get(field.as_ref()) {
                Some(Some(place)) => put(&mut recast, place.steps(), value),
                Some(None) => {}
                None => put(&mut recast, &[field.into_owned()], value),
            }
        }
        recast
    }
}

impl Spelling {
    fn spell(self, at: Timestamp) -> Value {
        let nanos = at.as_nanosecond() / 1_000_000 * 1_000_000;
        let number = |unit: i128| Value::Int((nanos / unit).to_string().into());
        match self {
            Self::Rfc3339 => Value::Text(milliseconds(at).into()),
            Self::Seconds => number(1_000_000_000),
            Self::Milliseconds => number(1_000_000),
            Self::Microseconds => number(1_000),
            Self::Nanoseconds => number(1),
        }
    }
}

/// Puts a value where the steps lead, through dicts that are made where there are none.
fn put(fields: &mut Fields, steps: &[String], value: Value) {
    let Some((first, rest)) = steps.split_first() else { return };
    let at = fields.iter().position(|(key, _)| key == first).unwrap_or_else(|| {
        fields.push((first.clone().into(), Value::Dict(Fields::new())));
        fields.len() - 1
    });
    match fields.get_mut(at) {
        Some((_, slot)) if rest.is_empty() => *slot = value,
        Some((_, Value::Dict(inner))) => put(inner, rest, value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::literal::write_json;
    use super::*;

    fn recast(schema: &str) -> String {
        let fields: Fields = vec![
            ("user_id".into(), Value::text("u")),
            ("record_id".into(), Value::int(7)),
            ("name".into(), Value::text("n")),
            ("inDate".into(), Value::text("?")),
            ("url_raw".into(), Value::None),
        ];
        let fields = Recast::parse(schema).unwrap().apply(fields, "2023-03-10T01:48:11.8189Z".parse().unwrap());
        let mut out = String::new();
        write_json(&Value::Dict(fields), &mut out);
        out
    }

    #[test]
    fn fields_go_where_the_schema_says() {
        assert_eq!(recast("flat"), r#"{"user":"u","id":7,"name":"n","ts":1678412891818,"url_raw":null}"#);
        let nested = r#"{"event":{"user":{"id":"u"}},"meta":{"seq":7,"at":"2023-03-10T01:48:11.818Z"},"url_raw":null}"#;
        assert_eq!(recast("nested"), nested);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "time = \"epoch-s\"\n[fields]\ninDate = \"/a/b\"\nname = \"/a/c\"\n").unwrap();
        let expected = r#"{"user_id":"u","record_id":7,"a":{"c":"n","b":1678412891},"url_raw":null}"#;
        assert_eq!(recast(file.path().to_str().unwrap()), expected);
    }

    #[test]
    fn schema_that_is_none_is_refused_by_its_name() {
        for bad in ["flatt", "/dev/null"] {
            let error = Recast::parse(bad).unwrap_err();
            assert!(error.kind() == ErrorKind::Usage && error.chain().contains(bad), "{}", error.chain());
        }
    }
}
