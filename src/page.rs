//! The page parser: a body as received → its tokens, borrowed from it.
//!
//! Owns what counts as a page: a JSON array in which at least one element carries a token (an object with a string
//! `data`), or an empty one. Invariant: one odd element costs itself, never its neighbours, and every element of a page is
//! either a token or odd, in the page's order. Other members are skipped unread, in linear time at any depth. Pure.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The longest text that is kept of an odd element, in bytes.
pub const MAX_ODD_TEXT: usize = 64 * 1024;

/// One element of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element<'a> {
    /// The string in the element's last `data` member: borrowed, but where the JSON text spells it with escapes.
    Token(Cow<'a, str>),
    /// No object, or none with a string as its last `data` member. Its text: [`odd_texts`].
    Odd {
        /// Its place among the page's elements, from 0.
        index: usize,
    },
}

/// Why a complete body is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPage {
    /// Bytes that no text has.
    #[error("not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// The offset of the first wrong byte.
        at: usize,
    },
    /// Text, but not JSON. The reason names line and column and quotes nothing of the body.
    #[error("not JSON: {reason}")]
    NotJson {
        /// What the JSON parser says.
        reason: String,
    },
    /// It does not begin with `[`.
    #[error("not a JSON array")]
    NotAnArray,
    /// An array, but none of its elements carries a token.
    #[error("none of its {elements} elements has a string \"data\"")]
    NoTokens {
        /// How many elements it has.
        elements: usize,
    },
}

impl NotAPage {
    fn not_json(cause: &serde_json::Error) -> Self {
        Self::NotJson { reason: cause.to_string() }
    }
}

/// The elements of the page `body`, in order.
///
/// # Errors
/// [`NotAPage`], where the body as a whole is none. An empty array is a page.
pub fn parse(body: &[u8]) -> Result<Vec<Element<'_>>, NotAPage> {
    let text = array_text(body)?;
    // The fast way gives up at what JSON's grammar allows and Rust's types do not (1e999, a lone surrogate). The careful way
    // meets such things one element at a time.
    let elements = match parse_fast(text) {
        Ok(elements) => elements,
        Err(_) => parse_carefully(text)?,
    };
    let has_token = elements.iter().any(|element| matches!(element, Element::Token(_)));
    if has_token || elements.is_empty() { Ok(elements) } else { Err(NotAPage::NoTokens { elements: elements.len() }) }
}

/// The odd ones of `elements`, as [`parse`] found them in `body`: index and JSON text, cut to [`MAX_ODD_TEXT`] bytes at a
/// character's boundary. One pass over the body, however many there are.
#[must_use]
pub fn odd_texts<'a>(body: &'a [u8], elements: &[Element<'_>]) -> Vec<(usize, &'a str)> {
    let Some(raw) = array_text(body).ok().and_then(|text| raw_elements(text).ok()) else { return Vec::new() };
    let odd = elements.iter().zip(raw).enumerate().filter(|(_, (element, _))| matches!(element, Element::Odd { .. }));
    odd.map(|(index, (_, raw))| (index, excerpt(raw.get()))).collect()
}

fn excerpt(text: &str) -> &str {
    if text.len() <= MAX_ODD_TEXT {
        return text;
    }
    // A character has four bytes at most.
    (0..4).find_map(|less| text.get(..MAX_ODD_TEXT - less)).unwrap_or_default()
}

/// The body as text, if it begins as an array.
fn array_text(body: &[u8]) -> Result<&str, NotAPage> {
    let text = std::str::from_utf8(body).map_err(|cause| NotAPage::NotUtf8 { at: cause.valid_up_to() })?;
    if text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') { Ok(text) } else { Err(NotAPage::NotAnArray) }
}

fn parse_fast(text: &str) -> Result<Vec<Element<'_>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let elements = json.deserialize_seq(Elements)?;
    json.end()?;
    Ok(elements)
}

fn parse_carefully(text: &str) -> Result<Vec<Element<'_>>, NotAPage> {
    let raw = raw_elements(text).map_err(|cause| NotAPage::not_json(&cause))?;
    let elements = raw.into_iter().enumerate().map(|(index, raw)| match token_of(raw.get()) {
        Some(token) => Element::Token(token),
        None => Element::Odd { index },
    });
    Ok(elements.collect())
}

fn raw_elements(text: &str) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_str(text)
}

/// The token of a single element; what cannot be told counts as none.
fn token_of(element: &str) -> Option<Cow<'_, str>> {
    let mut json = serde_json::Deserializer::from_str(element);
    let data = json.deserialize_map(LastData).ok().flatten()?;
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

/// The array: one [`Element`] after the other.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<Element<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(token) = array.next_element_seed(Lenient(Object))? {
            let index = elements.len();
            elements.push(token.map_or(Element::Odd { index }, Element::Token));
        }
        Ok(elements)
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

/// Takes what is no token, without a look at what is inside.
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

    none_for!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
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
mod tests {
    use super::*;

    fn token(text: &str) -> Element<'_> {
        Element::Token(text.into())
    }

    fn parsed(body: &str) -> Vec<Element<'_>> {
        parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn tokens_come_in_order_borrowed_from_the_body() {
        let elements = parsed(" [ {\"data\":\"gAAA\",\"id\":[1,{}]},\n{\"data\":\"gBBB\"} ] \n");
        assert_eq!(elements, [token("gAAA"), token("gBBB")]);
        assert!(elements.iter().all(|e| matches!(e, Element::Token(Cow::Borrowed(_)))));
    }

    #[test]
    fn escapes_in_names_and_tokens_are_read() {
        let elements = parsed(r#"[{"d\u0061ta":"g\/\u0041"},{"\ud83d\ude00":0,"data":""}]"#);
        assert_eq!(elements, [token("g/A"), token("")]);
    }

    #[test]
    fn last_of_several_data_members_counts() {
        let elements = parsed(r#"[{"data":"a","data":"b"},{"data":1,"data":"c"},{"data":"d","data":{"data":"e"}}]"#);
        assert_eq!(elements, [token("b"), token("c"), Element::Odd { index: 2 }]);
    }

    #[test]
    fn odd_element_costs_only_itself() {
        for odd in ["1", "-1.5", "null", "true", "\"gAAA\"", "[]", "[[\"data\"]]", "{}", r#"{"data":null}"#] {
            let body = format!(r#"[{odd},{{"data":"t"}}]"#);
            assert_eq!(parsed(&body), [Element::Odd { index: 0 }, token("t")], "{odd}");
        }
    }

    #[test]
    fn what_json_allows_and_rust_types_do_not_costs_only_itself() {
        for odd in ["1e999", r#"{"data":-1e999}"#, r#""\ud800""#, r#"{"data":"\udc00"}"#, r#"{"\ud800":1,"data":"x"}"#]
        {
            let body = format!(r#"[{{"data":"t","big":1e999}},{odd},{{"data":"a","data":"b\n"}}]"#);
            assert_eq!(parsed(&body), [token("t"), Element::Odd { index: 1 }, token("b\n")], "{odd}");
        }
    }

    #[test]
    fn empty_array_is_a_page_without_tokens() {
        assert_eq!(parsed("[]"), []);
        assert_eq!(parsed(" [ ]\n"), []);
    }

    #[test]
    fn what_is_no_page_is_refused_without_quoting_it() {
        let not_json =
            ["[", "[{\"data\":\"secret\"}", "[] []", "[1,]", "[{\"data\":\"secret\"}]x", "[{\"data\" \"secret\"}]"];
        for body in not_json {
            let refused = parse(body.as_bytes()).unwrap_err();
            assert!(matches!(refused, NotAPage::NotJson { .. }), "{body}: {refused:?}");
            assert!(!refused.to_string().contains("secret"));
        }
        for body in ["", "  ", "{}", "\"secret\"", "<html>", "\u{feff}[]", "null"] {
            assert_eq!(parse(body.as_bytes()), Err(NotAPage::NotAnArray), "{body}");
        }
        assert_eq!(parse(b"[\"\xff\"]"), Err(NotAPage::NotUtf8 { at: 2 }));
        assert_eq!(parse(b"[1,2,3]"), Err(NotAPage::NoTokens { elements: 3 }));
    }

    #[test]
    fn a_million_levels_in_what_is_ignored_do_no_harm() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        let body = format!(r#"[{{"x":{deep},"data":"t"}},{{"data":{deep}}},{deep},{{"data":{{"a":{deep}}}}}]"#);
        let elements = parsed(&body);
        assert_eq!(elements.first(), Some(&token("t")));
        assert_eq!(elements.len(), 4);
        let texts = odd_texts(body.as_bytes(), &elements);
        assert_eq!(
            texts.iter().map(|(index, text)| (*index, text.len())).collect::<Vec<_>>(),
            [(1, MAX_ODD_TEXT), (2, MAX_ODD_TEXT), (3, MAX_ODD_TEXT)]
        );
    }

    #[test]
    fn odd_texts_are_those_of_the_body_cut_between_characters() {
        let long = format!("\"x{}\"", "é".repeat(MAX_ODD_TEXT));
        let body = format!(r#"[ {{ "a" : 1e999 }} ,{{"data":"t"}},{long}]"#);
        let texts = odd_texts(body.as_bytes(), &parsed(&body));
        assert_eq!(texts.len(), 2);
        assert_eq!(texts[0], (0, r#"{ "a" : 1e999 }"#));
        assert_eq!((texts[1].0, texts[1].1), (2, &long[..MAX_ODD_TEXT]));
    }
}
