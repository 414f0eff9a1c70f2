//! A token's plaintext as a record: its fields, its time, its hour, its identity.
//!
//! Owns the rule of what a record is: UTF-8 text that is a Python literal, or else JSON; a dict with string keys; an `inDate` that is a
//! time. Anything else has a [`Reason`] and goes to quarantine. Python comes first because the origin reads Python: in a text that is
//! both, `\/` keeps its backslash. Pure: nothing is evaluated, nothing panics, and time is linear in the text.

mod advice;
mod canonical;
mod explain;
#[cfg(test)]
pub(crate) mod generated;
pub mod json;
pub mod python;
mod reason;
pub mod row;
mod scan;
pub(crate) mod schema;
mod time;
mod value;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(crate) use advice::advice;
pub use canonical::{ContentHash, Scratch, content_hash};
pub(crate) use explain::explain;
pub use reason::Reason;
pub(crate) use reason::ReasonKind;
pub(crate) use schema::IN_DATE;
pub use value::{Fields, MAX_DEPTH, MAX_VALUES, Value, count_values};

use crate::hour::Hour;

/// The most bytes of a line, be it a compact row or an original: far below what its readers accept, so all that is written can be read.
pub(crate) const MAX_LINE: usize = 64 << 20;

/// One decrypted log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// All fields, in their order, with unique keys; one of them is `inDate`.
    pub fields: Fields<'a>,
    /// The instant that `inDate` spells.
    pub at: Timestamp,
    /// The event-time hour of that instant, in the zone it was read for.
    pub hour: Hour,
}

impl<'a> Record<'a> {
    /// Dates the record with these `fields`, as read from a token or restored from a row. The hour, and a time without an offset, are
    /// in `zone`.
    ///
    /// # Errors
    /// `no-indate` or `bad-indate`.
    pub fn dated(fields: Fields<'a>, zone: &TimeZone) -> Result<Self, Reason> {
        let bad = |what| Reason::new(ReasonKind::BadInDate, what);
        let at = match fields.iter().find(|(key, _)| key == IN_DATE) {
            Some((_, Value::Str(text))) => time::instant(text, zone).ok_or(bad("inDate is not a time"))?,
            Some(_) => return Err(bad("inDate is not a text")),
            None => return Err(Reason::new(ReasonKind::NoInDate, "there is no inDate")),
        };
        let hour = Hour::of(at, zone).ok_or(bad("inDate is outside the years 0000 to 9999"))?;
        Ok(Self { fields, at, hour })
    }
}

/// Reads a token's `plaintext`, with `zone` for a time without an offset and for the hour.
///
/// # Errors
/// Why it is not a record; see `Reason::kind`.
pub fn read<'a>(plaintext: &'a [u8], zone: &TimeZone) -> Result<Record<'a>, Reason> {
    let text = std::str::from_utf8(plaintext)
        .map_err(|error| Reason::new(ReasonKind::NotUtf8, "the text is not UTF-8").at(error.valid_up_to()))?;
    match literal(text)? {
        Value::Dict(fields) => Record::dated(fields, zone),
        _ => Err(Reason::new(ReasonKind::NotARecord, "a literal, but no dict")),
    }
}

/// The same for a text that was never encrypted. It is JSON, or else a Python literal: in a text that is both, `\/` is a slash.
///
/// # Errors
/// As [`read`].
pub fn read_plain<'a>(plaintext: &'a [u8], zone: &TimeZone) -> Result<Record<'a>, Reason> {
    let text = std::str::from_utf8(plaintext)
        .map_err(|error| Reason::new(ReasonKind::NotUtf8, "the text is not UTF-8").at(error.valid_up_to()))?;
    let json = |json| python::parse(text).map_err(|python| Reason::more_telling(python, json));
    match json::parse(text).or_else(json)? {
        Value::Dict(fields) => Record::dated(fields, zone),
        _ => Err(Reason::new(ReasonKind::NotARecord, "a literal, but no dict")),
    }
}

fn literal(text: &str) -> Result<Value<'_>, Reason> {
    python::parse(text).or_else(|python| json::parse(text).map_err(|json| Reason::more_telling(python, json)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(plaintext: &[u8]) -> &'static str {
        read(plaintext, &TimeZone::UTC).map_or_else(|reason| reason.kind(), |_| "ok")
    }

    fn as_json(plaintext: &str) -> String {
        let record = read(plaintext.as_bytes(), &TimeZone::UTC).unwrap();
        let mut out = Vec::new();
        json::write_fields(&record.fields, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn record_has_its_fields_time_and_hour() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let record = read(b"{'record_id': 7, 'inDate': '2023-03-10T01:48:11.818Z'}", &seoul).unwrap();
        assert_eq!(record.fields[0], ("record_id".into(), Value::Int("7".into())));
        assert_eq!(record.at.to_string(), "2023-03-10T01:48:11.818Z");
        assert_eq!(record.hour.to_string(), "2023-03-10T10");
    }

    #[test]
    fn python_comes_before_json() {
        let both = r#"{"inDate": "2023-03-10T01:48:11Z", "path": "a\/b"}"#;
        assert_eq!(as_json(both), r#"{"inDate":"2023-03-10T01:48:11Z","path":"a\\/b"}"#);
        let json_only = r#"{"inDate": "2023-03-10T01:48:11Z", "path": "a\/b", "x": null, "y": "\ud83d\ude00"}"#;
        let expected = r#"{"inDate":"2023-03-10T01:48:11Z","path":"a/b","x":null,"y":"\ud83d\ude00"}"#;
        assert_eq!(as_json(json_only), expected);
        assert_eq!(
            as_json(r#"{"inDate": "2023-03-10T01:48:11Z", "y": "\ud83d\ude00"}"#),
            expected.replace(r#""path":"a/b","x":null,"#, "")
        );
    }

    #[test]
    fn what_is_no_record_has_a_reason() {
        for (plaintext, expected) in [
            (&b"{'inDate': '2023-03-10T01:48:11Z', 'x': 'caf\xe9'}"[..], "not-utf8"),
            (b"", "not-a-record"),
            (b"'text'", "not-a-record"),
            (b"None", "not-a-record"),
            (b"null", "not-a-record"),
            (b"[{'inDate': '2023-03-10T01:48:11Z'}]", "not-a-record"),
            (b"{", "not-a-record"),
            (b"<html>502</html>", "not-a-record"),
            (b"{**{'inDate': '2023-03-10T01:48:11Z'}}", "not-a-record"),
            (b"{'inDate': '2023-03-10T01:48:11Z', 'x': {1: 2}}", "unrepresentable"),
            (b"{'inDate': '2023-03-10T01:48:11Z', 'x': 1e999}", "unrepresentable"),
            (b"{\"inDate\": \"2023-03-10T01:48:11Z\", \"x\": null, \"y\": 1e999}", "unrepresentable"),
            (b"{\"inDate\": \"2023-03-10T01:48:11Z\", \"x\": \"\\ud83d\"}", "unrepresentable"),
            (b"{}", "no-indate"),
            (b"{'indate': '2023-03-10T01:48:11Z'}", "no-indate"),
            (b"{'inDate': None}", "bad-indate"),
            (b"{'inDate': 20230310}", "bad-indate"),
            (b"{'inDate': ['2023-03-10']}", "bad-indate"),
            (b"{'inDate': ''}", "bad-indate"),
            (b"{'inDate': '2023-3-10T1:48:11.818Z'}", "bad-indate"),
            (b"{'inDate': '0000-01-01T00:00:00+01:00'}", "bad-indate"),
            (b"{'inDate': '2100-01-01T00:00:00.000Z'}", "ok"),
            (b"{'inDate': '2023-03-10T01:48:11Z', 'x': '\xed\x95\x9c'}", "ok"),
        ] {
            assert_eq!(kind(plaintext), expected, "{}", String::from_utf8_lossy(plaintext));
        }
        let nested = format!("{{'inDate': '2023-03-10T01:48:11Z', 'x': {}{}}}", "[".repeat(64), "]".repeat(64));
        assert_eq!(kind(nested.as_bytes()), "too-deep");
    }

    #[test]
    fn reason_is_that_of_the_parser_that_got_further() {
        let reason = read(br#"{"a": null, "b": "#, &TimeZone::UTC).unwrap_err();
        assert_eq!(reason.to_string(), "not-a-record: the JSON text ends early at byte 16");
        let reason = read(b"{'a': None, 'b': x}", &TimeZone::UTC).unwrap_err();
        assert_eq!(reason.to_string(), "not-a-record: unexpected word at byte 17");
    }

    proptest! {
        #[test]
        fn reading_a_repr_gives_the_value(value in generated::value(), style in generated::style()) {
            let text = generated::repr(&value, style);
            prop_assert_eq!(python::parse(&text), Ok(value), "{}", text);
        }

        #[test]
        fn reading_json_gives_the_value(value in generated::value()) {
            let mut out = Vec::new();
            json::write(&value, &mut out);
            prop_assert!(out.is_ascii());
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(json::parse(&text), Ok(value), "{}", text);
        }

        #[test]
        fn hash_ignores_the_order_of_keys(fields in generated::fields(), seed in any::<u64>()) {
            let mut scratch = Scratch::default();
            let hash = content_hash(&fields, &mut scratch);
            prop_assert_eq!(content_hash(&generated::shuffled(fields, seed), &mut scratch), hash);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, &TimeZone::UTC);
        }

        #[test]
        fn almost_literals_never_panic(parts in prop::collection::vec(prop::sample::select(generated::FRAGMENTS), 0..40)) {
            let _ = read(parts.concat().as_bytes(), &TimeZone::UTC);
        }
    }
}
