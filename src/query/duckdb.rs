//! Views for DuckDB: the lines, straight from the parts, and the original logs over them; of Parquet parts the latter alone. Pure.

use std::fmt::Write as _;

use super::column::{Column, TIMESTAMP};
use super::dialect::{self, Dialect as _, DuckDb, LINE};
use super::{Quoted, Table, names, parquet};
use crate::config::Destination;
use crate::error::Result;

/// The address of S3, for DuckDB's secret.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// The URL of an S3-compatible store; `None`: AWS.
    pub(crate) url: Option<String>,
    /// The region.
    pub region: String,
}

/// DuckDB sets twice this aside for each thread, so it is not the 64 MiB that a row may have.
const LONGEST: u32 = 16 << 20;

pub(super) fn print(table: &Table, s3: Option<&Endpoint>) -> Result<String> {
    let data = data(table)?;
    let mut text =
        format!("-- The original logs as the view {}, from the parts that etl puts into {data}\n", table.name);
    text.push_str(if table.is_parquet() { INSTANTS } else { LONG_ROWS });
    if let Some(s3) = s3 {
        text.push_str(&secret(s3));
    }
    if let Some(database) = &table.database {
        let _ = writeln!(text, "CREATE SCHEMA IF NOT EXISTS \"{database}\";");
    }
    let name = |name: &str| {
        let schema = table.database.as_ref().map(|schema| format!("\"{schema}\"."));
        format!("{}\"{name}\"", schema.unwrap_or_default())
    };
    if table.is_parquet() {
        let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{};", name(&table.name), columns(table, &data));
        return Ok(text);
    }
    let from = name(&table.table_name());
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {from} AS\n{};\n", lines(table, &data));
    let query = dialect::query(table, &DuckDb, &from);
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", name(&table.name));
    Ok(text)
}

const LONG_ROWS: &str =
    "-- A row longer than maximum_object_size is an error: a greater one takes twice its size a thread.\n";
const INSTANTS: &str =
    "-- Times are instants: SET TimeZone = 'UTC' shows them, and reads what they are compared with, in UTC.\n";

/// The place of the parts, with their folder at its end.
fn data(table: &Table) -> Result<String> {
    let place = match &table.place {
        Destination::S3 { bucket, prefix } => format!("s3://{bucket}/{}", table.layout.data_prefix(prefix)),
        Destination::Files(path) => format!("{}/{}", path.display(), table.layout.data_prefix("")),
    };
    names::check(&place, "DuckDB", "")?;
    Ok(place)
}

/// How to give DuckDB a secret; none is printed.
fn secret(s3: &Endpoint) -> String {
    let mut options = format!("TYPE s3, PROVIDER credential_chain, REGION {}", Quoted(&s3.region));
    if let Some(url) = &s3.url {
        let (scheme, host) = url.split_once("://").unwrap_or(("https", url));
        let tls = scheme == "https";
        let _ = write!(options, ", ENDPOINT {}, URL_STYLE 'path', USE_SSL {tls}", Quoted(host));
    }
    format!(
        "-- DuckDB needs a secret to read it, before the views are made. With your AWS credentials:\n\
         --   CREATE OR REPLACE SECRET logs ({options});\n"
    )
}

/// DuckDB evaluates a condition on the keys before it opens a file.
fn lines(table: &Table, data: &str) -> String {
    format!(
        "SELECT\n  json AS {LINE},\n  {}\nFROM read_ndjson_objects(\n  {},\n  compression = '{}', filename = true, \
         hive_partitioning = false, maximum_object_size = {LONGEST}\n)",
        keys(table).join(",\n  "),
        Quoted(&names::parts(table, data)),
        table.layout.format().compression.name(),
    )
}

fn keys(table: &Table) -> Vec<String> {
    names::keys(table, |pattern| format!("regexp_extract(filename, {}, 1)", Quoted(&pattern)))
}

/// With the columns said, no part is opened to learn them, and one from before a column was added has NULL there.
fn columns(table: &Table, data: &str) -> String {
    let all = parquet::columns(table);
    let mut selected: Vec<String> = all.iter().map(|column| DuckDb.ident(&column.name)).collect();
    selected.extend(keys(table));
    let schema: Vec<String> = all.iter().map(define).collect();
    format!(
        "SELECT\n  {}\nFROM read_parquet(\n  {},\n  filename = true, hive_partitioning = false,\n  schema = MAP {{\n    {}\n  }}\n)",
        selected.join(",\n  "),
        Quoted(&names::parts(table, data)),
        schema.join(",\n    "),
    )
}

fn define(column: &Column) -> String {
    let name = Quoted(&column.name);
    let ty = if column.ty == TIMESTAMP { "TIMESTAMP WITH TIME ZONE".to_owned() } else { column.ty.duckdb() };
    format!("{name}: {{name: {name}, type: {}, default_value: NULL}}", Quoted(&ty))
}
