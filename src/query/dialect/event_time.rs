//! The event time of records whose time is not the origin's: where it stands in a row, and what it is as a timestamp.
//!
//! Pure. A time that no engine can be told how to read is NULL, never another time: the partition keys still say the hour.

use super::{Column, Dialect, STRING, Table, restored};
use crate::hour::time::{TimeFormat, Unit};
use crate::query::column::check_name;
use crate::record::Dating;

/// A number, as the text of its digits.
const NUMBER: &str = "^-?[0-9]+([.][0-9]+)?$";
/// Holds nanoseconds since 1970 and fractions of seconds; times a unit it still has at most 38 digits.
const DECIMAL: &str = "decimal(25,6)";

/// No text at all.
pub(super) fn no_text() -> String {
    "nullif(line, line)".to_owned()
}

/// The time as the row has it. NULL where its place has names that no path of an engine can have, or is within a list.
pub(super) fn place(table: &Table, dialect: &dyn Dialect) -> String {
    match table.dating.place().steps() {
        [name] if check_name(name).is_ok() => {
            let known = table.columns.iter().find(|column| column.name == *name);
            let column =
                known.map_or_else(|| Column::new(name, STRING), |known| Column { ty: STRING, ..known.clone() });
            restored(table, dialect, &column)
        }
        steps if steps.iter().all(|step| check_name(step).is_ok()) => dialect.scalar(&format!("$.{}", steps.join("."))),
        _ => no_text(),
    }
}

/// `text`, the time as it came, as a timestamp.
pub(super) fn instant(dialect: &dyn Dialect, text: &str, dating: &Dating, zone: &str) -> String {
    let number = format!("TRY_CAST({text} AS {DECIMAL})");
    let micros = |factor: &str| dialect.at_micros(&format!("TRY_CAST(floor({number} * {factor}) AS bigint)"));
    match dating.format() {
        TimeFormat::Text => dialect.instant(text, zone),
        TimeFormat::Auto => {
            let factor = format!(
                "CASE WHEN {number} < 100000000000 THEN {} WHEN {number} < 100000000000000 THEN {} WHEN {number} < \
                 100000000000000000 THEN {} ELSE {} END",
                per(Unit::Seconds),
                per(Unit::Milliseconds),
                per(Unit::Microseconds),
                per(Unit::Nanoseconds)
            );
            let (is_number, spelled) = (dialect.matches(text, NUMBER), dialect.instant(text, zone));
            format!("CASE WHEN {is_number} THEN {} ELSE {spelled} END", micros(&factor))
        }
        TimeFormat::Epoch(unit) => micros(per(*unit)),
        TimeFormat::Pattern(_) => dialect.instant(&no_text(), "UTC"),
    }
}

/// Microseconds in a unit, all of one type.
const fn per(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "1000000.000",
        Unit::Milliseconds => "1000.000",
        Unit::Microseconds => "1.000",
        Unit::Nanoseconds => "0.001",
    }
}
