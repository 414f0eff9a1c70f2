//! What stands in a body that is not a page: the names of its members and where its arrays are, never a value.
//!
//! Reads a beginning as well as a whole body. Invariant: what it says is short, whatever the body is. Pure.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::BYTE_ORDER_MARK;
use crate::output::numbers::count;

/// Names that are listed, of one object.
const NAMES: usize = 6;
/// The longest name that is shown whole, in characters.
const NAME: usize = 40;
/// How deep arrays are looked for.
const DEEPEST: usize = 3;
/// How many of them.
const ARRAYS: usize = 4;

/// What is in a JSON text.
#[derive(Debug, Default)]
struct Found {
    /// The names of the members of the object that it is.
    names: Names,
    arrays: Vec<Array>,
}

/// An array within it.
#[derive(Debug, Default)]
struct Array {
    /// Its JSON Pointer.
    at: String,
    elements: u64,
    /// The names of the members of its first element.
    names: Names,
}

#[derive(Debug, Default)]
struct Names(Vec<String>);

/// What the JSON text that begins with `body` has in it: `: it has "next" and "items"; /items is an array of …`. Empty where
/// nothing can be told.
pub(crate) fn of(body: &[u8]) -> String {
    let (found, is_whole) = look(body);
    let mut said = Vec::new();
    if !found.names.0.is_empty() {
        said.push(format!("it has {}", found.names));
    }
    for array in &found.arrays {
        let at = if array.at.is_empty() { "it" } else { &array.at };
        let elements = if is_whole { count(array.elements) } else { format!("{} or more", count(array.elements)) };
        let names = if array.names.0.is_empty() { String::new() } else { format!(", the first with {}", array.names) };
        said.push(format!("{at} is an array of {elements}{names}"));
    }
    if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) }
}

/// What is in the JSON text that begins with `body`, and whether that is all of it.
fn look(body: &[u8]) -> (Found, bool) {
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_slice(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body));
    // Of a beginning, what was read before its end counts.
    let is_whole = Look { at: String::new(), depth: 0, found: &mut found }.deserialize(&mut json).is_ok();
    (found, is_whole)
}

/// Whether there is anything in the JSON text that begins with `body` that could be logs: an array with elements.
pub(crate) fn may_hold_logs(body: &[u8]) -> bool {
    look(body).0.arrays.iter().any(|array| array.elements > 0)
}

/// Where the first array of objects is, or else of anything, as a JSON Pointer.
pub(crate) fn likely_items(body: &[u8]) -> Option<String> {
    let arrays = look(body).0.arrays;
    let of_objects = arrays.iter().find(|array| !array.names.0.is_empty());
    of_objects.or_else(|| arrays.iter().find(|array| array.elements > 0)).map(|array| array.at.clone())
}

/// Where the array of objects with the most elements is, or else of anything, as a JSON Pointer.
pub(crate) fn fullest_items(body: &[u8]) -> Option<String> {
    let arrays = look(body).0.arrays.into_iter().rev().filter(|array| array.elements > 0);
    arrays.max_by_key(|array| (!array.names.0.is_empty(), array.elements)).map(|array| array.at)
}

impl Names {
    fn add(&mut self, name: &str) {
        if self.0.len() <= NAMES {
            let short: String = name.chars().filter(|c| !c.is_control()).take(NAME).collect();
            self.0.push(short);
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.0.iter().take(NAMES).map(|name| format!("{name:?}")).collect();
        let more = if self.0.len() > NAMES { ", …" } else { "" };
        write!(f, "{}{more}", shown.join(", "))
    }
}

/// Looks at one value.
struct Look<'f> {
    at: String,
    depth: usize,
    found: &'f mut Found,
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if self.depth == 0 {
                self.found.names.add(&name);
            }
            let at = format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"));
            if self.depth < DEEPEST && at.len() <= NAME * DEEPEST {
                members.next_value_seed(Look { at, depth: self.depth + 1, found: &mut *self.found })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.found.arrays.len() >= ARRAYS {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let mut array = Array { at: self.at, ..Array::default() };
        self.found.arrays.push(Array { at: array.at.clone(), ..Array::default() });
        let place = self.found.arrays.len() - 1;
        let mut first = Found::default();
        // One after the other, so that what was counted stays counted where the text ends.
        let ended = loop {
            let more = if array.elements == 0 {
                let look = Look { at: String::new(), depth: 0, found: &mut first };
                elements.next_element_seed(look).map(|element| element.is_some())
            } else {
                elements.next_element::<IgnoredAny>().map(|element| element.is_some())
            };
            match more {
                Ok(true) => array.elements += 1,
                Ok(false) => break Ok(()),
                Err(cut) => break Err(cut),
            }
        };
        array.names = first.names;
        if let Some(noted) = self.found.arrays.get_mut(place) {
            *noted = array;
        }
        ended
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_are_told_and_no_value() {
        let body = br#"{"status":"s3cret","meta":{"next":null},"data":{"items":[{"id":1,"token":"s3cret"},{"id":2}]}}"#;
        let told = of(body);
        assert_eq!(
            told,
            r#": it has "status", "meta", "data"; /data/items is an array of 2, the first with "id", "token""#
        );
        let told = of(&body[..body.len() - 8]);
        assert_eq!(
            told,
            r#": it has "status", "meta", "data"; /data/items is an array of 1 or more, the first with "id", "token""#
        );
        assert_eq!(of(br#"[{"id":1,"a/b":["x"]},2]"#), r#": it is an array of 2, the first with "id", "a/b""#);
        assert_eq!(of(br#"{"a/b":[]}"#), r#": it has "a/b"; /a~1b is an array of 0"#);
        for nothing in [&b""[..], b"<html>", b"\"text\"", b"{", b"7"] {
            assert_eq!(of(nothing), "");
        }
    }

    #[test]
    fn it_is_short_whatever_the_body_is() {
        let many: Vec<String> = (0..1000).map(|n| format!("\"{}{n}\":[[1]]", "x".repeat(1000))).collect();
        assert!(of(format!("{{{}}}", many.join(",")).as_bytes()).len() < 2000);
        assert!(of("[".repeat(100_000).as_bytes()).len() < 200);
        assert!(of(br#"{"\u001b[2J":1}"#).find('\u{1b}').is_none());
    }
}
