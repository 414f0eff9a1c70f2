//! `etl ddl`: its flags and examples.

use clap::{Args, ValueEnum};

use crate::ddl::{Column, Years};
use crate::hour::Hour;

pub(super) const EXAMPLES: &str = "\
Examples:
  etl ddl                                    table and view for Athena; nothing to refresh, ever
  etl ddl --keys dt                          one partition key instead of four: simple ranges
  etl ddl --for duckdb                       the same for DuckDB, over S3 or a folder
  etl ddl --for duckdb --location lake       of another place than the configured one
  etl ddl --column session:string --column items:array<bigint>
  etl ddl --glue --since 2023-03-10T00       table and partitions for Glue's API, for Spark or Redshift Spectrum

Without state: it reads the configuration, and with --glue it lists the store.";

/// `etl ddl`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DdlArgs {
    /// Who will read it [default: athena]
    #[arg(long = "for", value_name = "ENGINE", conflicts_with = "glue")]
    pub engine: Option<Engine>,
    /// Partition keys: hour = year, month, day and hour as numbers; dt = one text
    #[arg(long, value_name = "KEYS", default_value = "hour")]
    pub keys: KeysArg,
    /// Who reads the JSON in Athena and Glue
    #[arg(long, value_name = "SERDE", default_value = "hive")]
    pub serde: SerdeArg,
    /// The view with the original logs; the table below it is NAME_compact
    #[arg(long, value_name = "NAME", default_value = "logs", value_parser = name)]
    pub table: String,
    /// Database of both [default: the session's; with --glue "default"]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub database: Option<String>,
    /// Where the objects are: s3://bucket/prefix/ or a folder [default: the configured destination]
    #[arg(long, value_name = "PLACE")]
    pub location: Option<String>,
    /// Another field of the logs, or another type for a known one, as in session:string; repeatable
    #[arg(long = "column", value_name = "NAME:TYPE")]
    pub columns: Vec<Column>,
    /// Years that projection looks for
    #[arg(long, value_name = "FROM-TO", default_value = "2020-2039")]
    pub years: Years,
    /// Print the table and the partitions that there are as JSON input for Glue's API
    #[arg(long)]
    pub glue: bool,
    /// With --glue: partitions from this hour on
    #[arg(long, value_name = "HOUR", value_parser = super::hour, requires = "glue")]
    pub since: Option<Hour>,
    /// With --glue: partitions up to this hour, it included
    #[arg(long, value_name = "HOUR", value_parser = super::hour, requires = "glue")]
    pub until: Option<Hour>,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// AWS Athena.
    Athena,
    /// DuckDB.
    Duckdb,
}

/// `--keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeysArg {
    /// Four integers.
    Hour,
    /// One text.
    Dt,
}

/// `--serde`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SerdeArg {
    /// Hive's JSON SerDe.
    Hive,
    /// OpenX's.
    Openx,
}

/// A name that every engine takes without quotes.
fn name(text: &str) -> Result<String, String> {
    crate::ddl::check_name(text).map(|()| text.to_ascii_lowercase()).map_err(|error| error.to_string())
}
