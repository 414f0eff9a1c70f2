//! A record's text, as Python would write it: `ascii()` of a dict, or JSON.
//!
//! Owns the writers only (the crate's parsers live with the record). They are written from Python's rules and not from
//! those parsers, so that each can show the other wrong.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Keys and values of a dict, in their order.
pub(super) type Fields = Vec<(Cow<'static, str>, Value)>;

/// A Python value that a log can hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    /// Digits with an optional minus sign, of any length.
    Int(Cow<'static, str>),
    /// As Python's `repr` spells it.
    Float(&'static str),
    Text(Cow<'static, str>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Fields),
}

impl Value {
    /// A text known beforehand.
    pub(super) const fn text(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// An integer.
    pub(super) fn int(n: u64) -> Self {
        Self::Int(Cow::Owned(n.to_string()))
    }
}

/// Appends what Python's `ascii(value)` gives.
pub(super) fn write_python(value: &Value, out: &mut String) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(digits) => out.push_str(digits),
        Value::Float(text) => out.push_str(text),
        Value::Text(text) => write_python_text(text, out),
        Value::List(items) => write_items(items, ['[', ']'], write_python, ", ", out),
        Value::Tuple(items) => write_python_tuple(items, out),
        Value::Dict(fields) => write_python_dict(fields, out),
    }
}

/// Appends the JSON that holds the same: compact, UTF-8 as it is, a tuple as a list.
pub(super) fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(digits) => out.push_str(digits),
        Value::Float(text) => out.push_str(text),
        Value::Text(text) => write_json_text(text, out),
        Value::List(items) | Value::Tuple(items) => write_items(items, ['[', ']'], write_json, ",", out),
        Value::Dict(fields) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                write_json_text(key, out);
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
    }
}

fn write_items(items: &[Value], brackets: [char; 2], write: fn(&Value, &mut String), comma: &str, out: &mut String) {
    let [open, close] = brackets;
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { comma });
        write(item, out);
    }
    out.push(close);
}

fn write_python_tuple(items: &[Value], out: &mut String) {
    if let [only] = items {
        out.push('(');
        write_python(only, out);
        out.push_str(",)");
    } else {
        write_items(items, ['(', ')'], write_python, ", ", out);
    }
}

fn write_python_dict(fields: &Fields, out: &mut String) {
    out.push('{');
    for (i, (key, value)) in fields.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        write_python_text(key, out);
        out.push_str(": ");
        write_python(value, out);
    }
    out.push('}');
}

/// Single quotes, unless the text has one and no double quote.
fn write_python_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c => write_python_escape(u32::from(c), out),
        }
    }
    out.push(quote);
}

fn write_python_escape(code: u32, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

fn write_json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(value: &Value) -> String {
        let mut out = String::new();
        write_python(value, &mut out);
        out
    }

    fn json(value: &Value) -> String {
        let mut out = String::new();
        write_json(value, &mut out);
        out
    }

    #[test]
    fn text_is_written_as_python_does() {
        // Right-hand sides: `print(ascii(…))` of CPython 3.
        let cases = [
            ("", r"''"),
            ("plain", r"'plain'"),
            ("it's", r#""it's""#),
            ("say \"hi\"", r#"'say "hi"'"#),
            ("it's \"both\"", r#"'it\'s "both"'"#),
            ("back\\slash", r"'back\\slash'"),
            ("a\tb\nc\rd", r"'a\tb\nc\rd'"),
            ("nul\0 bell\u{7} del\u{7f}", r"'nul\x00 bell\x07 del\x7f'"),
            ("café\u{a0}", r"'caf\xe9\xa0'"),
            ("한글\u{2028}", r"'\ud55c\uae00\u2028'"),
            ("😀", r"'\U0001f600'"),
            ("{'dict': 'in a string'}", r#""{'dict': 'in a string'}""#),
        ];
        for (text, expected) in cases {
            assert_eq!(python(&Value::Text(text.into())), expected);
        }
    }

    fn nested() -> Value {
        Value::Dict(vec![
            ("none".into(), Value::None),
            ("yes".into(), Value::Bool(true)),
            ("no".into(), Value::Bool(false)),
            ("big".into(), Value::Int("-18446744073709551616".into())),
            ("float".into(), Value::Float("1e+22")),
            ("one".into(), Value::Tuple(vec![Value::int(1)])),
            ("two".into(), Value::Tuple(vec![Value::int(1), Value::text("b")])),
            ("empty".into(), Value::List(vec![Value::Tuple(vec![]), Value::Dict(vec![])])),
            ("it's".into(), Value::List(vec![Value::int(1), Value::int(2)])),
        ])
    }

    #[test]
    fn containers_are_written_as_python_does() {
        let expected = "{'none': None, 'yes': True, 'no': False, 'big': -18446744073709551616, 'float': 1e+22, \
                        'one': (1,), 'two': (1, 'b'), 'empty': [(), {}], \"it's\": [1, 2]}";
        assert_eq!(python(&nested()), expected);
    }

    #[test]
    fn json_holds_the_same_with_tuples_as_lists() {
        let expected = r#"{"none":null,"yes":true,"no":false,"big":-18446744073709551616,"float":1e+22,"one":[1],"two":[1,"b"],"empty":[[],{}],"it's":[1,2]}"#;
        assert_eq!(json(&nested()), expected);
    }

    #[test]
    fn json_text_reads_back() {
        for text in ["", "it's \"both\"", "a\\b\n\r\t\u{1}\u{7f}", "한글😀\u{2028}"] {
            let read: String = serde_json::from_str(&json(&Value::Text(text.into()))).unwrap();
            assert_eq!(read, text);
        }
    }
}
