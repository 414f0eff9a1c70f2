//! Steps over the values of a JSON text by its brackets and strings.
//!
//! Owns where a value ends. Invariant: each byte is looked at once for each time that its surroundings are entered; a value whose brackets or
//! strings do not close is never taken for one that does. Pure.

/// The byte order mark that some servers put before a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A member of an object, or an element of an array, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// The name with its quotes; `None` in an array.
    pub(super) name: Option<&'a [u8]>,
    /// The value.
    pub(super) value: &'a [u8],
}

/// What is between the brackets of an object or an array, entry by entry.
#[derive(Debug)]
pub(super) struct Inside<'a> {
    text: &'a [u8],
    at: usize,
    is_object: bool,
    is_closed: bool,
}

impl<'a> Inside<'a> {
    /// `None` where `value` is neither object nor array.
    pub(super) fn of(value: &'a [u8]) -> Option<Self> {
        let is_object = match value.first()? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        Some(Self { text: value, at: 1, is_object, is_closed: false })
    }

    /// Whether it is the inside of an object.
    pub(super) const fn is_object(&self) -> bool {
        self.is_object
    }

    /// Whether the closing bracket was reached: what came before it was all.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The next byte that is no white space and no comma.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if !is_space(byte) && byte != b',' {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.at = end_of_value(self.text, start)?;
        self.text.get(start..self.at)
    }

    /// A member's name, and the colon behind it.
    fn name(&mut self) -> Option<&'a [u8]> {
        if self.text.get(self.at) != Some(&b'"') {
            return None;
        }
        let name = self.value()?;
        self.skip_space();
        let is_member = self.text.get(self.at) == Some(&b':');
        self.at += 1;
        self.skip_space();
        is_member.then_some(name)
    }

    fn skip_space(&mut self) {
        while self.text.get(self.at).copied().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let name = if self.is_object { Some(self.name()?) } else { None };
        self.value().map(|value| Entry { name, value })
    }
}

impl<'a> Iterator for Inside<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.is_closed {
            return None;
        }
        match self.next_byte()? {
            b'}' | b']' => {
                self.is_closed = true;
                None
            }
            _ => {
                let entry = self.entry();
                // What cannot be stepped over ends the walk, and leaves it open.
                self.at = if entry.is_some() { self.at } else { self.text.len() };
                entry
            }
        }
    }
}

/// The value at `step` of the object or array `value`.
pub(super) fn step_into<'a>(value: &'a [u8], step: &str) -> Option<&'a [u8]> {
    let mut entries = Inside::of(value)?;
    let found = match entries.is_object() {
        true => entries.by_ref().filter(|entry| entry.name.is_some_and(|name| is_named(name, step))).last(),
        false => entries.by_ref().enumerate().filter(|(at, _)| is_index(*at, step)).last().map(|(_, entry)| entry),
    };
    found.filter(|_| entries.is_closed()).map(|entry| entry.value)
}

fn is_index(at: usize, step: &str) -> bool {
    let has_one_spelling = step == "0" || !step.starts_with(['0', '+']);
    has_one_spelling && step.parse() == Ok(at)
}

fn is_named(name: &[u8], step: &str) -> bool {
    let inner = name.get(1..name.len().saturating_sub(1)).unwrap_or_default();
    match memchr::memchr(b'\\', inner) {
        None => inner == step.as_bytes(),
        Some(_) => text(name).is_some_and(|name| name == step),
    }
}

/// How many elements the array `value` has; `None` where it is no array, or does not close.
#[must_use]
pub fn elements(value: &[u8]) -> Option<usize> {
    let mut entries = Inside::of(trim(value)).filter(|inside| !inside.is_object())?;
    let count = entries.by_ref().count();
    entries.is_closed().then_some(count)
}

/// The members of the object `value`, with their names; none where it is no object.
#[must_use]
pub(crate) fn members(value: &[u8]) -> Vec<(String, &[u8])> {
    let inside = Inside::of(trim(value)).filter(Inside::is_object);
    inside.into_iter().flatten().filter_map(|entry| Some((text(entry.name?)?, entry.value))).collect()
}

/// The text of a JSON string; `None` where `value` is none.
#[must_use]
pub fn text(value: &[u8]) -> Option<String> {
    serde_json::from_slice(value).ok()
}

/// What kind of scalar `value` is, in the words of a message.
pub(super) fn kind_of(value: &[u8]) -> &'static str {
    match value.first() {
        None => "nothing",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(_) => "no JSON",
    }
}

/// Where the value ends that begins at `start`.
fn end_of_value(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => end_of_string(text, start + 1),
        b'{' | b'[' => end_of_brackets(text, start),
        _ => end_of_scalar(text, start),
    }
}

/// Behind the quote that ends the string whose text begins at `at`.
fn end_of_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Behind the bracket that closes the one at `at`. Which kind closes which does not matter.
fn end_of_brackets(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at = end_of_string(text, at + 1)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// A scalar ends before a comma, a bracket or white space; one without any text is no value.
fn end_of_scalar(text: &[u8], start: usize) -> Option<usize> {
    let is_end = |byte: &u8| is_space(*byte) || matches!(byte, b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"');
    let length = text.get(start..)?.iter().position(is_end)?;
    (length > 0).then_some(start + length)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// `text` without a byte order mark, and without white space around it.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(*byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}
