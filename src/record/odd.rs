//! Values that no row can hold, kept as their text where the configuration says so: NaN, infinity, `datetime(…)`, bytes and their like.
//!
//! Only a text that is no record otherwise comes here. Pure, and nothing is evaluated: what is odd is put into quotes as it stands, and the
//! text is read again by the strict parsers. Invariant: only where a value may stand is anything changed, and no string is; a text that
//! they refuse even so keeps the reason that it had. One pass: time is linear in the text.

use super::reason::Reason;
use super::value::{MAX_DEPTH, Value};
use super::{json, python};

/// Reads `text`, which is no literal for `reason`, with odd values as texts.
///
/// # Errors
/// `reason`, if there is more wrong with it.
pub(super) fn literal(text: &str, reason: Reason) -> Result<Value<'static>, Reason> {
    let read =
        |quoted: String, parse: fn(&str) -> Result<Value<'_>, Reason>| parse(&quoted).ok().map(Value::into_owned);
    let as_json = || Quoter::new(text, Language::Json).quoted().and_then(|quoted| read(quoted, json::parse));
    let as_python = || Quoter::new(text, Language::Python).quoted().and_then(|quoted| read(quoted, python::parse));
    as_json().or_else(as_python).ok_or(reason)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Json,
    Python,
}

/// Copies a text, with odd values in quotes.
struct Quoter<'a> {
    text: &'a str,
    at: usize,
    language: Language,
    out: String,
    /// The open brackets: whether each is a dict's.
    open: Vec<bool>,
    /// Whether a value may stand here.
    expects_value: bool,
}

impl<'a> Quoter<'a> {
    fn new(text: &'a str, language: Language) -> Self {
        Self {
            text,
            at: 0,
            language,
            out: String::with_capacity(text.len() + 64),
            open: Vec::new(),
            expects_value: true,
        }
    }

    /// The text with quotes. `None`: its strings or brackets do not close, or nest too deeply.
    fn quoted(mut self) -> Option<String> {
        while let Some(next) = self.rest().chars().next() {
            match next {
                '\'' | '"' => self.copy_to(string_end(self.text.as_bytes(), self.at)?),
                '{' | '[' | '(' if self.open.len() == MAX_DEPTH => return None,
                '{' | '[' | '(' => self.bracket(|open| open.push(next == '{')),
                '}' | ']' | ')' => self.bracket(|open| {
                    open.pop();
                }),
                ',' => {
                    self.copy(1);
                    self.expects_value = self.open.last() == Some(&false);
                    continue;
                }
                ':' => {
                    self.copy(1);
                    self.expects_value = true;
                    continue;
                }
                _ if next.is_whitespace() => {
                    self.copy(next.len_utf8());
                    continue;
                }
                _ if self.expects_value => self.value()?,
                _ => self.copy(next.len_utf8()),
            }
            self.expects_value = self.expects_value_after(next);
        }
        Some(self.out)
    }

    /// In a list a value comes right after its bracket, in a dict after a colon.
    fn expects_value_after(&self, next: char) -> bool {
        matches!(next, '[' | '(') && self.open.last() == Some(&false)
    }

    fn bracket(&mut self, change: impl FnOnce(&mut Vec<bool>)) {
        change(&mut self.open);
        self.copy(1);
    }

    /// Copies a value that is neither a string nor in brackets, in quotes where it is odd.
    fn value(&mut self) -> Option<()> {
        let end = self.at + value_end(self.rest())?;
        let value = self.text.get(self.at..end)?;
        match (value, self.language) {
            ("true", Language::Python) => self.replace("True", end),
            ("false", Language::Python) => self.replace("False", end),
            ("null", Language::Python) => self.replace("None", end),
            _ if self.is_odd(value) => {
                let quoted = quote(value, self.language);
                self.replace(&quoted, end);
            }
            _ => self.copy_to(end),
        }
        Some(())
    }

    fn is_odd(&self, value: &str) -> bool {
        match self.language {
            Language::Json => json::parse(value).is_err() && is_of_json(value),
            Language::Python => python::parse(value).is_err(),
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn copy(&mut self, length: usize) {
        self.copy_to(self.at + length);
    }

    fn copy_to(&mut self, end: usize) {
        self.out.push_str(self.text.get(self.at..end).unwrap_or_default());
        self.at = end;
    }

    fn replace(&mut self, with: &str, end: usize) {
        self.out.push_str(with);
        self.at = end;
    }
}

/// What JSON writers write for a float that JSON cannot hold, or a number beyond all floats.
fn is_of_json(value: &str) -> bool {
    let number = value.trim_start_matches('-');
    matches!(number, "NaN" | "Infinity") || number.starts_with(|c: char| c.is_ascii_digit())
}

/// The length of the value at the start of `text`: `<…>`, or a number or a name with a sign, strings and what follows it in brackets.
fn value_end(text: &str) -> Option<usize> {
    if text.starts_with('<') {
        return brackets_end(text, b'<', b'>');
    }
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        match rest.bytes().next() {
            Some(b'(') => at += brackets_end(rest, b'(', b')')?,
            Some(b'[') => at += brackets_end(rest, b'[', b']')?,
            Some(b'\'' | b'"') => at += string_end(rest.as_bytes(), 0)?,
            Some(b',' | b':' | b'}' | b']' | b')' | b'{') | None => return Some(at),
            Some(byte) if byte.is_ascii_whitespace() => return Some(at),
            Some(_) => at += rest.chars().next()?.len_utf8(),
        }
    }
}

/// The length of what is in brackets at the start of `text`.
fn brackets_end(text: &str, open: u8, close: u8) -> Option<usize> {
    let (bytes, mut at, mut depth) = (text.as_bytes(), 0, 0_usize);
    loop {
        let byte = *bytes.get(at)?;
        if matches!(byte, b'\'' | b'"') {
            at = string_end(bytes, at)?;
            continue;
        }
        at += 1;
        depth += usize::from(byte == open);
        depth -= usize::from(byte == close);
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The place after the string that starts at `at` with one quote, or with three.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = *bytes.get(at)?;
    let run = bytes.get(at..)?.iter().take_while(|byte| **byte == quote).count();
    if run == 2 {
        return Some(at + 2);
    }
    let closing = if run >= 3 { 3 } else { 1 };
    let mut at = at + closing;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            byte if byte == quote && bytes.get(at..at + closing)?.iter().all(|byte| *byte == quote) => {
                return Some(at + closing);
            }
            _ => at += 1,
        }
    }
}

/// `text` as a string of the language.
fn quote(text: &str, language: Language) -> String {
    if language == Language::Json {
        let mut quoted = Vec::new();
        json::write_text(text, &mut quoted);
        return String::from_utf8(quoted).unwrap_or_default();
    }
    let mut quoted = String::from("'");
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\0"),
            '\\' | '\'' => quoted.extend(['\\', character]),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{generated, literal as strict};
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let value = strict(text).or_else(|reason| literal(text, reason)).map_err(|reason| reason.to_string())?;
        let mut out = Vec::new();
        json::write(&value, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn odd_values_are_kept_as_their_text() {
        for (text, expected) in [
            ("{'x': nan, 'y': [-inf, inf]}", r#"{"x":"nan","y":["-inf","inf"]}"#),
            (
                "{'when': datetime.datetime(2023, 3, 10, tzinfo=datetime.timezone.utc), 'n': 1}",
                r#"{"when":"datetime.datetime(2023, 3, 10, tzinfo=datetime.timezone.utc)","n":1}"#,
            ),
            ("{'d': Decimal('1.50'), 'u': UUID('a(b')}", r#"{"d":"Decimal('1.50')","u":"UUID('a(b')"}"#),
            ("{'b': b'\\x00', 'o': <Foo object at 0x1>}", r#"{"b":"b'\\x00'","o":"<Foo object at 0x1>"}"#),
            ("{'e': <E.A: 'a>b'>, 't': (1, nan)}", r#"{"e":"<E.A: 'a>b'>","t":[1,"nan"]}"#),
            ("{'big': 1e999, 's': 'nan', 'c': 2j}", r#"{"big":"1e999","s":"nan","c":"2j"}"#),
            ("{'o': OrderedDict([('a', 1)])}", r#"{"o":"OrderedDict([('a', 1)])"}"#),
            (r#"{"x": NaN, "y": [-Infinity, 1], "z": null}"#, r#"{"x":"NaN","y":["-Infinity",1],"z":null}"#),
            (r#"{"p": "a\/b", "x": 1e999, "s": "\ud83d\ude00"}"#, r#"{"p":"a/b","x":"1e999","s":"\ud83d\ude00"}"#),
            ("{'a': true, 'b': null, 'c': undefined}", r#"{"a":true,"b":null,"c":"undefined"}"#),
            ("{'a': caf\u{e9}.x, '\u{e9}': 'it''s'}", r#"{"a":"caf\u00e9.x","\u00e9":"its"}"#),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn text_with_more_wrong_keeps_its_reason() {
        for (text, reason) in [
            ("{'x': nan", "not-a-record: unexpected word at byte 6"),
            ("{nan: 1}", "not-a-record: unexpected word at byte 1"),
            ("{1: nan}", "unrepresentable: a dict key that is no text at byte 1"),
            ("{'x': nan nan}", "not-a-record: unexpected word at byte 6"),
            ("{'x': f(1}", "not-a-record: unexpected word at byte 6"),
            ("{'x': 'open", "not-a-record: a string without its closing quote at byte 6"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found == reason || text.contains("open"), "{text}: {found}");
        }
        let deep = format!("{{'x': {}nan{}}}", "[".repeat(64), "]".repeat(64));
        assert!(read(&deep).unwrap_err().starts_with("too-deep"));
    }

    proptest! {
        #[test]
        fn quotes_change_nothing_that_reads_without_them(value in generated::value(), style in generated::style()) {
            let text = generated::repr(&value, style);
            prop_assert_eq!(Quoter::new(&text, Language::Python).quoted(), Some(text));
            let mut out = Vec::new();
            json::write(&value, &mut out);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(Quoter::new(&text, Language::Json).quoted(), Some(text));
        }

        #[test]
        fn almost_literals_never_panic(parts in prop::collection::vec(prop::sample::select(generated::FRAGMENTS), 0..40)) {
            let _ = read(&parts.concat());
        }
    }
}
