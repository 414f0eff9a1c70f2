//! The table for Trino's Hive connector, with partition projection, and the view over it. Pure.

use std::fmt::Write as _;

use super::dialect::{self, LINE, Trino};
use super::{Keys, Quoted, Table, projection};
use crate::error::Result;

pub(super) fn print(table: &Table) -> Result<String> {
    let data = table.s3_data()?;
    let mut text = table.comments(&data);
    text.push_str("-- The catalog needs hive.partition-projection-enabled=true.\n");
    let of = |name: &str| {
        let schema = table.database.as_ref().map(|schema| format!("\"{schema}\"."));
        format!("{}\"{name}\"", schema.unwrap_or_default())
    };
    let from = of(&table.table_name());
    let mut columns = vec![format!("  {LINE} varchar")];
    columns.extend(projection::keys(table).iter().map(|key| define(key, table.keys)));
    let keys: Vec<String> = table.key_names().iter().map(|key| Quoted(key).to_string()).collect();
    let properties = [
        "  format = 'TEXTFILE'".to_owned(),
        format!("  external_location = {}", Quoted(&data)),
        format!("  partitioned_by = ARRAY[{}]", keys.join(", ")),
        "  partition_projection_enabled = true".to_owned(),
        format!("  partition_projection_location_template = {}", Quoted(&projection::template(table, &data))),
    ];
    let (columns, properties) = (columns.join(",\n"), properties.join(",\n"));
    let _ = writeln!(text, "CREATE TABLE IF NOT EXISTS {from} (\n{columns}\n)\nWITH (\n{properties}\n);\n");
    let query = dialect::query(table, &Trino { athena: false }, &from);
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", of(&table.name));
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
