//! Records as rows of columns, some at a time.
//!
//! Pure. Invariant: each row that is added gives its record back, fields in their order: a field whose cell does not fit is in `extra`, and a
//! record whose fields are in another order than the part's is in `raw` as well.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, SchemaRef};

use super::cells::{Cell, cell};
use super::columns::{Columns, Kind, detail_fields};
use super::order::{Order, Place};
use super::time;
use crate::record::{Fields, Value, json};

/// Rows that are handed on at once.
const ROWS: usize = 2_048;
/// Bytes of rows that are handed on at once, unless a single row has more.
const BYTES: usize = 1 << 20;

/// Rows that are not handed on yet.
pub(super) struct Batch {
    schema: SchemaRef,
    time: TimestampMicrosecondBuilder,
    time_text: StringBuilder,
    fields: Vec<(Kind, Builder)>,
    extra: StringBuilder,
    raw: StringBuilder,
    line: StringBuilder,
    rows: usize,
    bytes: usize,
    scratch: Vec<u8>,
}

/// Builds one column.
enum Builder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Detail(Box<StructBuilder>),
}

impl Batch {
    pub(super) fn new(columns: &Columns) -> Self {
        Self {
            schema: columns.schema(),
            time: time_builder(),
            time_text: StringBuilder::new(),
            fields: columns.fields.iter().map(|column| (column.kind, Builder::new(column.kind))).collect(),
            extra: StringBuilder::new(),
            raw: StringBuilder::new(),
            line: StringBuilder::new(),
            rows: 0,
            bytes: 0,
            scratch: Vec::new(),
        }
    }

    /// Whether the rows should be handed on.
    pub(super) const fn is_full(&self) -> bool {
        self.rows >= ROWS || self.bytes >= BYTES
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds the record with these `fields`, of the instant `micros`. `is_usual`: `line` is what they become.
    pub(super) fn push(&mut self, order: &Order, fields: &Fields<'_>, micros: i64, line: &str, is_usual: bool) {
        let mut row = Row::new(self.fields.len());
        for (key, value) in fields {
            row.add(order, &self.fields, key, value, micros);
        }
        self.time.append_value(micros);
        self.time_text.append_option(row.time_text);
        for ((_, builder), cell) in self.fields.iter_mut().zip(row.cells) {
            builder.append(cell);
        }
        self.rows += 1;
        self.bytes += line.len();
        self.line.append_option((!is_usual).then_some(line));
        append_object(&mut self.extra, &mut self.scratch, &row.extra);
        if row.is_in_order {
            self.raw.append_null();
        } else {
            self.scratch.clear();
            json::write_fields(fields, &mut self.scratch);
            self.bytes += self.scratch.len();
            self.raw.append_option(std::str::from_utf8(&self.scratch).ok());
        }
    }

    /// All rows, and no more of them here.
    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.time.finish()), Arc::new(self.time_text.finish())];
        columns.extend(self.fields.iter_mut().map(|(_, builder)| builder.finish()));
        let others = [&mut self.extra, &mut self.raw, &mut self.line];
        columns.extend(others.map(|texts| Arc::new(texts.finish()) as ArrayRef));
        (self.rows, self.bytes) = (0, 0);
        if self.scratch.capacity() > BYTES {
            self.scratch = Vec::new();
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// What a record becomes.
struct Row<'a> {
    cells: Vec<Cell<'a>>,
    time_text: Option<&'a str>,
    /// What does not fit.
    extra: Vec<(&'a str, &'a Value<'a>)>,
    is_in_order: bool,
    /// The least rank that the next field may have.
    next: usize,
}

impl<'a> Row<'a> {
    fn new(columns: usize) -> Self {
        Self { cells: vec![Cell::Null; columns], time_text: None, extra: Vec::new(), is_in_order: true, next: 0 }
    }

    fn add(&mut self, order: &Order, columns: &[(Kind, Builder)], key: &'a str, value: &'a Value<'a>, micros: i64) {
        let found = order.find(key, self.next);
        self.is_in_order &= found.is_none_or(|(rank, _)| rank >= self.next);
        self.next = found.map_or(usize::MAX, |(rank, _)| rank.saturating_add(1));
        let fits = match (found.map(|(_, place)| place), value) {
            (Some(Place::Time), Value::Str(text)) => {
                self.time_text = (time::micros(text) != Some(micros)).then_some(text);
                true
            }
            (Some(Place::Field(n)), value) => self.put(n, columns, value),
            _ => false,
        };
        if !fits {
            self.extra.push((key, value));
        }
    }

    fn put(&mut self, n: usize, columns: &[(Kind, Builder)], value: &'a Value<'a>) -> bool {
        let (Some((kind, _)), Some(place)) = (columns.get(n), self.cells.get_mut(n)) else { return false };
        let (cell, fits) = cell(*kind, value);
        *place = cell;
        fits
    }
}

/// Appends the JSON object of `fields`; nothing where there are none.
fn append_object(to: &mut StringBuilder, scratch: &mut Vec<u8>, fields: &[(&str, &Value<'_>)]) {
    if fields.is_empty() {
        return to.append_null();
    }
    scratch.clear();
    scratch.push(b'{');
    for (n, (key, value)) in fields.iter().enumerate() {
        if n > 0 {
            scratch.push(b',');
        }
        json::write_text(key, scratch);
        scratch.push(b':');
        json::write(value, scratch);
    }
    scratch.push(b'}');
    to.append_option(std::str::from_utf8(scratch).ok());
}

fn time_builder() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_data_type(Kind::Time.data_type(DataType::Utf8))
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Integer => Self::Integer(Int64Builder::new()),
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Time => Self::Time(time_builder()),
            Kind::Detail => Self::Detail(Box::new(StructBuilder::from_fields(detail_fields(&DataType::Utf8), ROWS))),
        }
    }

    fn append(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Text(to), Cell::Text(text)) => to.append_value(text),
            (Self::Text(to), _) => to.append_null(),
            (Self::Integer(to), Cell::Integer(number)) => to.append_value(number),
            (Self::Integer(to), _) => to.append_null(),
            (Self::Float(to), Cell::Float(number)) => to.append_value(number),
            (Self::Float(to), _) => to.append_null(),
            (Self::Boolean(to), Cell::Boolean(is)) => to.append_value(is),
            (Self::Boolean(to), _) => to.append_null(),
            (Self::Time(to), Cell::Time(micros)) => to.append_value(micros),
            (Self::Time(to), _) => to.append_null(),
            (Self::Detail(to), cell) => append_detail(to, cell),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Detail(builder) => Arc::new(builder.finish()),
        }
    }
}

fn append_detail(to: &mut StructBuilder, cell: Cell<'_>) {
    let (texts, is_there) = match cell {
        Cell::Detail(texts) => (texts, true),
        _ => ([None, None], false),
    };
    for (n, text) in texts.into_iter().enumerate() {
        if let Some(member) = to.field_builder::<StringBuilder>(n) {
            member.append_option(text);
        }
    }
    to.append(is_there);
}
