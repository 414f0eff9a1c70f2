//! Python literals, read and never evaluated.
//!
//! A token's plaintext is the `repr` of a dict. This reads what `ast.literal_eval` would, as far as a row can hold it:
//! dicts with string keys, lists, tuples (as lists), text, integers of any size, finite floats, `True`, `False`, `None`.
//! Everything else (expressions, names, unpacking, sets, bytes, complex numbers) is refused with a reason. Pure. One pass with at most
//! one look back: time is linear in the text, and recursion ends at [`MAX_DEPTH`].

mod number;
mod text;

use std::borrow::Cow;

use super::reason::{Reason, ReasonKind};
use super::value::{Fields, MAX_DEPTH, TOO_MANY, Value, unique, usual_fields};

/// Reads `text`, which must be one literal, with only white space around it.
///
/// # Errors
/// `not-a-record`, `unrepresentable` (lone surrogate, number beyond what rows hold, key that is no text) or `too-deep`.
pub fn parse(text: &str) -> Result<Value<'_>, Reason> {
    let mut parser = Parser { text, at: 0, depth: 0, values: 0 };
    parser.skip_space();
    let value = parser.value()?;
    parser.skip_space();
    if parser.at == text.len() { Ok(value) } else { Err(parser.syntax("more than one literal")) }
}

/// A cursor over the text. `at` is always at a character boundary.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Items of containers so far.
    values: usize,
}

impl<'a> Parser<'a> {
    /// Counts an item of a container.
    #[inline]
    fn count(&mut self) -> Result<(), Reason> {
        self.values += 1;
        if self.values > TOO_MANY { Err(Reason::too_many_values().at(self.at)) } else { Ok(()) }
    }

    fn value(&mut self) -> Result<Value<'a>, Reason> {
        match self.peek() {
            Some(b'\'' | b'"') => self.text().map(Value::Str),
            Some(b'{') => self.nested(Self::dict),
            Some(b'[') => self.nested(Self::list),
            Some(b'(') => self.nested(Self::parenthesised),
            Some(b'0'..=b'9' | b'.' | b'+' | b'-') => self.number(),
            Some(_) => self.word(),
            None => Err(self.syntax("the text ends where a value should be")),
        }
    }

    /// Steps over the opening bracket and reads what it holds, one level deeper.
    fn nested(&mut self, read: fn(&mut Self) -> Result<Value<'a>, Reason>) -> Result<Value<'a>, Reason> {
        if self.depth == MAX_DEPTH {
            return Err(Reason::new(ReasonKind::TooDeep, "nested too deeply").at(self.at));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn dict(&mut self) -> Result<Value<'a>, Reason> {
        let mut fields = Vec::with_capacity(usual_fields(self.depth));
        while !self.closed_by(b'}') {
            self.count()?;
            let key = match self.plain_text() {
                Some(key) if self.take(b':') => Cow::Borrowed(key),
                Some(_) => return Err(self.syntax("a set, or a dict key without a value")),
                None => self.key()?,
            };
            self.skip_space();
            match self.plain_text() {
                Some(text) => fields.push((key, Value::Str(Cow::Borrowed(text)))),
                None => self.push_value(key, &mut fields)?,
            }
            self.comma_before(b'}')?;
        }
        Ok(Value::Dict(unique(fields)))
    }

    /// Reads any value. Callers read plain texts themselves: most values are, and in place they cost a fraction of a move through here.
    #[inline(never)]
    fn push_value(&mut self, key: Cow<'a, str>, fields: &mut Fields<'a>) -> Result<(), Reason> {
        let value = self.value()?;
        fields.push((key, value));
        Ok(())
    }

    /// A key and the colon after it.
    fn key(&mut self) -> Result<Cow<'a, str>, Reason> {
        let start = self.at;
        let key = self.value()?;
        self.skip_space();
        if !self.take(b':') {
            return Err(self.syntax("a set, or a dict key without a value"));
        }
        match key {
            Value::Str(key) => Ok(key),
            _ => Err(Reason::new(ReasonKind::Unrepresentable, "a dict key that is no text").at(start)),
        }
    }

    fn list(&mut self) -> Result<Value<'a>, Reason> {
        let mut items = Vec::new();
        while !self.closed_by(b']') {
            self.count()?;
            items.push(self.value()?);
            self.comma_before(b']')?;
        }
        Ok(Value::List(items))
    }

    /// A tuple; or one value in parentheses, which is just that value.
    fn parenthesised(&mut self) -> Result<Value<'a>, Reason> {
        let mut items = Vec::new();
        while !self.closed_by(b')') {
            self.count()?;
            let item = self.value()?;
            if !self.comma_before(b')')? && items.is_empty() {
                self.at += 1;
                return Ok(item);
            }
            items.push(item);
        }
        Ok(Value::List(items))
    }

    /// `True`, `False`, `None`, or a string with a prefix.
    fn word(&mut self) -> Result<Value<'a>, Reason> {
        let rest = self.rest();
        let length = rest.iter().take_while(|byte| is_identifier(**byte)).count();
        if matches!(rest.get(length), Some(b'\'' | b'"')) && length > 0 {
            return self.text().map(Value::Str);
        }
        let value = match rest.get(..length) {
            Some(b"True") => Value::Bool(true),
            Some(b"False") => Value::Bool(false),
            Some(b"None") => Value::Null,
            Some(b"") | None => return Err(self.syntax("no literal starts like this")),
            Some(_) => return Err(self.syntax("unexpected word")),
        };
        self.at += length;
        Ok(value)
    }

    /// Steps over white space and the closing bracket, if that comes next.
    #[inline]
    fn closed_by(&mut self, close: u8) -> bool {
        self.skip_space();
        self.take(close)
    }

    /// Steps over white space and a comma: whether there was one. Else the closing bracket must come next.
    #[inline]
    fn comma_before(&mut self, close: u8) -> Result<bool, Reason> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => Ok(false),
            Some(_) => Err(self.syntax("an expression, or a missing comma")),
            None => Err(self.syntax("the text ends inside a bracket")),
        }
    }

    /// Steps over white space between the parts of a literal.
    #[inline]
    fn skip_space(&mut self) {
        self.at += usize::from(self.peek() == Some(b' '));
        if matches!(self.peek(), Some(b'\t'..=b' ' | b'\\' | b'#')) {
            self.skip_long_space();
        }
    }

    /// White space as Python has it: line ends, a backslash before one, and comments are part of it.
    #[cold]
    fn skip_long_space(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0c) => self.at += 1,
                Some(b'\\') if matches!(self.peek_at(1), Some(b'\n' | b'\r')) => self.at += 2,
                Some(b'#') => {
                    let comment = self.rest();
                    let length = comment.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                    self.at += length.unwrap_or(comment.len());
                }
                _ => return,
            }
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The text from `start` up to the cursor.
    #[inline]
    fn since(&self, start: usize) -> &'a str {
        // Both ends are ASCII bytes that the cursor stopped at, so this is never the default.
        self.text.get(start..self.at).unwrap_or_default()
    }

    const fn syntax(&self, what: &'static str) -> Reason {
        Reason::new(ReasonKind::NotARecord, what).at(self.at)
    }
}

/// Whether `byte` can be part of a Python name; non-ASCII letters are, so all of them count.
const fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    /// What was read, as JSON text; or the machine code of the refusal.
    pub(super) fn read(text: &str) -> Result<String, &'static str> {
        let value = parse(text).map_err(|reason| reason.kind())?;
        let mut out = Vec::new();
        json::write(&value, &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    fn accepts(text: &str, expected: &str) {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn containers_are_read() {
        accepts("{}", "{}");
        accepts("[]", "[]");
        accepts("()", "[]");
        accepts("{'a': [1, (2, 'x'), {'b': None}], 'c': (True,), }", r#"{"a":[1,[2,"x"],{"b":null}],"c":[true]}"#);
        accepts("{'a':1,'b':False}", r#"{"a":1,"b":false}"#);
        accepts("({'a': (1)})", r#"{"a":1}"#);
        accepts("{('a'): ((1),)}", r#"{"a":[1]}"#);
        accepts("(1, 2)", "[1,2]");
        accepts("(1, 2,)", "[1,2]");
        accepts("{'k': 1, 'l': 2, 'k': 3}", r#"{"k":3,"l":2}"#);
    }

    #[test]
    fn white_space_may_stand_around_and_between() {
        accepts(" \t{ 'a' :\n1 ,\r\n'b' : \\\n 2 } \n\n", r#"{"a":1,"b":2}"#);
        accepts("# é\n{'a': # }\n '#'} # end", r##"{"a":"#"}"##);
    }

    #[test]
    fn borrowed_text_stays_borrowed() {
        let Ok(Value::Dict(fields)) = parse("{'key': 'value', 'n': -12}") else { panic!("no dict") };
        assert!(matches!(fields[0], (Cow::Borrowed("key"), Value::Str(Cow::Borrowed("value")))));
        assert!(matches!(fields[1].1, Value::Int(Cow::Borrowed("-12"))));
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "(",
            "[1",
            "(1",
            "(1,",
            "{'a'",
            "{'a':",
            "{'a':1",
            "{'a':1,",
            "[,]",
            "(,)",
            "{,}",
            "[1,,2]",
            "{'a':1,,}",
            "[1 2]",
            "{'a' 1}",
            "{'a'}",
            "{'a', 'b'}",
            "{1, 2}",
            "1 2",
            "{} {}",
            "{},",
            "[1)",
            "{'a':1)",
            "true",
            "null",
            "nan",
            "inf",
            "True1",
            "Trueish",
            "None_",
            "x",
            "{x: 1}",
            "{**{'a': 1}}",
            "[*[1]]",
            "2**10",
            "1+2",
            "1 + 2j",
            "'a'.upper()",
            "'a' % 1",
            "[1][0]",
            "not True",
            "lambda: 1",
            "[x for x in y]",
            "dict(a=1)",
            "set()",
            "__import__('os')",
            "{'a': os}",
            "('a') 'b'",
            "`1`",
            "...",
            "é",
            "#",
            "# {}",
            "\u{feff}{}",
            "\u{a0}{}",
            "$",
            "1 if 1 else 2",
        ] {
            assert_eq!(read(text), Err("not-a-record"), "{text}");
        }
    }

    #[test]
    fn key_that_is_no_text_is_unrepresentable() {
        for text in ["{1: 'a'}", "{1.5: 'x'}", "{None: 1}", "{True: 1}", "{(1, 2): 'x'}", "{'a': {1: 2}}"] {
            assert_eq!(read(text), Err("unrepresentable"), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        for (open, close) in [("[", "]"), ("(", ",)"), ("(", ")"), ("{'a':", "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(read(&nested(MAX_DEPTH)).is_ok(), "{open}");
            assert_eq!(read(&nested(MAX_DEPTH + 1)), Err("too-deep"), "{open}");
            assert_eq!(read(&open.repeat(1_000_000)), Err("too-deep"), "{open}");
        }
    }

    #[test]
    fn reason_says_where_and_never_what_stood_there() {
        let reason = parse("{'secret': hunter2}").unwrap_err();
        assert_eq!(reason.to_string(), "not-a-record: unexpected word at byte 11");
    }
}
