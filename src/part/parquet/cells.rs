//! A value of a record in its column, and back.
//!
//! Pure. Invariant: a cell that *fits* gives its value back by itself. One that does not holds what queries can use of the value, or nothing,
//! and the value itself is in `extra`. No number is rounded, and no text is taken for a number.

use std::borrow::Cow;

use jiff::Timestamp;

use super::columns::Kind;
use super::time;
use crate::record::{Value, json, schema};

/// What a row has in one column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Time(i64),
    Detail([Option<Cow<'a, str>>; 2]),
}

/// The largest whole number up to which a float holds every one.
const EXACT: i64 = 1 << 53;

/// The cell of `value` in a column, and whether it fits.
pub(super) fn cell<'a>(kind: Kind, value: &'a Value<'_>) -> (Cell<'a>, bool) {
    match (kind, value) {
        (Kind::Text, Value::Null) => (Cell::Null, false),
        (Kind::Text, Value::Str(text)) => (Cell::Text(Cow::Borrowed(text)), true),
        (Kind::Text, other) => (Cell::Text(json_text(other)), false),
        (Kind::Integer, Value::Int(digits)) => digits.parse().map_or((Cell::Null, false), |n| (Cell::Integer(n), true)),
        (Kind::Float, Value::Float(number)) => (Cell::Float(*number), true),
        (Kind::Float, Value::Int(digits)) => (exact_float(digits).map_or(Cell::Null, Cell::Float), false),
        (Kind::Boolean, Value::Bool(is)) => (Cell::Boolean(*is), true),
        (Kind::Time, Value::Str(text)) => time_cell(text),
        (Kind::Detail, Value::Dict(fields)) => detail(fields),
        _ => (Cell::Null, false),
    }
}

fn json_text(value: &Value<'_>) -> Cow<'static, str> {
    let mut out = Vec::new();
    json::write(value, &mut out);
    // It is ASCII.
    Cow::Owned(String::from_utf8(out).unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "these are held exactly")]
fn exact_float(digits: &str) -> Option<f64> {
    let number: i64 = digits.parse().ok()?;
    (-EXACT..=EXACT).contains(&number).then_some(number as f64)
}

fn time_cell(text: &str) -> (Cell<'static>, bool) {
    if let Some(micros) = time::micros(text) {
        return (Cell::Time(micros), true);
    }
    let instant = text.parse::<Timestamp>().ok().and_then(micros_of);
    (instant.map_or(Cell::Null, Cell::Time), false)
}

/// An instant in whole microseconds, the earlier of two.
pub(super) fn micros_of(at: Timestamp) -> Option<i64> {
    i64::try_from(at.as_nanosecond().div_euclid(1_000)).ok()
}

fn detail<'a>(fields: &'a [(Cow<'_, str>, Value<'_>)]) -> (Cell<'a>, bool) {
    let mut texts = [None, None];
    let mut names = schema::DETAIL_FIELDS.iter();
    let mut fits = true;
    for (key, value) in fields {
        // In this order, each at most once.
        fits &= names.any(|name| name == key) && matches!(value, Value::Str(_));
        let slot = schema::DETAIL_FIELDS.iter().position(|name| name == key);
        if let Some(text) = slot.and_then(|slot| texts.get_mut(slot))
            && let (Cell::Text(of_value), _) = cell(Kind::Text, value)
        {
            *text = Some(of_value);
        }
    }
    (Cell::Detail(texts), fits)
}

/// The value that a fitting cell gives back. `None`: there is no such field.
pub(super) fn value(cell: Cell<'_>) -> Option<Value<'_>> {
    match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(Value::Str(text)),
        Cell::Integer(number) => Some(Value::Int(Cow::Owned(number.to_string()))),
        Cell::Float(number) => Some(Value::Float(number)),
        Cell::Boolean(is) => Some(Value::Bool(is)),
        Cell::Time(micros) => usual_time(micros).map(Value::Str),
        Cell::Detail(texts) => {
            let fields = schema::DETAIL_FIELDS.iter().zip(texts);
            let fields = fields.filter_map(|(name, text)| Some(((*name).into(), Value::Str(text?))));
            Some(Value::Dict(fields.collect()))
        }
    }
}

/// The usual text of a time.
pub(super) fn usual_time(micros: i64) -> Option<Cow<'static, str>> {
    let text = time::text(micros)?;
    std::str::from_utf8(&text).ok().map(|text| Cow::Owned(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::generated;

    const KINDS: [Kind; 6] = [Kind::Text, Kind::Integer, Kind::Float, Kind::Boolean, Kind::Time, Kind::Detail];

    fn read(json: &str) -> Value<'_> {
        json::parse(json).unwrap()
    }

    #[test]
    fn cell_holds_what_queries_can_use_and_says_whether_it_is_the_value() {
        let text = |text: &'static str| Cell::Text(text.into());
        let detail =
            |a: Option<&'static str>, b: Option<&'static str>| Cell::Detail([a.map(Cow::from), b.map(Cow::from)]);
        for (kind, value, expected, fits) in [
            (Kind::Text, r#""a""#, text("a"), true),
            (Kind::Text, r#""""#, text(""), true),
            (Kind::Text, "42", text("42"), false),
            (Kind::Text, "[1,null]", text("[1,null]"), false),
            (Kind::Text, "null", Cell::Null, false),
            (Kind::Integer, "-7", Cell::Integer(-7), true),
            (Kind::Integer, "9223372036854775807", Cell::Integer(i64::MAX), true),
            (Kind::Integer, "9223372036854775808", Cell::Null, false),
            (Kind::Integer, "7.0", Cell::Null, false),
            (Kind::Integer, r#""7""#, Cell::Null, false),
            (Kind::Integer, "true", Cell::Null, false),
            (Kind::Float, "1.5", Cell::Float(1.5), true),
            (Kind::Float, "2", Cell::Float(2.0), false),
            (Kind::Float, "9007199254740993", Cell::Null, false),
            (Kind::Boolean, "false", Cell::Boolean(false), true),
            (Kind::Boolean, "0", Cell::Null, false),
            (Kind::Time, r#""1970-01-01T00:00:00.0000015Z""#, Cell::Time(1), false),
            (Kind::Time, r#""1969-12-31T23:59:59.9999995Z""#, Cell::Time(-1), false),
            (Kind::Time, r#""2000-01-01T00:00:00.000Z""#, Cell::Time(946_684_800_000_000), true),
            (Kind::Time, r#""2000-01-01 00:00:00""#, Cell::Null, false),
            (Kind::Time, "5", Cell::Null, false),
            (Kind::Detail, r#"{"message":"m","levelname":"l"}"#, detail(Some("m"), Some("l")), true),
            (Kind::Detail, r#"{"levelname":"l"}"#, detail(None, Some("l")), true),
            (Kind::Detail, "{}", detail(None, None), true),
            (Kind::Detail, r#"{"levelname":"l","message":"m"}"#, detail(Some("m"), Some("l")), false),
            (Kind::Detail, r#"{"message":null,"levelname":1}"#, detail(None, Some("1")), false),
            (Kind::Detail, r#"{"message":"m","x":"y"}"#, detail(Some("m"), None), false),
            (Kind::Detail, r#""m""#, Cell::Null, false),
        ] {
            assert_eq!(cell(kind, &read(value)), (expected, fits), "{kind:?} {value}");
        }
    }

    proptest! {
        #[test]
        fn what_fits_gives_the_value_back(of in generated::value(), kind in prop::sample::select(&KINDS[..])) {
            let (cell, fits) = cell(kind, &of);
            let back = value(cell);
            prop_assert!(!fits || back.as_ref() == Some(&of));
        }
    }
}
