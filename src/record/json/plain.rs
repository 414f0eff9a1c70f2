//! JSON objects that are spelled exactly as the writer spells them, read in one pass.
//!
//! Pure. Most rows are such objects: texts without escapes, integers, `null`, `true` and `false`, and at most one level of objects in them. Invariant: what
//! [`plain`] reads, [`parse`](super::parse) reads alike, and [`write_fields`](super::write_fields) gives the same text back. All else is left
//! to `parse`. Measured on rows of the origin's kind: a quarter of the time (`benches/record.rs`).

use std::borrow::Cow;

use super::super::scan::json_run;
use super::super::value::{Fields, Value, usual_fields};

/// How deep objects may nest.
const DEEPEST: usize = 2;
/// The most fields of an object: their keys are compared with each other.
const MOST: usize = 64;

/// The fields of the object that `text` is. `None`: it is none, or not so plain.
pub(in crate::record) fn plain(text: &str) -> Option<Fields<'_>> {
    let mut scan = Scan { text, at: 0 };
    let fields = scan.object(1)?;
    (scan.at == text.len()).then_some(fields)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn object(&mut self, depth: usize) -> Option<Fields<'a>> {
        self.take(b'{')?;
        let mut fields: Fields<'a> = Vec::with_capacity(usual_fields(depth));
        if self.take(b'}').is_some() {
            return Some(fields);
        }
        let mut seen = 0;
        loop {
            let key = self.string()?;
            self.take(b':')?;
            let value = self.value(depth)?;
            if fields.len() == MOST || is_twice(&fields, key, &mut seen) {
                return None;
            }
            fields.push((Cow::Borrowed(key), value));
            if self.take(b',').is_none() {
                return self.take(b'}').map(|()| fields);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        match self.peek()? {
            b'"' => self.string().map(|text| Value::Str(Cow::Borrowed(text))),
            b'-' | b'0'..=b'9' => self.integer(),
            b'{' if depth < DEEPEST => self.object(depth + 1).map(Value::Dict),
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            _ => None,
        }
    }

    /// A text without anything that would be escaped.
    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let from = self.at;
        self.at = json_run(self.text.as_bytes(), from);
        let text = self.text.get(from..self.at)?;
        self.take(b'"').map(|()| text)
    }

    /// An integer in canonical digits. A float has more behind them, which is no end of a value.
    fn integer(&mut self) -> Option<Value<'a>> {
        let from = self.at;
        let is_negative = self.take(b'-').is_some();
        let first = self.peek()?;
        let digits = self.text.as_bytes().get(self.at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        let is_canonical = digits == 1 && !is_negative || digits > 0 && first != b'0';
        let text = self.text.get(from..self.at)?;
        is_canonical.then_some(Value::Int(Cow::Borrowed(text)))
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Option<Value<'a>> {
        self.text.get(self.at..)?.starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }
}

/// Whether there is a field of this key already. `seen` has a bit for each key that came: most keys differ in theirs.
fn is_twice(fields: &[(Cow<'_, str>, Value<'_>)], key: &str, seen: &mut u64) -> bool {
    let bytes = key.as_bytes();
    let ends = [bytes.first(), bytes.last()].map(|end| u64::from(end.copied().unwrap_or_default()));
    let bit = 1 << ((key.len() as u64 * 7 + ends.iter().sum::<u64>()) % 64);
    let may_be = *seen & bit != 0;
    *seen |= bit;
    may_be && fields.iter().any(|(known, _)| known == key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::written;
    use super::super::{parse, write_fields};
    use super::*;
    use crate::record::generated;

    fn agrees(text: &str) -> bool {
        let Some(fields) = plain(text) else { return false };
        let fields = Value::Dict(fields);
        assert_eq!(written(&fields), text);
        assert_eq!(parse(text).as_ref(), Ok(&fields));
        true
    }

    #[test]
    fn plain_objects_are_read_and_others_are_not() {
        for text in ["{}", r#"{"a":1}"#, r#"{"a":-10,"b":"x y","c":{"d":null,"e":true},"f":false,"g":{}}"#, r#"{"":0}"#]
        {
            assert!(agrees(text), "{text}");
        }
        for text in [
            "",
            "{",
            "1",
            "[]",
            "{} ",
            r#"{"a": 1}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":-0}"#,
            r#"{"a":-}"#,
            r#"{"a":1.5}"#,
            r#"{"a":1e5}"#,
            r#"{"a":"\n"}"#,
            r#"{"a":"é"}"#,
            r#"{"a\u0041":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":[]}"#,
            r#"{"a":{"b":{}}}"#,
            r#"{"a":nul}"#,
            r#"{"a":truex}"#,
            "{\"a\":\"\u{7f}\"}",
        ] {
            assert_eq!(plain(text), None, "{text}");
        }
        let many = |count: usize| (0..count).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(",");
        assert!(agrees(&format!("{{{}}}", many(64))) && !agrees(&format!("{{{}}}", many(65))));
    }

    proptest! {
        #[test]
        fn what_is_read_at_once_is_what_the_parser_reads(fields in generated::fields(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = Vec::new();
            write_fields(&fields, &mut text);
            agrees(std::str::from_utf8(&text).unwrap());
            let at = at.index(text.len());
            text[at] = byte;
            if let Ok(text) = std::str::from_utf8(&text) {
                agrees(text);
            }
        }

        #[test]
        fn what_is_nearly_json_is_read_alike_or_not_at_all(text in r#"\{("(a|b|ab)":(-?[0-9]{1,2}|"x?"|null|\{("a":1)?\}),?){0,3}\}"#) {
            agrees(&text);
        }
    }
}
