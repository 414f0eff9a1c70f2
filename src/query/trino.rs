//! The table for Trino's Hive connector, with partition projection, and the view over it, where it needs one. Pure.

use std::fmt::Write as _;

use super::dialect::{self, Dialect as _, LINE, Trino};
use super::{Keys, Quoted, Table, parquet, projection};
use crate::error::Result;

/// A column's precision must be the catalog's.
const PRECISION: &str = "\
-- event_time is rounded to milliseconds. Where the catalog has hive.timestamp-precision=MICROSECONDS, write timestamp(6) for
-- timestamp, and it is what is stored.
";

pub(super) fn print(table: &Table) -> Result<String> {
    let data = table.s3_data()?;
    let mut text = table.comments(&data);
    text.push_str("-- The catalog needs hive.partition-projection-enabled=true.\n");
    let of = |name: &str| {
        let schema = table.database.as_ref().map(|schema| format!("\"{schema}\"."));
        format!("{}\"{name}\"", schema.unwrap_or_default())
    };
    let from = of(&table.table_name());
    let engine = Trino { athena: false };
    let mut columns = if table.is_parquet() {
        text.push_str(PRECISION);
        let of = parquet::columns(table);
        of.iter().map(|column| format!("  {} {}", engine.ident(&column.name), column.ty.trino())).collect()
    } else {
        vec![format!("  {LINE} varchar")]
    };
    columns.extend(projection::keys(table).iter().map(|key| define(key, table.keys)));
    let keys: Vec<String> = table.key_names().iter().map(|key| Quoted(key).to_string()).collect();
    let properties = [
        format!("  format = '{}'", if table.is_parquet() { "PARQUET" } else { "TEXTFILE" }),
        format!("  external_location = {}", Quoted(&data)),
        format!("  partitioned_by = ARRAY[{}]", keys.join(", ")),
        "  partition_projection_enabled = true".to_owned(),
        format!("  partition_projection_location_template = {}", Quoted(&projection::template(table, &data))),
    ];
    let (columns, properties) = (columns.join(",\n"), properties.join(",\n"));
    let _ = writeln!(text, "CREATE TABLE IF NOT EXISTS {from} (\n{columns}\n)\nWITH (\n{properties}\n);\n");
    if !table.is_parquet() {
        let query = dialect::query(table, &engine, &from);
        let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", of(&table.name));
    }
    Ok(text)
}

fn define(key: &projection::Projected, keys: Keys) -> String {
    let ty = if keys == Keys::Hour { "integer" } else { "varchar" };
    let [from, to] = key.range.each_ref().map(|value| Quoted(value).to_string());
    let mut properties = vec![
        format!("partition_projection_type = {}", Quoted(key.kind)),
        format!("partition_projection_range = ARRAY[{from}, {to}]"),
    ];
    properties.extend(key.digits.map(|digits| format!("partition_projection_digits = {digits}")));
    if let Some(format) = &key.format {
        properties.push(format!("partition_projection_format = {}", Quoted(format)));
        properties.push("partition_projection_interval = 1".to_owned());
        properties.push("partition_projection_interval_unit = 'HOURS'".to_owned());
    }
    format!("  {} {ty} WITH (\n    {}\n  )", key.name, properties.join(",\n    "))
}
