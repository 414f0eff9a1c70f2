//! JSON: reading it without losing a digit, and writing it byte for byte as Python's `json.dumps(x, separators=(",", ":"))`.
//!
//! Reading goes level by level over serde_json's raw values, so that an int of any size keeps its digits; what is deeper than
//! [`MAX_DEPTH`] is an error and is never entered. Writing is ASCII: the origin's files are, and Athena's SerDes agree on it.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::reason::Reason;
use super::value::{Builder, Fields, MAX_DEPTH, Value};

/// Parses a JSON text.
///
/// # Errors
/// Where it is none, or holds something that a record cannot.
pub fn parse(text: &str) -> Result<Value<'_>, Reason> {
    value(text.trim_matches([' ', '\t', '\n', '\r']), 0)
}

fn wrong(e: &serde_json::Error) -> Reason {
    // serde_json's messages name places and kinds and quote no text of ours, but for unexpected strings.
    Reason::not_a_record(format!("no JSON: line {} column {}", e.line(), e.column()))
}

fn value(text: &str, depth: usize) -> Result<Value<'_>, Reason> {
    let nested = |byte: &u8| matches!(byte, b'{' | b'[');
    if depth == MAX_DEPTH && text.as_bytes().first().is_some_and(nested) {
        return Err(Reason::not_a_record("no JSON: nested too deep"));
    }
    match text.as_bytes().first() {
        Some(b'{') => dict(text, depth).map(Value::Dict),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| wrong(&e))?;
            items.into_iter().map(|item| value(item.get(), depth + 1)).collect::<Result<_, _>>().map(Value::List)
        }
        Some(b'"') => string(text).map(Value::Str),
        Some(b't' | b'f') => serde_json::from_str(text).map(Value::Bool).map_err(|e| wrong(&e)),
        Some(b'n') => serde_json::from_str::<()>(text).map(|()| Value::Null).map_err(|e| wrong(&e)),
        Some(_) => number(text),
        None => Err(Reason::not_a_record("no JSON: it is empty")),
    }
}

/// The object `text`, level by level.
fn dict(text: &str, depth: usize) -> Result<Fields<'_>, Reason> {
    let mut json = serde_json::Deserializer::from_str(text);
    let members = json.deserialize_map(Members).map_err(|e| wrong(&e))?;
    json.end().map_err(|e| wrong(&e))?;
    let mut fields = Builder::default();
    for (key, raw) in members {
        fields.put(key, value(raw.get(), depth + 1)?);
    }
    Ok(fields.finish())
}

/// The members of an object, equal keys included.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push((string(key.get()).map_err(serde::de::Error::custom)?, value));
        }
        Ok(members)
    }
}

fn string(text: &str) -> Result<Cow<'_, str>, Reason> {
    let inside = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    if inside.bytes().all(|b| b >= b' ' && b != b'\\' && b != b'"') && text.len() > 1 && text.ends_with('"') {
        return Ok(Cow::Borrowed(inside));
    }
    serde_json::from_str::<String>(text).map(Cow::Owned).map_err(|e| wrong(&e))
}

fn number(text: &str) -> Result<Value<'_>, Reason> {
    // Checks the grammar, which is stricter than Rust's.
    serde_json::from_str::<&RawValue>(text).map_err(|e| wrong(&e))?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Value::Int(Cow::Borrowed(if digits == "0" { digits } else { text })));
    }
    let float = text.parse().ok().filter(|value: &f64| value.is_finite());
    float.map(Value::Float).ok_or_else(|| Reason::not_a_record("a number that a record cannot hold"))
}

/// Writes a value.
pub fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(digits) => out.extend_from_slice(digits.as_bytes()),
        Value::Float(value) => write_float(*value, out),
        Value::Str(text) => write_str(text, out),
        Value::List(items) => {
            write_all(out, *b"[]", items, |item, out| write(item, out));
        }
        Value::Dict(fields) => write_fields(fields, out),
    }
}

/// Writes the fields of a dict in their order.
pub fn write_fields(fields: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
    write_all(out, *b"{}", fields, |(key, value), out| {
        write_str(key, out);
        out.push(b':');
        write(value, out);
    });
}

/// Writes `items` between `brackets`, with commas.
pub(super) fn write_all<T>(out: &mut Vec<u8>, brackets: [u8; 2], items: impl IntoIterator<Item = T>, mut one: impl FnMut(T, &mut Vec<u8>)) {
    let [open, close] = brackets;
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        one(item, out);
    }
    out.push(close);
}

/// Writes text in quotes, in ASCII.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|char| write_char(char, out));
    }
    out.push(b'"');
}

fn write_char(char: char, out: &mut Vec<u8>) {
    let short = match char {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\x08' => b'b',
        '\x0c' => b'f',
        ' '..='~' => {
            // ASCII, one byte.
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
        _ => {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to memory does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Python's `repr` of a float: the shortest digits that read back equal, in full from 1e-4 up to below 1e16, with an
/// exponent of at least two digits beyond.
fn write_float(value: f64, out: &mut Vec<u8>) {
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let _ = if (-4..16).contains(&exponent) {
        let text = format!("{value}");
        let point = if text.contains('.') { "" } else { ".0" };
        write!(out, "{text}{point}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.unsigned_abs())
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value<'_>) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_written_as_python_does() {
        for (value, text) in [
            (0.1, "0.1"),
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1e22, "1e+22"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(written(&Value::Float(value)), text);
        }
    }

    #[test]
    fn text_is_written_in_ascii() {
        let text = "a\"\\/\n\r\t\u{8}\u{c}\u{0}\u{7f}é한\u{1f600}";
        assert_eq!(
            written(&Value::Str(text.into())),
            r#""a\"\\/\n\r\t\b\f\u0000\u007f\u00e9\ud55c\ud83d\ude00""#
        );
    }

    #[test]
    fn what_was_written_reads_back() {
        let text = r#"{"a":[1,-2,1.5,true,false,null,"x\u00e9",{}],"b":123456789012345678901234567890}"#;
        assert_eq!(written(&parse(text).unwrap()), text);
    }

    #[test]
    fn last_of_equal_keys_counts_at_the_place_of_the_first() {
        assert_eq!(written(&parse(r#"{"a":1,"b":2,"a":3}"#).unwrap()), r#"{"a":3,"b":2}"#);
        let many: Vec<String> = (0..100).map(|n| format!("\"k{}\":{n}", n % 50)).collect();
        let Value::Dict(fields) = parse(&format!("{{{}}}", many.join(","))).unwrap_or(Value::Null) else {
            panic!("no dict")
        };
        assert_eq!(fields.len(), 50);
        assert_eq!(fields[40], ("k40".into(), Value::Int("90".into())));
    }

    #[test]
    fn minus_zero_is_zero_as_an_int_only() {
        assert_eq!(parse("-0").unwrap(), Value::Int("0".into()));
        assert_eq!(written(&parse("-0.0").unwrap()), "-0.0");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,]", "{'a':1}", "01", "+1", ".5", "1.", "NaN", "Infinity", "1e999", "nul", "\"a", "\"\\x41\"", "{\"a\"}", "1 2", "\"\\ud800\""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn depth_ends_before_the_stack_does() {
        assert!(parse(&format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000))).is_err());
        assert!(parse(&format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))).is_ok());
    }
}
