//! The table for Athena, with partition projection, and the view over it.
//!
//! Table properties that contain a single quote are in double quotes: in Hive's grammar two single quotes are not an escaped one.

use std::fmt::Write as _;

use super::dialect::{self, LINE, Trino};
use super::{Table, projection, typed};
use crate::error::Result;

/// Hive's reader of texts: one column takes the line as it is.
const LINES: &str = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe";

pub(super) fn print(table: &Table) -> Result<String> {
    let data = table.s3_data()?;
    let mut text = table.comments(&data);
    let of = |name: &str, quote: char| {
        let database = table.database.as_ref().map(|database| format!("{quote}{database}{quote}."));
        format!("{}{quote}{name}{quote}", database.unwrap_or_default())
    };
    let name = table.table_name();
    let _ = writeln!(text, "CREATE EXTERNAL TABLE IF NOT EXISTS {} (", of(&name, '`'));
    let columns: Vec<String> = columns(table).iter().map(|(name, ty, comment)| define(name, ty, comment)).collect();
    let _ = writeln!(text, "{}\n)", columns.join(",\n"));
    let keys: Vec<String> = table.key_names().iter().map(|key| format!("`{key}` {}", table.key_type())).collect();
    let _ = writeln!(text, "COMMENT 'Compact rows made by etl; the view {} gives the original logs back'", table.name);
    let _ = writeln!(text, "PARTITIONED BY ({})", keys.join(", "));
    let _ = writeln!(text, "ROW FORMAT SERDE '{}'\nLOCATION '{data}'", serde_class(table));
    let properties: Vec<String> = properties(table, &data)
        .iter()
        .map(|(key, value)| match value.contains('\'') {
            true => format!("  '{key}' = \"{value}\""),
            false => format!("  '{key}' = '{value}'"),
        })
        .collect();
    let _ = writeln!(text, "TBLPROPERTIES (\n{}\n);\n", properties.join(",\n"));
    let from = of(&name, '"');
    let query = match table.serde {
        None => dialect::query(table, &Trino { athena: true }, &from),
        Some(_) => typed::query(table, &from),
    };
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", of(&table.name, '"'));
    Ok(text)
}

fn define(name: &str, ty: &str, comment: &str) -> String {
    let comment = if comment.is_empty() { String::new() } else { format!(" COMMENT {}", super::Quoted(comment)) };
    format!("  `{name}` {ty}{comment}")
}

/// Name, type and comment of every column of the table.
pub(super) fn columns(table: &Table) -> Vec<(String, String, String)> {
    match table.serde {
        None => vec![(LINE.to_owned(), "string".to_owned(), "a compact row, as JSON".to_owned())],
        Some(_) => typed::columns(table),
    }
}

/// The class that reads the rows.
pub(super) fn serde_class(table: &Table) -> &'static str {
    table.serde.map_or(LINES, super::Serde::class)
}

fn properties(table: &Table, data: &str) -> Vec<(String, String)> {
    let mut all = vec![("projection.enabled".to_owned(), "true".to_owned())];
    if table.serde.is_some() {
        all.insert(0, ("classification".to_owned(), "json".to_owned()));
    }
    for key in projection::keys(table) {
        let mut of = |what: &str, value: String| all.push((format!("projection.{}.{what}", key.name), value));
        of("type", key.kind.to_owned());
        of("range", key.range.join(","));
        if let Some(digits) = key.digits {
            of("digits", digits.to_string());
        }
        if let Some(format) = key.format {
            of("format", format);
            of("interval", "1".to_owned());
            of("interval.unit", "HOURS".to_owned());
        }
    }
    all.push(("storage.location.template".to_owned(), projection::template(table, data)));
    all
}
