//! Two views for DuckDB: the compact rows, straight from the parts, and the original logs.

use std::fmt::Write as _;

use super::view::{self, Dialect};
use super::{Keys, Quoted, Table, column, spell};
use crate::config::Destination;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::{Field, data_prefix};

/// The address of S3, for DuckDB's secret.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// The URL of an S3-compatible store; `None`: AWS.
    pub(crate) url: Option<String>,
    /// The region.
    pub region: String,
}

/// Base64url without its padding, which DuckDB's base64 wants.
const MACRO: &str = "CREATE OR REPLACE MACRO from_base64url(t) AS
  from_base64(replace(replace(t, '-', '+'), '_', '/') || repeat('=', (4 - length(t) % 4) % 4));
";

pub(super) fn print(table: &Table, s3: Option<&Endpoint>) -> Result<String> {
    let data = data(table)?;
    let mut text =
        format!("-- The original logs as the view {}, from the parts that etl puts into {data}\n", table.name);
    if let Some(s3) = s3 {
        text.push_str(&secret(s3));
    }
    if let Some(database) = &table.database {
        let _ = writeln!(text, "CREATE SCHEMA IF NOT EXISTS \"{database}\";");
    }
    text.push_str(MACRO);
    let name = |name: &str| {
        let schema = table.database.as_ref().map(|schema| format!("\"{schema}\"."));
        format!("{}\"{name}\"", schema.unwrap_or_default())
    };
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{};\n", name(&table.compact_name()), rows(table, &data));
    let query = view::query(table, Dialect::DuckDb, &name(&table.compact_name()));
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", name(&table.name));
    Ok(text)
}

/// The place of the parts, with `data/` at its end.
fn data(table: &Table) -> Result<String> {
    let place = match &table.place {
        Destination::S3 { bucket, prefix } => format!("s3://{bucket}/{}", data_prefix(prefix)),
        Destination::Files(path) => format!("{}/{}", path.display(), data_prefix("")),
    };
    if place.contains(['*', '?', '[', ']', '\\', '\n']) {
        let what = format!("DuckDB would take {place} for a pattern of names");
        return Err(
            Error::new(ErrorKind::Usage, what).hint("give the folder another name, or a link to it, with --location")
        );
    }
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

fn rows(table: &Table, data: &str) -> String {
    let mut columns = Vec::new();
    for column in &table.columns {
        columns.push(format!("\"{}\": {}", column.stored(), Quoted(&column.ty.duckdb())));
        if column.is_compact() {
            columns.push(format!("\"{}_raw\": {}", column.stored(), Quoted(&column::STRING.duckdb())));
        }
    }
    let keys: Vec<String> = keys(table).iter().map(|(name, expression)| format!("{expression} AS {name}")).collect();
    format!(
        "SELECT\n  * EXCLUDE (filename),\n  {}\nFROM read_json(\n  {},\n  format = 'newline_delimited', \
         compression = 'gzip', filename = true, hive_partitioning = false,\n  columns = {{\n    {}\n  }}\n)",
        keys.join(",\n  "),
        Quoted(&format!("{data}{}/part-*.ndjson.gz", folders(table))),
        columns.join(",\n    ")
    )
}

/// The partition keys, from a part's name. DuckDB evaluates a condition on them before it opens a file.
fn keys(table: &Table) -> Vec<(&'static str, String)> {
    let escaped = |text: &str| text.replace('.', "[.]");
    let extract = |pattern: &str| format!("regexp_extract(filename, '/data/{pattern}/part-[^/]*$', 1)");
    match table.keys {
        Keys::Dt => {
            let pattern = spell(&table.layout, |field| format!("[0-9]{{{}}}", field.width()), escaped);
            vec![("dt", extract(&format!("({pattern})")))]
        }
        Keys::Hour => {
            let of = |field: Field| {
                let digits = |other: Field| {
                    let digits = format!("[0-9]{{{}}}", other.width());
                    if other == field { format!("({digits})") } else { digits }
                };
                let number = format!("CAST({} AS INTEGER)", extract(&spell(&table.layout, digits, escaped)));
                (field.name(), number)
            };
            Field::ALL.map(of).to_vec()
        }
    }
}

/// The layout as a pattern of names. Two stars in a row would cross folders.
fn folders(table: &Table) -> String {
    let mut pattern = spell(&table.layout, |_| "*".to_owned(), str::to_owned);
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    pattern
}
