//! How a record is dated: where its time stands, how that is spelled, and in which zone its hour is.
//!
//! Pure. Invariant: the time is found in a restored record as it was in the original, because rows keep it as it came.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::reason::{Reason, ReasonKind};
use super::schema::IN_DATE;
use super::value::{Fields, Value, value_at};
use super::{Record, json};
use crate::hour::Hour;
use crate::hour::time::TimeFormat;
use crate::pointer::Pointer;

/// What dates records. Fixed for all parts below a prefix.
#[derive(Debug, Clone)]
pub struct Dating {
    place: Pointer,
    format: TimeFormat,
    zone: TimeZone,
}

impl Dating {
    /// The time that is spelled as `format` at `place`; where it has no offset, it is in `zone`, as the hours are.
    #[must_use]
    pub const fn new(place: Pointer, format: TimeFormat, zone: TimeZone) -> Self {
        Self { place, format, zone }
    }

    /// The origin's: a text in `inDate`.
    #[must_use]
    pub fn of_the_origin(zone: TimeZone) -> Self {
        Self::new(Pointer::member(IN_DATE), TimeFormat::Text, zone)
    }

    /// The zone of the hours.
    #[must_use]
    pub(crate) const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Where the time stands.
    #[must_use]
    pub(crate) const fn place(&self) -> &Pointer {
        &self.place
    }

    /// How it is spelled.
    #[must_use]
    pub(crate) const fn format(&self) -> &TimeFormat {
        &self.format
    }

    /// Whether the time stands where the origin has it: then reasons that are stored name it, and the origin's fields have columns.
    #[must_use]
    pub(crate) fn is_at_in_date(&self) -> bool {
        matches!(self.place.steps(), [only] if only == IN_DATE)
    }

    /// The record with these `fields`, as read from a token or restored from a row.
    ///
    /// # Errors
    /// `no-indate` or `bad-indate`; where the time stands elsewhere, `no-time` or `bad-time`.
    pub fn date<'a>(&self, fields: Fields<'a>) -> Result<Record<'a>, Reason> {
        let at = match value_at(&fields, self.place.steps()) {
            Some(value) => self.instant(value).ok_or_else(|| self.no_time(value))?,
            None => return Err(self.missing()),
        };
        let hour = Hour::of(at, &self.zone).ok_or_else(|| self.bad(OUTSIDE))?;
        Ok(Record { fields, at, hour })
    }

    fn instant(&self, value: &Value<'_>) -> Option<Timestamp> {
        match value {
            Value::Str(text) => self.format.of_text(text, &self.zone),
            Value::Int(digits) => self.format.of_number(digits),
            Value::Float(_) => {
                let mut digits = Vec::new();
                json::write(value, &mut digits);
                self.format.of_number(std::str::from_utf8(&digits).unwrap_or_default())
            }
            _ => None,
        }
    }

    fn missing(&self) -> Reason {
        match self.is_at_in_date() {
            true => Reason::new(ReasonKind::NoInDate, "there is no inDate"),
            false => Reason::new(ReasonKind::NoTime, "nothing stands where record.time leads"),
        }
    }

    fn no_time(&self, value: &Value<'_>) -> Reason {
        let is_text = matches!(value, Value::Str(_));
        self.bad(if is_text { NOT_A_TIME } else { NOT_A_TEXT })
    }

    fn bad(&self, [in_date, other]: [&'static str; 2]) -> Reason {
        match self.is_at_in_date() {
            true => Reason::new(ReasonKind::BadInDate, in_date),
            false => Reason::new(ReasonKind::BadTime, other),
        }
    }
}

/// What is wrong with `inDate`, and with another time.
const NOT_A_TIME: [&str; 2] = ["inDate is not a time", "the text that record.time leads to is not a time"];
const NOT_A_TEXT: [&str; 2] = ["inDate is not a text", "what record.time leads to is not a time"];
const OUTSIDE: [&str; 2] =
    ["inDate is outside the years 0000 to 9999", "what record.time leads to is outside the years 0000 to 9999"];
