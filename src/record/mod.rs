//! Records: plaintext → fields, event time and content hash.
//!
//! A plaintext is the `repr` of a Python dict, or a JSON object. The Python reading is tried first, as the origin's own
//! reader takes it, and JSON where that fails (`true`, `null`, surrogate pairs). Nothing is ever evaluated. Pure.
//!
//! # Canonical form
//! The identity of a record is the first 128 bits of the BLAKE3 hash of its *canonical form*: the record as JSON in ASCII,
//! without spaces, keys sorted by bytes at every level. A tuple is a list, an int its digits, a float its shortest repr; so 1, 1.0 and
//! true differ, spellings of the same value do not, and the form can be made again from a restored record alone.

pub mod json;
pub mod python;
mod reason;
mod time;
mod value;

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use reason::Reason;
pub use value::{Fields, MAX_DEPTH, Value};

use crate::hour::Hour;

/// The field that holds the event time.
pub const EVENT_TIME: &str = "inDate";

/// A log record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// Its fields in their order.
    pub fields: Fields<'a>,
    /// The event time.
    pub at: Timestamp,
    /// The event-time hour.
    pub hour: Hour,
}

/// The content hash of a record: its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 16]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads a record. A time without an offset is taken to be in `zone`.
///
/// # Errors
/// Why it is none.
pub fn read<'a>(plaintext: &'a [u8], zone: &TimeZone) -> Result<Record<'a>, Reason> {
    let text = std::str::from_utf8(plaintext)
        .map_err(|e| Reason::new("not-utf8", format!("not UTF-8 from byte {} on", e.valid_up_to())))?;
    match literal(text)? {
        Value::Dict(fields) => dated(fields, zone),
        _ => Err(Reason::not_a_record("neither a Python dict nor a JSON object")),
    }
}

fn literal(text: &str) -> Result<Value<'_>, Reason> {
    python::parse(text).or_else(|python| {
        // The reason that people can use is that of the form which the text is in.
        json::parse(text).map_err(|json| if looks_like_json(text) { json } else { python })
    })
}

fn looks_like_json(text: &str) -> bool {
    text.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'))
}

/// Gives fields their event time and hour.
///
/// # Errors
/// There is no event time among them, or it is none.
pub fn dated<'a>(fields: Fields<'a>, zone: &TimeZone) -> Result<Record<'a>, Reason> {
    let value = fields.iter().find(|(key, _)| key == EVENT_TIME).map(|(_, value)| value);
    let at = match value {
        Some(Value::Str(text)) => time::parse(text, zone),
        Some(_) => None,
        None => return Err(Reason::new("no-indate", "it has no inDate")),
    };
    let placed = at.and_then(|at| Some((at, Hour::of(at, zone)?)));
    let (at, hour) = placed.ok_or_else(|| Reason::new("bad-indate", "its inDate is no time"))?;
    Ok(Record { fields, at, hour })
}

/// The content hash of a record: see the module for what is hashed.
#[must_use]
pub fn content_hash(fields: &[(Cow<'_, str>, Value<'_>)]) -> ContentHash {
    let mut form = Vec::with_capacity(512);
    write_sorted(fields, &mut form);
    let mut hash = [0; 16];
    blake3::Hasher::new().update(&form).finalize_xof().fill(&mut hash);
    ContentHash(hash)
}

fn write_sorted(fields: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    json::write_all(out, *b"{}", sorted, |(key, value), out| {
        json::write_str(key, out);
        out.push(b':');
        write_canonical(value, out);
    });
}

fn write_canonical(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Dict(fields) => write_sorted(fields, out),
        Value::List(items) => json::write_all(out, *b"[]", items, write_canonical),
        other => json::write(other, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> ContentHash {
        let Ok(Value::Dict(fields)) = literal(text) else { panic!("no dict: {text}") };
        content_hash(&fields)
    }

    #[test]
    fn hash_of_the_canonical_form_is_pinned() {
        let hash = hash("{'b': 1, 'a': [True, None, 1.5, 'é']}");
        let form = br#"{"a":[true,null,1.5,"\u00e9"],"b":1}"#;
        assert_eq!(hash.to_string(), blake3::hash(form).to_hex().as_str()[..32]);
    }

    #[test]
    fn spelling_makes_no_difference_and_type_does() {
        let same = ["{'a': (1, 2), 'b': 'x'}", "{\"b\": \"x\", \"a\": [1,2]}", "{'a': [0x1, +2,], 'b': '\\x78'}"];
        assert!(same.iter().all(|text| hash(text) == hash(same[0])));
        let differ = ["{'a': 1}", "{'a': 1.0}", "{'a': True}", "{'a': '1'}", "{'a': [1]}", "{'a': None}", "{'a': -1}"];
        for (n, a) in differ.iter().enumerate() {
            assert!(differ.iter().skip(n + 1).all(|b| hash(a) != hash(b)), "{a}");
        }
    }

    #[test]
    fn python_reading_comes_first_and_json_takes_the_rest() {
        let name = |text: &str| match literal(text) {
            Ok(Value::Dict(fields)) => match &fields[0].1 {
                Value::Str(text) => text.to_string(),
                other => format!("{other:?}"),
            },
            other => format!("{other:?}"),
        };
        assert_eq!(name(r#"{"n": "a\/b"}"#), r"a\/b");
        assert_eq!(name(r#"{"n": "\ud83d\ude00"}"#), "\u{1f600}");
        assert_eq!(name(r#"{"n": null}"#), "Null");
    }

    #[test]
    fn what_is_no_record_has_its_reason() {
        let kind = |bytes: &[u8]| read(bytes, &TimeZone::UTC).map(|_| "record").unwrap_or_else(|r| r.kind());
        assert_eq!(kind(b"\xff"), "not-utf8");
        assert_eq!(kind(b"'text'"), "not-a-record");
        assert_eq!(kind(b"{"), "not-a-record");
        assert_eq!(kind(b"__import__('os').system('true')"), "not-a-record");
        assert_eq!(kind(b"{'a': 1}"), "no-indate");
        assert_eq!(kind(b"{'inDate': 20230310}"), "bad-indate");
        assert_eq!(kind(b"{'inDate': '2023-03-10'}"), "bad-indate");
        assert_eq!(kind(b"{'inDate': '2023-03-10T01:48:11.818Z'}"), "record");
    }
}
