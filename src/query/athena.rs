//! The table for Athena, with partition projection, and the view over it.
//!
//! Table properties that contain a single quote are in double quotes: in Hive's grammar two single quotes are not an escaped one.

use std::fmt::Write as _;

use super::view::{self, Dialect};
use super::{Keys, Quoted, Table, column, spell};
use crate::error::Result;
use crate::hour::Hour;
use crate::hour::key::Field;

pub(super) fn print(table: &Table) -> Result<String> {
    let data = table.s3_data()?;
    let mut text = comments(table, &data);
    let name = |name: &str, quote: char| {
        let database = table.database.as_ref().map(|database| format!("{quote}{database}{quote}."));
        format!("{}{quote}{name}{quote}", database.unwrap_or_default())
    };
    let _ = writeln!(text, "CREATE EXTERNAL TABLE IF NOT EXISTS {} (", name(&table.compact_name(), '`'));
    let columns: Vec<String> = columns(table).iter().map(|(name, ty, comment)| define(name, ty, comment)).collect();
    let _ = writeln!(text, "{}\n)", columns.join(",\n"));
    let keys: Vec<String> = table.key_names().iter().map(|key| format!("`{key}` {}", key_type(table))).collect();
    let _ = writeln!(text, "COMMENT 'Compact rows made by etl; the view {} gives the original logs back'", table.name);
    let _ = writeln!(text, "PARTITIONED BY ({})", keys.join(", "));
    let _ = writeln!(text, "ROW FORMAT SERDE '{}'\nLOCATION '{data}'", table.serde.class());
    let properties: Vec<String> = properties(table, &data)
        .iter()
        .map(|(key, value)| match value.contains('\'') {
            true => format!("  '{key}' = \"{value}\""),
            false => format!("  '{key}' = '{value}'"),
        })
        .collect();
    let _ = writeln!(text, "TBLPROPERTIES (\n{}\n);\n", properties.join(",\n"));
    let query = view::query(table, Dialect::Athena, &name(&table.compact_name(), '"'));
    let _ = writeln!(text, "CREATE OR REPLACE VIEW {} AS\n{query};", name(&table.name, '"'));
    Ok(text)
}

fn define(name: &str, ty: &str, comment: &str) -> String {
    let comment = if comment.is_empty() { String::new() } else { format!(" COMMENT {}", Quoted(comment)) };
    format!("  `{name}` {ty}{comment}")
}

/// Name, type and comment of every column of the rows.
pub(super) fn columns(table: &Table) -> Vec<(String, String, String)> {
    let mut columns = Vec::new();
    for column in &table.columns {
        let name = column.stored().to_ascii_lowercase();
        columns.push((name.clone(), column.ty.hive(), column.comment.to_owned()));
        if column.is_compact() {
            let comment = format!("the original, where {name} does not give it back");
            columns.push((format!("{name}_raw"), column::STRING.hive(), comment));
        }
    }
    columns
}

/// The Hive type of the partition keys.
pub(super) const fn key_type(table: &Table) -> &'static str {
    match table.keys {
        Keys::Hour => "int",
        Keys::Dt => "string",
    }
}

fn comments(table: &Table, data: &str) -> String {
    let mut lines = vec![
        format!("The parts that etl puts into {data}: a table of their compact rows, and a view that gives"),
        format!("the original logs back. Query the view, {}. Run the two statements one after the other.", table.name),
        String::new(),
        "Partition projection computes the folders of a query from its conditions, so an hour can be queried as soon as".into(),
        "it is uploaded: no crawler, no MSCK REPAIR, no ALTER TABLE. An hour that is not there is no rows and no error:".into(),
        "`etl verify` is what tells whether all are there.".into(),
        String::new(),
    ];
    match table.keys {
        Keys::Hour => lines.extend([
            "Give a condition on year, month and day where you can: without one Athena looks for each hour of all years".into(),
            "in projection.year.range. `etl ddl --keys dt` has one key instead, whose range ends now.".into(),
        ]),
        Keys::Dt => {
            lines.push(format!("Give a condition on dt where you can, as in dt = {}", Quoted(&folders(table, 2023, 3, 10, 1))));
            lines.push(if in_order(table) {
                "or dt BETWEEN … AND …: its texts are in the order of time.".to_owned()
            } else {
                "or dt IN (…): with this layout its texts are not in the order of time.".to_owned()
            });
        }
    }
    lines.push(String::new());
    lines.extend(serde_comment(table));
    let line = |line: String| if line.is_empty() { "--\n".to_owned() } else { format!("-- {line}\n") };
    lines.into_iter().map(line).collect()
}

fn serde_comment(table: &Table) -> [String; 2] {
    match table.serde {
        super::Serde::Hive => [
            "Hive's JSON SerDe: it takes a row as it is or fails, and ignores fields without a column. A field that is".into(),
            "now a number and now a text is best declared a string: --column NAME:string.".into(),
        ],
        super::Serde::OpenX => [
            "OpenX's JSON SerDe: it also reads lists and objects into a string. AWS warns that it can give other results".into(),
            "from query to query; Hive's (--serde hive) does not.".into(),
        ],
    }
}

fn properties(table: &Table, data: &str) -> Vec<(String, String)> {
    let mut all = vec![("classification".to_owned(), "json".to_owned()), ("projection.enabled".into(), "true".into())];
    let mut of = |key: &str, what: &str, value: String| all.push((format!("projection.{key}.{what}"), value));
    let template = match table.keys {
        Keys::Hour => {
            for field in Field::ALL {
                of(field.name(), "type", "integer".to_owned());
                let (from, to) = match field {
                    Field::Year => (table.years.from, table.years.to),
                    Field::Month => (1, 12),
                    Field::Day => (1, 31),
                    Field::Hour => (0, 23),
                };
                of(field.name(), "range", format!("{from},{to}"));
                of(field.name(), "digits", field.width().to_string());
            }
            spell(&table.layout, |field| format!("${{{}}}", field.name()), str::to_owned)
        }
        Keys::Dt => {
            of("dt", "type", "date".to_owned());
            of("dt", "format", spell(&table.layout, |field| java(field).to_owned(), |text| format!("'{text}'")));
            let ahead = if table.ahead == 0 { String::new() } else { format!("+{}HOURS", table.ahead) };
            of("dt", "range", format!("{},NOW{ahead}", folders(table, table.years.from, 1, 1, 0)));
            of("dt", "interval", "1".to_owned());
            of("dt", "interval.unit", "HOURS".to_owned());
            "${dt}".to_owned()
        }
    };
    all.push(("storage.location.template".to_owned(), format!("{data}{template}/")));
    all
}

const fn java(field: Field) -> &'static str {
    match field {
        Field::Year => "yyyy",
        Field::Month => "MM",
        Field::Day => "dd",
        Field::Hour => "HH",
    }
}

/// The folders of an hour, below `data/`.
fn folders(table: &Table, year: u16, month: i8, day: i8, hour: i8) -> String {
    let date = jiff::civil::Date::new(year.cast_signed(), month, day).unwrap_or(jiff::civil::Date::MIN);
    Hour::new(date, hour).map_or_else(|_| String::new(), |hour| table.layout.folders(hour))
}

/// Whether the texts of the layout sort as time does.
fn in_order(table: &Table) -> bool {
    let fields = table.layout.pieces().iter().filter_map(|piece| match piece {
        crate::hour::key::Piece::Field(field) => Some(*field),
        crate::hour::key::Piece::Literal(_) => None,
    });
    fields.eq(Field::ALL)
}
