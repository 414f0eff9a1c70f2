//! The columns of Parquet parts, which hold the originals: a table of them is `logs`, and needs no view.
//!
//! Pure. Invariant: they are those of [`super::dialect`]'s view in its order, up to `inDate` and `line`, in place of which `extra` and `raw`
//! stand. Engines find a column of a part by its name.

use super::Table;
use super::column::{Column, STRING, TIMESTAMP};
use super::dialect::{EVENT_TIME, EVENT_TIME_TEXT};
use crate::record::schema;

/// The fields that have no column, or do not fit theirs.
pub(super) const EXTRA: &str = "extra";
/// The whole record, where the columns do not rebuild it.
pub(super) const RAW: &str = "raw";

/// All columns, in their order.
pub(super) fn columns(table: &Table) -> Vec<Column> {
    let column = |name: &str, ty, comment| Column { comment, ..Column::new(name, ty) };
    let mut columns = vec![
        column(EVENT_TIME, TIMESTAMP, "the time of the record, UTC"),
        column(EVENT_TIME_TEXT, STRING, "that time as it came, where event_time does not give it back"),
    ];
    let fields = table.columns.iter().filter(|known| known.name != schema::IN_DATE);
    // What is compact in rows is a text in the original.
    let ty = |known: &Column| if known.is_compact() { STRING } else { known.ty.clone() };
    columns.extend(fields.map(|known| column(&known.name, ty(known), "")));
    columns.push(column(EXTRA, STRING, "JSON: the fields that have no column, or do not fit theirs"));
    columns.push(column(RAW, STRING, "JSON: the whole record, where the columns do not give it back"));
    columns
}
