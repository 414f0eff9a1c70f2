//! The view's expressions: the inverse of the compaction in SQL, with the same text for Athena and DuckDB where they agree. Pure.

use std::fmt::Write as _;

use super::{Quoted, Table, column};
use crate::record::schema;

/// The SQL of which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Athena,
    DuckDb,
}

/// Matches an `inDate` with an offset.
const OFFSET: &str = "([Zz]|[+-][0-9]{2}:[0-9]{2})$";

impl Dialect {
    /// A name as an identifier. Athena knows lower case only.
    pub(super) fn ident(self, name: &str) -> String {
        let bare = column::known().iter().any(|known| known.name == name);
        let name = if self == Self::Athena { name.to_ascii_lowercase() } else { name.to_owned() };
        if bare { name } else { format!("\"{name}\"") }
    }

    /// The instant of the text `in_date` in UTC; NULL for a leap second.
    fn event_time(self, in_date: &str, zone: &str) -> String {
        match self {
            Self::Athena => {
                let iso = format!("from_iso8601_timestamp(replace(upper({in_date}), ' ', 'T'))");
                let utc = |at: &str| format!("try(CAST(at_timezone({at}, 'UTC') AS timestamp))");
                if zone == "UTC" {
                    return utc(&iso);
                }
                let local = format!("with_timezone(CAST({iso} AS timestamp), {})", Quoted(zone));
                either(&format!("regexp_like({in_date}, '{OFFSET}')"), &utc(&iso), &utc(&local))
            }
            Self::DuckDb => {
                let text = format!("upper({in_date})");
                let with_offset = format!("TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'");
                let without = format!("TRY_CAST({text} AS TIMESTAMP)");
                let without = match zone {
                    "UTC" => without,
                    zone => format!("{without} AT TIME ZONE {} AT TIME ZONE 'UTC'", Quoted(zone)),
                };
                either(&format!("regexp_matches({in_date}, '{OFFSET}')"), &with_offset, &without)
            }
        }
    }
}

fn either(condition: &str, then: &str, otherwise: &str) -> String {
    format!("CASE\n    WHEN {condition}\n    THEN {then}\n    ELSE {otherwise}\n  END")
}

/// The query behind the view, over the table `from`.
pub(super) fn query(table: &Table, dialect: Dialect, from: &str) -> String {
    let ident = |name: &str| dialect.ident(name);
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    for column in &table.columns {
        let name = ident(&column.name);
        let original = original(table, dialect, column);
        inner.push(if original == name { original } else { format!("{original} AS {name}") });
        outer.push(name.clone());
        if column.name == schema::IN_DATE {
            outer.push(format!("{} AS event_time", dialect.event_time(&name, &table.zone)));
        }
    }
    let keys = table.key_names().iter().map(|key| (*key).to_owned());
    outer.extend(keys.clone());
    inner.extend(keys);
    let mut text = String::new();
    let _ = write!(
        text,
        "SELECT\n  {}\nFROM (\n  SELECT\n    {}\n  FROM {from}\n) AS restored",
        outer.join(",\n  "),
        inner.join(",\n    ")
    );
    text
}

/// The original value of a field: the one that is stored in full beside the compact value, else that of the compact value.
fn original(table: &Table, dialect: Dialect, column: &column::Column) -> String {
    let name = dialect.ident(&column.name);
    let raw = if dialect == Dialect::Athena { format!("{name}_raw") } else { format!("{}_raw", column.name) };
    let codes = |codes: &std::collections::BTreeMap<String, i64>| {
        let cases: String = codes.iter().map(|(text, code)| format!(" WHEN {code} THEN {}", Quoted(text))).collect();
        if cases.is_empty() { raw.clone() } else { format!("coalesce({raw}, CASE {name}{cases} END)") }
    };
    match column.name.as_str() {
        schema::USER_ID => {
            let half = |from: u8| format!("to_hex(from_base64url(substr({name}, {from}, 22)))");
            format!("coalesce({raw}, lower({} || {}))", half(23), half(1))
        }
        schema::URL => codes(&table.url),
        schema::METHOD => codes(&table.method),
        schema::IN_DATE => {
            let part = |from: u8, length: u8| format!("substr({name}, {from}, {length})");
            let text = format!(
                "'20' || {} || '-' || {} || '-' || {} || 'T' || {} || ':' || {} || ':' || {} || '.' || {} || 'Z'",
                part(1, 2),
                part(3, 2),
                part(5, 2),
                part(7, 2),
                part(9, 2),
                part(11, 2),
                part(13, 3)
            );
            format!("coalesce({raw}, {text})")
        }
        _ => dialect.ident(&column.stored()),
    }
}
