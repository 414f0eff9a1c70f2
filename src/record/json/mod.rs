//! JSON, read with every digit kept and written as Python does.
//!
//! Pure. `serde_json` reads and checks the grammar. Numbers and nested containers are taken as their text, so that integers of any size
//! stay exact and the recursion is limited here.

mod plain;
mod writer;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub(super) use plain::plain;
pub(super) use writer::{Position, write_sorted, write_value_sorted};
pub use writer::{length, write, write_fields, write_text};

use super::reason::{Reason, ReasonKind};
use super::scan::literal_run;
use super::value::{Fields, MAX_DEPTH, TOO_MANY, Value, unique, usual_fields};

/// A shorter text is read level by level as fast as its levels are counted.
const SHORT: usize = 4096;

/// Reads `text`, which must be one JSON value, with only white space around it.
///
/// # Errors
/// `not-a-record`, `unrepresentable` (lone surrogate, number beyond the largest float) or `too-deep`.
pub fn parse(text: &str) -> Result<Value<'_>, Reason> {
    if text.len() > SHORT {
        refuse_monsters(text)?;
    }
    let reader = Reader { source: text, depth: 0 };
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    if trimmed.starts_with(['{', '[']) {
        return reader.value(trimmed);
    }
    let scalar: &RawValue = serde_json::from_str(trimmed).map_err(|error| reader.syntax(trimmed, &error))?;
    reader.value(scalar.get())
}

/// Refuses a text that nests too deeply or holds too many values in one pass over it, whatever else is wrong with it.
fn refuse_monsters(text: &str) -> Result<(), Reason> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut commas) = (0, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'[' | b'{' if depth == MAX_DEPTH => return Err(too_deep().at(at)),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if commas == TOO_MANY => return Err(Reason::too_many_values().at(at)),
            b',' => commas += 1,
            b'"' => at = string_end(bytes, at + 1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// The closing quote of the string whose text starts at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = literal_run(bytes, at, b'"');
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at,
            Some(_) => at += 1,
        }
    }
}

const fn too_deep() -> Reason {
    Reason::new(ReasonKind::TooDeep, "nested too deeply")
}

/// The place in the text.
#[derive(Clone, Copy)]
struct Reader<'a> {
    source: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Reads `text`, a part of the source. What is not a container has been checked by `serde_json`.
    fn value(self, text: &'a str) -> Result<Value<'a>, Reason> {
        match text.as_bytes().first() {
            Some(b'"') => self.string(text).map(Value::Str),
            Some(b'{' | b'[') => self.container(text),
            Some(b't') => Ok(Value::Bool(true)),
            Some(b'f') => Ok(Value::Bool(false)),
            Some(b'n') => Ok(Value::Null),
            _ => self.number(text),
        }
    }

    fn string(self, text: &'a str) -> Result<Cow<'a, str>, Reason> {
        match text.get(1..text.len().saturating_sub(1)) {
            Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
            _ => serde_json::from_str(text).map(Cow::Owned).map_err(|_| {
                Reason::new(ReasonKind::Unrepresentable, "a string with a lone surrogate").at(self.offset(text))
            }),
        }
    }

    fn number(self, text: &'a str) -> Result<Value<'a>, Reason> {
        if !text.contains(['.', 'e', 'E']) {
            return Ok(Value::Int(Cow::Borrowed(if text == "-0" { "0" } else { text })));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(Reason::new(ReasonKind::Unrepresentable, "a float beyond the largest").at(self.offset(text))),
        }
    }

    fn container(self, text: &'a str) -> Result<Value<'a>, Reason> {
        if self.depth == MAX_DEPTH {
            return Err(too_deep().at(self.offset(text)));
        }
        let mut refused = None;
        let inner = Container { reader: Self { depth: self.depth + 1, ..self }, refused: &mut refused };
        let mut source = serde_json::Deserializer::from_str(text);
        let value = source.deserialize_any(inner).and_then(|value| source.end().map(|()| value));
        value.map_err(|error| refused.unwrap_or_else(|| self.syntax(text, &error)))
    }

    /// The reason for a mistake in the grammar of `text`: only where, as `serde_json` may quote the text itself.
    fn syntax(self, text: &str, error: &serde_json::Error) -> Reason {
        let lines_before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
        let behind = self.offset(text) + lines_before.map(str::len).sum::<usize>() + error.column();
        if error.is_eof() {
            return Reason::new(ReasonKind::NotARecord, "the JSON text ends early").at(behind);
        }
        Reason::new(ReasonKind::NotARecord, "no JSON").at(behind.saturating_sub(1))
    }

    /// Where `text`, a part of the source, starts in it.
    fn offset(self, text: &str) -> usize {
        text.as_ptr().addr().saturating_sub(self.source.as_ptr().addr())
    }
}

/// Collects the items of one dict or list.
struct Container<'r, 'a> {
    reader: Reader<'a>,
    /// Our own reason, which cannot be part of serde's error.
    refused: &'r mut Option<Reason>,
}

impl<'a> Container<'_, 'a> {
    fn value<E: serde::de::Error>(&mut self, text: &'a RawValue) -> Result<Value<'a>, E> {
        self.reader.value(text.get()).map_err(|reason| {
            *self.refused = Some(reason);
            E::custom("refused")
        })
    }
}

impl<'a> Visitor<'a> for Container<'_, 'a> {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object or array")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut source: M) -> Result<Value<'a>, M::Error> {
        let mut fields: Fields<'a> = Vec::with_capacity(usual_fields(self.reader.depth));
        while let Some(Key(key)) = source.next_key()? {
            fields.push((key, self.value(source.next_value()?)?));
        }
        Ok(Value::Dict(unique(fields)))
    }

    fn visit_seq<S: SeqAccess<'a>>(mut self, mut source: S) -> Result<Value<'a>, S::Error> {
        let mut items = Vec::new();
        while let Some(text) = source.next_element()? {
            items.push(self.value(text)?);
        }
        Ok(Value::List(items))
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn written(value: &Value<'_>) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What was read, written again; or the machine code of the refusal.
    fn read(text: &str) -> Result<String, &'static str> {
        parse(text).map(|value| written(&value)).map_err(|reason| reason.kind())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = r#"{"a":[null,true,false,"x",{"b":[]}],"c":-1,"d":1.5,"e":{}}"#;
        assert_eq!(read(text).as_deref(), Ok(text));
        assert_eq!(read(" \t\r\n{ \"a\" : [ 1 , 2 ] } \n").as_deref(), Ok(r#"{"a":[1,2]}"#));
        assert_eq!(read(r#"{"k":1,"l":2,"\u006b":3}"#).as_deref(), Ok(r#"{"k":3,"l":2}"#));
        for scalar in ["null", "true", "1", "\"x\""] {
            assert_eq!(read(&format!(" {scalar} ")).as_deref(), Ok(scalar));
        }
    }

    #[test]
    fn numbers_keep_every_digit() {
        for (text, expected) in [
            ("18446744073709551616", "18446744073709551616"),
            ("-9223372036854775809", "-9223372036854775809"),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1E5", "100000.0"),
            ("1.0000000000000002", "1.0000000000000002"),
            ("7.2057594037927933e16", "7.205759403792794e+16"),
        ] {
            assert_eq!(read(&format!("[{text}]")).as_deref(), Ok(format!("[{expected}]").as_str()));
            assert_eq!(read(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn plain_text_stays_borrowed() {
        let Ok(Value::Dict(fields)) = parse(r#"{"key":"value","n":-12}"#) else { panic!("no dict") };
        assert!(matches!(fields[0], (Cow::Borrowed("key"), Value::Str(Cow::Borrowed("value")))));
        assert!(matches!(fields[1].1, Value::Int(Cow::Borrowed("-12"))));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[1",
            "{'a':1}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "nul",
            "True",
            "NaN",
            "Infinity",
            "01",
            "1.",
            ".5",
            "+1",
            "1 2",
            "{} {}",
            "[\"a\nb\"]",
            "\"a",
            "[\"\\x\"]",
            "[\"\\u12\"]",
            "// x\n{}",
            "\u{feff}{}",
            "{1:2}",
            "{\"a\":undefined}",
            "\u{a0}{}",
            "{}\u{b}",
        ] {
            assert_eq!(read(text), Err("not-a-record"), "{text:?}");
        }
    }

    #[test]
    fn values_beyond_a_row_are_unrepresentable() {
        for text in ["1e999", r#""\ud800""#, r#""\ude00\ud83d""#] {
            assert_eq!(read(&format!("[{text}]")), Err("unrepresentable"), "{text}");
        }
        assert_eq!(read(r#"["\ud83d\ude00"]"#).as_deref(), Ok(r#"["\ud83d\ude00"]"#));
    }

    #[test]
    fn nesting_ends_at_the_limit_however_deep_the_text() {
        let nested = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            assert!(read(&nested(open, close, MAX_DEPTH)).is_ok());
            assert_eq!(read(&nested(open, close, MAX_DEPTH + 1)), Err("too-deep"));
            assert_eq!(read(&nested(open, close, 1_000_000)), Err("too-deep"));
            assert_eq!(read(&open.repeat(1_000_000)), Err("too-deep"));
        }
        let brackets_in_text = format!("[\"{}\\\"{}\"]", "[".repeat(5000), "{".repeat(5000));
        assert!(read(&brackets_in_text).is_ok());
    }

    #[test]
    fn reason_says_where_in_the_whole_text() {
        let at = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(at(r#"{"a": [1, {"b": 1e999}]}"#), "unrepresentable: a float beyond the largest at byte 16");
        assert_eq!(at("{\n\"a\": secret}"), "not-a-record: no JSON at byte 7");
        assert_eq!(at("[[[1"), "not-a-record: the JSON text ends early at byte 4");
    }
}
