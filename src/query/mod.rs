//! The uploaded parts as a table: of Parquet's columns, which hold the original logs, or of lines, with a view over it that gives the
//! original logs back. For Athena, Trino, DuckDB, Spark and Glue.
//!
//! Pure: the text depends only on the configuration, the flags and the hours that exist. Invariant: no row that
//! [`crate::record::row`] writes makes a query fail, and each expression of the view is the inverse that it uses, with the original
//! (`<field>_raw`) before the compact value. The tests run the texts over real parts.

mod athena;
mod column;
mod columnar;
mod dialect;
mod duckdb;
mod glue;
mod names;
mod projection;
mod spark;
mod trino;
mod typed;

use std::collections::BTreeSet;
use std::fmt;

pub(crate) use column::{Column, check_name};
pub(crate) use duckdb::Endpoint;
pub(crate) use projection::{Span, Years};

use crate::config::{Destination, LoadColumn};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::Encoding;
use crate::hour::key::{Field, Layout, Piece};
use crate::record::Dating;
use crate::record::row::Codecs;

/// How parts are divided for readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// `year`, `month`, `day` and `hour`, integers.
    Hour,
    /// `dt`: the folders of an hour as one text.
    Dt,
}

/// Athena's reader of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serde {
    /// Hive's.
    Hive,
    /// OpenX's.
    OpenX,
}

impl Serde {
    const fn class(self) -> &'static str {
        match self {
            Self::Hive => "org.apache.hive.hcatalog.data.JsonSerDe",
            Self::OpenX => "org.openx.data.jsonserde.JsonSerDe",
        }
    }
}

/// The table, for all engines.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Its database; `None`: the session's.
    pub(crate) database: Option<String>,
    /// The name of what has the logs. A table under it is this and [`Table::LINE`], [`Table::COMPACT`] or [`Table::PART`].
    pub(crate) name: String,
    /// Where the parts are.
    pub(crate) place: Destination,
    /// How their folders are spelled, and of which format they are.
    pub(crate) layout: Layout,
    /// How they are divided.
    pub(crate) keys: Keys,
    /// Athena's reader of JSON into typed columns; `None`: a table of lines.
    pub(crate) serde: Option<Serde>,
    /// The fields of the logs.
    pub(crate) columns: Vec<Column>,
    /// How records are dated.
    pub(crate) dating: Dating,
    /// The zone of the hours, and of a time without one.
    pub zone: String,
    /// By how many hours that zone is ahead of UTC at most.
    pub(crate) ahead: u8,
    /// What projection looks for.
    pub(crate) span: Span,
}

impl Table {
    /// What the name of the table of lines has after the view's.
    pub(crate) const LINE: &'static str = "_line";
    /// The same of a table of typed columns.
    pub(crate) const COMPACT: &'static str = "_compact";
    /// The same of Spark's table of Parquet parts, which knows no partition keys.
    pub(crate) const PART: &'static str = "_part";

    /// The known columns of the origin's records and the configured ones, of rows with these codecs; those `given` replace them or are
    /// added. Of another source's records none is known.
    pub(crate) fn columns(
        dating: &Dating,
        codecs: &Codecs,
        configured: &[LoadColumn],
        given: &[Column],
        keys: Keys,
    ) -> Result<Vec<Column>> {
        let mut columns = if dating.is_at_in_date() { column::known() } else { Vec::new() };
        columns.extend(configured.iter().map(Column::configured));
        for column in given {
            column.check(keys, codecs)?;
            match columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) => *known = column.clone(),
                None => columns.push(column.clone()),
            }
        }
        Ok(columns.into_iter().map(|column| column.in_rows_of(codecs)).collect())
    }

    /// Table and view for Athena.
    pub(crate) fn athena(&self) -> Result<String> {
        athena::print(self)
    }

    /// Table and view for Trino.
    pub(crate) fn trino(&self) -> Result<String> {
        trino::print(self)
    }

    /// Views for Spark.
    ///
    /// # Errors
    /// `Usage`: Spark cannot read from the place.
    pub(crate) fn spark(&self) -> Result<String> {
        spark::print(self)
    }

    /// Views for DuckDB.
    ///
    /// # Errors
    /// `Usage`: DuckDB cannot read from the place.
    pub(crate) fn duckdb(&self, s3: Option<&Endpoint>) -> Result<String> {
        duckdb::print(self, s3)
    }

    /// Table and the partitions of these hours for Glue's API.
    pub(crate) fn glue(&self, hours: &BTreeSet<Hour>) -> Result<serde_json::Value> {
        glue::input(self, hours)
    }

    fn is_parquet(&self) -> bool {
        self.layout.format().encoding == Encoding::Parquet
    }

    fn table_name(&self) -> String {
        let suffix = match self.serde {
            _ if self.is_parquet() => "",
            Some(_) => Self::COMPACT,
            None => Self::LINE,
        };
        format!("{}{suffix}", self.name)
    }

    /// The Hive type of the partition keys.
    const fn key_type(&self) -> &'static str {
        match self.keys {
            Keys::Hour => "int",
            Keys::Dt => "string",
        }
    }

    /// What a reader of the statements for Athena and Trino should know.
    fn comments(&self, data: &str) -> String {
        let (kind, about) = match self.serde {
            _ if self.is_parquet() => ("table", PARQUET),
            Some(serde) => ("view", typed::comment(serde)),
            None => ("view", LINES),
        };
        let mut lines = vec![format!("The parts that etl puts into {data}, as the {kind} {}.", self.name)];
        lines.extend(about.iter().map(|line| (*line).to_owned()));
        lines.extend([
            String::new(),
            "Partition projection computes the folders of a query from its conditions, so an hour can be queried as soon as".into(),
            "it is uploaded: no crawler, no MSCK REPAIR, no ALTER TABLE. An hour that is not there is no rows and no error:".into(),
            "`etl verify` is what tells whether all are there.".into(),
        ]);
        lines.extend(self.span.comments(self.keys));
        lines.push(format!("As in WHERE {}.", projection::example(self)));
        let line = |line: String| if line.is_empty() { "--\n".to_owned() } else { format!("-- {line}\n") };
        lines.into_iter().map(line).collect()
    }

    /// `s3://bucket/prefix/data/`.
    fn s3_data(&self) -> Result<String> {
        match &self.place {
            Destination::S3 { bucket, prefix } => Ok(format!("s3://{bucket}/{}", self.layout.data_prefix(prefix))),
            Destination::Files(path) => {
                let what = format!("Athena, Trino and Glue read from S3, not from the folder {}", path.display());
                let hint = "name the place in S3 with --location s3://bucket/prefix/, or use --for duckdb";
                Err(Error::new(ErrorKind::Usage, what).hint(hint))
            }
        }
    }

    /// The names of the partition keys.
    const fn key_names(&self) -> &'static [&'static str] {
        match self.keys {
            Keys::Hour => &["year", "month", "day", "hour"],
            Keys::Dt => &["dt"],
        }
    }
}

/// What the view over lines holds.
const LINES: &[&str] = &[
    "The table under it has a row's whole line as one text, which nothing can break. In the view a text column holds",
    "a text as it is and any other value but null as its JSON; a column of another type holds values of just that type,",
    "and NULL for the rest. line has the row with all of it.",
];

/// What a table of Parquet parts holds.
const PARQUET: &[&str] = &[
    "A text column holds a text as it is and any other value but null as its JSON; a column of another type holds values of",
    "just that type, and NULL for the rest. extra has, as JSON, what has no column or does not fit one, and raw the whole",
    "record where all of these do not give it back.",
];

/// The layout with its fields and literals spelled as these say.
fn spell(layout: &Layout, field: impl Fn(Field) -> String, literal: impl Fn(&str) -> String) -> String {
    let pieces = layout.pieces().iter();
    pieces
        .map(|piece| match piece {
            Piece::Literal(text) => literal(text),
            Piece::Field(which) => field(*which),
        })
        .collect()
}

/// A text in single quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests;
