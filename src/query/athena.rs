//! The table for Athena, with partition projection, and the view over it, where it needs one.
//!
//! Table properties that contain a single quote are in double quotes: in Hive's grammar two single quotes are not an escaped one.

use std::fmt::Write as _;

use super::dialect::{self, LINE, Trino};
use super::{Table, parquet, projection, typed};
use crate::error::Result;

/// Hive's reader of texts: one column takes the line as it is.
const LINES: &str = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe";
/// Hive's reader of Parquet, which goes by the columns' names.
const PARQUET: &str = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";

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
    let _ = writeln!(text, "COMMENT {}", super::Quoted(&description(table)));
    let _ = writeln!(text, "PARTITIONED BY ({})", keys.join(", "));
    let reader = if table.is_parquet() {
        "STORED AS PARQUET".into()
    } else {
        format!("ROW FORMAT SERDE '{}'", serde_class(table))
    };
    let _ = writeln!(text, "{reader}\nLOCATION '{data}'");
    let properties: Vec<String> = properties(table, &data)
        .iter()
        .map(|(key, value)| match value.contains('\'') {
            true => format!("  '{key}' = \"{value}\""),
            false => format!("  '{key}' = '{value}'"),
        })
        .collect();
    let _ = writeln!(text, "TBLPROPERTIES (\n{}\n);\n", properties.join(",\n"));
    if let Some(query) = view(table, &of(&name, '"')) {
        let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", of(&table.name, '"'));
    }
    Ok(text)
}

/// What gives the originals back from compact rows.
fn view(table: &Table, from: &str) -> Option<String> {
    match table.serde {
        _ if table.is_parquet() => None,
        None => Some(dialect::query(table, &Trino { athena: true }, from)),
        Some(_) => Some(typed::query(table, from)),
    }
}

/// What the table is, in a sentence.
pub(super) fn description(table: &Table) -> String {
    if table.is_parquet() {
        return "Logs, one row each, made by etl".to_owned();
    }
    format!("Compact rows made by etl; the view {} gives the original logs back", table.name)
}

fn define(name: &str, ty: &str, comment: &str) -> String {
    let comment = if comment.is_empty() { String::new() } else { format!(" COMMENT {}", super::Quoted(comment)) };
    format!("  `{name}` {ty}{comment}")
}

/// Name, type and comment of every column of the table.
pub(super) fn columns(table: &Table) -> Vec<(String, String, String)> {
    match table.serde {
        _ if table.is_parquet() => parquet::columns(table)
            .iter()
            .map(|column| (column.name.to_ascii_lowercase(), column.ty.hive(), column.comment.to_owned()))
            .collect(),
        None => vec![(LINE.to_owned(), "string".to_owned(), "a compact row, as JSON".to_owned())],
        Some(_) => typed::columns(table),
    }
}

/// The class that reads the rows.
pub(super) fn serde_class(table: &Table) -> &'static str {
    let of_rows = table.serde.map_or(LINES, super::Serde::class);
    if table.is_parquet() { PARQUET } else { of_rows }
}

fn properties(table: &Table, data: &str) -> Vec<(String, String)> {
    let mut all = vec![("projection.enabled".to_owned(), "true".to_owned())];
    if table.is_parquet() || table.serde.is_some() {
        let kind = if table.is_parquet() { "parquet" } else { "json" };
        all.insert(0, ("classification".to_owned(), kind.to_owned()));
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
