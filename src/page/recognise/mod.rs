//! What a page of an unknown source looks like: where the logs are, what dates and numbers them, how the next page is found.
//!
//! Looks at a sample of the page's elements. Invariant: what it returns has names, pointers and kinds in it, and no value of the page; it
//! never fails, and what cannot be told is left out. Pure.

mod fields;
mod paging;
mod places;
#[cfg(test)]
mod tests;
mod times;

use crate::page::decrypt::KeyRing;
use crate::page::parse::{self, Element};
use crate::pointer::Pointer;
use crate::record::{Value, json, python};
use crate::source::{PageShape, page_shape, shape};

pub(crate) use self::fields::Codec;
pub(crate) use self::paging::Paging;
use self::places::Places;
pub(crate) use self::times::Time;

/// Elements that are looked at.
const SAMPLE: usize = 200;
/// How every Fernet token begins: its version, and the first bytes of a time.
const FERNET: &str = "gAAAAA";

/// Whether the logs are encrypted, and whether a key opens them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// They are not.
    Plain,
    /// They are, and a key opened some.
    Opened,
    /// They are, and no key opened any.
    Closed,
}

/// What was recognised.
#[derive(Debug)]
pub(crate) struct Recognised {
    /// Whether the page is lines of JSON.
    pub(crate) is_lines: bool,
    /// Where the array of elements is; `None`: there is none with elements.
    pub(crate) items: Option<String>,
    /// Elements on the page.
    pub(crate) elements: u64,
    /// Where the token, or the log, is within an element.
    pub(crate) token: String,
    pub(crate) sealed: Sealed,
    /// Logs of the sample that could be read.
    pub(crate) logs: usize,
    /// Where times stand, the likeliest first.
    pub(crate) times: Vec<Time>,
    /// Where a whole number stands that rises by one.
    pub(crate) id: Option<String>,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) paging: Paging,
}

/// Recognises `page`. With `ring`, the keys are tried on what is encrypted; `has_link`: the answer named the next page in a header.
pub(crate) fn recognise(page: &[u8], ring: Option<&KeyRing>, has_link: bool) -> Recognised {
    let is_lines = page_shape::lines(page).is_some();
    let items = if is_lines { Some(String::new()) } else { shape::fullest_items(page) };
    let (elements, sample) = sample(page, items.as_deref().unwrap_or_default());
    let found = within(&sample, ring);
    let values = values(&found.texts, found.sealed == Sealed::Plain);
    let places = Places::of(&values);
    Recognised {
        is_lines,
        elements,
        token: found.token,
        sealed: found.sealed,
        logs: values.len(),
        times: times::times(&places),
        id: fields::id(&places),
        codecs: fields::codecs(&places),
        paging: if is_lines { Paging::Unknown } else { paging::paging(page, has_link) },
        items,
    }
}

/// How many elements there are, and the texts of the first: what a text says, or an object as it stands.
fn sample(page: &[u8], items: &str) -> (u64, Vec<String>) {
    let shape =
        PageShape { items: Pointer::parse(items).unwrap_or_default(), token: Pointer::default(), is_encrypted: false };
    let (mut count, mut sample) = (0, Vec::new());
    for element in parse::elements(page, &shape).into_iter().flatten() {
        count += 1;
        if let (Element::Token(text), true) = (element, sample.len() < SAMPLE) {
            sample.push(text.into_owned());
        }
    }
    (count, sample)
}

/// The logs within the elements.
struct Within {
    token: String,
    sealed: Sealed,
    texts: Vec<String>,
}

/// Finds the logs: encrypted ones, else a text with a log in it where the element has no time, else the elements themselves.
fn within(sample: &[String], ring: Option<&KeyRing>) -> Within {
    let elements = values(sample, true);
    let places = Places::of(&elements);
    let sealed_at = if !sample.is_empty() && sample.iter().all(|text| is_token(text)) {
        Some(String::new())
    } else {
        places.find(|value| text(value).is_some_and(is_token))
    };
    if let Some(token) = sealed_at {
        let texts = opened(sample, &token, ring);
        let sealed = if texts.is_empty() { Sealed::Closed } else { Sealed::Opened };
        return Within { token, sealed, texts };
    }
    let is_log = |value: &Value<'_>| text(value).and_then(|text| parsed(text, true)).is_some();
    let inner = if times::times(&places).is_empty() { places.find(is_log) } else { None };
    let texts = inner.as_ref().map_or_else(|| sample.to_vec(), |at| texts_at(sample, at));
    Within { token: inner.unwrap_or_default(), sealed: Sealed::Plain, texts }
}

/// What the keys make of the tokens at a place.
fn opened(sample: &[String], at: &str, ring: Option<&KeyRing>) -> Vec<String> {
    let Some(ring) = ring else { return Vec::new() };
    let tokens = if at.is_empty() { sample.to_vec() } else { texts_at(sample, at) };
    tokens.iter().filter_map(|token| String::from_utf8(ring.decrypt(token).ok()?).ok()).collect()
}

/// The texts at a place of the elements.
fn texts_at(sample: &[String], at: &str) -> Vec<String> {
    let shape =
        PageShape { items: Pointer::default(), token: Pointer::parse(at).unwrap_or_default(), is_encrypted: true };
    sample.iter().filter_map(|element| Some(parse::token_of(element.as_bytes(), &shape)?.into_owned())).collect()
}

/// The dicts that texts are.
fn values(texts: &[String], is_plain: bool) -> Vec<Value<'_>> {
    texts.iter().filter_map(|text| parsed(text, is_plain)).collect()
}

/// The dict that a text is: JSON first where nothing was encrypted, as when records are read.
pub(crate) fn parsed(text: &str, is_plain: bool) -> Option<Value<'_>> {
    let read = match is_plain {
        true => json::parse(text).or_else(|_| python::parse(text)),
        false => python::parse(text).or_else(|_| json::parse(text)),
    };
    read.ok().filter(|value| matches!(value, Value::Dict(_)))
}

fn text<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    if let Value::Str(text) = value { Some(text) } else { None }
}

fn is_token(text: &str) -> bool {
    text.trim_start().starts_with(FERNET)
}
