//! Spark's SQL. Pure.

use super::super::column::Type;
use super::Dialect;
use super::instant::{self, Spelling};

/// Spark.
pub(in crate::query) struct Spark;

impl Dialect for Spark {
    fn ident(&self, name: &str) -> String {
        format!("`{name}`")
    }

    /// Two quotes are not an escaped one in all versions.
    fn literal(&self, text: &str) -> String {
        quoted(text)
    }

    fn scalar(&self, path: &str) -> String {
        self.text(path)
    }

    fn text(&self, path: &str) -> String {
        format!("get_json_object(line, '{path}')")
    }

    /// `get_json_object` does not tell a text from a number; `from_json` does.
    fn value(&self, path: &str, ty: &Type) -> String {
        from_json(path, &ty.hive())
    }

    fn is_object(&self, path: &str) -> String {
        format!("{} IS NOT NULL", from_json(path, "map<string,string>"))
    }

    fn pack(&self, _: &Type, fields: &[(&str, String)]) -> String {
        let fields: Vec<String> = fields.iter().map(|(name, expression)| format!("'{name}', {expression}")).collect();
        format!("named_struct({})", fields.join(", "))
    }

    fn uuid_pair(&self, text: &str) -> String {
        let half = |from: u8| format!("hex(unbase64(translate(substr({text}, {from}, 22), '-_', '+/')))");
        format!("nullif(lower({} || {}), '')", half(23), half(1))
    }

    fn hex(&self, text: &str) -> String {
        format!("nullif(lower(hex(unbase64(translate({text}, '-_', '+/')))), '')")
    }

    fn at_micros(&self, micros: &str) -> String {
        format!("timestamp_micros({micros})")
    }

    /// Its timestamps are instants: their text says that it is in UTC, whatever the session's zone.
    fn instant(&self, text: &str, zone: &str) -> String {
        let spelling = Spelling {
            like: "regexp_like",
            ty: "timestamp",
            digits: 6,
            utc: "Z",
            later: |time, minutes| format!("timestampadd(MINUTE, {minutes}, {time})"),
            in_zone: |time, zone| format!("to_utc_timestamp({time}, {})", quoted(zone)),
        };
        instant::instant(text, zone, &spelling)
    }
}

/// The field at the end of the path, read as that type.
fn from_json(path: &str, ty: &str) -> String {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("$", path));
    let object = if parent == "$" { "line".to_owned() } else { format!("get_json_object(line, '{parent}')") };
    format!("from_json({object}, '`{name}` {ty}').`{name}`")
}

/// A text in single quotes, where a backslash escapes.
pub(in crate::query) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
