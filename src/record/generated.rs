//! Generated values for property tests, and a writer of Python literals to check the parser against.

use std::borrow::Cow;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::value::{Fields, Value, unique};

/// Pieces that literals are made of, whole and broken.
pub(crate) const FRAGMENTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    "'",
    "\"",
    "'''",
    "\\",
    "\n",
    "\r\n",
    " ",
    "0",
    "1",
    "0x",
    "_",
    ".",
    "e",
    "+",
    "-",
    "r'",
    "u\"",
    "b'",
    "\\u",
    "\\ud83d",
    "\\N{",
    "LATIN SMALL LETTER A",
    "\\x4",
    "\\U0010ffff",
    "\\777",
    "None",
    "True",
    "null",
    "{'inDate': '2023-03-10T01:48:11.818Z'",
    "{\"inDate\": \"",
    "é",
    "😀",
    "\0",
    "1e999",
    "'a': ",
    "\"a\": ",
];

/// How a literal is spelled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    double: bool,
    ascii: bool,
    tuples: bool,
    airy: bool,
}

pub(crate) fn style() -> impl Strategy<Value = Style> {
    any::<(bool, bool, bool, bool)>().prop_map(|(double, ascii, tuples, airy)| Style { double, ascii, tuples, airy })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z_]{0,12}",
        2 => any::<String>(),
        1 => prop::sample::select(vec!["'", "\"", "\\", "\\u0041", "\n\r\t\0\u{7f}", "한글 😀", "'''", "{'a': 1}", "a\\"])
            .prop_map(String::from),
        1 => prop::sample::select(vec!["GET", "POST", "/api/products/product/", "2023-03-10T01:48:11.818Z"])
            .prop_map(String::from),
        1 => "[0-9a-f]{64}",
        1 => "[0-9a-fA-F]{64}",
    ]
}

fn key() -> impl Strategy<Value = String> {
    let odd = "(user_id|method|url|inDate|detail|_raw|raw)(_raw){0,4}";
    prop_oneof![2 => odd.prop_map(String::from), 1 => "[a-z]{1,3}", 1 => any::<String>()]
}

fn scalar() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        2 => "0|-?[1-9][0-9]{0,40}".prop_map(|digits| Value::Int(Cow::Owned(digits))),
        2 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::Float),
        1 => any::<i32>().prop_map(|n| Value::Float(f64::from(n) / 100.0)),
        6 => text().prop_map(|text| Value::Str(Cow::Owned(text))),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value<'static>> {
    scalar().prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            dict(inner).prop_map(Value::Dict),
        ]
    })
}

fn dict(inner: impl Strategy<Value = Value<'static>>) -> impl Strategy<Value = Fields<'static>> {
    prop::collection::vec((key().prop_map(Cow::Owned), inner), 0..20).prop_map(unique)
}

/// Fields with many of the names that compaction treats specially.
pub(crate) fn fields() -> impl Strategy<Value = Fields<'static>> {
    dict(value())
}

/// The same fields in another order, at every level.
pub(crate) fn shuffled(mut fields: Fields<'static>, seed: u64) -> Fields<'static> {
    let mut random = fastrand::Rng::with_seed(seed);
    random.shuffle(&mut fields);
    fields.into_iter().map(|(key, value)| (key, shuffled_value(value, seed))).collect()
}

fn shuffled_value(value: Value<'static>, seed: u64) -> Value<'static> {
    match value {
        Value::Dict(fields) => Value::Dict(shuffled(fields, seed)),
        Value::List(items) => Value::List(items.into_iter().map(|item| shuffled_value(item, seed)).collect()),
        scalar => scalar,
    }
}

/// `value` as a Python literal.
pub(crate) fn repr(value: &Value<'_>, style: Style) -> String {
    let mut out = String::new();
    write_repr(value, style, &mut out);
    out
}

fn write_repr(value: &Value<'_>, style: Style, out: &mut String) {
    let (comma, colon) = if style.airy { (" ,\n ", "\t:\n") } else { (", ", ": ") };
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(digits) => out.push_str(digits),
        Value::Float(number) => write!(out, "{number:?}").unwrap(),
        Value::Str(text) => write_text(text, style, out),
        Value::List(items) => {
            out.push(if style.tuples { '(' } else { '[' });
            for item in items {
                write_repr(item, style, out);
                out.push_str(comma);
            }
            out.push(if style.tuples { ')' } else { ']' });
        }
        Value::Dict(fields) => {
            out.push('{');
            for (key, value) in fields {
                write_text(key, style, out);
                out.push_str(colon);
                write_repr(value, style, out);
                out.push_str(comma);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, style: Style, out: &mut String) {
    let quote = if style.double { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c if c == quote => write!(out, "\\{c}").unwrap(),
            c if c.is_ascii() || !style.ascii => out.push(c),
            c if u32::from(c) <= 0xff => write!(out, "\\x{:02x}", u32::from(c)).unwrap(),
            c if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c)).unwrap(),
            c => write!(out, "\\U{:08x}", u32::from(c)).unwrap(),
        }
    }
    out.push(quote);
}
