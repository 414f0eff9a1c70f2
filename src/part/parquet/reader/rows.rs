//! Rows of columns as compact lines.
//!
//! Pure. Invariant: the fields that a row gives are those that `batch` made it of, in their order.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};

use super::super::cells::{Cell, usual_time, value};
use super::super::columns::{Columns, Kind};
use super::super::order::{Order, Place};
use crate::record::row::Compactor;
use crate::record::{Fields, MAX_LINE, Value, json};

/// The most bytes of the texts of a row. A value that does not fit is in its column and in `extra`.
const LONGEST: usize = 2 * MAX_LINE;

/// Some rows, by their columns.
pub(super) struct Rows<'b> {
    order: &'b Order,
    time: &'b TimestampMicrosecondArray,
    time_text: &'b StringViewArray,
    fields: Vec<Values<'b>>,
    extra: &'b StringViewArray,
    raw: &'b StringViewArray,
    line: &'b StringViewArray,
}

/// One column.
enum Values<'b> {
    Text(&'b StringViewArray),
    Integer(&'b Int64Array),
    Float(&'b Float64Array),
    Boolean(&'b BooleanArray),
    Time(&'b TimestampMicrosecondArray),
    Detail(&'b StructArray, [&'b StringViewArray; 2]),
}

impl<'b> Rows<'b> {
    /// `None`: the columns are of other types.
    pub(super) fn new(batch: &'b RecordBatch, columns: &Columns, order: &'b Order) -> Option<Self> {
        let [time, time_text, fields @ .., extra, raw, line] = batch.columns() else { return None };
        let fields: Option<Vec<Values<'b>>> =
            columns.fields.iter().zip(fields).map(|(column, array)| Values::new(column.kind, array)).collect();
        Some(Self {
            order,
            time: time.as_primitive_opt::<TimestampMicrosecondType>()?,
            time_text: time_text.as_string_view_opt()?,
            fields: fields?,
            extra: extra.as_string_view_opt()?,
            raw: raw.as_string_view_opt()?,
            line: line.as_string_view_opt()?,
        })
    }

    /// Appends the line of a row, with its newline. An error says what is wrong with the row.
    pub(super) fn write_line(&self, row: usize, compactor: &Compactor, line: &mut Vec<u8>) -> Result<(), String> {
        match text(self.line, row) {
            Some(whole) if whole.contains('\n') || whole.len() > MAX_LINE => return Err("a line is none".to_owned()),
            Some(whole) => line.extend_from_slice(whole.as_bytes()),
            None => self.put_together(row, compactor, line)?,
        }
        line.push(b'\n');
        Ok(())
    }

    fn put_together(&self, row: usize, compactor: &Compactor, line: &mut Vec<u8>) -> Result<(), String> {
        if self.length(row) > LONGEST {
            return Err("a row is longer than any record".to_owned());
        }
        let fields = match text(self.raw, row) {
            Some(raw) => object(raw)?,
            None => {
                let extra = text(self.extra, row).map_or_else(|| Ok(Vec::new()), object)?;
                self.order.put_together(|place| self.value(place, row), extra)
            }
        };
        compactor.write_row(&fields, line);
        Ok(())
    }

    fn value(&self, place: Place, row: usize) -> Option<Value<'b>> {
        match place {
            Place::Extra => None,
            Place::Field(column) => self.fields.get(column)?.cell(row).and_then(value),
            Place::Time => match text(self.time_text, row) {
                Some(text) => Some(Value::Str(text.into())),
                None => usual_time(at(self.time, row)?).map(Value::Str),
            },
        }
    }

    /// The bytes of all texts of a row.
    fn length(&self, row: usize) -> usize {
        let of = |texts: &StringViewArray| text(texts, row).map_or(0, str::len);
        let fields = self.fields.iter().map(|values| match values {
            Values::Text(texts) => of(texts),
            Values::Detail(_, texts) => texts.iter().map(|texts| of(texts)).sum(),
            _ => 0,
        });
        match of(self.raw) {
            0 => fields.sum::<usize>() + of(self.extra) + of(self.time_text),
            raw => raw,
        }
    }
}

/// The fields of a JSON object.
fn object(text: &str) -> Result<Fields<'_>, String> {
    match json::parse(text) {
        Ok(Value::Dict(fields)) => Ok(fields),
        Ok(_) => Err("what is in no column is no JSON object".to_owned()),
        Err(reason) => Err(reason.to_string()),
    }
}

fn text(texts: &StringViewArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

fn at(times: &TimestampMicrosecondArray, row: usize) -> Option<i64> {
    times.is_valid(row).then(|| times.value(row))
}

impl<'b> Values<'b> {
    fn new(kind: Kind, array: &'b ArrayRef) -> Option<Self> {
        match kind {
            Kind::Text => array.as_string_view_opt().map(Self::Text),
            Kind::Integer => array.as_primitive_opt::<Int64Type>().map(Self::Integer),
            Kind::Float => array.as_primitive_opt::<Float64Type>().map(Self::Float),
            Kind::Boolean => array.as_boolean_opt().map(Self::Boolean),
            Kind::Time => array.as_primitive_opt::<TimestampMicrosecondType>().map(Self::Time),
            Kind::Detail => {
                let details = array.as_struct_opt()?;
                let [message, levelname] = details.columns() else { return None };
                Some(Self::Detail(details, [message.as_string_view_opt()?, levelname.as_string_view_opt()?]))
            }
        }
    }

    fn cell(&self, row: usize) -> Option<Cell<'b>> {
        match *self {
            Self::Text(texts) => text(texts, row).map(|text| Cell::Text(text.into())),
            Self::Integer(numbers) => numbers.is_valid(row).then(|| Cell::Integer(numbers.value(row))),
            Self::Float(numbers) => numbers.is_valid(row).then(|| Cell::Float(numbers.value(row))),
            Self::Boolean(truths) => truths.is_valid(row).then(|| Cell::Boolean(truths.value(row))),
            Self::Time(times) => at(times, row).map(Cell::Time),
            Self::Detail(details, texts) => {
                details.is_valid(row).then(|| Cell::Detail(texts.map(|texts| text(texts, row).map(Into::into))))
            }
        }
    }
}
