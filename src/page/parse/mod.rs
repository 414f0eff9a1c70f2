//! The page parser: a body as received → its tokens, borrowed from it, one after the other.
//!
//! Owns what a page is: a JSON array in which at least one element has a token (an object with a string `data`), or an empty one. The
//! array is split at its commas by brackets and strings alone, and each element is read by itself: one that a strict reader refuses
//! (`NaN`, a raw control character, a byte that is not UTF-8) affects no other. Invariant: every element is either a token or odd, in
//! the page's order; where brackets or strings do not close, the body is cut short or no page, and nothing of it counts. Linear time at
//! any depth, and no memory for an element. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::source::BYTE_ORDER_MARK;

/// One element of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element<'a> {
    /// The string in the element's last `data` member; borrowed unless the JSON text has escapes.
    Token(Cow<'a, str>),
    /// The bytes of an element that is no object, has no string as its last `data` member, or is no JSON.
    Odd(&'a [u8]),
}

/// Why a complete body is not a page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPage {
    /// It does not begin with `[` and end with `]`.
    #[error("not a JSON array")]
    NotAnArray,
    /// It ends within an element.
    #[error("its brackets and strings do not close: it is cut short, or no JSON")]
    NotClosed,
    /// An array, but none of its elements carries a token.
    #[error("none of its {elements} elements has a string \"data\"")]
    NoTokens {
        /// How many elements it has.
        elements: u64,
    },
    /// The run is to stop, so it was not read to its end: nothing is known of it.
    #[error("the run was stopped before it was read")]
    Interrupted,
}

/// The elements of the page `body`, in order. After the last, `Elements::finish` tells whether it was a page.
///
/// # Errors
/// [`NotAPage::NotAnArray`].
pub fn elements(body: &[u8]) -> Result<Elements<'_>, NotAPage> {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let inner = trim(text).strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let rest = inner.ok_or(NotAPage::NotAnArray)?;
    Ok(Elements { rest: Some(rest), elements: 0, tokens: 0, is_bare: true, is_closed: true })
}

/// All elements of the page `body` at once.
///
/// # Errors
/// [`NotAPage`]. An empty array is a page.
pub fn parse(body: &[u8]) -> Result<Vec<Element<'_>>, NotAPage> {
    let mut elements = elements(body)?;
    let all = elements.by_ref().collect();
    elements.finish().map(|_| all)
}

/// The elements of a body: see [`elements`].
#[derive(Debug)]
pub struct Elements<'a> {
    /// The text between the outer brackets that is not split yet; `None` at the end.
    rest: Option<&'a [u8]>,
    elements: u64,
    tokens: u64,
    /// Whether there was nothing between the brackets, not even a comma.
    is_bare: bool,
    is_closed: bool,
}

impl<'a> Elements<'a> {
    /// How many elements there were.
    ///
    /// # Errors
    /// [`NotAPage`]: none of its elements count.
    pub(crate) const fn finish(&self) -> Result<u64, NotAPage> {
        match self {
            Self { is_closed: false, .. } => Err(NotAPage::NotClosed),
            Self { tokens: 0, is_bare: false, elements, .. } => Err(NotAPage::NoTokens { elements: *elements }),
            Self { elements, .. } => Ok(*elements),
        }
    }

    /// The bytes up to the next comma that is in no bracket and no string.
    fn split(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (end, is_closed) = end_of_element(rest);
        self.is_closed &= is_closed;
        let (element, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        self.rest = behind.split_first().map(|(_, rest)| rest);
        self.is_bare &= self.rest.is_none() && trim(element).is_empty();
        Some(trim(element))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            // Between two commas there may be nothing.
            let bytes = self.split()?;
            if bytes.is_empty() {
                continue;
            }
            self.elements += 1;
            let Some(token) = token_in(bytes) else { return Some(Element::Odd(bytes)) };
            self.tokens += 1;
            return Some(Element::Token(token));
        }
    }
}

/// Where the first element of `bytes` ends, and whether its brackets and strings close. Which bracket closes which does not matter
/// here, and one that closes nothing belongs to its element: both make it odd.
fn end_of_element(bytes: &[u8]) -> (usize, bool) {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => match end_of_string(bytes, at + 1) {
                Some(end) => at = end,
                None => return (bytes.len(), false),
            },
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return (at, true),
            _ => {}
        }
        at += 1;
    }
    (bytes.len(), depth == 0)
}

/// Where the quote is that ends the string whose text begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// `bytes` without JSON's white space around them.
fn trim(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// The token of an element. `None` also where it cannot be read.
fn token_in(element: &[u8]) -> Option<Cow<'_, str>> {
    if element.first() != Some(&b'{') {
        return None;
    }
    let text = std::str::from_utf8(element).ok()?;
    // The fast way fails at what JSON's grammar allows and Rust's types do not (1e999, a lone surrogate).
    token_fast(text).unwrap_or_else(|_| token_carefully(text))
}

fn token_fast(element: &str) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(element);
    let token = json.deserialize_map(Object)?;
    json.end()?;
    Ok(token)
}

fn token_carefully(element: &str) -> Option<Cow<'_, str>> {
    let mut json = serde_json::Deserializer::from_str(element);
    let data = json.deserialize_map(LastData).ok().flatten()?;
    json.end().ok()?;
    serde_json::from_str::<Text<'_>>(data.get()).ok().map(|text| text.0)
}

/// A JSON string, borrowed where its text has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(Data)? {
            Some(text) => Ok(Self(text)),
            None => Err(serde::de::Error::custom("not a string")),
        }
    }
}

/// Feeds any value at all to a visitor.
struct Lenient<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Lenient<V> {
    type Value = V::Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}

/// Skips values that are no token, without reading what is inside.
macro_rules! none_for {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, _: $type) -> Result<Self::Value, E> { Ok(None) })*

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> { Ok(None) }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            while array.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    };
}

/// An element: the string of its last `data` member, if it is an object with one.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut data = None;
        while let Some(IsData(is_data)) = members.next_key()? {
            if is_data {
                data = members.next_value_seed(Lenient(Data))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(data)
    }
}

/// The value of a `data` member, if it is a string.
struct Data;

impl<'de> Visitor<'de> for Data {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    none_for!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
}

/// The raw text of an object's last `data` member.
struct LastData;

impl<'de> Visitor<'de> for LastData {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut data = None;
        while let Some(IsData(is_data)) = members.next_key()? {
            let value = members.next_value()?;
            if is_data {
                data = Some(value);
            }
        }
        Ok(data)
    }
}

/// Whether a member's name is `data`, whichever way it is escaped.
struct IsData(bool);

impl<'de> Deserialize<'de> for IsData {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Name)
    }
}

struct Name;

impl Visitor<'_> for Name {
    type Value = IsData;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(IsData(name == "data"))
    }
}

#[cfg(test)]
mod tests;
