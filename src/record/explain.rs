//! A reason for a person who does not see the text: with the word that was not understood, and the field that it is in.
//!
//! Unlike a [`Reason`] it shows parts of the record: short, and without control characters. Made only for what goes to quarantine, in
//! one more pass over the text. Pure.

use super::reason::{Reason, ReasonKind};
use super::schema::{IN_DATE, Schema};
use super::value::value_at;
use super::{Value, json, literal, odd};

/// The longest piece of a record that is shown, in characters.
const SHOWN: usize = 40;
/// Names of members that are shown.
const NAMES: usize = 12;

/// `reason`, why `plaintext` is not a record of `schema`, with the word that it is about and the field that this is in.
#[must_use]
pub(crate) fn explain(plaintext: &[u8], reason: &Reason, schema: &Schema) -> String {
    if let (ReasonKind::NoTime | ReasonKind::BadTime, Some(instead)) = (reason.code(), instead(plaintext, schema)) {
        return format!("{}: {instead}", reason.phrase());
    }
    let (text, odd_byte) = match std::str::from_utf8(plaintext) {
        Ok(text) => (text, None),
        Err(error) => {
            let (valid, rest) = plaintext.split_at_checked(error.valid_up_to()).unwrap_or_default();
            (std::str::from_utf8(valid).unwrap_or_default(), rest.first())
        }
    };
    let (word, at) = match (reason.offset(), odd_byte) {
        (Some(at), Some(byte)) => (format!("\\x{byte:02x}"), at),
        (Some(at), None) => (shown(word_at(text, at)), at),
        (None, _) => (without_offset(text, reason).unwrap_or_default(), 0),
    };
    let field = field_at(text, at);
    match (word.is_empty(), field.is_empty()) {
        (true, true) => reason.to_string(),
        (true, false) => format!("{} in the field {field}", reason.phrase()),
        (false, true) => format!("{}: \"{}\"", reason.phrase(), shown(&word)),
        (false, false) => format!("{}: \"{}\" in the field {field}", reason.phrase(), shown(&word)),
    }
}

/// The word that a reason without an offset is about.
fn without_offset(text: &str, reason: &Reason) -> Option<String> {
    match (reason.code(), literal(text).ok()?) {
        (ReasonKind::BadInDate, Value::Dict(fields)) => {
            let (_, value) = fields.into_iter().find(|(key, _)| key == IN_DATE)?;
            Some(if let Value::Str(text) = value { text.into_owned() } else { as_json(&value) })
        }
        (ReasonKind::NoInDate, Value::Dict(fields)) => {
            let keys: Vec<_> = fields.iter().map(|(key, _)| key.as_ref()).collect();
            Some(keys.join(", "))
        }
        (ReasonKind::NotARecord, value) => Some(as_json(&value)),
        _ => None,
    }
}

/// What stands where the time should: a place, a type and names of members, and no value, for a record of any source may be private.
fn instead(plaintext: &[u8], schema: &Schema) -> Option<String> {
    let text = std::str::from_utf8(plaintext).ok()?;
    let Value::Dict(fields) = literal(text).or_else(|reason| odd::literal(text, reason)).ok()? else { return None };
    let (place, format) = (schema.dating.place(), schema.dating.format().name());
    if let Some(value) = value_at(&fields, place.steps()) {
        return Some(format!("at \"{place}\" is {}, and record.time_format is \"{format}\"", kind(value)));
    }
    let whole = Value::Dict(fields);
    let (mut here, mut path) = (&whole, String::new());
    for step in place.steps() {
        match here.step(step) {
            Some(inner) => (here, path) = (inner, format!("{path}/{}", step.replace('~', "~0").replace('/', "~1"))),
            None => break,
        }
    }
    let there = if path.is_empty() { "the record".to_owned() } else { format!("what is at \"{path}\"") };
    Some(format!("\"{place}\" leads nowhere: {there} is {}", kind(here)))
}

/// What kind of value it is, with the names of its members.
fn kind(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a truth value".to_owned(),
        Value::Int(_) => "a whole number".to_owned(),
        Value::Float(_) => "a fraction".to_owned(),
        Value::Str(text) => format!("a text of {} characters", text.chars().count()),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Dict(fields) if fields.is_empty() => "a dict without members".to_owned(),
        Value::Dict(fields) => {
            let names: Vec<String> = fields.iter().take(NAMES).map(|(key, _)| shown(key)).collect();
            let more = fields.len().saturating_sub(NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("a dict with \"{}\"{more}", names.join("\", \""))
        }
    }
}

fn as_json(value: &Value<'_>) -> String {
    let mut out = Vec::new();
    json::write(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The word at which a parser stopped: `at` is a byte of it.
fn word_at(text: &str, at: usize) -> &str {
    let Some((before, from)) = text.split_at_checked(at) else { return "" };
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let start = match from.starts_with(in_word) {
        true => before.trim_end_matches(in_word).len(),
        false => at,
    };
    let word = text.get(start..).unwrap_or_default();
    let ends =
        |c: char| if word.starts_with(in_word) { !in_word(c) } else { c.is_whitespace() || ",:;]})".contains(c) };
    let first = word.chars().next().map_or(0, char::len_utf8);
    let rest = word.get(first..).unwrap_or_default();
    word.get(..first + rest.find(ends).unwrap_or(rest.len())).unwrap_or_default()
}

/// A dict or list that is open at the place.
#[derive(Clone, Copy)]
struct Open<'a> {
    dict: bool,
    key: Option<&'a str>,
    item: usize,
}

/// The path of fields to byte `at`, as in `detail.items[2].when`. Empty at the top.
fn field_at(text: &str, at: usize) -> String {
    let bytes = text.as_bytes().get(..at).unwrap_or_default();
    let (mut open, mut last, mut here): (Vec<Open<'_>>, Option<&str>, usize) = (Vec::new(), None, 0);
    while let Some(byte) = bytes.get(here) {
        let begun = here;
        here += 1;
        match byte {
            b'\'' | b'"' => {
                here = string_end(bytes, here, *byte);
                last = text.get(begun + 1..here.saturating_sub(1));
            }
            b'{' | b'[' | b'(' => open.push(Open { dict: *byte == b'{', key: None, item: 0 }),
            b'}' | b']' | b')' => drop(open.pop()),
            b':' => {
                if let Some(innermost) = open.last_mut().filter(|innermost| innermost.key.is_none()) {
                    innermost.key = last;
                }
            }
            b',' => {
                if let Some(innermost) = open.last_mut() {
                    (innermost.key, innermost.item) = (None, innermost.item + 1);
                }
            }
            _ => {}
        }
    }
    path(&open)
}

/// The place after the closing quote of the string whose text starts at `at`, or the end.
fn string_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while let Some(byte) = bytes.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte == quote {
            return at;
        }
    }
    bytes.len()
}

fn path(open: &[Open<'_>]) -> String {
    let mut path = String::new();
    for level in open {
        match level.key {
            Some(key) if path.is_empty() => path.push_str(key),
            Some(key) => path.extend([".", key]),
            // A place between two fields belongs to the dict; one in a list has a number.
            None if level.dict || path.is_empty() => {}
            None => path.push_str(&format!("[{}]", level.item)),
        }
    }
    shown(&path)
}

/// `text`, short and on one line.
fn shown(text: &str) -> String {
    let mut characters = text.chars().filter(|c| !c.is_control());
    let mut short: String = characters.by_ref().take(SHOWN).collect();
    if characters.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::super::{Dating, generated, read};
    use super::*;
    use crate::hour::time::TimeFormat;
    use crate::pointer::Pointer;

    fn explained(plaintext: &[u8]) -> String {
        explained_by(&Schema::of_the_origin(TimeZone::UTC), plaintext)
    }

    fn explained_by(schema: &Schema, plaintext: &[u8]) -> String {
        explain(plaintext, &read(plaintext, schema).unwrap_err(), schema)
    }

    #[test]
    fn what_stands_where_the_time_should_is_named_without_its_values() {
        let dated = |place, format| {
            let (place, format) = (Pointer::parse(place).unwrap(), TimeFormat::parse(format).unwrap());
            Schema::new(Dating::new(place, format, TimeZone::UTC))
        };
        for (place, format, plaintext, expected) in [
            (
                "/at",
                "auto",
                "{'ts': 'secret', 'meta': {}}",
                "no-time: nothing stands where record.time leads: \"/at\" leads nowhere: the record is a dict with \"ts\", \"meta\"",
            ),
            (
                "/meta/at/0",
                "auto",
                "{'meta': {'at': 'secret'}}",
                "no-time: nothing stands where record.time leads: \"/meta/at/0\" leads nowhere: what is at \"/meta/at\" is a text of 6 \
                 characters",
            ),
            (
                "/at",
                "epoch-ms",
                "{'at': 'secret'}",
                "bad-time: the text that record.time leads to is not a time: at \"/at\" is a text of 6 characters, and \
                 record.time_format is \"epoch-ms\"",
            ),
            (
                "/at",
                "auto",
                "{'at': [1234]}",
                "bad-time: what record.time leads to is not a time: at \"/at\" is a list of 1, and record.time_format is \"auto\"",
            ),
        ] {
            assert_eq!(explained_by(&dated(place, format), plaintext.as_bytes()), expected);
        }
    }

    #[test]
    fn word_and_field_are_named() {
        let long = format!("{{'a': {}}}", "x".repeat(100));
        for (plaintext, expected) in [
            (
                "{'a': 1, 'when': datetime.datetime(2023, 3, 10)}",
                r#"not-a-record: unexpected word: "datetime.datetime" in the field when"#,
            ),
            ("{'x': nan, 'a': None}", r#"not-a-record: unexpected word: "nan" in the field x"#),
            (r#"{"a": null, "x": NaN}"#, r#"not-a-record: no JSON: "NaN" in the field x"#),
            (r#"{"a": null, "x": -Infinity}"#, r#"not-a-record: no JSON: "Infinity" in the field x"#),
            ("{'d': {'l': [1, {'deep': inf}]}}", r#"not-a-record: unexpected word: "inf" in the field d.l[1].deep"#),
            ("{'d': [1, (2, Decimal('1'))]}", r#"not-a-record: unexpected word: "Decimal" in the field d[1][1]"#),
            ("{'d': {1: 2}}", r#"unrepresentable: a dict key that is no text: "1" in the field d"#),
            ("{'a': 'x: {', 'n': 1e999}", r#"unrepresentable: a float beyond the largest: "1e999" in the field n"#),
            ("{'a': <Foo at 0x1>}", r#"not-a-record: no literal starts like this: "<Foo" in the field a"#),
            ("{'a': b'x'}", r#"not-a-record: bytes, an f-string or an unknown prefix: "b" in the field a"#),
            ("{'a': 1 + 2}", r#"not-a-record: an expression, or a missing comma: "+" in the field a"#),
            ("<html>502</html>", r#"not-a-record: no literal starts like this: "<html>502</html>""#),
            ("{'a': ", "not-a-record: the text ends where a value should be in the field a"),
            ("", "not-a-record: the text ends where a value should be at byte 0"),
            ("[1, 2]", r#"not-a-record: a literal, but no dict: "[1,2]""#),
            ("{'inDate': '2023-3-10\\x1b[2J'}", r#"bad-indate: inDate is not a time: "2023-3-10[2J""#),
            ("{'inDate': 5}", r#"bad-indate: inDate is not a text: "5""#),
            ("{'a': 1, 'b': 2}", r#"no-indate: there is no inDate: "a, b""#),
            (&long, r#"not-a-record: unexpected word: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" in the field a"#),
        ] {
            assert_eq!(explained(plaintext.as_bytes()), expected, "{plaintext}");
        }
        let odd = b"{'inDate': '2023-03-10T01:48:11Z', 'name': 'caf\xe9'}";
        assert_eq!(explained(odd), r#"not-utf8: the text is not UTF-8: "\xe9" in the field name"#);
    }

    #[test]
    fn nothing_that_moves_a_terminal_s_cursor_is_shown() {
        let text = explained("{'a\u{1b}[2J\r\n': \u{9b}x\u{7}y}".as_bytes());
        assert!(!text.contains(char::is_control), "{text:?}");
    }

    proptest! {
        #[test]
        fn any_refusal_is_explained_in_short(
            parts in prop::collection::vec(prop::sample::select(generated::FRAGMENTS), 0..40),
            bytes in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let schema = Schema::of_the_origin(TimeZone::UTC);
            for plaintext in [parts.concat().into_bytes(), bytes] {
                if let Err(reason) = read(&plaintext, &schema) {
                    let text = explain(&plaintext, &reason, &schema);
                    prop_assert!(text.starts_with(reason.kind()) && text.chars().count() < 200, "{}", text);
                    prop_assert!(!text.contains(char::is_control), "{:?}", text);
                }
            }
        }
    }
}
