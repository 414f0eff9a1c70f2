//! The columns of a part: which there are, what they hold, in which order they stand in an object.
//!
//! Pure. Invariant: a column has the same name and type in every part for ever; columns are only added. First stand the event time and its
//! text, then the fields that the program knows, then the configured ones by name, then `extra`, `raw` and `line`. A column that is added moves
//! those behind it; engines find columns by name, and read one that an older part lacks as NULL.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use jiff::tz::TimeZone;

use super::cells::micros_of;
use super::time;
use crate::config::{ColumnKind, LoadColumn};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::time::TimeFormat;
use crate::record::{Dating, Fields, Reason, ReasonKind, Value, schema};

/// The instant that dates a record, in microseconds.
pub(super) const EVENT_TIME: &str = "event_time";
/// The text that spells it, where the instant does not give it back.
pub(super) const EVENT_TIME_TEXT: &str = "event_time_text";
/// A JSON object of the fields that fit into no column, in their order.
pub(super) const EXTRA: &str = "extra";
/// The whole record as JSON, where the columns do not give it back.
pub(super) const RAW: &str = "raw";

/// The compact line itself, where it is not the one that its record becomes with the part's dictionaries.
pub(super) const LINE: &str = "line";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
    /// Microseconds.
    Time,
    /// A struct of two texts.
    Detail,
}

/// A field of the logs with a column of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The columns of the parts that are written.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Those of fields, but for the time's.
    pub(super) fields: Vec<Column>,
    /// The field with the time's text. `None`: it is no field of its own, and the event time gives nothing back.
    pub(super) time: Option<String>,
    /// How records are dated.
    pub(super) dating: Dating,
    by_name: HashMap<String, usize>,
}

/// The fields that the program knows, in the order of a record.
fn known() -> Vec<Column> {
    [
        (schema::USER_ID, Kind::Text),
        (schema::RECORD_ID, Kind::Integer),
        (schema::PRODUCT_ID, Kind::Integer),
        (schema::ACTIVITY, Kind::Text),
        (schema::URL, Kind::Text),
        (schema::METHOD, Kind::Text),
        (schema::NAME, Kind::Text),
        (schema::DETAIL, Kind::Detail),
    ]
    .map(|(name, kind)| Column { name: name.to_owned(), kind })
    .to_vec()
}

impl Columns {
    /// The fields of the origin's records that the program knows, and the `configured` ones. A time without an offset is in `zone`.
    ///
    /// # Errors
    /// `Config` for a configured column that is there already.
    pub fn new(configured: &[LoadColumn], zone: &TimeZone) -> Result<Self> {
        Self::of_records(configured, &Dating::of_the_origin(zone.clone()))
    }

    /// Those of records that are dated so: of another source's only the `configured` ones, beside the time.
    ///
    /// # Errors
    /// As [`Columns::new`].
    pub fn of_records(configured: &[LoadColumn], dating: &Dating) -> Result<Self> {
        let configured_fields = configured.iter().map(Column::configured);
        if !dating.is_at_in_date() {
            return Ok(Self::of(configured_fields.collect(), None, dating.clone()));
        }
        let taken = |name: &str| {
            let known = known().into_iter().map(|column| column.name).chain([schema::IN_DATE.to_owned()]);
            known.into_iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        if let Some(column) = configured.iter().find(|column| taken(&column.name)) {
            let what = format!("load.columns.{}: this field has its column in every table", column.name);
            return Err(Error::new(ErrorKind::Config, what).hint("leave it out"));
        }
        let fields = known().into_iter().chain(configured_fields).collect();
        Ok(Self::of(fields, Some(schema::IN_DATE.to_owned()), dating.clone()))
    }

    /// These `fields`, and the text of the time in the field `time`.
    pub(super) fn of(fields: Vec<Column>, time: Option<String>, dating: Dating) -> Self {
        let by_name = fields.iter().enumerate().map(|(n, column)| (column.name.clone(), n)).collect();
        Self { fields, time, dating, by_name }
    }

    /// Where the column of the field `name` is among those of fields.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The fields of a record, and its instant in microseconds.
    pub(super) fn dated<'a>(&self, fields: Fields<'a>) -> std::result::Result<(Fields<'a>, i64), Reason> {
        if let Some(micros) = self.usual_time(&fields) {
            return Ok((fields, micros));
        }
        let record = self.dating.date(fields)?;
        let micros =
            micros_of(record.at).ok_or(Reason::new(ReasonKind::BadTime, "the time is beyond all calendars"))?;
        Ok((record.fields, micros))
    }

    /// The instant of a record whose time has the usual form, which is the same in every zone.
    fn usual_time(&self, fields: &[(Cow<'_, str>, Value<'_>)]) -> Option<i64> {
        let time = self.time.as_deref().filter(|_| matches!(self.dating.format(), TimeFormat::Text))?;
        match fields.iter().find(|(key, _)| key == time) {
            Some((_, Value::Str(text))) => time::micros(text),
            _ => None,
        }
    }

    /// All columns of an object.
    pub(super) fn schema(&self) -> SchemaRef {
        let text = |name| Field::new(name, DataType::Utf8, true);
        let mut columns =
            vec![Field::new(EVENT_TIME, Kind::Time.data_type(DataType::Utf8), true), text(EVENT_TIME_TEXT)];
        columns.extend(
            self.fields.iter().map(|column| Field::new(&column.name, column.kind.data_type(DataType::Utf8), true)),
        );
        columns.extend([EXTRA, RAW, LINE].map(text));
        Arc::new(Schema::new(columns))
    }

    /// The names of the fields as the service has them: a product before the record, the time before `detail`.
    pub(super) fn usual_order(&self) -> Vec<String> {
        let mut names: Vec<String> = self.fields.iter().map(|column| column.name.clone()).collect();
        let place = |names: &[String], name: &str| names.iter().position(|known| known == name);
        if let (Some(record), Some(product)) = (place(&names, schema::RECORD_ID), place(&names, schema::PRODUCT_ID)) {
            names.swap(record, product);
        }
        let at = place(&names, schema::DETAIL).unwrap_or(0);
        self.time.iter().for_each(|time| names.insert(at, time.clone()));
        names
    }
}

impl Column {
    fn configured(column: &LoadColumn) -> Self {
        let kind = match column.kind {
            ColumnKind::String => Kind::Text,
            ColumnKind::Int64 => Kind::Integer,
            ColumnKind::Float64 => Kind::Float,
            ColumnKind::Boolean => Kind::Boolean,
            ColumnKind::Timestamp => Kind::Time,
        };
        Self { name: column.name.clone(), kind }
    }

    /// Whether its numbers rise, or nearly so.
    pub(super) fn is_rising(&self) -> bool {
        self.name == schema::RECORD_ID
    }
}

impl Kind {
    /// As Arrow knows it, with `text` for what is text.
    pub(super) fn data_type(self, text: DataType) -> DataType {
        match self {
            Self::Text => text,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
            Self::Detail => DataType::Struct(detail_fields(&text)),
        }
    }

    /// The inverse.
    pub(super) fn of(data_type: &DataType, text: &DataType) -> Option<Self> {
        let all = [Self::Text, Self::Integer, Self::Float, Self::Boolean, Self::Time, Self::Detail];
        all.into_iter().find(|kind| kind.data_type(text.clone()) == *data_type)
    }
}

pub(super) fn detail_fields(text: &DataType) -> arrow_schema::Fields {
    schema::DETAIL_FIELDS.map(|name| Field::new(name, text.clone(), true)).to_vec().into()
}
