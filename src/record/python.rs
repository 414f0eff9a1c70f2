//! The Python-literal parser: what `repr` of a dict gives, and every other literal that stands for the same values.
//!
//! Never evaluates: names, calls, operators and unpacking are errors. Borrows from the text where no escape stands in the
//! way. Recursion ends at [`MAX_DEPTH`]; time is linear in the text.

use std::borrow::Cow;

use super::reason::Reason;
use super::value::{Builder, MAX_DEPTH, Value};

/// Python itself converts no longer ones; only ints that are not decimal need converting here.
const MAX_HEX_DIGITS: usize = 4300;

/// Parses one literal.
///
/// # Errors
/// Where and why the text is none, or stands for something that a record cannot hold.
pub fn parse(text: &str) -> Result<Value<'_>, Reason> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    while matches!(parser.peek(), Some(b' ' | b'\t')) {
        parser.at += 1;
    }
    let value = parser.value()?;
    parser.space();
    if parser.at == text.len() { Ok(value) } else { Err(parser.wrong("something follows the value")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Which escapes a string has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Raw,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn slice(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn wrong(&self, what: &str) -> Reason {
        Reason::not_a_record(format!("no Python literal: {what} at byte {}", self.at))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')) {
            self.at += 1;
        }
    }

    /// Takes `byte`, after space, if it is next.
    fn took(&mut self, byte: u8) -> bool {
        self.space();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn value(&mut self) -> Result<Value<'a>, Reason> {
        match self.peek() {
            Some(b'\'' | b'"') => self.strings(),
            Some(b'0'..=b'9' | b'.' | b'-' | b'+') => self.number(),
            Some(b'{') => self.nested(Self::dict),
            Some(b'[') => self.nested(Self::list),
            Some(b'(') => self.nested(Self::tuple),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => self.word(),
            Some(_) => Err(self.wrong("a character that begins no literal")),
            None => Err(self.wrong("the text ends")),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Result<Value<'a>, Reason>) -> Result<Value<'a>, Reason> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong("nested too deep"));
        }
        (self.depth, self.at) = (self.depth + 1, self.at + 1);
        let value = inside(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn dict(&mut self) -> Result<Value<'a>, Reason> {
        let mut fields = Builder::default();
        while !self.took(b'}') {
            let Value::Str(key) = self.value()? else {
                return Err(self.wrong("a key that is no text"));
            };
            if !self.took(b':') {
                return Err(self.wrong("no ':' after a key"));
            }
            self.space();
            fields.put(key, self.value()?);
            self.end_of_item(b'}')?;
        }
        Ok(Value::Dict(fields.finish()))
    }

    fn list(&mut self) -> Result<Value<'a>, Reason> {
        let mut items = Vec::new();
        while !self.took(b']') {
            items.push(self.value()?);
            self.end_of_item(b']')?;
        }
        Ok(Value::List(items))
    }

    /// A tuple, or a value in parentheses: the comma makes the difference.
    fn tuple(&mut self) -> Result<Value<'a>, Reason> {
        let mut items = Vec::new();
        let mut commas = 0;
        while !self.took(b')') {
            items.push(self.value()?);
            if self.took(b',') {
                commas += 1;
            } else if self.peek() != Some(b')') {
                return Err(self.wrong("no ',' between items"));
            }
        }
        match items.pop() {
            Some(only) if items.is_empty() && commas == 0 => Ok(only),
            last => {
                items.extend(last);
                Ok(Value::List(items))
            }
        }
    }

    fn end_of_item(&mut self, close: u8) -> Result<(), Reason> {
        if self.took(b',') || self.peek() == Some(close) { Ok(()) } else { Err(self.wrong("no ',' between items")) }
    }

    fn word(&mut self) -> Result<Value<'a>, Reason> {
        let start = self.at;
        while matches!(self.peek(), Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_')) {
            self.at += 1;
        }
        match self.slice(start) {
            "None" => Ok(Value::Null),
            "True" => Ok(Value::Bool(true)),
            "False" => Ok(Value::Bool(false)),
            "r" | "R" | "u" | "U" if matches!(self.peek(), Some(b'\'' | b'"')) => {
                self.at = start;
                self.strings()
            }
            _ => {
                self.at = start;
                Err(self.wrong("a name"))
            }
        }
    }

    /// One string, or several that stand side by side and so are one.
    fn strings(&mut self) -> Result<Value<'a>, Reason> {
        let mut text = self.string()?;
        loop {
            let end = self.at;
            self.space();
            let next = self.rest().as_bytes();
            let another = match next.first() {
                Some(b'\'' | b'"') => true,
                Some(b'r' | b'R' | b'u' | b'U') => matches!(next.get(1), Some(b'\'' | b'"')),
                _ => false,
            };
            if !another {
                self.at = end;
                return Ok(Value::Str(text));
            }
            let more = self.string()?;
            text.to_mut().push_str(&more);
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Reason> {
        let kind = match self.peek() {
            Some(b'r' | b'R') => Kind::Raw,
            _ => Kind::Text,
        };
        if matches!(self.peek(), Some(b'r' | b'R' | b'u' | b'U')) {
            self.at += 1;
        }
        let quote = self.peek().unwrap_or(b'\'');
        let triple = self.rest().as_bytes().first_chunk::<3>() == Some(&[quote; 3]);
        self.at += if triple { 3 } else { 1 };
        let start = self.at;
        loop {
            match self.peek() {
                Some(b) if b == quote && self.closes(quote, triple) => {
                    let text = self.slice(start);
                    self.at += if triple { 3 } else { 1 };
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') if kind == Kind::Text => return self.escaped(start, quote, triple),
                Some(b'\\') => self.at += 2,
                Some(b'\n' | b'\r') if !triple => return Err(self.wrong("a line end in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.wrong("a string without end")),
            }
        }
    }

    fn closes(&self, quote: u8, triple: bool) -> bool {
        !triple || self.rest().as_bytes().first_chunk::<3>() == Some(&[quote; 3])
    }

    /// A string with escapes; the first one is at hand.
    fn escaped(&mut self, start: usize, quote: u8, triple: bool) -> Result<Cow<'a, str>, Reason> {
        let mut text = self.slice(start).to_owned();
        loop {
            let run = self.at;
            while self.peek().is_some_and(|b| b != b'\\' && b != quote && (triple || !matches!(b, b'\n' | b'\r'))) {
                self.at += 1;
            }
            text.push_str(self.slice(run));
            match self.peek() {
                Some(b'\\') => self.escape(&mut text)?,
                Some(b) if b == quote && self.closes(quote, triple) => {
                    self.at += if triple { 3 } else { 1 };
                    return Ok(Cow::Owned(text));
                }
                Some(b) if b == quote => {
                    text.push(char::from(b));
                    self.at += 1;
                }
                Some(_) => return Err(self.wrong("a line end in a string")),
                None => return Err(self.wrong("a string without end")),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Reason> {
        self.at += 1;
        let Some(escape) = self.rest().chars().next() else {
            return Err(self.wrong("a string without end"));
        };
        let octal = matches!(escape, '0'..='7');
        self.at += if octal { 0 } else { escape.len_utf8() };
        match escape {
            '\n' => {}
            '\r' => self.at += usize::from(self.peek() == Some(b'\n')),
            '\\' | '\'' | '"' => text.push(escape),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\x0b'),
            'x' => text.push(self.code_point(2)?),
            'u' => text.push(self.code_point(4)?),
            'U' => text.push(self.code_point(8)?),
            'N' => text.push(self.named()?),
            '0'..='7' => text.push(self.octal()?),
            other => text.extend(['\\', other]),
        }
        Ok(())
    }

    fn code_point(&mut self, digits: usize) -> Result<char, Reason> {
        let hex = self.text.get(self.at..self.at + digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let code = code.ok_or_else(|| self.wrong("an escape without its digits"))?;
        let char = char::from_u32(code).ok_or_else(|| self.wrong("an escape for a lone surrogate, or for no character"))?;
        self.at += digits;
        Ok(char)
    }

    fn octal(&mut self) -> Result<char, Reason> {
        let digits = self.rest().bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
        let code = self.text.get(self.at..self.at + digits).and_then(|octal| u32::from_str_radix(octal, 8).ok());
        self.at += digits;
        code.and_then(char::from_u32).ok_or_else(|| self.wrong("an octal escape"))
    }

    fn named(&mut self) -> Result<char, Reason> {
        let name = self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(name, _)| name);
        let name = name.ok_or_else(|| self.wrong("a name escape without its name"))?;
        let char = unicode_names2::character(name).ok_or_else(|| self.wrong("a name escape of no character"))?;
        self.at += name.len() + 2;
        Ok(char)
    }

    fn number(&mut self) -> Result<Value<'a>, Reason> {
        let start = self.at;
        let mut negative = false;
        while let Some(sign @ (b'-' | b'+')) = self.peek() {
            negative ^= sign == b'-';
            self.at += 1;
            self.space();
        }
        let digits = self.at;
        while self.peek().is_some_and(|b| self.continues_number(digits, b)) {
            self.at += 1;
        }
        let literal = self.slice(digits);
        let parsed = number(literal, negative, self.slice(start));
        if parsed.is_none() {
            self.at = start;
        }
        parsed.ok_or_else(|| self.wrong("a number that a record cannot hold"))
    }

    fn continues_number(&self, start: usize, byte: u8) -> bool {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' => true,
            // The sign of an exponent.
            b'-' | b'+' => {
                let literal = self.slice(start).as_bytes();
                let hex = literal.first_chunk::<2>().is_some_and(|two| matches!(two, b"0x" | b"0X"));
                !hex && matches!(literal.last(), Some(b'e' | b'E'))
            }
            _ => false,
        }
    }
}

/// `literal` is without its signs; `whole` with them, for borrowing.
fn number<'a>(literal: &'a str, negative: bool, whole: &'a str) -> Option<Value<'a>> {
    let bytes = literal.as_bytes();
    let based = |base| literal.get(2..).and_then(|digits| based_int(digits, base)).map(|int| signed(int, negative));
    match bytes.get(..2) {
        Some(b"0x" | b"0X") => return based(16),
        Some(b"0o" | b"0O") => return based(8),
        Some(b"0b" | b"0B") => return based(2),
        _ => {}
    }
    if !bytes.iter().all(|b| b.is_ascii_digit()) {
        let digits = without_underscores(literal)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) {
            return decimal(&digits).map(|digits| signed(digits.to_owned(), negative));
        }
        return float(&digits, negative);
    }
    let digits = decimal(literal)?;
    if digits == "0" || !negative {
        return Some(Value::Int(Cow::Borrowed(digits)));
    }
    // `-` right before the digits is the canonical spelling already.
    let borrowed = whole.len() == literal.len() + 1 && digits.len() == literal.len();
    Some(if borrowed { Value::Int(Cow::Borrowed(whole)) } else { signed(digits.to_owned(), true) })
}

/// Decimal digits as Python takes them: no leading zeros but for zero itself.
fn decimal(digits: &str) -> Option<&str> {
    let canonical = digits.trim_start_matches('0');
    match canonical {
        "" if digits.is_empty() => None,
        "" => digits.get(..1),
        _ => (canonical.len() == digits.len()).then_some(digits),
    }
}

fn signed<'a>(digits: String, negative: bool) -> Value<'a> {
    Value::Int(Cow::Owned(if negative && digits != "0" { format!("-{digits}") } else { digits }))
}

fn without_underscores(literal: &str) -> Option<Cow<'_, str>> {
    if !literal.contains('_') {
        return Some(Cow::Borrowed(literal));
    }
    let bytes = literal.as_bytes();
    let between_digits = bytes.windows(3).filter(|w| matches!(w, [a, b'_', b] if a.is_ascii_digit() && b.is_ascii_digit()));
    let all = bytes.iter().filter(|b| **b == b'_').count();
    (between_digits.count() == all).then(|| Cow::Owned(literal.replace('_', "")))
}

fn float<'a>(literal: &str, negative: bool) -> Option<Value<'a>> {
    // What Rust reads beyond Python's grammar: "inf", "nan".
    let grammatical = literal.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'));
    let value: f64 = literal.parse().ok().filter(|_| grammatical)?;
    value.is_finite().then_some(Value::Float(if negative { -value } else { value }))
}

/// The decimal digits of an int in another base.
fn based_int(digits: &str, base: u32) -> Option<String> {
    let bytes = digits.as_bytes();
    let misplaced = bytes.last().is_none_or(|b| *b == b'_') || digits.contains("__");
    if misplaced || bytes.len() > MAX_HEX_DIGITS {
        return None;
    }
    // Nine decimal digits a limb, the lowest first.
    let mut limbs: Vec<u64> = vec![0];
    for char in digits.chars().filter(|c| *c != '_') {
        let mut carry = u64::from(char.to_digit(base)?);
        for limb in &mut limbs {
            carry += *limb * u64::from(base);
            (*limb, carry) = (carry % 1_000_000_000, carry / 1_000_000_000);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let all: String = limbs.iter().rev().map(|limb| format!("{limb:09}")).collect();
    let canonical = all.trim_start_matches('0');
    Some(if canonical.is_empty() { "0".to_owned() } else { canonical.to_owned() })
}
