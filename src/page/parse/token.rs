//! What an element carries: its token, or the record itself where nothing is encrypted.
//!
//! The origin's elements are read by a strict reader in one pass. For another shape, the place is found by brackets and strings, as
//! elements are. Invariant: an element is one JSON value; of two that stand side by side neither counts. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::split::is_one_value;
use crate::pointer::Pointer;
use crate::source::PageShape;

/// What is looked for in an element.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The origin's token: the text under `data`.
    Data,
    /// The token that is the text at this place.
    Token(&'a Pointer),
    /// The record that is the object, or the text, at this place.
    Record(&'a Pointer),
}

impl<'a> Wanted<'a> {
    pub(super) fn of(shape: &'a PageShape) -> Self {
        match (shape.is_encrypted, shape.token.steps()) {
            (true, [name]) if name == "data" => Self::Data,
            (true, _) => Self::Token(&shape.token),
            (false, _) => Self::Record(&shape.token),
        }
    }

    /// What an element carries. `None` also where it cannot be read.
    pub(super) fn find(self, element: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Data => token_in(element),
            Self::Token(at) => text(value(element, at)?),
            Self::Record(at) => record(value(element, at)?),
        }
    }

    /// The same for a line: one that is a text carries the token by itself.
    pub(super) fn find_in_line(self, line: &[u8]) -> Option<Cow<'_, str>> {
        if line.first() == Some(&b'"') { text(line) } else { self.find(line) }
    }
}

/// The value at a place within an element.
fn value<'e>(element: &'e [u8], at: &Pointer) -> Option<&'e [u8]> {
    if at.is_whole() {
        return Some(element);
    }
    if is_one_value(element) { at.find(element).value() } else { None }
}

/// The text that `value` is.
fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    serde_json::from_slice::<Text<'_>>(value).ok().map(|text| text.0)
}

/// The record's text: what stands in an object as it stands, or what a text says.
fn record(value: &[u8]) -> Option<Cow<'_, str>> {
    match value.first()? {
        b'"' => text(value),
        b'{' => std::str::from_utf8(value).ok().map(Cow::Borrowed),
        _ => None,
    }
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
