//! The uploaded parts as a table, and a view over it that gives the original logs back: for Athena, DuckDB and Glue.
//!
//! Pure: the text depends only on the configuration and the flags (Glue's partitions also on the hours that exist). Invariant: the
//! columns are those of the rows that [`crate::record::row`] writes, and each expression of the view is the inverse that it uses, with
//! the original (`<field>_raw`) before the compact value. The tests run the texts over real parts.

mod athena;
mod column;
mod duckdb;
mod glue;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

pub(crate) use column::{Column, check_name};
pub(crate) use duckdb::Endpoint;

use crate::config::Destination;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::{Field, Layout, Piece, data_prefix};

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

/// The years that projection looks for, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Years {
    from: u16,
    to: u16,
}

impl FromStr for Years {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Usage, format!("{text:?} are no years; write them as in 2020-2039"));
        let year = |text: &str| text.parse::<u16>().ok().filter(|year| (1000..=9999).contains(year));
        let (from, to) = text.split_once('-').and_then(|(from, to)| year(from).zip(year(to))).ok_or_else(wrong)?;
        if from <= to { Ok(Self { from, to }) } else { Err(wrong()) }
    }
}

/// The table, for all engines.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Its database; `None`: the session's.
    pub(crate) database: Option<String>,
    /// The name of the view. The table's name is this and [`Table::COMPACT`].
    pub(crate) name: String,
    /// Where the parts are.
    pub(crate) place: Destination,
    /// How their folders are spelled.
    pub(crate) layout: Layout,
    /// How they are divided.
    pub(crate) keys: Keys,
    /// Athena's reader of JSON.
    pub(crate) serde: Serde,
    /// The fields of the logs.
    pub(crate) columns: Vec<Column>,
    /// The codes of `url`.
    pub(crate) url: BTreeMap<String, i64>,
    /// The codes of `method`.
    pub(crate) method: BTreeMap<String, i64>,
    /// The zone of the hours, and of an `inDate` without one.
    pub zone: String,
    /// By how many hours that zone is ahead of UTC at most.
    pub(crate) ahead: u8,
    /// The years that projection looks for.
    pub(crate) years: Years,
}

impl Table {
    /// What the table's name has after the view's.
    pub(crate) const COMPACT: &'static str = "_compact";

    /// The known columns; those `given` replace them or are added.
    pub(crate) fn columns(given: &[Column], keys: Keys) -> Result<Vec<Column>> {
        let mut columns = column::known();
        for column in given {
            column.check(keys)?;
            match columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) => *known = column.clone(),
                None => columns.push(column.clone()),
            }
        }
        Ok(columns)
    }

    /// Table and view for Athena.
    pub(crate) fn athena(&self) -> Result<String> {
        athena::print(self)
    }

    /// A view for DuckDB.
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

    fn compact_name(&self) -> String {
        format!("{}{}", self.name, Self::COMPACT)
    }

    /// `s3://bucket/prefix/data/`.
    fn s3_data(&self) -> Result<String> {
        match &self.place {
            Destination::S3 { bucket, prefix } => Ok(format!("s3://{bucket}/{}", data_prefix(prefix))),
            Destination::Files(path) => {
                let what = format!("Athena and Glue read from S3, not from the folder {}", path.display());
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
