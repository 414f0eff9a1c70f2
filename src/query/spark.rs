//! Two views for Spark: the lines, straight from the parts, and the original logs. Pure.

use std::fmt::Write as _;

use super::dialect::{self, LINE, Spark, quoted};
use super::{Table, names};
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
    let from = of(&table.table_name());
    let keys: Vec<String> =
        names::keys(table, |pattern| format!("regexp_extract(_metadata.file_path, {}, 1)", quoted(&pattern)));
    let parts = format!("{data}{}/part-*{}", names::folders(table), table.layout.format().suffix());
    let rows = format!("SELECT\n  value AS {LINE},\n  {}\nFROM text.`{parts}`", keys.join(",\n  "));
    let _ = writeln!(text, "CREATE OR REPLACE {kind} {from} AS\n{rows};\n");
    let query = dialect::query(table, &Spark, &from);
    let _ = writeln!(text, "CREATE OR REPLACE {kind} {} AS\n{query};", of(&table.name));
    Ok(text)
}
