//! Two views for DuckDB: the lines, straight from the parts, and the original logs. Pure.

use std::fmt::Write as _;

use super::dialect::{self, DuckDb, LINE};
use super::{Quoted, Table, names};
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
    text.push_str(
        "-- A row longer than maximum_object_size is an error: a greater one takes twice its size a thread.\n",
    );
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
    let from = name(&table.table_name());
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {from} AS\n{};\n", lines(table, &data));
    let query = dialect::query(table, &DuckDb, &from);
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", name(&table.name));
    Ok(text)
}

/// The place of the parts, with `data/` at its end.
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
    let keys = names::keys(table, |pattern| format!("regexp_extract(filename, {}, 1)", Quoted(&pattern)));
    format!(
        "SELECT\n  json AS {LINE},\n  {}\nFROM read_ndjson_objects(\n  {},\n  compression = '{}', filename = true, \
         hive_partitioning = false, maximum_object_size = {LONGEST}\n)",
        keys.join(",\n  "),
        Quoted(&format!("{data}{}/part-*{}", names::folders(table), table.layout.format().suffix())),
        table.layout.format().compression.name(),
    )
}
