//! A token's plaintext as a record: its fields, its time, its hour, its identity.
//!
//! Owns the rule of what a record is: UTF-8 text that is a Python literal, or else JSON; a dict with string keys; a time where the
//! [`Schema`] says, `inDate` by default. Anything else has a [`Reason`] and goes to quarantine. Python comes first because the origin reads
//! Python: in a text that is both, `\/` keeps its backslash. Pure: nothing is evaluated, nothing panics, and time is linear in the text.

mod advice;
mod canonical;
mod dating;
mod edit;
mod explain;
#[cfg(test)]
pub(crate) mod generated;
pub mod json;
mod odd;
mod profile;
pub mod python;
mod reason;
pub mod row;
mod scan;
pub(crate) mod schema;
mod value;

use jiff::Timestamp;

pub(crate) use advice::advice;
pub use canonical::{ContentHash, Scratch, content_hash};
pub use dating::Dating;
pub(crate) use edit::{Edits, MaskKey};
pub(crate) use explain::explain;
pub use profile::Profile;
pub use reason::Reason;
pub(crate) use reason::ReasonKind;
pub use schema::Schema;
pub use value::{Fields, MAX_DEPTH, MAX_VALUES, Value, count_values};

use crate::hour::Hour;

/// The most bytes of a line, be it a compact row or an original: far below what its readers accept, so all that is written can be read.
pub(crate) const MAX_LINE: usize = 64 << 20;

/// One decrypted log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// All fields, in their order, with unique keys.
    pub fields: Fields<'a>,
    /// The instant that its time spells.
    pub at: Timestamp,
    /// The event-time hour of that instant, in the zone it was read for.
    pub hour: Hour,
}

/// Reads a token's `plaintext`: without what never reaches the lake.
///
/// # Errors
/// Why it is not a record; see `Reason::kind`.
pub fn read<'a>(plaintext: &'a [u8], schema: &Schema) -> Result<Record<'a>, Reason> {
    read_by(plaintext, schema, literal)
}

/// Reads a record that was never encrypted: JSON first, because that is what such sources write, and Python's spelling only where it is none.
///
/// # Errors
/// As [`read`].
pub fn read_plain<'a>(plaintext: &'a [u8], schema: &Schema) -> Result<Record<'a>, Reason> {
    let json_first = |text| {
        json::parse(text).or_else(|json| python::parse(text).map_err(|python| Reason::more_telling(python, json)))
    };
    read_by(plaintext, schema, json_first)
}

fn read_by<'a>(
    plaintext: &'a [u8],
    schema: &Schema,
    strictly: impl FnOnce(&'a str) -> Result<Value<'a>, Reason>,
) -> Result<Record<'a>, Reason> {
    let text = std::str::from_utf8(plaintext)
        .map_err(|error| Reason::new(ReasonKind::NotUtf8, "the text is not UTF-8").at(error.valid_up_to()))?;
    let read = strictly(text);
    let value = if schema.keeps_odd() { read.or_else(|reason| odd::literal(text, reason)) } else { read };
    match value? {
        Value::Dict(mut fields) => {
            schema.edits().apply(&mut fields);
            schema.dating.date(fields)
        }
        _ => Err(Reason::new(ReasonKind::NotARecord, "a literal, but no dict")),
    }
}

fn literal(text: &str) -> Result<Value<'_>, Reason> {
    python::parse(text).or_else(|python| json::parse(text).map_err(|json| Reason::more_telling(python, json)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use jiff::tz::TimeZone;

    use super::*;

    fn utc() -> Schema {
        Schema::of_the_origin(TimeZone::UTC)
    }

    fn kind(plaintext: &[u8]) -> &'static str {
        read(plaintext, &utc()).map_or_else(|reason| reason.kind(), |_| "ok")
    }

    fn as_json(plaintext: &str) -> String {
        let record = read(plaintext.as_bytes(), &utc()).unwrap();
        let mut out = Vec::new();
        json::write_fields(&record.fields, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn record_has_its_fields_time_and_hour() {
        let seoul = TimeZone::get("Asia/Seoul").unwrap();
        let record =
            read(b"{'record_id': 7, 'inDate': '2023-03-10T01:48:11.818Z'}", &Schema::of_the_origin(seoul)).unwrap();
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
        let reason = read(br#"{"a": null, "b": "#, &utc()).unwrap_err();
        assert_eq!(reason.to_string(), "not-a-record: the JSON text ends early at byte 16");
        let reason = read(b"{'a': None, 'b': x}", &utc()).unwrap_err();
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
            let _ = read(&bytes, &utc());
        }

        #[test]
        fn almost_literals_never_panic(parts in prop::collection::vec(prop::sample::select(generated::FRAGMENTS), 0..40)) {
            let _ = read(parts.concat().as_bytes(), &utc());
        }
    }
}
