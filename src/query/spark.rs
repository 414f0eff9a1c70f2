//! For Spark: a view of the lines, straight from the parts, or a table of Parquet parts, and over it the view of the original logs. Pure.

use std::fmt::Write as _;

use super::dialect::{self, Dialect as _, LINE, Spark, quoted};
use super::{Table, names, parquet};
use crate::config::Destination;
use crate::error::Result;

pub(super) fn print(table: &Table) -> Result<String> {
    let data = match &table.place {
        Destination::S3 { bucket, prefix } => format!("s3a://{bucket}/{}", table.layout.data_prefix(prefix)),
        Destination::Files(path) => format!("file:{}/{}", path.display(), table.layout.data_prefix("")),
    };
    names::check(&data, "Spark", "{},`")?;
    let mut text =
        format!("-- The original logs as the view {}, from the parts that etl puts into {data}\n", table.name);
    text.push_str(
        "-- A condition on the keys is one on the parts' names: Spark lists all of them and opens those that fit.\n",
    );
    // Only a database keeps views.
    let kind = if table.database.is_some() { "VIEW" } else { "TEMPORARY VIEW" };
    let of = |name: &str| {
        let database = table.database.as_ref().map(|database| format!("`{database}`."));
        format!("{}`{name}`", database.unwrap_or_default())
    };
    if let Some(database) = &table.database {
        let _ = writeln!(text, "CREATE DATABASE IF NOT EXISTS `{database}`;");
    }
    let parts = names::parts(table, &data);
    let keys = names::keys(table, |pattern| format!("regexp_extract(_metadata.file_path, {}, 1)", quoted(&pattern)))
        .join(",\n  ");
    let query = if table.is_parquet() {
        let from = of(&format!("{}{}", table.name, Table::PART));
        text.push_str(&of_parquet(table, &from, &parts));
        format!("SELECT\n  *,\n  {keys}\nFROM {from}")
    } else {
        let from = of(&table.table_name());
        let rows = format!("SELECT\n  value AS {LINE},\n  {keys}\nFROM text.`{parts}`");
        let _ = writeln!(text, "CREATE OR REPLACE {kind} {from} AS\n{rows};\n");
        dialect::query(table, &Spark, &from)
    };
    let _ = writeln!(text, "CREATE OR REPLACE {kind} {} AS\n{query};", of(&table.name));
    Ok(text)
}

/// The table of the parts. A table and no view: only a table both takes the columns as they are said here and knows its files' names.
fn of_parquet(table: &Table, name: &str, parts: &str) -> String {
    let columns = parquet::columns(table);
    let columns: Vec<String> =
        columns.iter().map(|column| format!("  {} {}", Spark.ident(&column.name), column.ty.hive())).collect();
    format!(
        "-- In a session that has read it, REFRESH TABLE {name} finds new parts. To change its columns: DROP TABLE {name}, which\n\
         -- removes no part, and print it again.\n\
         CREATE TABLE IF NOT EXISTS {name} (\n{}\n)\nUSING parquet\nOPTIONS (path {});\n\n",
        columns.join(",\n"),
        quoted(parts)
    )
}
